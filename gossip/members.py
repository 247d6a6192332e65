"""The member table: which claims about members are believed, and what follows from them.

A claim carries the incarnation of the member that it is about; only the member itself raises that. So an accusation can
be refuted, and old news is told from new.
"""

import enum
import math
from dataclasses import dataclass, field

from gossip import wire
from gossip.wire import GossipError


class State(enum.IntEnum):
    """What memberlist thinks of a member."""

    ALIVE = 0
    SUSPECT = 1
    DEAD = 2
    LEFT = 3


@dataclass
class Node:
    """A member as memberlist knows it. `changed` is when its state changed, in seconds of the core's clock."""

    name: str
    address: bytes
    port: int
    meta: bytes
    versions: bytes
    incarnation: int
    state: State = State.ALIVE
    changed: float = 0.0

    @property
    def gone(self) -> bool:
        """Whether nothing is sent to it any more."""
        return self.state in (State.DEAD, State.LEFT)


@dataclass
class Suspicion:
    """A running accusation: who confirms it, and when it becomes a death."""

    started: float
    least: float
    most: float
    needed: int
    accuser: str
    confirmed: set[str] = field(default_factory=set)

    def deadline(self) -> float:
        """When the suspect counts as dead if nobody says otherwise; earlier the more confirm it."""
        if self.needed < 1:
            return self.started + self.least
        share = math.log(len(self.confirmed) + 1) / math.log(self.needed + 1)
        return self.started + max(self.least, self.most - share * (self.most - self.least))

    def confirm(self, accuser: str) -> bool:
        """Another member accuses, too; returns whether that is news."""
        if len(self.confirmed) >= self.needed or accuser in self.confirmed or accuser == self.accuser:
            return False
        self.confirmed.add(accuser)
        return True


def suspicion(now: float, accuser: str, nodes: int, multiplier: int, most: int, interval: float) -> Suspicion:
    """A new accusation in a pool of so many nodes."""
    needed = multiplier - 2
    if nodes - 2 < needed:
        needed = 0
    least = multiplier * max(1.0, math.log10(max(1.0, nodes))) * interval
    return Suspicion(now, least, most * least, needed, accuser)


@dataclass(frozen=True)
class Alive:
    """Somebody claims that a member is there."""

    name: str
    address: bytes
    port: int
    meta: bytes
    versions: bytes
    incarnation: int

    def encode(self) -> bytes:
        """The message."""
        return wire.message(
            wire.ALIVE,
            {
                "Addr": self.address,
                "Incarnation": self.incarnation,
                "Meta": self.meta,
                "Node": self.name,
                "Port": self.port,
                "Vsn": self.versions,
            },
        )

    @classmethod
    def decode(cls, body: dict[str, object], name_key: str = "Node") -> "Alive":
        """Read and check a claim. Raises GossipError naming the field."""
        address = wire.raw(body, "Addr")
        if len(address) == 16 and address[:12] == b"\0" * 10 + b"\xff\xff":
            address = address[12:]
        name = wire.text(body, name_key)
        meta = wire.raw(body, "Meta")
        versions = wire.raw(body, "Vsn")
        if len(address) not in (4, 16):
            raise GossipError(f"Addr has {len(address)} bytes")
        if not name or len(name) > 512:
            raise GossipError(f"{name_key} is missing or too long")
        if len(meta) > 512:
            raise GossipError("Meta is larger than 512 bytes")
        if len(versions) != 6 or versions[0] == 0 or versions[1] == 0 or versions[0] > versions[1]:
            raise GossipError("Vsn is malformed")
        return cls(
            name, address, wire.number(body, "Port", 65536), meta, versions, wire.number(body, "Incarnation", 1 << 32)
        )
