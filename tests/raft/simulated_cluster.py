"""Whole clusters in one process, from a seed: the real core, the real log on a simulated disk, everything else hostile.

Servers `0`…`6` of which some are voters. The network loses, delays, repeats and reorders messages and is cut in one or
both directions; servers lose power (also in the middle of a flush), stand still, meet disk errors and full disks;
clocks run at different speeds; members come, go, are promoted and demoted; snapshots are taken and sent all the while.

After every step: at most one leader in a term; no two servers apply different entries at one index; a new leader has
everything that was committed. At the end the clients' history is checked for linearizability, with the log as witness:
every operation took effect at its index, its answer is what a register gives there, and no operation that began after
another had ended took effect before it.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import msgspec

from server.raft import messages as m
from server.raft.confchange import Change
from server.raft.core import Raft, Ready, Settings
from server.raft.errors import CorruptLog, DiskFull, RaftError
from server.raft.log import WriteAheadLog
from server.raft.messages import Configuration, Entry, SnapshotMeta
from tests.raft.simulated_disk import DiskError, PowerCut, SimulatedFolder

TICK = 1.0
"""Seconds between a server's ticks, on its own clock; a step of the simulation takes one second."""
NAMES = "0123456"


class Broken(AssertionError):
    """An invariant of Raft does not hold, or a client saw what it must not see."""


@dataclass
class Snapshot:
    """What `server.raft.snapshot` keeps: durable as soon as it is there."""

    meta: SnapshotMeta
    state: dict[str, tuple[str, int]]


@dataclass
class Operation:
    """A client's wish and what became of it; times are steps of the simulation."""

    key: str
    began: int
    value: str | None = None
    expected: int | None = None
    ended: int | None = None
    index: int = 0
    answer: object = None


@dataclass(frozen=True)
class Faults:
    """How often what happens, for each step; and how slow network and disks are at best, in steps."""

    crash: float = 0.010
    bounce: float = 0.010
    restart: float = 0.03
    cut: float = 0.012
    heal: float = 0.015
    pause: float = 0.006
    slow_disk: float = 0.01
    change: float = 0.012
    transfer: float = 0.006
    snapshot: float = 0.03
    disk_full: float = 0.003
    disk_error: float = 0.002
    cut_at_sync: float = 0.01
    loss: float = 0.04
    repeat: float = 0.03
    rot: float = 0.0
    delays: tuple[int, ...] = (1, 1, 1, 2, 3, 9)
    flush: tuple[int, ...] = (0, 0, 1, 3)
    election_ticks: int = 6


CALM = Faults(0, 0, 0.2, 0, 0.05, 0, 0, 0, 0, 0.01, 0, 0, 0, 0.02, 0.02)
"""Almost nothing happens; what a profile is made from."""


class Server:
    """One machine: its disk, and while it is up its core. `_work` does what `server.raft.driver` does, in its order."""

    core_class: type[Raft] = Raft
    log_class: type[WriteAheadLog] = WriteAheadLog

    def __init__(self, cluster: "Cluster", name: str) -> None:
        self.cluster = cluster
        self.name = name
        self.disk = SimulatedFolder(cluster.dice)
        self.disk.cut_at_sync = cluster.faults.cut_at_sync
        self.snapshot: Snapshot | None = None
        self.up = False
        self.broken = ""
        self.paused_until = 0
        self.slow_until = 0
        self.speed = 1.0 + cluster.dice.uniform(-0.04, 0.04)
        self.core: Raft
        self.first: Configuration | None = None

    def boot(self) -> None:
        """Start the process: what `RaftNode.start` does."""
        self.wal = self.make_log()
        try:
            loaded = self.wal.load()
        except CorruptLog as error:
            self.broken = str(error)
            return
        except PowerCut:
            self.disk.lose_power()
            return
        except (DiskError, DiskFull):
            return
        self.state: dict[str, tuple[str, int]] = {}
        applied = 0
        configuration, configuration_index = Configuration(), 0
        if self.snapshot is not None:
            meta = self.snapshot.meta
            applied = meta.index
            self.state = dict(self.snapshot.state)
            configuration, configuration_index = meta.configuration, meta.configuration_index
            if not loaded.log.matches(applied, meta.term) and loaded.log.base_index <= applied:
                loaded.log.reset(applied, meta.term)
                try:
                    self.wal.reset(loaded.hard_state, applied, meta.term)
                except PowerCut:
                    self.disk.lose_power()
                    return
                except (DiskError, DiskFull):
                    return
        if loaded.log.base_index > applied:
            raise Broken(f"{self.name}: log begins after {loaded.log.base_index}, snapshot ends at {applied}")
        for entry in loaded.log.slice(loaded.log.first_index, loaded.log.last_index):
            if entry.kind == m.CONFIGURATION and entry.index > configuration_index:
                configuration, configuration_index = m.decode_configuration(entry.data), entry.index
        ticks = self.cluster.faults.election_ticks
        lease = 0.8 * (ticks - 1) * TICK if self.cluster.leases else 0.0
        settings = Settings(ticks, 2, 300, 4, 4, 1000, 100000, lease=lease)
        roll = self.cluster.dice.randrange
        self.core = self.core_class(
            self.name, loaded.log, loaded.hard_state, configuration, configuration_index, applied, roll, settings
        )
        self.core.commit = max(self.core.commit, applied)
        if self.first is not None and not loaded.log.last_index and not loaded.hard_state.term:
            self.core.bootstrap(self.first)
        self.up = True
        self.next_tick = self.clock() + TICK
        self.flushing: tuple[int, Ready] | None = None
        self.pending: dict[int, tuple[int, Operation]] = {}
        self.reads: list[tuple[int, Operation]] = []
        self.arrived: Snapshot | None = None
        self.leads = False

    def make_log(self) -> WriteAheadLog:
        """The log on this server's disk."""
        return self.log_class(self.disk, segment_bytes=2000)

    def clock(self) -> float:
        """Seconds on this server's monotonic clock."""
        return self.cluster.now * self.speed

    def lose_power(self) -> None:
        """Off, at once."""
        self.up = False
        self.disk.lose_power()

    @property
    def awake(self) -> bool:
        """Whether it runs and is not standing still."""
        return self.up and self.cluster.now >= self.paused_until

    def turn(self) -> None:
        """One step: the clock, then whatever is ready."""
        core = self.core
        core.now = self.clock()
        if core.now >= self.next_tick:
            self.next_tick = core.now + TICK
            core.tick()
        try:
            self._work()
        except PowerCut:
            self.lose_power()
        except DiskError:
            self.lose_power()  # The driver stops for good: nothing that was written since can be relied upon.

    def _work(self) -> None:
        if self.flushing is not None:
            until, ready = self.flushing
            if self.cluster.now < until:
                return
            self._finish(ready)
            if self.flushing is not None:
                return  # The disk is full: the driver tries again.
        ready = self.core.ready()
        if not ready:
            return
        self._send(ready.messages)
        takes = self.cluster.dice.choice(self.cluster.faults.flush)
        if self.cluster.now < self.slow_until:
            takes += self.cluster.dice.choice((5, 20, 40))
        self.flushing = (self.cluster.now + takes, ready)

    def _finish(self, ready: Ready) -> None:
        """The disk had its time: `RaftNode._do` from the installing of a snapshot on."""
        core = self.core
        if ready.snapshot is not None:
            arrived = self.arrived
            assert arrived is not None and arrived.meta.index == ready.snapshot.index
            self.state = dict(arrived.state)
            self._reset(m.HardState(core.term, core.vote, core.commit), arrived.meta)
            core.applied = arrived.meta.index
            self.arrived = None
        if ready.must_persist:
            try:
                self.persist(ready)
            except DiskFull:
                self.flushing = (self.cluster.now + 2, without_snapshot(ready))
                return
        self.flushing = None
        core.persisted(ready)
        self._send(ready.messages_after)
        for entry in ready.committed:
            self._apply(entry)
        for context, index in ready.reads:
            assert isinstance(context, Operation)
            self.reads.append((index, context))
        self._answer_reads()
        self.cluster.check_leader(self)

    def persist(self, ready: Ready) -> None:
        """Write what must not be forgotten."""
        self.wal.save(ready.hard_state, ready.entries)

    def _reset(self, state: m.HardState, meta: SnapshotMeta) -> None:
        full, self.disk.full = self.disk.full, False  # The driver waits for space; here it is there at once.
        self.wal.reset(state, meta.index, meta.term)
        self.disk.full = full

    def _apply(self, entry: Entry) -> None:
        self.cluster.check_applied(self.name, entry)
        pending = self.pending.pop(entry.index, None)
        result: object = None
        if entry.kind == m.COMMAND:
            result = apply(self.state, entry.index, entry.data)
        self.core.applied = entry.index
        if pending is not None and pending[0] == entry.term:
            operation = pending[1]
            operation.ended, operation.index, operation.answer = self.cluster.now, entry.index, result

    def _answer_reads(self) -> None:
        waiting = []
        for index, operation in self.reads:
            if self.core.applied < index:
                waiting.append((index, operation))
                continue
            operation.ended, operation.index = self.cluster.now, self.core.applied
            operation.answer = self.state.get(operation.key)
        self.reads = waiting

    def take_snapshot(self) -> None:
        """What `RaftNode.snapshot` does."""
        core = self.core
        term = core.log.term(core.applied)
        if term is None or not core.applied or core.configuration_index > core.applied:
            return
        if self.snapshot is not None and self.snapshot.meta.index >= core.applied:
            return
        if self.flushing is not None and self.flushing[1].snapshot is not None:
            return  # The driver's loop is installing another one.
        meta = SnapshotMeta(core.applied, term, core.configuration, core.configuration_index)
        self.snapshot = Snapshot(meta, dict(self.state))
        keep = core.applied - self.cluster.dice.choice((0, 2, 10))
        if keep > core.log.base_index:
            core.log.compact(keep)
            self.wal.compact(keep)

    def receive_snapshot(self, sender: str, term: int, snapshot: Snapshot) -> bool:
        """A snapshot has arrived whole; what `RaftNode._keep_received` does. Returns whether it was taken."""
        if term < self.core.term or self.arrived is not None:
            return False
        if self.snapshot is None or snapshot.meta.index > self.snapshot.meta.index:
            self.snapshot = snapshot
        self.arrived = snapshot
        self.core.step(m.InstallSnapshot(self.name, sender, term, snapshot.meta))
        if not self.core.awaits_installation:
            self.arrived = None
        return True

    def _send(self, messages: list[m.CoreMessage]) -> None:
        for message in messages:
            if isinstance(message, m.InstallSnapshot):
                self.cluster.send_snapshot(self, message)
            else:
                self.cluster.send(message)


def without_snapshot(ready: Ready) -> Ready:
    """The same wish once more, its snapshot being installed already."""
    ready.snapshot = None
    return ready


def apply(state: dict[str, tuple[str, int]], index: int, command: bytes) -> object:
    """The state machine: registers with compare-and-set by the index of their last change."""
    key, value, expected = msgspec.json.decode(command)
    if expected is not None and state.get(key, ("", 0))[1] != expected:
        return False
    state[key] = (value, index)
    return True


@dataclass
class Cluster:
    """See the module's text."""

    seed: int
    faults: Faults = field(default_factory=Faults)
    leases: bool = False
    server_class: Callable[["Cluster", str], Server] = Server

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)
        self.now = 0
        voters = frozenset(NAMES[: self.dice.choice((3, 3, 5))])
        first = Configuration(voters=voters, addresses=dict.fromkeys(sorted(voters), "x"))
        self.servers = {name: self.server_class(self, name) for name in NAMES}
        self.network: dict[int, list[tuple[str, str, object]]] = {}
        self.cuts: set[tuple[str, str]] = set()
        self.leaders: dict[int, str] = {}
        self.applied: dict[int, Entry] = {}
        self.applied_up_to = 0
        self.history: list[Operation] = []
        self.elections = 0
        self.snapshots_sent = 0
        self.changes = 0
        for name in sorted(voters):
            self.servers[name].first = first
        for server in self.servers.values():
            server.boot()

    # One step

    def step(self) -> None:
        """A second goes by."""
        self.now += 1
        self._misfortune()
        for sender, receiver, message in self.network.pop(self.now, ()):
            server = self.servers[receiver]
            if not server.up or (sender, receiver) in self.cuts:
                continue
            if not server.awake:
                self.network.setdefault(server.paused_until + 1, []).append((sender, receiver, message))
                continue
            server.core.now = server.clock()
            if isinstance(message, tuple):
                self._deliver_snapshot(sender, server, *message)
            else:
                server.core.step(message)  # type: ignore[arg-type]
        for server in self.servers.values():
            if server.awake:
                server.turn()
        self._clients()

    def _misfortune(self) -> None:
        dice, faults = self.dice, self.faults
        names = list(self.servers)
        if dice.random() < faults.crash:
            self._crash(self._victim())
        if dice.random() < faults.bounce:
            victim = self._victim()
            self._crash(victim)
            if not victim.broken:
                victim.boot()
        if dice.random() < faults.restart:
            for server in self.servers.values():
                if not server.up and not server.broken and dice.random() < 0.5:
                    server.disk.full = False
                    server.boot()
        if dice.random() < faults.cut:
            one, other = self._victim().name, dice.choice(names)
            self.cuts.add((one, other))
            kind = dice.random()
            if kind < 0.4:
                self.cuts |= {(one, peer) for peer in names} | {(peer, one) for peer in names}
            elif kind < 0.6:
                half = set(dice.sample(names, 3))
                self.cuts |= {(a, b) for a in names for b in names if (a in half) != (b in half)}
            elif kind < 0.75:
                self.cuts |= {(one, peer) for peer in names}
            elif kind < 0.9:
                self.cuts.add((other, one))
        if dice.random() < faults.heal:
            self.cuts.clear()
        server = self._victim()
        if dice.random() < faults.pause:
            server.paused_until = self.now + dice.choice((5, 20, 60))
        if dice.random() < faults.slow_disk:
            server.slow_until = self.now + 60
        if dice.random() < faults.disk_full:
            server.disk.full = not server.disk.full
        elif dice.random() < 0.02:
            server.disk.full = False
        server.disk.error_at_sync = 1.0 if dice.random() < faults.disk_error else 0.0
        if server.awake and dice.random() < faults.snapshot * 3:
            try:
                server.take_snapshot()
            except PowerCut:
                server.lose_power()
        leader = self.some_leader()
        if leader is not None and dice.random() < faults.change:
            self._change_members(leader)
        if leader is not None and dice.random() < faults.transfer:
            try:
                leader.core.transfer(dice.choice(names))
            except RaftError:
                pass

    def _victim(self) -> Server:
        """Whom misfortune meets: a leader more often than others, a member more often than the rest."""
        leader = self.some_leader()
        if leader is not None and self.dice.random() < 0.4:
            return leader
        names = sorted(leader.core.configuration.members()) if leader and self.dice.random() < 0.7 else NAMES
        return self.servers[self.dice.choice(names)]

    def _crash(self, victim: Server) -> None:
        if victim.up:
            victim.lose_power()
            if self.dice.random() < self.faults.rot:
                victim.disk.rot()

    def _change_members(self, leader: Server) -> None:
        ops = ("voter", "voter", "learner", "remove")
        names = self.dice.sample(sorted(self.servers), self.dice.choice((1, 1, 2, 3)))
        changes = [Change(self.dice.choice(ops), name, "x") for name in names]
        try:
            leader.core.propose_change(changes)
            self.changes += 1
        except RaftError:
            pass

    def some_leader(self) -> Server | None:
        """One of those that believe to lead."""
        leaders = [server for server in self.servers.values() if server.awake and server.core.is_leader]
        return self.dice.choice(leaders) if leaders else None

    def _clients(self) -> None:
        for server in self.servers.values():
            if not server.awake or not server.core.is_leader or self.dice.random() > 0.4:
                continue
            operation = Operation(self.dice.choice("abc"), self.now)
            try:
                if self.dice.random() < 0.4:
                    server.core.read_index(operation)
                else:
                    operation.value = str(len(self.history))
                    if self.dice.random() < 0.3:
                        operation.expected = server.state.get(operation.key, ("", 0))[1]
                    command = msgspec.json.encode([operation.key, operation.value, operation.expected])
                    index = server.core.propose(command + b" " * self.dice.choice((0, 0, 0, 900)))
                    server.pending[index] = (server.core.term, operation)
            except RaftError:
                continue
            self.history.append(operation)

    # The network

    def _later(self, sender: str, receiver: str, message: object) -> None:
        when = self.now + self.dice.choice(self.faults.delays)
        self.network.setdefault(when, []).append((sender, receiver, message))

    def send(self, message: m.CoreMessage) -> None:
        """Hand a message to the network, through the bytes that it would be."""
        if self.dice.random() < self.faults.loss:
            return
        self._later(message.sender, message.to, m.decode_message(m.encode_message(message)))
        if self.dice.random() < self.faults.repeat:
            self._later(message.sender, message.to, message)

    def send_snapshot(self, sender: Server, message: m.InstallSnapshot) -> None:
        """The driver sends the newest snapshot that is on disk, whatever the core asked for."""
        if sender.snapshot is None or self.dice.random() < self.faults.loss:
            sender.core.snapshot_sent(message.to, False)
            return
        sent = (message.term, sender.snapshot)
        self._later(sender.name, message.to, sent)
        if self.dice.random() < self.faults.repeat * 4:
            self.network.setdefault(self.now + 40, []).append((sender.name, message.to, sent))

    def _deliver_snapshot(self, sender: str, receiver: Server, term: int, snapshot: Snapshot) -> None:
        source = self.servers[sender]
        taken = receiver.receive_snapshot(sender, term, snapshot)
        self.snapshots_sent += taken
        if source.up:
            source.core.snapshot_sent(receiver.name, taken and self.dice.random() < 0.9)

    # What must hold

    def check_applied(self, name: str, entry: Entry) -> None:
        """State machine safety: an index has one entry for all."""
        known = self.applied.setdefault(entry.index, entry)
        if (known.term, known.kind, known.data) != (entry.term, entry.kind, entry.data):
            raise Broken(f"{name} applies {entry} where {known} was applied")
        self.applied_up_to = max(self.applied_up_to, entry.index)

    def check_leader(self, server: Server) -> None:
        """Election safety, and leader completeness when somebody begins to lead."""
        core = server.core
        if not core.is_leader:
            server.leads = False
            return
        leader = self.leaders.setdefault(core.term, server.name)
        if leader != server.name:
            raise Broken(f"{leader} and {server.name} both lead term {core.term}")
        if server.leads:
            return
        server.leads = True
        self.elections += 1
        for index, entry in self.applied.items():
            if index > core.log.base_index and entry.term < core.term and not core.log.matches(index, entry.term):
                raise Broken(f"leader {server.name} of term {core.term} lacks committed entry {index}")

    def check_history(self) -> None:
        """Linearizability, with the log as witness; see the module's text."""
        state: dict[str, tuple[str, int]] = {}
        states: dict[int, dict[str, tuple[str, int]]] = {0: {}}
        results: dict[int, object] = {}
        for index in range(1, self.applied_up_to + 1):
            entry = self.applied.get(index)
            if entry is None:
                raise Broken(f"entry {index} was never applied, but a later one was")
            if entry.kind == m.COMMAND:
                state = dict(state)
                results[index] = apply(state, index, entry.data)
            states[index] = state
        ended = [operation for operation in self.history if operation.ended is not None]
        for operation in ended:
            if operation.value is None:
                if states[operation.index].get(operation.key) != operation.answer:
                    raise Broken(f"{operation} is not what the register held at that index")
            elif results.get(operation.index) != operation.answer:
                raise Broken(f"{operation} answered otherwise than the register does")
        # Who ended before another began must not come after it in the log.
        highest = 0
        by_end = sorted(ended, key=lambda operation: operation.ended or 0)
        position = 0
        for operation in sorted(ended, key=lambda operation: operation.began):
            while position < len(by_end) and (by_end[position].ended or 0) < operation.began:
                highest = max(highest, by_end[position].index)
                position += 1
            if operation.index < highest:
                raise Broken(f"{operation} took effect at {operation.index}, after {highest} was answered")

    # Runs

    def run(self, steps: int) -> "Cluster":
        """So many steps, then the clients' history is checked."""
        for _ in range(steps):
            self.step()
        self.check_history()
        return self

    def heal(self, steps: int = 400) -> None:
        """Let everything work until all members agree."""
        self.faults = replace(CALM, loss=0, repeat=0, snapshot=0)
        self.cuts.clear()
        for server in self.servers.values():
            server.disk.cut_at_sync = server.disk.error_at_sync = 0.0
            server.disk.full = False
            server.paused_until = 0
            if not server.up and not server.broken:
                server.boot()
        for _ in range(steps):
            self.step()
        self.check_history()
