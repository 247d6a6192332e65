"""`Gossip`: a member of a pool on real sockets: UDP for packets, TCP for exchanges of state.

The core gets the time of the monotonic clock rather than the event loop's, which uvloop counts in whole milliseconds:
too coarse for measuring how far away others are.
"""

import asyncio
import contextlib
import logging
import os
import random
import socket
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from gossip import key_answers, remembered, wire
from gossip.core import Core
from gossip.dialling import MOST_BYTES_READ, reason, resolve
from gossip.interface import (
    Member,
    MemberEvent,
    Notice,
    Output,
    PushPull,
    QueryAnswered,
    SendPacket,
    Settings,
    Status,
    StreamPing,
    UserEvent,
)
from gossip.key_answers import KeyReport
from gossip.notices import Notices
from gossip.queries import Query
from gossip.remembered import Remembered
from gossip.streams import OuterError, StreamMessage, StreamReader, error_message
from gossip.wire import GossipError
from rpc.streams import send

LEAST_TICK, MOST_TICK = 0.025, 0.1
"""Seconds between looks at the clock: a quarter of the pool's gossip interval, within these bounds."""
MAX_STREAMS = 128
SNAPSHOT_INTERVAL = 0.5

Event = MemberEvent | UserEvent
_STREAM_ERRORS = (OSError, GossipError, TimeoutError, asyncio.IncompleteReadError)


class JoinError(Exception):
    """Nobody could be joined; the text lists each address with its reason."""


class Gossip:
    """One member.

    Args:
        settings: who it is; `settings.port` 0 takes any free port.
        bind: the address to listen on.
        snapshot: a file that remembers the pool, so that a restart finds it again; None for none.
        rejoin_after_leave: go back to that pool although this member left it on purpose.
        pool: the pool's name in logs.
    """

    def __init__(
        self,
        settings: Settings,
        bind: str,
        snapshot: Path | None = None,
        rejoin_after_leave: bool = False,
        pool: str = "lan",
    ) -> None:
        self._settings = settings
        self._bind = bind
        self._snapshot_path = snapshot
        self._rejoin_after_leave = rejoin_after_leave
        self._core: Core | None = None
        self._callbacks: list[Callable[[Event], None]] = []
        self._udp: asyncio.DatagramTransport | None = None
        self._tcp: asyncio.Server | None = None
        self._ticker: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: dict[int, asyncio.Event] = {}
        self._streams = 0
        self._tick_seconds = min(MOST_TICK, max(LEAST_TICK, settings.timing.gossip_interval / 4))
        self._remembered = Remembered()
        self._snapshot_dirty = False
        self._next_snapshot = 0.0
        self._left = False
        self._stopped = False
        self._log = logging.getLogger(f"lictor.gossip.{pool}")
        self._notices = Notices(self._log.warning)

    # Life

    async def start(self) -> None:
        """Begin to listen. Raises OSError when the port is in use."""
        loop = asyncio.get_running_loop()
        family = socket.AF_INET6 if ":" in self._bind else socket.AF_INET
        self._tcp = await asyncio.start_server(self._serve, self._bind, self._settings.port, family=family)
        port = self._tcp.sockets[0].getsockname()[1]
        try:
            self._udp, _ = await loop.create_datagram_endpoint(
                lambda: _Packets(self), local_addr=(self._bind, port), family=family
            )
        except OSError:
            self._tcp.close()
            raise
        if self._settings.port == 0:
            self._settings.port = port
        self._core = Core(self._settings, random.Random(), time.monotonic())
        self._recall()
        self._schedule()

    @property
    def core(self) -> Core:
        """The protocol's state; raises RuntimeError before `start`."""
        if self._core is None:
            raise RuntimeError("gossip has not been started")
        return self._core

    @property
    def started(self) -> bool:
        """Whether `start` was successful."""
        return self._core is not None

    async def stop(self) -> None:
        """Stop without leaving: the others will find this member failed."""
        if self._stopped:
            return
        self._stopped = True
        if self._ticker is not None:
            self._ticker.cancel()
        if self._udp is not None:
            self._udp.close()
        if self._tcp is not None:
            self._tcp.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if not self._left:
            self._write_snapshot()

    async def leave(self) -> None:
        """Tell everybody that this member leaves, and wait until that had time to spread; then `stop`."""
        core = self.core
        if self._left:
            return
        self._left = True
        self._write_snapshot()
        core.intend_to_leave()
        await self._until_told(5.0)
        core.leave()
        self._flush()
        await self._until_told(5.0)
        if core.others_alive:
            await asyncio.sleep(core.timing.propagate_delay)

    async def _until_told(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while self.core.undelivered and self.core.others_alive and time.monotonic() < deadline:
            await asyncio.sleep(0.02)

    def _schedule(self) -> None:
        self._ticker = asyncio.get_running_loop().call_later(self._tick_seconds, self._tick)

    def _tick(self) -> None:
        self._schedule()
        now = time.monotonic()
        self.core.tick(now)
        self._flush()
        if self._snapshot_dirty and now >= self._next_snapshot and not self._left:
            self._next_snapshot = now + SNAPSHOT_INTERVAL
            self._write_snapshot()

    # What others see and ask

    def on_event(self, callback: Callable[[Event], None]) -> None:
        """Call back for every member event and user event."""
        self._callbacks.append(callback)

    def members(self) -> list[Member]:
        """All known members by name; none before `start`."""
        return self._core.members() if self._core is not None else []

    @property
    def local(self) -> Member:
        """This member."""
        member = self.core.member(self.core.name)
        assert member is not None
        return member

    def stats(self) -> dict[str, str]:
        """Figures in the manner of `consul info`'s serf section."""
        return self.core.stats()

    def set_tags(self, tags: dict[str, str]) -> None:
        """Change this member's tags. Raises GossipError when they are too large."""
        self.core.set_tags(tags)
        self._flush()

    def fire(self, name: str, payload: bytes, coalesce: bool = False) -> None:
        """Send a user event. Raises GossipError when it is too large."""
        self.core.fire(name, payload, coalesce)
        self._flush()

    def force_leave(self, name: str, prune: bool = False) -> bool:
        """Declare that a failed member has left; False when nobody of that name is known."""
        done = self.core.force_leave(name, prune, time.monotonic())
        self._flush()
        return done

    async def keys(self, operation: str, key: bytes = b"", relay_factor: int = 0) -> KeyReport:
        """Ask all members for their keys or to change them (`key_answers.OPERATIONS`), and wait for all or long enough.

        Raises GossipError when the key is too large for a query.
        """
        core = self.core
        members = core.nodes_alive
        payload = key_answers.request(key) if operation != key_answers.LIST else b""
        query = core.ask(operation, payload, relay_factor, time.monotonic())
        await self._answers(query, members)
        return key_answers.report(members, query.answers)

    async def _answers(self, query: Query, wanted: int) -> None:
        """Wait until so many members have answered, or until the query's time is over."""
        woken = self._waiting[query.number] = asyncio.Event()
        self._flush()
        try:
            async with asyncio.timeout(max(0.0, query.deadline - time.monotonic())):
                while len(query.answers) < wanted:
                    await woken.wait()
                    woken.clear()
        except TimeoutError:
            pass  # What has come by now is what there is.
        finally:
            self._waiting.pop(query.number, None)

    async def join(self, addresses: Iterable[str]) -> int:
        """Exchange state with members at `host[:port]`; returns with how many that worked.

        Raises JoinError when it worked with none.
        """
        joined = 0
        errors = []
        for text in addresses:
            try:
                targets = await resolve(text, self._settings.port)
            except OSError as error:
                errors.append(f"Failed to resolve {text}: {error}")
                continue
            for target in targets:
                try:
                    await self._exchange(target, join=True)
                    joined += 1
                except _STREAM_ERRORS as error:
                    errors.append(f"Failed to join {target[0]}:{target[1]}: {reason(error, target)}")
        if joined:
            self.core.joined()
            self._flush()
        elif errors:
            listed = "\n\t".join(f"* {error}" for error in errors)
            raise JoinError(f"{len(errors)} error{'s' * (len(errors) > 1)} occurred:\n\t{listed}\n\n")
        return joined

    async def rejoin(self) -> int:
        """Try the members that the snapshot remembers, until one answers."""
        addresses = [address for name, address in self._remembered.alive.items() if name != self._settings.name]
        random.shuffle(addresses)
        for address in addresses:
            with contextlib.suppress(JoinError):
                return await self.join([address])
        return 0

    # Doing what the core says

    def _flush(self) -> None:
        core = self.core
        while core.outbox:
            outputs, core.outbox = core.outbox, []
            for output in outputs:
                self._do(output)

    def _do(self, output: Output) -> None:
        if isinstance(output, SendPacket):
            self._send(output)
        elif isinstance(output, PushPull):
            self._spawn(self._quiet_exchange(output))
        elif isinstance(output, StreamPing):
            self._spawn(self._stream_ping(output))
        elif isinstance(output, QueryAnswered):
            if output.number in self._waiting:
                self._waiting[output.number].set()
        elif isinstance(output, Notice):
            self._notices.say(output, time.monotonic())
        else:
            self._snapshot_dirty = True
            for callback in self._callbacks:
                try:
                    callback(output)
                except Exception:
                    self._log.exception("handling a gossip event failed")

    def _send(self, packet: SendPacket) -> None:
        if self._udp is None or self._udp.is_closing():
            return
        try:
            self._udp.sendto(packet.data, packet.address)
        except (OSError, ValueError) as error:
            # A member may claim any address, one of the other family among them: its fault, and nobody else's loss.
            host, port = packet.address
            self._notices.say(Notice(f"cannot send to {host}:{port}: {error}", f"{host}:{port}"), time.monotonic())

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def packet_received(self, data: bytes, sender: tuple[str, int]) -> None:
        """A datagram arrived."""
        if self._core is not None and not self._stopped:
            self._core.receive_packet(data, sender, time.monotonic())
            self._flush()

    # Streams

    async def _quiet_exchange(self, output: PushPull) -> None:
        try:
            await self._exchange(output.address, output.join)
        except _STREAM_ERRORS as error:
            self._log.debug("push/pull with %s:%d failed: %s", *output.address, error)

    async def _ask(self, address: tuple[str, int], message: bytes) -> StreamMessage:
        """Dial a member, say something, and return its answer. Raises GossipError, OSError, IncompleteReadError."""
        envelope = self._settings.envelope
        reader, writer = await asyncio.open_connection(*address, local_addr=(self._bind, 0))
        try:
            send(writer, envelope.close_stream(message, dialled=True))
            await writer.drain()
            return await _read(reader, StreamReader(envelope, dialled=True))
        finally:
            writer.close()

    async def _exchange(self, address: tuple[str, int], join: bool) -> None:
        core = self.core
        async with asyncio.timeout(core.timing.stream_timeout):
            answer = await self._ask(address, core.local_state(join))
        if answer.kind == wire.ERROR:
            raise GossipError(f"remote error: {wire.text(answer.fields, 'Error')[:500]}")
        if answer.kind != wire.PUSH_PULL:
            raise GossipError(f"received invalid msgType ({answer.kind}), expected pushPullMsg (6)")
        core.merge(answer.nodes, answer.user, join, time.monotonic())
        self._flush()

    async def _stream_ping(self, ping: StreamPing) -> None:
        with contextlib.suppress(*_STREAM_ERRORS):
            async with asyncio.timeout(ping.timeout):
                answer = await self._ask(
                    ping.address, wire.message(wire.PING, {"Node": ping.node, "SeqNo": ping.sequence})
                )
            if answer.kind == wire.ACK and wire.number(answer.fields, "SeqNo") == ping.sequence:
                self.core.stream_ack(ping.sequence)
                self._flush()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        core, peer = self._core, writer.get_extra_info("peername")
        if self._streams >= MAX_STREAMS or core is None or not peer:
            writer.close()
            return
        self._streams += 1
        try:
            if not self._settings.allowed(str(peer[0])):
                raise GossipError("its address is not in the allowed CIDRs")
            async with asyncio.timeout(core.timing.stream_timeout):
                await self._answer(reader, writer)
        except (GossipError, TimeoutError, asyncio.IncompleteReadError) as error:
            why = str(error) if isinstance(error, GossipError) else "the stream ended early or took too long"
            notice = Notice(f"failed to receive: {why} from={peer[0]}:{peer[1]}", f"{peer[0]} {why}")
            self._notices.say(notice, time.monotonic())
        except OSError as error:
            self._log.debug("gossip stream from %s failed: %s", peer, error)
        finally:
            self._streams -= 1
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        core, envelope = self.core, self._settings.envelope
        try:
            message = await _read(reader, StreamReader(envelope, dialled=False))
        except OuterError as error:
            send(writer, envelope.close_stream(error_message(str(error)), dialled=False))
            await writer.drain()
            raise
        if message.kind == wire.PING:
            wanted = wire.text(message.fields, "Node")
            if wanted in ("", core.name):
                body = {"Payload": None, "SeqNo": wire.number(message.fields, "SeqNo", 1 << 32)}
                send(writer, envelope.close_stream(wire.message(wire.ACK, body), dialled=False))
                await writer.drain()
        elif message.kind == wire.PUSH_PULL:
            send(writer, envelope.close_stream(core.local_state(message.join), dialled=False))
            await writer.drain()
            core.merge(message.nodes, message.user, message.join, time.monotonic())
            self._flush()

    # The snapshot

    def _recall(self) -> None:
        """Go on from where an earlier life of this member stopped."""
        if self._snapshot_path is None:
            return
        try:
            with self._snapshot_path.open("rb") as file:
                text = file.read(remembered.MOST_BYTES).decode("utf-8", "replace")
        except OSError:
            return
        found = self._remembered = remembered.parse(text, self._rejoin_after_leave)
        self.core.remember(found.clock, found.event_clock, found.query_clock)

    def _write_snapshot(self) -> None:
        self._snapshot_dirty = False
        if self._snapshot_path is None or self._core is None:
            return
        core = self._core
        alone = not any(one.status is Status.ALIVE and one.name != core.name for one in core.members())
        if alone and self._snapshot_path.exists() and not self._left:
            return  # Alone after a failure of the network: what is remembered is worth more than nothing.
        text = remembered.written(core.members(), core.name, core.clocks, self._left)
        temporary = self._snapshot_path.with_suffix(".tmp")
        try:
            self._snapshot_path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(text)
            os.replace(temporary, self._snapshot_path)
        except OSError as error:
            self._log.warning("cannot write the gossip snapshot: %s", error)


class _Packets(asyncio.DatagramProtocol):
    def __init__(self, gossip: Gossip) -> None:
        self._gossip = gossip

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        self._gossip.packet_received(data, (addr[0], addr[1]))


async def _read(reader: asyncio.StreamReader, parser: StreamReader) -> StreamMessage:
    """The message of a stream. Raises GossipError, IncompleteReadError."""
    while True:
        chunk = await reader.read(MOST_BYTES_READ)
        if not chunk:
            raise asyncio.IncompleteReadError(b"", None)
        message = parser.feed(chunk)
        if message is not None:
            return message
