"""`TelemetryDriver`: closes the intervals of this process's metrics and sends them where the configuration says."""

import asyncio
import logging
import socket
import sys
import time
from collections.abc import Awaitable, Callable

from agent.config.settings import Telemetry
from agent.metric_sources import process_gauges
from agent.metrics import Followed, Naming, as_dump, as_json, as_prometheus, datagrams, statsd_lines
from model.gojson import encode_json
from model.metrics import INTERVAL, METRICS, Interval, Metrics
from rpc.streams import send

log = logging.getLogger("lictor.agent.telemetry")

FLUSH = 1.0
"""Seconds between two packets for statsd and its kin."""
DATAGRAM = 1400
CONNECT_TIMEOUT = 5.0
RECONNECT = 10.0
STREAMS = 16
"""How many clients may follow the metrics at the same time."""


class TelemetryError(OSError):
    """A receiver of metrics cannot be reached, and the configuration does not allow to try again."""


class TelemetryDriver:
    """Owns the tasks around a process's metrics. `sources` says the gauges of an agent."""

    def __init__(
        self, settings: Telemetry, sources: Callable[[Metrics], None], registry: Metrics = METRICS, hostname: str = ""
    ) -> None:
        self.settings = settings
        self._registry = registry
        self._hostname = hostname or socket.gethostname()
        self.naming = Naming(settings, self._hostname)
        self._tasks: set[asyncio.Task[None]] = set()
        self._rolled = asyncio.Event()
        self._newest: Interval | None = None
        self._ends = [registry.on_roll(sources), registry.on_roll(process_gauges)]
        self._streams = 0

    async def start(self) -> None:
        """Begin. Raises TelemetryError when statsite must be reached at once and is not."""
        settings = self.settings
        self._registry.begin(time.time())
        self._spawn(self._roll())
        if settings.statsd_address:
            self._spawn(self._send_datagrams(settings.statsd_address, None))
        if settings.dogstatsd_address:
            self._spawn(self._send_datagrams(settings.dogstatsd_address, settings.dogstatsd_tags))
        if settings.statsite_address:
            writer = None
            try:
                writer = await _connect(settings.statsite_address)
            except OSError as error:
                if not settings.retry_failed_connection:
                    raise TelemetryError(f"telemetry: cannot reach {settings.statsite_address}: {error}") from None
                log.warning("cannot reach %s, will retry: %s", settings.statsite_address, error)
            self._spawn(self._stream_lines(settings.statsite_address, writer))

    def reload(self, settings: Telemetry) -> None:
        """Take over another filter."""
        self.settings = settings
        self.naming = Naming(settings, self._hostname)

    async def stop(self) -> None:
        """End the tasks."""
        for end in self._ends:
            end()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # What is shown

    def json(self) -> dict[str, object]:
        """The newest finished interval, as /v1/agent/metrics shows it."""
        return as_json(self._registry.last(), self.naming)

    def prometheus(self) -> bytes | None:
        """Everything in Prometheus' format; None when that is off."""
        if self.settings.prometheus_retention <= 0:
            return None
        text = as_prometheus(self._registry.gauges_now(), self._registry.series(), self.naming)
        return text.encode("utf-8", "replace")

    def dump(self) -> None:
        """Write the newest finished interval to standard error."""
        print(as_dump(self._registry.last(), self.naming), file=sys.stderr, flush=True)

    def may_stream(self) -> bool:
        """Whether another client may follow."""
        return self._streams < STREAMS

    async def stream(self, write: Callable[[bytes], Awaitable[None]]) -> None:
        """Write the newest interval, then every one as it ends, one JSON object on a line, until the client is gone."""
        self._streams += 1
        try:
            await write(encode_json(self.json()) + b"\n")
            while True:
                rolled = self._rolled
                await rolled.wait()
                if self._newest is not None:
                    await write(encode_json(as_json(self._newest, self.naming)) + b"\n")
        finally:
            self._streams -= 1

    # Tasks

    async def _roll(self) -> None:
        while True:
            now = time.time()
            await asyncio.sleep(INTERVAL - now % INTERVAL)
            self._newest = self._registry.roll(time.time())
            rolled, self._rolled = self._rolled, asyncio.Event()
            rolled.set()

    def _lines(self, followed: Followed, tags: tuple[str, ...] | None, with_gauges: bool) -> list[str]:
        gauges = self._registry.gauges_now() if with_gauges else []
        return statsd_lines(gauges, followed.news(self._registry.series()), self.naming, tags)

    async def _send_datagrams(self, address: str, tags: tuple[str, ...] | None) -> None:
        host, _, port = address.rpartition(":")
        followed, turn = Followed(), 0
        transport: asyncio.DatagramTransport | None = None
        try:
            while True:
                await asyncio.sleep(FLUSH)
                lines = self._lines(followed, tags, turn % round(INTERVAL / FLUSH) == 0)
                turn += 1
                try:
                    if transport is None or transport.is_closing():
                        transport = await _datagram_socket(host.strip("[]") or "127.0.0.1", int(port))
                    for packet in datagrams(lines, DATAGRAM):
                        transport.sendto(packet)
                except OSError as error:
                    log.debug("cannot send metrics to %s: %s", address, error)
        finally:
            if transport is not None:
                transport.close()

    async def _stream_lines(self, address: str, writer: asyncio.StreamWriter | None) -> None:
        followed, turn = Followed(), 0
        try:
            while True:
                try:
                    writer = writer or await _connect(address)
                    await asyncio.sleep(FLUSH)
                    lines = self._lines(followed, None, turn % round(INTERVAL / FLUSH) == 0)
                    turn += 1
                    send(writer, "".join(f"{line}\n" for line in lines).encode("utf-8", "replace"))
                    async with asyncio.timeout(CONNECT_TIMEOUT):
                        await writer.drain()
                except OSError as error:
                    log.warning("cannot send metrics to %s, will retry: %s", address, error)
                    if writer is not None:
                        writer.close()
                        writer = None
                    await asyncio.sleep(RECONNECT)
        finally:
            if writer is not None:
                writer.close()


async def _datagram_socket(host: str, port: int) -> asyncio.DatagramTransport:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=(host, port))
    return transport


async def _connect(address: str) -> asyncio.StreamWriter:
    """Connect to `host:port`. Raises OSError."""
    host, _, port = address.rpartition(":")
    async with asyncio.timeout(CONNECT_TIMEOUT):
        _, writer = await asyncio.open_connection(host.strip("[]") or "127.0.0.1", int(port))
    return writer
