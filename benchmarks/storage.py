"""Memory for each key, restarts from a long log and from a large snapshot, and pauses while a snapshot is taken.

Restarts are of a single server, from the start of its process to its first consistent answer. Pauses are those of an
event loop that a 1 ms ticker sees while `RaftNode.snapshot` runs beside it in the same process.
"""

import asyncio
import itertools
import random
import tempfile
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from benchmarks.clusters import Cluster, EtcdCluster, LictorCluster, eventually, request, running, value_of
from benchmarks.data_folder import add_log_entries, make_snapshot, puts
from benchmarks.http_load import load
from benchmarks.measure import Figure, percentile, resident_bytes
from server.fsm import Fsm
from server.raft.driver import RaftConfig, RaftNode, Server
from server.raft.log import WriteAheadLog
from server.raft.snapshot import DiskSnapshots
from server.raft.transport import Transport

KEYS = 100_000
MB = 1_000_000


async def _bytes_per_key(cluster: Cluster) -> float:
    """By how much the process grows with each new key of 100 bytes."""
    numbers = itertools.count()

    def next_request() -> bytes:
        number = next(numbers)
        return cluster.put(f"memory/{number}", value_of(number))

    with running(cluster):
        await load(cluster.http, next_request, 2000, 64)  # Buffers and caches have their size after that.
        before = resident_bytes(cluster.pid(0))
        await load(cluster.http, next_request, KEYS, 64)
        await asyncio.sleep(1.0)
        return (resident_bytes(cluster.pid(0)) - before) / KEYS


async def _memory() -> Figure:
    ours = await _bytes_per_key(LictorCluster(1))
    theirs = await _bytes_per_key(EtcdCluster(1)) if EtcdCluster.installed() else None
    return Figure(f"memory for each of {KEYS:,} keys", ours, "bytes", theirs, "etcd", "less than 1,000")


def _seconds_to_answer(cluster: LictorCluster, key: str, seconds: float) -> float:
    """Start the only member; seconds until it answers a consistent read of a key that exists."""
    begin = time.perf_counter()
    cluster.start(0)
    path = f"/v1/kv/{key}?consistent&raw"
    eventually(lambda: request(cluster.http[0], "GET", path)[0] == 200, f"a server to answer {path}", seconds)
    return time.perf_counter() - begin


def _restarts(entries: int, snapshot_bytes: int) -> list[Figure]:
    figures = []
    cluster = LictorCluster(1)
    try:
        cluster.start(0)
        cluster.leader()
        request(cluster.http[0], "PUT", "/v1/kv/bench/0", b"x")
        cluster.stop(0)
        figures.append(Figure("restart with nothing in the log", _seconds_to_answer(cluster, "bench/0", 60), "s"))
        cluster.stop(0)
        add_log_entries(cluster.data(0), entries, keys=10_000)
        last = f"bench/{(entries - 1) % 10_000}"
        figures.append(Figure(f"restart with {entries:,} log entries", _seconds_to_answer(cluster, last, 300), "s"))
    finally:
        cluster.close()
    cluster = LictorCluster(1)
    try:
        cluster.start(0)
        cluster.leader()
        cluster.stop(0)
        size = make_snapshot(cluster.data(0), snapshot_bytes)
        name = f"restart with a snapshot of {size / MB:.0f} MB"
        figures.append(Figure(name, _seconds_to_answer(cluster, "bench/1", 300), "s"))
    finally:
        cluster.close()
    return figures


async def _pauses(rows: int) -> list[Figure]:
    """Lateness of a 1 ms ticker, idle and while a snapshot of so many rows is taken."""
    fsm = Fsm()
    for index, written in enumerate(puts(rows, rows, 100), 1):
        fsm.apply(index, 1, written)
    with tempfile.TemporaryDirectory(prefix="lictor-bench-") as folder:
        node = RaftNode(
            node_id="a",
            address="127.0.0.1:1",
            storage=WriteAheadLog(Path(folder) / "log"),
            snapshots=DiskSnapshots(Path(folder) / "snapshots"),
            transport=Transport("a", lambda peer: ""),
            fsm=fsm,
            config=RaftConfig(),
            random=random.randrange,
        )
        await node.start()
        try:
            await node.bootstrap([Server("a", "127.0.0.1:1")])
            await node.barrier()
            idle = await _lateness(asyncio.sleep(2.0))
            begin = time.perf_counter()
            busy = await _lateness(node.snapshot())
            seconds = time.perf_counter() - begin
        finally:
            await node.stop()
    what = f"while a snapshot of {rows:,} rows is taken"
    return [
        Figure(f"pause of the event loop {what}, p99", percentile(busy, 0.99) * 1e3, "ms", None, "", "less than 20"),
        Figure(f"pause of the event loop {what}, longest", max(busy) * 1e3, "ms"),
        Figure("pause of the event loop at rest, p99", percentile(idle, 0.99) * 1e3, "ms"),
        Figure(f"time that a snapshot of {rows:,} rows takes", seconds, "s"),
    ]


async def _lateness(work: Coroutine[Any, Any, None]) -> list[float]:
    """By how many seconds a tick each millisecond came late while `work` was under way."""
    task = asyncio.create_task(work)
    late = []
    while not task.done():
        begin = time.perf_counter()
        await asyncio.sleep(0.001)
        late.append(max(0.0, time.perf_counter() - begin - 0.001))
    await task
    return late


async def run(full: bool) -> list[Figure]:
    """Memory, restarts, pauses; `full` takes a log of 1,000,000 entries and a snapshot of 500 MB."""
    figures = [await _memory()]
    figures += _restarts(1_000_000 if full else 200_000, 500 * MB if full else 100 * MB)
    figures += await _pauses(1_000_000 if full else 200_000)
    return figures
