"""yamux as a sans-IO machine: bytes in, events and bytes out.

    frame    version 0 | type | flags u16 | stream u32 | length u32, big endian; data frames carry `length` bytes

The side that connected opens odd streams, the other even ones. Each direction of a stream has a window of 256 KiB that
the receiver gives back as it reads. What breaks the rules ends the session with a go-away.

Source: the published yamux specification, and frames recorded from Consul 1.14.
"""

import struct
from dataclasses import dataclass, field

DATA, WINDOW_UPDATE, PING, GO_AWAY = range(4)
SYN, ACK, FIN, RST = 1, 2, 4, 8
NORMAL, PROTOCOL_ERROR, INTERNAL_ERROR = range(3)
WINDOW = 256 * 1024
_HEADER = struct.Struct(">BBHII")
MAX_STREAMS = 4096


class YamuxError(Exception):
    """The other side broke the protocol; the session is over."""


@dataclass(frozen=True)
class Opened:
    """The other side opened a stream."""

    stream: int


@dataclass(frozen=True)
class Received:
    """Data arrived on a stream; call `consumed` when it has been read."""

    stream: int
    data: bytes


@dataclass(frozen=True)
class HalfClosed:
    """The other side sends no more on a stream."""

    stream: int


@dataclass(frozen=True)
class Reset:
    """A stream is dead."""

    stream: int


@dataclass(frozen=True)
class Writable:
    """A stream's window grew."""

    stream: int


@dataclass(frozen=True)
class Pong:
    """A ping was answered."""

    number: int


@dataclass(frozen=True)
class WentAway:
    """The other side opens and takes no more streams."""

    code: int


Event = Opened | Received | HalfClosed | Reset | Writable | Pong | WentAway


@dataclass
class _Stream:
    send_window: int = WINDOW
    receive_window: int = WINDOW
    unread: int = 0
    local_closed: bool = False
    remote_closed: bool = False


@dataclass
class Yamux:
    """One end of a session. `out` collects the bytes to send."""

    is_client: bool
    out: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        self._next = 1 if self.is_client else 2
        self._streams: dict[int, _Stream] = {}
        self._buffer = bytearray()
        self.closed = False
        self.gone = False

    def _frame(self, kind: int, flags: int, stream: int, length: int) -> None:
        self.out += _HEADER.pack(0, kind, flags, stream, length)

    def open(self) -> int:
        """Open a stream and return its number. Raises YamuxError when the session takes no more."""
        if self.closed or self.gone:
            raise YamuxError("session shutdown")
        number = self._next
        self._next += 2
        self._streams[number] = _Stream()
        self._frame(WINDOW_UPDATE, SYN, number, 0)
        return number

    def send(self, stream: int, data: bytes | memoryview) -> int:
        """Send as much of `data` as the window allows and return how much that was."""
        state = self._streams.get(stream)
        if state is None or state.local_closed or self.closed:
            raise YamuxError("stream closed")
        count = min(len(data), state.send_window)
        if count:
            state.send_window -= count
            self._frame(DATA, 0, stream, count)
            self.out += data[:count]
        return count

    def consumed(self, stream: int, count: int) -> None:
        """The reader took so many bytes: give the window back once half of it is due."""
        state = self._streams.get(stream)
        if state is None:
            return
        state.unread += count
        if state.unread >= WINDOW // 2 and not state.remote_closed:
            state.receive_window += state.unread
            self._frame(WINDOW_UPDATE, 0, stream, state.unread)
            state.unread = 0

    def close(self, stream: int) -> None:
        """Send no more on a stream."""
        state = self._streams.get(stream)
        if state is None or state.local_closed:
            return
        state.local_closed = True
        self._frame(WINDOW_UPDATE, FIN, stream, 0)
        self._forget_if_done(stream, state)

    def reset(self, stream: int) -> None:
        """Kill a stream."""
        if self._streams.pop(stream, None) is not None:
            self._frame(WINDOW_UPDATE, RST, stream, 0)

    def ping(self, number: int) -> None:
        """Ask for an answer with the same number."""
        self._frame(PING, SYN, 0, number)

    def go_away(self, code: int = NORMAL) -> None:
        """Say that no more streams are taken."""
        self._frame(GO_AWAY, 0, 0, code)

    def _forget_if_done(self, number: int, state: _Stream) -> None:
        if state.local_closed and state.remote_closed:
            self._streams.pop(number, None)

    def receive(self, data: bytes) -> list[Event]:
        """Take in bytes. Raises YamuxError when they break the protocol; `out` then holds a last go-away."""
        self._buffer += data
        events: list[Event] = []
        position = 0
        buffer = self._buffer
        while len(buffer) - position >= _HEADER.size:
            version, kind, flags, stream, length = _HEADER.unpack_from(buffer, position)
            if version != 0 or kind > GO_AWAY:
                self._fail(f"unknown version {version} or type {kind}")
            body = b""
            size = _HEADER.size
            if kind == DATA:
                if length > WINDOW:
                    self._fail("a data frame is larger than any window")
                if len(buffer) - position < size + length:
                    break
                body = bytes(buffer[position + size : position + size + length])
                size += length
            position += size
            self._on_frame(kind, flags, stream, length, body, events)
        del buffer[:position]
        return events

    def _fail(self, reason: str) -> None:
        self.go_away(PROTOCOL_ERROR)
        self.closed = True
        raise YamuxError(reason)

    def _on_frame(self, kind: int, flags: int, stream: int, length: int, body: bytes, events: list[Event]) -> None:
        if kind == PING:
            if flags & SYN:
                self._frame(PING, ACK, 0, length)
            elif flags & ACK:
                events.append(Pong(length))
            return
        if kind == GO_AWAY:
            self.gone = True
            events.append(WentAway(length))
            return
        if stream == 0:
            self._fail("a frame for stream 0")
        if flags & SYN:
            self._on_open(stream, events)
        state = self._streams.get(stream)
        if state is None:
            return  # A stream that was closed here: what still comes is dropped.
        if flags & RST:
            del self._streams[stream]
            events.append(Reset(stream))
            return
        if kind == DATA and body:
            if len(body) > state.receive_window:
                self._fail("more data than the window allows")
            state.receive_window -= len(body)
            events.append(Received(stream, body))
        elif kind == WINDOW_UPDATE and length:
            state.send_window += length
            if state.send_window > 1 << 31:
                self._fail("a window grew beyond bounds")
            events.append(Writable(stream))
        if flags & FIN and not state.remote_closed:
            state.remote_closed = True
            events.append(HalfClosed(stream))
            self._forget_if_done(stream, state)

    def _on_open(self, stream: int, events: list[Event]) -> None:
        if stream % 2 == (1 if self.is_client else 0) or stream in self._streams:
            self._fail(f"stream {stream} is not the other side's to open")
        if len(self._streams) >= MAX_STREAMS:
            self._frame(WINDOW_UPDATE, RST, stream, 0)
            return
        self._streams[stream] = _Stream()
        self._frame(WINDOW_UPDATE, ACK, stream, 0)
        events.append(Opened(stream))
