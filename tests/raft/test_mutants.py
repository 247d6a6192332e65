"""The protocol broken on purpose, one rule at a time: the schedules of `test_simulation` must notice each."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from server.raft import confchange
from server.raft import messages as m
from server.raft.core import Raft
from server.raft.entries import EntryLog
from server.raft.errors import CorruptLog, RaftError
from server.raft.log import WriteAheadLog
from server.raft.messages import Configuration, Entry, HardState
from server.raft.quorum import EVERYTHING, joint_value
from server.raft.ready import Ready, Role
from tests.raft.simulated_cluster import Server
from tests.raft.test_simulation import STEPS, build

SEEDS = 4000


class ForgetsTheVote(Server):
    """The vote is not written to the disk."""

    def persist(self, ready: Ready) -> None:
        if ready.hard_state is not None:
            ready.hard_state = HardState(ready.hard_state.term, "", ready.hard_state.commit)
        super().persist(ready)


class ForgetsTheTerm(Server):
    """Messages of a new term leave before the term is on the disk."""

    def _work(self) -> None:
        if self.flushing is None:
            ready = self.core.ready()
            if ready:
                self._send(ready.messages + ready.messages_after)
                ready.messages, ready.messages_after = [], []
                self.flushing = (self.cluster.now + 3, ready)
            return
        super()._work()


class SkipsTheFlush(Server):
    """fdatasync does nothing."""

    def boot(self) -> None:
        self.disk.syncs = False
        super().boot()


class ServesWhatIsNotCommitted(Server):
    """Reads look at the newest entry, not at the newest committed one."""

    def _answer_reads(self) -> None:
        for index, operation in self.reads:
            operation.ended, operation.index = self.cluster.now, index
            operation.answer = self.state.get(operation.key)
        self.reads = []


class DeletesTooMuchLog(Server):
    """Entries go although no snapshot covers them."""

    def take_snapshot(self) -> None:
        before = self.snapshot
        super().take_snapshot()
        self.snapshot = before


class CountsOneVote(Raft):
    """One vote wins."""

    def _count_votes(self) -> None:
        if self.role is Role.CANDIDATE:
            self._become_leader()
        else:
            self._campaign(pre=False)


class CountsLearners(Raft):
    """Learners count as voters when entries are committed."""

    def _advance_commit(self) -> None:
        honest = self.configuration
        self.configuration = msgspec.structs.replace(honest, voters=honest.voters | honest.learners)
        index = joint_value(self.configuration.voters, self.configuration.outgoing, self._match_of, EVERYTHING)
        self.configuration = honest
        if self.commit < index <= self.log.last_index and self.log.term(index) == self.term:
            self.commit = index
        super()._advance_commit()


class CommitsOldTermsByCounting(Raft):
    """An entry of an earlier term counts as committed once it is on a majority."""

    def _advance_commit(self) -> None:
        index = joint_value(self.configuration.voters, self.configuration.outgoing, self._match_of, EVERYTHING)
        if self.commit < index <= self.log.last_index and self.log.term(index) != self.term:
            self.commit = index
        super()._advance_commit()


class VotesForOldLogs(Raft):
    """Whoever asks gets the vote, whatever its log lacks."""

    def _on_request_vote(self, message: m.RequestVote) -> None:
        super()._on_request_vote(msgspec.structs.replace(message, last_term=10**9))


class SkipsTheConsistencyCheck(Raft):
    """Entries are taken wherever they are said to belong."""

    def _on_append(self, message: m.AppendEntries) -> None:
        term = self.log.term(message.previous_index)
        super()._on_append(message if term is None else msgspec.structs.replace(message, previous_term=term))


class TruncatesOnOldMessages(Raft):
    """An old AppendEntries cuts off what came after it."""

    def _on_append(self, message: m.AppendEntries) -> None:
        last = message.previous_index + len(message.entries)
        fits = self.log.matches(message.previous_index, message.previous_term)
        if fits and self.commit <= last < self.log.last_index:
            self.log.truncate_from(last + 1)
        super()._on_append(message)


class AnswersReadsWithoutAsking(Raft):
    """No heartbeat is needed for a read."""

    def _acked_round(self, server_id: str) -> int:
        return 1 << 60


class AcknowledgesBeforeTheDisk(Raft):
    """A follower says that it has entries which are still on their way to the disk."""

    def ready(self) -> Ready:
        ready = super().ready()
        if ready.hard_state is None or ready.hard_state.term == self.term:
            ready.messages = ready.messages + ready.messages_after
            ready.messages_after = []
        return ready


class TakesOldSnapshots(Raft):
    """A snapshot replaces the log even when more than it covers is committed."""

    def _on_snapshot(self, message: m.InstallSnapshot) -> None:
        self.commit = min(self.commit, message.snapshot.index - 1)
        super()._on_snapshot(message)


class NumbersSegmentsByFrames(WriteAheadLog):
    """After a restart the next segment may sort before older ones."""

    def _begin_segment(self, first: list[Any]) -> None:
        known = self._last_index_of
        if len(known) > 1:
            oldest = min(known)
            self._last_index_of = {name: index for name, index in known.items() if name == oldest}
            while f"{int(max(self._last_index_of)[:20]) + 1:020d}.wal" in self._folder.names():
                self._last_index_of[f"{int(max(self._last_index_of)[:20]) + 1:020d}.wal"] = 0
        super()._begin_segment(first)
        self._last_index_of = {**known, **self._last_index_of}


class OneStepMembership(Raft):
    """Any membership change is made in one step."""

    def propose_change(self, changes: Any) -> int:
        self._require_leadership()
        if self.configuration_index > self.commit:
            raise RaftError("in progress")
        joint = confchange.enter_joint(self.configuration, changes, auto_leave=True)
        return self._append_configuration(confchange.leave_joint(joint))


class ChangesMembersTwiceAtOnce(Raft):
    """A change may begin before the one before it is committed."""

    def propose_change(self, changes: Any) -> int:
        self._require_leadership()
        return self._append_configuration(confchange.simple(self.configuration, changes))


MUTANTS: Sequence[tuple[type[Raft] | type[Server] | type[WriteAheadLog], str, int]] = (
    (CountsOneVote, "mixed", 0),
    (CountsLearners, "members", 720),
    (VotesForOldLogs, "mixed", 0),
    (SkipsTheConsistencyCheck, "mixed", 0),
    (TruncatesOnOldMessages, "mixed", 0),
    (AnswersReadsWithoutAsking, "patient", 0),
    (AcknowledgesBeforeTheDisk, "slow-disks", 0),
    (TakesOldSnapshots, "mixed", 700),
    (OneStepMembership, "isolate-members", 0),
    (ChangesMembersTwiceAtOnce, "isolate-members", 0),
    (ForgetsTheVote, "bounce", 1200),
    (ForgetsTheTerm, "bounce", 0),
    (SkipsTheFlush, "mixed", 0),
    (ServesWhatIsNotCommitted, "mixed", 0),
    (DeletesTooMuchLog, "mixed", 0),
    (NumbersSegmentsByFrames, "mixed", 0),
)
"""Each with the profile of `test_simulation` under which its rule matters most, and a seed a little before one that
shows it (some take thousands; when the simulation changes, the search just goes on from there)."""


def broken(mutant: type[Raft] | type[Server] | type[WriteAheadLog]) -> type[Server]:
    """A server that has the mutant inside."""
    if issubclass(mutant, Server):
        return mutant
    part = "core_class" if issubclass(mutant, Raft) else "log_class"
    return type(mutant.__name__, (Server,), {part: mutant})


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("mutant", "profile", "first"), MUTANTS, ids=[mutant.__name__ for mutant, *_ in MUTANTS])
def test_a_broken_rule_is_noticed(
    mutant: type[Raft] | type[Server] | type[WriteAheadLog], profile: str, first: int
) -> None:
    server = broken(mutant)
    for seed in range(first, first + SEEDS):
        try:
            build(seed, profile, server_class=server).run(STEPS)
        except (AssertionError, IndexError, CorruptLog):
            return
    pytest.fail(f"{mutant.__name__} went unnoticed in {SEEDS} schedules")


def commits_an_old_term_by_counting(core: type[Raft]) -> bool:
    """Figure 8 of the Raft paper, which schedules hit once in thousands: a new leader learns that a majority has an
    entry of an earlier term, but not its own; a server with a later term's entry could still win and replace it."""
    configuration = Configuration(voters=frozenset("abcde"), addresses=dict.fromkeys("abcde", "x"))
    log = EntryLog(0, 0, [Entry(1, 1, m.COMMAND, b"one"), Entry(2, 2, m.COMMAND, b"two")])
    node = core("a", log, HardState(3, "", 1), configuration, 0, 1, lambda n: 0)
    node.campaign()
    for pre in (True, False):
        node.persisted(node.ready())
        for voter in "bc":
            node.step(m.VoteReply("a", voter, 4, granted=True, pre=pre))
    assert node.is_leader and log.last_index == 3
    node.persisted(node.ready())
    for follower in "bc":
        node.step(m.AppendReply("a", follower, 4, 2))
    early = node.commit == 2
    for follower in "bc":
        node.step(m.AppendReply("a", follower, 4, 3))
    assert node.commit == 3
    return early


def test_an_old_term_committed_by_counting_is_noticed() -> None:
    assert not commits_an_old_term_by_counting(Raft)
    assert commits_an_old_term_by_counting(CommitsOldTermsByCounting)
