"""/v1/operator: Raft's configuration and autopilot."""

from typing import Any

import msgspec

from agent.http.described import ASK, CAS, DC, Operation, Param
from agent.http.numbers import unsigned
from agent.http.routing import JSON, TEXT, ApiRequest, ApiResponse, HttpError, route
from model.durations import format_duration
from model.gojson import JsonError, encode_json, from_json, parse_json, to_json
from model.structs.catalog_rpc import DCSpecificRequest
from model.structs.operator import (
    DEFAULT_AUTOPILOT,
    AutopilotConfig,
    AutopilotHealthReply,
    AutopilotServerState,
    AutopilotSetConfigRequest,
    AutopilotState,
    RaftRemovePeerRequest,
    RaftServer,
    TransferLeaderRequest,
    TransferLeaderResponse,
)

SERF_STATUS = ("none", "alive", "leaving", "left", "failed")
_UNHEALTHY = 429
"""The status by which a load balancer or script sees that a server is not well."""


@route(
    "GET", "/v1/operator/raft/configuration", Operation(query=ASK, answer={"Servers": list[RaftServer], "Index": int})
)
async def raft_configuration(request: ApiRequest) -> Any:
    """The servers that take part in Raft."""
    reply = await request.call("Operator.RaftGetConfiguration", DCSpecificRequest(**request.query_options()))
    return {"Servers": reply.servers or [], "Index": reply.index}


@route(
    "DELETE",
    "/v1/operator/raft/peer",
    Operation(
        query=(DC, Param("id", "The server's ID."), Param("address", "The server's address, instead of its ID."))
    ),
)
async def raft_peer(request: ApiRequest) -> ApiResponse:
    """Take a server out of Raft."""
    by_address, by_id = request.has("address"), request.has("id")
    if by_address and by_id:
        raise HttpError(400, "Must specify only one of ?id or ?address")
    if not by_address and not by_id:
        raise HttpError(400, "Must specify either ?id with the server's ID or ?address with IP:port of peer to remove")
    args = RaftRemovePeerRequest(
        address=request.param("address"),
        id=request.param("id"),
        datacenter=request.datacenter,
        token=request.token,
    )
    await request.call("Operator.RaftRemovePeerByID" if by_id else "Operator.RaftRemovePeerByAddress", args)
    return ApiResponse()


@route(
    "PUT POST",
    "/v1/operator/raft/transfer-leader",
    Operation(query=(DC, Param("id", "Who is to lead.")), answer=TransferLeaderResponse),
)
async def transfer_leader(request: ApiRequest) -> Any:
    """Hand leadership to another server: `?id`, or the one that is furthest."""
    args = TransferLeaderRequest(id=request.param("id"), datacenter=request.datacenter, token=request.token)
    return await request.call("Operator.TransferLeader", args)


@route("GET", "/v1/operator/autopilot/configuration", Operation(query=ASK, answer=AutopilotConfig))
async def autopilot(request: ApiRequest) -> Any:
    """How autopilot looks after the servers."""
    return await request.call("Operator.AutopilotGetConfiguration", DCSpecificRequest(**request.query_options()))


@route("PUT", "/v1/operator/autopilot/configuration", Operation(query=(DC, CAS), body=AutopilotConfig, answer=bool))
async def set_autopilot(request: ApiRequest) -> bool:
    """Change autopilot's settings; what the body leaves out gets its default."""
    try:
        config = parse_autopilot(await request.raw_body())
    except JsonError as error:
        raise HttpError(400, f"Error parsing autopilot config: {error}") from None
    args = AutopilotSetConfigRequest(config=config, datacenter=request.datacenter, token=request.token)
    if request.has("cas"):
        index = unsigned(request.param("cas"), 400, "Error parsing cas value: ")
        args = msgspec.structs.replace(args, config=msgspec.structs.replace(config, modify_index=index), cas=True)
    return bool(await request.call("Operator.AutopilotSetConfiguration", args))


def parse_autopilot(raw: bytes) -> AutopilotConfig:
    """Autopilot's settings from JSON (camel or snake case) over the defaults. Raises JsonError."""
    given = parse_json(raw)
    if given is None:
        return DEFAULT_AUTOPILOT
    if isinstance(given, dict):
        for key, value in given.items():
            name, kind = _UNSIGNED.get(key.lower().replace("_", ""), ("", ""))
            if name and isinstance(value, int) and not isinstance(value, bool) and not 0 <= value < 1 << 64:
                field = f"Go struct field AutopilotConfiguration.{name} of type {kind}"
                raise JsonError(f"json: cannot unmarshal number {value} into {field}")
        given = {**to_json(DEFAULT_AUTOPILOT), **given}
    return from_json(AutopilotConfig, given, style="agent")


_UNSIGNED = {"maxtrailinglogs": ("MaxTrailingLogs", "uint64"), "minquorum": ("MinQuorum", "uint")}


@route(
    "GET",
    "/v1/operator/autopilot/health",
    Operation(query=ASK, answer=dict[str, Any], statuses={429: "A server is not well."}),
)
async def autopilot_health(request: ApiRequest) -> ApiResponse:
    """How each server is; status 429 when one is not well."""
    reply = await request.call("Operator.ServerHealth", DCSpecificRequest(**request.query_options()))
    status = 200 if reply.healthy else _UNHEALTHY
    # Consul begins to answer before it says of what type, when a server is not well.
    return ApiResponse(encode_json(shown_health(reply), request.pretty), status, JSON if reply.healthy else TEXT)


@route("GET", "/v1/operator/autopilot/state", Operation(query=ASK, answer=dict[str, Any]))
async def autopilot_state(request: ApiRequest) -> Any:
    """All that autopilot knows."""
    return shown_state(await request.call("Operator.AutopilotState", DCSpecificRequest(**request.query_options())))


def shown_health(reply: AutopilotHealthReply) -> dict[str, Any]:
    """The servers' health as the API shows it."""
    servers = []
    for row in reply.servers or ():
        known = 0 <= row.serf_status < len(SERF_STATUS)
        servers.append({**to_json(row), "SerfStatus": SERF_STATUS[row.serf_status] if known else "unknown"})
    return {"Healthy": reply.healthy, "FailureTolerance": reply.failure_tolerance, "Servers": servers}


def shown_state(state: AutopilotState) -> dict[str, Any]:
    """Autopilot's state as the API shows it: one flat object for each server."""
    servers = {key: _shown_server(row) for key, row in (state.servers or {}).items()}
    return {
        "Healthy": state.healthy,
        "FailureTolerance": state.failure_tolerance,
        "OptimisticFailureTolerance": state.failure_tolerance,
        "Servers": servers,
        "Leader": state.leader,
        "Voters": state.voters or [],
    }


def _shown_server(row: AutopilotServerState) -> dict[str, Any]:
    server = row.server
    return {
        "ID": server.id,
        "Name": server.name,
        "Address": server.address,
        "NodeStatus": server.node_status,
        "Version": server.version,
        "LastContact": format_duration(row.stats.last_contact),
        "LastTerm": row.stats.last_term,
        "LastIndex": row.stats.last_index,
        "Healthy": row.health.healthy,
        "StableSince": row.health.stable_since.rfc3339(),
        "ReadReplica": server.node_type == "read-replica",
        "Status": row.state,
        "Meta": server.meta,
        "NodeType": server.node_type,
    }
