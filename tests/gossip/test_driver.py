"""Members on real sockets: join, user events, failure, refutation, leave, rejoin."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import uvloop

from gossip.consul import admission, client_tags, parse_server, server_tags
from gossip.core import LOCAL, Settings, Status, UserEvent
from gossip.driver import Gossip, JoinError

FAST = replace(LOCAL, probe_interval=0.05, probe_timeout=0.05, gossip_interval=0.03, propagate_delay=0.1)


async def member(name: str, host: int = 1, snapshot: Path | None = None, dc: str = "dc1") -> Gossip:
    address = f"127.0.0.{host}"
    tags = server_tags(f"id-{name}", dc, "1.14.0", 8300, 8302, False, 3)
    settings = Settings(name, address, 0, tags, FAST, lambda other: admission(name, f"id-{name}", dc, other))
    gossip = Gossip(settings, address, snapshot)
    await gossip.start()
    return gossip


def at(gossip: Gossip) -> str:
    return f"{gossip.local.address}:{gossip.local.port}"


def status(gossip: Gossip, name: str) -> Status:
    found = gossip.core.member(name)
    return found.status if found else Status.NONE


async def until(condition: Callable[[], object], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def test_members_find_each_other_fail_and_leave(tmp_path: Path) -> None:
    a, b = await member("a", 1), await member("b", 2, tmp_path / "local.snapshot")
    c, d = await member("c", 3), await member("d", 4)
    pool = [a, b, c, d]
    assert await b.join([at(a)]) == 1
    assert await c.join([at(b)]) == 1
    assert await d.join([at(a), "127.0.0.9:1"]) == 1
    await until(lambda: all(len(one.members()) == 4 for one in pool))
    assert {parse_server(one).name for one in a.members()} == {"a", "b", "c", "d"}  # type: ignore[union-attr]

    seen: list[UserEvent] = []
    d.on_event(lambda event: seen.append(event) if isinstance(event, UserEvent) else None)
    a.fire("deploy", b"v2")
    await until(lambda: seen)
    assert (seen[0].name, seen[0].payload) == ("deploy", b"v2")

    b.set_tags({**b.local.tags, "bootstrap": "1"})
    await until(lambda: all(one.core.member("b").tags.get("bootstrap") for one in pool))  # type: ignore[union-attr]

    await d.stop()  # Without a word: it has failed.
    await until(lambda: all(status(one, "d") is Status.FAILED for one in (a, b, c)))
    assert a.force_leave("d")
    await until(lambda: all(status(one, "d") is Status.LEFT for one in (a, b, c)))

    await c.leave()
    await c.stop()
    await until(lambda: all(status(one, "c") is Status.LEFT for one in (a, b)))

    port = b.local.port
    await b.stop()
    await until(lambda: status(a, "b") is Status.FAILED)
    settings = Settings("b", "127.0.0.2", port, b._settings.tags, FAST)
    again = Gossip(settings, "127.0.0.2", tmp_path / "local.snapshot")
    await again.start()
    assert await again.rejoin() == 1
    await until(lambda: status(a, "b") is Status.ALIVE and len(again.members()) >= 2)
    await again.stop()
    await a.stop()


async def test_an_accusation_is_refuted() -> None:
    a, b = await member("a", 1), await member("b", 2)
    await b.join([at(a)])
    await until(lambda: len(a.members()) == 2)
    node = a.core.pool.nodes["b"]
    before = node.incarnation
    a.core.table.suspect({"Node": "b", "From": "a", "Incarnation": node.incarnation})
    await until(lambda: node.incarnation > before)
    assert status(a, "b") is Status.ALIVE
    await a.stop()
    await b.stop()


async def test_a_member_of_another_datacenter_stays_out() -> None:
    a, b = await member("a", 1), await member("b", 2, dc="dc2")
    with pytest.raises(JoinError, match="wrong datacenter"):
        await b.join([at(a)])
    assert len(a.members()) == 1
    await a.stop()
    await b.stop()


async def test_rubbish_on_both_sockets_harms_nobody() -> None:
    a, b = await member("a", 1), await member("b", 2)
    loop = asyncio.get_running_loop()
    udp, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.5", 0))
    for junk in (b"", b"\xff" * 50, b"\x07\xff", b"\x04\x81\xa4Addr\xa1x", b"\x09\x82\xa4Algo\x00\xa3Buf\xa3abc"):
        udp.sendto(junk, (a.local.address, a.local.port))
        _, writer = await asyncio.open_connection(a.local.address, a.local.port)
        writer.write(junk + b"\x06\x83")
        writer.close()
    assert await b.join([at(a)]) == 1
    await until(lambda: len(a.members()) == 2)
    assert a.core.counters.malformed > 0
    udp.close()
    await a.stop()
    await b.stop()


async def test_a_port_in_use_is_an_error() -> None:
    a = await member("a", 1)
    settings = Settings("x", "127.0.0.1", a.local.port, client_tags("id", "dc1", "1.14.0"), FAST)
    with pytest.raises(OSError):
        await Gossip(settings, "127.0.0.1").start()
    await a.stop()


def test_a_member_whose_address_cannot_be_sent_to_is_nobody_elses_loss() -> None:
    async def scenario() -> None:
        a, b = await member("a", 1), await member("b", 2)
        odd = Gossip(Settings("odd", "::1", 0, client_tags("id-odd", "dc1", "1.14.0"), FAST), "127.0.0.3")
        await odd.start()
        try:
            assert await odd.join([at(a)]) == 1
            assert await b.join([at(a)]) == 1
            await until(lambda: all(len(one.members()) == 3 for one in (a, b)))
            await until(lambda: status(a, "odd") is Status.FAILED and status(b, "odd") is Status.FAILED)
            seen: list[UserEvent] = []
            b.on_event(lambda event: seen.append(event) if isinstance(event, UserEvent) else None)
            a.fire("deploy", b"")
            await until(lambda: seen)
            assert status(a, "b") is status(b, "a") is Status.ALIVE
            assert failures == []
        finally:
            for one in (a, b, odd):
                await one.stop()

    failures: list[str] = []  # Whatever reaches the event loop has gone past everybody who could have handled it.
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.get_loop().set_exception_handler(lambda _, context: failures.append(str(context)))
        runner.run(scenario())
