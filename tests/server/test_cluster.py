"""Three servers and a client in one process, on real sockets."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from agent.client import Client, ClientConfig
from model.errors import RpcError
from model.structs.base import Empty
from model.structs.catalog_rpc import DCSpecificRequest, IndexedNodes
from model.structs.kv import DirEntry, IndexedDirEntries, KeyRequest, KVSRequest
from model.structs.operator import RaftStats
from server.endpoints.context import Limits
from server.raft.confchange import Change
from server.server import Server
from server.server_config import ServerConfig


async def until(condition: Callable[[], object], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


def config(number: int, folder: Path | None) -> ServerConfig:
    address = f"127.0.0.{20 + number}"
    return ServerConfig(
        node_name=f"s{number}",
        node_id=f"{number}0000000-0000-0000-0000-000000000000",
        bind=address,
        advertise=address,
        rpc_port=0,
        gossip_port=0,
        data_dir=folder / f"s{number}" if folder else None,
        bootstrap_expect=3,
        fast=True,
    )


def put(key: str, value: bytes) -> KVSRequest:
    return KVSRequest(op="set", dir_ent=DirEntry(key=key, value=value))


async def get(caller: Server | Client, key: str, **options: bool) -> bytes | None:
    reply = await caller.call("KVS.Get", KeyRequest(key=key, **options))
    assert isinstance(reply, IndexedDirEntries)
    return reply.entries[0].value if reply.entries else None


async def test_a_cluster_elects_replicates_and_outlives_its_leader(tmp_path: Path) -> None:
    servers = [Server(config(number, tmp_path)) for number in range(3)]
    for server in servers:
        await server.start()
    first = servers[0].gossip.local
    for server in servers[1:]:
        await server.join([f"{first.address}:{first.port}"])
    await until(lambda: any(server.raft.is_leader for server in servers))
    identity = "c0000000-0000-0000-0000-000000000000"
    client = Client(ClientConfig("c1", identity, bind="127.0.0.30", advertise="127.0.0.30", gossip_port=0, fast=True))
    await client.start()
    await client.join([f"{first.address}:{first.port}"])
    await until(lambda: len(client.router.servers) == 3)
    follower = next(server for server in servers if not server.raft.is_leader)
    await follower.call("KVS.Apply", put("a", b"1"))
    assert await get(client, "a") == b"1"
    assert await get(follower, "a", require_consistent=True) == b"1"
    await until(lambda: follower.fsm.store.kv.entries.get("a"))
    assert await get(follower, "a", allow_stale=True) == b"1"

    async def nodes() -> set[str]:
        reply = await client.call("Catalog.ListNodes", DCSpecificRequest())
        assert isinstance(reply, IndexedNodes)
        return {node.node for node in reply.nodes or ()}

    async with asyncio.timeout(60):
        while await nodes() != {"s0", "s1", "s2", "c1"}:
            await asyncio.sleep(0.05)

    waiting = KeyRequest(key="a", min_query_index=10**6, max_query_time=10**9)
    blocked = asyncio.create_task(client.call("KVS.Get", waiting))
    leader = next(server for server in servers if server.raft.is_leader)
    await leader.stop()
    rest = [server for server in servers if server is not leader]
    async with asyncio.timeout(60):
        while True:
            try:
                await client.call("KVS.Apply", put("b", b"2"))
                break
            except RpcError:
                await asyncio.sleep(0.05)
    assert await get(client, "b") == b"2"
    await asyncio.gather(blocked, return_exceptions=True)
    for server in rest:
        await server.stop()
    await client.stop()

    again = Server(config(servers.index(rest[0]), tmp_path))
    await again.start()
    assert again.raft.core.log.last_index > 0  # Everything is still there, although there is no quorum to serve it.
    await again.stop()


async def test_a_call_that_arrives_while_the_disk_is_read_is_held(tmp_path: Path) -> None:
    """Found under faults: a server that was started again answered its first calls with an internal error."""
    server = Server(replace(config(0, tmp_path), bootstrap_expect=0, bootstrap=True))
    early = [
        asyncio.create_task(server._remote_call("Status.RaftStats", Empty())),
        asyncio.create_task(server._remote_call("KVS.Apply", put("a", b"1"))),
    ]
    await asyncio.sleep(0)
    await server.start()
    try:
        async with asyncio.timeout(60):
            stats, _ = await asyncio.gather(*early)
        assert isinstance(stats, RaftStats)
        assert await get(server, "a") == b"1"
    finally:
        await server.stop()


async def test_a_call_to_a_server_that_does_not_come_up_fails_in_time(tmp_path: Path) -> None:
    server = Server(replace(config(0, tmp_path), limits=Limits(hold_timeout=0.05)))
    with pytest.raises(RpcError, match="No cluster leader"):
        await server._remote_call("Status.RaftStats", Empty())


async def test_a_server_that_crossed_another_out_in_vain_still_listens_to_it(tmp_path: Path) -> None:
    """Found under faults: whoever had a removal in its log that was never committed refused the new leader for ever."""
    servers = [Server(config(number, tmp_path)) for number in range(3)]
    for server in servers:
        await server.start()
    try:
        first = servers[0].gossip.local
        for server in servers[1:]:
            await server.join([f"{first.address}:{first.port}"])
        await until(lambda: any(server.raft.is_leader and server.raft.ready_for_reads for server in servers))
        old = next(server for server in servers if server.raft.is_leader)
        new, third = (server for server in servers if server is not old)
        await until(lambda: old.raft.core.configuration_index <= old.raft.core.commit)
        for server in (new, third):
            await until(lambda server=server: server.raft.core.commit >= old.raft.core.configuration_index)
        assert old._transport is not None
        send, old._transport.send = old._transport.send, lambda message: None  # type: ignore[method-assign]
        old.raft.core.propose_change([Change("remove", new.config.node_id)])
        assert new.config.node_id not in old.raft.core.configuration.members()
        await until(lambda: new.raft.is_leader or third.raft.is_leader)
        if third.raft.is_leader:
            await third.call("KVS.Apply", put("before", b"1"))
            await third.raft.transfer_leadership(new.config.node_id)
        await until(lambda: new.raft.is_leader and new.raft.ready_for_reads)
        await new.call("KVS.Apply", put("after", b"2"))
        old._transport.send = send  # type: ignore[method-assign]
        await until(lambda: old.fsm.store.kv.entries.get("after"), 10)
        assert new.config.node_id in old.raft.core.configuration.members()
    finally:
        for server in servers:
            await server.stop()
