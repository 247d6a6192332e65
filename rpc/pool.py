"""Connections to servers: one yamux session each, streams reused last in first out, and calls over them."""

import asyncio
import contextlib
import itertools
from typing import Any

from model.codec import Wire, WireError
from model.errors import RpcError
from model.methods import METHODS
from model.structs.base import Query
from rpc.dialing import Dialer
from rpc.messages import OutOfData, ValueReader, decode_reply, encode_request
from rpc.session import Session, Stream
from rpc.streams import end_when_unheard

DIAL_TIMEOUT = 10.0
CALL_TIMEOUT = 60.0
UNHEARD = 5.0
"""Seconds after which a connection whose other side confirms nothing is given up."""
IDLE_STREAMS = 32
_SECOND = 1_000_000_000
DEFAULT_QUERY_TIME = 300.0


class _Connection:
    def __init__(self, session: Session) -> None:
        self.session = session
        self.idle: list[tuple[Stream, ValueReader]] = []


class Pool:
    """Calls to servers by `ip:port`, over connections that `dialer` makes."""

    def __init__(self, dialer: Dialer | None = None) -> None:
        self.dialer = dialer or Dialer()
        self.call_timeout = CALL_TIMEOUT
        """Seconds that a call may take, beside the time that a blocking one is to wait."""
        self._connections: dict[str, _Connection] = {}
        self._dialling: dict[str, asyncio.Lock] = {}
        self._sequence = itertools.count(1)

    async def call(self, address: str, method: str, args: Wire) -> Any:
        """Make a call. Raises RpcError when the server refuses, ConnectionError when it cannot be reached."""
        known = METHODS[method]
        connection = await self._connection(address)
        stream, values = connection.idle.pop() if connection.idle else (connection.session.open(), ValueReader())
        reusable = False
        try:
            async with asyncio.timeout(_wait(args) + self.call_timeout):
                await stream.write(encode_request(next(self._sequence), method, args))
                header = await _value(stream, values)
                body = await _value(stream, values)
            if not isinstance(header, dict):
                raise ConnectionResetError(f"{address} answered with something that is no header")
            if header.get("Error"):
                raise RpcError(str(header["Error"]))
            reply = decode_reply(known.reply, body)
            reusable = True
            return reply
        except TimeoutError:
            raise ConnectionResetError(f"{address} did not answer {method} in time") from None
        except WireError as error:
            raise ConnectionResetError(f"{address} answered {method} with rubbish: {error}") from None
        finally:
            if reusable and len(connection.idle) < IDLE_STREAMS and not connection.session.closed:
                connection.idle.append((stream, values))
            else:
                stream.abort()

    async def _connection(self, address: str) -> _Connection:
        connection = self._connections.get(address)
        if connection is not None and not connection.session.closed:
            return connection
        async with self._dialling.setdefault(address, asyncio.Lock()):
            connection = self._connections.get(address)
            if connection is not None and not connection.session.closed:
                return connection
            reader, writer = await self.dialer.dial(address, DIAL_TIMEOUT)
            end_when_unheard(writer, UNHEARD)
            writer.write(b"\x04")
            connection = self._connections[address] = _Connection(Session(reader, writer, True))
            return connection

    async def forget(self, address: str) -> None:
        """Close the connection to a server that is gone."""
        connection = self._connections.pop(address, None)
        if connection is not None:
            await connection.session.close()

    async def close(self) -> None:
        """Close every connection."""
        connections, self._connections = self._connections, {}
        await asyncio.gather(*(one.session.close() for one in connections.values()), return_exceptions=True)


def _wait(args: Wire) -> float:
    """Seconds for which a call may block."""
    if isinstance(args, Query) and args.min_query_index:
        wait = args.max_query_time / _SECOND if args.max_query_time else DEFAULT_QUERY_TIME
        return wait * (1 + 1 / 16)
    return 0.0


async def _value(stream: Stream, values: ValueReader) -> Any:
    while True:
        with contextlib.suppress(OutOfData):
            return values.next()
        data = await stream.read()
        if not data:
            raise ConnectionResetError("EOF")
        values.feed(data)
