"""Autopilot's view: who is healthy, since when, and what the cluster can lose."""

import pytest

from model.structs.operator import DEFAULT_AUTOPILOT, AutopilotConfig, AutopilotSetConfigRequest, AutopilotStats
from server.leader.autopilot import Autopilot, Member, is_healthy
from server.leader.housekeeping import Housekeeping
from server.raft.driver import Server
from tests.endpoints.fake import FakeServer

ALIVE = Member("n", "alive", "1.14.0")
GOOD = AutopilotStats(last_contact=0, last_index=1000, last_term=3)


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
    view.observe(servers, members, stats, "id-1", DEFAULT_AUTOPILOT, 100.0)
    assert (view.health("id-1").healthy, view.health("id-1").failure_tolerance) == (True, 1)
    del stats["id-3"]
    view.observe(servers, members, stats, "id-1", DEFAULT_AUTOPILOT, 200.0)
    reply = view.health("id-1")
    assert (reply.healthy, reply.failure_tolerance) == (False, 0)
    assert [row.stable_since.seconds for row in reply.servers or ()] == [100, 100, 200]
    assert [row.leader for row in reply.servers or ()] == [True, False, False]
    state = view.state("id-1")
    assert state.servers is not None and state.servers["id-1"].state == "leader"
    assert state.voters == ["id-1", "id-2", "id-3"]


async def test_the_leader_looks_at_its_servers() -> None:
    server = FakeServer()
    await server.call("Catalog.Register", node="node1", address="127.0.0.1", node_meta={"a": "b"})
    await Housekeeping(server).look_at_servers()
    reply = await server.call("Operator.ServerHealth")
    assert reply.healthy and [row.name for row in reply.servers] == ["node1"]
    state = await server.call("Operator.AutopilotState")
    assert state.servers["id-1"].server.meta == {"a": "b"} and state.leader == "id-1"


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
