"""TLS on a connection of the event loop, for any protocol above it.

The loop's own TLS would do but for two things that the server port needs: TLS begins behind a byte that was read
already, and one side may say that it sends no more (close_notify) and go on listening, which is how a snapshot request
ends. So `Tls` is a small machine around OpenSSL's memory buffers, and `TlsProtocol` drives it. The HTTP server uses the
same, so that both choose certificates at each handshake and can reload them.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable
from typing import Any, cast

log = logging.getLogger("lictor.tls")

_CHUNK = 256 << 10


class Tls:
    """One end of a TLS connection: bytes in, bytes out. `out()` gives what is to be sent after every other call."""

    def __init__(self, context: ssl.SSLContext, server_side: bool, server_name: str = "") -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.object = context.wrap_bio(
            self._incoming, self._outgoing, server_side, server_name if server_name and not server_side else None
        )
        self.open = False
        """Whether the handshake is done."""
        self.ended = False
        """Whether the other side has said that it sends no more."""
        self._closed = False

    def receive(self, data: bytes) -> bytes:
        """Take in bytes of the connection; returns what they say. Raises ssl.SSLError when they break TLS."""
        self._incoming.write(data)
        if not self.open:
            try:
                self.object.do_handshake()
            except ssl.SSLWantReadError:
                return b""
            self.open = True
        parts = []
        while not self.ended:
            try:
                part = self.object.read(_CHUNK)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLZeroReturnError:
                part = b""
            self.ended = not part
            parts.append(part)
        return b"".join(parts)

    def send(self, data: bytes | bytearray | memoryview) -> None:
        """Say something. Raises ssl.SSLError."""
        if data:
            self.object.write(data)

    def end(self) -> None:
        """Say that nothing more will be said."""
        if self._closed or not self.open:
            return
        self._closed = True
        try:
            self.object.unwrap()
        except (ssl.SSLError, ValueError):
            pass  # Our farewell is written; it only misses the other side's, which need not come.

    def out(self) -> bytes:
        """What is to be sent."""
        return self._outgoing.read()


class TlsTransport(asyncio.Transport):
    """What the protocol above a `TlsProtocol` takes for its connection."""

    def __init__(self, below: "TlsProtocol") -> None:
        super().__init__()
        self._below = below

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """`ssl_object` and `peercert`, and whatever the connection itself knows."""
        if name == "ssl_object":
            return self._below.tls.object
        if name == "peercert":
            return self._below.tls.object.getpeercert()
        return self._below.raw.get_extra_info(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Put another protocol above."""
        self._below.above = cast(asyncio.Protocol, protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The protocol above."""
        return self._below.above

    def is_closing(self) -> bool:
        """Whether the connection has ended or is ending."""
        return self._below.raw.is_closing()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Queue bytes."""
        self._below.send(data)

    def can_write_eof(self) -> bool:
        """Yes: TLS can end in one direction."""
        return True

    def write_eof(self) -> None:
        """Send no more, but go on reading."""
        self._below.end()

    def close(self) -> None:
        """End the connection once what is queued is sent."""
        self._below.close()

    def abort(self) -> None:
        """End the connection at once."""
        self._below.raw.abort()

    def is_reading(self) -> bool:
        """Whether the protocol above is given what arrives."""
        return self._below.raw.is_reading()

    def pause_reading(self) -> None:
        """Let what arrives wait."""
        self._below.raw.pause_reading()

    def resume_reading(self) -> None:
        """Go on reading."""
        self._below.raw.resume_reading()

    def get_write_buffer_size(self) -> int:
        """Bytes that wait to be sent."""
        return self._below.raw.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Bytes at which the protocol above is told to pause and to go on: (low, high)."""
        return self._below.raw.get_write_buffer_limits()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set these."""
        self._below.raw.set_write_buffer_limits(high, low)


class TlsProtocol(asyncio.Protocol):
    """Runs TLS on a connection; the protocol `above` is told of it once the handshake is done.

    `ready` is resolved then, or with the ssl.SSLError or OSError that ended it. A handshake that takes longer than
    `handshake_timeout` seconds is given up. `first` is sent in clear before it, `lost` is called at the end.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        above: asyncio.Protocol,
        server_side: bool,
        server_name: str = "",
        handshake_timeout: float = 5.0,
        lost: Callable[[], None] = lambda: None,
        first: bytes = b"",
    ) -> None:
        self.tls = Tls(context, server_side, server_name)
        self.above = above
        self.raw: asyncio.Transport
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._server_side = server_side
        self._timeout = handshake_timeout
        self._timer: asyncio.TimerHandle | None = None
        self._lost = lost
        self._first = first
        self.transport: TlsTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake."""
        self.raw = cast(asyncio.Transport, transport)
        problem = TimeoutError("TLS handshake timed out")
        self._timer = asyncio.get_running_loop().call_later(self._timeout, self._fail, problem)
        if self._first:
            self.raw.write(self._first)
        if not self._server_side:
            self.data_received(b"")

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        was_open = self.tls.open
        try:
            said = self.tls.receive(data)
        except ssl.SSLError as error:
            self._flush()  # The alert, if there is one.
            self._fail(error)
            return
        self._flush()
        if self.tls.open and not was_open:
            self._opened()
        if said:
            self.above.data_received(said)
        if self.tls.ended and not self.raw.is_closing() and not self.above.eof_received():
            self.close()

    def eof_received(self) -> bool:
        """The other side ended the connection below TLS."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended; without a farewell that is an error, for something may be missing."""
        self._stop_timer()
        self._lost()
        if self.tls.open:
            cut = ConnectionResetError("the connection ended without a farewell") if not self.tls.ended else None
            self.above.connection_lost(exc or cut)
        if not self.ready.done():
            self.ready.set_exception(exc or ConnectionResetError("the connection ended during the TLS handshake"))
            self.ready.exception()  # Nobody need ask.

    def pause_writing(self) -> None:
        """The other side reads slowly."""
        if self.tls.open:
            self.above.pause_writing()

    def resume_writing(self) -> None:
        """It has caught up."""
        if self.tls.open:
            self.above.resume_writing()

    # What the transport above asks

    def send(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send."""
        if self.raw.is_closing():
            return
        try:
            self.tls.send(data)
        except ssl.SSLError as error:
            log.warning("cannot write on a TLS connection: %s", error)
            self.raw.abort()
            return
        self._flush()

    def end(self) -> None:
        """Send no more."""
        self.tls.end()
        self._flush()

    def close(self) -> None:
        """Say farewell and end the connection."""
        if not self.raw.is_closing():
            self.end()
            self.raw.close()

    def _flush(self) -> None:
        data = self.tls.out()
        if data and not self.raw.is_closing():
            self.raw.write(data)

    def _opened(self) -> None:
        self._stop_timer()
        self.transport = TlsTransport(self)
        self.above.connection_made(self.transport)
        if not self.ready.done():
            self.ready.set_result(None)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fail(self, error: Exception) -> None:
        """Give up; a peer that breaks TLS later hears as little as one that never mastered it."""
        self._stop_timer()
        if not self.ready.done():
            self.ready.set_exception(error)
            self.ready.exception()
        if self._server_side:
            peer = self.raw.get_extra_info("peername")
            reason = getattr(error, "reason", None) or str(error)
            log.warning("refused a connection from %s: TLS failed: %s", peer, reason)
        if isinstance(error, TimeoutError):
            self.raw.abort()
        else:
            self.raw.close()
