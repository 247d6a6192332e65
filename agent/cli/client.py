"""A small client of the HTTP API on the standard library, so that commands start fast."""

import contextlib
import http.client
import json
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from agent.cli.flags import Flags
from agent.cli.secure import SecureConnection, TlsOptions, tls_options, tls_problem

TIMEOUT = 660.0


class ApiError(Exception):
    """The agent cannot be reached or refuses; the text is for the user."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(self._path)


class Api:
    """Requests with the settings of flags and environment."""

    def __init__(self, flags: Flags, environment: Mapping[str, str] | None = None) -> None:
        env = os.environ if environment is None else environment
        address = flags.values.get("http-addr") or env.get("CONSUL_HTTP_ADDR") or "127.0.0.1:8500"
        secure = env.get("CONSUL_HTTP_SSL", "").lower() in ("1", "true")
        if "://" not in address:
            address = f"{'https' if secure else 'http'}://{address}"
        self.address = address
        self._parts = urlsplit(address)
        self._flags = flags
        self._env = env
        self._token = self._find_token()

    @property
    def base(self) -> str:
        """The agent's address as a URL."""
        return f"{self._parts.scheme}://{self._parts.netloc}"

    @property
    def token(self) -> str:
        """The token that goes with requests."""
        return self._token

    def _find_token(self) -> str:
        given = self._flags.values.get("token") or ""
        file = self._flags.values.get("token-file") or (
            "" if given else self._env.get("CONSUL_HTTP_TOKEN_FILE", "")
        )
        if file:
            try:
                return Path(file).read_text().strip()
            except OSError as error:
                raise ApiError(f"Error reading token file: {error}") from None
        return str(given or self._env.get("CONSUL_HTTP_TOKEN", ""))

    def _connect(self) -> http.client.HTTPConnection:
        parts = self._parts
        if parts.scheme == "unix":
            return _UnixConnection(parts.netloc + parts.path)
        host, port = parts.hostname or "127.0.0.1", parts.port
        if parts.scheme != "https":
            return http.client.HTTPConnection(host, port or 80, timeout=TIMEOUT)
        return SecureConnection(host, port or 443, TIMEOUT, self.tls())

    def tls(self) -> TlsOptions:
        """How HTTPS is spoken. Raises ApiError when files cannot be used."""
        try:
            return tls_options(self._flags.values, self._env)
        except ValueError as error:
            raise ApiError(str(error)) from None

    def request(
        self, method: str, path: str, params: Mapping[str, Any] | None = None, body: bytes | None = None
    ) -> tuple[int, bytes, http.client.HTTPMessage]:
        """One request: status, body, headers. Raises ApiError when the agent cannot be reached."""
        with self.open(method, path, params, body) as response:
            return response.status, response.read(), response.headers

    @contextlib.contextmanager
    def open(
        self, method: str, path: str, params: Mapping[str, Any] | None = None, body: bytes | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        """An answer whose body is still to be read. Raises ApiError when the agent cannot be reached, or breaks off."""
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
        url = quote(path) + (f"?{urlencode(query)}" if query else "")
        headers = {"X-Consul-Token": self._token} if self._token else {}
        connection = self._connect()
        try:
            connection.request(method, url, body=body, headers=headers)
            yield connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            problem = tls_problem(error) if isinstance(error, OSError) else ""
            if problem:
                raise ApiError(f'{method.capitalize()} "{self.base}{url}": {problem}') from None
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            text = f'{method.capitalize()} "{self.base}{url}": dial tcp {self._parts.netloc}: connect: {reason.lower()}'
            raise ApiError(text) from None
        finally:
            connection.close()

    def call(self, method: str, path: str, params: Mapping[str, Any] | None = None, body: Any = None) -> Any:
        """A request whose answer is JSON (or nothing). Raises ApiError for every status but 200."""
        raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        status, answer, _ = self.request(method, path, params, raw)
        if status != 200:
            raise ApiError(f"Unexpected response code: {status} ({answer.decode('utf-8', 'replace').strip()})", status)
        try:
            return json.loads(answer) if answer.strip() else None
        except ValueError:
            return answer.decode("utf-8", "replace")

    def get(self, path: str, **params: Any) -> Any:
        """GET."""
        return self.call("GET", path, params)

    def put(self, path: str, body: Any = None, **params: Any) -> Any:
        """PUT."""
        return self.call("PUT", path, params, body)
