"""What any HTTP server in Python has to do, to measure beside: `python -m benchmarks.counterparts KIND PORT`.

`bare` is the least there is, httptools' parser in a protocol on uvloop; `aiohttp` an application of one handler. Both
answer `GET /N` with a constant body of N bytes and a few headers, and any other request with `true`. The bare one holds
`GET /hold` until there is a `PUT /wake`, and tells at `GET /held` how many it holds.
"""

import argparse
import asyncio
from typing import cast

import httptools
import uvloop
from aiohttp import web

HEADERS = {"X-Consul-Index": "12345", "X-Consul-KnownLeader": "true", "X-Consul-LastContact": "0"}
_SHOWN = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())


def body_of(path: str) -> bytes:
    """The body that a path asks for."""
    size = path.strip("/")
    return b"x" * int(size) if size.isdigit() else b"true"


class _Bare(asyncio.Protocol):
    _answers: dict[bytes, bytes] = {}  # noqa: RUF012 shared on purpose
    _held: list[asyncio.Transport] = []  # noqa: RUF012 likewise

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._url = url

    def on_message_complete(self) -> None:
        if self._url == b"/hold":
            self._held.append(self._transport)
            return
        if self._url == b"/wake":
            answer = _answer(b"x" * 200)
            for transport in self._held:
                transport.write(answer)
            self._held.clear()
        if self._url == b"/held":
            self._transport.write(_answer(b"%d" % len(self._held)))
            return
        found = self._answers.get(self._url)
        if found is None:
            found = self._answers[self._url] = _answer(body_of(self._url.decode()))
        self._transport.write(found)


def _answer(body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{_SHOWN}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def _serve_bare(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(_Bare, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


async def _handle(request: web.Request) -> web.Response:
    await request.read()
    return web.Response(body=body_of(request.path), content_type="application/json", headers=HEADERS)


async def _serve_aiohttp(port: int) -> None:
    application = web.Application(client_max_size=1 << 30)
    application.router.add_route("*", "/{path:.*}", _handle)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    await asyncio.Event().wait()


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=("bare", "aiohttp"))
    parser.add_argument("port", type=int)
    chosen = parser.parse_args()
    uvloop.run({"bare": _serve_bare, "aiohttp": _serve_aiohttp}[chosen.kind](chosen.port))


if __name__ == "__main__":
    main()
