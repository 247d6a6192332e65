"""Blocking queries by the thousand: what waking and holding them costs, and what it does to other clients.

The watchers' connections are held by this process; a probe in another one asks for a key all the time, and its slowest
answer is how long the server's event loop (or the machine) kept anybody waiting. The counterpart is a bare HTTP server
that holds as many requests and answers them all at once.
"""

import asyncio
import contextlib
import itertools
import json
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from typing import cast

from benchmarks.clusters import Cluster, LictorCluster, request, running, value_of
from benchmarks.http import BELOW, LIMITS, PUT, TENTH, cost, counterpart, put
from benchmarks.measure import Figure, precise_cpu_seconds, resident_bytes

KEY = "/v1/kv/watched"
PER_ADDRESS = 10_000
"""Connections from one source address: the system has no more than some 28,000 ports for each."""
WAIT_SECONDS = 120.0


class _Watcher(asyncio.Protocol):
    """One connection that waits for a change."""

    __slots__ = ("_all", "_transport")

    def __init__(self, watchers: "Watchers") -> None:
        self._all = watchers

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def ask(self, question: bytes) -> None:
        self._transport.write(question)

    def data_received(self, data: bytes) -> None:
        if not data.startswith(b"HTTP/1.1 200"):
            self._all.failed = data[:300]
        self._all.answered += 1
        if self._all.answered == self._all.expected:
            self._all.done.set()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._all.closing:
            self._all.failed = f"a connection was lost: {exc}".encode()
            self._all.done.set()

    def close(self) -> None:
        self._transport.abort()


class Watchers:
    """Connections to one server, each with one request that is held there."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.network = f"127.{random.randrange(1, 255)}.{random.randrange(256)}"
        self.connections: list[_Watcher] = []
        self.answered = self.expected = 0
        self.done = asyncio.Event()
        self.failed = b""
        self.closing = False

    async def connect(self, count: int, question: bytes = b"") -> None:
        """Open so many connections more; each asks at once if there is a question."""
        loop = asyncio.get_running_loop()
        for number in range(count):
            source = f"{self.network}.{2 + len(self.connections) // PER_ADDRESS}"
            _, one = await loop.create_connection(
                lambda: _Watcher(self), "127.0.0.1", self.port, local_addr=(source, 0)
            )
            self.connections.append(one)
            self.expected += 1
            if question:
                one.ask(question)
            if number % 100 == 99:
                await asyncio.sleep(0)

    async def ask(self, question: bytes) -> None:
        """Send the question on every connection, in gulps that the server's backlog bears."""
        self.answered, self.expected = 0, len(self.connections)
        self.done.clear()
        for number, one in enumerate(self.connections):
            one.ask(question)
            if number % 200 == 199:
                await asyncio.sleep(0.001)

    async def all_answered(self) -> None:
        """Wait until every one has its answer. Raises RuntimeError, TimeoutError."""
        async with asyncio.timeout(WAIT_SECONDS):
            await self.done.wait()
        if self.failed:
            raise RuntimeError(self.failed.decode(errors="replace"))

    def close(self) -> None:
        """Close the connections."""
        self.closing = True
        for one in self.connections:
            one.close()


@contextlib.asynccontextmanager
async def watching(port: int, count: int, question: bytes = b"") -> AsyncIterator[Watchers]:
    """So many connections; each asks at once if there is a question."""
    watchers = Watchers(port)
    try:
        await watchers.connect(count, question)
        yield watchers
    finally:
        watchers.close()
        await asyncio.sleep(0.1)


def blocking(port: int, path: str) -> bytes:
    """The request that waits for the next change of `path`."""
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        index = response.getheader("X-Consul-Index")
    finally:
        connection.close()
    return f"GET {path}?index={index}&wait=10m HTTP/1.1\r\nHost: x\r\n\r\n".encode()


async def held(server: Cluster, count: int) -> None:
    """Wait until the server says that it holds so many. Raises TimeoutError."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            _, body = await asyncio.to_thread(request, server.http[0], "GET", "/v1/agent/metrics")
            gauges = {one["Name"]: one["Value"] for one in json.loads(body)["Gauges"]}
            if (
                next(
                    (value for name, value in gauges.items() if name.replace("_", ".").endswith("queries.blocking")), 0
                )
                >= count
            ):
                return
            await asyncio.sleep(0.05)


_values = itertools.count()


async def _change(port: int) -> None:
    """Write a value that the key has not had: the same one again would wake nobody."""
    await asyncio.to_thread(put, port, KEY, value_of(next(_values)))


async def fan_out(server: Cluster, count: int, rounds: int) -> list[Figure]:
    """Watchers of one key, which changes again and again."""
    port, pid = server.http[0], server.pid(0)
    wall, waking, asking = [], [], []
    async with watching(port, count) as watchers:
        for number in range(rounds + 1):
            question = blocking(port, KEY)
            before = precise_cpu_seconds(pid)
            await watchers.ask(question)
            await held(server, count)
            asked = precise_cpu_seconds(pid)
            begin = time.perf_counter()
            await _change(port)
            await watchers.all_answered()
            if number:  # The first round warms up.
                wall.append(time.perf_counter() - begin)
                waking.append(precise_cpu_seconds(pid) - asked)
                asking.append(asked - before)
        question = blocking(port, KEY)
        await watchers.ask(question)
        await held(server, count)
        beside = [await cost(pid, port, PUT, 1, 2) for _ in range(3)]
    bare_waking, bare_wall = await _bare_fan_out(count, rounds)
    each = 1e6 / count
    name = f"{count:,} watchers of one key"
    bare = "bare server"
    return [
        Figure(
            f"{name} woken, CPU for each", statistics.median(waking) * each, "us", bare_waking * each, bare, TENTH, 104
        ),
        Figure(
            f"{name}: from the write to the last answer",
            statistics.median(wall) * 1e3,
            "ms",
            bare_wall * 1e3,
            bare,
            "",
            94,
        ),
        Figure(f"{name}: to ask again, CPU for each", statistics.median(asking) * each, "us"),
        Figure(f"KV put beside {count:,} sleeping watchers", statistics.median(beside), "us", None, "", BELOW, 600),
    ]


async def _bare_fan_out(count: int, rounds: int) -> tuple[float, float]:
    waking, wall = [], []
    with counterpart("bare") as (pid, port):
        async with watching(port, count) as watchers:
            for _ in range(rounds):
                await watchers.ask(b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n")
                while request(port, "GET", "/held")[1] != str(count).encode():
                    await asyncio.sleep(0.01)
                before, begin = precise_cpu_seconds(pid), time.perf_counter()
                await asyncio.to_thread(request, port, "PUT", "/wake", b"")
                await watchers.all_answered()
                wall.append(time.perf_counter() - begin)
                waking.append(precise_cpu_seconds(pid) - before)
    return statistics.median(waking), statistics.median(wall)


class Probe:
    """The probing process."""

    def __init__(self, port: int) -> None:
        put(port, "/v1/kv/probe", b"x")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.probe", str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    async def result(self) -> dict[str, float]:
        """End it; what it saw."""
        output, _ = await asyncio.to_thread(self._process.communicate)
        found: dict[str, float] = json.loads(output)
        return found

    def kill(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.wait()


async def holding(server: Cluster, count: int) -> list[Figure]:
    """So many watchers of one key: memory, and what others notice while all of them ask and are woken."""
    port, pid = server.http[0], server.pid(0)
    await _change(port)
    question = blocking(port, KEY)
    before, before_cpu = resident_bytes(pid), precise_cpu_seconds(pid)
    probe = Probe(port)
    try:
        async with watching(port, count, question) as watchers:
            await held(server, count)
            cpu = precise_cpu_seconds(pid) - before_cpu
            memory = resident_bytes(pid) - before
            calm = await probe.result()
            probe = Probe(port)
            await asyncio.sleep(0.5)
            begin, woken = time.perf_counter(), precise_cpu_seconds(pid)
            await _change(port)
            await watchers.all_answered()
            wall, woken = time.perf_counter() - begin, precise_cpu_seconds(pid) - woken
            stalled = await probe.result()
    finally:
        probe.kill()
    name = f"{count:,} watchers held"
    return [
        Figure(f"{name}: memory for each, its connection included", memory / count, "bytes"),
        Figure(f"{name}: to connect and ask, CPU for each", cpu / count * 1e6, "us"),
        Figure(f"{name}: all woken by one write, CPU for each", woken / count * 1e6, "us", goal="a tenth of 104"),
        Figure(f"{name}: from the write to the last answer", wall * 1e3, "ms"),
        Figure(f"{name}: slowest answer to another client while they came", calm["longest"] * 1e3, "ms"),
        Figure(f"{name}: slowest answer to another client while they were woken", stalled["longest"] * 1e3, "ms"),
    ]


def most(wanted: int) -> int:
    """How many connections of those wanted the limit on open files allows a process, with some for other things."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard - 200)
    if allowed < wanted:
        print(f"the hard limit on open files is {hard:,}: {allowed:,} watchers are held, not {wanted:,} (ulimit -Hn)")
    return allowed


async def run(full: bool) -> list[Figure]:
    """The table; `full` wakes more often."""
    return await table(1000, 20 if full else 8, (10_000, 50_000))


async def table(watchers: int, rounds: int, held_at_once: tuple[int, ...]) -> list[Figure]:
    """All rows."""
    figures = []
    with running(LictorCluster(1, **LIMITS)) as server:
        await _change(server.http[0])
        most(0)
        figures += await fan_out(server, watchers, rounds)
    for count in held_at_once:
        with running(LictorCluster(1, **LIMITS)) as server:
            figures += await holding(server, most(count))
    return figures
