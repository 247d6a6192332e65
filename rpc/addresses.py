"""Listening at addresses as Go does it, and the addresses of those who come."""

from __future__ import annotations

import socket
from typing import Any

EVERYWHERE = "::"
_MAPPED = "::ffff:"


def everywhere(kind: socket.SocketKind, port: int) -> socket.socket:
    """A socket bound at all addresses of this host, those of IPv4 among them: what Go takes `::` for.

    Raises OSError when the port is in use, or the host knows no IPv6.
    """
    bound = socket.socket(socket.AF_INET6, kind)
    try:
        bound.setblocking(False)
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        if kind is socket.SOCK_STREAM:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((EVERYWHERE, port))
    except BaseException:
        bound.close()
        raise
    return bound


def host_of(peer: Any) -> str:
    """The host in an address of the system's; "" for those of unix sockets.

    Somebody who came by IPv4 is known by that address, whatever kind of socket let it in.
    """
    if not isinstance(peer, tuple) or not peer:
        return ""
    host = str(peer[0])
    short = host.removeprefix(_MAPPED)
    return short if "." in short else host
