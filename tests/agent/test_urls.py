"""URLs as they are shown, and that what is shown of a watch's handler is no secret."""

import pytest
from aiohttp import web

from agent.urls import bare_url, redacted_url
from agent.watch_definitions import parse
from agent.watches import tell


@pytest.mark.parametrize(
    ("url", "bare", "redacted"),
    [
        ("http://host/p@th?q=a:b@c", "http://host/p@th?q=a:b@c", "http://host/p@th?q=a:b@c"),
        ("http://me:pass@host:80/x", "http://host:80/x", "http://me:xxxxx@host:80/x"),
        ("http://me@host", "http://host", "http://me@host"),
        ("http://me:p@ss@host/x", "http://host/x", "http://me:xxxxx@host/x"),
        ("", "", ""),
    ],
)
def test_urls_are_shown_without_their_secrets(url: str, bare: str, redacted: str) -> None:
    assert bare_url(url) == bare
    assert redacted_url(url) == redacted


async def test_the_log_of_a_refused_handler_shows_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    async def refuse(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=500, text="no such luck")

    runner = web.ServerRunner(web.Server(refuse))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        url = f"http://me:secret@{host}:{port}/told?token=secret"
        watch = parse(
            {"type": "nodes", "handler_type": "http", "http_handler_config": {"path": url, "header": {"X": ["secret"]}}}
        )
        await tell(watch, b"[]", 1)
    finally:
        await runner.cleanup()
    assert "answered 500: no such luck" in caplog.text
    assert "secret" not in caplog.text
