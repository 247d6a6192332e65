"""User events: made here, arrived through gossip, kept for a while, with the index by which clients wait."""

import asyncio
import uuid
from collections import deque
from collections.abc import Callable
from typing import Any

import msgpack
import msgspec

from gossip.core import UserEvent as Gossiped
from model.goregexp import RegexpError, compile_regexp

PREFIX = "consul:event:"
KEEP = 256


class Event(msgspec.Struct, frozen=True):
    """A user event; the filters are regular expressions."""

    id: str
    name: str
    payload: bytes = b""
    node_filter: str = ""
    service_filter: str = ""
    tag_filter: str = ""
    version: int = 1
    ltime: int = 0

    def encode(self) -> bytes:
        """The payload that travels through gossip (new-spec msgpack)."""
        body: dict[str, Any] = {"ID": self.id, "n": self.name, "v": self.version}
        optional = {"p": self.payload, "nf": self.node_filter, "sf": self.service_filter, "tf": self.tag_filter}
        body |= {key: value for key, value in optional.items() if value}
        packed: bytes = msgpack.packb(
            {key: body[key] for key in sorted(body)}, use_bin_type=True, unicode_errors="surrogateescape"
        )
        return packed

    def shown(self) -> dict[str, Any]:
        """The event as the API shows it."""
        return {
            "ID": self.id,
            "Name": self.name,
            "Payload": self.payload or None,
            "NodeFilter": self.node_filter,
            "ServiceFilter": self.service_filter,
            "TagFilter": self.tag_filter,
            "Version": self.version,
            "LTime": self.ltime,
        }


def decode(gossiped: Gossiped) -> Event | None:
    """The event in a gossip message; None when it is another kind or malformed."""
    if not gossiped.name.startswith(PREFIX):
        return None
    try:
        body = msgpack.unpackb(gossiped.payload, raw=False, unicode_errors="surrogateescape")
        payload = body.get("p") or b""
        if str(body["n"]) != gossiped.name.removeprefix(PREFIX):
            return None  # Whoever fired it may do so under the name that gossip carries, not under another.
        return Event(
            id=str(uuid.UUID(str(body["ID"]))),
            name=str(body["n"]),
            payload=payload.encode("utf-8", "surrogateescape") if isinstance(payload, str) else bytes(payload),
            node_filter=str(body.get("nf") or ""),
            service_filter=str(body.get("sf") or ""),
            tag_filter=str(body.get("tf") or ""),
            version=int(body.get("v") or 1),
            ltime=gossiped.ltime,
        )
    except (ValueError, KeyError, TypeError, AttributeError, msgpack.exceptions.UnpackException):
        return None


def _text(given: str) -> str:
    """A text without the bytes that are no UTF-8: neither gossip nor JSON can carry them."""
    return given.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _matches(pattern: str, text: str) -> bool:
    try:
        return compile_regexp(pattern).found_in(text)
    except RegexpError:
        return False


class Events:
    """The newest events that concern this node. `services()` lists (id, tags) of the agent's services."""

    def __init__(self, node: str, services: Callable[[], list[tuple[str, list[str]]]]) -> None:
        self._node = node
        self._services = services
        self._ring: deque[Event] = deque(maxlen=KEEP)
        self._arrived = asyncio.Event()
        self.internal: dict[str, Callable[[Event], None]] = {}
        """Who takes the events that are not for users, by name."""

    def make(self, name: str, payload: bytes, node: str, service: str, tag: str) -> Event:
        """A new event. Raises ValueError when a filter is no regular expression, or one for tags stands alone."""
        name, node, service, tag = (_text(one) for one in (name, node, service, tag))
        if tag and not service:
            raise ValueError("Cannot provide tag filter without service filter")
        for what, pattern in (("node", node), ("service", service), ("tag", tag)):
            try:
                compile_regexp(pattern)
            except RegexpError as error:
                raise ValueError(f"Invalid {what} filter: {error}") from None
        return Event(str(uuid.uuid4()), name, payload, node, service, tag)

    def gossiped(self, message: Gossiped) -> None:
        """A gossip event arrived."""
        event = decode(message)
        if event is None or not self._concerns(event):
            return
        internal = self.internal.get(event.name)
        if internal is not None:
            internal(event)
            return
        self._ring.append(event)
        self._arrived.set()
        self._arrived = asyncio.Event()

    def _concerns(self, event: Event) -> bool:
        if event.node_filter and not _matches(event.node_filter, self._node):
            return False
        if not event.service_filter:
            return True
        return any(
            _matches(event.service_filter, service)
            and (not event.tag_filter or any(_matches(event.tag_filter, tag) for tag in tags))
            for service, tags in self._services()
        )

    def named(self, name: str) -> list[Event]:
        """The events of a name, or all; oldest first."""
        return [event for event in self._ring if not name or event.name == name]

    async def listed(self, name: str, index: int, seconds: float) -> tuple[list[Event], int]:
        """The events (of a name) and their index; while that is the one that the client knows, wait for another."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while True:
            found = self.named(name)
            present = _index_of(found[-1]) if found else 1
            if not index or present != index or loop.time() >= deadline:
                return found, present
            try:
                async with asyncio.timeout(deadline - loop.time()):
                    await self._arrived.wait()
            except TimeoutError:
                pass


def _index_of(event: Event) -> int:
    """The number by which clients wait: the two halves of the event's ID, combined."""
    number = uuid.UUID(event.id).int
    return (number >> 64) ^ (number & ((1 << 64) - 1))
