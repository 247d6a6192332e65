"""Servers that auth methods ask: of keys, of discovery, of Kubernetes and of AWS; real ones, with TLS, on loopback."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from mesh.agent_ca import Wanted
from tests.support.certificates import Authority
from tests.support.process import free_ports

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Counterpart:
    """A server on loopback; `answer` may be replaced at any time, `asked` has the paths that were asked for."""

    def __init__(self, host: str, port: int, secure: bool, authority: Authority) -> None:
        self.url = f"{'https' if secure else 'http'}://{host}:{port}"
        self.ca = Path(authority.ca).read_text()
        self.asked: list[str] = []
        self.answers: dict[str, Handler] = {}

    def says(self, path: str, body: bytes, status: int = 200, **headers: str) -> None:
        """Answer a path with this."""

        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return web.Response(body=body, status=status, headers=named)

        self.answers[path] = answer

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request."""
        self.asked.append(request.path)
        answer = self.answers.get(request.path)
        return web.Response(status=404) if answer is None else await answer(request)


@asynccontextmanager
async def counterpart(folder: Path, secure: bool = True, host: str = "127.0.0.1") -> AsyncIterator[Counterpart]:
    """A server at `host` with a certificate of an authority of its own; the certificate is for 127.0.0.1 alone."""
    authority = Authority(folder)
    files = authority.files("server", Wanted("server", addresses=("127.0.0.1",)))
    tls: ssl.SSLContext | None = None
    if secure:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(files["cert_file"], files["key_file"])
    port = free_ports(1)[0]
    here = Counterpart(host, port, secure, authority)
    runner = web.ServerRunner(web.Server(here.handle), shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, ssl_context=tls).start()
        yield here
    finally:
        await runner.cleanup()
