"""The DNS interface's sockets: UDP, and TCP with bounded, timed reads."""

import asyncio
import contextlib
import logging
import time
from socket import SOCK_DGRAM, SOCK_STREAM
from typing import Any

from agent.cache import Cache
from agent.config.settings import Config
from agent.dns.answer import Resolver
from model.metrics import METRICS
from rpc.addresses import EVERYWHERE, everywhere, host_of
from rpc.caller import Caller
from rpc.streams import send

log = logging.getLogger("lictor.agent.dns")

_ARPA = b"\x04arpa\x00"
"""What the names of addresses end with, in a question."""
TCP_TIMEOUT = 10.0
MAX_TCP = 256
MAX_PENDING = 2048


class DnsServer:
    """Serves DNS on the configured addresses."""

    def __init__(self, caller: Caller, config: Config, cache: Cache | None = None) -> None:
        self.resolver = Resolver(caller, config, cache)
        self._config = config
        self._udp: list[asyncio.DatagramTransport] = []
        self._tcp: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections = 0
        self._times = METRICS.sample("dns.domain_query", node=config.node_name)
        self._reverse_times = METRICS.sample("dns.ptr_query", node=config.node_name)

    async def start(self) -> None:
        """Listen. Raises OSError when the port is in use."""
        loop = asyncio.get_running_loop()
        port = self._config.ports.dns
        for host in self._config.dns_addrs:
            if host == EVERYWHERE:
                self._tcp.append(await asyncio.start_server(self._serve, sock=everywhere(SOCK_STREAM, port)))
                bound = everywhere(SOCK_DGRAM, port)
                transport, _ = await loop.create_datagram_endpoint(lambda: _Packets(self), sock=bound)
            else:
                self._tcp.append(await asyncio.start_server(self._serve, host, port))
                transport, _ = await loop.create_datagram_endpoint(lambda: _Packets(self), local_addr=(host, port))
            self._udp.append(transport)

    def reload(self, config: Config) -> None:
        """Take over new settings."""
        self.resolver.config = config

    async def stop(self) -> None:
        """Close the sockets."""
        for transport in self._udp:
            transport.close()
        for server in self._tcp:
            server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def packet(self, transport: asyncio.DatagramTransport, data: bytes, client: Any) -> None:
        """A datagram arrived."""
        if len(self._tasks) >= MAX_PENDING:
            return  # The client asks again; memory stays bounded.
        task = asyncio.get_running_loop().create_task(self._answer(transport, data, client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _respond(self, data: bytes, udp: bool, client: str) -> bytes | None:
        began = time.perf_counter()
        answer = await self.resolver.respond(data, udp, client)
        times = self._reverse_times if _ARPA in data.lower() else self._times
        times.add((time.perf_counter() - began) * 1000.0)
        return answer

    async def _answer(self, transport: asyncio.DatagramTransport, data: bytes, client: Any) -> None:
        try:
            answer = await self._respond(data, True, host_of(client))
        except Exception:
            log.exception("a DNS question failed")
            return
        if answer is not None and not transport.is_closing():
            transport.sendto(answer, client)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._connections >= MAX_TCP:
            writer.close()
            return
        self._connections += 1
        peer = writer.get_extra_info("peername")
        try:
            with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                while True:
                    async with asyncio.timeout(TCP_TIMEOUT):
                        length = int.from_bytes(await reader.readexactly(2), "big")
                        data = await reader.readexactly(length)
                    answer = await self._respond(data, False, host_of(peer))
                    if answer is None:
                        return
                    send(writer, len(answer).to_bytes(2, "big") + answer)
                    async with asyncio.timeout(TCP_TIMEOUT):
                        await writer.drain()
        except Exception:
            log.exception("a DNS question failed")
        finally:
            self._connections -= 1
            writer.close()


class _Packets(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server = server
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._server.packet(self._transport, data, addr)
