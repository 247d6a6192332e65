"""Where HTTP is listened for: addresses with and without TLS, and unix sockets."""

import asyncio
import errno
import os
import socket
import ssl
import stat
from collections.abc import Callable
from pathlib import Path

from agent.config.settings import UnixSockets
from agent.early_ports import BACKLOG, Ports
from agent.http.front import Doors
from rpc.addresses import EVERYWHERE, everywhere, host_of
from rpc.tls import TlsProtocol

UNIX = "unix://"


class SecureDoor(TlsProtocol):
    """A connection with TLS in front of a door. It counts from its first moment, handshake and all."""

    def __init__(self, doors: Doors, context: ssl.SSLContext, handshake_timeout: float) -> None:
        super().__init__(context, doors(counted=True), True, "", handshake_timeout, self._went)
        self._clients = doors.clients
        self._client = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count it; too many are told so after the handshake, far too many are not."""
        self._client = host_of(transport.get_extra_info("peername"))
        self._clients.came(self._client)
        super().connection_made(transport)
        if self._clients.flooded(self._client):
            self.raw.abort()

    def _went(self) -> None:
        self._clients.went(self._client)


class _Shut(asyncio.Protocol):
    """A connection with TLS while there is no certificate for it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """End it."""
        transport.close()


class Listening:
    """The sockets that lead to `doors`, those that are open already (`early`) among them.

    With TLS, `context` is asked at each connection, so it may change.
    """

    def __init__(self, doors: Doors, unix: UnixSockets, early: Ports) -> None:
        self._doors = doors
        self._unix = unix
        self._early = early
        self._servers: list[asyncio.Server] = []
        self._files: list[tuple[Path, int]] = []
        self.handshake_timeout = 5.0

    async def listen(self, address: str, port: int, context: Callable[[], ssl.SSLContext | None] | None = None) -> None:
        """Listen at an IP address, or at `unix://PATH`. Raises OSError when that is impossible."""
        loop = asyncio.get_running_loop()
        doors: Callable[[], asyncio.Protocol] = self._doors
        if context is not None:
            secured = context

            def doors() -> asyncio.Protocol:
                found = secured()
                return SecureDoor(self._doors, found, self.handshake_timeout) if found is not None else _Shut()

        if address.startswith(UNIX):
            bound = self._bind(Path(address[len(UNIX) :]))
            self._servers.append(await loop.create_unix_server(doors, sock=bound, backlog=BACKLOG))
        elif context is None and (early := self._early.pop((address, port), None)) is not None:
            self._servers.append(await loop.create_server(doors, sock=early, backlog=BACKLOG))
        elif address == EVERYWHERE:
            bound = everywhere(socket.SOCK_STREAM, port)
            self._servers.append(await loop.create_server(doors, sock=bound, backlog=BACKLOG))
        else:
            self._servers.append(await loop.create_server(doors, address, port, backlog=BACKLOG))

    def _bind(self, path: Path) -> socket.socket:
        bound = bind_unix(path, self._unix)
        self._files.append((path, path.stat().st_ino))
        return bound

    def close(self) -> None:
        """Listen no more, and remove the files of unix sockets that are still ours."""
        for server in self._servers:
            server.close()
        for path, number in self._files:
            try:
                if path.stat().st_ino == number:
                    path.unlink()
            except OSError:
                pass  # Somebody removed it before.
        self._files.clear()


def bind_unix(path: Path, settings: UnixSockets) -> socket.socket:
    """A socket bound to a file with the owner and mode of the settings; one that nobody listens at is replaced.

    Raises OSError, also when the file is something else or another process listens there.
    """
    _remove_stale(path)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        bound.setblocking(False)
        bound.bind(str(path))
        # Nobody can connect before `listen`, so there is no moment with wider permissions.
        if settings.mode is not None:
            path.chmod(settings.mode)
        if settings.user is not None or settings.group is not None:
            os.chown(
                path,
                settings.user if settings.user is not None else -1,
                settings.group if settings.group is not None else -1,
            )
    except BaseException:
        bound.close()
        raise
    return bound


def _remove_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError("the file exists and is no socket")
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        probe.settimeout(1.0)
        probe.connect(str(path))
    except ConnectionRefusedError:
        path.unlink(missing_ok=True)
    except TimeoutError:
        raise OSError(errno.EADDRINUSE, "another process listens there") from None
    else:
        raise OSError(errno.EADDRINUSE, "another process listens there")
    finally:
        probe.close()
