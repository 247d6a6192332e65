"""One snapshot request on a connection of its own (protocol byte 05): head, archive, answer, archive.

The asking side sends one msgpack request and, for a restore, the archive, then half-closes. The answering side sends
one msgpack answer and, for a save that worked, the archive until the end of the connection. Archives are spooled: small
ones in memory, large ones in a file without a name.

Source: the public protocol of Consul's server port.
"""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from typing import IO, Any

import msgpack

from model.codec import WireError, from_wire
from model.errors import RpcError
from model.goerrors import dial_text
from model.structs.operator import SnapshotRequest, SnapshotResponse
from rpc.dialing import Dialer
from rpc.messages import OutOfData, encode_body
from rpc.streams import send

SAVE, RESTORE = 0, 1
MAX_HEAD = 64 << 10
MAX_ARCHIVE = 4 << 30
"""Bytes that an archive may take on its way."""
DIAL_TIMEOUT = 10.0
IDLE_TIMEOUT = 60.0
"""Seconds without a byte after which a transfer is given up."""
ANSWER_TIMEOUT = 600.0
"""Seconds that a server may work on a request before it answers."""
_MEMORY = 8 << 20
_CHUNK = 256 << 10

Answer = Callable[[SnapshotRequest, IO[bytes]], Awaitable[tuple[SnapshotResponse, IO[bytes]]]]


def spool() -> IO[bytes]:
    """An empty archive to write into."""
    return tempfile.SpooledTemporaryFile(max_size=_MEMORY)


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: Answer) -> None:
    """Answer the one request of a connection whose protocol byte has been read.

    Raises OSError, TimeoutError, WireError when the other side goes away, is silent or sends rubbish.
    """
    head, rest = await _head(reader, IDLE_TIMEOUT)
    request = from_wire(SnapshotRequest, head)
    with spool() as archive:
        await _receive(reader, archive, rest, MAX_ARCHIVE if request.op == RESTORE else 0)
        archive.seek(0)
        try:
            response, saved = await answer(request, archive)
        except RpcError as error:
            response, saved = SnapshotResponse(error=error.text), spool()
    with saved:
        send(writer, encode_body(response))
        if request.op == SAVE and not response.error:
            await _send(writer, saved)
        await _drain(writer)


async def ask(
    address: str, request: SnapshotRequest, archive: IO[bytes], dialer: Dialer | None = None
) -> tuple[SnapshotResponse, IO[bytes]]:
    """Make a snapshot request of the server at `ip:port`; returns its answer and, for a save, the archive, rewound.

    Raises RpcError when the server refuses, ConnectionError when it cannot be reached or breaks off.
    """
    saved = spool()
    try:
        reader, writer = await (dialer or Dialer()).dial(address, DIAL_TIMEOUT)
        try:
            send(writer, b"\x05" + encode_body(request))
            await _send(writer, archive)
            writer.write_eof()
            head, rest = await _head(reader, ANSWER_TIMEOUT)
            response = from_wire(SnapshotResponse, head)
            if response.error:
                raise RpcError(response.error)
            await _receive(reader, saved, rest)
        finally:
            writer.close()
        saved.seek(0)
        return response, saved
    except BaseException as error:
        saved.close()
        if isinstance(error, TimeoutError):
            raise ConnectionResetError(f"{address} did not answer in time") from None
        if isinstance(error, WireError):
            raise ConnectionResetError(f"{address} answered with rubbish: {error}") from None
        if isinstance(error, OSError) and not isinstance(error, ConnectionError):
            raise ConnectionRefusedError(dial_text("tcp", address, error)) from None
        raise


async def _head(reader: asyncio.StreamReader, seconds: float) -> tuple[Any, bytes]:
    """The msgpack value at the beginning of a stream, and the bytes behind it that have arrived already."""
    data = b""
    async with asyncio.timeout(seconds):
        while True:
            more = await reader.read(_CHUNK)
            if not more:
                raise ConnectionResetError("EOF")
            data += more
            unpacker = msgpack.Unpacker(raw=False, unicode_errors="surrogateescape", max_buffer_size=len(data))
            unpacker.feed(data)
            try:
                return unpacker.unpack(), data[unpacker.tell() :]
            except OutOfData:
                if len(data) > MAX_HEAD:
                    raise WireError(f"the head of a snapshot request is larger than {MAX_HEAD} bytes") from None
            except (ValueError, TypeError, RecursionError) as error:
                raise WireError(f"not a msgpack value: {error or type(error).__name__}") from None


async def _receive(
    reader: asyncio.StreamReader, target: IO[bytes], begun: bytes, limit: int = MAX_ARCHIVE
) -> None:
    data, size = begun, 0
    while True:
        size += len(data)
        if size > limit:
            raise WireError(f"the archive is larger than {limit} bytes")
        target.write(data)
        async with asyncio.timeout(IDLE_TIMEOUT):
            data = await reader.read(_CHUNK)
        if not data:
            return


async def _send(writer: asyncio.StreamWriter, source: IO[bytes]) -> None:
    while data := source.read(_CHUNK):
        send(writer, data)
        await _drain(writer)


async def _drain(writer: asyncio.StreamWriter) -> None:
    async with asyncio.timeout(IDLE_TIMEOUT):
        await writer.drain()
