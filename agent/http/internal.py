"""/v1/internal/ui: what the web UI asks for."""

from typing import Any

from agent.http.described import PEER, READ, ROWS, NoBody, Operation, Param
from agent.http.routing import ApiRequest, ApiResponse, HttpError, route
from agent.http.summaries import Summary, summarize
from model.bare_json import to_bare_json
from model.gojson import to_json
from model.structs.catalog import CheckServiceNode, GatewayService, NodeInfo
from model.structs.catalog_rpc import (
    DCSpecificRequest,
    IntentionDecisionSummary,
    NodeSpecificRequest,
    ServiceDumpRequest,
    ServiceSpecificRequest,
    ServiceTopology,
)
from model.structs.intentions import Intention, IntentionMatchEntry, IntentionQueryMatch, IntentionQueryRequest


def _node_row(node: NodeInfo) -> dict[str, Any]:
    """A node as the UI reads it: unlike elsewhere, tags that were never given are null."""
    row: dict[str, Any] = to_bare_json(node)
    return {**row, "Services": row["Services"] or [], "Checks": row["Checks"] or []}


@route("GET", "/v1/internal/ui/nodes", Operation(query=ROWS, answer=list[dict[str, Any]]))
async def nodes(request: ApiRequest) -> ApiResponse:
    """All nodes with all that is on them."""
    reply = await request.call("Internal.NodeDump", DCSpecificRequest(**request.query_options()))
    return request.json([_node_row(node) for node in reply.dump or ()], reply, consistency=False)


NO_NODE = NoBody("There is no such node.")


@route(
    "GET",
    "/v1/internal/ui/node/",
    Operation("{name}", (*READ, PEER), answer=dict[str, Any], statuses={404: NO_NODE}),
    prefix=True,
)
async def node(request: ApiRequest) -> ApiResponse:
    """One node with all that is on it; 404 for an unknown one."""
    if not request.rest:
        raise HttpError(400, "Missing node name")
    args = NodeSpecificRequest(node=request.rest, peer_name=request.param("peer"), **request.query_options())
    reply = await request.call("Internal.NodeInfo", args)
    if not reply.dump:
        return ApiResponse(status=404)
    return request.json(_node_row(reply.dump[0]), reply, consistency=False)


@route("GET", "/v1/internal/ui/services", Operation(query=(*ROWS, PEER), answer=list[dict[str, Any]]))
async def services(request: ApiRequest) -> ApiResponse:
    """All services with counts of their checks."""
    args = ServiceDumpRequest(peer_name=request.param("peer"), **request.query_options())
    reply = await request.call("Internal.ServiceDump", args)
    found = summarize(reply.nodes or (), reply.gateways or ())
    return request.json([one.connected_row() for one in found.values()], reply, consistency=False)


@route("GET", "/v1/internal/ui/catalog-overview", Operation(query=READ, answer=dict[str, Any]))
async def overview(request: ApiRequest) -> Any:
    """Counts of nodes, services and checks by health."""
    return await request.call("Internal.CatalogOverview", DCSpecificRequest(**request.query_options()))


def _gateway_name(request: ApiRequest) -> str:
    if not request.rest:
        raise HttpError(400, "Missing gateway name")
    return request.rest


@route(
    "GET",
    "/v1/internal/ui/gateway-services-nodes/",
    Operation("{name}", READ, answer=list[dict[str, Any]]),
    prefix=True,
)
async def gateway_services_nodes(request: ApiRequest) -> ApiResponse:
    """The services behind a gateway with counts of their checks, and where an ingress gateway serves them."""
    args = ServiceSpecificRequest(service_name=_gateway_name(request), **request.query_options())
    reply = await request.call("Internal.GatewayServiceDump", args)
    found: dict[str, Summary] = {}
    addresses: dict[str, dict[str, None]] = {}
    for info in reply.dump or ():
        link = info.gateway_service
        if link is None:
            continue
        name = link.service.name
        summary = found.setdefault(name, Summary(name))
        if info.service is not None and info.node is not None:
            summary.add(info.service, info.node.node, info.node.datacenter, info.checks or ())
        if link.gateway_kind == "ingress-gateway":
            addresses.setdefault(name, {}).update(dict.fromkeys(_addresses(request, link)))
            summary.gateway = {"Addresses": list(addresses[name])}
    return request.json([found[name].row() for name in sorted(found)], reply, consistency=False)


def _addresses(request: ApiRequest, link: GatewayService) -> list[str]:
    """Under which hosts and port a service can be reached through an ingress gateway."""
    config = request.agent.config
    domain = config.domain.rstrip(".")
    own = f"{link.service.name}.ingress.{request.datacenter or config.datacenter}.{domain}"
    return [f"{host}:{link.port}" for host in link.hosts or (own,)]


@route("GET", "/v1/internal/ui/gateway-intentions/", Operation("{name}", READ, answer=list[Intention]), prefix=True)
async def gateway_intentions(request: ApiRequest) -> ApiResponse:
    """The intentions that concern the services behind a gateway."""
    name = IntentionMatchEntry(name=_gateway_name(request), namespace="default")
    wanted = IntentionQueryMatch(type="destination", entries=[name])
    args = IntentionQueryRequest(match=wanted, **request.query_options())
    reply = await request.call("Internal.GatewayIntentions", args)
    return request.json(reply.intentions or [], reply, consistency=False)


@route("GET", "/v1/internal/ui/exported-services", Operation(query=(*READ, PEER), answer=list[str]))
async def exported_services(request: ApiRequest) -> ApiResponse:
    """The services that a peer may use."""
    args = ServiceDumpRequest(peer_name=request.param("peer"), **request.query_options())
    reply = await request.call("Internal.ExportedServicesForPeer", args)
    return request.json([service.name for service in reply.services or ()], reply, consistency=False)


KIND = Param("kind", "Kind of the service; it has to be there and may be empty.", required=True)


@route(
    "GET",
    "/v1/internal/ui/service-topology/",
    Operation("{name}", (*READ, KIND), answer=dict[str, Any]),
    prefix=True,
)
async def service_topology(request: ApiRequest) -> ApiResponse:
    """Who calls a service and whom it calls, with what intentions decide."""
    if not request.rest:
        raise HttpError(400, "Missing service name")
    if not request.has("kind"):
        raise HttpError(400, "Missing service kind")
    kind = request.param("kind")
    if kind not in ("", "ingress-gateway"):
        raise HttpError(400, f'Unsupported service kind "{kind}"')
    args = ServiceSpecificRequest(service_name=request.rest, service_kind=kind, **request.query_options())
    reply = await request.call("Internal.ServiceTopology", args)
    found = reply.service_topology or ServiceTopology()
    shown = {
        "Protocol": found.metrics_protocol,
        "TransparentProxy": found.transparent_proxy,
        "Upstreams": _ends(found.upstreams, found.upstream_sources, found.upstream_decisions),
        "Downstreams": _ends(found.downstreams, found.downstream_sources, found.downstream_decisions),
        "FilteredByACLs": reply.filtered_by_acls,
    }
    return request.json(shown, reply, consistency=False)


def _ends(
    instances: list[CheckServiceNode] | None,
    sources: dict[str, str] | None,
    decisions: dict[str, IntentionDecisionSummary] | None,
) -> list[dict[str, Any]]:
    """The services at the other ends of calls that have instances; proxies only add to what is said of theirs."""
    rows = []
    for name, summary in summarize(instances or ()).items():
        if summary.instances and name in (sources or {}) and name in (decisions or {}):
            decision = to_json((decisions or {})[name])
            rows.append({**summary.row(), "Source": (sources or {})[name], "Intention": decision})
    return rows
