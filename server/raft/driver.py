"""`RaftNode`: the core bound to a disk, a transport, a clock and a state machine by asyncio.

One task does what `Ready` says. While it waits for the disk, proposals and messages pile up in the core and go into the
next write: that is the whole of group commit. Applying yields to the loop now and then, so that a long replay does not
starve the agent.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from model.metrics import METRICS
from server.raft import messages as m
from server.raft.confchange import Change
from server.raft.core import Raft
from server.raft.disk_thread import DiskThread
from server.raft.errors import (
    CannotBootstrap,
    ChangeUnderWay,
    ConfigurationError,
    CorruptLog,
    DiskFull,
    InvariantBroken,
    LeadershipLost,
    NotLeader,
    ProposalTimeout,
    RaftError,
    Stopped,
)
from server.raft.log import Storage
from server.raft.messages import Configuration, Entry, Message, SnapshotMeta
from server.raft.node_config import RaftConfig, Server, StateMachine, clock
from server.raft.pieces import Assembler, split
from server.raft.ready import Ready, Role, Settings
from server.raft.recovery import rebuild
from server.raft.snapshot import Snapshots, StoredSnapshot
from server.raft.snapshot_transfer import SnapshotReceiver, SnapshotSender
from server.raft.transport import Transport
from server.raft.waiting import Waiting

log = logging.getLogger("lictor.raft")

_PROPOSED = METRICS.counter("raft.apply")
_BARRIERS = METRICS.counter("raft.barrier")
_COMMIT_TIMES = METRICS.sample("raft.commitTime")
_APPLY_TIMES = METRICS.sample("raft.fsm.apply")
_VERIFIED = METRICS.counter("raft.verify_leader")
_BECAME_LEADER = METRICS.counter("raft.state.leader")
_BECAME_FOLLOWER = METRICS.counter("raft.state.follower")
_BECAME_CANDIDATE = METRICS.counter("raft.state.candidate")
_SNAPSHOT_TIMES = METRICS.sample("raft.snapshot.create")

MAX_ENTRY = 4 << 20
"""Bytes up to which a command is one entry; a larger one goes into the log in pieces."""
CHANGE_PAUSE = 0.02
"""Seconds between looks at whether an earlier change of the members is over."""
APPLY_SLICE = 0.005
"""Seconds of applying after which other tasks get a turn."""


class RaftNode:
    """A server's part in consensus; every method is called from the event loop."""

    def __init__(
        self,
        *,
        node_id: str,
        address: str,
        storage: Storage,
        snapshots: Snapshots,
        transport: Transport,
        fsm: StateMachine,
        config: RaftConfig,
        random: Callable[[int], int],
    ) -> None:
        self.id = node_id
        self.address = address
        self.config = config
        self._storage = storage
        self._snapshots = snapshots
        self._transport = transport
        self._fsm = fsm
        self._random = random
        self._core: Raft | None = None
        self._wake = asyncio.Event()
        self._waiting = Waiting()
        self._assembler = Assembler()
        self._one_in_pieces = asyncio.Lock()
        self._reads: list[asyncio.Future[int]] = []
        self._asked_reads: set[asyncio.Future[int]] = set()
        self._disk = DiskThread("raft-disk")
        self._writers = ThreadPoolExecutor(1, thread_name_prefix="raft-snapshots")
        self._task: asyncio.Task[None] | None = None
        self._ticker: asyncio.TimerHandle | None = None
        self._background: set[asyncio.Task[None]] = set()
        self._sending: set[str] = set()
        self._sender = SnapshotSender(node_id, snapshots, transport.send)
        self._receiver = SnapshotReceiver(node_id, snapshots, self._writers)
        self._arrived: StoredSnapshot | None = None
        self._keeping = False
        self._snapshot_index = 0
        self._snapshot_taken = float("-inf")
        self._snapshot_term = 0
        self._bytes_since_snapshot = 0
        self._taking_snapshot = False
        self._heard = 0.0
        self._disk_full = False
        self._stopped = False
        self._closed = False
        self._known_leader = ""
        self._was_leader = False
        self._known_role = Role.FOLLOWER
        self._on_leadership: list[Callable[[bool], None]] = []
        self._on_leader_change: list[Callable[[Server | None], None]] = []
        self.failed: asyncio.Future[BaseException] | None = None

    # Life

    async def start(self, recover_with: Configuration | None = None) -> None:
        """Read the disk and begin; with `recover_with`, with these members in place of the known ones.

        Raises:
            CorruptLog: the log or the newest snapshot is damaged.
            ConfigurationError: there is no state to recover.
        """
        loop = asyncio.get_running_loop()
        self.failed = loop.create_future()
        loaded, stored = await self._disk.run(self._load)
        for remark in loaded.remarks:
            log.warning("raft log: %s", remark)
        configuration, configuration_index = Configuration(), 0
        applied = 0
        if stored is not None:
            with self._snapshots.open(stored) as source:
                self._fsm.use(self._fsm.decode(source))
            applied = stored.meta.index
            configuration, configuration_index = stored.meta.configuration, stored.meta.configuration_index
            self._snapshot_index, self._snapshot_term = stored.meta.index, stored.meta.term
            if not loaded.log.matches(applied, stored.meta.term) and loaded.log.base_index <= applied:
                # Power went after the snapshot of another server was kept and before the log was begun anew.
                loaded.log.reset(applied, stored.meta.term)
                await self._disk.run(self._storage.reset, loaded.hard_state, applied, stored.meta.term)
        if loaded.log.base_index > applied:
            raise CorruptLog(
                f"the raft log begins after entry {loaded.log.base_index}, but the newest snapshot ends at {applied}"
            )
        base = configuration, configuration_index
        for entry in loaded.log.slice(loaded.log.first_index, loaded.log.last_index):
            if entry.kind == m.CONFIGURATION and entry.index > configuration_index:
                configuration, configuration_index = m.decode_configuration(entry.data), entry.index
        if recover_with is not None:
            loaded, stored = rebuild(loaded, applied, recover_with, self._fsm, self._storage, self._snapshots)
            configuration, configuration_index, applied = recover_with, stored.meta.index, stored.meta.index
            self._snapshot_index, self._snapshot_term = stored.meta.index, stored.meta.term
        self._core = Raft(
            self.id,
            loaded.log,
            loaded.hard_state,
            configuration,
            configuration_index,
            applied,
            self._random,
            Settings(election_ticks=self.config.election_ticks, heartbeat_ticks=2, lease=self.config.lease),
            base,
        )
        self._core.commit = max(self._core.commit, applied)
        self._core.now = clock()
        self._transport.on_message = self._receive
        self._transport.on_unreachable = self._unreachable
        self._transport.knows = lambda peer: peer in self.core.configuration.addresses or not (
            self.core.configuration.members()
        )
        self._heard = loop.time()
        self._task = loop.create_task(self._run())
        self._schedule_tick()
        if configuration.voters == {self.id}:
            self._core.campaign()  # Nobody else could win, so there is nothing to wait for.
            self._wake.set()

    def _load(self) -> tuple[Any, StoredSnapshot | None]:
        return self._storage.load(), self._snapshots.latest()

    async def stop(self) -> None:
        """End without leaving the cluster."""
        if self._closed:
            return
        self._stopped = self._closed = True
        if self._ticker is not None:
            self._ticker.cancel()
        for task in [*self._background, *([self._task] if self._task else [])]:
            task.cancel()
        await asyncio.gather(*self._background, *([self._task] if self._task else []), return_exceptions=True)
        self._fail_all(Stopped())
        await self._transport.close()
        loop = asyncio.get_running_loop()
        await self._disk.run(self._storage.close)
        self._disk.close()
        # A snapshot that is being written must not get in the way of whoever opens the folder next.
        await loop.run_in_executor(None, self._writers.shutdown)

    @property
    def core(self) -> Raft:
        """The protocol's state; raises Stopped before `start`."""
        if self._core is None:
            raise Stopped
        return self._core

    # What others ask

    async def bootstrap(self, servers: list[Server]) -> None:
        """Write the first configuration. Every first server may do it with the same list.

        Raises CannotBootstrap when this server already has state.
        """
        core = self.core
        if core.log.last_index > 0 or core.term > 0 or core.configuration.members():
            raise CannotBootstrap("bootstrap only works on new clusters")
        configuration = Configuration(
            voters=frozenset(server.id for server in servers if server.voter),
            learners=frozenset(server.id for server in servers if not server.voter),
            addresses={server.id: server.address for server in sorted(servers, key=lambda s: s.id)},
        )
        core.bootstrap(configuration)
        if configuration.voters == {self.id}:
            core.campaign()
        self._wake.set()

    async def propose(self, command: bytes, timeout: float = 30.0) -> Any:
        """Replicate a command; returns what `apply` returned here once a quorum has it on disk.

        Raises:
            NotLeader, ProposalRejected, DiskFull: nothing was done.
            LeadershipLost, ProposalTimeout: it may or may not take effect.
            Exception: what `apply` raised.
        """
        if len(command) > MAX_ENTRY:
            return await self._propose_in_pieces(command, timeout)
        return await self._propose(command, m.COMMAND, timeout)

    async def _propose_in_pieces(self, command: bytes, timeout: float) -> Any:
        """Commit piece by piece, so that other entries and heartbeats go on between; `timeout` is for each piece."""
        async with self._one_in_pieces:
            result: Any = None
            try:
                for piece in split(command, self._random(1 << 62)):
                    result = await self._propose(piece, m.PIECE, timeout)
            except BaseException:
                with contextlib.suppress(RaftError):
                    self.core.propose(b"", m.NOOP)  # Clears what every server holds of the command.
                raise
            return result

    async def _propose(self, data: bytes, kind: int, timeout: float) -> Any:
        if self._stopped:
            raise Stopped
        if self._disk_full:
            raise DiskFull
        core = self.core
        index = core.propose(data, kind)
        (_BARRIERS if kind == m.BARRIER else _PROPOSED).add()
        began = time.perf_counter()
        try:
            return await self._outcome(index, core.term, timeout)
        finally:
            _COMMIT_TIMES.add((time.perf_counter() - began) * 1000.0)

    async def _outcome(self, index: int, term: int, timeout: float) -> Any:
        future = self._waiting.for_entry(index, term, timeout)
        self._wake.set()
        return await future

    async def barrier(self, timeout: float = 30.0) -> None:
        """Return once everything that is in the log now is applied here. Raises as `propose`."""
        await self._propose(b"", m.BARRIER, timeout)

    async def read_barrier(self, timeout: float = 10.0) -> int:
        """Prove leadership and wait until all that is committed is applied; returns that index.

        Raises NotLeader, LeadershipLost, ProposalTimeout.
        """
        if not self.is_leader:
            raise NotLeader(*self._leader_pair())
        _VERIFIED.add()
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._reads.append(future)
        self._wake.set()
        try:
            async with asyncio.timeout(timeout):
                return await future
        except TimeoutError:
            raise ProposalTimeout("leadership to be confirmed") from None

    async def change_members(self, changes: list[Change], timeout: float = 30.0) -> None:
        """Add, promote, demote or remove servers once earlier changes are over. Raises ConfigurationError, …"""
        core, loop = self.core, asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while True:
            try:
                index = core.propose_change(changes)
                break
            except ChangeUnderWay:
                if loop.time() >= deadline:
                    raise
                await asyncio.sleep(CHANGE_PAUSE)
        await self._outcome(index, core.term, deadline - loop.time())

    async def add_server(self, server: Server, timeout: float = 30.0) -> None:
        """Add a server, or change its address or its right to vote."""
        await self.change_members([Change("voter" if server.voter else "learner", server.id, server.address)], timeout)

    async def remove_server(self, server_id: str, timeout: float = 30.0) -> None:
        """Take a server out. Raises ConfigurationError when it is no member."""
        if server_id not in self.core.configuration.members():
            raise ConfigurationError(f"{server_id} is no member")
        await self.change_members([Change("remove", server_id)], timeout)

    async def transfer_leadership(self, target: str | None = None, timeout: float = 10.0) -> None:
        """Hand leadership to `target`, or to the voter that is furthest. Raises NotLeader, ConfigurationError."""
        core = self.core
        if target is None:
            others = [name for name in core.progress if name != self.id and core.configuration.is_voter(name)]
            if not others:
                raise ConfigurationError("there is no other voter to hand leadership to")
            target = max(others, key=lambda name: core.progress[name].match)
        core.transfer(target)
        self._wake.set()
        deadline = time.monotonic() + timeout
        while core.is_leader:
            if time.monotonic() > deadline or not core.transferee:
                raise ProposalTimeout("the other server to take over")
            await asyncio.sleep(0.01)

    def on_leadership(self, callback: Callable[[bool], None]) -> None:
        """Call back with True when this server becomes leader, with False when it no longer is."""
        self._on_leadership.append(callback)

    def on_leader_change(self, callback: Callable[[Server | None], None]) -> None:
        """Call back with the leader whenever another one, or none, is known."""
        self._on_leader_change.append(callback)

    # What can be seen

    @property
    def is_leader(self) -> bool:
        """Whether this server leads, as far as it knows."""
        return self._core is not None and self._core.role is Role.LEADER and not self._stopped

    @property
    def ready_for_reads(self) -> bool:
        """Whether this leader has applied everything that earlier leaders committed."""
        core = self.core
        return core.is_leader and core.log.term(core.applied) == core.term

    @property
    def leader(self) -> Server | None:
        """The leader, if one is known."""
        if self._core is None or not self._core.leader_id:
            return None
        return Server(self._core.leader_id, self._core.configuration.addresses.get(self._core.leader_id, ""))

    @property
    def servers(self) -> list[Server]:
        """The members in order of their IDs."""
        configuration = self.core.configuration
        return [
            Server(name, configuration.addresses.get(name, ""), configuration.is_voter(name))
            for name in sorted(configuration.members())
        ]

    @property
    def last_contact(self) -> float:
        """Seconds since a leader was heard of; 0 on the leader."""
        if self.is_leader:
            return 0.0
        return asyncio.get_running_loop().time() - self._heard

    @property
    def configuration_index(self) -> int:
        """The index of the log at which the members changed last."""
        return self.core.configuration_index

    @property
    def applied(self) -> tuple[int, int]:
        """Index and term of the last entry that the state machine has seen."""
        index = self.core.applied
        return index, self.core.log.term(index) or 0

    @property
    def applied_index(self) -> int:
        """The last index that the state machine has seen."""
        return self.core.applied

    def stats(self) -> dict[str, str]:
        """Figures in the manner of `consul info`'s raft section."""
        core = self.core
        contact = "0" if core.is_leader else f"{self.last_contact * 1000:.6f}ms"
        if not core.is_leader and not core.leader_id:
            contact = "never"
        return {
            "applied_index": str(core.applied),
            "commit_index": str(core.commit),
            "fsm_pending": str(core.commit - core.applied),
            "last_contact": contact,
            "last_log_index": str(core.log.last_index),
            "last_log_term": str(core.log.last_term),
            "last_snapshot_index": str(self._snapshot_index),
            "last_snapshot_term": str(self._snapshot_term),
            "latest_configuration_index": str(core.configuration_index),
            "num_peers": str(max(0, len(core.configuration.voters) - 1)),
            "state": "Candidate" if core.role is Role.PRE_CANDIDATE else core.role.value,
            "term": str(core.term),
        }

    def _leader_pair(self) -> tuple[str, str]:
        leader = self.leader
        return (leader.id, leader.address) if leader else ("", "")

    # The loop

    def _schedule_tick(self) -> None:
        self._ticker = asyncio.get_running_loop().call_later(self.config.heartbeat / 2, self._tick)

    def _tick(self) -> None:
        self._schedule_tick()
        self._waiting.expire()
        self.core.now = clock()
        self.core.tick()
        self._wake.set()

    def _receive(self, message: Message) -> None:
        if self._stopped:
            return
        try:
            self._take_in(message)
        except InvariantBroken as error:
            if self._task is not None:
                self._task.cancel()
            self._give_up(error)

    def _take_in(self, message: Message) -> None:
        if isinstance(message, m.SnapshotChunk):
            self._on_chunk(message)
            return
        if isinstance(message, m.SnapshotAck):
            self._sender.answered(message)
            return
        if isinstance(message, m.InstallSnapshot):
            return  # Only the bytes (chunks) mean anything; the core hears of a snapshot once it is on disk.
        if isinstance(message, m.AppendEntries | m.Heartbeat) and message.term >= self.core.term:
            self._heard = asyncio.get_running_loop().time()
        self.core.now = clock()
        self.core.step(message)
        self._wake.set()

    def _unreachable(self, peer: str) -> None:
        self.core.unreachable(peer)

    async def _run(self) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                self._start_reads()
                while ready := self.core.ready():
                    await self._do(ready)
                    self._start_reads()
                self._notice_leadership()
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self._give_up(error)

    def _give_up(self, error: BaseException) -> None:
        """Something that must not happen did: going on could lose data, so this server takes part no more."""
        log.critical("raft stops: %s", error, exc_info=error)
        if self.failed is not None and not self.failed.done():
            self.failed.set_result(error)
        self._stopped = True
        if self._ticker is not None:
            self._ticker.cancel()
        self._fail_all(Stopped())

    def _start_reads(self) -> None:
        if not self._reads:
            return
        waiting = [future for future in self._reads if not future.done()]
        self._reads = []
        if not waiting:
            return
        try:
            self.core.now = clock()
            self.core.read_index(waiting)
            self._asked_reads.update(waiting)
        except NotLeader as error:
            for future in waiting:
                future.set_exception(error)

    async def _do(self, ready: Ready) -> None:
        for message in ready.messages:
            self._send(message)
        if ready.snapshot is not None:
            await self._install(ready.snapshot)
        if ready.must_persist:
            await self._persist(ready)
        self.core.persisted(ready)
        for message in ready.messages_after:
            self._send(message)
        self._notice_leadership()
        await self._apply(ready.committed)
        for context, index in ready.reads:
            assert isinstance(context, list)
            for future in context:
                self._asked_reads.discard(future)
                if not future.done():
                    self._waiting.for_index(index, self.core.applied, future)

    async def _persist(self, ready: Ready) -> None:
        if not self._storage.blocking:
            self._storage.save(ready.hard_state, ready.entries)
            return
        await self._until_space(self._storage.save, ready.hard_state, ready.entries)

    async def _until_space(self, write: Callable[..., None], *args: Any) -> None:
        """Have the disk's thread write; as long as the disk is full, try again and fail who waits for a commit."""
        while True:
            try:
                await self._disk.run(write, *args)
            except DiskFull as error:
                if not self._disk_full:
                    log.error("%s: no writes until space returns", error)
                self._disk_full = True
                self._waiting.fail_proposals(DiskFull(error.path, outcome_unknown=True))
                await asyncio.sleep(1.0)
                continue
            if self._disk_full:
                self._disk_full = False
                log.warning("the raft log's disk has space again")
            return

    async def _apply(self, entries: list[Entry]) -> None:
        core = self.core
        clock = time.perf_counter
        turn_ends = clock() + APPLY_SLICE
        for entry in entries:
            result: Any = None
            error: Exception | None = None
            if entry.kind == m.COMMAND:
                self._bytes_since_snapshot += len(entry.data)
                began = clock()
                try:
                    result = self._fsm.apply(entry.index, entry.term, entry.data)
                    _APPLY_TIMES.add((clock() - began) * 1000.0)
                except Exception as raised:  # Deterministic, so the same on every server: it is the command's result.
                    error = raised
            elif entry.kind == m.PIECE:
                self._bytes_since_snapshot += len(entry.data)
                try:
                    result = await self._apply_piece(entry)
                except Exception as raised:
                    error = raised
            elif entry.kind == m.NOOP:
                self._assembler.clear()
            core.applied = entry.index
            self._waiting.applied(entry, result, error)
            if clock() > turn_ends:
                await asyncio.sleep(0)
                turn_ends = clock() + APPLY_SLICE
        if entries:
            self._waiting.reached(core.applied)
            self._consider_snapshot()

    async def _apply_piece(self, entry: Entry) -> Any:
        whole = self._assembler.add(entry.data)
        if whole is None:
            return None
        try:
            await asyncio.get_running_loop().run_in_executor(None, self._fsm.prepare, whole)
            return self._fsm.apply(entry.index, entry.term, whole)
        finally:
            self._assembler.clear()  # Not earlier: a snapshot taken meanwhile would lack the command's beginning.

    def _notice_leadership(self) -> None:
        core = self.core
        if core.role is not self._known_role:
            self._known_role = core.role
            if core.role is Role.CANDIDATE:
                _BECAME_CANDIDATE.add()
        if self._was_leader and not core.is_leader:
            self._waiting.fail_proposals(LeadershipLost())
            for future in self._asked_reads:
                if not future.done():
                    future.set_exception(LeadershipLost())
            self._asked_reads.clear()
        if core.is_leader != self._was_leader:
            self._was_leader = core.is_leader
            (_BECAME_LEADER if core.is_leader else _BECAME_FOLLOWER).add()
            log.info("entering %s state: term=%d", core.role.value.lower(), core.term)
            for callback in self._on_leadership:
                callback(core.is_leader)
        if core.leader_id != self._known_leader:
            self._known_leader = core.leader_id
            for leader_callback in self._on_leader_change:
                leader_callback(self.leader)

    def _fail_all(self, error: Exception) -> None:
        self._waiting.fail_all(error)
        for future in [*self._reads, *self._asked_reads]:
            if not future.done():
                future.set_exception(error)
        self._reads = []
        self._asked_reads.clear()

    # Snapshots

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _consider_snapshot(self) -> None:
        core = self.core
        many = core.applied - self._snapshot_index >= self.config.snapshot_threshold
        many = many and time.monotonic() - self._snapshot_taken >= self.config.snapshot_interval
        if (many or self._bytes_since_snapshot >= self.config.snapshot_bytes) and not self._taking_snapshot:
            self._spawn(self.snapshot())

    async def snapshot(self) -> None:
        """Take a snapshot now and drop the log that it covers, but for the trailing entries."""
        if self._taking_snapshot:
            return
        self._taking_snapshot = True
        try:
            core = self.core
            index = core.applied
            term = core.log.term(index)
            if term is None or index == self._snapshot_index or self._assembler.unfinished:
                return
            self._bytes_since_snapshot = 0
            self._snapshot_taken = time.monotonic()
            configuration, configuration_index = core.configuration, core.configuration_index
            if configuration_index > index:
                return  # A membership change is under way; the next one will do.
            meta = SnapshotMeta(index, term, configuration, configuration_index)
            write = self._fsm.snapshot()
            loop = asyncio.get_running_loop()
            began = time.perf_counter()
            stored = await loop.run_in_executor(self._writers, self._snapshots.create, meta, write)
            _SNAPSHOT_TIMES.add((time.perf_counter() - began) * 1000.0)
            self._snapshot_index, self._snapshot_term = index, term
            log.info("snapshot complete up to %d (%d bytes)", index, stored.size)
            keep = index - self.config.trailing_logs
            if keep > core.log.base_index:
                core.log.compact(keep)
                await self._disk.run(self._storage.compact, keep)
        except OSError as error:
            log.error("cannot take a snapshot: %s", error)
        finally:
            self._taking_snapshot = False

    def _send(self, message: m.CoreMessage) -> None:
        if isinstance(message, m.InstallSnapshot):
            if message.to not in self._sending:
                self._spawn(self._send_snapshot(message.to, message.term))
            return
        self._transport.send(message)

    async def _send_snapshot(self, peer: str, term: int) -> None:
        self._sending.add(peer)
        arrived = False
        try:
            arrived = await self._sender.send(peer, term)
        except (TimeoutError, OSError, CorruptLog) as error:
            log.warning("snapshot to %s failed: %s", peer, error)
        finally:
            self._sending.discard(peer)
            self.core.snapshot_sent(peer, arrived)
            self._wake.set()

    def _on_chunk(self, chunk: m.SnapshotChunk) -> None:
        core = self.core
        if chunk.to != self.id or chunk.term < core.term:
            return
        self._heard = asyncio.get_running_loop().time()
        core.step(m.Heartbeat(self.id, chunk.sender, chunk.term, 0, 0))  # A long transfer must not look like silence.
        self._wake.set()
        if self._keeping or self._arrived is not None:
            return  # One at a time: the one before is being written or installed. The leader asks again.
        ack = self._receiver.take(chunk, core.term)
        if ack is not None:
            self._transport.send(ack)
            return
        self._keeping = True
        self._spawn(self._keep_received(chunk))

    async def _keep_received(self, chunk: m.SnapshotChunk) -> None:
        """Make what has arrived durable, tell the sender, then the core."""
        core = self.core
        try:
            kept = await self._receiver.keep(chunk)
        finally:
            self._keeping = False
        if isinstance(kept, str):
            log.warning("refused snapshot %d of %s: %s", chunk.snapshot.index, chunk.sender, kept)
            self._transport.send(m.SnapshotAck(chunk.sender, self.id, core.term, chunk.snapshot.index, 0, kept))
            return
        self._arrived = kept
        self._transport.send(m.SnapshotAck(chunk.sender, self.id, core.term, chunk.snapshot.index, chunk.size))
        if chunk.term >= core.term:
            core.step(m.InstallSnapshot(self.id, chunk.sender, chunk.term, chunk.snapshot))
        if not core.awaits_installation:
            self._arrived = None  # It is older than what is committed here.
        self._wake.set()

    async def _install(self, meta: SnapshotMeta) -> None:
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
        core = self.core
        state = m.HardState(core.term, core.vote, core.commit)
        await self._until_space(self._storage.reset, state, meta.index, meta.term)
        self._snapshot_index, self._snapshot_term = meta.index, meta.term
        core.applied = meta.index
        self._arrived = None
        log.info("installed snapshot %d of term %d", meta.index, meta.term)
