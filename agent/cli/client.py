"""A small client of the HTTP API on the standard library.

What it needs is imported when it asks, so that commands start fast.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from agent.cli.flags import TRUE, Flags
from agent.cli.problem import ApiError, Problem
from model.goerrors import go_text, system_text

if TYPE_CHECKING:
    import http.client

    from agent.cli.secure import TlsOptions

TIMEOUT = 660.0
"""Seconds of silence after which an agent counts as dead; longer than the longest blocking query."""
_SCHEMES = ("http", "https", "unix")
_TENANT = {"ns": ("namespace", "CONSUL_NAMESPACE"), "partition": ("partition", "CONSUL_PARTITION")}


class Api:
    """Requests with the settings of flags and environment. Raises Problem when they make no sense."""

    def __init__(self, flags: Flags, environment: Mapping[str, str] | None = None, timeout: float = TIMEOUT) -> None:
        from urllib.parse import urlsplit

        self._env = os.environ if environment is None else environment
        self._flags = flags
        self._timeout = timeout
        address = flags.values.get("http-addr") or self._env.get("CONSUL_HTTP_ADDR") or "127.0.0.1:8500"
        secure = self._env.get("CONSUL_HTTP_SSL", "") in TRUE
        if "://" not in address:
            address = f"{'https' if secure else 'http'}://{address}"
        self.address = address
        try:
            self._parts = urlsplit(address)
            port, host = self._parts.port, self._parts.hostname
        except ValueError as error:
            raise Problem(f"Error connecting to Consul agent: {address!r} is no address: {error}") from None
        if self._parts.scheme not in _SCHEMES:
            raise Problem(f"Error connecting to Consul agent: Unknown protocol scheme: {self._parts.scheme}")
        if self._parts.scheme != "unix" and (not host or port == 0):
            raise Problem(f"Error connecting to Consul agent: {address!r} is no address: it must be host:port")
        self._token = self._find_token()

    @property
    def base(self) -> str:
        """The agent's address as a URL."""
        return f"{self._parts.scheme}://{self._parts.netloc}{self._prefix}"

    @property
    def _prefix(self) -> str:
        return "" if self._parts.scheme == "unix" else self._parts.path.rstrip("/")

    @property
    def token(self) -> str:
        """The token that goes with requests."""
        return self._token

    def _find_token(self) -> str:
        given = self._flags.values.get("token") or ""
        file = self._flags.values.get("token-file") or ("" if given else self._env.get("CONSUL_HTTP_TOKEN_FILE", ""))
        if file:
            try:
                text = Path(file).read_text().strip()
            except (OSError, ValueError) as error:
                raise Problem(f"Error connecting to Consul agent: Error loading token file: {go_text(error)}") from None
            if text:
                return text
        return str(given or self._env.get("CONSUL_HTTP_TOKEN", ""))

    def _connect(self) -> http.client.HTTPConnection:
        import http.client

        parts = self._parts
        if parts.scheme == "unix":
            import socket

            connection = http.client.HTTPConnection("localhost", timeout=self._timeout)
            connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.sock.settimeout(self._timeout)
            connection.sock.connect(parts.netloc + parts.path)
            return connection
        host, port = parts.hostname or "127.0.0.1", parts.port
        if parts.scheme != "https":
            return http.client.HTTPConnection(host, port or 80, timeout=self._timeout)
        from agent.cli.secure import SecureConnection

        return SecureConnection(host, port or 443, self._timeout, self.tls())

    def tls(self) -> TlsOptions:
        """How HTTPS is spoken. Raises ApiError when files cannot be used."""
        from agent.cli.secure import tls_options

        try:
            return tls_options(self._flags.values, self._env)
        except ValueError as error:
            raise ApiError(str(error)) from None

    def _headers(self) -> dict[str, str]:
        headers = {"X-Consul-Token": self._token} if self._token else {}
        login = self._env.get("CONSUL_HTTP_AUTH", "")
        if login:
            import base64

            headers["Authorization"] = f"Basic {base64.b64encode(login.encode('utf-8', 'surrogateescape')).decode()}"
        return headers

    def _url(self, path: str, params: Mapping[str, Any] | None) -> str:
        from urllib.parse import quote, urlencode

        query: list[tuple[str, str]] = []
        for key, value in (params or {}).items():
            if isinstance(value, list):
                query.extend((key, one) for one in value)
            elif value is True:
                query.append((key, ""))
            elif value not in (None, False, ""):
                query.append((key, str(value)))
        if self._flags.values.get("datacenter"):
            query.append(("dc", self._flags["datacenter"]))
        if self._flags.values.get("stale"):
            query.append(("stale", ""))
        for name, (flag, variable) in _TENANT.items():
            text = self._flags.values.get(flag) or self._env.get(variable, "")
            if text:
                query.append((name, text))
        asked = urlencode(query, errors="surrogateescape")
        return self._prefix + quote(path, errors="surrogateescape") + (f"?{asked}" if asked else "")

    def request(
        self, method: str, path: str, params: Mapping[str, Any] | None = None, body: bytes | BinaryIO | None = None
    ) -> tuple[int, bytes, http.client.HTTPMessage]:
        """One request: status, body, headers. Raises ApiError when the agent cannot be reached."""
        with self.open(method, path, params, body) as response:
            return response.status, response.read(), response.headers

    @contextlib.contextmanager
    def open(
        self, method: str, path: str, params: Mapping[str, Any] | None = None, body: bytes | BinaryIO | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        """An answer whose body is still to be read. Raises ApiError when the agent cannot be reached, or breaks off.

        A body that is a file is sent from where it stands to its end, and must have a size.
        """
        from http.client import HTTPException

        url = self._url(path, params)
        headers = self._headers()
        if body is not None and not isinstance(body, bytes):
            headers["Content-Length"] = str(os.fstat(body.fileno()).st_size - body.tell())
        connection = None
        try:
            try:
                connection = self._connect()
                connection.request(method, url, body=body, headers=headers)
                response = connection.getresponse()
            except (OSError, HTTPException, ValueError) as error:
                raise ApiError(f'{method.capitalize()} "{self.base}{url}": {self._reason(error)}') from None
            try:
                yield response
            except (HTTPException, TimeoutError, ConnectionResetError) as error:
                # Other errors of the system come from what the caller does with the answer.
                raise ApiError(f'{method.capitalize()} "{self.base}{url}": {self._reason(error)}') from None
        finally:
            if connection is not None:
                connection.close()

    def _reason(self, error: Exception) -> str:
        """Why there is no answer, in the words that Consul's users know."""
        import http.client
        import socket

        parts = self._parts
        where = f"unix {parts.netloc}{parts.path}" if parts.scheme == "unix" else f"tcp {parts.netloc}"
        if isinstance(error, socket.gaierror):
            return f"dial tcp: lookup {parts.hostname}: no such host"
        if isinstance(error, TimeoutError):
            return f"dial {where}: i/o timeout"
        if isinstance(error, http.client.RemoteDisconnected | http.client.IncompleteRead):
            return "EOF"
        if isinstance(error, http.client.HTTPException):
            return f"malformed HTTP response: {type(error).__name__} {error}"
        if parts.scheme == "https" and isinstance(error, OSError):
            from agent.cli.secure import tls_problem

            problem = tls_problem(error)
            if problem:
                return problem
        if isinstance(error, ConnectionResetError | BrokenPipeError):
            return f"connection reset by peer ({where})"
        if isinstance(error, ValueError):
            return str(error)
        return f"dial {where}: connect: {system_text(error)}"

    def call(self, method: str, path: str, params: Mapping[str, Any] | None = None, body: Any = None) -> Any:
        """A request whose answer is JSON (or nothing). Raises ApiError for every status but 200, and for no JSON."""
        import json

        raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        status, answer, _ = self.request(method, path, params, raw)
        if status != 200:
            raise refusal(status, answer)
        try:
            return json.loads(answer) if answer.strip() else None
        except (ValueError, RecursionError) as error:
            raise ApiError(f"{self.base} answers as no Consul agent does: {error}") from None

    def get(self, path: str, **params: Any) -> Any:
        """GET."""
        return self.call("GET", path, params)

    def put(self, path: str, body: Any = None, **params: Any) -> Any:
        """PUT."""
        return self.call("PUT", path, params, body)


def refusal(status: int, answer: bytes) -> ApiError:
    """The error that an answer means whose status is not that of success."""
    text = answer.decode("utf-8", "replace").strip()
    return ApiError(f"Unexpected response code: {status} ({text})", status)


__all__ = ["TIMEOUT", "Api", "ApiError", "Problem", "refusal"]
