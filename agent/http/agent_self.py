"""/v1/agent: this agent itself, its host, its members, and what can be done to it."""

from typing import Any

from agent.describe import describe, host_info, shown_member, version_info
from agent.http.described import Operation, Param
from agent.http.routing import ApiRequest, ApiResponse, HttpError, route
from agent.metrics import metrics_answer
from gossip.driver import JoinError


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
    Operation(query=(Param("wan", "1 or true: the servers as the WAN pool has them."),), answer=list[dict[str, Any]]),
)
async def members(request: ApiRequest) -> Any:
    """The members of the gossip pool."""
    agent = request.agent
    found = [shown_member(member) for member in agent.delegate.members()]
    if request.param("wan") in ("1", "true") and agent.delegate.is_server:
        found = [
            {**one, "Name": f"{one['Name']}.{agent.config.datacenter}", "Port": agent.config.ports.serf_wan}
            for one in found
            if one["Tags"].get("role") == "consul"
        ]
    return found


@route("PUT", "/v1/agent/join/", Operation("{address}", (Param("wan", "Accepted for compatibility."),)), prefix=True)
async def join(request: ApiRequest) -> ApiResponse:
    """Join the pool at an address."""
    try:
        await request.agent.delegate.join([request.rest])
    except JoinError as error:
        raise HttpError(500, str(error)) from None
    return ApiResponse()


@route(
    "PUT",
    "/v1/agent/force-leave/",
    Operation("{node}", (Param("prune", "Forget the member at once.", "flag"),)),
    prefix=True,
)
async def force_leave(request: ApiRequest) -> ApiResponse:
    """Declare that a failed member has left."""
    if not request.agent.delegate.gossip.force_leave(request.rest, request.has("prune")):
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
