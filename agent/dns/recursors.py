"""Questions that are none of ours, put to other DNS servers."""

import asyncio
import logging
import random
import struct

from dnslib import RR, DNSError, DNSRecord

from agent.config.settings import Config
from agent.dns.wire import Labels

log = logging.getLogger("lictor.agent.dns")

_SERVFAIL, _REFUSED = 2, 5


async def pass_on(packet: bytes, config: Config, udp: bool) -> bytes | None:
    """What the first recursor that answers says, marked as recursion; None when none does."""
    recursors = list(config.recursors)
    if config.dns.recursor_strategy == "random":
        random.shuffle(recursors)
    for recursor in recursors:
        try:
            answer = await _ask(recursor, packet, config.dns.recursor_timeout, udp)
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            log.warning("recursor %s failed: %s", recursor, error or "timed out")
            continue
        if len(answer) >= 12 and answer[3] & 15 not in (_SERVFAIL, _REFUSED):
            return bytes(answer[:3]) + bytes((answer[3] | 0x80,)) + bytes(answer[4:])
    return None


async def addresses(name: Labels, config: Config) -> list[RR]:
    """The answers to a question for the IPv4 address of a name; none when nobody knows it."""
    if not config.recursors:
        return []
    head = struct.pack("!HHHHHH", random.getrandbits(16), 0x100, 1, 0, 0, 0)
    asked = b"".join(bytes((len(label),)) + label for label in name) + b"\0"
    answer = await pass_on(head + asked + struct.pack("!HH", 1, 1), config, True)
    if answer is None:
        return []
    try:
        return list(DNSRecord.parse(answer).rr)
    except (DNSError, ValueError, IndexError, KeyError, TypeError):
        log.warning("a recursor's answer cannot be read")
        return []


async def _ask(recursor: str, packet: bytes, seconds: float, udp: bool) -> bytes:
    """Put a question to another DNS server. Raises OSError, TimeoutError."""
    host, _, port = recursor.rpartition(":") if recursor.count(":") == 1 or "]" in recursor else (recursor, "", "53")
    host, number = host.strip("[]"), int(port or 53)
    async with asyncio.timeout(seconds):
        if not udp:
            reader, writer = await asyncio.open_connection(host, number)
            try:
                writer.write(len(packet).to_bytes(2, "big") + packet)
                return await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
            finally:
                writer.close()
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[bytes] = loop.create_future()

        class _Client(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, addr: object) -> None:
                if not answered.done() and data[:2] == packet[:2]:
                    answered.set_result(data)

            def error_received(self, exc: Exception) -> None:
                if not answered.done():
                    answered.set_exception(exc)

        transport, _ = await loop.create_datagram_endpoint(_Client, remote_addr=(host, number))
        try:
            transport.sendto(packet)
            return await answered
        finally:
            transport.close()
