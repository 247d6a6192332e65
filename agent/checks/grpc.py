"""gRPC checks: the standard `grpc.health.v1.Health/Check`, spoken over HTTP/2 with and without TLS."""

import asyncio
from http import HTTPStatus
from urllib.parse import unquote

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import ProtocolError

from agent.checks.dialling import DialError
from agent.checks.http import USER_AGENT
from agent.checks.http2 import converse
from agent.checks.probe import DEFAULT_TIMEOUT, Result, Tools
from agent.checks.thresholds import CRITICAL, PASSING
from model.durations import SECOND
from model.goerrors import split_address
from model.structs.catalog import CheckType

SERVING = 1
NOT_HEALTHY = "gRPC application didn't report service healthy"
MAX_MESSAGE = 65536
_CODES = (
    *("OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists"),
    *("PermissionDenied", "ResourceExhausted", "FailedPrecondition", "Aborted", "OutOfRange", "Unimplemented"),
    *("Internal", "Unavailable", "DataLoss", "Unauthenticated"),
)
_CODE_OF_HTTP = {400: 13, 401: 16, 403: 7, 404: 12, 429: 14, 502: 14, 503: 14, 504: 14}


class MessageError(ValueError):
    """Bytes that are not the message they should be."""


def encode_request(service: str) -> bytes:
    """A `HealthCheckRequest` behind gRPC's prefix: field 1 is the service's name, left out when empty."""
    name = service.encode()
    message = b"\x0a" + _varint(len(name)) + name if name else b""
    return b"\x00" + len(message).to_bytes(4, "big") + message


def decode_response(data: bytes) -> int:
    """The status in a `HealthCheckResponse` behind gRPC's prefix: field 1, 0 (unknown) when left out.

    Raises MessageError.
    """
    if len(data) < 5 or data[0] != 0 or len(data) != 5 + int.from_bytes(data[1:5], "big"):
        raise MessageError("not one uncompressed message")
    status, at = 0, 5
    while at < len(data):
        key, at = _read_varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = _read_varint(data, at)
            if key >> 3 == 1:
                status = value
        elif kind == 2:
            length, at = _read_varint(data, at)
            at += length
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise MessageError(f"field of unknown kind {kind}")
        if at > len(data):
            raise MessageError("it ends in the middle of a field")
    return status


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise MessageError("it ends in the middle of a number")
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
    raise MessageError("a number is too long")


def status_text(code: int, description: str) -> str:
    """How Go's gRPC shows a call's failure."""
    name = _CODES[code] if code < len(_CODES) else f"Code({code})"
    return f"rpc error: code = {name} desc = {description}"


class HealthCall:
    """One call of `Health/Check`. Sans-IO; `problem` is "" once the server has said that it serves."""

    def __init__(self, authority: str, service: str, secure: bool, seconds: float) -> None:
        self._connection = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self._headers = [
            (":method", "POST"),
            (":scheme", "https" if secure else "http"),
            (":path", "/grpc.health.v1.Health/Check"),
            (":authority", authority),
            ("content-type", "application/grpc"),
            ("user-agent", USER_AGENT),
            ("te", "trailers"),
            ("grpc-timeout", f"{max(1, round(seconds * 1000))}m"),
        ]
        self._service = service
        self._answer = bytearray()
        self._heads: dict[str, str] = {}
        self.finished = False
        self.problem = status_text(14, "the connection closed")

    def start(self) -> bytes:
        """The preface and the whole request."""
        connection = self._connection
        connection.initiate_connection()
        connection.send_headers(1, self._headers)
        connection.send_data(1, encode_request(self._service), end_stream=True)
        return connection.data_to_send()

    def receive(self, data: bytes) -> bytes:
        """Take frames."""
        try:
            for event in self._connection.receive_data(data):
                self._take(event)
        except (ProtocolError, UnicodeDecodeError) as error:
            self.closed(f"error reading from server: http2: {error}")
        return self._connection.data_to_send()

    def closed(self, reason: str) -> None:
        """The connection is gone."""
        self._end(status_text(14, f'connection error: desc = "{reason}"'))

    def _take(self, event: Event) -> None:
        if isinstance(event, ResponseReceived | TrailersReceived):
            self._heads.update({str(name): str(value) for name, value in event.headers or ()})
        elif isinstance(event, DataReceived):
            self._answer += event.data or b""
            self._connection.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id or 1)
            if len(self._answer) > MAX_MESSAGE:
                self._end(status_text(8, f"grpc: received message larger than max ({MAX_MESSAGE})"))
        elif isinstance(event, StreamEnded):
            self._end(self._judge())
        elif isinstance(event, StreamReset):
            code = int(event.error_code or 0)
            self._end(status_text(13, f"stream terminated by RST_STREAM with error code: {code}"))
        elif isinstance(event, ConnectionTerminated):
            self.closed("received goaway and there are no active streams")

    def _end(self, problem: str) -> None:
        if not self.finished:
            self.finished, self.problem = True, problem

    def _judge(self) -> str:
        """What the whole answer says; "" is healthy."""
        http, kind = self._heads.get(":status", ""), self._heads.get("content-type", "")
        code = self._heads.get("grpc-status", "")
        if not code.isdigit():
            number = int(http) if http.isdigit() else 0
            if number == 200:
                return status_text(2, f'received unexpected content-type "{kind}"')
            phrase = HTTPStatus(number).phrase if number in HTTPStatus._value2member_map_ else ""
            text = f"unexpected HTTP status code received from server: {http} ({phrase})"
            return status_text(_CODE_OF_HTTP.get(number, 2), text)
        if code != "0":
            return status_text(int(code[:6]), unquote(self._heads.get("grpc-message", "")))
        try:
            return "" if decode_response(bytes(self._answer)) == SERVING else NOT_HEALTHY
        except MessageError as error:
            return status_text(13, f"grpc: failed to unmarshal the received message: {error}")


async def probe_grpc(check: CheckType, tools: Tools) -> Result:
    """Run a gRPC check once; what follows the first `/` of the target is the service that is asked about."""
    address, _, service = check.grpc.partition("/")
    seconds = check.timeout / SECOND if check.timeout > 0 else DEFAULT_TIMEOUT
    call = HealthCall(address, service, check.grpc_use_tls, seconds)
    try:
        context, name = None, ""
        if check.grpc_use_tls:
            context = tools.tls_context(check, "h2")
            name = tools.server_name(check, split_address(address)[0])
        async with asyncio.timeout(seconds):
            await converse(call, address, context, name)
    except TimeoutError:
        return CRITICAL, status_text(4, "context deadline exceeded")
    except (DialError, OSError, ValueError) as error:
        failed = isinstance(error, DialError) and error.tls
        what = "authentication handshake failed:" if failed else "Error while dialing"
        return CRITICAL, status_text(14, f'connection error: desc = "transport: {what} {error}"')
    if call.problem:
        return CRITICAL, call.problem
    return PASSING, f"gRPC check {check.grpc}: success"
