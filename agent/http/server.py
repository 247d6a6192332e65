"""The HTTP server: plain requests by `front`, others by aiohttp, both into the route table with Go's manners around it.

Paths are cleaned as Go's mux does it, unknown ones get Consul's texts, errors are plain text. Bodies, headers and times
are bounded.
"""

import asyncio
import html
import ipaddress
import logging
import posixpath
import ssl
import time
from collections.abc import Collection
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from agent.config.settings import Limits
from agent.early_ports import Ports
from agent.http import (
    acl,
    acl_methods,
    agent_checks,
    agent_health,
    agent_self,
    agent_services,
    agent_token,
    catalog,
    config_entries,
    connect,
    disabled,
    discovery_chain,
    events,
    intentions,
    internal,
    keyring,
    kv,
    metrics,
    metrics_proxy,
    monitor,
    openapi,
    operator,
    query,
    session,
    snapshot,
)
from agent.http.clients import Clients, accepts_gzip
from agent.http.fallback import Fallback, too_large
from agent.http.front import Doors, Incoming, Outgoing
from agent.http.kept import KeptAnswers, Prepared, Responder
from agent.http.listening import Listening
from agent.http.measured import MeasuredRoutes
from agent.http.routing import JSON, ROUTES, TEXT, ApiRequest, ApiResponse, HttpError, missing_slash_paths
from model.errors import ACL_NOT_FOUND, PERMISSION_DENIED, RATE_LIMITED, RpcError
from model.gojson import encode_json
from server.server import Server
from ui.static import find_page

if TYPE_CHECKING:
    from agent.agent import Agent

log = logging.getLogger("lictor.agent.http")

MODULES = (
    *(acl, acl_methods, agent_checks, agent_health, agent_self, agent_services, agent_token, catalog, config_entries),
    *(connect, disabled, discovery_chain, events, intentions, internal, keyring, kv, metrics, metrics_proxy, monitor),
    *(openapi, operator, query, session, snapshot),
)
NOT_FOUND_API = "Invalid URL path: not a recognized HTTP API endpoint\n"
_NOT_FOUND_API_BODY = NOT_FOUND_API.encode()
NOT_FOUND = "Invalid URL path: if attempting to use the HTTP API, ensure the path starts with '/v1/'\n"
MAX_HEADER_BYTES = 1 << 20
HEADER_SLACK = 4096
"""What Go's server, and so Consul, lets through above `max_header_bytes`."""
GZIP_FROM = 1024
"""Bytes from which an answer of the API is worth compressing."""
SHUTDOWN_TIMEOUT = 1.0
"""Seconds that answers under way (blocking queries, mostly) get when the agent stops."""


class HttpServer:
    """Serves the API (and the UI) on some addresses."""

    def __init__(self, agent: "Agent", early: Ports | None = None) -> None:
        self._agent = agent
        limit = agent.config.http.max_header_bytes
        self._max_head = (limit if limit > 0 else MAX_HEADER_BYTES) + HEADER_SLACK
        self.clients = Clients()
        self._fallback = Fallback(self.respond, lambda protocol: self._doors.handed.get(protocol), self._max_head)
        self._doors = Doors(self.respond, _within_limit, self._fallback, self._max_head, self.clients)
        self.kept: KeptAnswers | None = None
        if isinstance(agent.delegate, Server):
            self.kept = KeptAnswers(agent, agent.delegate, Responder(self.prepare, self.refusal, self.finished))
            if agent.delegate.acl.elsewhere is None:  # Else the primary datacenter may have to be asked first.
                self._doors.take = self.kept.take
        self._listening = Listening(self._doors, agent.config.unix_sockets, early or {})
        self._context: ssl.SSLContext | None = None
        self._redirects = missing_slash_paths(ROUTES)
        self._measured = MeasuredRoutes(agent.config.node_name)
        http = agent.config.http
        self._blocked = tuple(http.block_endpoints)
        self._networks = [ipaddress.ip_network(text, strict=False) for text in http.allow_write_http_from]
        self._headers = dict(http.response_headers)
        self._default_policy = agent.config.acl.default_policy
        if agent.config.translate_wan_addrs:
            self._headers["X-Consul-Translate-Addresses"] = "true"

    async def listen(self, address: str, port: int, secure: bool = False) -> None:
        """Listen at an address, or at `unix://PATH`. Raises OSError when that is impossible."""
        await self._listening.listen(address, port, self._tls_context if secure else None)

    def apply(self, limits: Limits, context: ssl.SSLContext | None) -> None:
        """Take over limits, and the certificate of HTTPS, for connections that come from now on."""
        self.clients.limit = limits.http_max_conns_per_client
        self._listening.handshake_timeout = limits.https_handshake_timeout
        self._context = context

    def _tls_context(self) -> ssl.SSLContext | None:
        return self._context

    async def stop(self) -> None:
        """Close the ports; answers under way get a moment."""
        self._listening.close()
        self._fallback.pre_shutdown()
        await asyncio.gather(self._doors.close(SHUTDOWN_TIMEOUT), self._fallback.shutdown(SHUTDOWN_TIMEOUT))

    async def respond(self, request: Incoming) -> Outgoing:
        """The answer to a request, whatever it may be; raises only CancelledError and ConnectionError."""
        try:
            answer = await self._answer(request)
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception as error:
            answer = self.refusal(request, error)
        return self.finished(request, answer)

    def refusal(self, request: Incoming, error: Exception) -> ApiResponse:
        """What a request is told that failed with an error."""
        if isinstance(error, HttpError):
            return ApiResponse(error.text.encode("utf-8", "replace"), error.status, TEXT, error.headers)
        if isinstance(error, RpcError):
            answer = rpc_error(error)
            if request.method == "GET" and request.target.startswith(_META_ON_ERRORS):
                answer.headers.update(FAILED_READ)
            return answer
        # The query may hold a token.
        log.error("%s %s", request.method, request.target.partition("?")[0], exc_info=error)
        return ApiResponse(b"internal error", 500, TEXT)

    def finished(self, request: Incoming, answer: ApiResponse) -> Outgoing:
        """An answer with the headers that all have."""
        headers = {**self._headers, **answer.headers}
        if answer.status != 301 and answer.body != _NOT_FOUND_API_BODY and request.target.startswith("/v1/"):
            # What the metrics proxy passes on may be another agent's answer.
            theirs = headers.get("X-Consul-Default-Acl-Policy")
            ours = self._default_policy
            headers["X-Consul-Default-Acl-Policy"] = f"{ours}, {theirs}" if theirs else ours
        if answer.content_type:
            headers["Content-Type"] = answer.content_type
        gzip = False
        if len(answer.body) > GZIP_FROM and request.target.startswith("/v1/") and "Content-Encoding" not in headers:
            headers["Vary"] = "Accept-Encoding"
            gzip = accepts_gzip(request.headers.get("Accept-Encoding", ""))
        return Outgoing(answer, headers, gzip)

    async def ask(self, target: str, token: str) -> tuple[int, bytes, int]:
        """A GET of the agent's own, without a connection: status, body, and the index of the answer (0 for none)."""

        async def no_body(limit: int) -> bytes:
            return b""

        headers = {"X-Consul-Token": token} if token else {}
        answer, sent, _ = await self.respond(Incoming("GET", target, headers, "127.0.0.1", no_body))
        index = sent.get("X-Consul-Index", "")
        return answer.status, answer.body, int(index) if index.isdigit() else 0

    async def _answer(self, request: Incoming) -> ApiResponse:
        prepared = self.prepare(request)
        if isinstance(prepared, ApiResponse):
            return prepared
        handler, api, measured = prepared
        began = time.perf_counter()
        try:
            result = await handler(api)
            if not isinstance(result, ApiResponse):
                result = ApiResponse(encode_json(result, api.pretty), 200, JSON)
            measured.succeeded()
            return result
        except RpcError:
            measured.refused()
            raise
        finally:
            measured.took(time.perf_counter() - began)

    def prepare(self, request: Incoming) -> ApiResponse | Prepared:
        """Who answers a request, or its answer when no handler has to be asked. Raises HttpError."""
        raw_path, _, raw_query = request.target.partition("?")
        path = _decode_path(raw_path, self._agent.config.disable_http_unprintable_char_filter)
        redirect = self._cleaned(path)
        if redirect is not None:
            location = redirect + (f"?{raw_query}" if raw_query else "")
            body = f'<a href="{html.escape(location)}">Moved Permanently</a>.\n\n' if request.method == "GET" else ""
            kind = "text/html; charset=utf-8" if body else ""
            return ApiResponse(body.encode("utf-8", "replace"), 301, kind, {"Location": location})
        found = ROUTES.find(path)
        if found is None or path.startswith(self._blocked):
            if found is not None and self._blocked:
                raise HttpError(403, "Endpoint is blocked by agent configuration")
            return self._page(request, path)
        route, rest = found
        narrow = ROUTES.narrowed.get(route.path)
        methods = narrow(rest) if narrow else tuple(route.handlers)
        if request.method == "OPTIONS":
            headers = {"Allow": _allow(methods)}
            return ApiResponse(b"{}", 200, JSON, headers) if narrow else ApiResponse(headers=headers)
        handler = route.handlers.get(request.method)
        if handler is None or request.method not in methods:
            allowed = ",".join(methods) if narrow else _allow(methods)
            raise HttpError(405, f"method {request.method} not allowed", {"Allow": allowed})
        if request.method != "GET" and self._networks and not self._may_write(request):
            raise HttpError(403, "Access is restricted")
        api = ApiRequest(
            self._agent,
            request.method,
            path,
            _parse_query(raw_query),
            request.headers,
            request.read_body,
            request.remote,
        )
        api.rest = rest
        if path.startswith(_WITHOUT_NAMESPACES) and path != "/v1/catalog/datacenters":
            _refuse_enterprise(api)
        return Prepared(handler, api, self._measured.of(route.path, request.method))

    def _may_write(self, request: Incoming) -> bool:
        try:
            address = ipaddress.ip_address(request.remote)
        except ValueError:
            return True  # A unix socket.
        return any(address in network for network in self._networks)

    def _cleaned(self, path: str) -> str | None:
        """Where Go's mux would redirect to; None when the path is clean."""
        if path in self._redirects:
            return path + "/"
        if "//" in path or "/./" in path or "/../" in path or path.endswith(("/.", "/..")):
            cleaned = posixpath.normpath(path).replace("//", "/")
            if path.endswith("/") and cleaned != "/":
                cleaned += "/"
            return cleaned
        return None

    def _page(self, request: Incoming, path: str) -> ApiResponse:
        config = self._agent.config
        base = config.ui_path
        if config.ui:
            if path in ("/", base[:-1]) and base != "/":
                link = f'<a href="{html.escape(base)}">Moved Permanently</a>.\n\n'
                return ApiResponse(link.encode(), 301, "text/html; charset=utf-8", {"Location": base})
            if path.startswith(base):
                if request.method not in ("GET", "HEAD"):
                    raise HttpError(405, f"method {request.method} not allowed")
                folder = config.ui_settings.folder
                page = find_page(path[len(base) :], base, request.headers.get("If-None-Match", ""), folder)
                return ApiResponse(page.body, page.status, page.content_type, page.headers)
        if path.startswith("/debug/pprof") and not config.enable_debug:
            return ApiResponse(b"", 401)
        if path == "/":
            return ApiResponse(b"Consul Agent", 200, TEXT)
        if path.startswith("/debug/pprof/") and not config.enable_debug:
            return ApiResponse(status=401)
        raise HttpError(404, NOT_FOUND_API if path.startswith("/v1/") or path == "/v1" else NOT_FOUND)


def rpc_error(error: RpcError) -> ApiResponse:
    """A refused call as Consul answers it."""
    status = 500
    if error.has(PERMISSION_DENIED) or error.has(ACL_NOT_FOUND):
        status = 403
    elif error.has(RATE_LIMITED):
        status = 429
    return ApiResponse(error.text.encode("utf-8", "replace"), status, TEXT)


_META_ON_ERRORS = (
    "/v1/catalog/",
    "/v1/health/",
    "/v1/session/",
    "/v1/coordinate/",
    "/v1/connect/intentions",
    "/v1/connect/ca/roots",
    "/v1/discovery-chain/",
    "/v1/internal/ui/",
    "/v1/acl/",
)
FAILED_READ = {
    "X-Consul-Index": "1",
    "X-Consul-KnownLeader": "false",
    "X-Consul-LastContact": "0",
    "X-Consul-Query-Backend": "blocking-query",
}
"""What Consul sends along when a read of these families fails."""
_WITHOUT_NAMESPACES = (
    *("/v1/kv/", "/v1/txn", "/v1/catalog/", "/v1/health/", "/v1/session/"),
    *("/v1/agent/service", "/v1/agent/check"),
)


def _refuse_enterprise(request: ApiRequest) -> None:
    """Raise HttpError 400 for a namespace or partition, which only Consul Enterprise has."""
    for name, header, what in (
        ("ns", "X-Consul-Namespace", "Namespaces"),
        ("partition", "X-Consul-Partition", "Partitions"),
    ):
        if request.param(name) and not (name == "ns" and request.path == "/v1/catalog/nodes"):
            raise HttpError(400, f'Invalid query parameter: "{name}" - {what} are a Consul Enterprise feature')
        if request.headers.get(header):
            raise HttpError(400, f'Invalid header: "{header}" - {what} are a Consul Enterprise feature')


def _allow(methods: Collection[str]) -> str:
    return ",".join(["OPTIONS", *(method for method in ("GET", "PUT", "POST", "DELETE") if method in methods)])


def _decode_path(raw: str, keep_unprintable: bool) -> str:
    if "%" in raw:
        for part in raw.split("%")[1:]:
            if len(part) < 2 or any(digit not in "0123456789abcdefABCDEF" for digit in part[:2]):
                raise HttpError(400, "400 Bad Request")
    path = unquote_to_bytes(raw).decode("utf-8", "surrogateescape")
    if not keep_unprintable and any(ord(character) < 32 or character == "\x7f" for character in path):
        raise HttpError(400, "")
    return path


def _parse_query(raw: str) -> dict[str, list[str]]:
    params: dict[str, list[str]] = {}
    if len(raw) > 1 << 16:
        raise HttpError(400, "the query is too long")
    for pair in raw.split("&"):
        if not pair:
            continue
        if ";" in pair:
            continue
        key, _, value = pair.partition("=")
        params.setdefault(_unescape(key), []).append(_unescape(value))
    return params


def _unescape(text: str) -> str:
    for part in text.split("%")[1:]:
        if len(part) < 2 or any(digit not in "0123456789abcdefABCDEF" for digit in part[:2]):
            raise HttpError(500, "")
    return unquote_to_bytes(text.replace("+", " ")).decode("utf-8", "surrogateescape")


def _within_limit(body: bytes, limit: int) -> bytes:
    if len(body) > limit:
        raise too_large(limit, len(body))
    return body
