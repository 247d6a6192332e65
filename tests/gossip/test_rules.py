"""What a member believes of others and of itself, case by case as recorded from real members.

Where lictor says more than they do (see `ours` below), that is on purpose and has its own tests in `test_return.py`.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from gossip import wire
from gossip.broadcasts import Broadcasts, transmit_limit
from gossip.core import LAN, LOCAL, WAN, Core, EventKind, MemberEvent, Status, Timing
from gossip.interface import Notice
from gossip.members import Alive, Node, State, Suspicion, suspicion
from gossip.pool import SerfMember
from gossip.versions import Spoken, problem_among
from gossip.wire import GossipError
from tests.gossip.network import Network
from tests.gossip.vectors import vectors

NAME = "node-x"
KINDS = {wire.ALIVE: "alive", wire.SUSPECT: "suspect", wire.DEAD: "dead"}
EVENTS = {EventKind.JOIN: "join", EventKind.LEAVE: "leave", EventKind.FAILED: "leave", EventKind.UPDATE: "update"}
STATES = {State.ALIVE: "alive", State.SUSPECT: "suspect", State.DEAD: "dead", State.LEFT: "left"}


def claim(incarnation: int, **changes: Any) -> Alive:
    """That the member in question is there."""
    base = Alive(NAME, bytes((10, 0, 0, 9)), 8301, b"\xff\x81\xa1a\xa11", wire.VERSIONS, incarnation)
    return dataclasses.replace(base, **changes)


def told(core: Core) -> list[tuple[str, int]]:
    """The claims that wait to be told: kind and incarnation."""
    found = []
    for message in core.pool.claims.take(65536, 0, 10):
        fields = wire.unpack(message[1:])
        found.append((KINDS[message[0]], fields["Incarnation"]))
    return found


def happened(core: Core) -> list[str]:
    """Events since the last look."""
    outputs, core.outbox = core.outbox, []
    return [EVENTS[one.kind] for one in outputs if isinstance(one, MemberEvent)]


def fresh() -> Core:
    """A member that knows four others, so that suspicions want two confirmations."""
    core = Network().member("me")
    core.pool.timing = core.timing = LAN
    for number in range(1, 5):
        core.table.alive(claim(1, name=f"other{number}", address=bytes((10, 0, 1, number))))
    return core


def accuse(core: Core, kind: str, name: str, incarnation: int) -> None:
    """A message of a recorded kind about a member."""
    body = {"Node": name, "Incarnation": incarnation}
    if kind in ("suspect", "suspect_from_first", "suspect_from_new"):
        core.table.suspect({**body, "From": "second" if kind.endswith("new") else "first"})
    elif kind in ("dead", "left"):
        core.table.dead({**body, "From": name if kind == "left" else "other1"})
    else:
        state = {"pp_alive": 0, "pp_suspect": 1, "pp_dead": 2, "pp_left": 3}[kind]
        me = core.pool.me
        one = claim(incarnation) if name == NAME else dataclasses.replace(me, incarnation=incarnation)
        entry = {
            "Name": one.name,
            "Addr": one.address,
            "Port": one.port,
            "Meta": one.meta,
            "Vsn": one.versions,
            "Incarnation": incarnation,
            "State": state,
        }
        core.merge([entry], b"", False, core.pool.now)


def bring_to(core: Core, state: str, incarnation: int | None) -> None:
    """Let the member in question be in a state."""
    if incarnation is None:
        return
    core.table.alive(claim(incarnation))
    if state != "alive":
        accuse(core, {"suspect": "suspect_from_first"}.get(state, state), NAME, incarnation)
    assert STATES[core.pool.nodes[NAME].state] == state


def test_every_recorded_claim_about_another_member() -> None:
    cases = vectors("memberlist")["state_table"]
    assert len(cases) == 150
    for case in cases:
        core = fresh()
        bring_to(core, case["have"], case["have_incarnation"])
        told(core), happened(core)
        core.pool.claims = Broadcasts(4)
        if case["message"] == "alive":
            core.table.alive(claim(case["incarnation"]))
        elif case["message"] == "alive_new_meta":
            core.table.alive(claim(case["incarnation"], meta=b"\xff\x81\xa1a\xa12"))
        else:
            accuse(core, case["message"], NAME, case["incarnation"])
        node = core.pool.nodes.get(NAME)
        assert (STATES[node.state] if node else "unknown") == case["state"], case
        assert (node.incarnation if node else None) == case.get("state_incarnation"), case
        assert told(core) == [(one["type"], one["incarnation"]) for one in case["broadcast"]], case
        assert happened(core) == case["events"], case
        assert (NAME in core.table._suspicions) is case["suspicion_timer"], case


def test_every_recorded_change_of_address() -> None:
    cases = vectors("memberlist")["address_change_table"]
    assert len(cases) == 36
    for case in cases:
        core = fresh()
        reclaim = 1e9 if case["reclaim_time"] == "off" else 30.0
        core.pool.timing = dataclasses.replace(LAN, reclaim=reclaim)
        bring_to(core, case["have"], case["have_incarnation"])
        told(core), happened(core)
        core.pool.claims = Broadcasts(4)
        core.pool.now += 31.0 if case["reclaim_time"] == "elapsed" else 1.0
        elsewhere = bytes((10, 0, 0, 99))
        core.table.alive(claim(case["incarnation"], address=elsewhere))
        conflicts = [one for one in core.outbox if isinstance(one, Notice) and "Conflicting address" in one.text]
        node = core.pool.nodes[NAME]
        assert (node.address == elsewhere) is case["address_taken"], case
        assert (STATES[node.state], node.incarnation) == (case["state"], case["state_incarnation"]), case
        assert bool(conflicts) is ("conflict" in case["events"]), case
        assert happened(core) == [one for one in case["events"] if one != "conflict"], case
        assert len(told(core)) == case["broadcasts"], case


def test_every_recorded_claim_about_ourselves() -> None:
    cases = vectors("memberlist")["self_table"]
    assert len(cases) == 80
    for case in cases:
        core = fresh()
        pool = core.pool
        pool.incarnation = pool.nodes["me"].incarnation = case["have_incarnation"]
        pool.leaving = case["leaving"]
        told(core), happened(core)
        pool.claims = Broadcasts(4)
        kind, incarnation = case["message"], case["incarnation"]
        changes = {
            "alive_same": {},
            "alive_new_meta": {"meta": b"\xff\x81\xa1a\xa19"},
            "alive_new_vsn": {"versions": bytes((1, 5, 2, 2, 5, 3))},
            "alive_other_address": {"address": bytes((10, 0, 0, 99))},
        }.get(kind)
        if changes is not None:
            core.table.alive(dataclasses.replace(pool.me, incarnation=incarnation, **changes))
        else:
            accuse(core, kind, "me", incarnation)
        node = pool.nodes["me"]
        assert (STATES[node.state], node.incarnation) == (case["state"], case["state_incarnation"]), case
        assert pool.incarnation == case["next_incarnation_counter"], case
        assert pool.health == case["health_delta"], case
        # Ours: an accusation at an incarnation that is over shows that our refutation was lost, so it is told again.
        ours = changes is None and incarnation < case["have_incarnation"] and not case["leaving"]
        wanted = [(one["type"], one["incarnation"]) for one in case["broadcast"]]
        assert told(core) == (wanted or ([("alive", case["have_incarnation"])] if ours else [])), case


def test_version_vectors_that_are_taken() -> None:
    for case in vectors("memberlist")["alive_vsn"]:
        versions = bytes(map(int, case["vsn"].strip("[]").split()))
        body = wire.unpack(dataclasses.replace(claim(1), versions=versions).encode()[1:])
        if case.get("accepted") and len(versions) == 6:
            assert Alive.decode(body).versions == versions
        else:  # Shorter ones, too: with an alive check, as in Consul, real members refuse them or die of them.
            with pytest.raises(GossipError):
                Alive.decode(body)


def test_who_can_be_in_one_pool() -> None:
    cases = vectors("memberlist")["verify_protocol"]
    assert len(cases) == 8
    for case in cases:
        own, theirs = (bytes(map(int, case[side].strip("[]").split())) for side in ("local", "remote"))
        both = [Spoken("self", own, True), Spoken("r", theirs, case["remote_state"] == "alive")]
        assert problem_among(both) == case.get("error", ""), case
    core = fresh()
    one = claim(1, versions=bytes((1, 5, 6, 2, 5, 4)))
    entry = {"Name": NAME, "Addr": one.address, "Port": 1, "Vsn": one.versions, "Incarnation": 1, "State": 0}
    with pytest.raises(GossipError, match=r"Node 'node-x' protocol version \(6\) is incompatible: \[1, 5\]"):
        core.merge([entry], b"", False, 0.0)
    core.table.alive(claim(1, versions=bytes((3, 5, 3, 2, 5, 4))))  # Taken in, it would spoil every exchange after it.
    assert core.member(NAME) is None


def with_member(status: str, ltime: int) -> Core:
    """A core in whose pool serf holds a member to be in a status since a time."""
    core = Network().member("self")
    if status != "none":
        core.table.alive(claim(1))
        node = core.pool.nodes[NAME]
        node.state = State.ALIVE if status in ("alive", "leaving") else State.DEAD
        core.pool.serf[NAME] = SerfMember(Status[status.upper()], ltime, 0.0)
    core.outbox.clear()
    return core


def test_every_recorded_intent() -> None:
    cases = [case for case in vectors("serf")["intent_table"] if case["have"] != "none"]
    assert len(cases) > 30
    for case in cases:
        core = with_member(case["have"], case["have_ltime"])
        node = core.pool.nodes[NAME]
        passed_on = None
        if case["op"] == "memberlist_join":
            core.serf.joined(node)
        elif case["op"] == "memberlist_leave":
            core.serf.gone(node)
        else:
            kind = wire.JOIN_INTENT if case["op"] == "join" else wire.LEAVE_INTENT
            passed_on = core.serf.intent(kind, NAME, case["ltime"], "prune" in case["op"])
        core.pool.now += 10.0  # What is pruned is so after a while.
        core.serf.reap()
        member = core.member(NAME)
        assert passed_on is case["rebroadcast"], case
        assert (member.status.name.lower() if member else "none") == case["status"], case
        seen = [one.kind.value for one in core.outbox if isinstance(one, MemberEvent)]
        assert seen == case["events"], case


def test_a_member_whose_intent_was_lost_has_left_all_the_same() -> None:
    core = with_member("alive", 5)
    accuse(core, "left", NAME, 1)
    assert (member := core.member(NAME)) is not None and member.status is Status.LEFT
    core = with_member("alive", 5)
    accuse(core, "dead", NAME, 1)
    assert (member := core.member(NAME)) is not None and member.status is Status.FAILED


def test_a_member_that_is_pruned_while_it_lives_objects() -> None:
    core = with_member("alive", 5)
    core.serf.intent(wire.LEAVE_INTENT, NAME, 6, prune=True)
    core.serf.intent(wire.JOIN_INTENT, NAME, 7)
    core.pool.now += 60.0
    core.serf.reap()
    assert (member := core.member(NAME)) is not None and member.status is Status.ALIVE


def test_a_suspect_that_is_forgotten_is_no_trouble() -> None:
    core = with_member("alive", 5)
    accuse(core, "suspect", NAME, 1)
    core.serf.intent(wire.LEAVE_INTENT, NAME, 6, prune=True)
    core.pool.now += 60.0
    core.serf.reap()
    core.tick(core.pool.now + 60.0)
    assert core.member(NAME) is None


def test_intents_that_come_before_the_member() -> None:
    for case in vectors("serf")["buffered_intents"]:
        core = Network().member("self")
        for step in case["steps"]:
            kind = wire.JOIN_INTENT if step["op"] == "join" else wire.LEAVE_INTENT
            assert core.serf.intent(kind, NAME, step["ltime"]) is step["rebroadcast"], case
        core.table.alive(claim(1))
        entry = core.pool.serf[NAME]
        assert (entry.status.name.lower(), entry.ltime) == (case["status"], case["status_ltime"]), case


def test_somebody_says_that_we_leave() -> None:
    recorded = vectors("serf")["self_leave_refute"]
    core = Network().member("self")
    core.serf.clock = recorded["clock_before"]
    assert core.serf.intent(wire.LEAVE_INTENT, "self", recorded["leave_ltime"]) is recorded["rebroadcast"]
    assert [one.hex() for one in core.pool.intents.take(65536, 0, 1)] == [one[0] for one in [recorded["queued_join"]]]
    assert core.serf.clock == recorded["clock_after"]
    assert core.pool.serf["self"].ltime == recorded["status_ltime"]


def test_what_is_told_first() -> None:
    recorded = vectors("memberlist")["broadcast_queue"]
    queue = Broadcasts(recorded["mult"])
    for text in recorded["queued_in_order"].split():
        queue.add(text.encode().ljust(int(text[1:]), b"."))
    assert transmit_limit(recorded["mult"], recorded["nodes"]) == recorded["transmit_limit"]
    for turn in recorded["rounds"]:
        sent = [one.rstrip(b".").decode() for one in queue.take(turn["limit"], turn["overhead"], recorded["nodes"])]
        assert sent == turn["sent"] and len(queue) == turn["left"]


def test_formulas() -> None:
    formulas = vectors("memberlist")["formulas"]
    for case in formulas["retransmit_limit"]:
        assert transmit_limit(case["mult"], case["n"]) == case["limit"]
    for case in formulas["suspicion"]:
        interval = case["probe_interval_ns"] / 1e9
        running = suspicion(0.0, "a", case["n"], case["suspicion_mult"], case["max_timeout_mult"], interval)
        assert running.needed == case["k"]
        assert running.least == pytest.approx(case["min_ns"] / 1e9, abs=0.01 * case["suspicion_mult"] * interval)
        for count, wanted in enumerate(case["timeout_ns_by_confirmations"]):
            running.confirmed = {str(number) for number in range(count)}
            assert running.deadline() == pytest.approx(wanted / 1e9, rel=0.002), case
    for case in formulas["suspicion_remaining"]:
        running = Suspicion(0.0, case["min_ns"] / 1e9, case["max_ns"] / 1e9, case["k"], "a")
        running.confirmed = {str(number) for number in range(case["confirmations"])}
        left = max(0.0, running.deadline() - case["elapsed_ns"] / 1e9)
        assert left == pytest.approx(max(0.0, case["remaining_ns"] / 1e9), abs=0.002), case
    core = fresh()
    for case in formulas["push_pull_scale"]:
        core.pool.nodes = {str(n): Node(str(n), b"", 0, b"", b"", 0) for n in range(case["n"])}
        assert core._push_pull_scale() * case["interval_ns"] == case["scaled_ns"]


def test_defaults_are_those_of_real_members() -> None:
    recorded = vectors("memberlist")["defaults"]

    def seconds(name: str, key: str) -> float:
        return float(recorded[name][f"{key}_ns"]) / 1e9

    for name, timing in (("lan", LAN), ("wan", WAN)):
        assert timing.probe_interval == seconds(name, "ProbeInterval")
        assert timing.probe_timeout == seconds(name, "ProbeTimeout")
        assert timing.gossip_interval == seconds(name, "GossipInterval")
        assert timing.push_pull_interval == seconds(name, "PushPullInterval")
        assert timing.gossip_to_dead == seconds(name, "GossipToTheDeadTime")
        assert timing.stream_timeout == seconds(name, "TCPTimeout")
        assert timing.suspicion == recorded[name]["SuspicionMult"]
        assert timing.retransmit == recorded[name]["RetransmitMult"]
        assert timing.indirect_checks == recorded[name]["IndirectChecks"]
    assert (LAN.gossip_nodes, WAN.gossip_nodes) == (3, 3)  # Consul's WAN pool takes the LAN's number.
    assert isinstance(LOCAL, Timing) and LOCAL.suspicion == recorded["local"]["SuspicionMult"]
