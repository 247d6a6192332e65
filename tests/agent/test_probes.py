"""TCP checks against real sockets, with and without TLS."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agent.checks.probes import probe_tcp
from model.gojson import from_json
from model.structs.catalog import CheckType


def certificate_for_loopback(folder: Path) -> Path:
    """A self-signed certificate for 127.0.0.1 and `db.test` with its key, in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "db.test")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("db.test")]
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


@asynccontextmanager
async def listener(certificate: Path | None) -> AsyncIterator[str]:
    """A server that takes connections, with TLS when it has a certificate; gives its address."""
    context = None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


def check_of(address: str, **more: Any) -> CheckType:
    """A TCP check as a client registers it."""
    return from_json(CheckType, {"TCP": address, "Interval": "10s", "Timeout": "5s", **more}, style="agent")


async def test_a_connection_suffices_without_tls() -> None:
    async with listener(None) as address:
        assert await probe_tcp(check_of(address)) == ("passing", f"TCP connect {address}: Success")


async def test_tls_must_be_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = certificate_for_loopback(tmp_path)
    async with listener(certificate) as address:
        status, output = await probe_tcp(check_of(address, TCPUseTLS=True))
        assert status == "critical" and "self-signed certificate" in output
        assert (await probe_tcp(check_of(address, TCPUseTLS=True, TLSSkipVerify=True)))[0] == "passing"
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert (await probe_tcp(check_of(address, TCPUseTLS=True)))[0] == "passing"
        assert (await probe_tcp(check_of(address, tcp_use_tls=True, tls_server_name="db.test")))[0] == "passing"
        status, output = await probe_tcp(check_of(address, TCPUseTLS=True, TLSServerName="other.test"))
        assert status == "critical" and "other.test" in output


async def test_a_server_without_tls_fails_a_tls_check() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 no TLS here\r\n")
        await reader.read(1)
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        status, output = await probe_tcp(check_of(address, TCPUseTLS=True, TLSSkipVerify=True))
        assert status == "critical" and output.startswith(f"tls handshake {address}: ")
