"""A proxy as one process: follow the state, serve, drain on SIGTERM."""

import asyncio
import logging
import signal
import ssl
from collections.abc import AsyncIterator
from typing import Any, Protocol

from connect_proxy.listeners import Listeners
from connect_proxy.source import SourceError
from mesh.proxy_state import ProxyState

log = logging.getLogger("lictor.connect.proxy")

DRAIN = 10.0


class Source(Protocol):
    """Gives states."""

    def states(self) -> AsyncIterator[ProxyState]:
        """Every new version of the document."""


async def run_proxy(source: Source, drain: float = DRAIN) -> int:
    """Run until SIGTERM or SIGINT; returns the exit code. `drain` is in seconds."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.set_exception_handler(_explain)
    running: list[Listeners] = []
    following = loop.create_task(_follow(source, running))
    stopping = loop.create_task(stop.wait())
    try:
        await asyncio.wait({following, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if following.done():
            error = following.exception()
            if isinstance(error, SourceError | OSError):
                log.error("%s", error)
                return 1
            if error is not None:
                raise error
        return 0
    finally:
        following.cancel()
        stopping.cancel()
        await asyncio.gather(following, return_exceptions=True)
        for listeners in running:
            log.info("draining connections for at most %g seconds", drain)
            await listeners.close(drain)


def _explain(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A connection that failed its TLS handshake never reaches a listener: say so in one line."""
    error = context.get("exception")
    if isinstance(error, ssl.SSLError | ConnectionError | TimeoutError):
        transport = context.get("transport")
        peer = transport.get_extra_info("peername") if transport is not None else None
        reason = getattr(error, "reason", None) or str(error) or type(error).__name__
        log.warning("refused a connection from %s: TLS handshake failed: %s", peer, reason)
        return
    loop.default_exception_handler(context)


async def _follow(source: Source, running: list[Listeners]) -> None:
    listeners: Listeners | None = None
    async for state in source.states():
        if listeners is None:
            listeners = Listeners(state)
            running.append(listeners)
        await listeners.apply(state)
