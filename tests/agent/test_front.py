"""The door of the HTTP server: what it takes for a plain request, and that nothing is lost between it and aiohttp."""

import asyncio
import contextlib
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import cast

import pytest
import uvloop
from aiohttp import web

from agent.http.clients import Times
from agent.http.front import Doors, Front, Incoming, Outgoing
from agent.http.heads import MAX_BODY, head, opening, plain_head
from agent.http.routing import JSON, ApiResponse

PLAIN = b"GET /v1/kv/a?raw HTTP/1.1\r\nHost: x\r\n\r\n"


def test_a_plain_head_is_read_with_its_headers_in_any_case() -> None:
    data = b"PUT /a%20b?x=1 HTTP/1.1\r\nhost: y\r\ncontent-length:3 \r\nX-Consul-Token:\t t \r\n\r\nabc"
    found = plain_head(data)
    assert found is not None
    assert (found.method, found.target, found.length) == ("PUT", "/a%20b?x=1", 3)
    assert found.headers["X-CONSUL-token"] == "t"
    assert found.end + found.length == len(data)


@pytest.mark.parametrize(
    "data",
    [
        PLAIN[:-1],
        PLAIN.replace(b"1.1", b"1.0"),
        PLAIN.replace(b"GET", b"HEAD"),
        PLAIN.replace(b"GET", b"get"),
        PLAIN.replace(b"Host: x\r\n", b""),
        PLAIN.replace(b"/v1", b"http://x/v1"),
        PLAIN.replace(b"/v1", b"/v 1"),
        PLAIN.replace(b"\r\n", b"\n"),
        PLAIN.replace(b"Host: x", b"Host: x\r\nHost: y"),
        PLAIN.replace(b"Host: x", b"Host : x"),
        PLAIN.replace(b"Host: x", b"Host: x\r\n folded"),
        PLAIN.replace(b"Host: x", b"Host: \xc3\xa9"),
        PLAIN.replace(b"Host: x", b"Host: x\x00"),
        PLAIN.replace(b"Host: x", b"Host: x\r\nTransfer-Encoding: chunked"),
        PLAIN.replace(b"Host: x", b"Host: x\r\nExpect: 100-continue"),
        PLAIN.replace(b"Host: x", b"Host: x\r\nConnection: close"),
        PLAIN.replace(b"Host: x", b"Host: x\r\nConnection: keep-alive, Upgrade"),
        PLAIN.replace(b"Host: x", b"Host: x\r\nContent-Length: 1\r\nContent-Length: 1"),
        PLAIN.replace(b"Host: x", b"Host: x\r\nContent-Length: +1"),
        PLAIN.replace(b"Host: x", b"Host: x\r\nContent-Length: %d" % (MAX_BODY + 1)),
        PLAIN.replace(b"Host: x", b"Host: x\r\nA: " + b"b" * 17000),
    ],
)
def test_what_is_not_plain_is_not_judged_here(data: bytes) -> None:
    assert plain_head(data) is None


def test_a_header_cannot_break_its_line() -> None:
    assert b"\r\nLocation: /a\r\n" in head(301, {"Location": "/a"})
    for value in ("a\r\nb: c", "a\nb", "a\r"):
        with pytest.raises(ValueError, match="line break"):
            head(301, {"Location": value})


class Application:
    """Answers every request with what it was; `/wait` waits until it is let go."""

    def __init__(self, size: int) -> None:
        self._padding = b"x" * size
        self.release = asyncio.Event()
        self.waiting = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.finished = asyncio.Event()
        self.by_aiohttp = 0

    async def respond(self, request: Incoming) -> Outgoing:
        if request.target == "/wait":
            self.waiting.set()
            try:
                await self.release.wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
            self.finished.set()
        if request.target == "/stream":
            answer = ApiResponse()

            async def stream(write: Callable[[bytes], Awaitable[None]]) -> None:
                await write(b"first ")
                await write(b"second")

            answer.stream = stream
            return Outgoing(answer, {}, False)
        body = await request.read_body(1000)
        text = f"{request.method} {request.target} {body.decode()}".encode() + self._padding
        wants_gzip = request.headers.get("Accept") == "gzip"
        return Outgoing(ApiResponse(text, 200, JSON), {"Content-Type": JSON}, wants_gzip)

    async def slowly(self, request: web.BaseRequest) -> web.StreamResponse:
        self.by_aiohttp += 1
        return web.Response(body=f"aiohttp {request.raw_path} ".encode() + await request.read() + self._padding)


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def serving(
    times: Times = Times(half_closed=0.05), size: int = 0
) -> AsyncIterator[tuple[Application, Doors, Callable[[], Awaitable[Connection]]]]:
    application = Application(size)
    rest = web.Server(application.slowly)

    def within_limit(body: bytes, limit: int) -> bytes:
        return body[:limit]

    doors = Doors(application.respond, within_limit, rest, times=times)
    server = await asyncio.get_running_loop().create_server(doors, "127.0.0.1", 0)
    writers = []

    async def connect() -> Connection:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writers.append(writer)
        return reader, writer

    try:
        async with asyncio.timeout(60):
            yield application, doors, connect
    finally:
        for writer in writers:
            writer.close()
        server.close()
        await doors.close(0.1)
        await rest.shutdown(0.1)


async def answer(reader: asyncio.StreamReader) -> bytes:
    """The body of the next answer."""
    top = await reader.readuntil(b"\r\n\r\n")
    assert top.startswith(b"HTTP/1.1 200 OK\r\n") and b"\r\nDate: " in top
    return await reader.readexactly(int(top.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]))


async def test_requests_in_one_packet_are_answered_in_order() -> None:
    async with serving() as (application, _, connect):
        reader, writer = await connect()
        put = b"PUT /b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"
        writer.write(PLAIN + put + PLAIN)
        assert [await answer(reader) for _ in range(3)] == [b"GET /v1/kv/a?raw ", b"PUT /b hi", b"GET /v1/kv/a?raw "]
        assert application.by_aiohttp == 0


async def test_a_request_that_is_not_plain_takes_its_connection_to_aiohttp() -> None:
    async with serving() as (application, doors, connect):
        reader, writer = await connect()
        chunked = b"PUT /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
        writer.write(PLAIN + chunked + PLAIN)
        assert await answer(reader) == b"GET /v1/kv/a?raw "
        assert await answer(reader) == b"aiohttp /c hi"
        assert await answer(reader) == b"aiohttp /v1/kv/a?raw "
        assert application.by_aiohttp == 2 and not doors.open


async def test_a_head_or_body_in_pieces_is_answered() -> None:
    async with serving() as (application, _, connect):
        reader, writer = await connect()
        writer.write(b"PUT /b HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nh")
        await asyncio.sleep(0.05)
        writer.write(b"ell" + PLAIN)
        assert [await answer(reader) for _ in range(2)] == [b"PUT /b hell", b"GET /v1/kv/a?raw "]
        assert application.by_aiohttp == 0
        writer.write(PLAIN[:20])
        await asyncio.sleep(0.05)
        writer.write(PLAIN[20:])
        assert await answer(reader) == b"GET /v1/kv/a?raw "
        assert application.by_aiohttp == 0


async def test_answers_are_compressed_and_streamed_as_asked() -> None:
    async with serving() as (_, _, connect):
        reader, writer = await connect()
        writer.write(PLAIN.replace(b"Host: x", b"Host: x\r\nAccept: gzip"))
        assert gzip.decompress(await answer(reader)) == b"GET /v1/kv/a?raw "
        writer.write(PLAIN.replace(b"/v1/kv/a?raw", b"/stream") + PLAIN)
        top = await reader.readuntil(b"\r\n\r\n")
        assert b"transfer-encoding: chunked" in top.lower()
        assert await reader.readuntil(b"0\r\n\r\n") == b"6\r\nfirst \r\n6\r\nsecond\r\n0\r\n\r\n"
        assert await answer(reader) == b"GET /v1/kv/a?raw "


async def test_a_read_ends_with_its_client_and_a_write_does_not() -> None:
    async with serving() as (application, doors, connect):
        for method in (b"GET", b"PUT"):
            application.waiting.clear()
            _, writer = await connect()
            writer.write(b"%s /wait HTTP/1.1\r\nHost: x\r\n\r\n" % method)
            await application.waiting.wait()
            writer.close()
            if method == b"GET":
                await application.cancelled.wait()
                application.cancelled.clear()
        await asyncio.sleep(0.2)
        application.release.set()
        await application.finished.wait()
        while doors.open:
            await asyncio.sleep(0.01)
        assert not application.cancelled.is_set()


def test_an_answer_that_nobody_hears_is_no_error_on_uvloop_either(caplog: pytest.LogCaptureFixture) -> None:
    uvloop.run(test_a_read_ends_with_its_client_and_a_write_does_not())  # It raises where asyncio only warns.
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_closing_gives_answers_under_way_a_moment() -> None:
    async with serving() as (application, doors, connect):
        reader, writer = await connect()
        idle, _ = await connect()
        writer.write(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        await application.waiting.wait()
        closing = asyncio.create_task(doors.close(20))
        assert await idle.read() == b""
        application.release.set()
        assert await answer(reader) == b"GET /wait "
        await closing
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""


# Clients that take their time


async def test_a_head_that_trickles_is_answered_408_and_one_that_never_begins_is_not() -> None:
    async with serving(Times(head=0.3, idle=0.3)) as (application, doors, connect):
        reader, writer = await connect()
        silent, _ = await connect()
        for byte in PLAIN[:20]:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.02)
        assert (await reader.read()).startswith(b"HTTP/1.1 408 ")
        assert await silent.read() == b""
        while doors.open:
            await asyncio.sleep(0.01)
        assert application.by_aiohttp == 0


@pytest.mark.parametrize("plain", [True, False])
def test_who_takes_nothing_of_an_answer_is_cut_off_and_who_takes_little_is_not(plain: bool) -> None:
    async def scene() -> None:
        async with serving(Times(write=1.5), size=8 << 20) as (_, doors, connect):
            words = (
                PLAIN if plain else PLAIN.replace(b"Host: x", b"Host: x\r\nTransfer-Encoding: chunked") + b"0\r\n\r\n"
            )
            slow_reader, slow_writer = await connect()
            deaf_reader, deaf_writer = await connect()
            for writer in (slow_writer, deaf_writer):
                writer.write(words)
            deaf = cast(asyncio.ReadTransport, deaf_writer.transport)
            deaf.pause_reading()
            received = 0
            while received < 8 << 20:
                received += len(await slow_reader.readexactly(1 << 18))
                await asyncio.sleep(0.1)  # Together for much longer than `write`.
            while len(doors.open) + len(doors.handed) > 1:
                await asyncio.sleep(0.05)
            deaf.resume_reading()
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await deaf_reader.readexactly(8 << 20)

    uvloop.run(scene())


async def test_connections_beyond_the_limit_hear_why_and_far_beyond_it_nothing() -> None:
    async with serving() as (_, doors, connect):
        doors.clients.limit = 3
        held = [await connect() for _ in range(3)]
        for _, writer in held:
            writer.write(PLAIN)
        for reader, _ in held:
            assert await answer(reader) == b"GET /v1/kv/a?raw "
        refused = [await connect() for _ in range(4)]
        said = await asyncio.gather(*(reader.read() for reader, _ in refused), return_exceptions=True)
        assert [isinstance(one, bytes) and one.startswith(b"HTTP/1.1 429 ") for one in said] == [True] * 3 + [False]
        held[0][1].write(b"PUT /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        assert await answer(held[0][0]) == b"aiohttp /c "  # It counts for its client also once aiohttp has it.
        for _, writer in refused:
            writer.close()
        while doors.clients.count("127.0.0.1") > 3:
            await asyncio.sleep(0.01)
        over, _ = await connect()
        assert (await over.read()).startswith(b"HTTP/1.1 429 ")
        for _, writer in held:
            writer.close()
        while doors.open or doors.handed:
            await asyncio.sleep(0.01)
        reader, writer = await connect()
        writer.write(PLAIN)
        assert await answer(reader) == b"GET /v1/kv/a?raw "


FAST = PLAIN.replace(b"/v1/kv/a?raw", b"/fast")
SLOW = PLAIN.replace(b"/v1/kv/a?raw", b"/slow")


class Waiting:
    """A request that waits, until `answer`."""

    def __init__(self, front: Front) -> None:
        self.front = front
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True

    def answer(self, text: bytes) -> None:
        self.front.task = None
        self.front.deliver(*told(text))
        self.front.go_on()


def told(text: bytes) -> tuple[bytes, bytes]:
    return opening(200), b"Content-Length: %d\r\n\r\n%s" % (len(text), text)


class Taker:
    """Answers `/fast` and `/large` without a task, lets `/hold` wait, leaves all else."""

    def __init__(self, doors: Doors) -> None:
        self.held: list[Waiting] = []
        self.taken = 0
        doors.take = self.take

    def take(self, front: Front, data: bytes) -> bool:
        assert data.count(b"\r\n\r\n") == 1 and data.endswith(b"\r\n\r\n")
        target = data.split(b" ")[1]
        if target == b"/fast":
            front.deliver(*told(b"fast"))
        elif target == b"/large":
            front.deliver(*told(b"x" * 200_000))
        elif target == b"/hold":
            front.task = waiting = Waiting(front)
            self.held.append(waiting)
        else:
            return False
        self.taken += 1
        return True


async def test_requests_with_and_without_a_task_are_answered_in_their_order() -> None:
    async with serving() as (_, doors, connect):
        taker = Taker(doors)
        reader, writer = await connect()
        writer.write(FAST)
        assert await answer(reader) == b"fast"
        writer.write(SLOW)
        assert await answer(reader) == b"GET /slow "
        writer.write((FAST + SLOW + FAST * 40 + SLOW) * 3)
        for _ in range(3):
            expected = [b"fast", b"GET /slow ", *[b"fast"] * 40, b"GET /slow "]
            assert [await answer(reader) for _ in expected] == expected
        writer.write(FAST[:20])
        await asyncio.sleep(0.05)
        writer.write(FAST[20:] + FAST[:9])
        assert await answer(reader) == b"fast"
        writer.write(FAST[9:])
        assert await answer(reader) == b"fast"
        assert taker.taken == 1 + 3 * 41 + 2


async def test_what_comes_while_a_request_waits_is_answered_after_it() -> None:
    async with serving() as (_, doors, connect):
        taker = Taker(doors)
        reader, writer = await connect()
        writer.write(FAST + FAST.replace(b"/fast", b"/hold") + FAST + SLOW)
        assert await answer(reader) == b"fast"
        while not taker.held:
            await asyncio.sleep(0.01)
        writer.write(FAST)
        await asyncio.sleep(0.05)
        taker.held[0].answer(b"held")
        assert [await answer(reader) for _ in range(4)] == [b"held", b"fast", b"GET /slow ", b"fast"]
        assert not taker.held[0].cancelled


async def test_a_client_that_leaves_while_its_request_waits_is_told_of() -> None:
    async with serving() as (_, doors, connect):
        taker = Taker(doors)
        _, writer = await connect()
        writer.write(FAST.replace(b"/fast", b"/hold"))
        while not taker.held:
            await asyncio.sleep(0.01)
        writer.transport.abort()
        while not taker.held[0].cancelled:
            await asyncio.sleep(0.01)
        taker.held[0].answer(b"nobody hears")


@pytest.mark.parametrize("runner", [asyncio.run, uvloop.run])
def test_a_client_that_does_not_read_is_not_answered_ahead(runner: Callable[..., None]) -> None:
    async def scenario() -> None:
        async with serving() as (_, doors, connect):
            taker = Taker(doors)
            reader, writer = await connect()
            writer.write(FAST.replace(b"/fast", b"/large") * 500 + SLOW)
            taken = -1
            while taken != taker.taken:
                taken = taker.taken
                await asyncio.sleep(0.2)
            assert taken < 200
            for _ in range(500):
                assert len(await answer(reader)) == 200_000
            assert await answer(reader) == b"GET /slow "

    runner(scenario())


async def test_closing_ends_requests_that_wait_at_once() -> None:
    async with serving() as (_, doors, connect):
        taker = Taker(doors)
        reader, writer = await connect()
        writer.write(FAST.replace(b"/fast", b"/hold"))
        while not taker.held:
            await asyncio.sleep(0.01)
        await doors.close(20)
        assert await reader.read() == b""
        while not taker.held[0].cancelled:
            await asyncio.sleep(0.01)
