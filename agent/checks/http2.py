"""HTTP/2 for checks: an exchange says what to send and takes what arrives (sans-IO); `converse` gives it a socket."""

import asyncio
import ssl
from typing import Protocol

from agent.checks.dialling import close, dial

READ_SIZE = 65536
MAX_RECEIVED = 1 << 20
"""Bytes that a server may send before it has answered."""


class Exchange(Protocol):
    """One question and its answer on a connection of its own."""

    @property
    def finished(self) -> bool:
        """Whether nothing more is to come."""

    def start(self) -> bytes:
        """The first bytes to send."""

    def receive(self, data: bytes) -> bytes:
        """Take what the server sent; gives what to send it."""

    def closed(self, reason: str) -> None:
        """The connection is gone."""


async def converse(exchange: Exchange, address: str, context: ssl.SSLContext | None, server_name: str) -> None:
    """Have an exchange with the server at `host:port`, until it has finished. The caller bounds the time.

    Raises DialError when there is no connection.
    """
    reader, writer = await dial(address, context, server_name)
    received = 0
    try:
        writer.write(exchange.start())
        while not exchange.finished:
            data = await reader.read(READ_SIZE)
            received += len(data)
            if not data or received > MAX_RECEIVED:
                exchange.closed("EOF" if not data else "too much data")
                return
            writer.write(exchange.receive(data))
            await asyncio.sleep(0)  # A server that never stops sending is not to stop everybody else.
    except OSError as error:
        exchange.closed("connection reset by peer" if isinstance(error, ConnectionError) else str(error))
    finally:
        close(writer)
