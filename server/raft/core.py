"""The Raft protocol as one type: messages and ticks in, `Ready` out. No socket, disk, clock or randomness of its own.

The caller feeds `step(message)`, `tick()`, `propose(...)` and `read_index(...)`, then takes `ready()` and does what it
says, in this order:

1. if `hard_state` or `entries` is there, send nothing of `messages_after` until both are on disk;
2. send `messages` at once (the leader replicates while its own disk is still writing);
3. when the disk is done: call `persisted(ready)`, then send `messages_after`;
4. apply `committed` in order (and say so in `applied`); answer `reads` once that index is applied.

A `snapshot` comes before all of this: it replaces the state machine's state, and the log on disk begins anew after it.

Roles, and what moves between them:

    follower --silence--> pre-candidate --majority would vote--> candidate --majority voted--> leader
    any --higher term--> follower;  leader --no quorum heard for an election time-out--> follower

With `Settings.lease` above 0 a leader answers linearizable reads without asking when a majority echoed a heartbeat that
it sent less than so many seconds ago. That is safe as long as a server that echoed votes for nobody for one election
time-out (counted in ticks, which are never shorter than the driver says): see `_promise`, which outlives changes
of term and begins anew with a restart. A leader that has ordered somebody to take over uses no lease any more, because
that election waits for no time-out.

Source: Ongaro, "Consensus: Bridging Theory and Practice" (2014): elections (3), membership (4), read index and leases
(6.4), pre-vote and check-quorum (9.6), leadership transfer (3.10).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from server.raft import messages as m
from server.raft.confchange import Change, follow, leave_joint, plan
from server.raft.entries import EntryLog, entry_size
from server.raft.errors import (
    ChangeUnderWay,
    ConfigurationError,
    InvariantBroken,
    LeadershipTransferInProgress,
    NotLeader,
    ProposalRejected,
)
from server.raft.messages import Configuration, CoreMessage, Entry, HardState, SnapshotMeta
from server.raft.progress import Progress, ProgressState
from server.raft.quorum import EVERYTHING, Outcome, joint_value, joint_vote
from server.raft.reads import PendingReads
from server.raft.ready import Ready, Role, Settings


class Raft:
    """One server's part of the protocol.

    Args:
        node_id: this server's ID.
        log: what the disk has, durable.
        hard_state: what the disk has.
        configuration: the members according to snapshot and log.
        applied: the index up to which the state machine has applied (a snapshot's index at start).
        random: `random(n)` gives an integer in 0..n-1; spreads the elections.
        base: the members according to the snapshot alone, and that configuration's index.
    """

    def __init__(
        self,
        node_id: str,
        log: EntryLog,
        hard_state: HardState,
        configuration: Configuration,
        configuration_index: int,
        applied: int,
        random: Callable[[int], int],
        settings: Settings | None = None,
        base: tuple[Configuration, int] = (Configuration(), 0),
    ) -> None:
        self.id = node_id
        self.log = log
        self.term = hard_state.term
        self.vote = hard_state.vote
        self.commit = max(min(hard_state.commit, log.last_index), log.base_index)
        self.applied = applied
        self.role = Role.FOLLOWER
        self.leader_id = ""
        self.configuration = configuration
        self.configuration_index = configuration_index
        self.progress: dict[str, Progress] = {}
        self.transferee = ""
        self.settings = settings or Settings()
        self._random = random
        self._persisted_state = HardState(self.term, self.vote, self.commit)
        self._votes: dict[str, bool] = {}
        self._elapsed = 0
        self._heartbeat_elapsed = 0
        self._timeout = 0
        self.now = 0.0
        """Seconds on a clock that never goes back nor stands still; the caller sets it before each call."""
        self._handed_over = False
        # A server that has just started may have echoed a heartbeat before it stopped.
        self._promise = self.settings.election_ticks if hard_state.term else 0
        self._reads = PendingReads()
        self._read_states: list[tuple[object, int]] = []
        self._now: list[CoreMessage] = []
        self._after: list[CoreMessage] = []
        self._snapshot: SnapshotMeta | None = None
        self._uncommitted = 0
        self._next_committed = max(applied, log.base_index) + 1
        self._campaign_by_transfer = False
        self._unsent = False
        self._previous_configuration = self._configuration_before(configuration_index, base)
        self._restart_election_timer()

    def _configuration_before(self, index: int, base: tuple[Configuration, int]) -> tuple[Configuration, int]:
        for entry in reversed(self.log.slice(self.log.first_index, min(index - 1, self.log.last_index))):
            if entry.kind == m.CONFIGURATION:
                return m.decode_configuration(entry.data), entry.index
        return base

    # What the caller asks

    @property
    def is_leader(self) -> bool:
        """Whether this server leads."""
        return self.role is Role.LEADER

    def tick(self) -> None:
        """One unit of time has gone by."""
        if self.role is Role.LEADER:
            self._tick_leader()
            return
        self._elapsed += 1
        self._promise -= self._promise > 0
        if self._elapsed >= self._timeout and self._may_campaign():
            self._campaign(pre=True)

    def campaign(self) -> None:
        """Start an election now (used at bootstrap of a single server and by tests)."""
        if self.role is not Role.LEADER and self._may_campaign():
            self._campaign(pre=True)

    def bootstrap(self, configuration: Configuration) -> None:
        """Begin an empty log with the first configuration, as entry 1 of term 1, the same on every first server."""
        if self.log.last_index or self.term:
            raise InvariantBroken("bootstrap of a log that is not empty")
        self.term = 1
        self.log.append(Entry(1, 1, m.CONFIGURATION, m.encode_configuration(configuration)))
        self._use_configuration(configuration, 1)

    def propose(self, data: bytes, kind: int = m.COMMAND) -> int:
        """Put an entry at the end of the log and return its index.

        Raises:
            NotLeader, LeadershipTransferInProgress, ProposalRejected: nothing was done.
        """
        self._require_leadership()
        if self._uncommitted and self._uncommitted + len(data) > self.settings.max_uncommitted_bytes:
            raise ProposalRejected("too much is proposed and not yet committed")
        index = self._append(kind, data)
        self._unsent = True
        return index

    def propose_change(self, changes: Iterable[Change]) -> int:
        """Change the membership; returns the index of the entry.

        Raises:
            NotLeader, ConfigurationError: another change is not committed yet, or the change is not allowed.
        """
        self._require_leadership()
        if self.configuration_index > self.commit or self.configuration.joint:
            raise ChangeUnderWay("a membership change is already in progress")
        if self.log.term(self.commit) != self.term:
            raise ChangeUnderWay("the leader has not committed an entry of its term yet")
        return self._append_configuration(plan(self.configuration, changes))

    def read_index(self, context: object) -> None:
        """Ask for a linearizable read: `Ready.reads` will name the index that must be applied first.

        Raises NotLeader. A read that is under way when leadership ends never comes back.
        """
        if self.role is not Role.LEADER:
            raise NotLeader(self.leader_id, self.configuration.addresses.get(self.leader_id, ""))
        if self.log.term(self.commit) != self.term:
            self._reads.put_early(context)
            return
        if self._reads.lease_holds(self.now, self.settings.lease) and not self._handed_over:
            self._read_states.append((context, self.commit))
            return
        self._begin_reads([context])

    def transfer(self, target: str) -> None:
        """Hand leadership to a voter. Raises NotLeader, ConfigurationError."""
        self._require_leadership()
        peer = self.progress.get(target)
        if peer is None or not self.configuration.is_voter(target) or target == self.id:
            raise ConfigurationError(f"{target} is not another voter of this cluster")
        self.transferee = target
        self._elapsed = 0
        if peer.match == self.log.last_index:
            self._hand_over()
        else:
            self._replicate(target)

    def _hand_over(self) -> None:
        self._handed_over = True
        self._send_now(m.TimeoutNow(self.transferee, self.id, self.term))

    def step(self, message: CoreMessage) -> None:
        """Take in a message of another server."""
        if message.to != self.id or message.sender == self.id:
            return
        if message.term > self.term and not self._meet_higher_term(message):
            return
        if message.term < self.term:
            self._answer_stale(message)
            return
        match message:
            case m.RequestVote():
                self._on_request_vote(message)
            case m.VoteReply():
                self._on_vote_reply(message)
            case m.AppendEntries():
                self._hear_leader(message.sender)
                self._on_append(message)
            case m.Heartbeat():
                self._hear_leader(message.sender)
                self._commit_to(min(message.commit, self.log.last_index))
                self._send_after(m.HeartbeatReply(message.sender, self.id, self.term, message.round))
            case m.InstallSnapshot():
                self._hear_leader(message.sender)
                self._on_snapshot(message)
            case m.AppendReply():
                self._on_append_reply(message)
            case m.HeartbeatReply():
                self._on_heartbeat_reply(message)
            case m.TimeoutNow():
                if self._may_campaign():
                    self._campaign_by_transfer = True
                    self._campaign(pre=False)

    def ready(self) -> Ready:
        """Everything that is to be done now; empty (falsy) when there is nothing."""
        if self._unsent:
            self._unsent = False
            if self.role is Role.LEADER:
                self._replicate_all()
        ready = Ready()
        state = HardState(self.term, self.vote, self.commit)
        entries = self.log.slice(self.log.handed + 1, self.log.last_index)
        # The commit index alone is not worth a disk flush: it travels along with the next write.
        old = self._persisted_state
        if (state.term, state.vote) != (old.term, old.vote) or (entries and state != old):
            ready.hard_state = state
            self._persisted_state = state
        if entries:
            ready.entries = entries
            self.log.handed = self.log.last_index
        ready.snapshot, self._snapshot = self._snapshot, None
        if (state.term, state.vote) != (old.term, old.vote):
            ready.messages_after = self._now + self._after  # Nobody may hear of a term that this disk could forget.
        else:
            ready.messages = self._now
            ready.messages_after = self._after
        self._now, self._after = [], []
        if self._next_committed <= self.commit:
            ready.committed = self.log.slice(self._next_committed, self.commit)
            self._next_committed = self.commit + 1
        ready.reads, self._read_states = self._read_states, []
        return ready

    def persisted(self, ready: Ready) -> None:
        """The disk has what `ready` asked it to write."""
        if not ready.entries:
            return
        last = ready.entries[-1]
        # A newer leader may have replaced the end of the log while the disk was busy.
        for entry in reversed(ready.entries):
            if self.log.matches(entry.index, entry.term):
                last = entry
                break
        else:
            return
        if last.index > self.log.durable:
            self.log.durable = last.index
        if self.role is Role.LEADER:
            self._advance_commit()

    @property
    def awaits_installation(self) -> bool:
        """Whether a snapshot was accepted that `ready` has not handed out yet."""
        return self._snapshot is not None

    def snapshot_sent(self, peer_id: str, arrived: bool) -> None:
        """The transport finished sending a snapshot to a peer, or gave up."""
        peer = self.progress.get(peer_id)
        if self.role is not Role.LEADER or peer is None or peer.state is not ProgressState.SNAPSHOT:
            return
        if arrived:
            peer.become_probe()
        else:
            peer.snapshot_failed()
        peer.waiting = not arrived

    def unreachable(self, peer_id: str) -> None:
        """Messages to a peer were lost: stop streaming to it until it answers."""
        peer = self.progress.get(peer_id)
        if self.role is Role.LEADER and peer is not None and peer.state is ProgressState.REPLICATE:
            peer.become_probe()

    # Terms and roles

    def _require_leadership(self) -> None:
        if self.role is not Role.LEADER:
            raise NotLeader(self.leader_id, self.configuration.addresses.get(self.leader_id, ""))
        if self.transferee:
            raise LeadershipTransferInProgress

    def _may_campaign(self) -> bool:
        """A voter of either half; and one that a change takes the vote from which may not be committed yet.

        Without them nobody might be able to win who has all that is needed to end the change (dissertation 4.2.2).
        """
        if self.configuration.is_voter(self.id):
            return True
        return self.configuration_index > self.commit and self._previous_configuration[0].is_voter(self.id)

    def _restart_election_timer(self) -> None:
        self._elapsed = 0
        self._timeout = self.settings.election_ticks + self._random(self.settings.election_ticks)

    def _become_follower(self, term: int, leader_id: str) -> None:
        if term > self.term:
            self.term = term
            self.vote = ""
        self.role = Role.FOLLOWER
        self.leader_id = leader_id
        self.progress = {}
        self._votes = {}
        self._reads.begin_term()
        self.transferee = ""
        self._restart_election_timer()

    def _meet_higher_term(self, message: CoreMessage) -> bool:
        """A message of a later term; returns whether it is to be handled."""
        if isinstance(message, m.RequestVote):
            leader_is_fresh = bool(self.leader_id) and self._elapsed < self.settings.election_ticks
            leader_is_fresh = leader_is_fresh or (self.settings.lease > 0 and self._promise > 0)
            if leader_is_fresh and not message.transfer:
                return False  # The leader is alive: whoever asks is cut off or slow (check-quorum's other half).
            if message.pre:
                return True  # A pre-vote changes nobody's term.
        if isinstance(message, m.VoteReply) and message.pre and message.granted:
            return True
        from_leader = isinstance(message, m.AppendEntries | m.Heartbeat | m.InstallSnapshot)
        self._become_follower(message.term, message.sender if from_leader else "")
        return True

    def _answer_stale(self, message: CoreMessage) -> None:
        """A message of an earlier term: tell its sender, so that an old leader steps down."""
        if isinstance(message, m.AppendEntries | m.Heartbeat | m.InstallSnapshot):
            self._send_after(m.AppendReply(message.sender, self.id, self.term, 0, rejected=True))
        elif isinstance(message, m.RequestVote):
            self._send_after(m.VoteReply(message.sender, self.id, self.term, granted=False, pre=message.pre))

    def _hear_leader(self, leader_id: str) -> None:
        if self.role is Role.LEADER:
            raise InvariantBroken(f"two leaders in term {self.term}: {self.id} and {leader_id}")
        if self.role is not Role.FOLLOWER:
            self._become_follower(self.term, leader_id)
        self.leader_id = leader_id
        self._elapsed = 0
        self._promise = self.settings.election_ticks

    def _campaign(self, pre: bool) -> None:
        self._restart_election_timer()
        self.leader_id = ""
        self._votes = {self.id: True}
        term = self.term + 1
        if pre:
            self.role = Role.PRE_CANDIDATE
        else:
            self.role = Role.CANDIDATE
            self.term = term
            self.vote = self.id
        transfer, self._campaign_by_transfer = self._campaign_by_transfer, False
        for peer in sorted((self.configuration.voters | self.configuration.outgoing) - {self.id}):
            self._send_after(
                m.RequestVote(peer, self.id, term, self.log.last_index, self.log.last_term, pre=pre, transfer=transfer)
            )
        self._count_votes()

    def _count_votes(self) -> None:
        outcome = joint_vote(self.configuration.voters, self.configuration.outgoing, self._votes)
        if outcome is Outcome.LOST:
            self._become_follower(self.term, "")
        elif outcome is Outcome.WON:
            if self.role is Role.PRE_CANDIDATE:
                self._campaign(pre=False)
            else:
                self._become_leader()

    def _become_leader(self) -> None:
        self.role = Role.LEADER
        self.leader_id = self.id
        self.transferee = ""
        self._elapsed = 0
        self._heartbeat_elapsed = 0
        self._reads.begin_term()
        self._handed_over = False
        self._uncommitted = sum(map(entry_size, self.log.slice(self.commit + 1, self.log.last_index)))
        self.progress = follow({}, self.configuration, self.log.last_index + 1)
        self._append(m.NOOP, b"")
        self._replicate_all()

    def _tick_leader(self) -> None:
        self._elapsed += 1
        self._heartbeat_elapsed += 1
        if self._elapsed >= self.settings.election_ticks:
            self._elapsed = 0
            self.transferee = ""  # It did not take over in time; go on leading.
            heard = {name: name == self.id or peer.active for name, peer in self.progress.items()}
            if joint_vote(self.configuration.voters, self.configuration.outgoing, heard) is not Outcome.WON:
                self._become_follower(self.term, "")
                return
            for peer in self.progress.values():
                peer.active = False
        if self._heartbeat_elapsed >= self.settings.heartbeat_ticks:
            self._heartbeat_elapsed = 0
            self._broadcast_heartbeat()

    # Voting

    def _on_request_vote(self, message: m.RequestVote) -> None:
        up_to_date = (message.last_term, message.last_index) >= (self.log.last_term, self.log.last_index)
        if message.pre:
            granted = up_to_date and message.term > self.term
            term = message.term if granted else self.term
            self._send_after(m.VoteReply(message.sender, self.id, term, granted, pre=True))
            return
        free = self.vote in ("", message.sender) and not (self.leader_id and self.leader_id != message.sender)
        granted = free and up_to_date and self.role in (Role.FOLLOWER, Role.PRE_CANDIDATE)
        if granted:
            self.vote = message.sender
            self._elapsed = 0
        self._send_after(m.VoteReply(message.sender, self.id, self.term, granted))

    def _on_vote_reply(self, message: m.VoteReply) -> None:
        expected = Role.PRE_CANDIDATE if message.pre else Role.CANDIDATE
        if self.role is not expected:
            return
        if message.pre and message.granted and message.term != self.term + 1:
            return  # Granted for an election of long ago.
        self._votes.setdefault(message.sender, message.granted)
        self._count_votes()

    # Following

    def _on_append(self, message: m.AppendEntries) -> None:
        reply_to = message.sender
        if message.previous_index < self.commit:
            # Committed entries are the same everywhere; say where this log stands.
            last = message.previous_index + len(message.entries)
            if last <= self.commit:
                self._send_after(m.AppendReply(reply_to, self.id, self.term, self.commit))
                return
            keep = [entry for entry in message.entries if entry.index > self.commit]
            previous_index, previous_term = self.commit, self.log.term(self.commit) or 0
        else:
            keep = message.entries
            previous_index, previous_term = message.previous_index, message.previous_term
        if not self.log.matches(previous_index, previous_term):
            hint, hint_term = self.log.last_not_above(min(previous_index, self.log.last_index), previous_term)
            self._send_after(
                m.AppendReply(reply_to, self.id, self.term, previous_index, True, hint, hint_term)
            )
            return
        last = previous_index + len(keep)
        for offset, entry in enumerate(keep):
            if entry.index != previous_index + 1 + offset:
                raise InvariantBroken(f"entry {entry.index} where {previous_index + 1 + offset} belongs")
            if not self.log.matches(entry.index, entry.term):
                self._replace_from(keep[offset:])
                break
        self._commit_to(min(message.commit, last))
        self._send_after(m.AppendReply(reply_to, self.id, self.term, last))

    def _replace_from(self, entries: list[Entry]) -> None:
        first = entries[0].index
        if first <= self.commit:
            raise InvariantBroken(f"a leader contradicts committed entry {first}")
        if first <= self.log.last_index:
            self.log.truncate_from(first)
            if self.configuration_index >= first:
                self._recall_configuration()
        self.log.extend(entries)
        for entry in entries:
            if entry.kind == m.CONFIGURATION:
                self._previous_configuration = (self.configuration, self.configuration_index)
                self._use_configuration(m.decode_configuration(entry.data), entry.index)

    def _recall_configuration(self) -> None:
        """The configuration entry was cut off; only one can be uncommitted, so the one before it is in force."""
        configuration, index = self._previous_configuration
        for entry in reversed(self.log.slice(self.log.first_index, self.log.last_index)):
            if entry.kind == m.CONFIGURATION:
                configuration, index = m.decode_configuration(entry.data), entry.index
                break
        self._use_configuration(configuration, index)

    def _on_snapshot(self, message: m.InstallSnapshot) -> None:
        snapshot = message.snapshot
        if snapshot.index <= self.commit:
            self._send_after(m.AppendReply(message.sender, self.id, self.term, self.commit))
            return
        self.log.reset(snapshot.index, snapshot.term)
        self.commit = snapshot.index
        self._next_committed = snapshot.index + 1
        self._previous_configuration = (snapshot.configuration, snapshot.configuration_index)
        self._use_configuration(snapshot.configuration, snapshot.configuration_index)
        self._snapshot = snapshot
        self._send_after(m.AppendReply(message.sender, self.id, self.term, snapshot.index))

    def _commit_to(self, index: int) -> None:
        if index > self.commit:
            if index > self.log.last_index:
                raise InvariantBroken(f"commit {index} lies beyond the log's end {self.log.last_index}")
            self.commit = index

    # Leading

    def _append(self, kind: int, data: bytes) -> int:
        entry = Entry(self.log.last_index + 1, self.term, kind, data)
        self.log.append(entry)
        self._uncommitted += entry_size(entry)
        return entry.index

    def _append_configuration(self, configuration: Configuration) -> int:
        index = self._append(m.CONFIGURATION, m.encode_configuration(configuration))
        self._previous_configuration = (self.configuration, self.configuration_index)
        self._use_configuration(configuration, index)
        self._replicate_all()
        return index

    def _use_configuration(self, configuration: Configuration, index: int) -> None:
        self.configuration = configuration
        self.configuration_index = index
        if self.role is Role.LEADER:
            self.progress = follow(self.progress, configuration, self.log.last_index)

    def _replicate_all(self) -> None:
        for peer in self.progress:
            if peer != self.id:
                self._replicate(peer)

    def _replicate(self, peer_id: str) -> None:
        """Send a peer what it lacks, as far as its window allows."""
        peer = self.progress[peer_id]
        while True:
            if peer.state is ProgressState.SNAPSHOT or (peer.state is ProgressState.PROBE and peer.waiting):
                return
            if peer.window_full(self.settings.max_inflight, self.settings.max_inflight_bytes):
                return
            previous = peer.next - 1
            previous_term = self.log.term(previous)
            if previous_term is None:
                self._offer_snapshot(peer_id, peer)
                return
            entries, size = self.log.batch(peer.next, self.settings.max_append_bytes, self.settings.max_append_entries)
            if not entries and peer.sent_commit >= self.commit and peer.state is ProgressState.REPLICATE:
                return
            self._send_now(
                m.AppendEntries(peer_id, self.id, self.term, previous, previous_term, entries, self.commit)
            )
            peer.sent_commit = self.commit
            if peer.state is ProgressState.PROBE:
                peer.waiting = True
                return
            if not entries:
                return
            peer.sent_entries(entries[-1].index, size)

    def _offer_snapshot(self, peer_id: str, peer: Progress) -> None:
        if not peer.active:
            return
        peer.become_snapshot(self.log.base_index)
        meta = SnapshotMeta(self.log.base_index, self.log.base_term)
        self._send_now(m.InstallSnapshot(peer_id, self.id, self.term, meta))

    def _broadcast_heartbeat(self) -> None:
        number = self._reads.heartbeat(self.now)
        for peer_id, peer in self.progress.items():
            if peer_id != self.id:
                # A follower must not learn of a commit beyond what it is known to have.
                commit = min(peer.match, self.commit)
                self._send_now(m.Heartbeat(peer_id, self.id, self.term, commit, number))

    def _on_append_reply(self, message: m.AppendReply) -> None:
        peer = self.progress.get(message.sender)
        if self.role is not Role.LEADER or peer is None:
            return
        peer.active = True
        if message.rejected:
            index, term = message.hint_index, message.hint_term
            retry, _ = self.log.last_not_above(index, term) if term else (index, 0)
            if peer.reject(message.index, retry):
                self._replicate(message.sender)
            return
        if message.index > self.log.last_index:
            raise InvariantBroken(f"{message.sender} acknowledges entry {message.index}, which was never sent")
        news = peer.acknowledge(message.index)
        if peer.state is ProgressState.PROBE:
            peer.become_replicate()
        elif peer.state is ProgressState.SNAPSHOT and peer.match >= peer.pending_snapshot:
            peer.become_probe()
            peer.become_replicate()
        if news:
            self._advance_commit()
            if message.sender not in self.progress:
                return  # What was committed took the sender out, or ended this server's leadership.
        self._replicate(message.sender)
        if self.transferee == message.sender and peer.match == self.log.last_index:
            self._hand_over()

    def _on_heartbeat_reply(self, message: m.HeartbeatReply) -> None:
        peer = self.progress.get(message.sender)
        if self.role is not Role.LEADER or peer is None:
            return
        peer.active = True
        peer.acked_round = max(peer.acked_round, message.round)
        behind = peer.match < self.log.last_index
        peer.echoed(behind)
        if behind:
            self._replicate(message.sender)
        self._settle_reads()

    def _match_of(self, server_id: str) -> int:
        if server_id == self.id:
            return self.log.durable
        peer = self.progress.get(server_id)
        return peer.match if peer else 0

    def _advance_commit(self) -> None:
        index = joint_value(self.configuration.voters, self.configuration.outgoing, self._match_of, EVERYTHING)
        # Only entries of the present term are committed by counting; earlier ones come with them (dissertation 3.6.2).
        if index <= self.commit or index == EVERYTHING or self.log.term(index) != self.term:
            return
        for entry in self.log.slice(self.commit + 1, index):
            self._uncommitted -= entry_size(entry)
        self.commit = index
        if early := self._reads.take_early():
            self._begin_reads(early)
        if self.configuration_index <= self.commit:
            if self.configuration.joint and self.configuration.auto_leave:
                self._append_configuration(leave_joint(self.configuration))
            elif self.id not in self.configuration.voters and not self.configuration.joint:
                self._replicate_all()
                self._become_follower(self.term, "")  # Removed: the change is committed, the others elect a new leader.
                return
        self._replicate_all()

    # Linearizable reads

    def _begin_reads(self, contexts: list[object]) -> None:
        self._broadcast_heartbeat()
        for context in contexts:
            self._reads.wait(context, self.commit)
        self._settle_reads()

    def _acked_round(self, server_id: str) -> int:
        if server_id == self.id:
            return self._reads.round
        peer = self.progress.get(server_id)
        return peer.acked_round if peer else 0

    def _settle_reads(self) -> None:
        if self._reads.idle:
            return
        configuration = self.configuration
        echoed = joint_value(configuration.voters, configuration.outgoing, self._acked_round, EVERYTHING)
        self._read_states.extend(self._reads.echoed(echoed))

    # Sending

    def _send_now(self, message: CoreMessage) -> None:
        self._now.append(message)

    def _send_after(self, message: CoreMessage) -> None:
        self._after.append(message)
