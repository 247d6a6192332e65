"""Failure detection: each interval one member is pinged; others help when it does not answer.

An answer that comes too late makes this member doubt itself: with a worse health score it waits longer for others.
"""

from dataclasses import dataclass
from typing import Any

from gossip import wire
from gossip.interface import StreamPing
from gossip.members import State
from gossip.pool import Pool, address_text
from gossip.table import MOST_HEALTH, Table

MAX_RELAYS = 1024


@dataclass
class _Probe:
    node: str
    sequence: int
    sent: float
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


class Prober:
    """Pings, and answers pings."""

    def __init__(self, pool: Pool, table: Table) -> None:
        self._pool = pool
        self._table = table
        self._probe: _Probe | None = None
        self._relays: dict[int, _Relay] = {}
        self._next = pool.now + pool.random.random() * pool.timing.probe_interval

    def tick(self) -> None:
        """Do what is due."""
        now, timing = self._pool.now, self._pool.timing
        probe = self._probe
        if probe is not None:
            if now >= probe.indirect_at and not probe.asked:
                self._ask_others(probe)
            if now >= probe.ends:
                self._probe = None
                self._failed(probe)
        if now >= self._next and self._probe is None:
            self._next = max(self._next + timing.probe_interval, now)
            self._start()
        for sequence, relay in list(self._relays.items()):
            if now >= relay.nack_at and relay.nack:
                relay.nack = False
                self._pool.send(relay.to, wire.message(wire.NACK, {"SeqNo": relay.sequence}))
            if now >= relay.ends:
                del self._relays[sequence]

    def _start(self) -> None:
        pool, ring = self._pool, self._table.probe_ring
        for _ in range(len(ring) + 1):
            if not ring:
                self._table.drop_long_dead()
                ring.extend(name for name in pool.nodes if name != pool.name)
                pool.random.shuffle(ring)
                if not ring:
                    return
            node = pool.nodes.get(ring.pop())
            if node is not None and not node.gone:
                break
        else:
            return
        sequence = pool.next_sequence()
        interval = pool.timing.probe_interval * (pool.health + 1)
        self._probe = _Probe(node.name, sequence, pool.now, pool.now + interval, pool.now + pool.timing.probe_timeout)
        messages = [self._ping(node.name, sequence)]
        if node.state is State.SUSPECT:
            messages.append(self._table.accusation(node))
        pool.send(pool.address(node), *messages)

    def _ping(self, node: str, sequence: int) -> bytes:
        return wire.message(wire.PING, {"Node": node, "SeqNo": sequence, **self._source()})

    def _source(self) -> dict[str, Any]:
        me = self._pool.me
        return {"SourceAddr": me.address, "SourceNode": me.name, "SourcePort": me.port}

    def _ask_others(self, probe: _Probe) -> None:
        pool = self._pool
        probe.asked = True
        target = pool.nodes.get(probe.node)
        if target is None:
            return
        for helper in pool.some(
            pool.timing.indirect_checks, lambda node: node.state is State.ALIVE and node.name != probe.node
        ):
            wants_nack = helper.versions[1] >= 4
            probe.nacks_expected += wants_nack
            body = {
                "Nack": wants_nack,
                "Node": target.name,
                "Port": target.port,
                "SeqNo": probe.sequence,
                "Target": target.address,
                **self._source(),
            }
            pool.send(pool.address(helper), wire.message(wire.INDIRECT_PING, body))
        if target.versions[1] >= 3:
            left = max(0.05, probe.ends - pool.now)
            pool.outbox.append(StreamPing(pool.address(target), target.name, probe.sequence, left))

    def _failed(self, probe: _Probe) -> None:
        pool = self._pool
        missing = probe.nacks_expected - probe.nacks if probe.nacks_expected else 1
        pool.health = min(MOST_HEALTH, pool.health + max(0, missing))
        node = pool.nodes.get(probe.node)
        if node is not None:
            self._table.suspect({"Node": node.name, "From": pool.name, "Incarnation": node.incarnation})

    # Answers

    def acknowledged(self, sequence: int, payload: bytes = b"") -> None:
        """A ping was answered; `payload` says where the other member is."""
        pool, probe = self._pool, self._probe
        if probe is not None and probe.sequence == sequence:
            if not probe.asked:  # Afterwards the answer may have come by a detour.
                pool.measured(probe.node, payload, pool.now - probe.sent)
            self._probe = None
            pool.health = max(0, pool.health - 1)
            return
        relay = self._relays.pop(sequence, None)
        if relay is not None:
            pool.send(relay.to, wire.message(wire.ACK, {"Payload": None, "SeqNo": relay.sequence}))

    def not_acknowledged(self, sequence: int) -> None:
        """A helper says that it got no answer either; so at least the helper is well."""
        if self._probe is not None and self._probe.sequence == sequence:
            self._probe.nacks += 1

    # Questions

    def on_ping(self, fields: dict[str, Any], sender: tuple[str, int]) -> None:
        """Somebody asks whether this member is there. Raises GossipError for malformed fields."""
        pool = self._pool
        wanted = wire.text(fields, "Node")
        if wanted and wanted != pool.name:
            return
        body = {"Payload": pool.place_payload, "SeqNo": wire.number(fields, "SeqNo", 1 << 32)}
        answer = [wire.message(wire.ACK, body)]
        asker = pool.nodes.get(wire.text(fields, "SourceNode"))
        if asker is not None and asker.gone:
            answer.append(self._table.accusation(asker))  # It lives, and has to know that it is held to be dead.
        pool.send(_source_of(fields, sender), *answer)

    def on_indirect_ping(self, fields: dict[str, Any], sender: tuple[str, int]) -> None:
        """Somebody asks to ping another member. Raises GossipError for malformed fields."""
        pool = self._pool
        target = wire.raw(fields, "Target")
        if len(target) not in (4, 16) or len(self._relays) > MAX_RELAYS:
            return
        sequence = pool.next_sequence()
        port = wire.number(fields, "Port", 65536) or pool.settings.port
        self._relays[sequence] = _Relay(
            _source_of(fields, sender),
            wire.number(fields, "SeqNo", 1 << 32),
            pool.now + pool.timing.probe_timeout,
            pool.now + pool.timing.probe_interval,
            bool(fields.get("Nack")),
        )
        pool.send((address_text(target), port), self._ping(wire.text(fields, "Node"), sequence))


def _source_of(fields: dict[str, Any], sender: tuple[str, int]) -> tuple[str, int]:
    address, port = wire.raw(fields, "SourceAddr"), wire.number(fields, "SourcePort", 65536)
    if len(address) in (4, 16) and port:
        return address_text(address), port
    return sender
