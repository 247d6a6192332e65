"""/v1/internal/ui/metrics-proxy: passes the UI's questions about metrics on to a backend such as Prometheus."""

import posixpath
from urllib.parse import quote, urlencode, urlsplit

import aiohttp
from multidict import CIMultiDict

from agent.http.described import NoBody, Operation, Raw
from agent.http.routing import ApiRequest, ApiResponse, route

_SECONDS = 30.0
_MAX_ANSWER = 32 << 20
_OWN = frozenset(
    (
        *("connection", "content-encoding", "content-length", "content-type", "date", "keep-alive", "server"),
        *("te", "trailer", "transfer-encoding", "upgrade", "set-cookie", "vary"),
    )
)
"""Headers of the backend's answer that are this connection's own matter."""


@route(
    "GET",
    "/v1/internal/ui/metrics-proxy/",
    Operation(
        "{path}",
        answer=Raw("*/*", "What the backend answers."),
        statuses={
            403: NoBody("The path is not one of those allowed."),
            404: NoBody("No backend is configured."),
            502: NoBody("The backend does not answer."),
        },
    ),
    prefix=True,
)
async def metrics_proxy(request: ApiRequest) -> ApiResponse:
    """What the configured backend answers; 404 without one, 403 for other paths than the allowed, 502 when it fails."""
    settings = request.agent.config.metrics_proxy
    if not settings.base_url or not request.agent.config.ui:
        return ApiResponse(status=404)
    base = urlsplit(settings.base_url)
    path = posixpath.normpath(f"{base.path}/{request.rest}").replace("//", "/")
    below = f"{path}/".startswith(f"{base.path.rstrip('/')}/")
    if not below or (settings.path_allowlist and path not in settings.path_allowlist):
        return ApiResponse(status=403)
    query = urlencode([(key, value) for key, values in request.params.items() for value in values])
    url = f"{base.scheme}://{base.netloc}{quote(path)}" + (f"?{query}" if query else "")
    headers = CIMultiDict({"Accept": request.headers.get("Accept", "*/*")})
    headers.extend(settings.add_headers)
    try:
        timeout = aiohttp.ClientTimeout(total=_SECONDS)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(url, headers=headers, allow_redirects=False) as answer,
        ):
            body = await answer.content.read(_MAX_ANSWER + 1)
            while len(body) <= _MAX_ANSWER and (more := await answer.content.read(_MAX_ANSWER)):
                body += more
            if len(body) > _MAX_ANSWER:
                return ApiResponse(status=502)
            shown = {name: ", ".join(answer.headers.getall(name)) for name in answer.headers if _passes(name)}
            return ApiResponse(body, answer.status, answer.headers.get("Content-Type", ""), shown)
    except (TimeoutError, aiohttp.ClientError, ValueError):
        return ApiResponse(status=502)


def _passes(name: str) -> bool:
    return name.lower() not in _OWN
