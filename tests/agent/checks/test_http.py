"""HTTP checks against a real server."""

from __future__ import annotations

import asyncio
from pathlib import Path

from aiohttp import web

from agent.checks.http import probe_http
from agent.checks.probe import AgentTls, Tools
from tests.agent.checks.counterparts import (
    a_check,
    certificate_for_loopback,
    http_server,
    raw_server,
    server_context,
)


async def answer(request: web.BaseRequest) -> web.StreamResponse:
    """What the path asks for."""
    kind, _, rest = request.path.strip("/").partition("/")
    if kind == "status":
        return web.Response(status=int(rest), text="body")
    if kind == "echo":
        lines = [f"{name.title()}: {value}" for name, value in sorted(request.headers.items())]
        return web.Response(text="\n".join([f"{request.method} {request.path_qs}", *lines, await request.text()]))
    if kind == "loop":
        raise web.HTTPFound("/loop")
    if kind == "to":
        raise web.HTTPFound(f"/status/{rest}")
    if kind == "big":
        return web.Response(text="x" * 9000 + "end")
    if kind == "slow":
        await asyncio.sleep(30)
    if kind == "endless":
        endless = web.StreamResponse()
        await endless.prepare(request)
        while True:
            await endless.write(b"on and on ")
            await asyncio.sleep(0.01)
    return web.Response(text="?")


async def test_statuses() -> None:
    async with http_server(answer) as url:
        for code, reason, status in (
            (200, "OK", "passing"),
            (204, "No Content", "passing"),
            (299, "", "passing"),
            (304, "Not Modified", "critical"),
            (404, "Not Found", "critical"),
            (429, "Too Many Requests", "warning"),
            (500, "Internal Server Error", "critical"),
        ):
            result = await probe_http(a_check(HTTP=f"{url}/status/{code}"), Tools())
            body = "" if code in (204, 304) else "body"
            assert result == (status, f"HTTP GET {url}/status/{code}: {code} {reason} Output: {body}")


async def test_method_headers_and_body_are_sent_as_they_are() -> None:
    async with http_server(answer) as url:
        check = a_check(
            HTTP=f"{url}/echo/%7Bx%7D?a=%20b",
            Method="PATCH",
            Header={"x-many": ["one", "two"], "Host": ["other.test"], "content-type": ["a/b"], "empty": None},
            Body='{"a": 1}',
        )
        status, output = await probe_http(check, Tools())
        assert status == "passing"
        lines = output.partition("Output: ")[2].split("\n")
        assert lines[0] == "PATCH /echo/%7Bx%7D?a=%20b"
        assert lines[-1] == '{"a": 1}'
        for line in ("X-Many: one", "X-Many: two", "Host: other.test", "Content-Type: a/b"):
            assert line in lines
        assert "User-Agent: Consul Health Check" in lines
        assert "Accept: text/plain, text/*, */*" in lines
        _, output = await probe_http(a_check(HTTP=f"{url}/echo/", Header={"user-agent": ["me"]}), Tools())
        assert "User-Agent: me" in output
        assert "Consul Health Check" not in output
        assert "Content-Type" not in output


async def test_redirects() -> None:
    async with http_server(answer) as url:
        assert (await probe_http(a_check(HTTP=f"{url}/to/200"), Tools()))[0] == "passing"
        stopped = await probe_http(a_check(HTTP=f"{url}/to/200", DisableRedirects=True), Tools())
        assert stopped[0] == "critical"
        assert "302 Found" in stopped[1]
        assert await probe_http(a_check(HTTP=f"{url}/loop"), Tools()) == (
            "critical",
            f'Get "{url}/loop": stopped after 10 redirects',
        )


async def test_long_answers_and_answers_without_an_end() -> None:
    async with http_server(answer) as url:
        _, output = await probe_http(a_check(HTTP=f"{url}/big"), Tools())
        assert output == f"HTTP GET {url}/big: 200 OK Output: {'x' * 4093}end"
        _, output = await probe_http(a_check(HTTP=f"{url}/big", OutputMaxSize=5), Tools())
        assert output.endswith("Output: xxend")
        status, output = await probe_http(a_check(HTTP=f"{url}/endless", Timeout="200ms"), Tools())
        assert status == "passing"
        assert "on and on" in output
        assert await probe_http(a_check(HTTP=f"{url}/slow", Timeout="100ms"), Tools()) == (
            "critical",
            f'Get "{url}/slow": context deadline exceeded (Client.Timeout exceeded while awaiting headers)',
        )


async def test_failures_are_told_in_gos_words() -> None:
    for url, reason in (
        ("http://127.0.0.1:1/", "dial tcp 127.0.0.1:1: connect: connection refused"),
        ("http://localhost:1/", "dial tcp 127.0.0.1:1: connect: connection refused"),
        ("http://nosuch.invalid/", "dial tcp: lookup nosuch.invalid: no such host"),
        ("nonsense", 'unsupported protocol scheme ""'),
        ("ftp://x/", 'unsupported protocol scheme "ftp"'),
        ("http:///x", "http: no Host in request URL"),
        ("http://127.0.0.1:x/", "invalid URL"),
    ):
        assert await probe_http(a_check(HTTP=url), Tools()) == ("critical", f'Get "{url}": {reason}')

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.close()

    async with raw_server(hang_up) as address:
        assert await probe_http(a_check(HTTP=f"http://{address}/"), Tools()) == (
            "critical",
            f'Get "http://{address}/": EOF',
        )

    async def rubbish(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail\r\n\r\n")
        await reader.read(4096)
        writer.close()

    async with raw_server(rubbish) as address:
        status, output = await probe_http(a_check(HTTP=f"http://{address}/"), Tools())
        assert status == "critical"
        assert output.startswith(f'Get "http://{address}/": net/http: HTTP/1.x transport connection broken')


async def test_a_password_in_the_url_is_used_and_not_shown() -> None:
    async with http_server(answer) as url:
        where = url.replace("//", "//me:secret@")
        status, output = await probe_http(a_check(HTTP=f"{where}/echo/"), Tools())
        assert status == "passing"
        assert "Authorization: Basic bWU6c2VjcmV0" in output
        assert ":secret@" not in output
        assert "//me:xxxxx@" in output


async def test_certificates(tmp_path: Path) -> None:
    files = certificate_for_loopback(tmp_path)
    async with http_server(answer, server_context(files)) as url:
        where = f"{url}/status/200"
        assert await probe_http(a_check(HTTP=where), Tools()) == (
            "critical",
            f'Get "{where}": x509: certificate signed by unknown authority',
        )
        assert (await probe_http(a_check(HTTP=where, TLSSkipVerify=True), Tools()))[0] == "passing"
        trusting = Tools(tls=AgentTls(ca_file=str(files.certificate)))
        assert (await probe_http(a_check(HTTP=where), trusting))[0] == "passing"
        assert (await probe_http(a_check(HTTP=where, TLSServerName="db.test"), trusting))[0] == "passing"
        status, output = await probe_http(a_check(HTTP=where, TLSServerName="other.test"), trusting)
        assert status == "critical"
        assert "other.test" in output


async def test_the_agents_certificate_is_shown_to_servers_that_ask_for_one(tmp_path: Path) -> None:
    files = certificate_for_loopback(tmp_path)
    own = AgentTls(str(files.certificate), "", str(files.certificate), str(files.key))
    async with http_server(answer, server_context(files, ask_client=True)) as url:
        check = a_check(HTTP=f"{url}/status/200")
        assert (await probe_http(check, Tools(tls=AgentTls(ca_file=str(files.certificate)))))[0] == "critical"
        assert (await probe_http(check, Tools(tls=own)))[0] == "passing"
