"""What a check asks, once: HTTP, TCP, UDP, a script, an alias. Each gives a status and an output."""

import asyncio
import os
import signal
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

from agent.checks.thresholds import CRITICAL, PASSING, WARNING
from model.durations import SECOND
from model.structs.catalog import CheckType

Result = tuple[str, str]
Probe = Callable[[], Awaitable[Result]]
USER_AGENT = "Consul Health Check"
DEFAULT_TIMEOUT = 10.0
SCRIPT_TIMEOUT = 30.0


def timeout_of(check: CheckType, default: float = DEFAULT_TIMEOUT) -> float:
    """Seconds that a probe may take."""
    if check.timeout > 0:
        return check.timeout / SECOND
    interval = check.interval / SECOND
    return min(default, interval) if 0 < interval < default else default


def _tls_context(check: CheckType) -> ssl.SSLContext:
    """What a probe believes of a certificate: the machine's authorities, or anything where the check says so."""
    context = ssl.create_default_context()
    if check.tls_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


async def probe_http(session: aiohttp.ClientSession, check: CheckType, limit: int) -> Result:
    """GET (or another method): 2xx passes, 429 warns, everything else fails."""
    headers = {"User-Agent": USER_AGENT, "Accept": "text/plain, text/*, */*"}
    for name, values in (check.header or {}).items():
        headers[name] = ", ".join(values or ())
    method = check.method or "GET"
    try:
        async with session.request(
            method,
            check.http,
            headers=headers,
            data=check.body.encode() if check.body else None,
            ssl=_tls_context(check) if check.tls_skip_verify else True,
            server_hostname=check.tls_server_name or None,
            allow_redirects=not check.disable_redirects,
            timeout=aiohttp.ClientTimeout(total=timeout_of(check)),
        ) as response:
            body = await response.content.read(limit)
            output = (
                f"HTTP {method} {check.http}: {response.status} {response.reason} "
                f"Output: {body.decode('utf-8', 'replace')}"
            )
            if 200 <= response.status < 300:
                return PASSING, output
            return (WARNING if response.status == 429 else CRITICAL), output
    except TimeoutError:
        return CRITICAL, f'{method.capitalize()} "{check.http}": context deadline exceeded'
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return CRITICAL, f'{method.capitalize()} "{check.http}": {error}'


async def probe_tcp(check: CheckType) -> Result:
    """A connection that opens passes; with `tcp_use_tls` it must also complete a TLS handshake."""
    host, _, port = check.tcp.rpartition(":")
    host = host.strip("[]")
    secured: dict[str, Any] = {}
    if check.tcp_use_tls:
        secured = {"ssl": _tls_context(check), "server_hostname": check.tls_server_name or host}
    try:
        async with asyncio.timeout(timeout_of(check)):
            _, writer = await asyncio.open_connection(host, int(port), **secured)
        writer.close()
    except TimeoutError:
        return CRITICAL, f"dial tcp {check.tcp}: i/o timeout"
    except ssl.SSLError as error:
        return CRITICAL, f"tls handshake {check.tcp}: {getattr(error, 'verify_message', '') or error.reason or error}"
    except (OSError, ValueError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        return CRITICAL, f"dial tcp {check.tcp}: connect: {str(reason).lower()}"
    return PASSING, f"TCP connect {check.tcp}: Success"


async def probe_udp(check: CheckType) -> Result:
    """A datagram that is not refused passes; silence counts as such, too."""
    host, _, port = check.udp.rpartition(":")
    loop = asyncio.get_running_loop()
    refused: asyncio.Future[str] = loop.create_future()

    class _Listener(asyncio.DatagramProtocol):
        def error_received(self, exc: Exception) -> None:
            if not refused.done():
                refused.set_result(str(exc))

        def datagram_received(self, data: bytes, addr: object) -> None:
            if not refused.done():
                refused.set_result("")

    try:
        transport, _ = await loop.create_datagram_endpoint(_Listener, remote_addr=(host.strip("[]"), int(port)))
    except (OSError, ValueError) as error:
        return CRITICAL, f"dial udp {check.udp}: {error}"
    try:
        transport.sendto(b"")
        async with asyncio.timeout(min(1.0, timeout_of(check))):
            problem = await refused
        if problem:
            return CRITICAL, f"read udp {check.udp}: {problem}"
    except TimeoutError:
        pass
    finally:
        transport.close()
    return PASSING, f"UDP connect {check.udp}: Success"


async def probe_script(check: CheckType, limit: int) -> Result:
    """A program's exit code: 0 passes, 1 warns, everything else fails."""
    arguments = list(check.script_args or ())
    try:
        process = await asyncio.create_subprocess_exec(
            *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, start_new_session=True
        )
    except (OSError, ValueError) as error:
        return CRITICAL, f"Check failed to start: {error}"
    seconds = check.timeout / SECOND if check.timeout > 0 else SCRIPT_TIMEOUT
    assert process.stdout is not None
    try:
        async with asyncio.timeout(seconds):
            output = bytearray()
            while chunk := await process.stdout.read(65536):
                output += chunk
                del output[:-limit]
            code = await process.wait()
    except TimeoutError:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        return CRITICAL, f"Timed out ({seconds:g}s) running check"
    text = output.decode("utf-8", "replace")
    return {0: PASSING, 1: WARNING}.get(code, CRITICAL), text
