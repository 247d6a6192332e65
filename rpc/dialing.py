"""Connections to servers' ports: plain, or TLS behind the byte that announces it."""

import asyncio
import ssl

from rpc.security import Security
from rpc.tls import TlsProtocol

TLS_FOLLOWS = b"\x03"


class Dialer:
    """Makes connections as an agent's rules say. `source` is the local address to dial from, if one is wanted."""

    def __init__(self, source: str = "", security: Security | None = None) -> None:
        self.source = (source, 0) if source else None
        self.security = security or Security()

    async def dial(self, address: str, seconds: float) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to the server at `ip:port`, on which the byte that says what follows is to be written next.

        Raises ConnectionRefusedError when the server does not answer in time, or is not whom it should be.
        """
        host, _, port = address.rpartition(":")
        if not port.isdigit():
            raise ConnectionRefusedError(f"{address!r} is no address of a server")
        try:
            async with asyncio.timeout(seconds):
                if self.security.rules.dial is None:
                    return await asyncio.open_connection(host.strip("[]"), int(port), local_addr=self.source)
                return await self._dial_tls(host.strip("[]"), int(port), self.security.rules.dial)
        except TimeoutError:
            raise ConnectionRefusedError(f"{address} does not answer") from None
        except ssl.SSLError as error:
            reason = getattr(error, "verify_message", "") or error.reason or str(error)
            raise ConnectionRefusedError(f"{address}: TLS failed: {reason}") from None
        except OSError as error:
            raise ConnectionRefusedError(f"{address}: {error.strerror or error}") from None

    async def _dial_tls(
        self, host: str, port: int, context: ssl.SSLContext
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(loop=loop)
        above = asyncio.StreamReaderProtocol(reader, loop=loop)
        security = self.security

        def begin() -> TlsProtocol:
            name = security.rules.server_name
            return TlsProtocol(context, above, False, name, security.handshake_timeout, first=TLS_FOLLOWS)

        _, protocol = await loop.create_connection(begin, host, port, local_addr=self.source)
        try:
            await protocol.ready
        except BaseException:
            protocol.raw.abort()
            raise
        assert protocol.transport is not None
        return reader, asyncio.StreamWriter(protocol.transport, above, reader, loop)
