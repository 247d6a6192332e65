"""/v1/agent: this agent itself, its host, its members, and what can be done to it."""

from typing import Any

from agent.describe import describe, host_info, shown_member, version_info
from agent.http.described import Operation, Param
from agent.http.routing import ApiRequest, ApiResponse, HttpError, route
from agent.metrics import metrics_answer
from gossip.driver import JoinError

WIDE = Param("wan", "1 or true: the WAN pool, of the servers of all datacenters.")
SEGMENT = Param("segment", "_all or empty: this version has no segments.")
ALL_SEGMENTS = "_all"


@route("GET", "/v1/agent/self", Operation(answer=dict[str, Any]))
async def myself(request: ApiRequest) -> Any:
    """What this agent is and how it is configured."""
    return describe(request.agent)


@route("GET", "/v1/agent/version", Operation(answer=dict[str, str]))
async def version(request: ApiRequest) -> Any:
    """The version."""
    return version_info()


@route("GET", "/v1/agent/host", Operation(answer=dict[str, Any]))
async def host(request: ApiRequest) -> Any:
    """The machine."""
    return host_info()


@route(
    "GET",
    "/v1/agent/members",
    Operation(query=(WIDE, SEGMENT), answer=list[dict[str, Any]]),
)
async def members(request: ApiRequest) -> Any:
    """The members of the gossip pool."""
    delegate = request.agent.delegate
    if request.param("segment") not in ("", ALL_SEGMENTS):
        raise HttpError(500, "Network segments are not supported in this version of Consul")
    found = delegate.wide_members() if _wide(request) else delegate.members()
    return [shown_member(member) for member in found]


def _wide(request: ApiRequest) -> bool:
    """Whether the request is about the WAN pool; the parameter alone, without a value, does not say so."""
    return request.param("wan") in ("1", "true")


@route("PUT", "/v1/agent/join/", Operation("{address}", (WIDE,)), prefix=True)
async def join(request: ApiRequest) -> ApiResponse:
    """Join the pool at an address."""
    delegate = request.agent.delegate
    try:
        await (delegate.join_wide if _wide(request) else delegate.join)([request.rest])
    except JoinError as error:
        raise HttpError(500, str(error)) from None
    return ApiResponse()


@route(
    "PUT",
    "/v1/agent/force-leave/",
    Operation("{node}", (Param("prune", "Forget the member at once.", "flag"), WIDE)),
    prefix=True,
)
async def force_leave(request: ApiRequest) -> ApiResponse:
    """Declare that a failed member has left."""
    if not request.agent.delegate.force_leave(request.rest, request.has("prune"), wide=_wide(request)):
        raise HttpError(500, f"agent: No node found with name '{request.rest}'")
    return ApiResponse()


@route("PUT", "/v1/agent/leave", Operation())
async def leave(request: ApiRequest) -> ApiResponse:
    """Leave the cluster and stop."""
    await request.agent.delegate.leave()
    request.agent.request_stop()
    return ApiResponse()


@route("PUT", "/v1/agent/reload", Operation())
async def reload(request: ApiRequest) -> ApiResponse:
    """Read the configuration again."""
    problem = await request.agent.reload()
    if problem:
        raise HttpError(500, problem)
    return ApiResponse()


@route(
    "GET",
    "/v1/agent/metrics",
    Operation(query=(Param("format", "prometheus: in its text format."),), answer=dict[str, Any], also=("text/plain",)),
)
async def metrics(request: ApiRequest) -> ApiResponse:
    """Figures, as JSON or in Prometheus' format."""
    return metrics_answer(request.agent, prometheus=request.param("format") == "prometheus", pretty=request.pretty)
