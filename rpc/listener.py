"""The server's port: the first byte of a connection says what follows.

00 calls one after another, 01 Raft, 03 TLS and then one of the others, 04 yamux with calls on every stream, 05 one
snapshot request. Other bytes, and connections that say nothing in time, are closed.
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
from model.metrics import METRICS
from rpc import snapshot_stream
from rpc.messages import OutOfData, ValueReader, encode_answer
from rpc.opening import INSECURE_TLS, Opening
from rpc.security import Security
from rpc.session import Session, Stream
from rpc.streams import send

log = logging.getLogger("lictor.rpc")

_ACCEPTED = METRICS.counter("rpc.accept_conn")
_HANDED_TO_RAFT = METRICS.counter("rpc.raft_handoff")
_REQUESTS = METRICS.counter("rpc.request")
_REFUSED = METRICS.counter("rpc.request_error")

CALLS, RAFT, MULTIPLEXED, SNAPSHOT = 0, 1, 4, 5
INSECURE_METHODS = frozenset({"AutoEncrypt.Sign"})
"""What may be called without a certificate."""
INSECURE_TIMEOUT = 30.0
MAX_INSECURE_MESSAGE = 64 << 10
MAX_CONNECTIONS_PER_CLIENT = 100
WRITE_TIMEOUT = 60.0

Dispatch = Callable[[str, Any], Awaitable[Any]]
StreamHandler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Listener:
    """Serves one port. `dispatch(method, args)` answers calls, `raft(reader, writer)` takes Raft's connections,
    `snapshot(request, archive)` answers snapshot requests; `security` says who is let in.
    """

    def __init__(
        self,
        dispatch: Dispatch,
        raft: StreamHandler,
        snapshot: snapshot_stream.Answer,
        security: Security | None = None,
    ) -> None:
        self.security = security or Security()
        self.max_per_client = MAX_CONNECTIONS_PER_CLIENT
        """Connections that one address may have at the same time; 0 is any number."""
        self._dispatch = dispatch
        self._raft = raft
        self._snapshot = snapshot
        self._server: asyncio.Server | None = None
        self.per_client: Counter[str] = Counter()
        self._sessions: set[Session] = set()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port. Raises OSError when it is in use."""
        self._server = await asyncio.get_running_loop().create_server(self._accept, host, port)
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

    def _accept(self) -> "_Counted":
        _ACCEPTED.add()
        return _Counted(self)

    def _begin(
        self, opening: Opening, first: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.get_running_loop().create_task(self._serve_to_end(opening, first, reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve_to_end(
        self, opening: Opening, first: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            await self._serve(opening, first, reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # The other side went away or broke off.
        finally:
            opening.ended()
            writer.close()

    async def _serve(
        self, opening: Opening, first: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if first != INSECURE_TLS and not self.security.may_call(opening.tls):
            log.warning("refused a connection from %s: its certificate is that of a service", opening.client)
            return
        if first == RAFT:
            if not self.security.may_speak_raft(opening.tls):
                log.warning("refused a raft connection from %s: its certificate is not a server's", opening.client)
                return
            _HANDED_TO_RAFT.add()
            await self._raft(reader, writer)
        elif first == MULTIPLEXED:
            session = Session(reader, writer, False, self._serve_stream)
            self._sessions.add(session)
            try:
                await session.wait_closed()
            finally:
                self._sessions.discard(session)
        elif first == SNAPSHOT:
            try:
                await snapshot_stream.serve(reader, writer, self._snapshot)
            except WireError as error:
                log.warning("refused a snapshot request from %s: %s", opening.client, error)
        elif first == INSECURE_TLS:
            async with asyncio.timeout(INSECURE_TIMEOUT):
                await self._calls(lambda: reader.read(65536), lambda data: _write(writer, data), INSECURE_METHODS)
        elif first == CALLS:
            await self._calls(lambda: reader.read(65536), lambda data: _write(writer, data))
        else:
            log.warning("unrecognized RPC byte: byte=%d from %s", first, opening.client)

    async def _serve_stream(self, stream: Stream) -> None:
        await self._calls(stream.read, stream.write)

    async def _calls(
        self,
        read: Callable[[], Awaitable[bytes]],
        write: Callable[[bytes], Awaitable[None]],
        only: frozenset[str] | None = None,
    ) -> None:
        """Answer the calls of a stream, one after another, until it ends or says something that is no call.

        With `only`, no other methods exist, and calls are small.
        """
        values = ValueReader() if only is None else ValueReader(MAX_INSECURE_MESSAGE)

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
                answer, go_on = await self._answer(sequence, method, body, only)
                await write(answer)
                if not go_on:
                    return
        except (EOFError, WireError):
            return

    async def _answer(
        self, sequence: int, method: str, body: Any, only: frozenset[str] | None
    ) -> tuple[bytes, bool]:
        known = METHODS.get(method) if only is None or method in only else None
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
        _REQUESTS.add()
        try:
            reply = await self._dispatch(method, args)
            return encode_answer(sequence, method, "", reply), True
        except RpcError as error:
            _REFUSED.add()
            return encode_answer(sequence, method, error.text, None), True
        except Exception:
            log.exception("call of %s failed", method)
            return encode_answer(sequence, method, "internal error", None), True


class _Counted(Opening):
    """A connection that was just accepted, counted for its address until it ends."""

    def __init__(self, listener: Listener) -> None:
        super().__init__(listener.security, listener._begin, self._uncount)
        self._listener = listener
        self._is_counted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        listener = self._listener
        if listener.max_per_client and listener.per_client[self.client] >= listener.max_per_client:
            log.warning("closed a connection from %s: too many connections", self.client)
            self._refuse()
            return
        listener.per_client[self.client] += 1
        self._is_counted = True

    def _uncount(self) -> None:
        if self._is_counted:
            self._is_counted = False
            self._listener.per_client[self.client] -= 1
            if not self._listener.per_client[self.client]:
                del self._listener.per_client[self.client]


async def _write(writer: asyncio.StreamWriter, data: bytes) -> None:
    send(writer, data)
    async with asyncio.timeout(WRITE_TIMEOUT):
        await writer.drain()
