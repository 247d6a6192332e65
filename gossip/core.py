"""The gossip protocol as one sans-IO machine: packets, streams and time in; packets, dials and events out.

The caller hands in the time (seconds of any steady clock) and a random source, and empties `outbox` after each call.

    table        which claims about members are believed
    probing      who answers pings
    serf         who leaves on purpose, who fails, who is forgotten
    user_events  small messages to everybody
    queries      questions to everybody, among them those about keys
    exchange     all of what one knows, to one other
    pool         what these share: the nodes, the queues, the outbox

Source: memberlist and serf as published; timings are theirs.
"""

import math
from random import Random
from typing import Any

from gossip import wire
from gossip.coordinates import Place
from gossip.envelope import UndecipherableError
from gossip.exchange import Exchange
from gossip.interface import LAN as LAN
from gossip.interface import LOCAL as LOCAL
from gossip.interface import WAN as WAN
from gossip.interface import Counters, Notice, Output
from gossip.interface import EventKind as EventKind
from gossip.interface import Member as Member
from gossip.interface import MemberEvent as MemberEvent
from gossip.interface import PushPull as PushPull
from gossip.interface import SendPacket as SendPacket
from gossip.interface import Settings as Settings
from gossip.interface import Status as Status
from gossip.interface import StreamPing as StreamPing
from gossip.interface import Timing as Timing
from gossip.interface import UserEvent as UserEvent
from gossip.interface import decode_tags as decode_tags
from gossip.interface import encode_tags as encode_tags
from gossip.members import Alive, State
from gossip.pool import Pool
from gossip.probing import Prober
from gossip.queries import Queries, Query
from gossip.serf import Serf
from gossip.table import Table
from gossip.user_events import UserEvents
from gossip.wire import GossipError

SETTLE_INTERVALS = 5
"""Gossip intervals after which a newcomer exchanges its state once more; up to twice as many."""
REAP_INTERVAL = 15.0


class Core:
    """One member of a pool."""

    def __init__(self, settings: Settings, random: Random, now: float) -> None:
        self.pool = Pool(settings, random, now)
        self.serf = Serf(self.pool)
        self.table = Table(self.pool, self.serf)
        self.prober = Prober(self.pool, self.table)
        self.events = UserEvents(self.pool)
        self.queries = Queries(self.pool)
        self.exchange = Exchange(self.pool, self.table, self.serf, self.events, self.queries)
        self.name = settings.name
        self.timing = settings.timing
        self._next_gossip = now + self.timing.gossip_interval
        self._next_push_pull = now + self.timing.push_pull_interval * (1 + random.random())
        self._next_reconnect = now + self.timing.reconnect_interval
        self._next_reap = now + REAP_INTERVAL

    @property
    def outbox(self) -> list[Output]:
        """What is to be done and told, in order; the caller empties it."""
        return self.pool.outbox

    @outbox.setter
    def outbox(self, outputs: list[Output]) -> None:
        self.pool.outbox = outputs

    # What can be seen

    @property
    def settings(self) -> Settings:
        """Who this member is now."""
        return self.pool.settings

    @property
    def counters(self) -> Counters:
        """What went wrong."""
        return self.pool.counters

    def members(self) -> list[Member]:
        """All members that are known, by name."""
        pool = self.pool
        return [pool.member(pool.nodes[name]) for name in sorted(pool.serf) if name in pool.nodes]

    def member(self, name: str) -> Member | None:
        """One member."""
        node = self.pool.nodes.get(name)
        return self.pool.member(node) if node is not None and name in self.pool.serf else None

    @property
    def health_score(self) -> int:
        """0 when all is well, up to 7 when this member itself seems to be in trouble."""
        return self.pool.health

    def stats(self) -> dict[str, str]:
        """Figures in the manner of `consul info`'s serf section."""
        pool = self.pool
        count = [entry.status for entry in pool.serf.values()].count
        return {
            "coordinate_resets": str(pool.vivaldi.resets if pool.vivaldi is not None else 0),
            "encrypted": "true" if pool.settings.envelope.keyring is not None else "false",
            "event_queue": str(len(pool.events)),
            "event_time": str(self.events.clock),
            "failed": str(count(Status.FAILED)),
            "health_score": str(pool.health),
            "intent_queue": str(len(pool.intents)),
            "left": str(count(Status.LEFT)),
            "member_time": str(self.serf.clock),
            "members": str(len(pool.serf)),
            "query_queue": str(len(pool.queries)),
            "query_time": str(self.queries.clock),
        }

    @property
    def clocks(self) -> tuple[int, int, int]:
        """The Lamport times that were seen last: of intents, events and queries."""
        return self.serf.clock - 1, self.events.clock - 1, self.queries.clock - 1

    def remember(self, intent: int, event: int, query: int) -> None:
        """Go on from the clocks of an earlier life; older events and queries are old news."""
        self.serf.witness(intent)
        self.queries.witness(query)
        self.events.clock = wire.witnessed(self.events.clock, event)
        self.events.minimum = max(self.events.minimum, event + 1 if event else 0)
        self.queries.minimum = max(self.queries.minimum, query + 1 if query else 0)

    @property
    def undelivered(self) -> int:
        """Messages that wait to be told."""
        return self.pool.undelivered

    @property
    def nodes_alive(self) -> int:
        """Members that are there, this one included."""
        return sum(not node.gone for node in self.pool.nodes.values())

    @property
    def others_alive(self) -> bool:
        """Whether there is anybody to tell."""
        return any(name != self.name and not node.gone for name, node in self.pool.nodes.items())

    def place(self, name: str = "") -> Place | None:
        """Where a member said that it is; this one without a name. None when that is not known."""
        pool = self.pool
        if pool.vivaldi is None or name not in ("", self.name):
            return pool.places.get(name)
        return pool.vivaldi.place

    # Time

    def tick(self, now: float) -> None:
        """Do what is due. Call it often: four times in each gossip interval, and at least every 100 ms."""
        self.pool.now = now
        self.prober.tick()
        self.table.tick()
        self.queries.tick()
        if now >= self._next_gossip:
            self._next_gossip = now + self.timing.gossip_interval
            self.pool.gossip()
        if now >= self._next_push_pull:
            self._next_push_pull = now + self.timing.push_pull_interval * self._push_pull_scale()
            for node in self.pool.some(1, lambda node: node.state is State.ALIVE):
                self.outbox.append(PushPull(self.pool.address(node), False))
        if now >= self._next_reconnect:
            self._next_reconnect = now + self.timing.reconnect_interval
            self._reconnect()
        if now >= self._next_reap:
            self._next_reap = now + REAP_INTERVAL
            self.serf.reap()

    def _push_pull_scale(self) -> int:
        nodes = len(self.pool.nodes)
        return 1 if nodes <= 32 else math.ceil(math.log2(nodes) - 5) + 1

    def _reconnect(self) -> None:
        pool = self.pool
        failed = [name for name, entry in pool.serf.items() if entry.status is Status.FAILED]
        alive = sum(entry.status is Status.ALIVE for entry in pool.serf.values())
        if failed and pool.random.random() < len(failed) / max(1, alive):
            name = pool.random.choice(sorted(failed))
            self.outbox.append(PushPull(pool.address(pool.nodes[name]), True))

    # Packets

    def receive_packet(self, data: bytes, sender: tuple[str, int], now: float) -> None:
        """A datagram arrived. Malformed ones are counted and otherwise ignored."""
        pool = self.pool
        pool.now = now
        try:
            for kind, body in wire.split_packet(pool.settings.envelope.open_packet(data)):
                self._handle(kind, body, sender)
        except UndecipherableError as error:
            pool.counters.undecipherable += 1
            self.outbox.append(Notice(f"Decrypt packet failed: {error} from={sender[0]}:{sender[1]}", sender[0]))
        except GossipError:
            pool.counters.malformed += 1

    def _handle(self, kind: int, body: bytes, sender: tuple[str, int]) -> None:
        if kind == wire.USER:
            self._user_message(body)
            return
        fields = wire.unpack(body)
        if kind == wire.PING:
            self.prober.on_ping(fields, sender)
        elif kind == wire.INDIRECT_PING:
            self.prober.on_indirect_ping(fields, sender)
        elif kind == wire.ACK:
            self.prober.acknowledged(wire.number(fields, "SeqNo", 1 << 32), wire.raw(fields, "Payload"))
        elif kind == wire.NACK:
            self.prober.not_acknowledged(wire.number(fields, "SeqNo", 1 << 32))
        elif kind == wire.ALIVE:
            self._alive(fields, sender)
        elif kind == wire.SUSPECT:
            self.table.suspect(fields)
        elif kind == wire.DEAD:
            self.table.dead(fields)

    def _alive(self, fields: dict[str, Any], sender: tuple[str, int]) -> None:
        if not self.settings.allowed(sender[0]):
            self.pool.counters.refused += 1
            text = f"Blocked alive message from {sender[0]}:{sender[1]}: it is not in the allowed CIDRs"
            self.outbox.append(Notice(text, sender[0]))
            return
        self.table.alive(Alive.decode(fields))

    def _user_message(self, body: bytes) -> None:
        if not body:
            raise GossipError("an empty user message")
        kind = body[0]
        if kind in (wire.LEAVE_INTENT, wire.JOIN_INTENT):
            fields = wire.unpack(body[1:])
            name, ltime = wire.text(fields, "Node"), wire.ltime(fields)
            if self.serf.intent(kind, name, ltime, bool(fields.get("Prune"))):
                self.pool.intents.add(body)
        elif kind == wire.USER_EVENT:
            self.events.on_event(body)
        elif kind == wire.QUERY:
            self.queries.on_query(body)
        elif kind == wire.QUERY_RESPONSE:
            self.queries.on_answer(wire.unpack(body[1:]))
        elif kind == wire.RELAY:
            self.queries.on_relay(body)

    def stream_ack(self, sequence: int) -> None:
        """A TCP ping was answered."""
        self.prober.acknowledged(sequence)

    # Joining and leaving

    def joined(self) -> None:
        """At least one exchange of a join succeeded: say so."""
        # Two that join through different members at the same moment may miss each other's news, which is told only a
        # few times. Another exchange soon saves them waiting for the regular one.
        random = self.pool.random.random()
        soon = self.pool.now + SETTLE_INTERVALS * self.timing.gossip_interval * (1 + random)
        self._next_push_pull = min(self._next_push_pull, soon)
        self.serf.tell(wire.JOIN_INTENT, self.name)

    def intend_to_leave(self) -> None:
        """First half of leaving: tell everybody that what follows is meant."""
        self.pool.leaving = True
        self.serf.tell(wire.LEAVE_INTENT, self.name)

    def leave(self) -> None:
        """Second half of leaving: this member is gone."""
        self.table.dead({"Node": self.name, "From": self.name, "Incarnation": self.pool.incarnation})

    def force_leave(self, name: str, prune: bool, now: float) -> bool:
        """Declare that a failed member has left; returns False when nobody of that name is known."""
        self.pool.now = now
        if name not in self.pool.serf or name == self.name:
            return False
        self.serf.tell(wire.LEAVE_INTENT, name, prune)
        return True

    def set_tags(self, tags: dict[str, str]) -> None:
        """Change this member's tags and tell the others. Raises GossipError when they are too large."""
        self.table.set_tags(tags)

    # Events, queries, exchanges

    def fire(self, name: str, payload: bytes, coalesce: bool) -> None:
        """Send a user event to everybody, this member included. Raises GossipError when it is too large."""
        self.events.fire(name, payload, coalesce)

    def ask(self, name: str, payload: bytes, relay_factor: int, now: float, ack: bool = False) -> Query:
        """Ask all members, this one included. Raises GossipError when the question is too large."""
        self.pool.now = now
        return self.queries.ask(name, payload, relay_factor, ack)

    def local_state(self, join: bool) -> bytes:
        """Everything that this member knows, as a push/pull message."""
        return self.exchange.state(join)

    def merge(self, nodes: list[dict[str, Any]], user: bytes, join: bool, now: float, ignore_old: bool = True) -> None:
        """Take in another member's state. Raises GossipError when it is malformed or this pool is not its own."""
        self.pool.now = now
        self.exchange.merge(nodes, user, join, ignore_old)
