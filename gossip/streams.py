"""Streams of memberlist: one message in each direction. Bytes go in as they come; a whole message comes out.

Outside in: a label (only from whoever dialled), encryption, compression, then the message itself.
"""

from dataclasses import dataclass, field
from typing import Any

import msgpack

from gossip import wire
from gossip.envelope import LABEL, STREAM_HEADER, Envelope, split_label
from gossip.wire import GossipError


class OuterError(GossipError):
    """The outer layers of a stream cannot be read; the other side is told."""


@dataclass
class StreamMessage:
    """What a stream said. `fields` is the message or a push/pull's header; the rest is a push/pull's."""

    kind: int
    fields: dict[str, Any] = field(default_factory=dict)
    nodes: list[dict[str, Any]] = field(default_factory=list)
    user: bytes = b""

    @property
    def join(self) -> bool:
        """Whether this is the first exchange of a join."""
        return bool(self.fields.get("Join"))


def error_message(text: str) -> bytes:
    """The message that says why a stream was refused."""
    return wire.message(wire.ERROR, {"Error": text})


class StreamReader:
    """Reads one message. `dialled` says whether this side opened the stream, and so expects no label."""

    def __init__(self, envelope: Envelope, dialled: bool) -> None:
        self._envelope = envelope
        self._labelled = not dialled
        self._head = bytearray()
        """What came before the outer layers were understood."""
        self._length: int | None = None
        """Of the encrypted part, once it is known that there is one."""
        self._body: _Body | None = None
        self._total = 0

    def feed(self, data: bytes) -> StreamMessage | None:
        """Take more bytes; returns the message once it is whole. Raises GossipError (OuterError: layers)."""
        self._total += len(data)
        if self._total > wire.MAX_STREAM:
            raise GossipError("a stream's message is too large")
        if self._body is not None:
            return self._body.feed(data)
        self._head += data
        if self._length is not None and len(self._head) < STREAM_HEADER + self._length:
            return None
        if self._labelled and not self._take_label():
            return None
        plain = self._opened()
        return self._inner(plain) if plain is not None else None

    def _take_label(self) -> bool:
        if not self._head:
            return False
        label, rest = split_label(bytes(self._head))
        if label is None:
            return False
        if label != self._envelope.label:
            raise GossipError("a stream has the label of another pool")
        self._labelled = False
        self._head = bytearray(rest)
        return True

    def _opened(self) -> bytes | None:
        """What is inside of label and encryption, as far as it is there; None while nothing is. Raises OuterError."""
        head = bytes(self._head)
        if not head:
            return None
        if head[0] == LABEL:
            raise GossipError("unexpected double stream label header")
        try:
            if head[0] != wire.ENCRYPTED:
                self._envelope.check_plain()
                return head
            return self._unsealed(head)
        except GossipError as error:
            raise OuterError(str(error)) from None

    def _unsealed(self, head: bytes) -> bytes | None:
        if self._length is None:
            if len(head) < STREAM_HEADER:
                return None
            self._length = self._envelope.check_sealed(head[:STREAM_HEADER])
        end = STREAM_HEADER + self._length
        if len(head) < end:
            return None
        return self._envelope.open_stream(head[:STREAM_HEADER], head[STREAM_HEADER:end])

    def _inner(self, plain: bytes) -> StreamMessage | None:
        if not plain:
            raise GossipError("an empty stream")
        self._head = bytearray()
        self._body = _Compressed() if plain[0] == wire.COMPRESSED else _Message(plain[0])
        found = self._body.feed(plain[1:])
        if found is None and self._length is not None:
            raise GossipError("an encrypted stream ends within its message")
        return found


class _Body:
    """Values of msgpack, one after another, as they come."""

    def __init__(self) -> None:
        self._unpacker = msgpack.Unpacker(
            raw=False, unicode_errors="surrogateescape", strict_map_key=False, max_buffer_size=wire.MAX_STREAM
        )

    def feed(self, data: bytes) -> StreamMessage | None:
        """Take more bytes; returns the message once it is whole. Raises GossipError."""
        raise NotImplementedError

    def _next(self) -> dict[str, Any] | None:
        """The next value, or None while it is not whole."""
        try:
            value = self._unpacker.unpack()
        except msgpack.OutOfData:
            return None
        except (msgpack.exceptions.UnpackException, ValueError, TypeError, RecursionError) as error:
            raise GossipError(f"not a msgpack value: {error or type(error).__name__}") from None
        if not isinstance(value, dict):
            raise GossipError("a stream's value is not a map")
        return value


class _Compressed(_Body):
    """A map that holds the compressed message."""

    def feed(self, data: bytes) -> StreamMessage | None:
        self._unpacker.feed(data)
        fields = self._next()
        if fields is None:
            return None
        try:
            if (algorithm := wire.number(fields, "Algo")) != 0:
                raise GossipError(f"Cannot decompress unknown algorithm {algorithm}")
            plain = wire.lzw_decode(wire.raw(fields, "Buf"))
        except GossipError as error:
            raise OuterError(str(error)) from None
        if not plain:
            raise GossipError("an empty compressed stream")
        found = _Message(plain[0]).feed(plain[1:])
        if found is None:
            raise GossipError("a compressed stream ends within its message")
        return found


class _Message(_Body):
    """The message itself: a map, and for a push/pull as many maps as it says and then serf's state."""

    def __init__(self, kind: int) -> None:
        super().__init__()
        if kind not in (wire.PING, wire.ACK, wire.PUSH_PULL, wire.ERROR):
            raise GossipError(f"unknown stream type {kind}")
        self._message = StreamMessage(kind)
        self._begun = False
        self._nodes = 0
        self._length = 0

    def feed(self, data: bytes) -> StreamMessage | None:
        message = self._message
        self._unpacker.feed(data)
        if not self._begun:
            header = self._next()
            if header is None:
                return None
            self._begun, message.fields = True, header
            if message.kind == wire.PUSH_PULL:
                self._nodes = wire.number(header, "Nodes", wire.MAX_NODES)
                self._length = wire.number(header, "UserStateLen", wire.MAX_STREAM)
        while len(message.nodes) < self._nodes:
            node = self._next()
            if node is None:
                return None
            message.nodes.append(node)
        if len(message.user) < self._length:
            message.user += self._unpacker.read_bytes(self._length - len(message.user))
        return message if len(message.user) == self._length else None
