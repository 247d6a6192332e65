"""Whole clusters in one process, from a seed: lost, late, repeated messages; crashes that forget what was not flushed.

After every step: at most one leader in a term, no two servers commit different entries at one index, and nothing that
was committed is missing from a later leader. `LICTOR_RAFT_SCHEDULES=N` runs more schedules, `LICTOR_RAFT_SEED=N` one.
"""

import os
import random

import msgspec
import pytest

from server.raft.core import Raft, Settings
from server.raft.entries import EntryLog
from server.raft.errors import RaftError
from server.raft.messages import Configuration, CoreMessage, Entry, HardState
from server.raft.quorum import majority

SCHEDULES = int(os.environ.get("LICTOR_RAFT_SCHEDULES", "150"))


class Broken(AssertionError):
    """An invariant of Raft does not hold."""


class Disk:
    """What survives a crash, and what is still on its way to the platter."""

    def __init__(self, configuration: Configuration) -> None:
        self.entries: list[Entry] = []
        self.state = HardState()
        self.configuration = configuration

    def write(self, state: HardState | None, entries: list[Entry]) -> None:
        if state is not None:
            self.state = state
        if entries:
            del self.entries[entries[0].index - 1 :]
            self.entries.extend(entries)


class Cluster:
    """Servers `0`…`n-1` with a network between them that loses, delays and repeats."""

    core_class: type[Raft] = Raft

    def __init__(self, size: int, seed: int) -> None:
        self.random = random.Random(seed)
        names = [str(number) for number in range(size)]
        self.configuration = Configuration(voters=frozenset(names), addresses=dict.fromkeys(names, "x"))
        self.disks = {name: Disk(self.configuration) for name in names}
        self.nodes: dict[str, Raft] = {name: self._boot(name) for name in names}
        self.down: set[str] = set()
        self.cut: set[tuple[str, str]] = set()
        self.network: list[tuple[int, CoreMessage]] = []
        self.leaders: dict[int, str] = {}
        self.committed: dict[int, Entry] = {}
        self.acknowledged: list[int] = []
        self.proposed = 0
        self.reads: dict[int, int] = {}
        self.now = 0

    def _boot(self, name: str) -> Raft:
        disk = self.disks[name]
        log = EntryLog(0, 0, disk.entries)
        limits = Settings(6, 2, 200, 3, 4, 1000, 100000)
        return self.core_class(name, log, disk.state, self.configuration, 0, 0, self.random.randrange, limits)

    def step(self) -> None:
        self.now += 1
        dice = self.random.random()
        if dice < 0.012:
            self._crash(self.random.choice(list(self.nodes)))
        elif dice < 0.04 and self.down:
            name = self.random.choice(sorted(self.down))
            self.down.discard(name)
            self.nodes[name] = self._boot(name)
        elif dice < 0.05:
            one, other = self.random.sample(sorted(self.nodes), 2)
            self.cut.add((one, other))
            if self.random.random() < 0.5:
                self.cut |= {(one, peer) for peer in self.nodes} | {(peer, one) for peer in self.nodes}
        elif dice < 0.06:
            self.cut.clear()
        for name, node in self.nodes.items():
            if name in self.down:
                continue
            if self.random.random() < 0.5:
                node.tick()
            if node.is_leader and self.random.random() < 0.3:
                self._propose(node)
        for when, message in [item for item in self.network if item[0] <= self.now]:
            self.network.remove((when, message))
            if message.to not in self.down and (message.sender, message.to) not in self.cut:
                self.nodes[message.to].step(message)
        for name in self.nodes:
            if name not in self.down:
                self._work(name)

    def _propose(self, node: Raft) -> None:
        self.proposed += 1
        try:
            node.propose(f"{self.proposed}".encode())
            if self.random.random() < 0.3:
                self.reads[self.proposed] = max(self.committed, default=0)
                node.read_index(self.proposed)
        except RaftError:
            pass

    def _crash(self, name: str) -> None:
        if len(self.down) < majority(len(self.nodes)):
            self.down.add(name)

    def _work(self, name: str) -> None:
        node = self.nodes[name]
        ready = node.ready()
        self._send(ready.messages)
        if ready.must_persist:
            if self.random.random() < 0.02:
                self.down.add(name)  # Power goes during the flush: nothing of it is there afterwards.
                return
            self.disks[name].write(ready.hard_state, ready.entries)
        node.persisted(ready)
        self._send(ready.messages_after)
        for entry in ready.committed:
            node.applied = entry.index
            self._commit(name, entry)
        for context, index in ready.reads:
            assert isinstance(context, int)
            if index < self.reads[context]:
                raise Broken(f"a read saw {index}, but {self.reads[context]} was committed before it began")
        self._check(name)

    def _send(self, messages: list[CoreMessage]) -> None:
        for message in messages:
            if self.random.random() < 0.05:
                continue
            copies = 2 if self.random.random() < 0.03 else 1
            for _ in range(copies):
                self.network.append((self.now + self.random.choice((1, 1, 1, 2, 3, 8)), message))

    def _commit(self, name: str, entry: Entry) -> None:
        known = self.committed.setdefault(entry.index, entry)
        if known != entry:
            raise Broken(f"{name} commits {entry} where {known} was committed")

    def _check(self, name: str) -> None:
        node = self.nodes[name]
        if node.is_leader:
            leader = self.leaders.setdefault(node.term, name)
            if leader != name:
                raise Broken(f"{leader} and {name} both lead term {node.term}")
            for index, entry in self.committed.items():
                if entry.term < node.term and not node.log.matches(index, entry.term):
                    raise Broken(f"leader {name} of term {node.term} lacks committed entry {index}")

    def heal(self) -> None:
        """Let everything work again until all servers agree."""
        self.cut.clear()
        for name in sorted(self.down):
            self.nodes[name] = self._boot(name)
        self.down.clear()
        self.network.clear()
        keep, self.random.random = self.random.random, lambda: 0.45  # type: ignore[method-assign]
        for _ in range(200):
            self.step()
        for node in self.nodes.values():
            if node.is_leader:
                self._propose(node)
        for _ in range(50):
            self.step()
        self.random.random = keep  # type: ignore[method-assign]


def run(seed: int, core: type[Raft] = Raft, steps: int = 400) -> Cluster:
    size = 3 if seed % 3 else 5
    cluster = Cluster.__new__(Cluster)
    cluster.core_class = core
    cluster.__init__(size, seed)  # type: ignore[misc]
    for _ in range(steps):
        cluster.step()
    return cluster


SEEDS = [int(os.environ["LICTOR_RAFT_SEED"])] if "LICTOR_RAFT_SEED" in os.environ else range(SCHEDULES)


def test_schedules_keep_the_invariants() -> None:
    progressed = 0
    for seed in SEEDS:
        try:
            progressed += len(run(seed).committed)
        except AssertionError as error:
            raise AssertionError(f"LICTOR_RAFT_SEED={seed}: {error}") from error
    assert progressed > 20 * len(list(SEEDS))


@pytest.mark.parametrize("seed", range(5))
def test_a_healed_cluster_agrees(seed: int) -> None:
    cluster = run(seed)
    before = len(cluster.committed)
    cluster.heal()
    assert len(cluster.committed) > before
    assert len({node.commit for node in cluster.nodes.values()}) == 1


# Mutants: the core broken on purpose; the schedules must notice.


class ForgetsVote(Raft):
    def ready(self):  # type: ignore[no-untyped-def]
        self.vote = ""
        return super().ready()


class CountsOneVote(Raft):
    def _count_votes(self) -> None:
        if self._votes:
            self._become_leader() if self.role.name == "CANDIDATE" else self._campaign(pre=False)


class CommitsAlone(Raft):
    def _match_of(self, server_id: str) -> int:
        return self.log.last_index


class VotesForOldLogs(Raft):
    def _on_request_vote(self, message):  # type: ignore[no-untyped-def]
        super()._on_request_vote(msgspec.structs.replace(message, last_term=10**9))


class SkipsConsistencyCheck(Raft):
    def _on_append(self, message):  # type: ignore[no-untyped-def]
        term = self.log.term(message.previous_index)
        super()._on_append(message if term is None else msgspec.structs.replace(message, previous_term=term))


class AnswersReadsWithoutAsking(Raft):
    def _acked_round(self, server_id: str) -> int:
        return self._round


class AcksBeforeDisk(Raft):
    def _send_after(self, message):  # type: ignore[no-untyped-def]
        self._send_now(message)

    def ready(self):  # type: ignore[no-untyped-def]
        ready = super().ready()
        ready.messages = ready.messages + ready.messages_after
        ready.messages_after = []
        return ready


@pytest.mark.parametrize(
    "mutant",
    [
        ForgetsVote,
        CountsOneVote,
        CommitsAlone,
        VotesForOldLogs,
        SkipsConsistencyCheck,
        AnswersReadsWithoutAsking,
        AcksBeforeDisk,
    ],
)
def test_a_broken_core_is_caught(mutant: type[Raft]) -> None:
    for seed in range(400):
        try:
            run(seed, mutant)
        except (AssertionError, IndexError, TypeError):
            return
    pytest.fail(f"{mutant.__name__} went unnoticed")
