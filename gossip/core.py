"""The gossip protocol as one sans-IO machine: packets, streams and time in; packets, dials and events out.

The caller hands in the time (seconds of any steady clock) and a random source, and empties `outbox` after each call.

Failure detection: each probe interval one member is pinged; if it does not answer in time, others are asked to ping it
and a TCP ping is tried; if nothing comes, it is suspected, and dead unless it refutes. Serf's layer adds intents to
leave, so that a member that left is told from one that failed, and user events.

Source: memberlist and serf as published; timings are theirs.
"""

import enum
import ipaddress
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from gossip import wire
from gossip.broadcasts import Broadcasts
from gossip.members import Alive, Node, State, Suspicion, suspicion
from gossip.wire import GossipError

EVENT_BUFFER = 512
MAX_USER_EVENT = 512
SETTLE_INTERVALS = 5
"""Gossip intervals after which a newcomer exchanges its state once more; up to twice as many."""


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


Output = SendPacket | PushPull | StreamPing | MemberEvent | UserEvent


@dataclass
class _Probe:
    node: str
    sequence: int
    ends: float
    indirect_at: float
    asked: bool = False
    nacks_expected: int = 0
    nacks: int = 0


@dataclass
class _Relay:
    """A ping that another member asked for."""

    to: tuple[str, int]
    sequence: int
    nack_at: float
    ends: float
    nack: bool


@dataclass
class _SerfMember:
    status: Status
    ltime: int
    since: float


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


def address_text(address: bytes) -> str:
    """An address of 4 or 16 bytes as text."""
    return str(ipaddress.ip_address(address))


@dataclass
class Counters:
    """What went wrong, for metrics."""

    malformed: int = 0
    refused: int = 0


@dataclass
class Settings:
    """Who this member is, and how the pool behaves.

    `admit` is asked about every member that is new or changed; it returns a reason to keep it out, or "".
    """

    name: str
    address: str
    port: int
    tags: dict[str, str]
    timing: Timing = LAN
    admit: Callable[[Member], str] = field(default=lambda member: "")


class Core:
    """One member of a pool."""

    def __init__(self, settings: Settings, random: Random, now: float) -> None:
        self.settings = settings
        self.timing = settings.timing
        self.name = settings.name
        self.outbox: list[Output] = []
        self.counters = Counters()
        self._random = random
        self._now = now
        self._incarnation = 1
        self._sequence = 0
        self._health = 0
        self.leaving = False
        self._nodes: dict[str, Node] = {}
        self._suspicions: dict[str, Suspicion] = {}
        self._queue = Broadcasts(self.timing.retransmit)
        self._intents = Broadcasts(self.timing.retransmit)
        self._events = Broadcasts(self.timing.retransmit)
        self._probe_ring: list[str] = []
        self._probe: _Probe | None = None
        self._relays: dict[int, _Relay] = {}
        self._next_probe = now + random.random() * self.timing.probe_interval
        self._next_gossip = now + self.timing.gossip_interval
        self._next_push_pull = now + self.timing.push_pull_interval * (1 + random.random())
        self._next_reconnect = now + self.timing.reconnect_interval
        self._next_reap = now + 15.0
        self._clock = 1
        self._event_clock = 1
        self._query_clock = 1
        self._event_minimum = 0
        self._seen_events: dict[int, set[tuple[str, bytes]]] = {}
        self._serf: dict[str, _SerfMember] = {}
        self._early_intents: dict[str, tuple[int, int, float]] = {}
        me = self._me()
        self._nodes[self.name] = Node(me.name, me.address, me.port, me.meta, me.versions, 1, State.ALIVE, now)
        self._serf[self.name] = _SerfMember(Status.ALIVE, 0, now)

    # What can be seen

    def members(self) -> list[Member]:
        """All members that are known, by name."""
        return [self._member(self._nodes[name]) for name in sorted(self._serf) if name in self._nodes]

    def member(self, name: str) -> Member | None:
        """One member."""
        node = self._nodes.get(name)
        return self._member(node) if node is not None and name in self._serf else None

    @property
    def health_score(self) -> int:
        """0 when all is well, up to 7 when this member itself seems to be in trouble."""
        return self._health

    def stats(self) -> dict[str, str]:
        """Figures in the manner of `consul info`'s serf section."""
        count = [entry.status for entry in self._serf.values()].count
        return {
            "coordinate_resets": "0",
            "encrypted": "false",
            "event_queue": "0",
            "event_time": str(self._event_clock),
            "failed": str(count(Status.FAILED)),
            "health_score": str(self._health),
            "intent_queue": str(len(self._intents)),
            "left": str(count(Status.LEFT)),
            "member_time": str(self._clock),
            "members": str(len(self._serf)),
            "query_queue": "0",
            "query_time": str(self._query_clock),
        }

    @property
    def undelivered(self) -> int:
        """Messages that wait to be told."""
        return len(self._queue) + len(self._intents) + len(self._events)

    @property
    def others_alive(self) -> bool:
        """Whether there is anybody to tell."""
        return any(name != self.name and not node.gone for name, node in self._nodes.items())

    def _member(self, node: Node) -> Member:
        entry = self._serf.get(node.name)
        status = entry.status if entry else Status.NONE
        return Member(
            node.name, address_text(node.address), node.port, decode_tags(node.meta), status, node.versions
        )

    def _me(self) -> Alive:
        settings = self.settings
        packed = ipaddress.ip_address(settings.address).packed
        meta = encode_tags(settings.tags)
        return Alive(self.name, packed, settings.port, meta, wire.VERSIONS, self._incarnation)

    # Time

    def tick(self, now: float) -> None:
        """Do what is due. Call it often: every 20 to 50 ms."""
        self._now = now
        self._tick_probe()
        for sequence, relay in list(self._relays.items()):
            if now >= relay.nack_at and relay.nack:
                relay.nack = False
                self._send(relay.to, wire.message(wire.NACK, {"SeqNo": relay.sequence}))
            if now >= relay.ends:
                del self._relays[sequence]
        for name, running in list(self._suspicions.items()):
            if now >= running.deadline():
                self._dead({"Node": name, "From": self.name, "Incarnation": self._nodes[name].incarnation})
        if now >= self._next_gossip:
            self._next_gossip = now + self.timing.gossip_interval
            self._gossip()
        if now >= self._next_push_pull:
            self._next_push_pull = now + self.timing.push_pull_interval * self._push_pull_scale()
            peers = self._others(lambda node: node.state is State.ALIVE)
            if peers:
                self.outbox.append(PushPull(self._address(self._random.choice(peers)), False))
        if now >= self._next_reconnect:
            self._next_reconnect = now + self.timing.reconnect_interval
            self._reconnect()
        if now >= self._next_reap:
            self._next_reap = now + 15.0
            self._reap()

    def _push_pull_scale(self) -> int:
        nodes = len(self._nodes)
        return 1 if nodes <= 32 else math.ceil(math.log2(nodes) - 5) + 1

    def _others(self, wanted: Callable[[Node], bool]) -> list[Node]:
        return [node for name, node in sorted(self._nodes.items()) if name != self.name and wanted(node)]

    def _reconnect(self) -> None:
        failed = [name for name, entry in self._serf.items() if entry.status is Status.FAILED]
        alive = sum(entry.status is Status.ALIVE for entry in self._serf.values())
        if failed and self._random.random() < len(failed) / max(1, alive):
            self.outbox.append(PushPull(self._address(self._nodes[self._random.choice(sorted(failed))]), True))

    def _reap(self) -> None:
        for name, entry in list(self._serf.items()):
            limit = {Status.FAILED: self.timing.reap_failed, Status.LEFT: self.timing.reap_left}.get(entry.status)
            if limit is not None and self._now - entry.since > limit:
                self._forget(name)
        for name, (_, _, since) in list(self._early_intents.items()):
            if self._now - since > 300:
                del self._early_intents[name]
        for queue in (self._intents, self._events):
            queue.prune(max(4096, 2 * len(self._serf)))

    def _forget(self, name: str) -> None:
        node = self._nodes.get(name)
        if node is not None:
            self.outbox.append(MemberEvent(EventKind.REAP, self._member(node)))
            del self._nodes[name]
        self._serf.pop(name, None)

    # Failure detection

    def _tick_probe(self) -> None:
        probe = self._probe
        if probe is not None:
            if self._now >= probe.indirect_at and not probe.asked:
                self._ask_others(probe)
            if self._now >= probe.ends:
                self._probe = None
                self._probe_failed(probe)
        if self._now >= self._next_probe and self._probe is None:
            self._next_probe = max(self._next_probe + self.timing.probe_interval, self._now)
            self._start_probe()

    def _start_probe(self) -> None:
        for _ in range(len(self._probe_ring) + 1):
            if not self._probe_ring:
                self._drop_long_dead()
                self._probe_ring = [name for name in self._nodes if name != self.name]
                self._random.shuffle(self._probe_ring)
                if not self._probe_ring:
                    return
            node = self._nodes.get(self._probe_ring.pop())
            if node is not None and not node.gone:
                break
        else:
            return
        self._sequence += 1
        interval = self.timing.probe_interval * (self._health + 1)
        self._probe = _Probe(node.name, self._sequence, self._now + interval, self._now + self.timing.probe_timeout)
        messages = [self._ping(node.name, self._sequence)]
        if node.state is State.SUSPECT:
            messages.append(self._accusation(node))
        self._send(self._address(node), *messages)

    def _drop_long_dead(self) -> None:
        for name, node in list(self._nodes.items()):
            if node.gone and self._now - node.changed > self.timing.gossip_to_dead and name not in self._serf:
                del self._nodes[name]

    def _ping(self, node: str, sequence: int) -> bytes:
        me = self._me()
        source = {"SourceAddr": me.address, "SourceNode": self.name, "SourcePort": me.port}
        return wire.message(wire.PING, {"Node": node, "SeqNo": sequence, **source})

    def _accusation(self, node: Node) -> bytes:
        body = {"From": self.name, "Incarnation": node.incarnation, "Node": node.name}
        return wire.message(wire.SUSPECT, body)

    def _ask_others(self, probe: _Probe) -> None:
        probe.asked = True
        target = self._nodes.get(probe.node)
        if target is None:
            return
        me = self._me()
        helpers = self._others(lambda node: node.state is State.ALIVE and node.name != probe.node)
        self._random.shuffle(helpers)
        for helper in helpers[: self.timing.indirect_checks]:
            wants_nack = helper.versions[1] >= 4
            probe.nacks_expected += wants_nack
            body = {
                "Nack": wants_nack,
                "Node": target.name,
                "Port": target.port,
                "SeqNo": probe.sequence,
                "SourceAddr": me.address,
                "SourceNode": self.name,
                "SourcePort": me.port,
                "Target": target.address,
            }
            self._send(self._address(helper), wire.message(wire.INDIRECT_PING, body))
        if target.versions[1] >= 3:
            left = max(0.05, probe.ends - self._now)
            self.outbox.append(StreamPing(self._address(target), target.name, probe.sequence, left))

    def _probe_failed(self, probe: _Probe) -> None:
        missing = probe.nacks_expected - probe.nacks if probe.nacks_expected else 1
        self._health = min(7, self._health + max(0, missing))
        node = self._nodes.get(probe.node)
        if node is not None:
            self._suspect({"Node": node.name, "From": self.name, "Incarnation": node.incarnation})

    def stream_ack(self, sequence: int) -> None:
        """A TCP ping was answered."""
        self._acknowledged(sequence)

    def _acknowledged(self, sequence: int) -> None:
        probe = self._probe
        if probe is not None and probe.sequence == sequence:
            self._probe = None
            self._health = max(0, self._health - 1)
            return
        relay = self._relays.pop(sequence, None)
        if relay is not None:
            self._send(relay.to, wire.message(wire.ACK, {"Payload": None, "SeqNo": relay.sequence}))

    # Packets

    def receive_packet(self, data: bytes, sender: tuple[str, int], now: float) -> None:
        """A datagram arrived. Malformed ones are counted and otherwise ignored."""
        self._now = now
        try:
            for kind, body in wire.split_packet(data):
                self._handle(kind, body, sender)
        except GossipError:
            self.counters.malformed += 1

    def _handle(self, kind: int, body: bytes, sender: tuple[str, int]) -> None:
        if kind == wire.USER:
            self._user_message(body)
            return
        fields = wire.unpack(body)
        if kind == wire.PING:
            self._on_ping(fields, sender)
        elif kind == wire.INDIRECT_PING:
            self._on_indirect_ping(fields, sender)
        elif kind == wire.ACK:
            self._acknowledged(wire.number(fields, "SeqNo", 1 << 32))
        elif kind == wire.NACK:
            if self._probe is not None and self._probe.sequence == wire.number(fields, "SeqNo", 1 << 32):
                self._probe.nacks += 1
        elif kind == wire.ALIVE:
            self._alive(Alive.decode(fields))
        elif kind == wire.SUSPECT:
            self._suspect(fields)
        elif kind == wire.DEAD:
            self._dead(fields)

    def _source(self, fields: dict[str, Any], sender: tuple[str, int]) -> tuple[str, int]:
        address, port = wire.raw(fields, "SourceAddr"), wire.number(fields, "SourcePort", 65536)
        if len(address) in (4, 16) and port:
            return address_text(address), port
        return sender

    def _on_ping(self, fields: dict[str, Any], sender: tuple[str, int]) -> None:
        wanted = wire.text(fields, "Node")
        if wanted and wanted != self.name:
            return
        body = {"Payload": b"", "SeqNo": wire.number(fields, "SeqNo", 1 << 32)}
        answer = [wire.message(wire.ACK, body)]
        asker = self._nodes.get(wire.text(fields, "SourceNode"))
        if asker is not None and asker.gone:
            answer.append(self._accusation(asker))  # It lives, and has to know that it is held to be dead.
        self._send(self._source(fields, sender), *answer)

    def _on_indirect_ping(self, fields: dict[str, Any], sender: tuple[str, int]) -> None:
        target = wire.raw(fields, "Target")
        if len(target) not in (4, 16) or len(self._relays) > 1024:
            return
        self._sequence += 1
        port = wire.number(fields, "Port", 65536) or self.settings.port
        self._relays[self._sequence] = _Relay(
            self._source(fields, sender),
            wire.number(fields, "SeqNo", 1 << 32),
            self._now + self.timing.probe_timeout,
            self._now + self.timing.probe_interval,
            bool(fields.get("Nack")),
        )
        self._send((address_text(target), port), self._ping(wire.text(fields, "Node"), self._sequence))

    def _address(self, node: Node) -> tuple[str, int]:
        return address_text(node.address), node.port or self.settings.port

    def _send(self, address: tuple[str, int], *messages: bytes) -> None:
        space = 1400 - sum(len(one) + 2 for one in messages) - 2
        for packet in wire.join_messages([*messages, *self._piggyback(space)]):
            self.outbox.append(SendPacket(address, packet))

    def _piggyback(self, space: int) -> list[bytes]:
        count = len(self._nodes)
        taken = self._queue.take(space, 2, count)
        space -= sum(len(one) + 2 for one in taken)
        for queue in (self._intents, self._events):
            user = queue.take(space, 3, len(self._serf))
            space -= sum(len(one) + 3 for one in user)
            taken.extend(bytes((wire.USER,)) + one for one in user)
        return taken

    def _gossip(self) -> None:
        if not self.undelivered:
            return
        targets = self._others(
            lambda node: not node.gone
            or (node.state is State.DEAD and self._now - node.changed < self.timing.gossip_to_dead)
        )
        self._random.shuffle(targets)
        for node in targets[: self.timing.gossip_nodes]:
            messages = self._piggyback(1398)
            if not messages:
                return
            for packet in wire.join_messages(messages):
                framed = wire.with_crc(packet) if node.versions[1] >= 5 else packet
                self.outbox.append(SendPacket(self._address(node), framed))

    # The member table

    def _alive(self, claim: Alive) -> None:
        node = self._nodes.get(claim.name)
        if claim.name == self.name:
            self._alive_about_me(claim)
            return
        reason = self.settings.admit(
            Member(claim.name, address_text(claim.address), claim.port, decode_tags(claim.meta), Status.ALIVE)
        )
        if reason:
            self.counters.refused += 1
            return
        if node is None:
            node = Node(claim.name, claim.address, claim.port, claim.meta, claim.versions, 0, State.DEAD, self._now)
            self._nodes[claim.name] = node
            self._probe_ring.insert(self._random.randrange(len(self._probe_ring) + 1), claim.name)
        elif (node.address, node.port) != (claim.address, claim.port):
            long_dead = node.state is State.DEAD and self._now - node.changed > self.timing.reclaim
            if node.state is not State.LEFT and not long_dead:
                return  # Somebody else uses the name.
        elif claim.incarnation <= node.incarnation:
            if node.gone:
                # It may be back and not know at which incarnation it was declared dead: told so, it outbids that.
                self._send(self._address(node), self._accusation(node))
            return
        was = node.state
        old = self._member(node)
        node.address, node.port, node.meta, node.versions = claim.address, claim.port, claim.meta, claim.versions
        node.incarnation = claim.incarnation
        self._suspicions.pop(claim.name, None)
        if was is not State.ALIVE:
            node.state, node.changed = State.ALIVE, self._now
        self._queue.add(claim.encode(), claim.name)
        if was in (State.DEAD, State.LEFT):
            self._serf_joined(node)
        elif self._member(node).key != old.key:
            self.outbox.append(MemberEvent(EventKind.UPDATE, self._member(node)))

    def _alive_about_me(self, claim: Alive) -> None:
        if self.leaving:
            return
        me = self._me()
        same = (claim.meta, claim.versions) == (me.meta, me.versions)
        if (claim.address, claim.port) != (me.address, me.port):
            return
        if claim.incarnation > self._incarnation or (claim.incarnation == self._incarnation and not same):
            self._refute(claim.incarnation)

    def _refute(self, accused: int) -> None:
        self._incarnation = max(self._incarnation + 1, accused + 1)
        self._health = min(7, self._health + 1)
        self._announce()

    def _repeat_myself(self, accused: str) -> None:
        """Somebody accuses at an incarnation that is over: if it is this member, its refutation never got there."""
        if accused == self.name and not self.leaving:
            self._announce()

    def _announce(self) -> None:
        me = self._me()
        node = self._nodes[self.name]
        node.incarnation, node.meta = me.incarnation, me.meta
        self._queue.add(me.encode(), self.name)

    def set_tags(self, tags: dict[str, str]) -> None:
        """Change this member's tags and tell the others. Raises GossipError when they are too large."""
        encode_tags(tags)
        self.settings = replace(self.settings, tags=dict(tags))
        self._incarnation += 1
        self._announce()
        self.outbox.append(MemberEvent(EventKind.UPDATE, self._member(self._nodes[self.name])))

    def _suspect(self, fields: dict[str, Any]) -> None:
        name, accuser = wire.text(fields, "Node"), wire.text(fields, "From")
        incarnation = wire.number(fields, "Incarnation", 1 << 32)
        node = self._nodes.get(name)
        if node is None or incarnation < node.incarnation:
            self._repeat_myself(name)
            return
        message = wire.message(wire.SUSPECT, {"From": accuser, "Incarnation": incarnation, "Node": name})
        running = self._suspicions.get(name)
        if running is not None:
            if running.confirm(accuser):
                self._queue.add(message, name)
            return
        if node.state is not State.ALIVE:
            return
        if name == self.name:
            self._refute(incarnation)
            return
        self._queue.add(message, name)
        node.incarnation, node.state, node.changed = incarnation, State.SUSPECT, self._now
        timing = self.timing
        self._suspicions[name] = suspicion(
            self._now, accuser, len(self._nodes), timing.suspicion, timing.suspicion_most, timing.probe_interval
        )

    def _dead(self, fields: dict[str, Any]) -> None:
        name, accuser = wire.text(fields, "Node"), wire.text(fields, "From")
        incarnation = wire.number(fields, "Incarnation", 1 << 32)
        node = self._nodes.get(name)
        if node is None or incarnation < node.incarnation:
            self._repeat_myself(name)
            return
        self._suspicions.pop(name, None)
        if node.gone:
            return
        if name == self.name and not self.leaving:
            self._refute(incarnation)
            return
        self._queue.add(wire.message(wire.DEAD, {"From": accuser, "Incarnation": incarnation, "Node": name}), name)
        node.incarnation, node.changed = incarnation, self._now
        node.state = State.LEFT if accuser == name else State.DEAD
        self._serf_gone(node)

    # Serf: status of members

    def _serf_joined(self, node: Node) -> None:
        entry = self._serf.get(node.name)
        if entry is None:
            entry = self._serf[node.name] = _SerfMember(Status.ALIVE, 0, self._now)
        entry.status, entry.since = Status.ALIVE, self._now
        kind, ltime, _ = self._early_intents.pop(node.name, (0, 0, 0.0))
        if ltime > entry.ltime:
            entry.ltime = ltime
            if kind == wire.LEAVE_INTENT:
                entry.status = Status.LEAVING
        self.outbox.append(MemberEvent(EventKind.JOIN, self._member(node)))

    def _serf_gone(self, node: Node) -> None:
        entry = self._serf.get(node.name)
        if entry is None:
            return
        left = entry.status is Status.LEAVING
        entry.status = Status.LEFT if left else Status.FAILED
        entry.since = self._now
        self.outbox.append(MemberEvent(EventKind.LEAVE if left else EventKind.FAILED, self._member(node)))

    def _user_message(self, body: bytes) -> None:
        if not body:
            raise GossipError("an empty user message")
        kind = body[0]
        if kind in (wire.LEAVE_INTENT, wire.JOIN_INTENT):
            fields = wire.unpack(body[1:])
            if self._intent(kind, wire.text(fields, "Node"), wire.number(fields, "LTime"), bool(fields.get("Prune"))):
                self._intents.add(body)
        elif kind == wire.USER_EVENT:
            fields = wire.unpack(body[1:])
            event = UserEvent(
                wire.text(fields, "Name"),
                wire.raw(fields, "Payload"),
                wire.number(fields, "LTime"),
                bool(fields.get("CC")),
            )
            if self._user_event(event):
                self._events.add(body)

    def _witness(self, ltime: int) -> None:
        if ltime >= self._clock:
            self._clock = ltime + 1

    def _intent(self, kind: int, name: str, ltime: int, prune: bool = False) -> bool:
        """Take in an intent; returns whether it is news that should be passed on."""
        self._witness(ltime)
        entry = self._serf.get(name)
        if entry is None:
            known = self._early_intents.get(name)
            if known is not None and known[1] >= ltime:
                return False
            if len(self._early_intents) < 4096:
                self._early_intents[name] = (kind, ltime, self._now)
            return True
        if ltime <= entry.ltime:
            return False
        if kind == wire.LEAVE_INTENT and name == self.name and not self.leaving:
            self._broadcast_intent(wire.JOIN_INTENT, name)  # Somebody says that this member is leaving; it is not.
            return False
        entry.ltime = ltime
        if kind == wire.JOIN_INTENT:
            if entry.status is Status.LEAVING:
                entry.status = Status.ALIVE
        elif entry.status is Status.ALIVE:
            entry.status = Status.LEAVING
        elif entry.status is Status.FAILED:
            entry.status, entry.since = Status.LEFT, self._now
            self.outbox.append(MemberEvent(EventKind.LEAVE, self._member(self._nodes[name])))
        if prune and entry.status in (Status.LEFT, Status.FAILED):
            self._forget(name)
        return True

    def _broadcast_intent(self, kind: int, name: str, prune: bool = False) -> None:
        ltime = self._clock
        self._clock += 1
        body: dict[str, Any] = {"LTime": ltime, "Node": name}
        if kind == wire.LEAVE_INTENT:
            body["Prune"] = prune
        self._intents.add(wire.message(kind, body))
        entry = self._serf.get(name)
        if entry is not None and kind == wire.JOIN_INTENT:
            entry.ltime = ltime
        elif kind == wire.LEAVE_INTENT:
            self._intent(kind, name, ltime, prune)

    def joined(self) -> None:
        """At least one exchange of a join succeeded: say so."""
        # Two that join through different members at the same moment may miss each other's news, which is told only a
        # few times. Another exchange soon saves them waiting for the regular one.
        soon = self._now + SETTLE_INTERVALS * self.timing.gossip_interval * (1 + self._random.random())
        self._next_push_pull = min(self._next_push_pull, soon)
        self._broadcast_intent(wire.JOIN_INTENT, self.name)

    def intend_to_leave(self) -> None:
        """First half of leaving: tell everybody that what follows is meant."""
        self.leaving = True
        self._broadcast_intent(wire.LEAVE_INTENT, self.name)

    def leave(self) -> None:
        """Second half of leaving: this member is gone."""
        self._dead({"Node": self.name, "From": self.name, "Incarnation": self._incarnation})

    def force_leave(self, name: str, prune: bool, now: float) -> bool:
        """Declare that a failed member has left; returns False when nobody of that name is known."""
        self._now = now
        if name not in self._serf or name == self.name:
            return False
        self._broadcast_intent(wire.LEAVE_INTENT, name, prune)
        return True

    # Serf: user events

    def fire(self, name: str, payload: bytes, coalesce: bool) -> None:
        """Send a user event to everybody, this member included. Raises GossipError when it is too large."""
        if len(name.encode()) + len(payload) > MAX_USER_EVENT:
            raise GossipError(f"user event exceeds configured limit of {MAX_USER_EVENT} bytes before encoding")
        event = UserEvent(name, payload, self._event_clock, coalesce)
        body = wire.message(
            wire.USER_EVENT, {"CC": coalesce, "LTime": event.ltime, "Name": name, "Payload": payload}
        )
        if len(body) > MAX_USER_EVENT:
            raise GossipError(f"user event exceeds sane limit of {MAX_USER_EVENT} bytes after encoding")
        self._event_clock += 1
        self._user_event(event)
        self._events.add(body)

    def _user_event(self, event: UserEvent) -> bool:
        ltime = event.ltime
        if ltime >= self._event_clock:
            self._event_clock = ltime + 1
        too_old = self._event_clock > EVENT_BUFFER and ltime < self._event_clock - EVENT_BUFFER
        if ltime < self._event_minimum or too_old:
            return False
        seen = self._seen_events.setdefault(ltime, set())
        key = (event.name, event.payload)
        if key in seen:
            return False
        seen.add(key)
        if len(self._seen_events) > EVENT_BUFFER:
            del self._seen_events[min(self._seen_events)]
        self.outbox.append(event)
        return True

    # Push/pull

    def local_state(self, join: bool) -> bytes:
        """Everything that this member knows, as a push/pull message."""
        nodes = list(self._nodes.values())
        self._random.shuffle(nodes)
        user = self._serf_state()
        parts = [
            bytes((wire.PUSH_PULL,)),
            wire.pack({"Join": join, "Nodes": len(nodes), "UserStateLen": len(user)}),
        ]
        for node in nodes:
            body = {
                "Addr": node.address,
                "Incarnation": node.incarnation,
                "Meta": node.meta,
                "Name": node.name,
                "Port": node.port,
                "State": int(node.state),
                "Vsn": node.versions,
            }
            parts.append(wire.pack(body))
        return b"".join(parts) + user

    def _serf_state(self) -> bytes:
        events = [
            {"Events": [{"Name": name, "Payload": payload} for name, payload in sorted(seen)], "LTime": ltime}
            for ltime, seen in sorted(self._seen_events.items())
        ]
        return wire.message(
            wire.STATE,
            {
                "EventLTime": self._event_clock,
                "Events": events,
                "LTime": self._clock,
                "LeftMembers": sorted(n for n, entry in self._serf.items() if entry.status is Status.LEFT),
                "QueryLTime": self._query_clock,
                "StatusLTimes": {name: entry.ltime for name, entry in sorted(self._serf.items())},
            },
        )

    def merge(
        self, nodes: list[dict[str, Any]], user: bytes, join: bool, now: float, ignore_old: bool = True
    ) -> None:
        """Take in another member's state. Raises GossipError when it is malformed or this pool is not its own."""
        self._now = now
        claims = [(Alive.decode(fields, "Name"), wire.number(fields, "State", 4)) for fields in nodes]
        if join:
            for claim, state in claims:
                member = Member(
                    claim.name, address_text(claim.address), claim.port, decode_tags(claim.meta), Status.ALIVE
                )
                reason = self.settings.admit(member) if state != State.LEFT and claim.name != self.name else ""
                if reason:
                    raise GossipError(f"merge refused: {reason}")
        for claim, state in claims:
            accusation = {"Node": claim.name, "Incarnation": claim.incarnation}
            if state == State.ALIVE:
                self._alive(claim)
            elif state == State.LEFT:
                self._dead({**accusation, "From": claim.name})
            else:
                self._suspect({**accusation, "From": self.name})
        if user:
            self._merge_serf(user, join and ignore_old)

    def _merge_serf(self, user: bytes, ignore_old: bool) -> None:
        if user[0] != wire.STATE:
            raise GossipError("the user state of a push/pull is not serf's")
        fields = wire.unpack(user[1:])
        self._witness(max(0, wire.number(fields, "LTime") - 1))
        event_time = wire.number(fields, "EventLTime")
        left = fields.get("LeftMembers") or []
        times = fields.get("StatusLTimes") or {}
        if not isinstance(left, list) or not isinstance(times, dict):
            raise GossipError("the user state of a push/pull is malformed")
        gone = {name for name in left if isinstance(name, str)}
        for name, ltime in times.items():
            if isinstance(name, str) and isinstance(ltime, int) and 0 <= ltime < 1 << 64:
                if name in gone:
                    self._intent(wire.LEAVE_INTENT, name, ltime + 1)
                else:
                    self._intent(wire.JOIN_INTENT, name, ltime)
        if ignore_old and event_time > self._event_minimum:
            self._event_minimum = event_time
        self._event_clock = max(self._event_clock, event_time)
        for group in fields.get("Events") or []:
            if isinstance(group, dict):
                for event in group.get("Events") or []:
                    if isinstance(event, dict):
                        name, payload = wire.text(event, "Name"), wire.raw(event, "Payload")
                        self._user_event(UserEvent(name, payload, wire.number(group, "LTime"), False))
