"""yamux and calls: recorded frames, windows, hostile peers, real sockets."""

import asyncio
import json
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.errors import RpcError
from model.structs.base import Empty
from model.structs.kv import DirEntry, IndexedDirEntries, KeyRequest, KVSRequest
from rpc import yamux
from rpc.listener import Listener
from rpc.messages import encode_request
from rpc.pool import Pool
from rpc.yamux import Yamux, YamuxError
from tests.support.tools import need_shared


def test_requests_have_the_recorded_bytes() -> None:
    calls = json.loads(need_shared("protocols/rpc-vectors.json").read_text())["calls"]
    ping = next(call for call in calls if call["method"] == "Status.Ping")
    sequence = ping["request_header"]["Seq"]
    unpack = msgpack.Unpacker(raw=False)
    unpack.feed(bytes.fromhex(ping["request_hex"]))
    assert list(unpack) == [{"Seq": sequence, "ServiceMethod": "Status.Ping"}, {}]
    mine = msgpack.Unpacker(raw=False)
    mine.feed(encode_request(sequence, "Status.Ping", Empty()))
    assert list(mine) == [{"Seq": sequence, "ServiceMethod": "Status.Ping"}, {}]


def test_a_stream_opens_carries_and_closes() -> None:
    client, server = Yamux(True), Yamux(False)
    number = client.open()
    assert client.send(number, b"hello") == 5
    client.close(number)
    assert server.receive(bytes(client.out)) == [
        yamux.Opened(1),
        yamux.Received(1, b"hello"),
        yamux.HalfClosed(1),
    ]
    server.send(1, b"bye")
    server.close(1)
    assert client.receive(bytes(server.out)) == [yamux.Received(1, b"bye"), yamux.HalfClosed(1)]


@settings(deadline=None)
@given(st.lists(st.integers(1, 100_000), min_size=1, max_size=20), st.integers(1, 70_000))
def test_no_byte_is_lost_and_no_window_is_overrun(sizes: list[int], reads: int) -> None:
    client, server = Yamux(True), Yamux(False)
    number = client.open()
    wanted = b"".join(bytes([index % 251]) * size for index, size in enumerate(sizes))
    sent = 0
    got = bytearray()
    for _ in range(10_000):
        if sent < len(wanted):
            sent += client.send(number, wanted[sent:])
        for event in server.receive(bytes(client.out)):
            if isinstance(event, yamux.Received):
                got += event.data
                for start in range(0, len(event.data), reads):
                    server.consumed(event.stream, min(reads, len(event.data) - start))
        client.out.clear()
        client.receive(bytes(server.out))
        server.out.clear()
        if len(got) == len(wanted):
            break
    assert bytes(got) == wanted


@pytest.mark.parametrize(
    "frame",
    [
        b"\x01" + b"\0" * 11,
        b"\x00\x09" + b"\0" * 10,
        b"\x00\x00\x00\x01\x00\x00\x00\x01\xff\xff\xff\xff",
        b"\x00\x01\x00\x01\x00\x00\x00\x02\x00\x00\x00\x00",
        b"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
    ],
)
def test_breaches_end_the_session(frame: bytes) -> None:
    server = Yamux(False)
    with pytest.raises(YamuxError):
        server.receive(frame)
    assert server.out[-12:-8] == b"\x00\x03\x00\x00"


async def _nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """No Raft here."""


async def _dispatch(method: str, args: Any) -> Any:
    if method == "KVS.Get":
        if args.key == "boom":
            raise ZeroDivisionError
        return IndexedDirEntries(entries=[DirEntry(key=args.key, value=b"x" * 500_000)], index=7)
    if method == "KVS.Apply":
        raise RpcError("raft apply failed: no")
    await asyncio.sleep(0.2)
    return Empty()


async def test_calls_over_a_real_socket() -> None:
    listener = Listener(_dispatch, _nothing, _nothing)
    address = f"127.0.0.1:{await listener.start('127.0.0.1', 0)}"
    pool = Pool()
    replies = await asyncio.gather(*(pool.call(address, "KVS.Get", KeyRequest(key=f"k{n}")) for n in range(20)))
    assert [reply.entries[0].key for reply in replies] == [f"k{n}" for n in range(20)]
    with pytest.raises(RpcError, match="raft apply failed: no"):
        await pool.call(address, "KVS.Apply", KVSRequest())
    with pytest.raises(RpcError, match="internal error"):
        await pool.call(address, "KVS.Get", KeyRequest(key="boom"))
    await listener.stop()
    with pytest.raises(ConnectionError):
        await pool.call(address, "KVS.Get", KeyRequest(key="a"))
    await pool.close()


async def test_rubbish_closes_one_connection_and_no_other() -> None:
    listener = Listener(_dispatch, _nothing, _nothing)
    port = await listener.start("127.0.0.1", 0)
    pool = Pool()
    await pool.call(f"127.0.0.1:{port}", "Status.Ping", Empty())
    unknown = encode_request(1, "Status.Ping", Empty()).replace(b"Status.Ping", b"Status.Pong")
    lists = b"\x00\x93\x01\x02\x03\x80"
    map_as_key = b"\x00\x81\x81\x01\x02\x03"
    for junk in (b"\x02", b"\x09hello", b"\x04" + b"\xff" * 40, b"\x00\xc1\xc1", b"\x00" + unknown, lists, map_as_key):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(junk)
        answer = await asyncio.wait_for(reader.read(), 60)
        if b"Status.Pong" in junk:
            assert b"can't find method Status.Pong" in answer
        writer.close()
    await pool.call(f"127.0.0.1:{port}", "Status.Ping", Empty())
    await pool.close()
    await listener.stop()


async def test_a_call_that_is_not_answered_in_time_fails_and_a_blocking_one_may_take_its_wait_longer() -> None:
    async def late(method: str, args: Any) -> Any:
        await asyncio.sleep(0.5)
        return IndexedDirEntries(index=7)

    listener = Listener(late, _nothing, _nothing)
    address = f"127.0.0.1:{await listener.start('127.0.0.1', 0)}"
    pool = Pool()
    pool.call_timeout = 0.1
    with pytest.raises(ConnectionError, match=r"did not answer KVS\.Get in time"):
        await pool.call(address, "KVS.Get", KeyRequest(key="a"))
    blocking = KeyRequest(key="a", min_query_index=1, max_query_time=60_000_000_000)
    assert (await pool.call(address, "KVS.Get", blocking)).index == 7
    await pool.close()
    await listener.stop()
