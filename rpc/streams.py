"""Writing to a stream that may have ended while its owner waited for something else."""

from __future__ import annotations

import asyncio
import contextlib
import socket


def send(writer: asyncio.StreamWriter, data: bytes) -> None:
    """Queue bytes on a stream.

    uvloop raises RuntimeError for a transport that is closed already, where asyncio's own loop says nothing; both are
    the ordinary end of a connection, and callers handle that as OSError.

    Raises:
        ConnectionResetError: the connection has ended.
    """
    if writer.is_closing():
        raise ConnectionResetError("the connection has ended")
    writer.write(data)


def end_when_unheard(writer: asyncio.StreamWriter, seconds: float) -> None:
    """Let a connection end once the other side has confirmed nothing of what was sent for that long.

    Otherwise the kernel keeps repeating what was sent, at intervals that double: after a minute's failure of the
    network the connection stands still for up to another minute, although a new one would work at once. An idle
    connection is left alone. Without effect where the system does not know the option (it is Linux's).
    """
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    connection = writer.get_extra_info("socket")
    if option is None or connection is None:
        return
    with contextlib.suppress(OSError), connection.dup() as same:  # The event loop lends its socket without its options.
        same.setsockopt(socket.IPPROTO_TCP, option, round(seconds * 1000))
