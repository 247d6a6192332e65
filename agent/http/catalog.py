"""/v1/status, /v1/catalog and /v1/health."""

from typing import Any

import msgspec

from agent.http.described import ASK, CACHED, MERGE, NEAR, NODE_META, PEER, ROWS, Operation, Param
from agent.http.reads import Asked, read_route
from agent.http.routing import JSON, ApiRequest, ApiResponse, HttpError, meta_headers, route
from model.gojson import encode_json
from model.structs.catalog import (
    CheckServiceNode,
    GatewayService,
    HealthCheck,
    Node,
    NodeServiceList,
    NodeServices,
    ServiceNode,
)
from model.structs.catalog_rpc import (
    ChecksInStateRequest,
    DatacentersRequest,
    DCSpecificRequest,
    DeregisterRequest,
    IndexedCheckServiceNodes,
    NodeSpecificRequest,
    QuerySource,
    RegisterRequest,
    ServiceSpecificRequest,
)

TAG = Param("tag", "Tag that the instance must have.", many=True)
SERVICE = (*ROWS, NODE_META, NEAR, TAG, CACHED, PEER, MERGE)
PASSING = Param("passing", "Only instances whose checks all pass.", "flag")


def source(request: ApiRequest) -> QuerySource:
    """`?near=`: sort by distance from a node, `_agent` being this one."""
    near = request.param("near")
    if not near:
        return QuerySource()
    node = request.agent.config.node_name if near == "_agent" else near
    ip = request.remote if near == "_ip" else ""
    return QuerySource(datacenter=request.agent.config.datacenter, node=node, ip=ip)


@route("GET", "/v1/status/leader", Operation(query=ASK, answer=str))
async def leader(request: ApiRequest) -> Any:
    """The leader's address."""
    return await request.call("Status.Leader", DCSpecificRequest(**request.query_options()))


@route("GET", "/v1/status/peers", Operation(query=ASK, answer=list[str]))
async def peers(request: ApiRequest) -> Any:
    """The addresses of all servers in Raft."""
    return await request.call("Status.Peers", DCSpecificRequest(**request.query_options()))


@route("PUT", "/v1/catalog/register", Operation(body=RegisterRequest, answer=bool))
async def register(request: ApiRequest) -> bool:
    """Write a node, and what comes with it."""
    args = await request.body(RegisterRequest)
    await request.call("Catalog.Register", _with_datacenter(args, request))
    return True


def _with_datacenter(args: Any, request: ApiRequest) -> Any:
    return args if args.datacenter else msgspec.structs.replace(args, datacenter=request.agent.config.datacenter)


@route("PUT", "/v1/catalog/deregister", Operation(body=DeregisterRequest, answer=bool))
async def deregister(request: ApiRequest) -> bool:
    """Remove a node, a service or a check."""
    args = await request.body(DeregisterRequest)
    await request.call("Catalog.Deregister", _with_datacenter(args, request))
    return True


@route("GET", "/v1/catalog/datacenters", Operation(query=(CACHED,), answer=list[str]))
async def datacenters(request: ApiRequest) -> Any:
    """All datacenters, nearest first."""
    options = request.query_options()
    options.pop("datacenter")
    found = await request.cached_call("Catalog.ListDatacenters", DatacentersRequest(**options), fresh=False)
    return ApiResponse(encode_json(found, request.pretty), 200, JSON, request.cache_headers)


@read_route("/v1/catalog/nodes", Operation(query=(*ROWS, NODE_META, NEAR), answer=list[Node]))
def nodes(request: ApiRequest) -> Asked:
    """All nodes."""
    args = DCSpecificRequest(node_meta_filters=request.node_meta(), source=source(request), **request.query_options())
    return Asked("Catalog.ListNodes", args, lambda reply: request.json(reply.nodes or [], reply))


@read_route("/v1/catalog/services", Operation(query=(*ROWS, NODE_META, CACHED), answer=dict[str, list[str]]))
def services(request: ApiRequest) -> Asked:
    """Service names with their tags."""
    args = DCSpecificRequest(node_meta_filters=request.node_meta(), **request.query_options())
    return Asked("Catalog.ListServices", args, lambda reply: request.json(reply.services or {}, reply), cacheable=True)


def _service_nodes(request: ApiRequest, connect: bool) -> Asked:
    if not request.rest:
        raise HttpError(400, "Missing service name")
    args = _service_request(request, connect)
    return Asked(
        "Catalog.ServiceNodes", args, lambda reply: request.json(reply.service_nodes or [], reply), cacheable=True
    )


def _service_request(request: ApiRequest, connect: bool, ingress: bool = False) -> ServiceSpecificRequest:
    tags = request.params.get("tag") or []
    return ServiceSpecificRequest(
        service_name=request.rest,
        connect=connect,
        ingress=ingress,
        service_tags=tags or None,
        tag_filter=bool(tags),
        node_meta_filters=request.node_meta(),
        source=source(request),
        peer_name=request.param("peer"),
        merge_central_config=request.has("merge-central-config"),
        **request.query_options(),
    )


@read_route("/v1/catalog/service/", Operation("{name}", SERVICE, answer=list[ServiceNode]), prefix=True)
def service(request: ApiRequest) -> Asked:
    """The instances of a service."""
    return _service_nodes(request, connect=False)


@read_route("/v1/catalog/connect/", Operation("{name}", SERVICE, answer=list[ServiceNode]), prefix=True)
def connect_service(request: ApiRequest) -> Asked:
    """The proxies of a service."""
    return _service_nodes(request, connect=True)


@read_route("/v1/catalog/node/", Operation("{node}", ROWS, answer=NodeServices | None), prefix=True)
def node(request: ApiRequest) -> Asked:
    """A node with its services by ID; `null` for an unknown one."""
    if not request.rest:
        raise HttpError(400, "Missing node name")
    merged = request.has("merge-central-config")
    args = NodeSpecificRequest(node=request.rest, merge_central_config=merged, **request.query_options())
    return Asked("Catalog.NodeServices", args, lambda reply: request.json(reply.node_services, reply))


@read_route("/v1/catalog/node-services/", Operation("{node}", ROWS, answer=NodeServiceList), prefix=True)
def node_services(request: ApiRequest) -> Asked:
    """A node with its services as a list."""
    if not request.rest:
        raise HttpError(400, "Missing node name")
    merged = request.has("merge-central-config")
    args = NodeSpecificRequest(node=request.rest, merge_central_config=merged, **request.query_options())
    return Asked("Catalog.NodeServiceList", args, lambda reply: request.json(reply.node_services, reply))


@read_route("/v1/catalog/gateway-services/", Operation("{gateway}", ROWS, answer=list[GatewayService]), prefix=True)
def gateway_services(request: ApiRequest) -> Asked:
    """The services behind a gateway."""
    if not request.rest:
        raise HttpError(400, "Missing gateway name")
    args = ServiceSpecificRequest(service_name=request.rest, **request.query_options())
    return Asked("Catalog.GatewayServices", args, lambda reply: request.json(reply.services or [], reply))


@read_route("/v1/health/node/", Operation("{node}", ROWS, answer=list[HealthCheck]), prefix=True)
def health_node(request: ApiRequest) -> Asked:
    """The checks of a node."""
    if not request.rest:
        raise HttpError(400, "Missing node name")
    args = NodeSpecificRequest(node=request.rest, **request.query_options())
    return Asked("Health.NodeChecks", args, lambda reply: request.json(reply.health_checks or [], reply))


@read_route(
    "/v1/health/checks/", Operation("{service}", (*ROWS, NODE_META, NEAR), answer=list[HealthCheck]), prefix=True
)
def health_checks(request: ApiRequest) -> Asked:
    """The checks of a service."""
    if not request.rest:
        raise HttpError(400, "Missing service name")
    args = ServiceSpecificRequest(
        service_name=request.rest,
        node_meta_filters=request.node_meta(),
        source=source(request),
        **request.query_options(),
    )
    return Asked("Health.ServiceChecks", args, lambda reply: request.json(reply.health_checks or [], reply))


@read_route("/v1/health/state/", Operation("{state}", (*ROWS, NODE_META, NEAR), answer=list[HealthCheck]), prefix=True)
def health_state(request: ApiRequest) -> Asked:
    """The checks that have a status."""
    if not request.rest:
        raise HttpError(400, "Missing check state")
    args = ChecksInStateRequest(
        state=request.rest,
        node_meta_filters=request.node_meta(),
        source=source(request),
        **request.query_options(),
    )
    return Asked("Health.ChecksInState", args, lambda reply: request.json(reply.health_checks or [], reply))


def passing(instance: CheckServiceNode, allowed: tuple[str, ...] = ("passing",)) -> bool:
    """Whether all checks of an instance and of its node have one of these statuses."""
    return all(check.status in allowed for check in instance.checks or ())


def _health_service(request: ApiRequest, connect: bool, ingress: bool = False) -> Asked:
    if not request.rest:
        raise HttpError(400, "Missing service name")
    args = _service_request(request, connect, ingress)
    streaming = bool(args.min_query_index) or request.wants_cached
    streaming = streaming and not request.has("near") and not ingress
    streaming = streaming and request.agent.config.use_streaming_backend
    return Asked("Health.ServiceNodes", args, lambda reply: _instances(request, reply, streaming), cacheable=True)


def _instances(request: ApiRequest, reply: IndexedCheckServiceNodes, streaming: bool) -> ApiResponse:
    only_passing = False
    if request.has("passing"):
        text = request.param("passing")
        if text.lower() in ("", "1", "t", "true"):
            only_passing = True
        elif text.lower() not in ("0", "f", "false"):
            raise HttpError(400, "Invalid value for ?passing", meta_headers(reply, request))
    found = [one for one in reply.nodes or [] if not only_passing or passing(one)]
    headers = meta_headers(reply, request, backend="streaming" if streaming else "")
    if streaming:
        headers["X-Consul-KnownLeader"] = "false"  # So Consul answers from its streaming backend.
    if request.param("peer"):
        found = []
    return ApiResponse(encode_json(found, request.pretty), 200, JSON, headers)


@read_route(
    "/v1/health/service/",
    Operation("{service}", (*SERVICE, PASSING), answer=list[CheckServiceNode]),
    prefix=True,
)
def health_service(request: ApiRequest) -> Asked:
    """The instances of a service with their checks."""
    return _health_service(request, connect=False)


@read_route(
    "/v1/health/connect/",
    Operation("{service}", (*SERVICE, PASSING), answer=list[CheckServiceNode]),
    prefix=True,
)
def health_connect(request: ApiRequest) -> Asked:
    """The proxies of a service with their checks."""
    return _health_service(request, connect=True)


@read_route(
    "/v1/health/ingress/",
    Operation("{service}", (*SERVICE, PASSING), answer=list[CheckServiceNode]),
    prefix=True,
)
def health_ingress(request: ApiRequest) -> Asked:
    """The ingress gateways of a service with their checks."""
    return _health_service(request, connect=False, ingress=True)
