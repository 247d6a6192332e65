"""Serf's queries: a question to all members, or to those that filters choose, and their answers.

Answers come directly, by UDP; with a relay factor some other members pass a copy on. Queries whose name begins with
`_serf_` are serf's own and answered here (`gossip.key_answers` for those about keys).
"""

import ipaddress
import math
from dataclasses import dataclass, field
from typing import Any

from gossip import key_answers, wire
from gossip.interface import Member, QueryAnswered, Status
from gossip.members import State
from gossip.pool import Pool, address_text
from gossip.wire import GossipError
from model.goregexp import RegexpError, compile_regexp

QUERY_BUFFER = 512
MAX_QUERY = 1024
MAX_ANSWER = 1024
TIMEOUT_ROUNDS = 16
"""A query's time: so many gossip intervals for each round that it takes to reach everybody."""
MAX_RELAYS = 5
ACK = 1
NO_BROADCAST = 2
_FILTER_NODES, _FILTER_TAG = 0, 1
_SECOND = 1_000_000_000


@dataclass
class Query:
    """A query of this member that is under way."""

    number: int
    ltime: int
    deadline: float
    acks: set[str] = field(default_factory=set)
    answers: dict[str, bytes] = field(default_factory=dict)


class Queries:
    """Asks, answers, and passes on."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.clock = 1
        self.minimum = 0
        """Queries before this time are old news."""
        self._seen: dict[int, set[int]] = {}
        self._running: dict[int, Query] = {}

    def witness(self, ltime: int) -> None:
        """Somebody's clock is at this."""
        self.clock = wire.witnessed(self.clock, ltime)

    def tick(self) -> None:
        """Forget what nobody waits for any more."""
        for number, query in list(self._running.items()):
            if self._pool.now >= query.deadline:
                del self._running[number]

    # Asking

    def default_timeout(self) -> float:
        """Seconds that a query needs to reach everybody and come back."""
        rounds = math.ceil(math.log10(len(self._pool.serf) + 1))
        return self._pool.timing.gossip_interval * TIMEOUT_ROUNDS * rounds

    def ask(self, name: str, payload: bytes, relay_factor: int = 0, ack: bool = False) -> Query:
        """Ask all members, this one included. Raises GossipError when the question is too large."""
        pool = self._pool
        me, timeout = pool.me, self.default_timeout()
        query = Query(pool.random.getrandbits(31), self.clock, pool.now + timeout)
        fields = {
            "Addr": me.address,
            "Filters": None,
            "Flags": ACK if ack else 0,
            "ID": query.number,
            "LTime": query.ltime,
            "Name": name,
            "Payload": payload,
            "Port": me.port,
            "RelayFactor": min(MAX_RELAYS, max(0, relay_factor)),
            "SourceNode": pool.name,
            "Timeout": round(timeout * _SECOND),
        }
        body = wire.message(wire.QUERY, fields)
        if len(body) > MAX_QUERY:
            raise GossipError(f"query exceeds limit of {MAX_QUERY} bytes")
        self._running[query.number] = query
        self.on_query(body)
        return query

    def on_answer(self, fields: dict[str, Any]) -> None:
        """An answer to a query arrived. Raises GossipError when it is malformed."""
        query = self._running.get(wire.number(fields, "ID", 1 << 32))
        if query is None or wire.ltime(fields) != query.ltime:
            return
        sender = wire.text(fields, "From")
        if wire.number(fields, "Flags", 1 << 32) & ACK:
            query.acks.add(sender)
        else:
            query.answers.setdefault(sender, wire.raw(fields, "Payload"))
        self._pool.outbox.append(QueryAnswered(query.number))

    # Answering

    def on_query(self, body: bytes) -> bool:
        """Take in a query; returns whether it was for this member. Raises GossipError when it is malformed."""
        pool, fields = self._pool, wire.unpack(body[1:])
        ltime, number = wire.ltime(fields), wire.number(fields, "ID", 1 << 32)
        flags = wire.number(fields, "Flags", 1 << 32)
        filters = fields.get("Filters") or []
        if not isinstance(filters, list):
            raise GossipError("Filters is not a list")
        self.witness(ltime)
        if ltime < self.minimum or (self.clock > QUERY_BUFFER and ltime < self.clock - QUERY_BUFFER):
            return False
        seen = self._seen.setdefault(ltime, set())
        if number in seen or len(seen) >= QUERY_BUFFER:
            return False
        seen.add(number)
        if len(self._seen) > QUERY_BUFFER:
            del self._seen[min(self._seen)]
        if not flags & NO_BROADCAST:
            pool.queries.add(body)
        tags = pool.settings.tags
        if not all(passes(wire.raw({"filter": one}, "filter"), pool.name, tags) for one in filters):
            return False
        if flags & ACK:
            self._answer(fields, ACK, None)
        answer = self._carry_out(wire.text(fields, "Name"), wire.raw(fields, "Payload"))
        if answer is not None:
            self._answer(fields, 0, answer)
        return True

    def _carry_out(self, name: str, payload: bytes) -> bytes | None:
        settings = self._pool.settings
        if name in key_answers.OPERATIONS:
            return key_answers.answer(name, payload, settings.envelope.keyring, settings.save_keys, MAX_ANSWER - 256)
        if name == "_serf_conflict":
            return self._who_is(payload.decode("utf-8", "surrogateescape"))
        return None

    def _who_is(self, name: str) -> bytes | None:
        """The member of a name that several claim, as this member knows it; the bearers themselves say nothing."""
        if name == self._pool.name:
            return None
        node = self._pool.nodes.get(name)
        if node is None or name not in self._pool.serf:
            return bytes((wire.CONFLICT_RESPONSE, 0xC0))
        return conflict_answer(self._pool.member(node), node.address)

    def _answer(self, query: dict[str, Any], flags: int, payload: bytes | None) -> None:
        pool = self._pool
        fields = {
            "Flags": flags,
            "From": pool.name,
            "ID": wire.number(query, "ID", 1 << 32),
            "LTime": wire.ltime(query),
            "Payload": payload,
        }
        if wire.text(query, "SourceNode") == pool.name:
            self.on_answer(fields)
            return
        address, port = wire.raw(query, "Addr"), wire.number(query, "Port", 65536)
        body = wire.message(wire.QUERY_RESPONSE, fields)
        if len(address) not in (4, 16) or len(body) > MAX_ANSWER:
            return
        pool.put((address_text(address), port), bytes((wire.USER,)) + body)
        relays = min(MAX_RELAYS, wire.number(query, "RelayFactor", 256))
        if relays and len(pool.serf) >= relays + 1:
            self._relay(relays, address, port, wire.text(query, "SourceNode"), body)

    def _relay(self, count: int, address: bytes, port: int, name: str, body: bytes) -> None:
        pool = self._pool
        target = {"IP": address, "Port": port, "Zone": ""}
        message = wire.message(wire.RELAY, {"DestAddr": target, "DestName": name}) + body
        if len(message) > MAX_ANSWER:
            return
        for node in pool.some(
            count, lambda node: node.state is State.ALIVE and node.versions[1] >= 5 and node.name != name
        ):
            pool.put(pool.address(node), bytes((wire.USER,)) + message)

    def on_relay(self, body: bytes) -> None:
        """Somebody wants an answer passed on. Raises GossipError when it is malformed."""
        fields, rest = wire.unpack_from(body[1:])
        target = fields.get("DestAddr")
        if not isinstance(target, dict):
            raise GossipError("DestAddr is not an address")
        address, port = wire.raw(target, "IP"), wire.number(target, "Port", 65536)
        if len(address) not in (4, 16) or not port:
            raise GossipError("DestAddr is not an address")
        if rest[:1] != bytes((wire.QUERY_RESPONSE,)):
            raise GossipError("only answers to queries are passed on")
        where = address_text(address)
        # Packets go to members only: nobody can make this member send to whom they please.
        if any(address_text(node.address) == where and node.port == port for node in self._pool.nodes.values()):
            self._pool.put((where, port), bytes((wire.USER,)) + rest)


def passes(rule: bytes, name: str, tags: dict[str, str]) -> bool:
    """Whether a query's filter chooses a member; unknown and malformed ones choose nobody."""
    kind, body = rule[:1], rule[1:]
    try:
        if kind == bytes((_FILTER_NODES,)):
            names = wire.unpack_list(body)
            return name in names
        if kind == bytes((_FILTER_TAG,)):
            fields = wire.unpack(body)
            return compile_regexp(wire.text(fields, "Expr")).found_in(tags.get(wire.text(fields, "Tag"), ""))
    except (GossipError, RegexpError):
        return False
    return False


def conflict_answer(member: Member, address: bytes) -> bytes:
    """A member as the answer to `_serf_conflict`."""
    low, high, current, delegate_low, delegate_high, delegate_current = member.versions
    return wire.message(
        wire.CONFLICT_RESPONSE,
        {
            "Addr": address,
            "DelegateCur": delegate_current,
            "DelegateMax": delegate_high,
            "DelegateMin": delegate_low,
            "Name": member.name,
            "Port": member.port,
            "ProtocolCur": current,
            "ProtocolMax": high,
            "ProtocolMin": low,
            "Status": int(member.status if member.status is not Status.NONE else Status.ALIVE),
            "Tags": member.tags,
        },
    )


def host_port(address: str, port: int) -> str:
    """An address and a port as text; IPv6 in brackets."""
    return f"[{address}]:{port}" if ipaddress.ip_address(address).version == 6 else f"{address}:{port}"
