"""The first byte of a connection to the servers' port, and TLS if that byte announces it."""

import asyncio
import logging
import ssl
from collections.abc import Callable
from typing import Any, cast

from rpc.security import Security
from rpc.tls import TlsProtocol

log = logging.getLogger("lictor.rpc")

TLS_FOLLOWS = 3
INSECURE_TLS = 7
Begin = Callable[["Opening", int, asyncio.StreamReader, asyncio.StreamWriter], None]


class Opening(asyncio.Protocol):
    """A connection of which nothing is known yet. Once its byte has come, `begin` gets it, with streams.

    Inside TLS the same happens again, with `tls` set; `ended` is called once when the connection is gone, or when
    whoever got it says so.
    """

    def __init__(
        self, security: Security, begin: Begin, ended: Callable[[], None], tls: TlsProtocol | None = None
    ) -> None:
        self._security = security
        self._begin = begin
        self.ended = ended
        self.tls = tls
        self.client = ""
        self._transport: asyncio.Transport
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the byte, but not for long."""
        self._transport = cast(asyncio.Transport, transport)
        self.client = address_of(transport)
        self._timer = asyncio.get_running_loop().call_later(self._security.handshake_timeout, self._transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """It never came."""
        self._stop_timer()
        if self.tls is None:
            self.ended()

    def data_received(self, data: bytes) -> None:
        """It is there."""
        self._stop_timer()
        rules = self._security.rules
        if data[0] == TLS_FOLLOWS and self.tls is None:
            if rules.accept is None:
                log.warning("TLS connection attempted from %s, but this server has no certificate", self.client)
                self._refuse()
                return
            inner = Opening(self._security, self._begin, self.ended)
            inner.tls = TlsProtocol(
                rules.accept, inner, True, handshake_timeout=self._security.handshake_timeout, lost=self.ended
            )
            self._pass_to(inner.tls, data[1:])
            return
        if data[0] == INSECURE_TLS:
            if self.tls is None and rules.insecure is not None:
                self._begin_insecure(rules.insecure, data[1:])
            else:
                log.warning(
                    "refused a request for a certificate from %s: auto_encrypt.allow_tls is not set", self.client
                )
                self._refuse()
            return
        if rules.verify_incoming and self.tls is None:
            log.warning("non-TLS connection attempted from %s with verify_incoming set", self.client)
            self._refuse()
            return
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(loop=loop)
        streams = asyncio.StreamReaderProtocol(reader, loop=loop)
        self._pass_to(streams, data[1:])
        self._begin(self, data[0], reader, asyncio.StreamWriter(self._transport, streams, reader, loop))

    def _begin_insecure(self, context: ssl.SSLContext, rest: bytes) -> None:
        """TLS without a certificate of the client, and no other byte."""
        loop = asyncio.get_running_loop()

        def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._begin(self, INSECURE_TLS, reader, writer)

        streams = asyncio.StreamReaderProtocol(asyncio.StreamReader(loop=loop), begin, loop=loop)
        timeout = self._security.handshake_timeout
        self.tls = TlsProtocol(context, streams, True, handshake_timeout=timeout, lost=self.ended)
        self._pass_to(self.tls, rest)

    def _pass_to(self, protocol: asyncio.Protocol, rest: bytes) -> None:
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        if rest:
            protocol.data_received(rest)

    def _refuse(self) -> None:
        self._transport.close()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def address_of(transport: asyncio.BaseTransport) -> str:
    """The address of the other end."""
    peer: Any = transport.get_extra_info("peername")
    return str(peer[0]) if peer else ""
