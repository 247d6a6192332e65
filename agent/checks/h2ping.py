"""H2PING checks: a server that answers a PING of HTTP/2 passes."""

import asyncio
import os

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, PingAckReceived
from h2.exceptions import ProtocolError

from agent.checks.dialling import DialError
from agent.checks.http2 import converse
from agent.checks.probe import Result, Tools, timeout_of
from agent.checks.thresholds import CRITICAL, PASSING
from model.goerrors import split_address
from model.structs.catalog import CheckType


class Ping:
    """A PING and its acknowledgement. Sans-IO; `data` are the 8 bytes that come back."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._connection = H2Connection(H2Configuration(client_side=True))
        self.finished = False
        self.problem = ""
        """Why there was no acknowledgement; "" when there was one."""

    def start(self) -> bytes:
        """The preface, and the PING."""
        self._connection.initiate_connection()
        self._connection.ping(self._data)
        return self._connection.data_to_send()

    def receive(self, data: bytes) -> bytes:
        """Take frames."""
        try:
            events = self._connection.receive_data(data)
        except ProtocolError as error:
            self.closed(f"http2: {error}")
            return self._connection.data_to_send()
        for event in events:
            if isinstance(event, PingAckReceived) and event.ping_data == self._data:
                self.finished = True
            elif isinstance(event, ConnectionTerminated):
                self.closed("http2: server sent GOAWAY and closed the connection")
        return self._connection.data_to_send()

    def closed(self, reason: str) -> None:
        """No acknowledgement will come."""
        if not self.finished:
            self.finished, self.problem = True, reason


async def probe_h2ping(check: CheckType, tools: Tools) -> Result:
    """Run an H2PING check once, with TLS unless `h2ping_use_tls` is false."""
    ping = Ping(os.urandom(8))
    try:
        context, name = None, ""
        if check.h2ping_use_tls:
            context = tools.tls_context(check, "h2")
            name = tools.server_name(check, split_address(check.h2ping)[0])
        async with asyncio.timeout(timeout_of(check)):
            await converse(ping, check.h2ping, context, name)
    except TimeoutError:
        return CRITICAL, "HTTP2 ping failed: context deadline exceeded"
    except (DialError, OSError, ValueError) as error:
        return CRITICAL, f"Failed to dial to {check.h2ping}: {error}"
    if ping.problem:
        return CRITICAL, f"HTTP2 ping failed: {ping.problem}"
    return PASSING, "HTTP2 ping was successful"
