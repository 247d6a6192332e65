"""Serf's snapshot: a text file that remembers who was in the pool and how late it was, for the next start.

    alive: NAME HOST:PORT       not-alive: NAME
    clock: N                    event-clock: N      query-clock: N
    leave                       this member left on purpose: what is above counts only if it is to rejoin all the same

The file of a real serf is read; ours is written anew when something changed.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from gossip.interface import Member, Status
from gossip.queries import host_port
from gossip.wire import MOST_WITNESSED

MOST_BYTES = 2 << 20
MAX_MEMBERS = 65536


@dataclass
class Remembered:
    """What a snapshot says: addresses of living members by name, and the times that were seen last."""

    alive: dict[str, str] = field(default_factory=dict)
    clock: int = 0
    event_clock: int = 0
    query_clock: int = 0


def parse(text: str, rejoin_after_leave: bool = False) -> Remembered:
    """What a snapshot says. Lines that are no lines of a snapshot, and a last one that is cut off, are skipped."""
    found = Remembered()
    for line in text[:MOST_BYTES].split("\n")[:-1]:
        kind, _, rest = line.partition(": ")
        if kind == "alive":
            name, blank, address = rest.rpartition(" ")
            if blank and len(found.alive) < MAX_MEMBERS:
                found.alive[name] = address
        elif kind == "not-alive":
            found.alive.pop(rest, None)
        elif kind in ("clock", "event-clock", "query-clock") and rest.isascii() and rest.isdigit():
            setattr(found, kind.replace("-", "_"), min(int(rest[:20]), MOST_WITNESSED - 1))
        elif line == "leave" and not rejoin_after_leave:
            found = Remembered()
    return found


def written(members: Iterable[Member], own_name: str, clocks: tuple[int, int, int], left: bool) -> str:
    """The snapshot of a pool, of which this member is one; `left` marks that it left on purpose."""
    lines = [
        f"alive: {member.name} {host_port(member.address, member.port)}"
        for member in members
        if member.status is Status.ALIVE and member.name != own_name
    ]
    lines += [f"{kind}: {value}" for kind, value in zip(("clock", "event-clock", "query-clock"), clocks, strict=True)]
    if left:
        lines.append("leave")
    return "\n".join(lines) + "\n"
