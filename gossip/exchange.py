"""Push/pull: two members exchange everything that they know over a stream."""

from typing import Any

from gossip import wire
from gossip.interface import Status, UserEvent
from gossip.members import Alive, State
from gossip.pool import Pool
from gossip.queries import Queries
from gossip.serf import Serf
from gossip.table import Table
from gossip.user_events import UserEvents
from gossip.versions import Spoken, problem_among
from gossip.wire import GossipError


class Exchange:
    """Says what this member knows, and takes in what another one knows."""

    def __init__(self, pool: Pool, table: Table, serf: Serf, events: UserEvents, queries: Queries) -> None:
        self._pool = pool
        self._table = table
        self._serf = serf
        self._events = events
        self._queries = queries

    def state(self, join: bool) -> bytes:
        """Everything that this member knows, as a push/pull message."""
        nodes = list(self._pool.nodes.values())
        self._pool.random.shuffle(nodes)
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
        members = self._pool.serf
        events = [
            {"Events": [{"Name": name, "Payload": payload} for name, payload in sorted(seen)], "LTime": ltime}
            for ltime, seen in sorted(self._events.seen.items())
        ]
        return wire.message(
            wire.STATE,
            {
                "EventLTime": self._events.clock,
                "Events": events,
                "LTime": self._serf.clock,
                "LeftMembers": sorted(n for n, entry in members.items() if entry.status is Status.LEFT),
                "QueryLTime": self._queries.clock,
                "StatusLTimes": {name: entry.ltime for name, entry in sorted(members.items())},
            },
        )

    def merge(self, nodes: list[dict[str, Any]], user: bytes, join: bool, ignore_old: bool) -> None:
        """Take in another member's state. Raises GossipError when it is malformed or this pool is not its own."""
        claims = [(Alive.decode(fields, "Name"), wire.number(fields, "State", 4)) for fields in nodes]
        held = [Spoken(node.name, node.versions, node.state is State.ALIVE) for node in self._pool.nodes.values()]
        problem = problem_among(
            [*held, *(Spoken(one.name, one.versions, state == State.ALIVE) for one, state in claims)]
        )
        if problem:
            raise GossipError(problem)
        if join:
            for claim, state in claims:
                known = state == State.LEFT or claim.name == self._pool.name
                reason = "" if known else self._table.reason_against(claim)
                if reason:
                    raise GossipError(f"merge refused: {reason}")
        for claim, state in claims:
            accusation = {"Node": claim.name, "Incarnation": claim.incarnation}
            if state == State.ALIVE:
                self._table.alive(claim)
            elif state == State.LEFT:
                self._table.dead({**accusation, "From": claim.name})
            else:
                self._table.suspect({**accusation, "From": self._pool.name})
        if user:
            self._merge_serf(user, join and ignore_old)

    def _merge_serf(self, user: bytes, ignore_old: bool) -> None:
        if user[0] != wire.STATE:
            raise GossipError("the user state of a push/pull is not serf's")
        fields = wire.unpack(user[1:])
        left = fields.get("LeftMembers") or []
        times = fields.get("StatusLTimes") or {}
        groups = fields.get("Events") or []
        if not isinstance(left, list) or not isinstance(times, dict) or not isinstance(groups, list):
            raise GossipError("the user state of a push/pull is malformed")
        self._serf.witness(max(0, wire.ltime(fields) - 1))
        self._queries.witness(max(0, wire.ltime(fields, "QueryLTime") - 1))
        event_time = wire.ltime(fields, "EventLTime")
        gone = {name for name in left if isinstance(name, str)}
        for name, ltime in times.items():
            if isinstance(name, str) and isinstance(ltime, int) and 0 <= ltime < wire.MOST_LTIME:
                if name in gone:
                    self._serf.intent(wire.LEAVE_INTENT, name, ltime + 1)
                else:
                    self._serf.intent(wire.JOIN_INTENT, name, ltime)
        events = self._events
        if ignore_old and events.minimum < event_time < wire.MOST_WITNESSED:
            events.minimum = event_time
        events.clock = wire.witnessed(events.clock, event_time - 1)
        self._merge_events(groups)

    def _merge_events(self, groups: list[Any]) -> None:
        for group in groups:
            entries = group.get("Events") if isinstance(group, dict) else None
            for event in entries if isinstance(entries, list) else ():
                if isinstance(event, dict):
                    name, payload = wire.text(event, "Name"), wire.raw(event, "Payload")
                    self._events.heard(UserEvent(name, payload, wire.ltime(group), False))
