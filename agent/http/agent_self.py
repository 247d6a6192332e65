"""/v1/agent: this agent itself, its host, its members, and what can be done to it."""

from typing import TYPE_CHECKING, Any

from agent.describe import describe, shown_member
from agent.host import host_info
from agent.http.described import Operation, Param
from agent.http.routing import ApiRequest, ApiResponse, HttpError, route
from agent.metrics import metrics_answer
from gossip.driver import JoinError

if TYPE_CHECKING:
    from agent.agent import Agent


@route("GET", "/v1/agent/self", Operation(answer=dict[str, Any]))
async def myself(request: ApiRequest) -> Any:
    """What this agent is and how it is configured."""
    return describe(request.agent)


@route("GET", "/v1/agent/host", Operation(answer=dict[str, Any]))
async def host(request: ApiRequest) -> Any:
    """The machine."""
    return host_info()


WAN = Param("wan", "1 or true: the servers as the WAN pool has them.")
SEGMENT = Param("segment", "Only the pool of all, `_all` or none, exists.")
PRUNE, IN_WAN = Param("prune", "Forget the member at once.", "flag"), Param("wan", "In the WAN pool.", "flag")
NO_SEGMENTS = "Network segments are not supported in this version of Consul"


@route("GET", "/v1/agent/members", Operation(query=(WAN, SEGMENT), answer=list[dict[str, Any]]))
async def members(request: ApiRequest) -> Any:
    """The members of the gossip pool."""
    agent = request.agent
    if request.param("segment") not in ("", "_all"):
        raise HttpError(500, NO_SEGMENTS)
    found = [shown_member(member) for member in agent.delegate.members()]
    if request.param("wan") in ("1", "true"):
        found = [_in_wan(one, agent) for one in found if one["Tags"].get("role") == "consul"]
        return found if agent.delegate.is_server else []
    return found


def _in_wan(member: dict[str, Any], agent: "Agent") -> dict[str, Any]:
    """A server as it is known between datacenters."""
    tags = {key: value for key, value in member["Tags"].items() if key != "wan_join_port"}
    port = member["Tags"].get("wan_join_port", "")
    name = f"{member['Name']}.{agent.config.datacenter}"
    return {**member, "Name": name, "Port": int(port) if port.isdigit() else 0, "Tags": tags}


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
    Operation(
        "{node}", (Param("prune", "Forget the member at once.", "flag"), Param("wan", "In the WAN pool.", "flag"))
    ),
    prefix=True,
)
async def force_leave(request: ApiRequest) -> ApiResponse:
    """Declare that a failed member has left."""
    name = request.rest
    if request.has("wan"):  # Names there end with the datacenter; what does not is, to Consul, no name at all.
        ending = f".{request.agent.config.datacenter}"
        name = name.removesuffix(ending) if name.endswith(ending) else ""
    delegate = request.agent.delegate
    done = delegate.gossip.force_leave(name, request.has("prune"))
    if not done and all(member.name != name for member in delegate.members()):  # One that lives just goes on.
        raise HttpError(500, f"agent: No node found with name '{name}'")
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
