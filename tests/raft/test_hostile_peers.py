"""What the raft side of the server port refuses, with one line in the log, while others go on."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from server.raft import messages as m
from server.raft.transport import MAGIC, MAX_FRAME, Transport

VOTE = m.RequestVote("me", "friend", 5, 1, 1)


def frame(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def hello(version: object = 1, sender: object = "friend", to: object = "me") -> bytes:
    return MAGIC + frame(msgspec.msgpack.encode([version, sender, to]))


@asynccontextmanager
async def listening() -> AsyncIterator[tuple[list[m.Message], int]]:
    transport = Transport("me", lambda peer: "")
    transport.knows = lambda peer: peer == "friend"
    heard: list[m.Message] = []
    transport.on_message = heard.append
    server = await asyncio.start_server(transport.accept, "127.0.0.1", 0)
    try:
        async with asyncio.timeout(60):
            yield heard, server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await transport.close()


async def ends(port: int, data: bytes) -> None:
    """Send something and wait for the other side to hang up without a word."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    assert await reader.read() == b""
    writer.close()


def append(*entries: m.Entry) -> bytes:
    return frame(m.encode_message(m.AppendEntries("me", "friend", 5, 7, 4, list(entries), 3)))


GOOD = hello() + frame(m.encode_message(VOTE))


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "it speaks another protocol"),
        (b"\x00" * 64, "it speaks another protocol"),
        (hello(version=2), "version 2, this is 1"),
        (MAGIC + frame(b"\xc1"), "malformed hello"),
        (MAGIC + frame(b"\x93\x01\x02\x03"), "malformed hello"),
        (hello(sender="stranger"), "stranger is not a member known here"),
        (hello(to="somebody"), "is not a member known here"),
        (hello() + struct.pack(">I", MAX_FRAME + 1), "larger than allowed"),
        (hello() + frame(b"\x93\x63\x01\x02"), "closed the raft connection"),
        (hello() + frame(m.encode_message(msgspec.structs.replace(VOTE, sender="other"))), "message of other"),
        (hello() + append(m.Entry(8, 5, 0, b""), m.Entry(10, 5, 0, b"")), "entry 10 where 9 belongs"),
        (hello() + append(m.Entry(8, 3, 0, b"")), "entry 8 has term 3, the one before it 4"),
        (hello() + append(m.Entry(8, 6, 0, b"")), "entry 8 has term 6, its leader 5"),
        (hello() + frame(b"\x97\x01\xa2me\xa6friend\xff\x01\x01\xc2"), "closed the raft connection"),
    ],
)
async def test_a_stranger_is_disconnected_with_the_reason(
    data: bytes, line: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening() as (heard, port):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GOOD)
        while not heard:
            await asyncio.sleep(0.01)
        await ends(port, data)
        assert line in caplog.text
        writer.write(frame(m.encode_message(VOTE)))
        while len(heard) < 2:
            await asyncio.sleep(0.01)
        assert heard == [VOTE, VOTE]
        writer.close()


async def test_a_member_that_is_taken_out_is_not_heard_any_more() -> None:
    transport = Transport("me", lambda peer: "")
    members = {"friend"}
    transport.knows = lambda peer: peer in members
    heard: list[m.Message] = []
    transport.on_message = heard.append
    server = await asyncio.start_server(transport.accept, "127.0.0.1", 0)
    async with asyncio.timeout(60):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
        writer.write(GOOD)
        while not heard:
            await asyncio.sleep(0.01)
        members.clear()
        writer.write(frame(m.encode_message(VOTE)))
        assert await reader.read() == b""
        assert heard == [VOTE]
        writer.close()
    server.close()
    await transport.close()


async def test_a_connection_that_says_nothing_is_closed() -> None:
    transport = Transport("me", lambda peer: "", dial_timeout=0.05)
    server = await asyncio.start_server(transport.accept, "127.0.0.1", 0)
    async with asyncio.timeout(60):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
        writer.write(MAGIC[:3])
        assert await reader.read() == b""
        writer.close()
    server.close()
    await transport.close()
