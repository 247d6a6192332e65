"""CPU time that a member of a gossip pool costs, encrypted beside plain: at rest, and while events spread.

The members live in this process, on loopback sockets of their own, with the timing of a LAN. Turns of the two pools
alternate.
"""

import asyncio
import time

from benchmarks.measure import Figure, percentile
from gossip.consul import client_tags
from gossip.core import LAN, Settings
from gossip.driver import Gossip
from gossip.envelope import Envelope
from gossip.keyring import Keyring

MEMBERS = 20
EVENTS_PER_SECOND = 10
PACKET = bytes(1200)


async def pool(encrypted: bool) -> list[Gossip]:
    """Members that all know each other."""
    members = []
    for number in range(MEMBERS):
        tags = client_tags(f"11111111-2222-3333-4444-{number:012}", "dc1", "1.14.0")
        envelope = Envelope(Keyring([b"k" * 32]) if encrypted else None)
        member = Gossip(Settings(f"m{number}", "127.0.0.1", 0, tags, LAN, envelope=envelope), "127.0.0.1")
        await member.start()
        members.append(member)
        if number:
            await member.join([f"127.0.0.1:{members[0].local.port}"])
    deadline = time.monotonic() + 60
    while any(len(member.members()) < MEMBERS for member in members):
        if time.monotonic() > deadline:
            raise RuntimeError("the members do not find each other")
        await asyncio.sleep(0.1)
    await asyncio.sleep(3.0)  # What was said while they joined has been told often enough.
    return members


async def cost(members: list[Gossip], seconds: float, events: int) -> float:
    """CPU time in ms that each member takes for each second, while so many events are fired in each."""
    begin_cpu, begin = time.process_time(), time.monotonic()
    fired = 0
    while (elapsed := time.monotonic() - begin) < seconds:
        while fired < elapsed * events:
            members[fired % MEMBERS].fire("deploy", b"%d" % fired)
            fired += 1
        await asyncio.sleep(0.05)
    return (time.process_time() - begin_cpu) * 1000 / (time.monotonic() - begin) / len(members)


def envelope_cost(rounds: int) -> float:
    """CPU time in µs for closing a packet and opening it."""
    envelope = Envelope(Keyring([b"k" * 32]))
    begin = time.process_time()
    for _ in range(rounds):
        envelope.open_packet(envelope.close_packet(PACKET))
    return (time.process_time() - begin) / rounds * 1e6


async def run(full: bool) -> list[Figure]:
    """Measure both pools, at rest and with events."""
    turns, seconds = (5, 10.0) if full else (3, 4.0)
    found: dict[tuple[bool, int], list[float]] = {}
    for _ in range(turns):
        for encrypted in (False, True):
            members = await pool(encrypted)
            try:
                for events in (0, EVENTS_PER_SECOND):
                    found.setdefault((encrypted, events), []).append(await cost(members, seconds, events))
            finally:
                for member in members:
                    await member.stop()
    figures = [
        Figure(
            f"CPU for each member and second, {MEMBERS} members, {what}",
            percentile(found[True, events], 0.5),
            "ms",
            percentile(found[False, events], 0.5),
            "plain",
        )
        for events, what in ((0, "at rest"), (EVENTS_PER_SECOND, f"{EVENTS_PER_SECOND} events a second"))
    ]
    return [*figures, Figure("closing and opening a packet of 1,200 bytes", envelope_cost(50_000), "us")]
