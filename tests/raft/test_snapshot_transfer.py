"""A snapshot on its way: chunk by chunk, on again where it broke off, refused when it is not what was promised."""

import asyncio
import hashlib
from pathlib import Path
from typing import BinaryIO

import msgspec

from server.raft import messages as m
from server.raft.messages import SnapshotMeta
from server.raft.snapshot import DiskSnapshots, MemorySnapshots, StoredSnapshot
from server.raft.snapshot_transfer import CHUNK, MAX_BYTES, SnapshotReceiver, SnapshotSender

DATA = bytes(range(256)) * 12000
META = SnapshotMeta(7, 2)


def write(file: BinaryIO) -> None:
    file.write(DATA)


def chunk(offset: int, length: int = CHUNK, data: bytes = DATA) -> m.SnapshotChunk:
    digest = hashlib.sha256(DATA).digest()
    return m.SnapshotChunk("b", "a", 3, META, len(DATA), digest, offset, data[offset : offset + length])


async def test_a_snapshot_arrives_in_chunks_and_goes_on_where_it_broke_off(tmp_path: Path) -> None:
    source, target = MemorySnapshots(), DiskSnapshots(tmp_path)
    source.create(META, write)
    receiver = SnapshotReceiver("b", target)
    offsets: list[int] = []
    kept: list[StoredSnapshot | str] = []

    def deliver(message: m.Message) -> None:
        assert isinstance(message, m.SnapshotChunk)
        offsets.append(message.offset)
        ack = receiver.take(message, 3)
        asyncio.get_running_loop().call_soon(sender.answered, ack or m.SnapshotAck("a", "b", 3, 7, len(DATA)))
        if ack is None:
            finished.append(message)

    finished: list[m.SnapshotChunk] = []
    sender = SnapshotSender("a", source, deliver)
    receiver.take(chunk(0), 3)  # An earlier attempt got so far.
    assert await sender.send("b", 3)
    assert offsets == [0, CHUNK, 2 * CHUNK]
    kept.append(await receiver.keep(finished[0]))
    assert isinstance(kept[0], StoredSnapshot)
    assert target.latest() == kept[0] and target.open(kept[0]).read() == DATA


async def test_a_refused_snapshot_has_not_arrived() -> None:
    source = MemorySnapshots()
    source.create(META, write)
    refusal = m.SnapshotAck("a", "b", 3, 7, 0, "no")

    def refuse(message: m.Message) -> None:
        asyncio.get_running_loop().call_soon(sender.answered, refusal)

    sender = SnapshotSender("a", source, refuse)
    assert not await sender.send("b", 3)
    assert not await SnapshotSender("a", MemorySnapshots(), print).send("b", 3)


async def test_a_snapshot_that_is_not_what_was_promised_is_refused(tmp_path: Path) -> None:
    target = DiskSnapshots(tmp_path)
    receiver = SnapshotReceiver("b", target)
    rotten = b"x" + DATA[1:]
    for offset in (0, CHUNK):
        assert receiver.take(chunk(offset, data=rotten), 3) is not None
    last = chunk(2 * CHUNK, data=rotten)
    assert receiver.take(last, 3) is None
    assert await receiver.keep(last) == "its checksum is wrong"
    assert target.latest() is None
    huge = receiver.take(msgspec.structs.replace(chunk(0), size=MAX_BYTES + 1), 3)
    assert huge is not None and "larger than" in huge.refused


def test_gaps_repeats_and_too_much_are_not_taken(tmp_path: Path) -> None:
    receiver = SnapshotReceiver("b", DiskSnapshots(tmp_path))

    def arrived(one: m.SnapshotChunk) -> int:
        ack = receiver.take(one, 3)
        assert ack is not None
        return ack.offset

    assert arrived(chunk(CHUNK)) == 0
    assert arrived(chunk(0)) == CHUNK
    assert arrived(chunk(0)) == CHUNK
    assert arrived(msgspec.structs.replace(chunk(CHUNK), data=bytes(4 * CHUNK))) == CHUNK
    other = msgspec.structs.replace(chunk(0), snapshot=SnapshotMeta(8, 2))
    assert arrived(other) == CHUNK  # Another snapshot begins anew.
    assert arrived(chunk(CHUNK)) == 0
    receiver.drop()
