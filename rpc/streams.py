"""Writing to a stream that may have ended while its owner waited for something else."""

from __future__ import annotations

import asyncio


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
