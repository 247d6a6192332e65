"""Opening connections for checks, with Go's words for why that failed."""

import asyncio
import contextlib
import socket
import ssl
from typing import Any

from model.goerrors import dial_text, endpoint


class DialError(Exception):
    """No connection; the text says why, as Go's `net` package does. `tls` marks a failed handshake."""

    def __init__(self, text: str, tls: bool = False) -> None:
        super().__init__(text)
        self.tls = tls


async def dial(
    address: str, context: ssl.SSLContext | None = None, server_name: str = ""
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to `host:port`; with a context the TLS handshake is done, too. The caller bounds the time.

    Raises DialError.
    """
    try:
        host, port = endpoint(address)
    except ValueError as error:
        raise DialError(f"dial tcp: {error}") from None
    secured: dict[str, Any] = {"ssl": context, "server_hostname": server_name or host} if context else {}
    try:
        return await asyncio.open_connection(host, port, **secured)
    except TimeoutError as error:
        raise DialError(dial_text("tcp", await shown_address(host, port), error)) from None
    except ssl.SSLError as error:
        raise DialError(dial_text("tcp", address, error), tls=True) from None
    except OSError as error:
        shown = address if isinstance(error, socket.gaierror) else await shown_address(host, port)
        raise DialError(dial_text("tcp", shown, error)) from None
    except ValueError as error:  # A server name that cannot be one.
        raise DialError(f"tls: {error}", tls=True) from None


async def resolve(host: str, port: int, kind: socket.SocketKind) -> list[tuple[Any, ...]]:
    """The addresses of a host, in the system's order. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=kind)
    return [(one[0], one[4]) for one in found]


async def shown_address(host: str, port: int) -> str:
    """The address that was tried: Go's errors have the number, not the name."""
    with contextlib.suppress(OSError):
        found = await resolve(host, port, socket.SOCK_STREAM)
        host = str(found[0][1][0])
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def close(writer: asyncio.StreamWriter) -> None:
    """Let go of a connection at once, whatever is still to be sent."""
    with contextlib.suppress(Exception):
        writer.transport.abort()
