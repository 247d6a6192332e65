"""The door of the HTTP server: plain requests are answered right here, all others go to aiohttp.

Nearly every request of a client is plain: a head that arrives in one piece, HTTP/1.1, a body of known length. Such a
head is told by one regular expression, which is stricter than HTTP; what it does not match is not judged here. The
first request that is not plain hands the whole connection, from its first byte that is not answered yet, to aiohttp's
protocol, which then has it for good. So this module needs no opinion on the rare corners of HTTP, and a plain request
costs much less than it does there.
"""

import asyncio
import gzip
import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from email.utils import formatdate
from http import HTTPStatus
from typing import NamedTuple, Protocol, cast

from multidict import CIMultiDict

from agent.http.routing import ApiResponse

log = logging.getLogger("lictor.agent.http")

MAX_HEAD = 16 << 10
MAX_BODY = 256 << 10
"""Bytes up to which a head, and a body, is taken in here; larger ones are aiohttp's."""
MAX_AHEAD = 1 << 20
"""Bytes of later requests that are taken in while one is being answered."""
BODY_TIMEOUT = 30.0
WRITE_TIMEOUT = 300.0
IDLE_TIMEOUT = 75.0
"""Seconds in which a body must have come, a whole answer must have gone, and the next request must begin."""
GZIP_IN_THREAD = 64 << 10
MAX_AT_ONCE = 16
"""Requests of one connection that are answered without a task before others get a turn."""
JOIN = 64 << 10
"""Bytes up to which it is cheaper to copy an answer into one piece than to write two."""

_PLAIN_HEAD = re.compile(rb"(GET|PUT|POST|DELETE) (/[!-~]*) HTTP/1\.1\r\n((?:[A-Za-z0-9_-]+:[ -~\t]*\r\n)*)\r\n")
_NOT_PLAIN = ("Transfer-Encoding", "Expect", "Connection", "Upgrade", "Content-Encoding")
"""Headers that a plain request does not have (but for `Connection: keep-alive`)."""


class Incoming(NamedTuple):
    """A request as the server's answering part sees it, whoever read it from the connection.

    `target` is what stands in the request's first line, `read_body(limit)` gives the body or raises HttpError 413.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    remote: str
    read_body: Callable[[int], Awaitable[bytes]]


class Outgoing(NamedTuple):
    """An answer with all its headers but those about its length and date; `gzip`: the client wants it compressed."""

    answer: ApiResponse
    headers: dict[str, str]
    gzip: bool


class Work(Protocol):
    """What is under way for a connection: a task, or a read that waits."""

    def cancel(self) -> object:
        """The client is gone."""


Respond = Callable[[Incoming], Awaitable[Outgoing]]
WithinLimit = Callable[[bytes, int], bytes]


class _Plain(NamedTuple):
    """A plain request's head: where it ends in the buffer, and how long the body is."""

    method: str
    target: str
    headers: CIMultiDict[str]
    end: int
    length: int


def plain_head(buffer: bytes | bytearray, max_head: int = MAX_HEAD) -> _Plain | None:
    """The plain request that `buffer` begins with; None for anything else, an unfinished head among it."""
    match = _PLAIN_HEAD.match(buffer, 0, max_head)
    if match is None:
        return None
    method, target, lines = (bytes(part).decode("ascii") for part in match.groups())
    headers: CIMultiDict[str] = CIMultiDict()
    for line in lines.split("\r\n")[:-1]:
        name, _, value = line.partition(":")
        headers.add(name, value.strip(" \t"))
    for name in _NOT_PLAIN:
        if name in headers and headers[name].lower() != "keep-alive":
            return None
    length = 0
    if "Content-Length" in headers:
        text = headers["Content-Length"]
        if not text.isdigit() or len(text) > 9 or len(headers.getall("Content-Length")) > 1:
            return None
        length = int(text)
    if length > MAX_BODY or len(headers.getall("Host", ())) != 1:
        return None
    return _Plain(method, target, headers, match.end(), length)


class Doors:
    """All connections of a server: makes one `Front` for each, and ends them.

    `respond` answers a request, `within_limit(body, limit)` raises HttpError for a body that is too large, `fallback`
    makes aiohttp's protocol. Heads longer than `max_head` bytes are left to that.
    """

    def __init__(
        self,
        respond: Respond,
        within_limit: WithinLimit,
        fallback: Callable[[], asyncio.BaseProtocol],
        max_head: int = MAX_HEAD,
    ) -> None:
        self.max_head = min(max_head, MAX_HEAD)
        self.respond = respond
        self.within_limit = within_limit
        self.fallback = fallback
        self.open: set[Front] = set()
        self.take: Callable[[Front, bytes], bool] | None = None
        """Whoever answers requests that need no task, by their head; False from it: this one does."""

    def __call__(self) -> asyncio.Protocol:
        """A protocol for a new connection."""
        return Front(self)

    async def close(self, seconds: float) -> None:
        """End the connections; answers under way get so many seconds."""
        tasks = [front.task for front in self.open if isinstance(front.task, asyncio.Task)]
        for front in list(self.open):
            front.closing = True
            if not isinstance(front.task, asyncio.Task):
                front.close()
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)
        for front in list(self.open):
            front.close()
            if isinstance(front.task, asyncio.Task):
                front.task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Front(asyncio.Protocol):
    """One connection, until it ends or aiohttp takes it."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._buffer = bytearray()
        self._request: _Plain | None = None
        self._transport: asyncio.Transport
        self._remote = ""
        self._writable: asyncio.Future[None] | None = None
        self._reading = True
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.task: Work | None = None
        self.closing = False

    # What the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there."""
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self._remote = str(peer[0]) if isinstance(peer, tuple) else ""
        self._doors.open.add(self)
        self._expect(IDLE_TIMEOUT)
        self._look_again()

    def data_received(self, data: bytes) -> None:
        """Bytes came: answer the request that they complete, unless another is being answered."""
        tried = False
        if self.task is None and not self._buffer and data.find(b"\r\n\r\n") == len(data) - 4:
            if self._taken(data):
                return
            tried = True
        self._buffer += data
        if self.task is None:
            self._next(tried)
        elif self._reading and len(self._buffer) > MAX_AHEAD:
            self._reading = False
            self._transport.pause_reading()

    def pause_writing(self) -> None:
        """The client reads more slowly than answers are made."""
        self._writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        """The client has caught up."""
        waiting, self._writable = self._writable, None
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone. A read that waits for a change stops waiting; a write goes on to its end."""
        self._leave()
        self.resume_writing()
        if self.task is not None and (self._request is None or self._request.method == "GET"):
            self.task.cancel()

    # Reading requests

    def close(self) -> None:
        """End the connection."""
        if not self._transport.is_closing():
            self._transport.close()

    def _leave(self) -> None:
        self._doors.open.discard(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _next(self, tried: bool = False) -> None:
        """Answer the next request if it is whole; `tried`: it needs a task."""
        if not self._buffer or self._transport.is_closing():
            return
        request = self._request
        if request is None and not tried and self._take_some():
            return
        if request is None:
            request = self._request = plain_head(self._buffer, self._doors.max_head)
            if request is None:
                self._hand_over()
                return
            self._expect(BODY_TIMEOUT)
        end = request.end + request.length
        if len(self._buffer) < end:
            return
        body = bytes(self._buffer[request.end : end])
        del self._buffer[:end]
        self.task = asyncio.get_running_loop().create_task(self._answer(request, body))

    def _taken(self, head: bytes) -> bool:
        """Whether the request of this head is answered, or waits, without a task."""
        take = self._doors.take
        return take is not None and self._writable is None and take(self, head)

    def _take_some(self) -> bool:
        """Answer requests of the buffer without a task; False when the next one needs one."""
        buffer = self._buffer
        for _ in range(MAX_AT_ONCE):
            end = buffer.find(b"\r\n\r\n") + 4
            if end < 4 or not self._taken(bytes(buffer[:end])):
                return False
            del buffer[:end]
            if self.task is not None or not buffer:
                return True
        asyncio.get_running_loop().call_soon(self._next_later)  # Others get a turn.
        return True

    def _next_later(self) -> None:
        if self.task is None:
            self._next()

    def deliver(self, opening: bytes, rest: bytes) -> None:
        """Send an answer that needs no task, in two pieces; nothing else may be under way."""
        transport = self._transport
        if transport.is_closing():
            return
        if len(rest) > JOIN:
            transport.writelines((opening, rest))
        else:
            transport.write(opening + rest)
        if self._writable is None:
            self._expect(IDLE_TIMEOUT)
        else:
            self.task = asyncio.get_running_loop().create_task(self._catch_up())

    async def _catch_up(self) -> None:
        """Wait until the client has read what was delivered."""
        try:
            await self._drain(WRITE_TIMEOUT)
        except (OSError, asyncio.CancelledError):
            self.close()
        finally:
            self.task = None
            self.go_on()

    def _hand_over(self) -> None:
        """From here on the connection is aiohttp's."""
        self._leave()
        protocol = cast(asyncio.Protocol, self._doors.fallback())
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        protocol.data_received(bytes(self._buffer))
        self._buffer.clear()

    # Silence: one timer for a connection, which looks now and then whether the deadline has passed

    def _expect(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds

    def _look_again(self) -> None:
        if self.task is None and time.monotonic() >= self._deadline:
            self.close()
            return
        self._timer = asyncio.get_running_loop().call_later(BODY_TIMEOUT / 2, self._look_again)

    # Answering

    async def _answer(self, request: _Plain, body: bytes) -> None:
        async def read_body(limit: int) -> bytes:
            return self._doors.within_limit(body, limit)

        try:
            incoming = Incoming(request.method, request.target, request.headers, self._remote, read_body)
            outgoing = await self._doors.respond(incoming)
            if outgoing.answer.stream is not None:
                await self._stream(outgoing)
            else:
                await self._write(outgoing)
        except (OSError, asyncio.CancelledError):
            self.close()  # The client is gone or too slow, or the agent stops.
        except Exception:
            log.exception("%s %s failed", request.method, request.target)
            self.close()
        finally:
            self.task = self._request = None
            self.go_on()

    def go_on(self) -> None:
        """An answer is given: look at what the client has sent meanwhile."""
        if self.task is not None:
            return
        if self.closing:
            self.close()
        if self._transport.is_closing():
            return
        if not self._reading:
            self._reading = True
            self._transport.resume_reading()
        self._expect(IDLE_TIMEOUT)
        self._next()

    async def _write(self, outgoing: Outgoing) -> None:
        answer, headers, wants_gzip = outgoing
        body = answer.body
        if wants_gzip:
            headers["Content-Encoding"] = "gzip"
            if len(body) > GZIP_IN_THREAD:
                body = await asyncio.to_thread(gzip.compress, body, 6, mtime=0)
            else:
                body = gzip.compress(body, 6, mtime=0)
        if answer.status not in (204, 304):
            headers["Content-Length"] = str(len(body))
        self._send(head(answer.status, headers) + body)
        await self._drain(WRITE_TIMEOUT)

    async def _stream(self, outgoing: Outgoing) -> None:
        answer, headers, _ = outgoing
        headers["Transfer-Encoding"] = "chunked"
        self._send(head(answer.status, headers))

        async def write(data: bytes) -> None:
            self._send(b"%x\r\n%b\r\n" % (len(data), data) if data else b"")
            await self._drain(BODY_TIMEOUT)

        assert answer.stream is not None
        await answer.stream(write)
        self._send(b"0\r\n\r\n")

    def _send(self, data: bytes) -> None:
        """Queue bytes. Raises ConnectionResetError when the client is gone, which uvloop reports as RuntimeError."""
        if self._transport.is_closing():
            raise ConnectionResetError("the client is gone")
        self._transport.write(data)

    async def _drain(self, seconds: float) -> None:
        """Wait while the client is behind. Raises TimeoutError (an OSError) when it stays so."""
        if self._writable is not None:
            async with asyncio.timeout(seconds):
                await self._writable


_REASONS = {status.value: status.phrase for status in HTTPStatus}
_openings: tuple[int, dict[int, bytes]] = (0, {})


def opening(status: int) -> bytes:
    """An answer's first line and its date."""
    global _openings
    now = int(time.time())
    if _openings[0] != now:
        _openings = (now, {})
    found = _openings[1].get(status)
    if found is None:
        date = formatdate(now, usegmt=True)
        found = _openings[1][status] = f"HTTP/1.1 {status} {_REASONS.get(status, '')}\r\nDate: {date}\r\n".encode()
    return found


def header_lines(headers: Mapping[str, str]) -> bytes:
    """The headers of an answer and the empty line. Raises ValueError when one would break its line."""
    text = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if text.count("\n") != len(headers) or text.count("\r") != len(headers):
        raise ValueError("a header's value contains a line break")
    return text.encode("utf-8", "replace") + b"\r\n"


def head(status: int, headers: Mapping[str, str]) -> bytes:
    """An answer's head. Raises ValueError when a header would break its line."""
    return opening(status) + header_lines(headers)
