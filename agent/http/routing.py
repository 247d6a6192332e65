"""Requests, answers and the route table of the HTTP API.

A handler is `async def handler(request: ApiRequest) -> ApiResponse | value`, registered with
`@route("GET", "/v1/kv/", prefix=True)`. A plain value is answered as JSON; `HttpError` becomes Consul's plain text.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgspec

from agent.cache import Wanted
from agent.http.described import Operation
from agent.translating import translated
from model.codec import Wire
from model.durations import SECOND, DurationError, parse_duration
from model.gojson import JsonError, Style, decode_json, encode_json
from model.structs.base import Meta, Query
from server.acl.identities import ANONYMOUS_SECRET
from server.endpoints.authorizer import Authorizer

if TYPE_CHECKING:
    from agent.agent import Agent

W = TypeVar("W", bound=Wire)
TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
MAX_BODY = 32 << 20
_DISCOVERY = ("/v1/catalog/", "/v1/health/")
"""Where `discovery_max_stale` lets any server answer."""


class HttpError(Exception):
    """An answer that is an error; `text` is its whole body."""

    def __init__(self, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.headers = dict(headers or {})


class ApiResponse:
    """An answer: status, body, content type ("" for none), further headers."""

    __slots__ = ("body", "content_type", "headers", "status", "stream")

    def __init__(
        self, body: bytes = b"", status: int = 200, content_type: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        self.body = body
        self.status = status
        self.content_type = content_type
        self.headers = dict(headers or {})
        self.stream: Callable[[Callable[[bytes], Awaitable[None]]], Awaitable[None]] | None = None


class ApiRequest:
    """A request. `path` is decoded; `params` has every query parameter in order."""

    def __init__(
        self,
        agent: "Agent",
        method: str,
        path: str,
        params: dict[str, list[str]],
        headers: Mapping[str, str],
        read_body: Callable[[int], Awaitable[bytes]],
        remote: str,
    ) -> None:
        self.agent = agent
        self.method = method
        self.path = path
        self.params = params
        self.headers = headers
        self.remote = remote
        self.rest = ""
        """What follows the prefix of a prefix route."""
        self.cache_headers: dict[str, str] = {}
        """What the answer says about the agent's cache, once that was asked."""
        self._max_stale: int | None = None
        """Nanoseconds by which another server than the leader may be behind."""
        self._read_body = read_body

    def param(self, name: str, default: str = "") -> str:
        """The first value of a query parameter."""
        values = self.params.get(name)
        return values[0] if values else default

    def has(self, name: str) -> bool:
        """Whether a query parameter is there, with or without a value."""
        return name in self.params

    @property
    def token(self) -> str:
        """The token that the request brings, or else the agent's default one."""
        return self.own_token or self.agent.tokens.default

    async def authorizer(self) -> Authorizer:
        """What the request's token may do. Raises RpcError when no token has its secret."""
        return await self.agent.access.authorizer(self.token)

    async def require(self, resource: str, access: str, name: str = "") -> None:
        """Raise RpcError unless the request's token may do this."""
        (await self.authorizer()).require(resource, access, name)

    def filtered_headers(self, hidden: bool) -> dict[str, str]:
        """What an answer of the agent's own tells, besides, of rows that the token may not see."""
        told = hidden and self.token not in ("", ANONYMOUS_SECRET)
        return {"X-Consul-Results-Filtered-By-ACLs": "true"} if told else {}

    @property
    def own_token(self) -> str:
        """The token that the request brings: `?token=`, else `X-Consul-Token`, else `Authorization: Bearer`."""
        if self.param("token"):
            return self.param("token")
        if header := self.headers.get("X-Consul-Token", ""):
            return header
        scheme, _, value = self.headers.get("Authorization", "").partition(" ")
        return value.strip() if scheme.lower() == "bearer" else ""

    @property
    def datacenter(self) -> str:
        """`?dc=`, or the agent's own."""
        return self.param("dc") or self.agent.config.datacenter

    async def raw_body(self, limit: int = MAX_BODY, setting: str = "") -> bytes:
        """The body. Raises HttpError 413 beyond `limit` bytes; `setting` is the one that the text refers to."""
        try:
            return await self._read_body(limit)
        except HttpError as error:
            error.text = error.text.replace("#kv_max_value_size", f"#{setting}") if setting else error.text
            raise

    async def body(
        self,
        cls: type[W],
        prefix: str = "Request decode failed: ",
        style: Style = "go",
        may_be_empty: bool = False,
        status: int = 400,
        **options: Any,
    ) -> W:
        """The body as a struct. Raises HttpError `status` with Go's text behind `prefix`."""
        raw = await self.raw_body()
        if may_be_empty and not raw:
            return cls()
        try:
            return decode_json(cls, raw, style=style, **options)
        except JsonError as error:
            raise HttpError(status, f"{prefix}{error}") from None

    def consistency(self) -> dict[str, Any]:
        """`?stale`, `?consistent`. Raises HttpError when both are there."""
        stale, consistent = self.has("stale"), self.has("consistent")
        if stale and consistent:
            raise HttpError(400, "Cannot specify ?stale with ?consistent, conflicting semantics.")
        if self.wants_cached and consistent:
            raise HttpError(400, "Cannot specify ?cached with ?consistent, conflicting semantics.")
        if self.param("max_stale"):
            try:
                self._max_stale = max(0, parse_duration(self.param("max_stale")))
            except DurationError:
                raise HttpError(400, f'Invalid max_stale value "{self.param("max_stale")}"') from None
            if consistent:
                raise HttpError(400, "Cannot specify ?stale with ?consistent, conflicting semantics.")
            stale = True
        elif not (stale or consistent) and self.path.startswith(_DISCOVERY):
            limit = self.agent.config.discovery_max_stale
            if limit > 0:
                self._max_stale, stale = round(limit * SECOND), True
        self.accepted()
        return {"allow_stale": stale, "require_consistent": consistent}

    @property
    def wants_cached(self) -> bool:
        """Whether `?cached` is there, with whatever value, and the agent may answer from its cache."""
        return self.has("cached") and self.agent.config.http.use_cache

    @property
    def consistency_mode(self) -> str:
        """How consistent the answer is, as it tells."""
        if self._max_stale is not None:
            return "stale"
        return "consistent" if self.has("consistent") else "stale" if self.has("stale") else "leader"

    def accepted(self) -> Wanted:
        """How old a cached answer may be, from `Cache-Control`. Raises HttpError 400."""
        seconds: dict[str, int] = {}
        must_revalidate = False
        for directive in self.headers.get("Cache-Control", "").split(","):
            key, _, value = directive.strip().partition("=")
            if key in ("max-age", "stale-if-error"):
                if not re.fullmatch(r"[+-]?[0-9]{1,9}", value):
                    raise HttpError(400, "Invalid Cache-Control header.")
                seconds[key] = int(value)
            must_revalidate = must_revalidate or key == "must-revalidate"
        age = seconds.get("max-age")
        limit = age if age is not None and age >= 0 else None
        return Wanted(limit, must_revalidate, max(0, seconds.get("stale-if-error", 0)))

    async def cached_call(self, method: str, args: Any, fresh: bool = True, always: bool = False) -> Any:
        """Ask the cluster, or with `?cached` (or `always`) the agent's cache.

        `fresh` answers are kept up in the background.
        """
        return self._translated(await self._cached_call(method, args, fresh, always))

    async def _cached_call(self, method: str, args: Any, fresh: bool, always: bool) -> Any:
        if not self.wants_cached and not always:
            return await self._call(method, args)
        config, args = self.agent.config, self._bearing(args)
        if method not in _FOR_ALL:
            await self.authorizer()  # A token that is gone is refused, whatever is kept.
        if fresh:
            answer = await self.agent.cache.fresh(method, args, config.default_query_time, config.max_query_time)
        else:
            answer = await self.agent.cache.plain(method, args, self.accepted())
        self.cache_headers = {"X-Cache": "HIT" if answer.hit else "MISS"}
        if answer.hit:
            self.cache_headers["Age"] = str(int(answer.age))
        return answer.reply

    def query_options(self) -> dict[str, Any]:
        """The options of a read as fields of `model.structs.base.Query`, and the datacenter. Raises HttpError 400."""
        options = {**self.consistency(), "token": self.token, **self.waiting()}
        if self.has("filter"):
            options["filter"] = self.param("filter")
        options["datacenter"] = self.datacenter
        return options

    def waiting(self) -> dict[str, Any]:
        """`?index` and `?wait` as fields of a read. Raises HttpError 400."""
        options: dict[str, Any] = {}
        if self.param("wait"):
            try:
                options["max_query_time"] = max(0, parse_duration(self.param("wait")))
            except DurationError:
                raise HttpError(400, "Invalid wait time") from None
        if self.param("index"):
            text = self.param("index")
            if not (text.isascii() and text.isdigit() and int(text) < 1 << 64):
                raise HttpError(400, "Invalid index")
            options["min_query_index"] = int(text)
        return options

    def hold(self, default: float | None = None) -> float:
        """Seconds for which an answer that the agent itself gives may wait for a change. Raises HttpError 400."""
        config = self.agent.config
        wait = self.waiting().get("max_query_time", 0) / SECOND
        return min(wait or default or config.default_query_time, config.max_query_time)

    def node_meta(self) -> dict[str, str] | None:
        """`?node-meta=key:value`, any number of them."""
        found = {}
        for text in self.params.get("node-meta", []):
            key, _, value = text.partition(":")
            found[key] = value
        return found or None

    async def call(self, method: str, args: Wire) -> Any:
        """Ask the cluster; the leader, when the answer of another server is older than `?max_stale` allows."""
        return self._translated(await self._call(method, args))

    def _translated(self, reply: Any) -> Any:
        config = self.agent.config
        return translated(reply, config.datacenter) if config.translate_wan_addrs else reply

    def _bearing(self, args: Any) -> Any:
        """The arguments of a call with the request's token."""
        if getattr(args, "token", None) == "" and (token := self.token):
            return msgspec.structs.replace(args, token=token)
        return args

    async def _call(self, method: str, args: Wire) -> Any:
        args = self._bearing(args)
        reply = await self.agent.delegate.call(method, args)
        if self._max_stale is None or not isinstance(reply, Meta) or not isinstance(args, Query):
            return reply
        if reply.last_contact <= self._max_stale or not args.allow_stale:
            return reply
        self._max_stale = None
        self.params.pop("stale", None)
        return await self.agent.delegate.call(method, msgspec.structs.replace(args, allow_stale=False))

    def json(self, value: Any, meta: Meta | None = None, consistency: bool = True, status: int = 200) -> ApiResponse:
        """Answer with JSON, and the headers of a read."""
        headers = meta_headers(meta, self, consistency) if meta is not None else {}
        return ApiResponse(encode_json(value, self.pretty), status, JSON, headers)

    @property
    def pretty(self) -> bool:
        """Whether the answer is to be indented."""
        return self.has("pretty")


def meta_headers(meta: Meta, request: ApiRequest, consistency: bool = True, backend: str = "") -> dict[str, str]:
    """The `X-Consul-*` headers of a read."""
    headers = {
        "X-Consul-Index": str(max(meta.index, 1)),
        "X-Consul-KnownLeader": "true" if meta.known_leader else "false",
        "X-Consul-LastContact": str(meta.last_contact * 1000 // SECOND),
    }
    if consistency:
        headers["X-Consul-Effective-Consistency"] = request.consistency_mode
    headers["X-Consul-Query-Backend"] = backend or "blocking-query"
    if meta.results_filtered_by_acls:
        headers["X-Consul-Results-Filtered-By-ACLs"] = "true"
    return {**headers, **request.cache_headers}


_FOR_ALL = frozenset(("Catalog.ListDatacenters", "ConnectCA.Roots"))
"""Reads that need no right, so no known token."""

Handler = Callable[[ApiRequest], Awaitable[Any]]


class Route(NamedTuple):
    """A path (or the beginning of one) and its handlers by method."""

    path: str
    prefix: bool
    handlers: dict[str, Handler]
    operations: dict[str, tuple[Operation, ...]]
    """By method, what the API's description says; the first form is the usual one."""


class RouteTable:
    """Exact paths, then the longest prefix."""

    def __init__(self) -> None:
        self._exact: dict[str, Route] = {}
        self._prefixes: dict[str, Route] = {}
        self._longest_prefix = 0
        self.narrowed: dict[str, Callable[[str], tuple[str, ...]]] = {}
        """For some prefixes, which of their methods what follows the prefix allows."""

    def add(
        self, method: str, path: str, handler: Handler, prefix: bool, operations: tuple[Operation, ...] = ()
    ) -> None:
        """Register a handler. A prefix ends with a slash."""
        if prefix:
            assert path.endswith("/"), path
            self._longest_prefix = max(self._longest_prefix, len(path))
        table = self._prefixes if prefix else self._exact
        route = table.setdefault(path, Route(path, prefix, {}, {}))
        route.handlers[method] = handler
        route.operations[method] = operations or (Operation(),)

    def find(self, path: str) -> tuple[Route, str] | None:
        """The route of a path and what follows its prefix."""
        route = self._exact.get(path)
        if route is not None:
            return route, ""
        best = None
        slash = path.find("/")
        while 0 <= slash < self._longest_prefix:
            best = self._prefixes.get(path[: slash + 1], best)
            slash = path.find("/", slash + 1)
        return (best, path[len(best.path) :]) if best is not None else None

    def routes(self) -> list[Route]:
        """All routes."""
        return [*self._exact.values(), *self._prefixes.values()]


ROUTES = RouteTable()
H = TypeVar("H", bound=Handler)


def route(methods: str, path: str, *operations: Operation, prefix: bool = False) -> Callable[[H], H]:
    """Register a handler for methods such as "GET" or "PUT POST"; `operations` describe what it takes and answers."""

    def register(handler: H) -> H:
        for method in methods.split():
            ROUTES.add(method, path, handler, prefix, operations)
        return handler

    return register


def missing_slash_paths(table: RouteTable) -> set[str]:
    """Paths that Go's mux redirects to themselves with a slash."""
    exact = {entry.path for entry in table.routes() if not entry.prefix}
    return {entry.path[:-1] for entry in table.routes() if entry.prefix and entry.path.endswith("/")} - exact
