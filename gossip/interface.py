"""What the gossip core takes and gives: settings and timings in; packets, dials and events out."""

import enum
from collections.abc import Callable
from dataclasses import dataclass, field

from gossip import wire
from gossip.envelope import Envelope
from gossip.wire import GossipError


class Status(enum.IntEnum):
    """What serf says of a member."""

    NONE = 0
    ALIVE = 1
    LEAVING = 2
    LEFT = 3
    FAILED = 4


@dataclass(frozen=True)
class Timing:
    """Intervals in seconds and multipliers of a pool."""

    probe_interval: float = 1.0
    probe_timeout: float = 0.5
    indirect_checks: int = 3
    retransmit: int = 4
    suspicion: int = 4
    suspicion_most: int = 6
    push_pull_interval: float = 30.0
    gossip_interval: float = 0.2
    gossip_nodes: int = 3
    gossip_to_dead: float = 30.0
    stream_timeout: float = 10.0
    reclaim: float = 30.0
    reap_failed: float = 72 * 3600.0
    reap_left: float = 24 * 3600.0
    reconnect_interval: float = 30.0
    propagate_delay: float = 1.0


LAN = Timing()
WAN = Timing(
    probe_interval=5.0,
    probe_timeout=3.0,
    suspicion=6,
    push_pull_interval=60.0,
    gossip_interval=0.5,
    gossip_to_dead=60.0,
    stream_timeout=30.0,
)
LOCAL = Timing(
    probe_interval=0.1,
    probe_timeout=0.1,
    suspicion=3,
    gossip_interval=0.1,
    push_pull_interval=15.0,
    stream_timeout=5.0,
    reconnect_interval=3.0,
    propagate_delay=0.3,
)


@dataclass(frozen=True)
class Member:
    """A member as others see it."""

    name: str
    address: str
    port: int
    tags: dict[str, str]
    status: Status
    versions: bytes = wire.VERSIONS

    @property
    def key(self) -> tuple[str, str, int, tuple[tuple[str, str], ...]]:
        """What makes a difference to those who are told of updates."""
        return self.name, self.address, self.port, tuple(sorted(self.tags.items()))


class EventKind(enum.Enum):
    """What happened to a member."""

    JOIN = "member-join"
    LEAVE = "member-leave"
    FAILED = "member-failed"
    UPDATE = "member-update"
    REAP = "member-reap"


@dataclass(frozen=True)
class MemberEvent:
    """Something happened to a member."""

    kind: EventKind
    member: Member


@dataclass(frozen=True)
class UserEvent:
    """A user event arrived for the first time."""

    name: str
    payload: bytes
    ltime: int
    coalesce: bool


@dataclass(frozen=True)
class QueryAnswered:
    """Somebody answered a query of this member."""

    number: int


@dataclass(frozen=True)
class Notice:
    """Something that an operator should read; `about` groups what need not be said again and again."""

    text: str
    about: str


@dataclass(frozen=True)
class SendPacket:
    """Send a datagram to `(address, port)`."""

    address: tuple[str, int]
    data: bytes


@dataclass(frozen=True)
class PushPull:
    """Exchange state with a member over TCP; `join` marks the first exchange."""

    address: tuple[str, int]
    join: bool


@dataclass(frozen=True)
class StreamPing:
    """Ping over TCP; call `stream_ack(sequence)` when it is answered."""

    address: tuple[str, int]
    node: str
    sequence: int
    timeout: float


Output = SendPacket | PushPull | StreamPing | MemberEvent | UserEvent | QueryAnswered | Notice


def encode_tags(tags: dict[str, str]) -> bytes:
    """Tags as a member's meta data. Raises GossipError beyond 512 bytes."""
    meta = b"\xff" + wire.pack(dict(tags))
    if len(meta) > 512:
        raise GossipError(f"tags take {len(meta)} bytes, 512 at most")
    return meta


def decode_tags(meta: bytes) -> dict[str, str]:
    """Tags of a member's meta data; what cannot be read is left out."""
    if meta[:1] != b"\xff":
        return {"role": meta.decode("utf-8", "replace")} if meta else {}
    try:
        body = wire.unpack(meta[1:])
    except GossipError:
        return {}
    return {str(key): value for key, value in body.items() if isinstance(value, str)}


@dataclass
class Counters:
    """What went wrong, for metrics."""

    malformed: int = 0
    refused: int = 0
    undecipherable: int = 0


def _everybody(member: Member) -> str:
    return ""


def _nowhere(keys: list[bytes]) -> str:
    return ""


def _anywhere(address: str) -> bool:
    return True


@dataclass
class Settings:
    """Who this member is, and how the pool behaves.

    Args:
        admit: asked about every member that is new or changed; returns a reason to keep it out, or "".
        allowed: asked about the address of every member and of every sender of news; False keeps it out.
        envelope: how packets and streams are encrypted, if they are.
        coordinates: find out where this member is in the network, and say so.
        save_keys: keeps the keys after a change, the primary first; returns what went wrong, or "".
    """

    name: str
    address: str
    port: int
    tags: dict[str, str]
    timing: Timing = LAN
    admit: Callable[[Member], str] = _everybody
    allowed: Callable[[str], bool] = _anywhere
    envelope: Envelope = field(default_factory=Envelope)
    save_keys: Callable[[list[bytes]], str] = _nowhere
    coordinates: bool = True
