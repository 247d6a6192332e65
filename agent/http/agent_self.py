"""/v1/agent: this agent itself, its host, its members, and what can be done to it."""

from typing import Any

from agent.describe import describe, shown_member
from agent.host import host_info
from agent.http.described import Operation, Param
from agent.http.routing import JSON, ApiRequest, ApiResponse, HttpError, route
from gossip.driver import JoinError
from model.gojson import encode_json

WIDE = Param("wan", "1 or true: the WAN pool, of the servers of all datacenters.")
SEGMENT = Param("segment", "_all or empty: this version has no segments.")
ALL_SEGMENTS = "_all"


@route("GET", "/v1/agent/self", Operation(answer=dict[str, Any]))
async def myself(request: ApiRequest) -> Any:
    """What this agent is and how it is configured."""
    await request.require("agent", "read", request.agent.config.node_name)
    return describe(request.agent)


@route("GET", "/v1/agent/host", Operation(answer=dict[str, Any]))
async def host(request: ApiRequest) -> Any:
    """The machine."""
    await request.require("operator", "read")
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
    authz = await request.authorizer()
    seen = [shown_member(member) for member in found if authz.node_read(member.name)]
    headers = request.filtered_headers(len(seen) < len(found))
    return ApiResponse(encode_json(seen, request.pretty), 200, JSON, headers)


def _wide(request: ApiRequest) -> bool:
    """Whether the request is about the WAN pool; the parameter alone, without a value, does not say so."""
    return request.param("wan") in ("1", "true")


@route("PUT", "/v1/agent/join/", Operation("{address}", (WIDE,)), prefix=True)
async def join(request: ApiRequest) -> ApiResponse:
    """Join the pool at an address."""
    await request.require("agent", "write", request.agent.config.node_name)
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
    await request.require("operator", "write")
    delegate = request.agent.delegate
    wide = request.has("wan")
    known = delegate.wide_members() if wide else delegate.members()
    done = delegate.force_leave(request.rest, request.has("prune"), wide=wide)
    if not done and all(member.name != request.rest for member in known):  # One that lives just goes on.
        shown = "" if wide else request.rest  # As recorded: Consul tells nothing of a WAN member's name.
        raise HttpError(500, f"agent: No node found with name '{shown}'")
    return ApiResponse()


@route("PUT", "/v1/agent/leave", Operation())
async def leave(request: ApiRequest) -> ApiResponse:
    """Leave the cluster and stop."""
    await request.require("agent", "write", request.agent.config.node_name)
    await request.agent.leave()
    request.agent.request_stop()
    return ApiResponse()


@route("PUT", "/v1/agent/reload", Operation())
async def reload(request: ApiRequest) -> ApiResponse:
    """Read the configuration again."""
    await request.require("agent", "write", request.agent.config.node_name)
    problem = await request.agent.reload()
    if problem:
        raise HttpError(500, problem)
    return ApiResponse()
