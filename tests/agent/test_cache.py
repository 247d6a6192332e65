"""The agent's cache: what is a hit, what is asked again, and what is kept up."""

import asyncio
from typing import Any

import pytest

from agent.cache import KEEP_PLAIN, Cache, Wanted
from model.errors import RpcError
from model.structs.base import Meta, Query


class Reply(Meta, frozen=True):
    value: int = 0


class Servers:
    """Answers reads; a blocking one waits until the index is another."""

    def __init__(self) -> None:
        self.index = 5
        self.calls: list[Any] = []
        self.down = False
        self.now = 1000.0
        self._changed = asyncio.Event()

    def change(self) -> None:
        self.index += 1
        self._changed.set()
        self._changed = asyncio.Event()

    async def call(self, method: str, args: Any) -> Any:
        self.calls.append(args)
        await asyncio.sleep(0)
        while args.min_query_index == self.index and not self.down:
            await self._changed.wait()
        if self.down:
            raise RpcError("No cluster leader")
        return Reply(index=self.index, value=len(self.calls))


@pytest.fixture
async def servers() -> Servers:
    return Servers()


@pytest.fixture
async def cache(servers: Servers) -> Any:
    made = Cache(servers.call, lambda: servers.now)
    yield made
    made.close()


async def test_plain_answers_are_as_old_as_the_caller_accepts(cache: Cache, servers: Servers) -> None:
    first = await cache.plain("Q", Query(), Wanted())
    servers.now += 30
    again = await cache.plain("Q", Query(allow_stale=True), Wanted(max_age=60))
    assert (first.hit, again.hit, again.age, again.reply) == (False, True, 30, first.reply)
    for wanted in (Wanted(max_age=29), Wanted(max_age=0), Wanted(must_revalidate=True)):
        assert not (await cache.plain("Q", Query(), wanted)).hit
    assert not (await cache.plain("Q", Query(filter="x"), Wanted())).hit
    assert not (await cache.plain("Q", Query(token="t"), Wanted())).hit, "what one token sees is not for another"
    servers.now += KEEP_PLAIN + 1
    assert not (await cache.plain("Q", Query(), Wanted())).hit


async def test_old_answers_serve_while_servers_are_away(cache: Cache, servers: Servers) -> None:
    await cache.plain("Q", Query(), Wanted())
    servers.down = True
    servers.now += 30
    assert (await cache.plain("Q", Query(), Wanted(max_age=10, stale_if_error=60))).age == 30
    with pytest.raises(RpcError):
        await cache.plain("Q", Query(), Wanted(max_age=10, stale_if_error=5))
    with pytest.raises(RpcError):
        await cache.plain("Other", Query(), Wanted(stale_if_error=60))


async def test_those_who_ask_the_same_at_once_share_one_call(cache: Cache, servers: Servers) -> None:
    answers = await asyncio.gather(*(cache.plain("Q", Query(), Wanted()) for _ in range(5)))
    assert len(servers.calls) == 1
    assert sorted(answer.hit for answer in answers) == [False, True, True, True, True]


async def test_fresh_answers_are_kept_up(cache: Cache, servers: Servers) -> None:
    assert not (await cache.fresh("Q", Query(), 300, 600)).hit
    assert (await cache.fresh("Q", Query(), 300, 600)).hit
    waiting = asyncio.create_task(cache.fresh("Q", Query(min_query_index=5), 300, 600))
    await asyncio.sleep(0)
    servers.change()
    newer = await asyncio.wait_for(waiting, 60)
    assert newer.reply.index == 6 and not newer.hit
    assert (await cache.fresh("Q", Query(), 300, 600)).reply.index == 6


async def test_a_wait_ends_in_time(cache: Cache) -> None:
    await cache.fresh("Q", Query(), 300, 600)
    asked = Query(min_query_index=5, max_query_time=1_000_000)
    answer = await asyncio.wait_for(cache.fresh("Q", asked, 300, 600), 60)
    assert answer.reply.index == 5 and not answer.hit


async def test_lost_contact_shows_as_age(cache: Cache, servers: Servers) -> None:
    await cache.fresh("Q", Query(), 300, 600)
    await asyncio.sleep(0)
    servers.down = True
    servers.change()
    for _ in range(20):
        await asyncio.sleep(0)
    servers.now += 7
    answer = await cache.fresh("Q", Query(), 300, 600)
    assert answer.hit and answer.age == 7


async def test_an_error_is_not_kept(cache: Cache, servers: Servers) -> None:
    servers.down = True
    with pytest.raises(RpcError):
        await cache.fresh("Q", Query(), 300, 600)
    assert len(cache) == 0
    servers.down = False
    assert not (await cache.fresh("Q", Query(), 300, 600)).hit
