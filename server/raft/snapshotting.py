"""A running server's snapshots: when one is taken, how it goes to followers, how one that has arrived is installed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from model.metrics import METRICS
from server.raft import messages as m
from server.raft.core import Raft
from server.raft.errors import CorruptLog
from server.raft.log_writer import LogWriter
from server.raft.messages import SnapshotMeta
from server.raft.node_config import RaftConfig, StateMachine
from server.raft.pieces import Assembler
from server.raft.snapshot import Snapshots, StoredSnapshot
from server.raft.snapshot_transfer import SnapshotReceiver, SnapshotSender

log = logging.getLogger("lictor.raft")

_SNAPSHOT_TIMES = METRICS.sample("raft.snapshot.create")


class Host(Protocol):
    """What the work with snapshots needs of the node that it is done for."""

    id: str
    config: RaftConfig

    @property
    def core(self) -> Raft:
        """The protocol's state."""

    def wake(self) -> None:
        """The core may have something to do."""

    def hear(self) -> None:
        """A leader gave a sign of life."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine until it is done or the node stops."""


class Snapshotting:
    """The snapshots of one node; `send` hands a message to the network."""

    def __init__(
        self,
        host: Host,
        snapshots: Snapshots,
        fsm: StateMachine,
        assembler: Assembler,
        writer: LogWriter,
        send: Callable[[m.Message], None],
    ) -> None:
        self._host = host
        self._snapshots = snapshots
        self._fsm = fsm
        self._assembler = assembler
        self._writer = writer
        self._send = send
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="raft-snapshots")
        self._sender = SnapshotSender(host.id, snapshots, send)
        self._receiver = SnapshotReceiver(host.id, snapshots, self._threads)
        self._sending: set[str] = set()
        self._arrived: StoredSnapshot | None = None
        self._keeping = False
        self._taking = False
        self._taken = float("-inf")
        self._bytes = 0
        self.index = 0
        self.term = 0
        """Of the newest snapshot; 0 without one."""

    async def close(self) -> None:
        """Wait until a snapshot that is being written is out of the way of whoever opens the folder next."""
        await asyncio.get_running_loop().run_in_executor(None, self._threads.shutdown)

    # Taking

    def applied(self, size: int) -> None:
        """A command of so many bytes was applied."""
        self._bytes += size

    def consider(self) -> None:
        """Take a snapshot if enough has been applied since the last one."""
        config = self._host.config
        many = self._host.core.applied - self.index >= config.snapshot_threshold
        many = many and time.monotonic() - self._taken >= config.snapshot_interval
        if (many or self._bytes >= config.snapshot_bytes) and not self._taking:
            self._host.spawn(self.take())

    async def take(self) -> None:
        """Take a snapshot now and drop the log that it covers, but for the trailing entries."""
        if self._taking:
            return
        self._taking = True
        try:
            await self._take()
        except OSError as error:
            log.error("cannot take a snapshot: %s", error)
        finally:
            self._taking = False

    async def _take(self) -> None:
        core = self._host.core
        index = core.applied
        term = core.log.term(index)
        if term is None or index == self.index or self._assembler.unfinished:
            return
        self._bytes = 0
        self._taken = time.monotonic()
        configuration, configuration_index = core.configuration, core.configuration_index
        if configuration_index > index:
            return  # A membership change is under way; the next one will do.
        meta = SnapshotMeta(index, term, configuration, configuration_index)
        write = self._fsm.snapshot()
        began = time.perf_counter()
        loop = asyncio.get_running_loop()
        stored = await loop.run_in_executor(self._threads, self._snapshots.create, meta, write)
        _SNAPSHOT_TIMES.add((time.perf_counter() - began) * 1000.0)
        self.index, self.term = index, term
        log.info("snapshot complete up to %d (%d bytes)", index, stored.size)
        keep = index - self._host.config.trailing_logs
        if keep > core.log.base_index:
            core.log.compact(keep)
            await self._writer.compact(keep)

    # Sending

    def offer(self, peer: str, term: int) -> None:
        """Send the newest snapshot to a peer, unless that is under way."""
        if peer not in self._sending:
            self._host.spawn(self._offer(peer, term))

    async def _offer(self, peer: str, term: int) -> None:
        self._sending.add(peer)
        arrived = False
        try:
            arrived = await self._sender.send(peer, term)
        except (TimeoutError, OSError, CorruptLog) as error:
            log.warning("snapshot to %s failed: %s", peer, error)
        finally:
            self._sending.discard(peer)
            self._host.core.snapshot_sent(peer, arrived)
            self._host.wake()

    def answered(self, ack: m.SnapshotAck) -> None:
        """A peer says what has arrived."""
        self._sender.answered(ack)

    # Receiving

    def receive(self, chunk: m.SnapshotChunk) -> None:
        """A part of a leader's snapshot is here."""
        core = self._host.core
        if chunk.to != self._host.id or chunk.term < core.term:
            return
        self._host.hear()
        # A long transfer must not look like silence.
        core.step(m.Heartbeat(self._host.id, chunk.sender, chunk.term, 0, 0))
        self._host.wake()
        if self._keeping or self._arrived is not None:
            return  # One at a time: the one before is being written or installed. The leader asks again.
        ack = self._receiver.take(chunk, core.term)
        if ack is not None:
            self._send(ack)
            return
        self._keeping = True
        self._host.spawn(self._keep(chunk))

    async def _keep(self, chunk: m.SnapshotChunk) -> None:
        """Make what has arrived durable, tell the sender, then the core."""
        core = self._host.core
        try:
            kept = await self._receiver.keep(chunk)
        finally:
            self._keeping = False
        here, leader, index = self._host.id, chunk.sender, chunk.snapshot.index
        if isinstance(kept, str):
            log.warning("refused snapshot %d of %s: %s", index, leader, kept)
            self._send(m.SnapshotAck(leader, here, core.term, index, 0, kept))
            return
        self._arrived = kept
        self._send(m.SnapshotAck(leader, here, core.term, index, chunk.size))
        if chunk.term >= core.term:
            core.step(m.InstallSnapshot(here, leader, chunk.term, chunk.snapshot))
        if not core.awaits_installation:
            self._arrived = None  # It is older than what is committed here.
        self._host.wake()

    async def install(self, meta: SnapshotMeta) -> None:
        """The core has accepted a snapshot that is on disk: it replaces log and state."""
        stored = self._arrived
        if stored is None or stored.meta.index != meta.index:
            raise AssertionError(f"snapshot {meta.index} was accepted but is not here")
        loop = asyncio.get_running_loop()
        source = await loop.run_in_executor(None, self._snapshots.open, stored)
        with contextlib.closing(source):
            decoded = await loop.run_in_executor(None, self._fsm.decode, source)
        self._fsm.use(decoded)
        self._assembler.clear()
        core = self._host.core
        await self._writer.begin_anew(m.HardState(core.term, core.vote, core.commit), meta.index, meta.term)
        self.index, self.term = meta.index, meta.term
        core.applied = meta.index
        self._arrived = None
        log.info("installed snapshot %d of term %d", meta.index, meta.term)
