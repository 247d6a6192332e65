"""Where members are: `host`, `host:port`, `[ipv6]:port`, each also behind `NAME/`."""

import asyncio
import socket

from model.goerrors import dial_text, lookup_text, shown_address

MOST_BYTES_READ = 65536


def split_target(text: str, port: int) -> tuple[str, int]:
    """Host and port of an address; `port` is for those that name none."""
    text = text.rpartition("/")[2]
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        return host, int(rest[1:]) if rest.startswith(":") and _is_port(rest[1:]) else port
    if text.count(":") == 1 and _is_port(text.rpartition(":")[2]):
        host, _, number = text.partition(":")
        return host, int(number)
    return text, port


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text[:6]) < 65536


def reason(error: Exception, address: tuple[str, int]) -> str:
    """Why an exchange with a member failed, in Go's words where the network is the reason."""
    if isinstance(error, asyncio.IncompleteReadError):
        return "EOF"
    if isinstance(error, OSError):
        return dial_text("tcp", shown_address(*address), error)
    return str(error) or type(error).__name__


async def resolve(text: str, port: int) -> list[tuple[str, int]]:
    """All addresses of a host. Raises OSError."""
    host, port = split_target(text, port)
    if not host:
        raise OSError("lookup : no such host")
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (UnicodeError, socket.gaierror) as error:
        raise OSError(lookup_text(host, error)) from None
    return list(dict.fromkeys((str(info[4][0]), int(info[4][1])) for info in found))
