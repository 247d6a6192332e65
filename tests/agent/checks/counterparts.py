"""What checks are run against: certificates, an HTTP server, a gRPC server, a Docker engine without Docker."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import grpc
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as grpc_health_aio

from model.gojson import from_json
from model.structs.catalog import CheckType


def a_check(**fields: Any) -> CheckType:
    """A check as a client registers it."""
    return from_json(CheckType, {"Interval": "10s", "Timeout": "5s", **fields}, style="agent")


class Files(NamedTuple):
    """A certificate that signs itself, and its key, as two files and as one."""

    certificate: Path
    key: Path
    both: Path


def certificate_for_loopback(folder: Path, name: str = "db.test") -> Files:
    """A certificate for 127.0.0.1, localhost and `name`."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName(name), x509.DNSName("localhost")]
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = made.public_bytes(serialization.Encoding.PEM)
    files = Files(folder / f"{name}.pem", folder / f"{name}.key", folder / f"{name}.both.pem")
    files.certificate.write_bytes(public)
    files.key.write_bytes(private)
    files.both.write_bytes(private + public)
    return files


def server_context(files: Files, ask_client: bool = False) -> ssl.SSLContext:
    """TLS for a server; with `ask_client` only the certificate's own holder may come in."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    if ask_client:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(files.certificate)
    return context


@asynccontextmanager
async def http_server(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]], context: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """An HTTP server whose every request goes to `handler`; gives its URL."""
    runner = web.ServerRunner(web.Server(handler), shutdown_timeout=0.1)  # type: ignore[arg-type]
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    try:
        yield f"http{'s' if context else ''}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def raw_server(
    talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """A TCP server that talks as it likes; gives its address."""
    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


@asynccontextmanager
async def grpc_server(
    statuses: dict[str, str] | None = None, files: Files | None = None, ask_client: bool = False
) -> AsyncIterator[str]:
    """gRPC's own server with its own health service; gives its address."""
    server = grpc.aio.server()
    if statuses is not None:
        servicer = grpc_health_aio.HealthServicer()
        for name, status in statuses.items():
            await servicer.set(name, health_pb2.HealthCheckResponse.ServingStatus.Value(status))
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    if files is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        certificate = files.certificate.read_bytes()
        credentials = grpc.ssl_server_credentials(
            [(files.key.read_bytes(), certificate)], certificate if ask_client else None, ask_client
        )
        port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


class DockerEngine:
    """The part of Docker's API that runs commands, which it does outside of any container."""

    def __init__(self) -> None:
        self.states = {"web": "running", "old": "exited"}
        self.commands: list[list[str]] = []
        self._execs: dict[str, dict[str, Any]] = {}

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        parts = request.path.strip("/").split("/")
        if request.method == "POST" and parts[0] == "containers" and parts[2:] == ["exec"]:
            return await self._create(parts[1], await request.json())
        if request.method == "POST" and parts[0] == "exec" and parts[2:] == ["start"]:
            return await self._start(request, self._execs[parts[1]])
        if request.method == "GET" and parts[0] == "exec" and parts[2:] == ["json"]:
            state = self._execs[parts[1]]
            return web.json_response({"ID": parts[1], "Running": False, "ExitCode": state["code"]})
        return web.json_response({"message": "page not found"}, status=404)

    async def _create(self, container: str, body: dict[str, Any]) -> web.Response:
        if container not in self.states:
            return web.json_response({"message": f"No such container: {container}"}, status=404)
        if self.states[container] != "running":
            return web.json_response({"message": f"Container {container} is not running"}, status=409)
        assert body["AttachStdout"]
        assert body["AttachStderr"]
        assert not body["Tty"]
        name = f"exec{len(self._execs)}"
        self._execs[name] = {"cmd": body["Cmd"], "code": None}
        self.commands.append(body["Cmd"])
        return web.json_response({"Id": name}, status=201)

    async def _start(self, request: web.BaseRequest, state: dict[str, Any]) -> web.StreamResponse:
        assert not (await request.json())["Detach"]
        answer = web.StreamResponse(headers={"Content-Type": "application/vnd.docker.multiplexed-stream"})
        await answer.prepare(request)
        process = await asyncio.create_subprocess_exec(
            *state["cmd"], stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            for kind, pipe in ((1, process.stdout), (2, process.stderr)):
                while chunk := await pipe.read(1000):
                    await answer.write(bytes((kind, 0, 0, 0)) + len(chunk).to_bytes(4, "big") + chunk)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            raise
        finally:
            state["code"] = await asyncio.shield(process.wait())
        await answer.write_eof()
        return answer


@asynccontextmanager
async def docker_engine(path: Path) -> AsyncIterator[DockerEngine]:
    """An engine on a unix socket."""
    engine = DockerEngine()
    runner = web.ServerRunner(web.Server(engine.handle), shutdown_timeout=0.1)
    await runner.setup()
    await web.UnixSite(runner, str(path)).start()
    try:
        yield engine
    finally:
        await runner.cleanup()
