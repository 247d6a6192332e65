"""Bytes between two connections, both ways, with back-pressure and half-close as far as the transports have it."""

import asyncio
from typing import cast

HOLD = 65536
"""Bytes that are held for a side whose other side is not connected yet."""
LINGER = 5.0
"""Seconds that a TLS side, which cannot be half-closed, stays open without data after the other side's end."""


class Half(asyncio.Protocol):
    """One side of a relayed connection. Until `join`, what arrives is held, up to a bound."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.other: Half | None = None
        self.closed = asyncio.get_running_loop().create_future()
        self._linger: asyncio.TimerHandle | None = None
        self._held = bytearray()
        self._ended = False
        self._paused = False
        self.received = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio, again after a TLS handshake."""
        self.transport = cast(asyncio.Transport, transport)

    def join(self, other: "Half") -> None:
        """Begin to relay between this side and another."""
        self.other, other.other = other, self
        for side in (self, other):
            if side._held:
                data, side._held = bytes(side._held), bytearray()
                side.data_received(data)
            if side._ended:
                side.eof_received()
            if side._paused and side.transport is not None and not side.transport.is_closing():
                side._paused = False
                side.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        self.received += len(data)
        other = self.other
        if other is None:
            self._held += data
            if len(self._held) >= HOLD and self.transport is not None:
                self.transport.pause_reading()
                self._paused = True
            return
        if other.transport is not None and not other.transport.is_closing():
            other.transport.write(data)
        if self._linger is not None:
            self._linger.cancel()
            self._linger = asyncio.get_running_loop().call_later(LINGER, self.close)

    def eof_received(self) -> bool:
        """Called by asyncio: this side sends no more."""
        self._ended = True
        other = self.other
        if other is None or other.transport is None:
            return True
        if other.transport.can_write_eof():
            if not other.transport.is_closing():
                other.transport.write_eof()
        elif other._linger is None:
            other._linger = asyncio.get_running_loop().call_later(LINGER, other.close)
        return True

    def pause_writing(self) -> None:
        """Called by asyncio: this side takes no more at the moment, so the other must not read."""
        if self.other is not None and self.other.transport is not None and not self.other.transport.is_closing():
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        """Called by asyncio."""
        if self.other is not None and self.other.transport is not None and not self.other.transport.is_closing():
            self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio: the other side ends, too, once it has sent what it holds."""
        if self._linger is not None:
            self._linger.cancel()
        if not self.closed.done():
            self.closed.set_result(None)
        if self.other is not None:
            self.other.close()

    def close(self) -> None:
        """End this side after sending what it holds."""
        if self.transport is not None:
            self.transport.close()
