"""Snapshots on their way to a follower that is behind the log's beginning, in chunks that are acknowledged one by one.

An acknowledgement names how much has arrived without gaps, so a transfer that broke off goes on where it stopped. What
arrives waits in a file until it is whole and its checksum is right.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import tempfile
from collections.abc import Callable
from concurrent.futures import Executor
from typing import IO, BinaryIO, Final

from model.goerrors import go_text
from server.raft import messages as m
from server.raft.snapshot import Snapshots, StoredSnapshot

log = logging.getLogger("lictor.raft")

CHUNK: Final = 1 << 20
"""Bytes in a message."""
ACK_TIMEOUT: Final = 30.0
"""Seconds that a chunk may take."""
MAX_BYTES: Final = 16 << 30
"""Bytes of the largest snapshot that is taken."""


class SnapshotSender:
    """A leader's side; `send` hands a message to the network."""

    def __init__(self, node_id: str, snapshots: Snapshots, send: Callable[[m.Message], None]) -> None:
        self._id = node_id
        self._snapshots = snapshots
        self._send = send
        self._acks: dict[str, asyncio.Future[m.SnapshotAck]] = {}

    async def send(self, peer: str, term: int) -> bool:
        """Send the newest snapshot to a peer; returns whether it has it now.

        Raises TimeoutError, OSError, CorruptLog.
        """
        loop = asyncio.get_running_loop()
        stored = await loop.run_in_executor(None, self._snapshots.latest)
        if stored is None:
            return False
        source = await loop.run_in_executor(None, self._snapshots.open, stored)
        log.info("sending snapshot %d to %s (%d bytes)", stored.meta.index, peer, stored.size)
        with contextlib.closing(source):
            return await self._chunks(peer, term, stored, source)

    async def _chunks(self, peer: str, term: int, stored: StoredSnapshot, source: BinaryIO) -> bool:
        loop = asyncio.get_running_loop()
        offset = 0
        while True:
            data = await loop.run_in_executor(None, source.read, CHUNK)
            answer: asyncio.Future[m.SnapshotAck] = loop.create_future()
            self._acks[peer] = answer
            self._send(m.SnapshotChunk(peer, self._id, term, stored.meta, stored.size, stored.sha256, offset, data))
            async with asyncio.timeout(ACK_TIMEOUT):
                ack = await answer
            if ack.refused:
                log.warning("%s refused the snapshot: %s", peer, ack.refused)
                return False
            offset = ack.offset
            if offset >= stored.size:
                return True
            await loop.run_in_executor(None, source.seek, offset)

    def answered(self, ack: m.SnapshotAck) -> None:
        """An acknowledgement has arrived."""
        answer = self._acks.pop(ack.sender, None)
        if answer is not None and not answer.done():
            answer.set_result(ack)


class SnapshotReceiver:
    """A follower's side: one snapshot at a time, written by `writers`."""

    def __init__(self, node_id: str, snapshots: Snapshots, writers: Executor | None = None) -> None:
        self._id = node_id
        self._snapshots = snapshots
        self._writers = writers
        self._file: IO[bytes] | None = None
        self._meta: tuple[m.SnapshotMeta, bytes, int] | None = None
        self._arrived = 0

    def take(self, chunk: m.SnapshotChunk, term: int) -> m.SnapshotAck | None:
        """Take a chunk; returns what to answer, or None once everything is here and `keep` is to be called."""
        if chunk.size > MAX_BYTES:
            return self._ack(chunk, term, f"it is larger than {MAX_BYTES} bytes")
        wanted = (chunk.snapshot, chunk.sha256, chunk.size)
        try:
            if self._file is None or self._meta != wanted:
                self.drop()
                self._file = tempfile.TemporaryFile(dir=self._snapshots.scratch)  # noqa: SIM115 - outlives this call
                self._meta = wanted
            if chunk.offset == self._arrived and self._arrived + len(chunk.data) <= chunk.size:
                self._file.write(chunk.data)
                self._arrived += len(chunk.data)
        except OSError as error:
            self.drop()
            return self._ack(chunk, term, f"it cannot be written: {go_text(error)}")
        return self._ack(chunk, term) if self._arrived < chunk.size else None

    def _ack(self, chunk: m.SnapshotChunk, term: int, refusal: str = "") -> m.SnapshotAck:
        return m.SnapshotAck(chunk.sender, self._id, term, chunk.snapshot.index, self._arrived, refusal)

    def drop(self) -> None:
        """Forget what has arrived so far."""
        if self._file is not None:
            self._file.close()
        self._file, self._meta, self._arrived = None, None, 0

    async def keep(self, chunk: m.SnapshotChunk) -> StoredSnapshot | str:
        """Check what has arrived and make it durable; returns it, or why it is refused."""
        file, self._file = self._file, None
        self.drop()
        assert file is not None
        with file:
            return await asyncio.get_running_loop().run_in_executor(self._writers, self._store, file, chunk)

    def _store(self, file: IO[bytes], chunk: m.SnapshotChunk) -> StoredSnapshot | str:
        digest = hashlib.sha256()
        file.seek(0)
        while data := file.read(CHUNK):
            digest.update(data)
        if digest.digest() != chunk.sha256:
            return "its checksum is wrong"

        def write(target: BinaryIO) -> None:
            file.seek(0)
            while data := file.read(CHUNK):
                target.write(data)

        try:
            return self._snapshots.create(chunk.snapshot, write)
        except OSError as error:
            return f"it cannot be written: {go_text(error)}"
