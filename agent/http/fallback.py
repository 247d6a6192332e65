"""Requests that are not plain: aiohttp reads them, and writes their answers as Consul's server would.

aiohttp has opinions of its own: it names itself in a `Server` header, tells who sent nonsense in detail what was wrong
with it, and forgets requests that it has read already when what follows them in the same piece is malformed. All that
is undone here.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import StreamReader, hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_parser import RawRequestMessage

from agent.http.front import Front, Incoming, Outgoing
from agent.http.routing import TEXT, HttpError

log = logging.getLogger("lictor.agent.http")

READ_TIMEOUT = 30.0
"""Seconds that a body may take, and that a client may let a piece of a streamed answer lie."""
SLOWEST = 64 << 10
"""Bytes a second: for so many, a body gets a second more."""
MAX_LINE = 1 << 16
MAX_HEADERS = 10_000
MAX_PIECES = 64
"""Heads of one read from the network that are handed on one by one."""


class Request(web.BaseRequest):
    """A request whose answer does not name the software that gives it."""

    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        response.headers.pop(hdrs.SERVER, None)


class Connection(web.RequestHandler):
    """aiohttp's protocol, which keeps what it has read when something malformed follows, and says less about that."""

    def data_received(self, data: bytes) -> None:
        """Bytes came. Head by head: the parser drops all that it found in a piece when it fails later in that piece."""
        begin, pieces = 0, 0
        while (end := data.find(b"\r\n\r\n", begin) + 4) >= 4 and end < len(data) and pieces < MAX_PIECES:
            super().data_received(data[begin:end])
            begin, pieces = end, pieces + 1
        super().data_received(data[begin:] if begin else data)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What a client is told that sent no HTTP, or whose request failed for a reason that nothing foresaw."""
        if status >= 500:
            log.error("a request failed", exc_info=exc)
        else:
            log.debug("a malformed request of %s: %s", request.remote, message)
        if request.writer.output_size > 0:
            raise ConnectionError("part of the answer is sent already")
        return ended_with(status, "400 Bad Request" if status < 500 else "internal error")


class Fallback(web.Server):
    """aiohttp's server for the connections of some doors. `front_of` tells which door a protocol of it came from.

    `respond` answers a request, whatever it may be; heads longer than `max_head` bytes are refused.
    """

    def __init__(
        self,
        respond: Callable[[Incoming], Awaitable[Outgoing]],
        front_of: Callable[[asyncio.BaseProtocol], Front | None],
        max_head: int,
    ) -> None:
        super().__init__(self._handle, request_factory=self._request)
        self._respond = respond
        self._front_of = front_of
        self._max_head = max_head

    def __call__(self) -> Connection:
        """A protocol for a connection."""
        settings: dict[str, Any] = {
            "access_log": None,
            "auto_decompress": False,
            "keepalive_timeout": 75.0,
            "lingering_time": 2.0,
            "max_field_size": min(self._max_head, MAX_LINE),
            "max_headers": MAX_HEADERS,
            "max_line_size": MAX_LINE,
        }
        return Connection(self, loop=asyncio.get_running_loop(), **settings)

    def _request(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: "asyncio.Task[None]",
    ) -> web.BaseRequest:
        return Request(message, payload, protocol, writer, task, asyncio.get_running_loop())

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """A request that aiohttp has read."""
        front = self._front_of(request.protocol)
        if front is None:
            raise ConnectionResetError("the client is gone")
        return await front.attend(request.method, self._attended(request, front.remote))

    async def _attended(self, request: web.BaseRequest, remote: str) -> web.StreamResponse:
        if sum(len(name) + len(value) + 4 for name, value in request.raw_headers) > self._max_head:
            return ended_with(431, "431 Request Header Fields Too Large")
        if request.version not in ((1, 0), (1, 1)):
            return ended_with(505, "505 HTTP Version Not Supported")
        expect = request.headers.get("Expect", "")
        if expect and expect.lower() != "100-continue":
            return ended_with(417, f"417 Expectation Failed: only 100-continue can be expected, not {expect[:64]!r}")

        async def read_body(limit: int) -> bytes:
            return await _read_body(request, limit, bool(expect) and request.version >= (1, 1))

        incoming = Incoming(request.method, request.raw_path, request.headers, remote, read_body)
        outgoing = await self._respond(incoming)
        answer, headers, gzip = outgoing
        if answer.stream is not None:
            return await _stream(request, outgoing)
        response = web.Response(body=answer.body, status=answer.status, headers=headers)
        if not answer.content_type:
            response.headers.pop("Content-Type", None)
        if gzip:
            response.enable_compression(web.ContentCoding.gzip)
        return response


async def _stream(request: web.BaseRequest, outgoing: Outgoing) -> web.StreamResponse:
    answer, headers, _ = outgoing
    response = web.StreamResponse(status=answer.status, headers=headers)
    with contextlib.suppress(ConnectionError):  # `write` will say so again, to whoever has to clean up.
        await response.prepare(request)

    async def write(data: bytes) -> None:
        if request.transport is None or request.transport.is_closing():
            raise ConnectionResetError("the client is gone")
        async with asyncio.timeout(READ_TIMEOUT):
            await response.write(data)

    assert answer.stream is not None
    await answer.stream(write)
    await response.write_eof()
    return response


def ended_with(status: int, text: str) -> web.StreamResponse:
    """An answer after which the connection ends."""
    response = web.Response(body=text.encode(), status=status, headers={"Content-Type": TEXT, "Connection": "close"})
    response.force_close()
    return response


async def _read_body(request: web.BaseRequest, limit: int, announced: bool) -> bytes:
    """The body that aiohttp reads; `announced`: the client sends it once it is told to go on. Raises HttpError."""
    if request.content_length is not None and request.content_length > limit:
        raise too_large(limit, request.content_length)
    if announced and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = bytearray()
    began = asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout(READ_TIMEOUT) as timer:
            while chunk := await request.content.readany():
                body += chunk
                if len(body) > limit:
                    raise too_large(limit, len(body))
                timer.reschedule(began + READ_TIMEOUT + len(body) / SLOWEST)
    except TimeoutError:
        raise HttpError(408, "the body of the request came too slowly") from None
    except web.RequestPayloadError as error:
        raise HttpError(400, f"the body of the request is malformed: {error}") from None
    return bytes(body)


def too_large(limit: int, size: int) -> HttpError:
    """What a request is told whose body has more bytes than it may."""
    return HttpError(
        413,
        f"Request body({size} bytes) too large, max size: {limit} bytes. "
        "See https://www.consul.io/docs/agent/config/config-files#kv_max_value_size.",
    )
