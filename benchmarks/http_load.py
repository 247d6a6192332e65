"""A light closed-loop HTTP client: every connection sends a request, waits for its answer and sends the next.

It reads no more of an answer than its status and its end, so that on a machine with few cores the servers that are
measured get most of them.
"""

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple, cast

ANSWER_SECONDS = 60.0
"""Without any answer for so long, a load is given up."""
NextRequest = Callable[[], bytes]


class Load(NamedTuple):
    """What came of a load: answered requests, seconds it took, seconds that each answer took."""

    answered: int
    seconds: float
    latencies: list[float]


class _Client(asyncio.Protocol):
    def __init__(self, state: "_State") -> None:
        self._state = state
        self._buffer = b""
        self._sent = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def _send(self) -> None:
        assert self._transport is not None
        if self._state.left <= 0:
            self._transport.close()
            return
        self._state.left -= 1
        self._sent = time.perf_counter()
        self._transport.write(self._state.next_request())

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = answer_end(self._buffer)
        if end is None:
            return
        if not self._buffer.startswith(b"HTTP/1.1 200"):
            self._state.fail(RuntimeError(f"refused: {self._buffer[:300]!r}"))
            return
        self._buffer = self._buffer[end:]
        self._state.latencies.append(time.perf_counter() - self._sent)
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        self._state.lost(exc)


class _State:
    def __init__(self, total: int, clients: int, next_request: NextRequest) -> None:
        self.left = total
        self.next_request = next_request
        self.latencies: list[float] = []
        self._open = clients
        self._total = total
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)

    def lost(self, error: Exception | None) -> None:
        self._open -= 1
        if error is not None or (not self._open and len(self.latencies) < self._total):
            self.fail(error or ConnectionResetError("a server closed its connections"))
        elif not self._open and not self.done.done():
            self.done.set_result(None)


def answer_end(buffer: bytes) -> int | None:
    """Where the first answer in `buffer` ends; None while it is not whole."""
    head = buffer.find(b"\r\n\r\n")
    if head < 0:
        return None
    lower = buffer[:head].lower()
    at = lower.find(b"\r\ncontent-length:")
    if at >= 0:
        end = head + 4 + int(lower[at + 17 :].split(b"\r\n", 1)[0])
        return end if len(buffer) >= end else None
    if b"\r\ntransfer-encoding: chunked" in lower:
        last = buffer.find(b"0\r\n\r\n", head + 4)
        return last + 5 if last >= 0 else None
    return head + 4


async def load(ports: list[int], next_request: NextRequest, total: int, clients: int) -> Load:
    """Make `total` requests over `clients` connections, dealt out over the ports of 127.0.0.1.

    Raises RuntimeError for an answer other than 200, OSError when a connection breaks, TimeoutError when answers stop.
    """
    state = _State(total, clients, next_request)
    loop = asyncio.get_running_loop()
    begin = time.perf_counter()
    for number in range(clients):
        await loop.create_connection(lambda: _Client(state), "127.0.0.1", ports[number % len(ports)])
    while not state.done.done():
        answered = len(state.latencies)
        await asyncio.wait((state.done,), timeout=ANSWER_SECONDS)
        if not state.done.done() and len(state.latencies) == answered:
            raise TimeoutError(f"no answer within {ANSWER_SECONDS:.0f} s")
    state.done.result()
    return Load(total, time.perf_counter() - begin, state.latencies)
