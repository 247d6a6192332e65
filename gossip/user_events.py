"""Serf's user events: small messages to everybody, each delivered once."""

from gossip import wire
from gossip.interface import UserEvent
from gossip.pool import Pool
from gossip.wire import GossipError

EVENT_BUFFER = 512
MAX_USER_EVENT = 512


class UserEvents:
    """What was heard, so that nothing is delivered twice, and the Lamport clock of events."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.clock = 1
        self.minimum = 0
        """Events before this time are old news."""
        self.seen: dict[int, set[tuple[str, bytes]]] = {}

    def fire(self, name: str, payload: bytes, coalesce: bool) -> None:
        """Send an event to everybody, this member included. Raises GossipError when it is too large."""
        if len(name.encode()) + len(payload) > MAX_USER_EVENT:
            raise GossipError(f"user event exceeds configured limit of {MAX_USER_EVENT} bytes before encoding")
        event = UserEvent(name, payload, self.clock, coalesce)
        body = wire.message(wire.USER_EVENT, {"CC": coalesce, "LTime": event.ltime, "Name": name, "Payload": payload})
        if len(body) > MAX_USER_EVENT:
            raise GossipError(f"user event exceeds sane limit of {MAX_USER_EVENT} bytes after encoding")
        self.clock += 1
        self.heard(event)
        self._pool.events.add(body)

    def on_event(self, body: bytes) -> None:
        """Somebody's event arrived. Raises GossipError when it is malformed."""
        fields = wire.unpack(body[1:])
        event = UserEvent(
            wire.text(fields, "Name"), wire.raw(fields, "Payload"), wire.ltime(fields), bool(fields.get("CC"))
        )
        if self.heard(event):
            self._pool.events.add(body)

    def heard(self, event: UserEvent) -> bool:
        """Take in an event; returns whether it is news that should be passed on."""
        ltime = event.ltime
        self.clock = wire.witnessed(self.clock, ltime)
        too_old = self.clock > EVENT_BUFFER and ltime < self.clock - EVENT_BUFFER
        if ltime < self.minimum or too_old:
            return False
        seen = self.seen.setdefault(ltime, set())
        key = (event.name, event.payload)
        if key in seen or len(seen) >= EVENT_BUFFER:
            return False
        seen.add(key)
        if len(self.seen) > EVENT_BUFFER:
            del self.seen[min(self.seen)]
        self._pool.outbox.append(event)
        return True
