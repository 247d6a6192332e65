"""UDP checks: a datagram that is answered, or at least not refused, passes."""

import asyncio
import socket

from agent.checks.dialling import resolve
from agent.checks.probe import Result, Tools, timeout_of
from agent.checks.thresholds import CRITICAL, PASSING
from model.goerrors import dial_text, endpoint, io_text
from model.structs.catalog import CheckType

PAYLOAD = b"consul health check"


async def probe_udp(check: CheckType, tools: Tools) -> Result:
    """Run a UDP check once: send something, and wait for an answer, a refusal, or the end of the time."""
    try:
        host, port = endpoint(check.udp, "udp")
    except ValueError as error:
        return CRITICAL, f"dial udp: {error}"
    try:
        family, address = (await resolve(host, port, socket.SOCK_DGRAM))[0]
    except OSError as error:
        return CRITICAL, dial_text("udp", check.udp, error)
    with socket.socket(family, socket.SOCK_DGRAM) as sending:
        sending.setblocking(False)
        try:
            sending.connect(address)
        except OSError as error:
            return CRITICAL, dial_text("udp", check.udp, error)
        return await _exchange(sending, check)


async def _exchange(sending: socket.socket, check: CheckType) -> Result:
    loop = asyncio.get_running_loop()
    local, remote = _shown(sending.getsockname()), _shown(sending.getpeername())
    try:
        await loop.sock_sendall(sending, PAYLOAD)
    except OSError as error:
        return CRITICAL, io_text("write", "udp", local, remote, error)
    try:
        async with asyncio.timeout(timeout_of(check)):
            await loop.sock_recv(sending, 1)
    except TimeoutError:
        pass  # Most services are silent when they are sent something that they do not understand.
    except OSError as error:
        return CRITICAL, io_text("read", "udp", local, remote, error)
    return PASSING, f"UDP connect {check.udp}: Success"


def _shown(address: tuple[object, ...]) -> str:
    host = str(address[0])
    return f"[{host}]:{address[1]}" if ":" in host else f"{host}:{address[1]}"
