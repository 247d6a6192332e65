"""The server's port: the first byte of a connection says what follows.

00 calls one after another, 01 Raft, 04 yamux with calls on every stream, 05 one snapshot request. Other bytes, and
connections that say nothing in time, are closed.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from model.codec import WireError, from_wire
from model.errors import RpcError
from model.methods import METHODS
from rpc import snapshot_stream
from rpc.messages import OutOfData, ValueReader, encode_answer
from rpc.session import Session, Stream
from rpc.streams import send

log = logging.getLogger("lictor.rpc")

HANDSHAKE_TIMEOUT = 5.0
MAX_CONNECTIONS_PER_CLIENT = 100
WRITE_TIMEOUT = 60.0

Dispatch = Callable[[str, Any], Awaitable[Any]]
StreamHandler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Listener:
    """Serves one port. `dispatch(method, args)` answers calls, `raft(reader, writer)` takes Raft's connections,
    `snapshot(request, archive)` answers snapshot requests.
    """

    def __init__(self, dispatch: Dispatch, raft: StreamHandler, snapshot: snapshot_stream.Answer) -> None:
        self._dispatch = dispatch
        self._raft = raft
        self._snapshot = snapshot
        self.handshake_timeout = HANDSHAKE_TIMEOUT
        """Seconds in which a connection must say what it is for."""
        self.max_per_client = MAX_CONNECTIONS_PER_CLIENT
        """Connections that one address may have; 0 for any number."""
        self._server: asyncio.Server | None = None
        self._per_client: Counter[str] = Counter()
        self._sessions: set[Session] = set()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port. Raises OSError when it is in use."""
        self._server = await asyncio.start_server(self._accept, host, port)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def stop(self) -> None:
        """Close the port and every connection."""
        if self._server is not None:
            self._server.close()
        await asyncio.gather(*(session.close() for session in list(self._sessions)), return_exceptions=True)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")
        client = str(peer[0]) if peer else ""
        if 0 < self.max_per_client <= self._per_client[client]:
            log.warning("closed a connection from %s: too many connections", client)
            writer.close()
            return
        self._per_client[client] += 1
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
        try:
            await self._serve(reader, writer, client)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # The other side went away or never said anything.
        finally:
            if task is not None:
                self._tasks.discard(task)
            self._per_client[client] -= 1
            if not self._per_client[client]:
                del self._per_client[client]
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, client: str) -> None:
        async with asyncio.timeout(self.handshake_timeout):
            first = await reader.readexactly(1)
        if first == b"\x01":
            await self._raft(reader, writer)
        elif first == b"\x04":
            session = Session(reader, writer, False, self._serve_stream)
            self._sessions.add(session)
            try:
                await session.wait_closed()
            finally:
                self._sessions.discard(session)
        elif first == b"\x05":
            try:
                await snapshot_stream.serve(reader, writer, self._snapshot)
            except WireError as error:
                log.warning("refused a snapshot request from %s: %s", client, error)
        elif first == b"\x00":
            await self._calls(lambda: reader.read(65536), lambda data: _write(writer, data))
        else:
            log.warning("unrecognized RPC byte: byte=%d from %s", first[0], client)

    async def _serve_stream(self, stream: Stream) -> None:
        await self._calls(stream.read, stream.write)

    async def _calls(
        self, read: Callable[[], Awaitable[bytes]], write: Callable[[bytes], Awaitable[None]]
    ) -> None:
        """Answer the calls of a stream, one after another, until it ends or says something that is no call."""
        values = ValueReader()

        async def value() -> Any:
            while True:
                with contextlib.suppress(OutOfData):
                    return values.next()
                data = await read()
                if not data:
                    raise EOFError
                values.feed(data)

        try:
            while True:
                header = await value()
                body = await value()
                if not isinstance(header, dict):
                    return
                sequence, method = header.get("Seq"), header.get("ServiceMethod")
                if not isinstance(sequence, int) or not isinstance(method, str):
                    return
                answer, go_on = await self._answer(sequence, method, body)
                await write(answer)
                if not go_on:
                    return
        except (EOFError, WireError):
            return

    async def _answer(self, sequence: int, method: str, body: Any) -> tuple[bytes, bool]:
        known = METHODS.get(method)
        if known is None:
            service, _, name = method.partition(".")
            if not name:
                problem = f"rpc: service/method request ill-formed: {method}"
            else:
                exists = any(other.service == service for other in METHODS.values())
                problem = f"rpc: can't find {'method' if exists else 'service'} {method}"
            return encode_answer(sequence, method, problem, None), False
        try:
            args = from_wire(known.args, body)
        except WireError as error:
            return encode_answer(sequence, method, f"codec.decoder: {error}", None), False
        try:
            reply = await self._dispatch(method, args)
            return encode_answer(sequence, method, "", reply), True
        except RpcError as error:
            return encode_answer(sequence, method, error.text, None), True
        except Exception:
            log.exception("call of %s failed", method)
            return encode_answer(sequence, method, "internal error", None), True


async def _write(writer: asyncio.StreamWriter, data: bytes) -> None:
    send(writer, data)
    async with asyncio.timeout(WRITE_TIMEOUT):
        await writer.drain()
