"""What an HTTP request costs one server that keeps its data on disk: CPU time, and memory.

Each row is the middle of some turns, in which lictor and a bare HTTP server take turns; that one answers the same
number of bytes and does nothing else, so it shows what the machine and the event loop cost by themselves. Consul's
figures were measured elsewhere.
"""

import contextlib
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

from benchmarks.clusters import Cluster, LictorCluster, eventually, request, running
from benchmarks.measure import Figure, cpu_seconds, free_ports, resident_bytes
from benchmarks.workload import Workload, drive, has_wrk

HALF = "half of Consul's"
TENTH = "a tenth of Consul's"
BELOW = "below Consul's"
INSTANCES = 5000
LIMITS = {"limits": {"http_max_conns_per_client": 1_000_000}}


class Row(NamedTuple):
    """One kind of request; `consul` in CPU microseconds, None where there is no figure."""

    name: str
    work: Workload
    clients: int
    consul: float | None
    goal: str


READS = (
    Row("KV get, 64 connections", Workload(path="/v1/kv/bench"), 64, 54, HALF),
    Row("KV get, 1 connection", Workload(path="/v1/kv/bench"), 1, 89, HALF),
    Row("KV get, 1,000 keys in turn, 64 connections", Workload(path="/v1/kv/list/k%d", modulus=1000), 64, 54, HALF),
    Row("KV get, ?consistent (never kept), 64 connections", Workload(path="/v1/kv/bench?consistent"), 64, 54, ""),
    Row("KV list of 1,000 keys", Workload(path="/v1/kv/list/?recurse"), 16, 690, TENTH),
    Row(
        "KV list of 1,000 keys, made anew (?consistent)", Workload(path="/v1/kv/list/?recurse&consistent"), 16, 690, ""
    ),
    Row("health of 100 instances", Workload(path="/v1/health/service/web"), 16, 1170, TENTH),
    Row("health of 100, made anew (?consistent)", Workload(path="/v1/health/service/web?consistent"), 16, 1170, ""),
    Row("health of 10 instances", Workload(path="/v1/health/service/api"), 16, 195, TENTH),
    Row("catalog/services", Workload(path="/v1/catalog/services"), 16, 74, TENTH),
)
NODES = Row("catalog/nodes of 5,000", Workload(path="/v1/catalog/nodes"), 16, 3030, TENTH)
PUT = Workload("PUT", "/v1/kv/bench", "x" * 90 + "%d")
WRITES = (
    Row("KV put, 64 connections", PUT, 64, 112, BELOW),
    Row("KV put, 1 connection", PUT, 1, 525, BELOW),
)
REGISTER = Row(
    "register a service with a check at the agent",
    Workload(
        "PUT",
        "/v1/agent/service/register",
        '{"Name": "service", "ID": "service-%d", "Port": 80, "Check": {"TTL": "60m"}}',
        modulus=200,
    ),
    16,
    754,
    BELOW,
)


@contextlib.contextmanager
def counterpart(kind: str) -> Iterator[tuple[int, int]]:
    """A server of `benchmarks.counterparts`: its process ID and port."""
    (port,) = free_ports(1)
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.counterparts", kind, str(port)])
    try:
        eventually(lambda: request(port, "GET", "/1")[0] == 200, f"the counterpart {kind}")
        yield process.pid, port
    finally:
        process.kill()
        process.wait()


async def cost(pid: int, port: int, work: Workload, clients: int, seconds: float) -> float:
    """CPU microseconds of a process for each request of a load."""
    before = cpu_seconds([pid])
    answered = await drive(port, work, clients, seconds)
    return (cpu_seconds([pid]) - before) / answered * 1e6


async def measure(row: Row, server: Cluster, bare: tuple[int, int], turns: int, seconds: float) -> Figure:
    """A row's figure: the middle of some turns, beside the bare server's."""
    port = server.http[0]
    if row.work.method == "GET":
        status, body = request(port, "GET", row.work.path.replace("%d", "1"))
        if status != 200:
            raise RuntimeError(f"{row.work.path}: {status} {body[:200]!r}")
        same = Workload(path=f"/{len(body)}")
    else:
        same = row.work
    ours, theirs = [], []
    await cost(server.pid(0), port, row.work, row.clients, 1)
    for _ in range(turns):
        ours.append(await cost(server.pid(0), port, row.work, row.clients, seconds))
        theirs.append(await cost(*bare, same, row.clients, seconds))
    mine, bare_cost = statistics.median(ours), statistics.median(theirs)
    return Figure(row.name, mine, "us", bare_cost, "bare server", row.goal, row.consul)


def put(port: int, path: str, body: object) -> None:
    """One write. Raises RuntimeError when it is refused."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    status, answer = request(port, "PUT", path, data)
    if status != 200:
        raise RuntimeError(f"PUT {path}: {status} {answer[:200]!r}")


def register(port: int, service: str, number: int, node: str, **more: object) -> None:
    """Register an instance with a passing check at the catalog."""
    name = f"{service}{number}"
    check = {"CheckID": f"c-{name}", "Name": "c", "Status": "passing", "ServiceID": name, **more}
    body = {
        "Node": node,
        "Address": f"10.0.{number // 250}.{number % 250}",
        "Service": {"ID": name, "Service": service, "Port": 80, "Tags": ["a"]},
        "Check": check,
    }
    put(port, "/v1/catalog/register", body)


def fill(port: int, keys: int = 1000, web: int = 100, api: int = 10) -> None:
    """What the reads read."""
    put(port, "/v1/kv/bench", b"x" * 100)
    for number in range(keys):
        put(port, f"/v1/kv/list/k{number}", b"v" * 100)
    for number in range(web):
        register(port, "web", number, f"n{number}")
    for number in range(api):
        register(port, "api", number, f"n{number}")


async def run(full: bool) -> list[Figure]:
    """The table; with `full` more and longer turns."""
    return await table(5 if full else 3, 4 if full else 2, INSTANCES)


async def table(turns: int, seconds: float, instances: int) -> list[Figure]:
    """All rows."""
    if not has_wrk():
        print("wrk is not installed (Debian: apt install wrk): our own client makes the load, and takes a core")
    figures = []
    with running(LictorCluster(1, **LIMITS)) as server, counterpart("bare") as bare, counterpart("aiohttp") as aiohttp:
        port = server.http[0]
        empty = resident_bytes(server.pid(0)) / 1e6
        fill(port)
        for row in (*READS, *WRITES):
            figures.append(await measure(row, server, bare, turns, seconds))
        small = Workload(path="/200")
        application = [await cost(*aiohttp, small, 64, seconds) for _ in range(turns)]
        bare_costs = [await cost(*bare, small, 64, seconds) for _ in range(turns)]
        row = "(an aiohttp application, 200 bytes, 64 connections)"
        figures.append(Figure(row, statistics.median(application), "us", statistics.median(bare_costs), "bare server"))
        figures.append(await measure(REGISTER, server, bare, turns, seconds))
    with running(LictorCluster(1, **LIMITS)) as server, counterpart("bare") as bare:
        for number in range(instances):
            register(server.http[0], f"s{number % 100}-", number, f"node{number}")
        loaded = resident_bytes(server.pid(0)) / 1e6
        figures.append(await measure(NODES, server, bare, turns, seconds))
    figures.append(Figure("memory, empty", empty, "MB", goal=BELOW, elsewhere=82))
    figures.append(Figure(f"memory, {instances:,} instances on as many nodes", loaded, "MB", goal=BELOW, elsewhere=157))
    return figures
