"""/v1/discovery-chain: what a service's name resolves to in the mesh."""

from typing import Any

from agent.http.described import CACHED, READ, Operation, Param
from agent.http.routing import ApiRequest, ApiResponse, HttpError, route
from model.codec import ReadableDuration
from model.gojson import JsonError, parse_json
from model.structs.catalog import MeshGatewayConfig
from model.structs.discovery_chain import CompiledDiscoveryChain, DiscoveryChainRequest
from model.weak_decode import WeakError, decode_weakly

OVERRIDES = {
    "OverrideProtocol": str,
    "OverrideConnectTimeout": ReadableDuration,
    "OverrideMeshGateway": MeshGatewayConfig,
}

_OVERRIDES = frozenset(("overrideprotocol", "overrideconnecttimeout", "overridemeshgateway"))


@route(
    "GET POST",
    "/v1/discovery-chain/",
    Operation(
        "{service}",
        (*READ, CACHED, Param("compile-dc", "Datacenter to compile the chain for.")),
        OVERRIDES,
        {"Chain": CompiledDiscoveryChain},
    ),
    prefix=True,
)
async def read(request: ApiRequest) -> ApiResponse:
    """The compiled chain; a POST says what the caller wants otherwise than the entries do."""
    if not request.rest:
        raise HttpError(400, "Missing chain name")
    overrides = await _overrides(request) if request.method == "POST" else {}
    args = DiscoveryChainRequest(
        name=request.rest,
        evaluate_in_datacenter=request.param("compile-dc"),
        evaluate_in_namespace="default",
        evaluate_in_partition="default",
        **overrides,
        **request.query_options(),
    )
    reply = await request.cached_call("DiscoveryChain.Get", args)
    return request.json({"Chain": reply.chain}, reply)


async def _overrides(request: ApiRequest) -> dict[str, Any]:
    try:
        raw = parse_json(await request.raw_body())
        if not isinstance(raw, dict):
            raise WeakError("the body is no object")
        wanted = {key: value for key, value in raw.items() if key.lower().replace("_", "") in _OVERRIDES}
        found = decode_weakly(DiscoveryChainRequest, wanted)
    except (JsonError, WeakError) as error:
        raise HttpError(400, f"Request decoding failed: {error}") from None
    if found.override_mesh_gateway.mode not in ("", "none", "local", "remote"):
        raise HttpError(400, f'Invalid mesh gateway mode "{found.override_mesh_gateway.mode}"')
    return {
        "override_protocol": found.override_protocol,
        "override_connect_timeout": found.override_connect_timeout,
        "override_mesh_gateway": found.override_mesh_gateway,
    }
