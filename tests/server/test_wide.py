"""The WAN pool on real sockets: neighbours are brought in, datacenters sorted, and who is no server stays out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from gossip.consul import client_tags, server_tags
from gossip.coordinates import Place
from gossip.core import LOCAL, Member, Settings, Status
from gossip.driver import Gossip, JoinError
from gossip.options import PoolOptions
from server.wide import WideConfig, WidePool, median

FAST = replace(LOCAL, probe_interval=0.05, probe_timeout=0.05, gossip_interval=0.03, propagate_delay=0.1)


class Neighbourhood:
    """Servers of datacenters in WAN pools of their own, and what each datacenter's own pool would show."""

    def __init__(self) -> None:
        self.lan: dict[str, list[Member]] = {}
        self.pools: list[WidePool] = []

    async def server(self, name: str, datacenter: str, host: int, rpc: int = 8300) -> WidePool:
        address = f"127.0.64.{host}"
        tags = server_tags(f"id-{name}", datacenter, "1.14.0", rpc, -1, False, 3)
        config = WideConfig(name, datacenter, address, address, 0, tags, PoolOptions(timing=FAST))
        pool = WidePool(config, lambda: self.lan.get(datacenter, []))
        port = await pool.start()
        shown = Member(name, address, 8301, {**tags, "wan_join_port": str(port)}, Status.ALIVE)
        self.lan.setdefault(datacenter, []).append(shown)
        self.pools.append(pool)
        return pool

    async def stop(self) -> None:
        for pool in self.pools:
            await pool.stop()


async def until(condition: Callable[[], object], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


def at(pool: WidePool) -> str:
    return f"{pool.gossip.local.address}:{pool.gossip.local.port}"


async def test_neighbours_follow_and_calls_find_their_way() -> None:
    town = Neighbourhood()
    try:
        a, b = await town.server("a", "dc1", 1), await town.server("b", "dc1", 2)
        c = await town.server("c", "dc2", 3, rpc=9300)
        assert await c.gossip.join([at(a)]) == 1
        a._wake.set()  # As a new member of dc1's own pool would.
        await until(lambda: all(len(pool.servers()) == 3 for pool in (a, b, c)))
        assert a.missing() == [] and {info.name for info in c.servers()} == {"a.dc1", "b.dc1", "c.dc2"}
        assert a.route("DC2") == ["127.0.64.3:9300"] and a.route("dc9") == []
        assert sorted(c.route("dc1")) == ["127.0.64.1:8300", "127.0.64.2:8300"]
        assert a.datacenters() == ["dc1", "dc2"] and c.datacenters() == ["dc2", "dc1"]
        await c.stop()
        await until(lambda: a.route("dc2") == [])
        assert a.datacenters() == ["dc1", "dc2"]
    finally:
        await town.stop()


async def test_datacenters_are_sorted_by_the_middle_of_their_distances() -> None:
    town = Neighbourhood()
    try:
        a = await town.server("a", "dc1", 5)
        others = [
            await town.server(name, dc, 6 + n)
            for n, (name, dc) in enumerate((("x", "far"), ("y", "near"), ("z", "nowhere")))
        ]
        for other in others:
            await other.gossip.join([at(a)])
        await until(lambda: len(a.servers()) == 4)
        core = a.gossip.core
        core.pool.places = {"x.far": Place((0.5,) + (0.0,) * 7), "y.near": Place((0.1,) + (0.0,) * 7)}
        core.pool.measured = lambda *_: None  # type: ignore[method-assign]
        assert a.datacenters() == ["dc1", "near", "far", "nowhere"]
        assert {(dc, name) for dc, name, _ in a.places()} == {("dc1", "a"), ("far", "x"), ("near", "y")}
    finally:
        await town.stop()
    assert (median([]), median([3.0, 1.0, 2.0])) == (float("inf"), 2.0)


async def test_a_client_is_not_let_in() -> None:
    town = Neighbourhood()
    client = Gossip(Settings("leaf.dc1", "127.0.64.20", 0, client_tags("i", "dc1", "1.14.0"), FAST), "127.0.64.20")
    try:
        a = await town.server("a", "dc1", 21)
        await client.start()
        with pytest.raises(JoinError, match=r"Member 'leaf\.dc1' is not a server"):
            await a.gossip.join([f"127.0.64.20:{client.local.port}"])
        await client.join([at(a)])
        await asyncio.sleep(0.3)
        assert [member.name for member in a.gossip.members()] == ["a.dc1"]
    finally:
        await client.stop()
        await town.stop()
