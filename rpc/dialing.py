"""Connections to servers' ports: plain, or TLS behind the byte that announces it."""

import asyncio
import ssl
from collections.abc import Callable

from model.goerrors import dial_text, tls_text
from rpc.security import Security
from rpc.tls import TlsProtocol

TLS_FOLLOWS = b"\x03"
INSECURE_TLS = b"\x07"


def _here(address: str) -> str:
    return ""


class Dialer:
    """Makes connections as an agent's rules say.

    Args:
        source: the local address to dial from, if one is wanted.
        security: the rules.
        datacenter_of: in which other datacenter the server at an address is; "" for this agent's own.
    """

    def __init__(
        self, source: str = "", security: Security | None = None, datacenter_of: Callable[[str], str] = _here
    ) -> None:
        self.source = (source, 0) if source else None
        self.security = security or Security()
        self._datacenter_of = datacenter_of

    async def dial(self, address: str, seconds: float) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to the server at `ip:port`, on which the byte that says what follows is to be written next.

        Raises ConnectionRefusedError when the server does not answer in time, or is not whom it should be.
        """
        return await self._dial(address, self.security.rules.dial, TLS_FOLLOWS, seconds)

    async def dial_insecure(
        self, address: str, context: ssl.SSLContext, seconds: float
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection on which the server asks for no certificate, and answers next to nothing. Raises likewise."""
        return await self._dial(address, context, INSECURE_TLS, seconds)

    async def _dial(
        self, address: str, context: ssl.SSLContext | None, first: bytes, seconds: float
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, _, port = address.rpartition(":")
        if not port.isdigit():
            raise ConnectionRefusedError(f"{address!r} is no address of a server")
        try:
            async with asyncio.timeout(seconds):
                if context is None:
                    return await asyncio.open_connection(host.strip("[]"), int(port), local_addr=self.source)
                name = self.security.rules.name_in(self._datacenter_of(address))
                return await self._dial_tls(host.strip("[]"), int(port), context, name, first)
        except TimeoutError:
            raise ConnectionRefusedError(f"dial tcp {address}: i/o timeout") from None
        except ssl.SSLError as error:
            raise ConnectionRefusedError(f"{address}: TLS failed: {tls_text(error)}") from None
        except OSError as error:
            raise ConnectionRefusedError(dial_text("tcp", address, error)) from None

    async def _dial_tls(
        self, host: str, port: int, context: ssl.SSLContext, name: str, first: bytes
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(loop=loop)
        above = asyncio.StreamReaderProtocol(reader, loop=loop)
        security = self.security

        def begin() -> TlsProtocol:
            return TlsProtocol(context, above, False, name, security.handshake_timeout, first=first)

        _, protocol = await loop.create_connection(begin, host, port, local_addr=self.source)
        try:
            await protocol.ready
        except BaseException:
            protocol.raw.abort()
            raise
        assert protocol.transport is not None
        return reader, asyncio.StreamWriter(protocol.transport, above, reader, loop)
