"""gRPC and H2PING checks against gRPC's own server, and the sans-IO parts by themselves."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from grpc_health.v1 import health_pb2
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded
from hypothesis import given
from hypothesis import strategies as st

from agent.checks.grpc import HealthCall, MessageError, decode_response, encode_request, probe_grpc
from agent.checks.h2ping import Ping, probe_h2ping
from agent.checks.probe import AgentTls, Tools
from tests.agent.checks.counterparts import a_check, certificate_for_loopback, grpc_server, raw_server

SERVICES = {"": "SERVING", "web": "SERVING", "db": "NOT_SERVING"}


async def test_statuses_of_a_real_server() -> None:
    async with grpc_server(SERVICES) as address:
        for target, result in (
            (address, ("passing", f"gRPC check {address}: success")),
            (f"{address}/web", ("passing", f"gRPC check {address}/web: success")),
            (f"{address}/db", ("critical", "gRPC application didn't report service healthy")),
        ):
            assert await probe_grpc(a_check(GRPC=target), Tools()) == result
        status, output = await probe_grpc(a_check(GRPC=f"{address}/nosuch"), Tools())
        assert status == "critical"
        assert output.startswith("rpc error: code = NotFound desc = ")


async def test_a_server_without_the_health_service() -> None:
    async with grpc_server(None) as address:
        status, output = await probe_grpc(a_check(GRPC=address), Tools())
        assert status == "critical"
        assert output.startswith("rpc error: code = Unimplemented desc = ")


async def test_tls(tmp_path: Path) -> None:
    files = certificate_for_loopback(tmp_path)
    own = AgentTls(str(files.certificate), "", str(files.certificate), str(files.key))
    async with grpc_server(SERVICES, files, ask_client=True) as address:
        check = a_check(GRPC=address, GRPCUseTLS=True)
        status, output = await probe_grpc(check, Tools())
        assert status == "critical"
        assert output == (
            "rpc error: code = Unavailable desc = connection error: desc = "
            '"transport: authentication handshake failed: x509: certificate signed by unknown authority"'
        )
        assert (await probe_grpc(check, Tools(tls=own)))[0] == "passing"
        assert (await probe_grpc(a_check(GRPC=address, GRPCUseTLS=True, TLSServerName="db.test"), Tools(tls=own)))[
            0
        ] == "passing"
        assert (await probe_h2ping(a_check(H2PING=address), Tools(tls=own)))[0] == "passing"
        assert (await probe_grpc(a_check(GRPC=address), Tools()))[0] == "critical"  # It speaks TLS only.
    async with grpc_server(SERVICES, files) as address:
        check = a_check(GRPC=address, GRPCUseTLS=True, TLSSkipVerify=True)
        assert (await probe_grpc(check, Tools()))[0] == "passing"


async def test_servers_that_are_not_there_or_not_grpc() -> None:
    unreachable = "transport: Error while dialing dial tcp 127.0.0.1:1: connect: connection refused"
    assert await probe_grpc(a_check(GRPC="127.0.0.1:1/svc"), Tools()) == (
        "critical",
        f'rpc error: code = Unavailable desc = connection error: desc = "{unreachable}"',
    )
    assert await probe_h2ping(a_check(H2PING="127.0.0.1:1", h2ping_use_tls=False), Tools()) == (
        "critical",
        "Failed to dial to 127.0.0.1:1: dial tcp 127.0.0.1:1: connect: connection refused",
    )

    async def old(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(4096):
            pass

    async with raw_server(old) as address:
        status, output = await probe_grpc(a_check(GRPC=address), Tools())
        assert status == "critical"
        assert output.startswith("rpc error: code = Unavailable desc = connection error: desc = ")
        status, output = await probe_h2ping(a_check(H2PING=address, H2PingUseTLS=False), Tools())
        assert status == "critical"
        assert output.startswith("HTTP2 ping failed: ")
    async with raw_server(silent) as address:
        assert await probe_grpc(a_check(GRPC=address, Timeout="100ms"), Tools()) == (
            "critical",
            "rpc error: code = DeadlineExceeded desc = context deadline exceeded",
        )
        check = a_check(H2PING=address, H2PingUseTLS=False, Timeout="100ms")
        assert await probe_h2ping(check, Tools()) == ("critical", "HTTP2 ping failed: context deadline exceeded")


async def test_h2ping(tmp_path: Path) -> None:
    async with grpc_server(SERVICES) as address:
        check = a_check(H2PING=address, H2PingUseTLS=False)
        assert await probe_h2ping(check, Tools()) == ("passing", "HTTP2 ping was successful")
        assert (await probe_h2ping(a_check(H2PING=address), Tools()))[0] == "critical"  # TLS is the default.
    files = certificate_for_loopback(tmp_path)
    async with grpc_server(SERVICES, files) as address:
        assert (await probe_h2ping(a_check(H2PING=address, TLSSkipVerify=True), Tools()))[0] == "passing"
        status, output = await probe_h2ping(a_check(H2PING=address), Tools())
        assert (status, output) == (
            "critical",
            f"Failed to dial to {address}: x509: certificate signed by unknown authority",
        )


@given(st.text(max_size=300))
def test_requests_are_what_grpcs_own_code_reads(service: str) -> None:
    framed = encode_request(service)
    assert framed[0] == 0
    assert int.from_bytes(framed[1:5], "big") == len(framed) - 5
    assert health_pb2.HealthCheckRequest.FromString(framed[5:]).service == service


@given(st.sampled_from(health_pb2.HealthCheckResponse.ServingStatus.values()))
def test_responses_are_read_as_grpcs_own_code_writes_them(status: int) -> None:
    message = health_pb2.HealthCheckResponse(status=status).SerializeToString()
    assert decode_response(b"\0" + len(message).to_bytes(4, "big") + message) == status


@given(st.binary(max_size=40))
def test_no_bytes_make_reading_a_response_fail_in_another_way(data: bytes) -> None:
    for framed in (data, b"\0" + len(data).to_bytes(4, "big") + data):
        try:
            assert decode_response(framed) >= 0
        except MessageError:
            pass


def test_unknown_fields_are_passed_over() -> None:
    message = b"\x12\x03abc" + b"\x08\x01" + b"\x1d1234" + b"\x2112345678"
    assert decode_response(b"\0" + len(message).to_bytes(4, "big") + message) == 1
    for broken in (b"\x12\x09abc", b"\x08", b"\x0b", b"\xff" * 11):
        with pytest.raises(MessageError):
            decode_response(b"\0" + len(broken).to_bytes(4, "big") + broken)


def serve(call: HealthCall, headers: list[tuple[str, str]], body: bytes, trailers: list[tuple[str, str]]) -> None:
    """Answer a call in one go, without a socket."""
    server = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
    server.initiate_connection()
    events = server.receive_data(call.start())
    request = next(event for event in events if isinstance(event, RequestReceived))
    assert dict(request.headers or ())[":path"] == "/grpc.health.v1.Health/Check"
    assert any(isinstance(event, DataReceived) for event in events)
    assert any(isinstance(event, StreamEnded) for event in events)
    server.send_headers(1, headers, end_stream=not (body or trailers))
    if body:
        server.send_data(1, body, end_stream=not trailers)
    if trailers:
        server.send_headers(1, trailers, end_stream=True)
    call.receive(server.data_to_send())


GRPC = [(":status", "200"), ("content-type", "application/grpc")]
SERVING = b"\0\0\0\0\2\x08\1"


@pytest.mark.parametrize(
    ("headers", "body", "trailers", "problem"),
    [
        (GRPC, SERVING, [("grpc-status", "0")], ""),
        (GRPC, b"\0\0\0\0\0", [("grpc-status", "0")], "gRPC application didn't report service healthy"),
        (GRPC, b"", [("grpc-status", "5"), ("grpc-message", "a%20b")], "rpc error: code = NotFound desc = a b"),
        ([*GRPC, ("grpc-status", "12")], b"", [], "rpc error: code = Unimplemented desc = "),
        (GRPC, b"", [("grpc-status", "77")], "rpc error: code = Code(77) desc = "),
        (GRPC, b"\1\0\0\0\0", [("grpc-status", "0")], "rpc error: code = Internal desc = grpc: failed to unmarshal"),
        (
            [(":status", "404"), ("content-type", "text/plain")],
            b"no",
            [],
            "rpc error: code = Unimplemented desc = unexpected HTTP status code received from server: 404 (Not Found)",
        ),
        (
            [(":status", "200"), ("content-type", "text/html")],
            b"<p>",
            [],
            'rpc error: code = Unknown desc = received unexpected content-type "text/html"',
        ),
    ],
)
def test_answers(headers: list[tuple[str, str]], body: bytes, trailers: list[tuple[str, str]], problem: str) -> None:
    call = HealthCall("a:1", "", False, 1.0)
    serve(call, headers, body, trailers)
    assert call.finished
    assert call.problem.startswith(problem)
    assert bool(call.problem) == bool(problem)


def test_an_answer_that_is_too_long_ends_the_call() -> None:
    call = HealthCall("a:1", "", False, 1.0)
    server = H2Connection(H2Configuration(client_side=False))
    server.initiate_connection()
    server.receive_data(call.start())
    server.send_headers(1, GRPC)
    back = call.receive(server.data_to_send())
    server.receive_data(back)
    sent = 0
    while not call.finished:
        assert sent <= 1 << 18
        server.send_data(1, bytes(16384))
        sent += 16384
        server.receive_data(call.receive(server.data_to_send()))
    assert "ResourceExhausted" in call.problem


@given(st.binary(max_size=200))
def test_no_bytes_of_a_server_make_an_exchange_fail_in_another_way(data: bytes) -> None:
    for exchange in (HealthCall("a:1", "s", False, 1.0), Ping(b"12345678")):
        exchange.start()
        exchange.receive(data)
        exchange.closed("EOF")
        assert exchange.finished
        assert exchange.problem
