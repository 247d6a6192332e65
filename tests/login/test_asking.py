"""Asking servers that auth methods name, over real sockets: whom we trust, how long we wait, how much we read."""

import asyncio
import gzip
from pathlib import Path

import pytest
from aiohttp import web

from server.acl.login import asking
from server.acl.login.asking import NoAnswer, Question, ask
from tests.login.counterparts import counterpart
from tests.support.process import free_ports


async def refusal(question: Question, timeout: float = 60) -> str:
    with pytest.raises(NoAnswer) as caught:
        await ask(question, timeout)
    return str(caught.value)


async def test_only_the_authority_of_the_method_is_trusted(tmp_path: Path) -> None:
    async with counterpart(tmp_path / "a") as here, counterpart(tmp_path / "b") as other:
        here.says("/x", b"hello", Cache_Control="max-age=5")
        answer = await ask(Question("GET", f"{here.url}/x", authorities=here.ca))
        assert (answer.status, answer.body, answer.headers["cache-control"]) == (200, b"hello", "max-age=5")
        for authorities in (other.ca, ""):
            text = await refusal(Question("GET", f"{here.url}/x", authorities=authorities))
            assert "x509: certificate signed by unknown authority" in text
        assert here.asked == ["/x"]
    async with counterpart(tmp_path / "c", host="127.0.0.2") as elsewhere:
        text = await refusal(Question("GET", f"{elsewhere.url}/x", authorities=elsewhere.ca))
        assert "x509: certificate is not valid for 127.0.0.2" in text and elsewhere.asked == []


async def test_a_body_and_headers_arrive(tmp_path: Path) -> None:
    seen: list[tuple[str, str, str, bytes]] = []
    async with counterpart(tmp_path, secure=False) as here:

        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            seen.append((request.method, request.headers["Host"], request.headers["X-One"], await request.read()))
            return web.Response(status=201)

        here.answers["/"] = answer
        question = Question("POST", f"{here.url}/", (("Host", "sts.amazonaws.com"), ("X-One", "1")), b"body")
        assert (await ask(question)).status == 201
    assert seen == [("POST", "sts.amazonaws.com", "1", b"body")]


async def test_redirects_are_followed_only_when_they_may_and_never_out_of_tls(tmp_path: Path) -> None:
    async with counterpart(tmp_path / "a") as here, counterpart(tmp_path / "b", secure=False) as plain:
        here.says("/from", b"", 302, Location="/to")
        here.says("/to", b"there")
        here.says("/out", b"", 307, Location=f"{plain.url}/x")
        here.says("/loop", b"", 302, Location="/loop")
        here.says("/bad", b"", 302, Location="ftp://x/")
        plain.says("/x", b"plain")
        plain.says("/from", b"", 301, Location="/x")
        question = Question("GET", f"{here.url}/from", authorities=here.ca)
        assert (await ask(question)).status == 302
        assert (await ask(question._replace(follow=True))).body == b"there"
        for path, text in (("/out", "leaves TLS"), ("/loop", "stopped after 3 redirects"), ("/bad", "leaves TLS")):
            assert text in await refusal(question._replace(url=here.url + path, follow=True))
        assert plain.asked == []
        assert (await ask(Question("GET", f"{plain.url}/from", follow=True))).body == b"plain"


async def test_answers_are_bounded_in_size_and_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "MAX_ANSWER", 10_000)
    async with counterpart(tmp_path, secure=False) as here:
        here.says("/long", b"x" * 10_001)
        assert "longer than 10000 bytes" in await refusal(Question("GET", f"{here.url}/long"))

        async def endless(request: web.BaseRequest) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            while True:
                await response.write(b"x" * 1000)
                await asyncio.sleep(0)

        here.answers["/endless"] = endless
        assert "longer than 10000 bytes" in await refusal(Question("GET", f"{here.url}/endless"))

        async def silent(request: web.BaseRequest) -> web.StreamResponse:
            await asyncio.sleep(600)
            return web.Response()

        here.answers["/silent"] = silent
        assert "context deadline exceeded" in await refusal(Question("GET", f"{here.url}/silent"), 0.3)


async def test_a_compressed_bomb_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "MAX_ANSWER", 100_000)
    async with counterpart(tmp_path, secure=False) as here:
        here.says("/bomb", gzip.compress(b"\0" * 50_000_000), Content_Encoding="gzip")
        assert "longer than 100000 bytes" in await refusal(Question("GET", f"{here.url}/bomb"))


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("ftp://127.0.0.1/", "unsupported protocol scheme"),
        ("x", "unsupported protocol scheme"),
        ("http://", "no Host in request URL"),
        ("http://[::1/", "invalid URL"),
        ("http://127.0.0.1:99999/", "invalid URL"),
    ],
)
async def test_bad_urls_are_named(url: str, text: str) -> None:
    assert text in await refusal(Question("GET", url))


async def test_texts_say_where_but_tell_no_secret() -> None:
    port = free_ports(1)[0]
    url = f"http://user:secret@127.0.0.1:{port}/keys?token=secret"
    text = await refusal(Question("POST", url, (("X-Key", "secret"),), b"secret"))
    assert text == f'Post "http://127.0.0.1:{port}/keys": dial tcp 127.0.0.1:{port}: connect: connection refused'


async def test_what_is_no_http_is_told(tmp_path: Path) -> None:
    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)  # Closing a connection with something unread resets it.
        writer.write(b"SSH-2.0-nonsense\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(nonsense, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        assert "malformed HTTP response" in await refusal(Question("GET", f"http://127.0.0.1:{port}/"))
        assert "first record does not look like a TLS handshake" in await refusal(
            Question("GET", f"https://127.0.0.1:{port}/")
        )
    finally:
        server.close()


async def test_the_environments_proxy_is_used_but_for_the_machine_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with counterpart(tmp_path / "a", secure=False) as proxy, counterpart(tmp_path / "b", secure=False) as here:
        proxy.says("/keys", b"by proxy")
        here.says("/keys", b"directly")
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "elsewhere.invalid")
        monkeypatch.delenv("https_proxy", raising=False)
        monkeypatch.delenv("HTTPS_PROXY", raising=False)
        assert (await ask(Question("GET", "http://keys.invalid/keys"))).body == b"by proxy"
        assert (await ask(Question("GET", f"{here.url}/keys"))).body == b"directly"
        assert asking._proxy("http://elsewhere.invalid/keys") is None
        assert asking._proxy("https://keys.invalid/keys") is None
