"""Blocking reads of a server whose rights change while they wait, on the query path and in the agent's cache."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest

from agent.cache import Cache, Wanted
from model.durations import SECOND
from model.errors import RpcError
from model.structs.kv import DirEntry, KeyRequest
from server.endpoints.dispatch import dispatch
from tests.endpoints.acl_server import ROOT, AclServer, acl_server

READ = 'key_prefix "a" { policy = "read" }'
WAIT = 600 * SECOND


async def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


class World:
    """A server with a key, and a token that may read it."""

    def __init__(self, server: AclServer) -> None:
        self.server = server

    async def begin(self) -> "World":
        self.policy = await self.server.policy("a", READ)
        self.made = await self.server.token("a", expiration_ttl=3600 * SECOND)
        self.secret = self.made.secret_id
        await self.write("a/1")
        return self

    async def write(self, key: str, value: bytes = b"1") -> None:
        await self.server.call("KVS.Apply", op="set", dir_ent=DirEntry(key=key, value=value), token=ROOT)

    async def rules(self, rules: str) -> None:
        await self.server.call("ACL.PolicySet", policy=msgspec.structs.replace(self.policy, rules=rules), token=ROOT)

    async def revoke(self) -> None:
        await self.server.call("ACL.TokenDelete", token_id=self.made.accessor_id, token=ROOT)

    def blocked(self, method: str = "KVS.Get", key: str = "a/1", wait: int = WAIT) -> asyncio.Task[Any]:
        """A read that waits for something later than now."""
        index = self.server.raft.index
        args = KeyRequest(key=key, token=self.secret, min_query_index=index, max_query_time=wait)
        return asyncio.get_running_loop().create_task(dispatch(self.server, method, args))


@pytest.fixture
async def world() -> World:
    return await World(await acl_server()).begin()


async def _waits(world: World, task: asyncio.Task[Any]) -> None:
    await until(lambda: world.server.store.watches.waiting == 1 or task.done())
    assert not task.done()


async def test_a_revoked_token_is_told_at_once(world: World) -> None:
    task = world.blocked()
    await _waits(world, task)
    await world.revoke()
    with pytest.raises(RpcError, match="ACL not found"):
        await asyncio.wait_for(task, 60)


async def test_a_policy_that_grants_less_ends_a_read(world: World) -> None:
    task = world.blocked()
    await _waits(world, task)
    await world.rules('key_prefix "a" { policy = "deny" }')
    with pytest.raises(RpcError, match="Permission denied"):
        await asyncio.wait_for(task, 60)


async def test_a_list_that_waits_out_its_time_shows_what_may_be_seen_then(world: World) -> None:
    await world.write("a/2")
    task = world.blocked("KVS.List", "a", wait=SECOND)
    await _waits(world, task)
    await world.rules('key "a/2" { policy = "read" }')
    reply = await asyncio.wait_for(task, 60)
    assert [entry.key for entry in reply.entries] == ["a/2"] and reply.results_filtered_by_acls


async def test_a_token_that_ends_while_it_waits_is_refused(world: World) -> None:
    task = world.blocked(wait=SECOND)
    await _waits(world, task)
    world.server.now += 3600
    with pytest.raises(RpcError, match="ACL not found"):
        await asyncio.wait_for(task, 60)


async def test_other_changes_of_rights_wake_nobody_for_long(world: World) -> None:
    task = world.blocked()
    await _waits(world, task)
    await world.server.policy("other", READ)
    await _waits(world, task)
    await world.write("a/1", b"2")
    reply = await asyncio.wait_for(task, 60)
    assert reply.entries and reply.index == world.server.raft.index


class Kept:
    """An agent's cache in front of the server; `now` is its clock."""

    def __init__(self, world: World) -> None:
        self.now = 0.0
        self.world = world
        self.cache = Cache(self._call, lambda: self.now, rights_last=1.0)
        self.calls = 0

    async def _call(self, method: str, args: Any) -> Any:
        self.calls += 1
        return await dispatch(self.world.server, method, args)

    async def fresh(self, method: str = "KVS.Get", index: int = 0) -> Any:
        args = KeyRequest(key="a/1" if method == "KVS.Get" else "a", token=self.world.secret, min_query_index=index)
        return (await self.cache.fresh(method, args, 600.0, 600.0)).reply


@pytest.fixture
async def kept(world: World) -> AsyncIterator[Kept]:
    made = Kept(world)
    yield made
    made.cache.close()


async def test_the_cache_forgets_what_is_denied_and_tells_who_waits(world: World, kept: Kept) -> None:
    reply = await kept.fresh()
    task = asyncio.get_running_loop().create_task(kept.fresh(index=reply.index))
    await until(lambda: world.server.store.watches.waiting == 1)
    await world.revoke()
    with pytest.raises(RpcError, match="ACL not found"):
        await asyncio.wait_for(task, 60)
    with pytest.raises(RpcError, match="ACL not found"):
        await kept.fresh()
    assert len(kept.cache) == 0


async def test_the_cache_follows_rights_though_the_index_stays(world: World, kept: Kept) -> None:
    await world.write("a/2")
    assert len((await kept.fresh("KVS.List")).entries) == 2
    await world.rules('key "a/2" { policy = "read" }')
    deadline = time.monotonic() + 60
    while [entry.key for entry in (await kept.fresh("KVS.List")).entries] != ["a/2"]:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def test_a_plain_answer_stands_for_rights_for_a_while_only(world: World, kept: Kept) -> None:
    args = KeyRequest(key="a/1", token=world.secret)
    assert not (await kept.cache.plain("KVS.Get", args, Wanted())).hit
    assert (await kept.cache.plain("KVS.Get", args, Wanted())).hit
    await world.rules('key_prefix "a" { policy = "deny" }')
    assert (await kept.cache.plain("KVS.Get", args, Wanted(stale_if_error=60))).hit
    kept.now = 1.0
    with pytest.raises(RpcError, match="Permission denied"):
        await kept.cache.plain("KVS.Get", args, Wanted(stale_if_error=60))
