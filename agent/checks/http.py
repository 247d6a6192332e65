"""HTTP checks: 2xx passes, 429 warns, everything else fails."""

import socket
import ssl
from urllib.parse import urlsplit

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from agent.checks.dialling import shown_address
from agent.checks.probe import Result, Tail, Tools, timeout_of
from agent.checks.thresholds import CRITICAL, PASSING, WARNING
from agent.urls import redacted_url
from model.goerrors import dial_text, system_text, tls_text
from model.structs.catalog import CheckType

USER_AGENT = "Consul Health Check"
MAX_BODY = 4 << 20
"""Bytes of an answer that are read at most; its end is what is kept."""
MAX_REDIRECTS = 10


async def probe_http(check: CheckType, tools: Tools) -> Result:
    """Run an HTTP check once, on a connection of its own."""
    shown = redacted_url(check.http)
    method = check.method or "GET"
    failed = f'{method.capitalize()} "{shown}": '
    problem = _url_problem(check.http)
    if problem:
        return CRITICAL, failed + problem
    seconds = timeout_of(check)
    connector = aiohttp.TCPConnector(force_close=True)
    try:
        secure = tools.tls_context(check) if check.http.lower().startswith("https") or tools.tls else True
        async with (
            aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=seconds)) as session,
            session.request(
                method,
                URL(check.http, encoded=check.http.isascii() and " " not in check.http),
                headers=_headers(check),
                skip_auto_headers=("Content-Type",),
                data=check.body.encode() if check.body else None,
                ssl=secure,
                server_hostname=check.tls_server_name or (tools.tls.server_name if tools.tls else "") or None,
                allow_redirects=not check.disable_redirects,
                max_redirects=MAX_REDIRECTS,
            ) as response,
        ):
            body = await _body(response, tools.limit_of(check))
            output = f"HTTP {method} {shown}: {response.status} {response.reason} Output: {body}"
            if 200 <= response.status < 300:
                return PASSING, output
            return (WARNING if response.status == 429 else CRITICAL), output
    except TimeoutError:
        return CRITICAL, f"{failed}context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return CRITICAL, failed + await _reason(error)


def _headers(check: CheckType) -> CIMultiDict[str]:
    headers: CIMultiDict[str] = CIMultiDict()
    for name, values in (check.header or {}).items():
        for value in values or ():
            headers.add(name, value)
    headers.setdefault("User-Agent", USER_AGENT)
    headers.setdefault("Accept", "text/plain, text/*, */*")
    headers.setdefault("Accept-Encoding", "gzip")
    return headers


async def _body(response: aiohttp.ClientResponse, limit: int) -> str:
    """The end of an answer's body. The status stands already, whatever goes wrong from here on."""
    tail = Tail(limit)
    try:
        async for chunk in response.content.iter_any():
            tail.write(chunk)
            if tail.total > MAX_BODY:
                break
    except (TimeoutError, aiohttp.ClientError, OSError):
        pass
    return tail.text()


def _url_problem(url: str) -> str:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return "invalid URL"
    if parts.scheme not in ("http", "https"):
        return f'unsupported protocol scheme "{parts.scheme}"'
    return "" if parts.hostname else "http: no Host in request URL"


async def _reason(error: Exception) -> str:
    if isinstance(error, aiohttp.TooManyRedirects):
        return f"stopped after {MAX_REDIRECTS} redirects"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        inner = error.certificate_error
        return tls_text(inner) if isinstance(inner, ssl.SSLError) else str(inner)
    if isinstance(error, aiohttp.ClientConnectorError):
        inner = error.os_error
        if isinstance(inner, ssl.SSLError):
            return tls_text(inner)
        unknown = isinstance(inner, socket.gaierror)
        where = f"{error.host}:{error.port}" if unknown else await shown_address(error.host, error.port or 0)
        return dial_text("tcp", where, inner)
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "EOF"
    if isinstance(error, aiohttp.ClientResponseError):
        return f"net/http: HTTP/1.x transport connection broken: malformed HTTP response: {error.message}"
    if isinstance(error, aiohttp.ClientOSError | OSError):
        return system_text(error)
    return str(error) or type(error).__name__
