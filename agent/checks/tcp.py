"""TCP checks: a connection that opens passes; with `tcp_use_tls` it must also complete a TLS handshake."""

import asyncio

from agent.checks.dialling import DialError, close, dial
from agent.checks.probe import Result, Tools, timeout_of
from agent.checks.thresholds import CRITICAL, PASSING
from model.goerrors import split_address
from model.structs.catalog import CheckType


async def probe_tcp(check: CheckType, tools: Tools) -> Result:
    """Run a TCP check once."""
    context, name = None, ""
    try:
        if check.tcp_use_tls:
            context = tools.tls_context(check)
            name = tools.server_name(check, split_address(check.tcp)[0])
        async with asyncio.timeout(timeout_of(check)):
            _, writer = await dial(check.tcp, context, name)
    except TimeoutError:
        return CRITICAL, f"dial tcp {check.tcp}: i/o timeout"
    except DialError as error:
        return CRITICAL, f"tls handshake {check.tcp}: {error}" if error.tls else str(error)
    except (OSError, ValueError) as error:
        return CRITICAL, f"dial tcp: {error}"
    close(writer)
    return PASSING, f"TCP connect {check.tcp}: Success"
