"""TCP checks against real sockets, with and without TLS."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent.checks.probe import AgentTls, Tools
from agent.checks.tcp import probe_tcp
from tests.agent.checks.counterparts import Files, a_check, certificate_for_loopback, raw_server, server_context


@asynccontextmanager
async def listener(files: Files | None, ask_client: bool = False) -> AsyncIterator[str]:
    """A server that takes connections, with TLS when it has a certificate; gives its address."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.close()

    context = server_context(files, ask_client) if files else None
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_a_connection_suffices_without_tls() -> None:
    async with listener(None) as address:
        assert await probe_tcp(a_check(TCP=address), Tools()) == ("passing", f"TCP connect {address}: Success")
        port = address.rpartition(":")[2]
        named = f"localhost:{port}"
        assert await probe_tcp(a_check(TCP=named), Tools()) == ("passing", f"TCP connect {named}: Success")
        assert (await probe_tcp(a_check(TCP=f":{port}"), Tools()))[0] == "passing"  # No host is localhost.


async def test_what_cannot_be_reached_is_told_in_gos_words() -> None:
    for address, output in (
        ("127.0.0.1:1", "dial tcp 127.0.0.1:1: connect: connection refused"),
        ("[::1]:1", "dial tcp [::1]:1: connect: connection refused"),
        ("nosuch.invalid:80", "dial tcp: lookup nosuch.invalid: no such host"),
        ("127.0.0.1", "dial tcp: address 127.0.0.1: missing port in address"),
        ("127.0.0.1:99999", "dial tcp: address 99999: invalid port"),
        ("127.0.0.1:nosuch", "dial tcp: lookup tcp/nosuch: unknown port"),
        ("::1:80", "dial tcp: address ::1:80: too many colons in address"),
    ):
        assert await probe_tcp(a_check(TCP=address), Tools()) == ("critical", output)


async def test_tls_must_be_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = certificate_for_loopback(tmp_path)
    async with listener(files) as address:
        status, output = await probe_tcp(a_check(TCP=address, TCPUseTLS=True), Tools())
        assert (status, output) == (
            "critical",
            f"tls handshake {address}: x509: certificate signed by unknown authority",
        )
        assert (await probe_tcp(a_check(TCP=address, TCPUseTLS=True, TLSSkipVerify=True), Tools()))[0] == "passing"
        monkeypatch.setenv("SSL_CERT_FILE", str(files.certificate))
        assert (await probe_tcp(a_check(TCP=address, TCPUseTLS=True), Tools()))[0] == "passing"
        assert (await probe_tcp(a_check(TCP=address, tcp_use_tls=True, tls_server_name="db.test"), Tools()))[0] == (
            "passing"
        )
        status, output = await probe_tcp(a_check(TCP=address, TCPUseTLS=True, TLSServerName="other.test"), Tools())
        assert status == "critical"
        assert "other.test" in output


async def test_the_agents_own_certificate_opens_doors_when_checks_may_use_it(tmp_path: Path) -> None:
    files = certificate_for_loopback(tmp_path)
    own = AgentTls(str(files.certificate), "", str(files.certificate), str(files.key), "db.test")
    async with listener(files, ask_client=True) as address:
        assert (await probe_tcp(a_check(TCP=address, TCPUseTLS=True), Tools(tls=own)))[0] == "passing"


async def test_a_server_without_tls_fails_a_tls_check() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 no TLS here\r\n")
        await reader.read(1)
        writer.close()

    async with raw_server(talk) as address:
        status, output = await probe_tcp(a_check(TCP=address, TCPUseTLS=True, TLSSkipVerify=True), Tools())
        assert status == "critical"
        assert output == f"tls handshake {address}: tls: first record does not look like a TLS handshake"


async def test_a_handshake_that_never_ends_is_cut_off() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(4096):
            pass

    async with raw_server(talk) as address:
        check = a_check(TCP=address, TCPUseTLS=True, TLSSkipVerify=True, Timeout="100ms")
        assert await probe_tcp(check, Tools()) == ("critical", f"dial tcp {address}: i/o timeout")
