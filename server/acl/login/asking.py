"""One HTTP question to a server that an auth method names: bounded in time and in size, verified by its authorities."""

import asyncio
import ipaddress
import ssl
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

from model.goerrors import dial_text, shown_address, system_text, tls_text
from server.acl.login.authorities import context
from server.acl.login.problems import Refused

TIMEOUT = 10.0
"""Seconds until an answer must be there, whole."""
MAX_ANSWER = 1 << 20
"""Bytes of an answer."""
MAX_REDIRECTS = 3
_REDIRECTS = (301, 302, 303, 307, 308)


class NoAnswer(Refused):
    """Nobody could be asked; the text says why."""


class Question(NamedTuple):
    """An HTTP request; `authorities` are PEM certificates ("": the system's) that verify the server."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    authorities: str = ""
    follow: bool = False
    """Whether redirects are followed; never from TLS to plain text, and never with a body or a credential."""


class Answer(NamedTuple):
    """What came back; names of headers in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


async def ask(question: Question, timeout: float = TIMEOUT) -> Answer:
    """Ask once. Raises NoAnswer saying why there is no answer; the text holds no header and no body."""
    url = question.url
    try:
        async with asyncio.timeout(timeout):
            for _ in range(MAX_REDIRECTS + 1):
                answer = await _ask_once(question, url)
                target = answer.headers.get("location", "")
                if not (question.follow and answer.status in _REDIRECTS and target):
                    return answer
                following = urljoin(url, target)
                if url.startswith("https:") and not following.startswith("https:"):
                    raise NoAnswer(f'Get "{shown_url(url)}": the redirect leaves TLS')
                url = following
            raise NoAnswer(f'Get "{shown_url(question.url)}": stopped after {MAX_REDIRECTS} redirects')
    except TimeoutError:
        raise NoAnswer(
            f'{question.method.capitalize()} "{shown_url(question.url)}": context deadline exceeded'
        ) from None


def shown_url(url: str) -> str:
    """A URL for a message: without user, password, parameters and fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "invalid URL"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"[:300]


def url_problem(url: str) -> str:
    """What is wrong with a URL, as Go says it; "" when nothing is."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return "invalid URL"
    if parts.scheme not in ("http", "https"):
        return f'unsupported protocol scheme "{parts.scheme}"'
    return "" if parts.hostname else "no Host in request URL"


async def _ask_once(question: Question, url: str) -> Answer:
    failed = f'{question.method.capitalize()} "{shown_url(url)}": '
    problem = url_problem(url)
    if problem:
        raise NoAnswer(failed + problem)
    try:
        secure = context(question.authorities) if url.startswith("https:") else False
        async with (
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(force_close=True), auto_decompress=True, trust_env=False
            ) as session,
            session.request(
                question.method,
                URL(url),
                headers=question.headers,
                data=question.body or None,
                ssl=secure,
                proxy=_proxy(url),
                allow_redirects=False,
            ) as response,
        ):
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > MAX_ANSWER:
                    raise NoAnswer(f"{failed}the answer is longer than {MAX_ANSWER} bytes")
            headers = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status, headers, bytes(body))
    except (aiohttp.ClientError, ssl.SSLError, OSError, ValueError) as error:
        if isinstance(error, TimeoutError):
            raise
        raise NoAnswer(failed + _reason(error)) from None


def _proxy(url: str) -> str | None:
    """The proxy that the environment names for a URL, as Go's client takes it: never for the machine itself."""
    parts = urlsplit(url)
    proxy = getproxies().get(parts.scheme)
    if not proxy or _is_loopback(parts.hostname or "") or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    return proxy


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _reason(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        inner = error.certificate_error
        return tls_text(inner) if isinstance(inner, ssl.SSLError) else str(inner)
    if isinstance(error, aiohttp.ClientConnectorError):
        if isinstance(error.os_error, ssl.SSLError):
            return tls_text(error.os_error)
        return dial_text("tcp", shown_address(error.host, error.port or 0), error.os_error)
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "EOF"
    if isinstance(error, aiohttp.ClientOSError | OSError):
        return system_text(error)
    return "malformed HTTP response" if isinstance(error, aiohttp.ClientError) else "the request cannot be made"
