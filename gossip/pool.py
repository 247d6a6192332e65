"""What all parts of the core share: this member, the nodes it knows, the time, and what is still to be sent."""

import ipaddress
import math
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from gossip import wire
from gossip.broadcasts import Broadcasts
from gossip.coordinates import Place, Vivaldi, decode_place
from gossip.interface import Counters, Member, Output, SendPacket, Settings, Status, decode_tags, encode_tags
from gossip.members import Alive, Node, State
from gossip.wire import GossipError

MAX_PACKET = 1400
"""Bytes of a packet that crosses every network whole."""


@dataclass
class SerfMember:
    """What serf knows of a member: its status, the time of the last intent about it, and since when.

    `prune_at` is when it is to be forgotten, if it has not come back by then.
    """

    status: Status
    ltime: int
    since: float
    prune_at: float = math.inf


def address_text(address: bytes) -> str:
    """An address of 4 or 16 bytes as text."""
    return str(ipaddress.ip_address(address))


class Pool:
    """The pool as this member sees it, and its letter box."""

    def __init__(self, settings: Settings, random: Random, now: float) -> None:
        self.settings = settings
        self.timing = settings.timing
        self.name = settings.name
        self.random = random
        self.now = now
        self.outbox: list[Output] = []
        self.counters = Counters()
        self.incarnation = 1
        self.health = 0
        self.leaving = False
        self.nodes: dict[str, Node] = {}
        self.serf: dict[str, SerfMember] = {}
        self.claims = Broadcasts(self.timing.retransmit)
        self.intents = Broadcasts(self.timing.retransmit)
        self.queries = Broadcasts(self.timing.retransmit)
        self.events = Broadcasts(self.timing.retransmit)
        self.vivaldi = Vivaldi(random) if settings.coordinates else None
        self.places: dict[str, Place] = {}
        """Where other members said that they are, by name."""
        self._sequence = 0

    def next_sequence(self) -> int:
        """A new number for a ping."""
        self._sequence = (self._sequence + 1) % (1 << 32)
        return self._sequence

    @property
    def me(self) -> Alive:
        """What this member claims about itself."""
        settings = self.settings
        packed = ipaddress.ip_address(settings.address).packed
        meta = encode_tags(settings.tags)
        return Alive(self.name, packed, settings.port, meta, wire.VERSIONS, self.incarnation)

    def member(self, node: Node) -> Member:
        """A node as others see it."""
        entry = self.serf.get(node.name)
        status = entry.status if entry else Status.NONE
        return Member(node.name, address_text(node.address), node.port, decode_tags(node.meta), status, node.versions)

    def others(self, wanted: Callable[[Node], bool]) -> list[Node]:
        """The other nodes that are wanted, by name."""
        return [node for name, node in sorted(self.nodes.items()) if name != self.name and wanted(node)]

    def some(self, count: int, wanted: Callable[[Node], bool]) -> list[Node]:
        """Up to so many of the other nodes that are wanted, by chance."""
        found = self.others(wanted)
        self.random.shuffle(found)
        return found[:count]

    def address(self, node: Node) -> tuple[str, int]:
        """Where a node listens."""
        return address_text(node.address), node.port or self.settings.port

    @property
    def undelivered(self) -> int:
        """Messages that wait to be told."""
        return len(self.claims) + len(self.intents) + len(self.queries) + len(self.events)

    # Where members are

    @property
    def place_payload(self) -> bytes:
        """What acknowledgements of this member carry: where it is."""
        return self.vivaldi.place.encode() if self.vivaldi is not None else b""

    def measured(self, name: str, payload: bytes, rtt: float) -> None:
        """A member acknowledged a ping after so many seconds; what is of no use is ignored."""
        if self.vivaldi is None or name not in self.nodes:
            return
        try:
            place = decode_place(payload)
            if place is not None:
                self.vivaldi.update(name, place, rtt)
                self.places[name] = place
        except GossipError:
            self.counters.malformed += 1

    def forget(self, name: str) -> None:
        """Forget where a member was."""
        self.places.pop(name, None)
        if self.vivaldi is not None:
            self.vivaldi.forget(name)

    # Sending

    def send(self, address: tuple[str, int], *messages: bytes) -> None:
        """Send messages, and with them what fits of what is still to be told."""
        space = self.space - sum(len(one) + 2 for one in messages)
        for packet in wire.join_messages([*messages, *self.piggyback(space)]):
            self.put(address, packet)

    def put(self, address: tuple[str, int], packet: bytes) -> None:
        """Send a packet as it is, but for its envelope."""
        self.outbox.append(SendPacket(address, self.settings.envelope.close_packet(packet)))

    @property
    def space(self) -> int:
        """Bytes for the messages of a packet."""
        return MAX_PACKET - 2 - self.settings.envelope.overhead

    def piggyback(self, space: int) -> list[bytes]:
        """Messages that wait to be told and fit into so many bytes; they count as sent."""
        taken = self.claims.take(space, 2, len(self.nodes))
        space -= sum(len(one) + 2 for one in taken)
        for queue in (self.intents, self.queries, self.events):
            user = queue.take(space, 3, len(self.serf))
            space -= sum(len(one) + 3 for one in user)
            taken.extend(bytes((wire.USER,)) + one for one in user)
        return taken

    def gossip(self) -> None:
        """Tell a few members what is still to be told."""
        if not self.undelivered:
            return
        timing = self.timing
        for node in self.some(
            timing.gossip_nodes,
            lambda node: (
                not node.gone or (node.state is State.DEAD and self.now - node.changed < timing.gossip_to_dead)
            ),
        ):
            messages = self.piggyback(self.space)
            if not messages:
                return
            for packet in wire.join_messages(messages):
                self.put(self.address(node), wire.with_crc(packet) if node.versions[1] >= 5 else packet)
