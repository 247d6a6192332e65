"""The door of the HTTP server: plain requests are answered right here, all others go to aiohttp.

Nearly every request of a client is plain: HTTP/1.1, a body of known length. Such a head is told by one regular
expression, which is stricter than HTTP; what it does not match is not judged here. The first request that is not plain
hands the whole connection, from its first byte that is not answered yet, to aiohttp's protocol, which then has it for
good. So this module needs no opinion on the rare corners of HTTP, and a plain request costs much less than it does
there.

Heads are held back until they are whole, and what a client may take of time and memory is watched here for both.
"""

import asyncio
import contextlib
import gzip
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import NamedTuple, Protocol, TypeVar, cast

from agent.http.clients import TOO_LARGE, TOO_MANY, TOO_SLOW, Clients, Times
from agent.http.heads import HEAD_ENDS, MAX_HEAD, Plain, head, plain_head
from agent.http.routing import ApiResponse
from rpc.addresses import host_of

log = logging.getLogger("lictor.agent.http")
T = TypeVar("T")

MAX_AHEAD = 1 << 20
"""Bytes of later requests that are taken in while one is being answered."""
GZIP_IN_THREAD = 64 << 10
MAX_AT_ONCE = 16
"""Requests of one connection that are answered without a task before others get a turn."""
JOIN = 64 << 10
"""Bytes up to which it is cheaper to copy an answer into one piece than to write two."""


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


class Doors:
    """All connections of a server: makes one `Front` for each, and ends them.

    `respond` answers a request, `within_limit(body, limit)` raises HttpError for a body that is too large, `fallback`
    makes aiohttp's protocol. Heads longer than `max_head` bytes are refused. `clients` and `times` bound what a client
    may have and take.
    """

    def __init__(
        self,
        respond: Respond,
        within_limit: WithinLimit,
        fallback: Callable[[], asyncio.BaseProtocol],
        max_head: int = MAX_HEAD,
        clients: Clients | None = None,
        times: Times = Times(),
    ) -> None:
        self.max_plain_head = min(max_head, MAX_HEAD)
        self.max_head = max_head
        self.clients = clients or Clients(0)
        self.times = times
        self.respond = respond
        self.within_limit = within_limit
        self.fallback = fallback
        self.open: set[Front] = set()
        self.take: Callable[[Front, bytes], bool] | None = None
        """Whoever answers requests that need no task, by their head; False from it: this one does."""
        self.handed: dict[asyncio.BaseProtocol, Front] = {}
        """Connections that are aiohttp's, by its protocol."""

    def __call__(self, counted: bool = False) -> "Front":
        """A protocol for a new connection; `counted`: among its client's already, by whoever accepted it."""
        return Front(self, counted)

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
    """One connection. Once aiohttp has it, this passes on what the transport says and keeps watching."""

    __slots__ = (
        *(
            "_buffer",
            "_counted",
            "_deadline",
            "_doors",
            "_ended",
            "_later",
            "_reading",
            "_refused",
            "_request",
            "_rest",
        ),
        *("_searched", "_stalled", "_timer", "_transport", "_unsent", "_writable"),
        *("cancellable", "closing", "remote", "task"),
    )

    def __init__(self, doors: Doors, counted: bool = False) -> None:
        self._doors = doors
        self._counted = counted
        self._buffer = bytearray()
        self._searched = 0
        self._request: Plain | None = None
        self._transport: asyncio.Transport
        self._rest: asyncio.Protocol | None = None
        self.remote = ""
        """The client's address; "" for one of a unix socket."""
        self._refused = False
        self._ended = False
        self._later = False
        self._writable: asyncio.Future[None] | None = None
        self._stalled = 0.0
        self._unsent = 0
        self._reading = True
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.task: Work | None = None
        self.cancellable = False
        self.closing = False

    # What the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there."""
        self._transport = cast(asyncio.Transport, transport)
        self.remote = host_of(transport.get_extra_info("peername"))
        clients = self._doors.clients
        within = clients.within(self.remote) if self._counted else clients.came(self.remote)
        if not within:
            log.debug("refused a connection from %s: it has too many", self.remote)
            if clients.flooded(self.remote):
                self._refused = True
                self._transport.abort()
            else:
                self._refuse(TOO_MANY)
            return
        self._doors.open.add(self)
        self._expect(self._doors.times.idle)
        self._look_again()

    def data_received(self, data: bytes) -> None:
        """Bytes came: answer the request that they complete, unless another is being answered."""
        if self._rest is not None:
            self._rest.data_received(data)
            return
        if self._refused:
            return
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

    def eof_received(self) -> bool:
        """The client sends no more. It may be gone, or wait for its answers: those get a moment."""
        self._ended = True
        if self._idle():
            return False
        self._expect(self._doors.times.half_closed)
        self._look_at(self._doors.times.half_closed)
        return True

    def pause_writing(self) -> None:
        """The client reads more slowly than answers are made."""
        self._stalled = time.monotonic()
        self._unsent = self._transport.get_write_buffer_size()
        if self._rest is not None:
            self._rest.pause_writing()
        else:
            self._writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._stalled = 0.0
        if self._rest is not None:
            self._rest.resume_writing()
        self._let_go()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone. A read that waits for a change stops waiting; a write goes on to its end."""
        if not self._counted:
            self._doors.clients.went(self.remote)
        self._doors.open.discard(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._rest is not None:
            self._doors.handed.pop(self._rest, None)
            self._rest.connection_lost(exc)
        self._let_go()
        if self.task is not None and self.cancellable:
            self.task.cancel()

    def _let_go(self) -> None:
        """Let whoever waits until the client reads go on."""
        waiting, self._writable = self._writable, None
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    # Reading requests

    def close(self) -> None:
        """End the connection; what was written still goes out."""
        if not self._transport.is_closing():
            self._transport.close()

    def _refuse(self, answer: bytes) -> None:
        """Send a last answer and listen no more."""
        self._refused = True
        self._buffer.clear()
        self._transport.write(answer)
        self._transport.write_eof()
        # To close at once would reset the connection, and the answer might be lost with it.
        self._timer = asyncio.get_running_loop().call_later(self._doors.times.refused, self._transport.abort)

    def _next(self, tried: bool = False) -> None:
        """Answer the next request if it is whole; `tried`: it needs a task."""
        if not self._buffer or self._transport.is_closing():
            return
        request = self._request
        if request is None and not tried and self._take_some():
            return
        if request is None:
            request = self._request = plain_head(self._buffer, self._doors.max_plain_head)
            if request is None:
                self._not_plain()
                return
            self._searched = 0
            self._expect(self._doors.times.body)
        end = request.end + request.length
        if len(self._buffer) < end:
            return
        body = bytes(self._buffer[request.end : end])
        del self._buffer[:end]
        self.cancellable = request.method == "GET"
        self.task = asyncio.get_running_loop().create_task(self._answer(request, body))

    def _taken(self, head: bytes) -> bool:
        """Whether the request of this head is answered, or waits, without a task."""
        take = self._doors.take
        if take is None or self._writable is not None or not take(self, head):
            return False
        self.cancellable, self._searched = True, 0
        return True

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
        if not self._later:
            self._later = True
            asyncio.get_running_loop().call_soon(self._next_later)  # Others get a turn.
        return True

    def _next_later(self) -> None:
        self._later = False
        self.go_on()

    def _idle(self) -> bool:
        """Whether nothing is being done for the client, nor about to be."""
        return self.task is None and self._rest is None and not self._later

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
            self._expect(self._doors.times.idle)
        else:
            self.task = asyncio.get_running_loop().create_task(self._catch_up())

    async def _catch_up(self) -> None:
        """Wait until the client has read what was delivered."""
        try:
            await self._drain()
        except (OSError, asyncio.CancelledError):
            self.close()
        finally:
            self.task = None
            self.go_on()

    def _not_plain(self) -> None:
        """The buffer begins with a head that is unfinished, too large or not plain."""
        found = HEAD_ENDS.search(self._buffer, max(0, self._searched - 3))
        if (found.end() if found else len(self._buffer)) > self._doors.max_head:
            self._leave()
            self._refuse(TOO_LARGE)
        elif found is not None or not self._buffer[:1].isalpha():
            self._hand_over()
        else:
            if not self._searched:
                self._expect(self._doors.times.head)
                self._look_at(self._doors.times.head)
            self._searched = len(self._buffer)

    def _leave(self) -> None:
        self._doors.open.discard(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _hand_over(self) -> None:
        """From here on the connection is aiohttp's."""
        self._doors.open.discard(self)
        self._rest = cast(asyncio.Protocol, self._doors.fallback())
        self._doors.handed[self._rest] = self
        self._rest.connection_made(self._transport)
        data = bytes(self._buffer)
        self._buffer.clear()
        self._rest.data_received(data)

    # Silence: one timer for a connection, which looks now and then whether a deadline has passed

    def _expect(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds

    def _look_at(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds + 0.01, self._look_again)

    def _look_again(self) -> None:
        now, times = time.monotonic(), self._doors.times
        self._timer = None
        if self._stalled:
            unsent = self._transport.get_write_buffer_size()
            if unsent < self._unsent:
                self._stalled = now  # The client takes its time, but it takes.
            self._unsent = unsent
            if now - self._stalled >= times.write:
                log.warning("ended the connection of %s: it does not read its answer", self.remote or "a local client")
                self._transport.abort()
                return
        elif now >= self._deadline:
            if self.task is None and (self._rest is None or self._ended):
                if self._searched:
                    self._leave()
                    self._refuse(TOO_SLOW)
                else:
                    self.close()
                return
            if self._ended and self.task is not None and self.cancellable:
                self.task.cancel()
                self.close()
                return
        self._look_at(min(times.body / 2, times.write / 2, times.half_closed if self._ended else times.idle))

    # Requests that aiohttp has read

    async def attend(self, method: str, answering: Coroutine[object, object, T]) -> T:
        """Carry out what answers a request, and cancel it if it is a read and the client goes."""
        self.cancellable = method == "GET"
        task = asyncio.get_running_loop().create_task(answering)
        self.task = task
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if self.cancellable:
                task.cancel()
            raise
        finally:
            self.task = None
            if self._ended:
                self._look_at(self._doors.times.half_closed)

    # Answering

    async def _answer(self, request: Plain, body: bytes) -> None:
        async def read_body(limit: int) -> bytes:
            return self._doors.within_limit(body, limit)

        try:
            incoming = Incoming(request.method, request.target, request.headers, self.remote, read_body)
            outgoing = await self._doors.respond(incoming)
            if outgoing.answer.stream is not None:
                await self._stream(outgoing)
            else:
                await self._write(outgoing)
        except (OSError, asyncio.CancelledError):
            self.close()  # The client is gone or too slow, or the agent stops.
        except Exception:
            log.exception("%s %s", request.method, request.target.partition("?")[0])
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
        self._expect(self._doors.times.idle)
        if self._buffer:
            self._next()
        if self._ended and self._idle():
            self.close()

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
        await self._drain()

    async def _stream(self, outgoing: Outgoing) -> None:
        answer, headers, _ = outgoing
        headers["Transfer-Encoding"] = "chunked"
        with contextlib.suppress(ConnectionResetError):  # `write` will say so again, to whoever has to clean up.
            self._send(head(answer.status, headers))

        async def write(data: bytes) -> None:
            self._send(b"%x\r\n%b\r\n" % (len(data), data) if data else b"")
            await self._drain()

        assert answer.stream is not None
        await answer.stream(write)
        self._send(b"0\r\n\r\n")

    def _send(self, data: bytes) -> None:
        """Queue bytes. Raises ConnectionResetError when the client is gone, which uvloop reports as RuntimeError."""
        if self._transport.is_closing():
            raise ConnectionResetError("the client is gone")
        self._transport.write(data)

    async def _drain(self) -> None:
        """Wait while the client is behind; who takes nothing for too long is cut off by the timer."""
        if self._writable is not None:
            await self._writable
