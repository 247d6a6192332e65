"""Raft messages between servers over TCP: one outgoing connection for each peer, never blocking the core.

A connection begins with the server port's protocol byte (01), then a hello: magic, version, the sender's and the
receiver's ID. Frames follow: length u32, one message (`server.raft.messages`). Whoever says hello in another way, under
an unknown name or to somebody else is told nothing and disconnected, with one line in the log.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import struct
from collections.abc import Callable
from typing import Final

import msgspec

from rpc.dialing import Dialer
from rpc.streams import end_when_unheard, send
from server.raft.messages import Message, decode_message, encode_message

MAGIC: Final = b"LICTRAFT"
VERSION: Final = 1
MAX_FRAME: Final = 80 << 20
QUEUE_LENGTH: Final = 4096
UNHEARD: Final = 2.0
"""Seconds after which a connection whose other side confirms nothing is given up, and dialled anew."""
_LENGTH = struct.Struct(">I")

log = logging.getLogger("lictor.raft")


class _Hello(msgspec.Struct, array_like=True):
    version: int
    sender: str
    to: str


class Transport:
    """Sends to peers by ID and hands what arrives to `on_message`.

    `address_of` gives "ip:port" for a server's ID, or "" while it is not known; `knows` says whose messages are wanted;
    `on_unreachable` is told when messages to a peer were lost.
    """

    def __init__(
        self,
        node_id: str,
        address_of: Callable[[str], str],
        dial_timeout: float = UNHEARD,
        dialer: Dialer | None = None,
    ) -> None:
        self.node_id = node_id
        self.on_message: Callable[[Message], None] = lambda message: None
        self.on_unreachable: Callable[[str], None] = lambda peer: None
        self.knows: Callable[[str], bool] = lambda peer: True
        self._address_of = address_of
        self._dial_timeout = dial_timeout
        self._dialer = dialer or Dialer()
        self._peers: dict[str, _Peer] = {}
        self._incoming: set[asyncio.StreamWriter] = set()

    def send(self, message: Message) -> None:
        """Queue a message; it may be lost, as on any network."""
        peer = self._peers.get(message.to)
        if peer is None:
            peer = self._peers[message.to] = _Peer(self, message.to)
        peer.put(message)

    def forget(self, peer_id: str) -> None:
        """Close the connection to a server that is no member any more."""
        peer = self._peers.pop(peer_id, None)
        if peer is not None:
            peer.close()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one incoming connection, whose protocol byte has been read, until it ends."""
        self._incoming.add(writer)
        try:
            await self._serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            pass  # The other side went away; it will dial again.
        finally:
            self._incoming.discard(writer)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        where = writer.get_extra_info("peername")
        async with asyncio.timeout(self._dial_timeout):
            magic = await reader.readexactly(len(MAGIC))
            if magic != MAGIC:
                log.warning("refused a raft connection from %s: it speaks another protocol", where)
                return
            hello_bytes = await _read_frame(reader, 1024)
        try:
            hello = msgspec.msgpack.decode(hello_bytes or b"", type=_Hello)
        except msgspec.DecodeError:
            log.warning("refused a raft connection from %s: malformed hello", where)
            return
        if hello.version != VERSION:
            log.warning("refused a raft connection from %s: version %d, this is %d", where, hello.version, VERSION)
            return
        if hello.to != self.node_id or not self.knows(hello.sender):
            log.warning("refused a raft connection from %s: %s is not a member known here", where, hello.sender)
            return
        while True:
            frame = await _read_frame(reader, MAX_FRAME)
            if frame is None:
                log.warning("closed the raft connection from %s: a message is larger than allowed", where)
                return
            try:
                message = decode_message(frame)
            except msgspec.DecodeError as error:
                log.warning("closed the raft connection from %s: %s", where, error)
                return
            if message.sender != hello.sender or not self.knows(hello.sender):
                log.warning("closed the raft connection from %s: message of %s", where, message.sender)
                return
            self.on_message(message)

    async def close(self) -> None:
        """Close every connection."""
        for peer in self._peers.values():
            peer.close()
        for writer in list(self._incoming):
            writer.close()
        tasks = [peer.task for peer in self._peers.values() if peer.task is not None]
        self._peers.clear()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _read_frame(reader: asyncio.StreamReader, limit: int) -> bytes | None:
    (length,) = _LENGTH.unpack(await reader.readexactly(4))
    if length > limit:
        return None
    return await reader.readexactly(length)


async def _wait_for_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wake: asyncio.Event) -> None:
    """Close an outgoing connection as soon as the other side does, and wake its sender."""
    with contextlib.suppress(OSError):
        while await reader.read(4096):
            pass
    writer.close()
    wake.set()


class _Peer:
    """The outgoing side to one server."""

    def __init__(self, transport: Transport, peer_id: str) -> None:
        self._transport = transport
        self.id = peer_id
        self._queue: list[Message] = []
        self._wake = asyncio.Event()
        self.task: asyncio.Task[None] | None = asyncio.get_running_loop().create_task(self._run())

    def put(self, message: Message) -> None:
        if len(self._queue) >= QUEUE_LENGTH:
            self._lose()
        self._queue.append(message)
        self._wake.set()

    def _lose(self) -> None:
        if self._queue:
            self._queue.clear()
            self._transport.on_unreachable(self.id)

    def close(self) -> None:
        if self.task is not None:
            self.task.cancel()

    async def _run(self) -> None:
        delay = 0.05
        while True:
            await self._wake.wait()
            connection = await self._dial()
            delay = min(delay * 2, 1.0)
            if connection is not None:
                delay = 0.05
                reader, writer = connection
                # The other side never answers on this connection: what can be read is its end, and waiting for it is
                # how an idle sender learns of a restarted peer before it loses a message to it.
                end = asyncio.get_running_loop().create_task(_wait_for_end(reader, writer, self._wake))
                try:
                    await self._pump(writer)
                except (OSError, TimeoutError):
                    pass  # What was under way is lost; `_lose` says so.
                finally:
                    end.cancel()
                    writer.close()
            self._lose()
            self._wake.clear()
            await asyncio.sleep(delay)

    async def _dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        address = self._transport._address_of(self.id)
        if not address:
            return None
        with contextlib.suppress(OSError, TimeoutError):
            reader, writer = await self._transport._dialer.dial(address, self._transport._dial_timeout)
            end_when_unheard(writer, UNHEARD)
            hello = msgspec.msgpack.encode(_Hello(VERSION, self._transport.node_id, self.id))
            writer.write(b"\x01" + MAGIC + _LENGTH.pack(len(hello)) + hello)
            return reader, writer
        return None

    async def _pump(self, writer: asyncio.StreamWriter) -> None:
        while not writer.is_closing():
            if not self._queue:
                self._wake.clear()
                await self._wake.wait()
                continue  # The connection may have ended meanwhile, and a closed transport refuses bytes by raising.
            messages, self._queue = self._queue, []
            parts = []
            for message in messages:
                data = encode_message(message)
                parts.append(_LENGTH.pack(len(data)))
                parts.append(data)
            send(writer, b"".join(parts))
            async with asyncio.timeout(30):
                await writer.drain()
        raise ConnectionResetError
