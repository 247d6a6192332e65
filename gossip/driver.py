"""`Gossip`: a member of a pool on real sockets. UDP for packets, TCP for exchanges of state, asyncio for the time."""

import asyncio
import contextlib
import logging
import os
import random
import re
import socket
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgpack

from gossip import wire
from gossip.core import Core, Member, MemberEvent, Output, PushPull, SendPacket, Settings, Status, StreamPing, UserEvent
from gossip.wire import GossipError
from rpc.streams import send

log = logging.getLogger("lictor.gossip")

TICK = 0.025
MAX_STREAMS = 128
SNAPSHOT_LIMIT = 128 << 10

Event = MemberEvent | UserEvent


class JoinError(Exception):
    """Nobody could be joined; the text lists each address with its reason."""


class Gossip:
    """One member.

    Args:
        settings: who it is; `settings.port` 0 takes any free port.
        bind: the address to listen on.
        snapshot: a file that remembers the pool, so that a restart finds it again; None for none.
    """

    def __init__(self, settings: Settings, bind: str, snapshot: Path | None = None) -> None:
        self._settings = settings
        self._bind = bind
        self._snapshot_path = snapshot
        self._core: Core | None = None
        self._callbacks: list[Callable[[Event], None]] = []
        self._udp: asyncio.DatagramTransport | None = None
        self._tcp: asyncio.Server | None = None
        self._ticker: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._streams = 0
        self._snapshot_dirty = False
        self._stopped = False

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
        self._core = Core(self._settings, random.Random(), loop.time())
        self._schedule()

    @property
    def core(self) -> Core:
        """The protocol's state; raises RuntimeError before `start`."""
        if self._core is None:
            raise RuntimeError("gossip has not been started")
        return self._core

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
        self._write_snapshot()

    async def leave(self) -> None:
        """Tell everybody that this member leaves, and wait until that had time to spread; then `stop`."""
        core = self.core
        core.intend_to_leave()
        await self._until_told(5.0)
        core.leave()
        self._flush()
        await self._until_told(5.0)
        if core.others_alive:
            await asyncio.sleep(core.timing.propagate_delay)
        if self._snapshot_path is not None:
            with contextlib.suppress(OSError):
                self._snapshot_path.unlink(missing_ok=True)
            self._snapshot_path = None

    async def _until_told(self, seconds: float) -> None:
        deadline = asyncio.get_running_loop().time() + seconds
        while self.core.undelivered and self.core.others_alive and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.02)

    def _schedule(self) -> None:
        self._ticker = asyncio.get_running_loop().call_later(TICK, self._tick)

    def _tick(self) -> None:
        self._schedule()
        self.core.tick(asyncio.get_running_loop().time())
        self._flush()
        if self._snapshot_dirty:
            self._snapshot_dirty = False
            self._write_snapshot()

    # What others see and ask

    def on_event(self, callback: Callable[[Event], None]) -> None:
        """Call back for every member event and user event."""
        self._callbacks.append(callback)

    def members(self) -> list[Member]:
        """All known members by name."""
        return self.core.members()

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
        done = self.core.force_leave(name, prune, asyncio.get_running_loop().time())
        self._flush()
        return done

    async def join(self, addresses: Iterable[str]) -> int:
        """Exchange state with members at `host[:port]`; returns with how many that worked.

        Raises JoinError when it worked with none.
        """
        joined = 0
        errors = []
        for text in addresses:
            try:
                targets = await self._resolve(text)
            except OSError as error:
                errors.append(f"Failed to resolve {text}: {error.strerror or error}")
                continue
            for target in targets:
                try:
                    await self._exchange(target, join=True)
                    joined += 1
                except (OSError, GossipError, TimeoutError, asyncio.IncompleteReadError) as error:
                    reason = str(error) or type(error).__name__
                    errors.append(f"Failed to join {target[0]}:{target[1]}: {reason}")
        if joined:
            self.core.joined()
            self._flush()
        elif errors:
            listed = "\n\t".join(f"* {error}" for error in errors)
            raise JoinError(f"{len(errors)} error{'s' * (len(errors) > 1)} occurred:\n\t{listed}\n\n")
        return joined

    async def rejoin(self) -> int:
        """Try the members that the snapshot remembers, until one answers."""
        remembered = self._remembered()
        random.shuffle(remembered)
        for address in remembered:
            with contextlib.suppress(JoinError):
                return await self.join([address])
        return 0

    async def _resolve(self, text: str) -> list[tuple[str, int]]:
        """The addresses of `host[:port]`. Raises OSError."""
        text = text.rpartition("/")[2]
        port = self._settings.port
        number = ""
        if text.startswith("["):
            host, _, rest = text[1:].partition("]")
            number = rest[1:] if rest.startswith(":") else ""
        elif text.count(":") == 1:
            host, _, number = text.partition(":")
        else:
            host = text
        if number:
            if not re.fullmatch(r"[0-9]{1,5}", number, re.ASCII) or int(number) > 65535:
                raise OSError(f"invalid port {number[:20]!r}")
            port = int(number)
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except UnicodeError:  # The name has a part that is empty, too long, or of characters that names cannot have.
            raise OSError("no such host") from None
        return list(dict.fromkeys((str(info[4][0]), int(info[4][1])) for info in found))

    # Doing what the core says

    def _flush(self) -> None:
        core = self.core
        while core.outbox:
            outputs, core.outbox = core.outbox, []
            for output in outputs:
                self._do(output)

    def _do(self, output: Output) -> None:
        if isinstance(output, SendPacket):
            if self._udp is not None and not self._udp.is_closing():
                self._udp.sendto(output.data, output.address)
        elif isinstance(output, PushPull):
            self._spawn(self._quiet_exchange(output))
        elif isinstance(output, StreamPing):
            self._spawn(self._stream_ping(output))
        else:
            self._snapshot_dirty = self._snapshot_path is not None
            for callback in self._callbacks:
                try:
                    callback(output)
                except Exception:
                    log.exception("handling a gossip event failed")

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def packet_received(self, data: bytes, sender: tuple[str, int]) -> None:
        """A datagram arrived."""
        if self._core is not None and not self._stopped:
            self._core.receive_packet(data, sender, asyncio.get_running_loop().time())
            self._flush()

    # Streams

    async def _quiet_exchange(self, output: PushPull) -> None:
        try:
            await self._exchange(output.address, output.join)
        except (OSError, GossipError, TimeoutError, asyncio.IncompleteReadError) as error:
            log.debug("push/pull with %s:%d failed: %s", *output.address, error)

    async def _exchange(self, address: tuple[str, int], join: bool) -> None:
        core = self.core
        async with asyncio.timeout(core.timing.stream_timeout):
            reader, writer = await asyncio.open_connection(*address, local_addr=(self._bind, 0))
            try:
                send(writer, core.local_state(join))
                await writer.drain()
                kind, nodes, user, _ = await _read_push_pull(reader)
            finally:
                writer.close()
        if kind == wire.ERROR:
            raise GossipError(user.decode("utf-8", "replace"))
        core.merge(nodes, user, join, asyncio.get_running_loop().time())
        self._flush()

    async def _stream_ping(self, ping: StreamPing) -> None:
        with contextlib.suppress(OSError, TimeoutError, GossipError, asyncio.IncompleteReadError):
            async with asyncio.timeout(ping.timeout):
                reader, writer = await asyncio.open_connection(*ping.address, local_addr=(self._bind, 0))
                try:
                    writer.write(wire.message(wire.PING, {"Node": ping.node, "SeqNo": ping.sequence}))
                    answer = await reader.read(512)
                finally:
                    writer.close()
            if answer[:1] == bytes((wire.ACK,)) and wire.number(wire.unpack(answer[1:]), "SeqNo") == ping.sequence:
                self.core.stream_ack(ping.sequence)
                self._flush()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._streams >= MAX_STREAMS or self._core is None:
            writer.close()
            return
        self._streams += 1
        try:
            async with asyncio.timeout(self._core.timing.stream_timeout):
                await self._answer(reader, writer)
        except (OSError, GossipError, TimeoutError, asyncio.IncompleteReadError) as error:
            peer = writer.get_extra_info("peername")
            log.debug("gossip stream from %s failed: %s", peer, error)
        finally:
            self._streams -= 1
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        core = self.core
        kind, nodes, user, join = await _read_push_pull(reader)
        now = asyncio.get_running_loop().time()
        if kind == wire.PING:
            fields = nodes[0]
            wanted = wire.text(fields, "Node")
            if wanted in ("", core.name):
                body = {"Payload": None, "SeqNo": wire.number(fields, "SeqNo", 1 << 32)}
                send(writer, wire.message(wire.ACK, body))
                await writer.drain()
            return
        if kind == wire.PUSH_PULL:
            send(writer, core.local_state(join))
            await writer.drain()
            core.merge(nodes, user, join, now)
            self._flush()

    # The snapshot

    def _remembered(self) -> list[str]:
        if self._snapshot_path is None:
            return []
        try:
            lines = self._snapshot_path.read_text("utf-8", "replace")[: 16 * SNAPSHOT_LIMIT].split("\n")[:-1]
        except OSError:
            return []
        alive: dict[str, str] = {}
        for line in lines:
            kind, _, rest = line.partition(": ")
            if kind == "alive":
                name, _, address = rest.rpartition(" ")
                alive[name] = address
            elif kind == "not-alive":
                alive.pop(rest, None)
            elif line == "leave":
                alive.clear()
        alive.pop(self._settings.name, None)
        return list(alive.values())

    def _write_snapshot(self) -> None:
        if self._snapshot_path is None or self._core is None:
            return
        lines = []
        for member in self._core.members():
            if member.status is Status.ALIVE and member.name != self._core.name:
                host = f"[{member.address}]" if ":" in member.address else member.address
                lines.append(f"alive: {member.name} {host}:{member.port}\n")
        temporary = self._snapshot_path.with_suffix(".tmp")
        try:
            self._snapshot_path.parent.mkdir(parents=True, exist_ok=True)
            if not lines and self._snapshot_path.exists():
                return  # Alone after a failure of the network: what is remembered is worth more than nothing.
            temporary.write_text("".join(lines))
            os.replace(temporary, self._snapshot_path)
        except OSError as error:
            log.warning("cannot write the gossip snapshot: %s", error)


class _Packets(asyncio.DatagramProtocol):
    def __init__(self, gossip: Gossip) -> None:
        self._gossip = gossip

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        self._gossip.packet_received(data, (addr[0], addr[1]))

    def error_received(self, exc: Exception) -> None:
        log.debug("gossip datagram: %s", exc)


async def _read_push_pull(reader: asyncio.StreamReader) -> tuple[int, list[dict[str, Any]], bytes, bool]:
    """A message of a stream: its type, node states (or a ping's fields), user state, and whether it is a join."""
    kind = (await reader.readexactly(1))[0]
    buffered = bytearray()
    if kind == wire.COMPRESSED:
        kind, buffered = await _read_compressed(reader)
    unpacker = msgpack.Unpacker(
        raw=False, unicode_errors="surrogateescape", strict_map_key=False, max_buffer_size=wire.MAX_STREAM
    )
    unpacker.feed(bytes(buffered))
    total = bytearray(buffered)

    async def one() -> dict[str, Any]:
        while True:
            try:
                value = unpacker.unpack()
            except msgpack.OutOfData:
                chunk = await reader.read(65536)
                if not chunk:
                    raise asyncio.IncompleteReadError(bytes(total[:16]), None) from None
                if len(total) + len(chunk) > wire.MAX_STREAM:
                    raise GossipError("a stream's message is too large") from None
                total.extend(chunk)
                unpacker.feed(chunk)
                continue
            except (msgpack.exceptions.UnpackException, ValueError, TypeError, RecursionError) as error:
                raise GossipError(f"not a msgpack value: {error}") from None
            if not isinstance(value, dict):
                raise GossipError("a stream's value is not a map")
            return value

    header = await one()
    if kind == wire.ERROR:
        return kind, [], wire.text(header, "Error").encode(), False
    if kind == wire.PING:
        return kind, [header], b"", False
    if kind != wire.PUSH_PULL:
        raise GossipError(f"unknown stream type {kind}")
    count = wire.number(header, "Nodes", wire.MAX_NODES)
    length = wire.number(header, "UserStateLen", wire.MAX_STREAM)
    nodes = [await one() for _ in range(count)]
    user = bytearray(total[unpacker.tell() :])
    while len(user) < length:
        chunk = await reader.read(length - len(user))
        if not chunk:
            raise asyncio.IncompleteReadError(b"", length)
        user.extend(chunk)
    return kind, nodes, bytes(user[:length]), bool(header.get("Join"))


async def _read_compressed(reader: asyncio.StreamReader) -> tuple[int, bytearray]:
    """A compressed stream message: read its map, which has no length in front, until it is whole."""
    data = bytearray()
    while True:
        chunk = await reader.read(65536)
        if not chunk:
            raise asyncio.IncompleteReadError(bytes(data[:16]), None)
        data.extend(chunk)
        if len(data) > wire.MAX_STREAM:
            raise GossipError("a compressed stream is too large")
        try:
            plain = wire.decompress(bytes(data))
        except GossipError:
            continue  # Not whole yet, or rubbish: the time-out of the stream ends that.
        if not plain:
            raise GossipError("an empty compressed stream")
        return plain[0], bytearray(plain[1:])
