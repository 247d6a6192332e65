"""The query path: who answers, how long a call is held, and when a blocking read returns."""

import asyncio
import io
from typing import Any

import pytest

from model.errors import RpcError
from model.structs.catalog import HealthCheck, NodeService
from model.structs.coordinate import CoordinateVector
from model.structs.kv import DirEntry
from model.structs.session import Session
from server.endpoints.context import LOCAL, READS, WRITES
from server.leader.housekeeping import Housekeeping
from server.raft.errors import NotLeader
from server.raft.node_config import Server
from tests.endpoints.fake import FakeServer

SECOND = 1_000_000_000


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


async def put(server: FakeServer, key: str, value: bytes = b"x") -> bool:
    done: bool = await server.call("KVS.Apply", op="set", dir_ent=DirEntry(key=key, value=value))
    return done


async def blocked(server: FakeServer, method: str, **fields: Any) -> "asyncio.Task[Any]":
    """Start a blocking read and return once it waits."""
    task = asyncio.create_task(server.call(method, max_query_time=300 * SECOND, **fields))
    while not server.store.watches.waiting and not task.done():
        await asyncio.sleep(0)
    return task


async def test_a_blocking_read_returns_with_the_change(server: FakeServer) -> None:
    await put(server, "k")
    first = await server.call("KVS.Get", key="k")
    task = await blocked(server, "KVS.Get", key="k", min_query_index=first.index)
    await put(server, "other")
    await asyncio.sleep(0)
    assert not task.done()
    await put(server, "k", b"new")
    reply = await asyncio.wait_for(task, 60)
    assert reply.entries[0].value == b"new" and reply.index > first.index
    assert server.store.watches.waiting == 0


async def test_a_blocking_read_on_a_missing_key_sees_it_appear(server: FakeServer) -> None:
    await put(server, "other")
    first = await server.call("KVS.Get", key="k")
    task = await blocked(server, "KVS.Get", key="k", min_query_index=first.index)
    await put(server, "k")
    assert (await asyncio.wait_for(task, 60)).entries[0].key == "k"


async def test_a_blocking_read_without_change_returns_the_same_index(server: FakeServer) -> None:
    await put(server, "k")
    index = (await server.call("KVS.Get", key="k")).index
    reply = await server.call("KVS.Get", key="k", min_query_index=index, max_query_time=20_000_000)
    assert reply.index == index and reply.entries[0].value == b"x"


async def test_an_old_index_returns_at_once(server: FakeServer) -> None:
    await put(server, "k")
    reply = await asyncio.wait_for(server.call("KVS.Get", key="k", min_query_index=1, max_query_time=300 * SECOND), 60)
    assert reply.index > 1


async def test_an_abandoned_read_leaves_no_watch_behind(server: FakeServer) -> None:
    await put(server, "k")
    task = await blocked(server, "KVS.List", key="", min_query_index=server.raft.index)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert server.store.watches.waiting == 0
    assert not server.store.watches._by_topic


async def test_a_restore_wakes_blocked_readers(server: FakeServer) -> None:
    await put(server, "k")
    target = io.BytesIO()
    server.fsm.snapshot()(target)
    await put(server, "k", b"later")
    task = await blocked(server, "KVS.Get", key="k", min_query_index=server.raft.index)
    server.fsm.restore(io.BytesIO(target.getvalue()))
    reply = await asyncio.wait_for(task, 60)
    assert reply.entries[0].value == b"x"


async def test_the_index_is_never_zero(server: FakeServer) -> None:
    for method, fields in (
        ("Catalog.ListNodes", {}),
        ("KVS.List", {"key": ""}),
        ("Session.List", {}),
        ("Health.ServiceNodes", {"service_name": "none"}),
        ("Catalog.NodeServices", {"node": "none"}),
        ("Coordinate.ListNodes", {}),
    ):
        reply = await server.call(method, **fields)
        assert reply.index == 1 and reply.known_leader, method


async def test_only_consistent_reads_cost_a_round(server: FakeServer) -> None:
    await server.call("KVS.Get", key="k")
    await server.call("KVS.Get", key="k", allow_stale=True)
    assert server.raft.barriers == 0
    await server.call("KVS.Get", key="k", require_consistent=True)
    assert server.raft.barriers == 1


def follower_of(leader: FakeServer) -> FakeServer:
    made = FakeServer()
    made.raft.is_leader = made.raft.ready_for_reads = False
    made.raft.last_contact = 0.05
    made.forward_to = leader
    return made


async def test_a_follower_passes_on_writes_and_reads_but_answers_stale_ones(server: FakeServer) -> None:
    follower = follower_of(server)
    await put(follower, "k")
    assert (await follower.call("KVS.Get", key="k")).entries[0].value == b"x"
    assert [method for method, _, _ in follower.forwarded] == ["KVS.Apply", "KVS.Get"]
    stale = await follower.call("KVS.Get", key="k", allow_stale=True)
    assert stale.entries is None and stale.known_leader and stale.last_contact == 50_000_000
    assert len(follower.forwarded) == 2


async def test_an_error_of_the_leader_keeps_its_text(server: FakeServer) -> None:
    with pytest.raises(RpcError, match=r"^rpc error making call: Must provide key$"):
        await follower_of(server).call("KVS.Apply", op="set")


async def test_without_a_leader_calls_are_held_and_then_fail(server: FakeServer) -> None:
    server.raft.is_leader = server.raft.ready_for_reads = False
    server.raft.known_leader = None
    for call in (server.call("KVS.Get", key="k"), server.call("KVS.Get", key="k", allow_stale=True), put(server, "k")):
        with pytest.raises(RpcError, match=r"^No cluster leader$"):
            await call


async def test_a_held_call_goes_through_when_a_leader_appears(server: FakeServer) -> None:
    server.raft.is_leader = server.raft.ready_for_reads = False
    server.raft.known_leader = None
    server.limits = server.limits._replace(hold_timeout=60.0)
    task = asyncio.create_task(put(server, "k"))
    await asyncio.sleep(0)
    server.raft.is_leader = server.raft.ready_for_reads = True
    server.raft.known_leader = Server("id-1", "127.0.0.1:8300")
    await asyncio.wait_for(task, 60)
    assert (await server.call("KVS.Get", key="k")).entries[0].key == "k"


async def test_a_consistent_read_whose_leader_is_deposed_meanwhile_is_passed_on(server: FakeServer) -> None:
    """Found under faults: the read failed with an internal error."""
    await put(server, "k")
    deposed = FakeServer()

    async def deposed_meanwhile(timeout: float = 10.0) -> int:
        deposed.raft.is_leader = False
        raise NotLeader("", "")

    deposed.raft.read_barrier = deposed_meanwhile  # type: ignore[method-assign]
    deposed.raft.known_leader = Server("id-2", "127.0.0.2:8300")
    deposed.forward_to = server
    reply = await deposed.call("KVS.Get", key="k", require_consistent=True)
    assert reply.entries[0].value == b"x"
    assert [address for _, _, address in deposed.forwarded] == ["127.0.0.2:8300"]


async def test_a_write_is_not_repeated_on_a_broken_connection() -> None:
    alone = FakeServer()
    alone.raft.is_leader = False
    with pytest.raises(RpcError, match="rpc error making call: connection refused"):
        await put(alone, "k")
    assert len(alone.forwarded) == 1


async def test_passed_on_calls_do_not_go_round_in_circles(server: FakeServer) -> None:
    follower = follower_of(server)
    follower.forward_to = follower
    with pytest.raises(RpcError, match="No cluster leader"):
        await put(follower, "k")


@pytest.mark.parametrize(
    ("method", "text"),
    [
        ("Nope.Nope", "rpc: can't find service Nope.Nope"),
        ("Status.Nope", "rpc: can't find method Status.Nope"),
        ("Nope", "rpc: service/method request ill-formed: Nope"),
    ],
)
async def test_unknown_methods(server: FakeServer, method: str, text: str) -> None:
    from model.structs.base import Empty
    from server.endpoints.dispatch import dispatch

    with pytest.raises(RpcError) as failure:
        await dispatch(server, method, Empty())
    assert failure.value.text == text


async def test_another_datacenter_has_no_path(server: FakeServer) -> None:
    with pytest.raises(RpcError, match="No path to datacenter"):
        await server.call("Catalog.ListNodes", datacenter="dc9")
    with pytest.raises(RpcError, match="No path to datacenter"):
        await server.call("Status.Leader", datacenter="dc9")
    assert (await server.call("Catalog.ListNodes", datacenter="DC1")).index == 1


def test_every_endpoint_has_its_types() -> None:
    from model.methods import METHODS

    assert set(READS) | set(WRITES) | set(LOCAL) <= set(METHODS)


# Endpoints that do more than look up


async def test_lock_delay_refuses_without_a_log_entry(server: FakeServer) -> None:
    await server.call("Catalog.Register", node="n1", address="10.0.0.1")
    first = await server.call("Session.Apply", op="create", session=Session(node="n1", lock_delay=15 * SECOND))
    second = await server.call("Session.Apply", op="create", session=Session(node="n1"))
    assert await server.call("KVS.Apply", op="lock", dir_ent=DirEntry(key="l", session=first))
    await server.call("Session.Apply", op="destroy", session=Session(id=first))
    commands = len(server.raft.commands)
    assert not await server.call("KVS.Apply", op="lock", dir_ent=DirEntry(key="l", session=second))
    assert len(server.raft.commands) == commands
    server.now += 15.1
    assert await server.call("KVS.Apply", op="lock", dir_ent=DirEntry(key="l", session=second))


async def test_a_session_expires_at_twice_its_ttl_unless_renewed(server: FakeServer) -> None:
    await server.call("Catalog.Register", node="n1", address="10.0.0.1")
    session = await server.call("Session.Apply", op="create", session=Session(node="n1", ttl="10s"))
    chores = Housekeeping(server)
    server.now += 19.9
    await chores.expire_sessions()
    renewed = await server.call("Session.Renew", session_id=session)
    assert renewed.sessions[0].id == session
    server.now += 19.9
    await chores.expire_sessions()
    assert (await server.call("Session.Get", session_id=session)).sessions
    server.now += 0.2
    await chores.expire_sessions()
    assert (await server.call("Session.Get", session_id=session)).sessions is None
    assert (await server.call("Session.Renew", session_id=session)).sessions is None


async def test_a_new_leader_gives_sessions_their_full_time(server: FakeServer) -> None:
    await server.call("Catalog.Register", node="n1", address="10.0.0.1")
    await server.call("Session.Apply", op="create", session=Session(node="n1", ttl="10s"))
    server.now += 15
    server.session_timers.reset(server.store.sessions.rows)
    server.now += 15
    assert server.session_timers.expired() == []


async def test_tombstones_are_reaped_after_a_quarter_of_an_hour(server: FakeServer) -> None:
    await put(server, "k")
    await server.call("KVS.Apply", op="delete", dir_ent=DirEntry(key="k"))
    chores = Housekeeping(server)
    await chores.reap_tombstones(0.0)
    await chores.reap_tombstones(899.0)
    assert len(server.store.kv.tombstones) == 1
    await chores.reap_tombstones(901.0)
    assert len(server.store.kv.tombstones) == 0


async def test_markers_are_set_once(server: FakeServer) -> None:
    chores = Housekeeping(server)
    await chores.set_markers()
    count = len(server.raft.commands)
    await chores.set_markers()
    assert len(server.raft.commands) == count > 0
    assert server.store.metadata.value("virtual-ips") == "true"
    assert (await server.call("Operator.AutopilotGetConfiguration")).max_trailing_logs == 250


async def test_near_sorts_by_distance_and_puts_unknown_places_last(server: FakeServer) -> None:
    for node, place in (("a", 0.0), ("b", 0.03), ("c", 0.01), ("d", None)):
        await server.call("Catalog.Register", node=node, address="10.0.0.1", service=NodeService(service="web"))
        if place is not None:
            vector = CoordinateVector(vec=[place, *[0.0] * 7], height=0.001)
            await server.call("Coordinate.Update", node=node, coord=vector)
    await Housekeeping(server).write_coordinates()
    from model.structs.catalog_rpc import QuerySource

    reply = await server.call("Health.ServiceNodes", service_name="web", source=QuerySource(node="a"))
    assert [row.node.node for row in reply.nodes] == ["a", "c", "b", "d"]
    reply = await server.call("Catalog.ListNodes", source=QuerySource(node="b"))
    assert [row.node for row in reply.nodes] == ["b", "c", "a", "d"]


async def test_tags_and_node_meta_narrow_an_answer(server: FakeServer) -> None:
    for node, tags, rack in (("a", ["v1", "x"], "r1"), ("b", ["v1"], "r2")):
        service = NodeService(service="web", tags=tags)
        await server.call("Catalog.Register", node=node, address="1.1.1.1", service=service, node_meta={"rack": rack})

    async def found(**fields: Any) -> list[str]:
        reply = await server.call("Catalog.ServiceNodes", service_name="web", **fields)
        return [row.node for row in reply.service_nodes]

    assert await found(tag_filter=True, service_tags=["V1"]) == ["a", "b"]
    assert await found(tag_filter=True, service_tags=["v1", "x"]) == ["a"]
    assert await found(tag_filter=True, service_tag="x") == ["a"]
    assert await found(node_meta_filters={"rack": "r2"}) == ["b"]
    assert await found(peer_name="elsewhere") == []


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "Must provide node"),
        ({"node": "n"}, "Must provide address if SkipNodeUpdate is not set"),
        ({"node": "n", "address": "a", "id": "x"}, "Bad node ID: uuid string is wrong length"),
        (
            {"node": "n", "address": "a", "service": NodeService(id="only")},
            "Must provide service name (Service.Service) when service ID is provided",
        ),
        (
            {"node": "n", "address": "a", "service": NodeService(service="s", address="0.0.0.0")},
            "Invalid service address",
        ),
        (
            {"node": "n", "address": "a", "check": HealthCheck(name="c", node="m")},
            "Node 'm' for check 'c' doesn't match register request node 'n'",
        ),
        (
            {"node": "n", "address": "a", "check": HealthCheck(name="c", service_id="nope")},
            "Unknown service ID 'nope' for check ID 'c'",
        ),
    ],
)
async def test_a_wrong_registration_is_refused_in_words(server: FakeServer, fields: dict[str, Any], text: str) -> None:
    with pytest.raises(RpcError) as failure:
        await server.call("Catalog.Register", **fields)
    assert failure.value.text == text
    assert (await server.call("Catalog.ListNodes")).nodes == []
