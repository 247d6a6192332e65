"""/v1/operator: Raft's configuration and autopilot."""

from typing import Any

import msgspec

from agent.http.routing import ApiRequest, ApiResponse, HttpError, route
from model.structs.catalog_rpc import DCSpecificRequest
from model.structs.operator import AutopilotConfig, AutopilotSetConfigRequest, RaftRemovePeerRequest


@route("GET", "/v1/operator/raft/configuration")
async def raft_configuration(request: ApiRequest) -> Any:
    """The servers that take part in Raft."""
    reply = await request.call("Operator.RaftGetConfiguration", DCSpecificRequest(**request.query_options()))
    return {"Servers": reply.servers or [], "Index": reply.index}


@route("DELETE", "/v1/operator/raft/peer")
async def raft_peer(request: ApiRequest) -> ApiResponse:
    """Take a server out of Raft."""
    address, server_id = request.param("address"), request.param("id")
    if bool(address) == bool(server_id):
        if address:
            raise HttpError(400, "Must specify only one of ?id or ?address")
        raise HttpError(
            400, "Must specify either ?id with the server's ID or ?address with IP:port of peer to remove"
        )
    args = RaftRemovePeerRequest(address=address, id=server_id, datacenter=request.datacenter)
    await request.call("Operator.RaftRemovePeerByID" if server_id else "Operator.RaftRemovePeerByAddress", args)
    return ApiResponse()


@route("GET", "/v1/operator/autopilot/configuration")
async def autopilot(request: ApiRequest) -> Any:
    """How autopilot looks after the servers."""
    return await request.call("Operator.AutopilotGetConfiguration", DCSpecificRequest(**request.query_options()))


@route("PUT", "/v1/operator/autopilot/configuration")
async def set_autopilot(request: ApiRequest) -> bool:
    """Change autopilot's settings."""
    config = await request.body(AutopilotConfig, prefix="Error parsing autopilot config: ")
    args = AutopilotSetConfigRequest(config=config, datacenter=request.datacenter)
    if request.has("cas"):
        if not request.param("cas").isdigit():
            raise HttpError(400, "Error parsing cas value")
        config = msgspec.structs.replace(config, modify_index=int(request.param("cas")))
        args = AutopilotSetConfigRequest(config=config, datacenter=request.datacenter, cas=True)
    return bool(await request.call("Operator.AutopilotSetConfiguration", args))
