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
from collections.abc import Callable, Coroutine
from typing import Any

from model.metrics import METRICS
from server.raft import messages as m
from server.raft.applying import Applier
from server.raft.confchange import Change
from server.raft.core import Raft
from server.raft.errors import (
    CannotBootstrap,
    ChangeUnderWay,
    ConfigurationError,
    DiskFull,
    InvariantBroken,
    LeadershipLost,
    NotLeader,
    ProposalTimeout,
    RaftError,
    Stopped,
)
from server.raft.log import Storage
from server.raft.log_writer import LogWriter
from server.raft.messages import Configuration, Message
from server.raft.node_config import RaftConfig, Server, StateMachine, clock
from server.raft.opening import open_state
from server.raft.pieces import Assembler, split
from server.raft.ready import Ready, Role, Settings
from server.raft.snapshot import Snapshots
from server.raft.snapshotting import Snapshotting
from server.raft.transport import Transport
from server.raft.waiting import Reads, Waiting, fail

log = logging.getLogger("lictor.raft")

_PROPOSED = METRICS.counter("raft.apply")
_BARRIERS = METRICS.counter("raft.barrier")
_COMMIT_TIMES = METRICS.sample("raft.commitTime")
_VERIFIED = METRICS.counter("raft.verify_leader")
_BECAME_LEADER = METRICS.counter("raft.state.leader")
_BECAME_FOLLOWER = METRICS.counter("raft.state.follower")
_BECAME_CANDIDATE = METRICS.counter("raft.state.candidate")

MAX_ENTRY = 4 << 20
"""Bytes up to which a command is one entry; a larger one goes into the log in pieces."""
CHANGE_PAUSE = 0.02
"""Seconds between looks at whether an earlier change of the members is over."""


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
        self._snapshots = snapshots
        self._transport = transport
        self._fsm = fsm
        self._random = random
        self._core: Raft | None = None
        self._wake = asyncio.Event()
        self._waiting = Waiting()
        self._one_in_pieces = asyncio.Lock()
        self._reads = Reads()
        self._task: asyncio.Task[None] | None = None
        self._ticker: asyncio.TimerHandle | None = None
        self._background: set[asyncio.Task[None]] = set()
        self._writer = LogWriter(storage, self._disk_is_full)
        assembler = Assembler()
        self._snapshotting = Snapshotting(self, snapshots, fsm, assembler, self._writer, transport.send)
        self._applier = Applier(fsm, assembler, self._waiting, self._snapshotting)
        self._heard = 0.0
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
        opened = await open_state(self._writer, self._snapshots, self._fsm, recover_with)
        self._snapshotting.index, self._snapshotting.term = opened.snapshot_index, opened.snapshot_term
        self._core = Raft(
            self.id,
            opened.log,
            opened.hard_state,
            opened.configuration,
            opened.configuration_index,
            opened.snapshot_index,
            self._random,
            Settings(election_ticks=self.config.election_ticks, heartbeat_ticks=2, lease=self.config.lease),
            opened.base,
        )
        self._core.commit = max(self._core.commit, opened.snapshot_index)
        self._core.now = clock()
        self._transport.on_message = self._receive
        self._transport.on_unreachable = self._unreachable
        self._transport.knows = lambda peer: peer in self.core.configuration.addresses or not (
            self.core.configuration.members()
        )
        self.hear()
        self._task = loop.create_task(self._run())
        self._schedule_tick()
        if opened.configuration.voters == {self.id}:
            self._core.campaign()  # Nobody else could win, so there is nothing to wait for.
            self.wake()

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
        await self._writer.close()
        await self._snapshotting.close()

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
        self.wake()

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
        if self._writer.full:
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
        self.wake()
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
        future = self._reads.add()
        self.wake()
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
        self.wake()
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
            "last_snapshot_index": str(self._snapshotting.index),
            "last_snapshot_term": str(self._snapshotting.term),
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
        self.wake()

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
            self._snapshotting.receive(message)
            return
        if isinstance(message, m.SnapshotAck):
            self._snapshotting.answered(message)
            return
        if isinstance(message, m.InstallSnapshot):
            return  # Only the bytes (chunks) mean anything; the core hears of a snapshot once it is on disk.
        if isinstance(message, m.AppendEntries | m.Heartbeat) and message.term >= self.core.term:
            self.hear()
        self.core.now = clock()
        self.core.step(message)
        self.wake()

    def _unreachable(self, peer: str) -> None:
        self.core.unreachable(peer)

    async def _run(self) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                self._ask_for_reads()
                while ready := self.core.ready():
                    await self._do(ready)
                    self._ask_for_reads()
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

    def _ask_for_reads(self) -> None:
        if waiting := self._reads.take():
            try:
                self.core.now = clock()
                self.core.read_index(waiting)
                self._reads.asked(waiting)
            except NotLeader as error:
                fail(waiting, error)

    async def _do(self, ready: Ready) -> None:
        for message in ready.messages:
            self._send(message)
        if ready.snapshot is not None:
            await self._snapshotting.install(ready.snapshot)
        if ready.must_persist:
            await self._writer.save(ready.hard_state, ready.entries)
        self.core.persisted(ready)
        for message in ready.messages_after:
            self._send(message)
        self._notice_leadership()
        await self._applier.apply(self.core, ready.committed)
        for context, index in ready.reads:
            assert isinstance(context, list)
            for future in context:
                self._reads.answered(future)
                if not future.done():
                    self._waiting.for_index(index, self.core.applied, future)

    def _disk_is_full(self, error: DiskFull) -> None:
        self._waiting.fail_proposals(DiskFull(error.path, outcome_unknown=True))

    def _notice_leadership(self) -> None:
        core = self.core
        if core.role is not self._known_role:
            self._known_role = core.role
            if core.role is Role.CANDIDATE:
                _BECAME_CANDIDATE.add()
        if self._was_leader and not core.is_leader:
            self._waiting.fail_proposals(LeadershipLost())
            self._reads.fail_asked(LeadershipLost())
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
        self._reads.fail_all(error)

    def wake(self) -> None:
        """Have the loop look what the core has for it to do."""
        self._wake.set()

    def hear(self) -> None:
        """Note that a leader gave a sign of life."""
        self._heard = asyncio.get_running_loop().time()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine until it is done or this node stops."""
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def snapshot(self) -> None:
        """Take a snapshot now and drop the log that it covers, but for the trailing entries."""
        await self._snapshotting.take()

    def _send(self, message: m.CoreMessage) -> None:
        if isinstance(message, m.InstallSnapshot):
            self._snapshotting.offer(message.to, message.term)
            return
        self._transport.send(message)
