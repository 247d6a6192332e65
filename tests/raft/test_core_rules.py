"""Rules of the protocol that random schedules seldom put to the test, one scene each."""

from server.raft import messages as m
from server.raft.confchange import Change
from server.raft.core import Raft
from server.raft.entries import EntryLog
from server.raft.messages import Configuration, CoreMessage, Entry, HardState
from server.raft.ready import Settings

VOTERS = Configuration(voters=frozenset("abc"), addresses=dict.fromkeys("abc", "x"))
LEASE = Settings(election_ticks=10, heartbeat_ticks=2, lease=5.0)


def core(name: str, settings: Settings = LEASE, term: int = 0, entries: int = 0) -> Raft:
    log = EntryLog(0, 0, [Entry(index, term, m.COMMAND, b"") for index in range(1, entries + 1)])
    return Raft(name, log, HardState(term, "", 0), VOTERS, 0, 0, lambda n: 0, settings)


def work(node: Raft) -> list[CoreMessage]:
    """Do what `ready` says, with a disk that takes no time; returns the messages."""
    sent: list[CoreMessage] = []
    while ready := node.ready():
        node.persisted(ready)
        sent += ready.messages + ready.messages_after
        node.reads_done = [*getattr(node, "reads_done", []), *ready.reads]  # type: ignore[attr-defined]
        for entry in ready.committed:
            node.applied = entry.index
    return sent


def settle(nodes: dict[str, Raft], messages: list[CoreMessage], lost: str = "") -> None:
    """Deliver messages until there are none; those of or to a server in `lost` are not."""
    queue = list(messages)
    while queue:
        message = queue.pop(0)
        if message.to in nodes and message.to not in lost and message.sender not in lost:
            nodes[message.to].step(message)
            queue += work(nodes[message.to])


def elected(settings: Settings = LEASE) -> dict[str, Raft]:
    """Three servers that are led by `a`."""
    nodes = {name: core(name, settings) for name in "abc"}
    nodes["a"].campaign()
    settle(nodes, work(nodes["a"]))
    assert nodes["a"].is_leader
    return nodes


def heartbeat(nodes: dict[str, Raft], now: float, lost: str = "") -> None:
    """A round of heartbeats of `a` at a time."""
    nodes["a"].now = now
    for _ in range(2):
        nodes["a"].tick()
    settle(nodes, work(nodes["a"]), lost)


def asks(node: Raft) -> bool:
    """Whether a read needs a heartbeat."""
    node.read_index("read")
    return any(isinstance(message, m.Heartbeat) for message in work(node))


def test_a_read_under_the_lease_needs_no_heartbeat_and_one_after_it_does() -> None:
    nodes = elected()
    assert asks(nodes["a"])
    heartbeat(nodes, 100.0)
    nodes["a"].now = 104.9
    assert not asks(nodes["a"])
    nodes["a"].now = 105.0
    assert asks(nodes["a"])


def test_a_heartbeat_that_no_majority_echoes_gives_no_lease() -> None:
    nodes = elected()
    heartbeat(nodes, 100.0, lost="bc")
    assert asks(nodes["a"])


def test_without_the_setting_there_is_no_lease() -> None:
    nodes = elected(Settings(election_ticks=10, heartbeat_ticks=2))
    heartbeat(nodes, 100.0)
    assert asks(nodes["a"])


def test_a_leader_that_ordered_a_take_over_has_no_lease_any_more() -> None:
    nodes = elected()
    heartbeat(nodes, 100.0)
    nodes["a"].transfer("b")
    settle(nodes, work(nodes["a"]), lost="b")
    assert asks(nodes["a"])
    heartbeat(nodes, 101.0)
    for _ in range(10):
        heartbeat(nodes, 102.0)
    assert nodes["a"].is_leader and not nodes["a"].transferee
    assert asks(nodes["a"]), "the order may still be on its way"


def request(node: Raft, term: int, transfer: bool = False) -> m.RequestVote:
    return m.RequestVote(node.id, "c", term, 99, 99, pre=False, transfer=transfer)


def granted(node: Raft, message: m.RequestVote) -> bool:
    node.step(message)
    return any(isinstance(answer, m.VoteReply) and answer.granted for answer in work(node))


def test_an_echo_binds_for_an_election_time_out_whatever_is_heard_meanwhile() -> None:
    nodes = elected()
    heartbeat(nodes, 100.0)
    follower = nodes["b"]
    follower.step(m.VoteReply("b", "c", follower.term + 1, granted=False, pre=True))
    assert follower.leader_id == ""
    for _ in range(9):
        follower.tick()
    assert not granted(follower, request(follower, follower.term + 1))
    follower.tick()
    assert granted(follower, request(follower, follower.term + 1))


def test_an_echo_binds_over_a_restart() -> None:
    follower = core("b", term=4, entries=3)
    assert not granted(follower, request(follower, 5))
    for _ in range(9):
        follower.tick()
    assert not granted(follower, request(follower, 5))
    assert granted(follower, request(follower, 5, transfer=True)), "a take-over that was ordered need not wait"
    free = core("b", Settings(election_ticks=10, heartbeat_ticks=2), term=4, entries=3)
    assert granted(free, request(free, 5)), "without leases nobody waits"


def test_a_membership_change_that_is_cut_off_is_not_in_force() -> None:
    nodes = elected()
    leader = nodes["a"]
    leader.propose_change([Change("remove", "b"), Change("remove", "c")])
    work(leader)
    assert leader.configuration.joint and leader.configuration.voters == frozenset("a")
    last = leader.log.last_index
    leader.step(m.AppendEntries("a", "c", 9, last - 1, leader.log.term(last - 1) or 0, [Entry(last, 9, 1, b"")], 0))
    assert leader.configuration == VOTERS


def test_a_follower_whose_own_echo_removes_it_does_not_stop_the_leader() -> None:
    nodes = elected()
    leader = nodes["a"]
    leader.propose_change([Change("remove", "b"), Change("remove", "c")])
    settle(nodes, work(leader), lost="c")
    assert leader.is_leader and set(leader.progress) == {"a"}


def test_what_is_proposed_in_one_turn_leaves_as_one_message() -> None:
    nodes = elected()
    for number in range(50):
        nodes["a"].propose(b"%d" % number)
    sent = [message for message in work(nodes["a"]) if isinstance(message, m.AppendEntries) and message.entries]
    assert sorted((message.to, len(message.entries)) for message in sent) == [("b", 50), ("c", 50)]
