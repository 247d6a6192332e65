"""Autopilot: who is healthy, since when, what the cluster can lose; who may vote, and who is taken out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import RpcError
from model.structs.operator import DEFAULT_AUTOPILOT, AutopilotConfig, AutopilotSetConfigRequest, AutopilotStats
from server.endpoints.context import ServerMember
from server.leader.autopilot import Autopilot
from server.leader.autopilot_rules import (
    ABSENT_GRACE,
    Member,
    Observation,
    is_dead,
    is_healthy,
    quorum,
    to_promote,
    to_remove,
)
from server.leader.housekeeping import Housekeeping
from server.leader.tending import Tending
from server.raft.node_config import Server
from tests.endpoints.fake import FakeServer

ALIVE = Member("n", "alive", "1.14.0")
GOOD = AutopilotStats(last_contact=0, last_index=1000, last_term=3)
NOW = 10_000.0


def seen(
    name: str, status: str = "alive", voter: bool = True, healthy: bool | None = None, ago: float = 60
) -> Observation:
    """A server that has been as it is for `ago` seconds."""
    member = Member(name, status, "1.14.0")
    well = status == "alive" if healthy is None else healthy
    gone = None if status == "alive" else NOW - ago
    return Observation(Server(name, f"{name}:1", voter), member, GOOD, well, 0.0, NOW - ago, gone)


@pytest.mark.parametrize(
    ("member", "stats", "healthy"),
    [
        (ALIVE, GOOD, True),
        (ALIVE._replace(status="failed"), GOOD, False),
        (ALIVE, AutopilotStats(last_contact=200_000_000, last_index=750, last_term=3), True),
        (ALIVE, AutopilotStats(last_contact=200_000_001, last_index=1000, last_term=3), False),
        (ALIVE, AutopilotStats(last_contact=0, last_index=749, last_term=3), False),
        (ALIVE, AutopilotStats(last_contact=0, last_index=1000, last_term=2), False),
    ],
)
def test_what_makes_a_server_healthy(member: Member, stats: AutopilotStats, healthy: bool) -> None:
    assert is_healthy(member, stats, GOOD, DEFAULT_AUTOPILOT) is healthy


def test_a_cluster_of_three_may_lose_one_and_remembers_since_when() -> None:
    servers = [Server(f"id-{number}", f"127.0.0.{number}:8300") for number in (1, 2, 3)]
    members = {server.id: ALIVE for server in servers}
    stats = {server.id: GOOD for server in servers}
    view = Autopilot()
    view.observe(servers, members, stats, "id-1", DEFAULT_AUTOPILOT, 100.0, 5.0)
    assert (view.health("id-1").healthy, view.health("id-1").failure_tolerance) == (True, 1)
    del stats["id-3"]
    members["id-3"] = ALIVE._replace(status="failed")
    view.observe(servers, members, stats, "id-1", DEFAULT_AUTOPILOT, 200.0, 9.0)
    view.observe(servers, members, stats, "id-1", DEFAULT_AUTOPILOT, 150.0, 11.0)  # The time of day was set back.
    reply = view.health("id-1")
    assert (reply.healthy, reply.failure_tolerance) == (False, 0)
    assert [row.stable_since.seconds for row in reply.servers or ()] == [100, 100, 200]
    assert [row.leader for row in reply.servers or ()] == [True, False, False]
    assert [(one.settled, one.gone) for one in view.observations] == [(5.0, None), (5.0, None), (9.0, 9.0)]
    state = view.state("id-1", {"n": {"a": "b"}}.get)
    assert state.servers is not None and state.servers["id-1"].state == "leader"
    assert state.servers["id-1"].server.meta == {"a": "b"}
    assert state.voters == ["id-1", "id-2", "id-3"]


def test_a_newcomer_votes_after_the_stabilization_time_and_not_before() -> None:
    voters = [seen("a"), seen("b")]
    for newcomer, promoted in (
        (seen("n", voter=False, ago=9.9), False),
        (seen("n", voter=False, ago=10.0), True),
        (seen("n", voter=False, healthy=False, ago=60), False),
        (seen("n", "failed", voter=False), False),
    ):
        assert to_promote([*voters, newcomer], DEFAULT_AUTOPILOT, NOW) == [newcomer.server] * promoted
    replica = seen("n", voter=False)
    replica = replica._replace(member=replica.member._replace(read_replica=True))
    assert to_promote([*voters, replica], DEFAULT_AUTOPILOT, NOW) == []


@pytest.mark.parametrize(
    ("statuses", "settings", "removed"),
    [
        (["alive", "alive", "failed"], {}, ["2"]),
        (["alive", "alive", "left"], {}, ["2"]),
        (["alive", "failed"], {}, []),
        (["alive", "failed", "failed"], {}, []),
        (["alive", "alive", "alive", "failed", "failed"], {}, ["3", "4"]),
        (["alive", "alive", "alive", "failed"], {}, ["3"]),
        (["alive", "alive", "alive", "alive", "failed"], {"min_quorum": 4}, ["4"]),
        (["alive", "alive", "alive", "failed", "failed"], {"min_quorum": 4}, ["3"]),
        (["alive", "alive", "failed"], {"min_quorum": 3}, []),
        (["alive", "alive", "failed"], {"cleanup_dead_servers": False}, []),
        (["alive", "alive", "leaving"], {}, []),
        (["failed", "alive", "alive"], {}, []),  # The leader is never dead, whatever gossip says.
    ],
)
def test_who_is_taken_out(statuses: list[str], settings: dict[str, int | bool], removed: list[str]) -> None:
    fields = {"cleanup_dead_servers": True, **settings}
    rows = [seen(str(number), status) for number, status in enumerate(statuses)]
    assert [one.server.id for one in to_remove(rows, AutopilotConfig(**fields), "0", NOW)] == removed  # type: ignore[arg-type]


def test_a_server_that_gossip_does_not_know_yet_gets_time_to_start() -> None:
    assert not is_dead(seen("a", "none", ago=ABSENT_GRACE - 1), DEFAULT_AUTOPILOT, NOW)
    assert is_dead(seen("a", "none", ago=ABSENT_GRACE), DEFAULT_AUTOPILOT, NOW)


def test_a_server_that_restarts_keeps_its_vote() -> None:
    others = [seen("0"), seen("1")]
    assert to_remove([*others, seen("2", "failed", ago=29)], DEFAULT_AUTOPILOT, "0", NOW) == []
    assert len(to_remove([*others, seen("2", "failed", ago=30)], DEFAULT_AUTOPILOT, "0", NOW)) == 1
    assert len(to_remove([*others, seen("2", "left", ago=0)], DEFAULT_AUTOPILOT, "0", NOW)) == 1


SERVERS = st.lists(
    st.builds(
        lambda status, voter, ago: (status, voter, ago),
        st.sampled_from(["alive", "failed", "left", "leaving", "none"]),
        st.booleans(),
        st.floats(0, 1000),
    ),
    min_size=1,
    max_size=9,
)


@given(SERVERS, st.integers(0, 9), st.integers(0, 8))
def test_a_quorum_and_the_living_always_stay(rows: list[tuple[str, bool, float]], min_quorum: int, leader: int) -> None:
    servers = [seen(str(number), status, voter, ago=ago) for number, (status, voter, ago) in enumerate(rows)]
    config = AutopilotConfig(cleanup_dead_servers=True, min_quorum=min_quorum)
    removed = to_remove(servers, config, str(leader), NOW)
    voters = sum(one.server.voter for one in servers)
    gone = sum(one.server.voter for one in removed)
    assert all(one.member.status != "alive" and one.server.id != str(leader) for one in removed)
    if gone:
        assert voters - gone >= max(quorum(voters), min_quorum)
        alive = sum(
            (one.server.voter and not is_dead(one, config, NOW)) or one.server.id == str(leader) for one in servers
        )
        assert alive >= quorum(voters)
    # What is left over is still left over when the decision is made again and again.
    rest = [one for one in servers if one not in removed]
    again = [one for one in to_remove(rest, config, str(leader), NOW) if one.server.voter]
    assert not again or voters - gone - len(again) >= max(quorum(voters - gone), min_quorum)


async def test_the_leader_looks_at_its_servers() -> None:
    server = FakeServer()
    await server.call("Catalog.Register", node="node1", address="127.0.0.1", node_meta={"a": "b"})
    await Tending(server).look()
    reply = await server.call("Operator.ServerHealth")
    assert reply.healthy and [row.name for row in reply.servers] == ["node1"]
    state = await server.call("Operator.AutopilotState")
    assert state.servers["id-1"].server.meta == {"a": "b"} and state.leader == "id-1"


async def test_the_leader_takes_a_dead_server_out_but_not_one_that_is_back() -> None:
    server = FakeServer()
    for number in (2, 3):
        server.raft.servers.append(Server(f"id-{number}", f"127.0.0.{number}:8300"))
        server.members.append(ServerMember(f"id-{number}", f"node{number}", f"127.0.0.{number}:8300", "alive"))
    fields = {"config": AutopilotConfig(cleanup_dead_servers=True)}  # No patience.
    await server.call("Operator.AutopilotSetConfiguration", **fields)
    tending = Tending(server)
    server.members[2] = server.members[2]._replace(status="failed")
    await tending.look()
    server.members[2] = server.members[2]._replace(status="alive")
    await tending.act()
    assert len(server.raft.servers) == 3 and server.left == []
    server.members[2] = server.members[2]._replace(status="failed")
    await tending.act()
    assert [one.id for one in server.raft.servers] == ["id-1", "id-2"] and server.left == ["node3"]


async def test_the_leader_lets_a_steady_newcomer_vote() -> None:
    server = FakeServer()
    fields = {"config": AutopilotConfig(last_contact_threshold=10**9, server_stabilization_time=0)}
    await server.call("Operator.AutopilotSetConfiguration", **fields)
    newcomer = FakeServer()
    newcomer.raft.index = server.raft.index
    server.forward_to = newcomer
    server.raft.servers.append(Server("id-2", "127.0.0.2:8300", voter=False))
    server.members.append(ServerMember("id-2", "node2", "127.0.0.2:8300", "alive"))
    tending = Tending(server)
    await tending.look()
    await tending.act()
    assert [one.voter for one in server.raft.servers] == [True, True]


async def test_autopilot_settings_are_checked_and_set() -> None:
    server = FakeServer()
    await Housekeeping(server).set_markers()
    current = await server.call("Operator.AutopilotGetConfiguration")
    assert current.cleanup_dead_servers and current.modify_index == current.create_index > 0
    fields = {"config": AutopilotConfig(max_trailing_logs=7, modify_index=1), "cas": True}
    assert not await server.call("Operator.AutopilotSetConfiguration", **fields)
    fields["config"] = AutopilotConfig(max_trailing_logs=7, modify_index=current.modify_index)
    assert await server.call("Operator.AutopilotSetConfiguration", **fields)
    assert (await server.call("Operator.AutopilotGetConfiguration")).max_trailing_logs == 7
    assert AutopilotSetConfigRequest(**fields).cas


async def test_the_first_settings_are_those_of_the_agents_configuration() -> None:
    server = FakeServer()
    server.autopilot = Autopilot(AutopilotConfig(min_quorum=5))
    with pytest.raises(RpcError, match="not initialized yet"):
        await server.call("Operator.AutopilotGetConfiguration")
    await Housekeeping(server).set_markers()
    assert (await server.call("Operator.AutopilotGetConfiguration")).min_quorum == 5
