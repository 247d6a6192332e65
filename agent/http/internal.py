"""/v1/internal/ui: what the web UI asks for."""

from typing import Any

from agent.http.routing import ApiRequest, ApiResponse, HttpError, route
from model.structs.catalog import CheckServiceNode
from model.structs.catalog_rpc import DCSpecificRequest, NodeSpecificRequest, ServiceDumpRequest


@route("GET", "/v1/internal/ui/nodes")
async def nodes(request: ApiRequest) -> ApiResponse:
    """All nodes with all that is on them."""
    reply = await request.call("Internal.NodeDump", DCSpecificRequest(**request.query_options()))
    return request.json(reply.dump or [], reply)


@route("GET", "/v1/internal/ui/node/", prefix=True)
async def node(request: ApiRequest) -> ApiResponse:
    """One node with all that is on it."""
    if not request.rest:
        raise HttpError(400, "Missing node name")
    reply = await request.call("Internal.NodeInfo", NodeSpecificRequest(node=request.rest, **request.query_options()))
    return request.json(reply.dump[0] if reply.dump else None, reply)


def summarize(instances: list[CheckServiceNode]) -> list[dict[str, Any]]:
    """One row for each service: instances, tags, nodes, and how many checks pass, warn and fail."""
    rows: dict[str, dict[str, Any]] = {}
    proxied: set[str] = set()
    for one in instances:
        service, node_row = one.service, one.node
        if service is None or node_row is None:
            continue
        if service.kind == "connect-proxy":
            proxied.add(service.proxy.destination_service_name)
        row = rows.setdefault(
            service.service,
            {
                "Name": service.service,
                "Datacenter": node_row.datacenter,
                "Tags": [],
                "Nodes": [],
                "InstanceCount": 0,
                "ChecksPassing": 0,
                "ChecksWarning": 0,
                "ChecksCritical": 0,
                "ConnectedWithProxy": False,
                "ConnectedWithGateway": False,
                **({"Kind": service.kind} if service.kind else {}),
            },
        )
        row["InstanceCount"] += 1
        row["Tags"] = sorted({*row["Tags"], *(service.tags or ())})
        if node_row.node not in row["Nodes"]:
            row["Nodes"].append(node_row.node)
        for check in one.checks or ():
            row[f"Checks{check.status.capitalize() if check.status in ('passing', 'warning') else 'Critical'}"] += 1
    for name in proxied & rows.keys():
        rows[name]["ConnectedWithProxy"] = True
    return [rows[name] for name in sorted(rows)]


@route("GET", "/v1/internal/ui/services")
async def services(request: ApiRequest) -> ApiResponse:
    """All services with counts of their checks."""
    reply = await request.call("Internal.ServiceDump", ServiceDumpRequest(**request.query_options()))
    return request.json(summarize(reply.nodes or []), reply)


@route("GET", "/v1/internal/ui/catalog-overview")
async def overview(request: ApiRequest) -> Any:
    """Counts of nodes, services and checks by health."""
    return await request.call("Internal.CatalogOverview", DCSpecificRequest(**request.query_options()))
