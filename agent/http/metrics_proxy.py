"""/v1/internal/ui/metrics-proxy: passes the UI's questions about metrics on to where `ui_config` says."""

import posixpath
from collections.abc import Awaitable, Callable
from urllib.parse import quote, urlsplit

import aiohttp
from yarl import URL

from agent.config.settings import MetricsProxy
from agent.http.described import Operation, Raw
from agent.http.routing import ApiRequest, ApiResponse, HttpError, route

TIMEOUT = aiohttp.ClientTimeout(total=60.0, connect=10.0)
MAX_BODY = 32 << 20
"""Bytes of an answer that are passed on."""
CHUNK = 64 << 10
_NOT_PASSED_ON = frozenset(
    (
        *("connection", "content-encoding", "content-length", "date", "keep-alive", "proxy-authenticate"),
        *("proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
    )
)
_KEPT_BY_THE_AGENT = frozenset(("authorization", "cookie", "host", "x-consul-token", "accept-encoding"))
"""Headers of the client that are none of the backend's business."""


def proxied_url(proxy: MetricsProxy, rest: str) -> str | None:
    """Where a path below the endpoint leads; None where the configuration does not let it go.

    The path is appended to the base URL, which it cannot leave; an allow-list names whole paths of the outcome.
    """
    base = urlsplit(proxy.base_url)
    root = base.path.rstrip("/")
    path = posixpath.normpath(f"{root}/{rest}") if rest else f"{root}/"
    path = "/" + path.lstrip("/")
    if not (path == root or path.startswith(f"{root}/")):
        return None
    if proxy.path_allowlist and path not in proxy.path_allowlist:
        return None
    return f"{base.scheme}://{base.netloc}{quote(path, errors='surrogateescape')}"


@route(
    "GET",
    "/v1/internal/ui/metrics-proxy/",
    Operation(
        "{path}",
        answer=Raw("application/json", "What the metrics backend says."),
        statuses={403: "The path is not allowed.", 404: "No backend is configured.", 502: "It cannot be reached."},
    ),
    prefix=True,
)
async def metrics_proxy(request: ApiRequest) -> ApiResponse:
    """Ask the metrics backend of `ui_config.metrics_proxy`."""
    config = request.agent.config
    proxy = config.metrics_proxy
    if not config.ui or not proxy.base_url:
        raise HttpError(404, "Metrics proxy is not enabled")
    authz = await request.authorizer()  # The backend may tell of everything.
    authz.require_every("node", "read")
    authz.require_every("service", "read")
    url = proxied_url(proxy, request.rest)
    if url is None:
        return ApiResponse(b"", 403)
    pairs = [(name, value) for name, values in request.params.items() for value in values]
    kept = [
        (name, value)
        for name, value in request.headers.items()
        if name.lower() not in _NOT_PASSED_ON | _KEPT_BY_THE_AGENT
    ]
    session = aiohttp.ClientSession(timeout=TIMEOUT, auto_decompress=True)
    try:
        response = await session.get(
            URL(url, encoded=True).with_query(pairs), headers=[*kept, *proxy.add_headers], allow_redirects=False
        )
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
        await session.close()
        return ApiResponse(b"", 502)
    except BaseException:
        await session.close()  # The client is gone.
        raise
    return await _passed_on(session, response)


async def _passed_on(session: aiohttp.ClientSession, response: aiohttp.ClientResponse) -> ApiResponse:
    """The backend's answer, as it comes."""
    headers: dict[str, str] = {}
    for name, value in response.headers.items():
        if name.lower() not in _NOT_PASSED_ON and name.lower() != "content-type":
            headers[name] = f"{headers[name]}, {value}" if name in headers else value

    async def send(write: Callable[[bytes], Awaitable[None]]) -> None:
        try:
            left = MAX_BODY
            async for chunk in response.content.iter_chunked(CHUNK):
                left -= len(chunk)
                if left < 0:
                    raise ConnectionResetError("the answer of the metrics backend is too large")
                await write(chunk)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ConnectionResetError(f"the metrics backend broke off: {error}") from None
        finally:
            await session.close()

    answer = ApiResponse(b"", response.status, response.headers.get("Content-Type", ""), headers)
    answer.stream = send
    return answer
