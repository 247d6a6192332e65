"""Internal: what the UI and the agents ask for beyond the public services."""

from collections.abc import Iterable

from mesh.gateway_links import GATEWAY_KINDS
from model.errors import PERMISSION_DENIED, RpcError
from model.structs.catalog import CheckServiceNode, GatewayService, Node, NodeInfo
from model.structs.catalog_rpc import (
    CatalogSummary,
    DCSpecificRequest,
    EventFireRequest,
    EventFireResponse,
    HealthSummary,
    IndexedNodeDump,
    IndexedNodesWithGateways,
    NodeSpecificRequest,
    ServiceDumpRequest,
)
from model.tables import Watch
from server.endpoints.authorizer import Authorizer, authorizer
from server.endpoints.context import Context, local, read
from server.endpoints.gateways import behind_gateway
from server.endpoints.health import visible
from server.endpoints.selection import filtered
from server.state.store import Store


def _info(store: Store, node: Node, authz: Authorizer) -> tuple[NodeInfo, bool]:
    """All that is on a node, and whether the token hid some of it."""
    catalog = store.catalog
    key = node.node.lower()
    services = [row.service for row in catalog.instances.by("node", key)]
    checks = catalog.checks.by("node", key)
    hidden = False
    if not authz.allows_all:
        all_rows = len(services) + len(checks)
        services = [service for service in services if authz.service_read(service.service)]
        checks = [check for check in checks if not check.service_name or authz.service_read(check.service_name)]
        hidden = len(services) + len(checks) < all_rows
    info = NodeInfo(
        id=node.id,
        node=node.node,
        address=node.address,
        tagged_addresses=node.tagged_addresses,
        meta=node.meta,
        services=services,
        checks=checks,
    )
    return info, hidden


@read("Internal.NodeInfo")
def node_info(context: Context, args: NodeSpecificRequest, watch: Watch | None) -> IndexedNodeDump:
    """All that is on one node."""
    store, authz = context.fsm.store, authorizer(context, args.token)
    node, _, index = store.catalog.node_services(args.node, watch)
    if node is None:
        return IndexedNodeDump(index=index)
    if args.peer_name:
        return IndexedNodeDump(index=index)  # Nothing is imported from peers.
    if not authz.node_read(node.node):
        return IndexedNodeDump(index=index, results_filtered_by_acls=True)
    info, hidden = _info(store, node, authz)
    return IndexedNodeDump(dump=[info], index=index, results_filtered_by_acls=hidden)


@read("Internal.NodeDump")
def node_dump(context: Context, args: DCSpecificRequest, watch: Watch | None) -> IndexedNodeDump:
    """All nodes with all that is on them."""
    store, authz = context.fsm.store, authorizer(context, args.token)
    _, index = store.catalog.all_instances(watch)
    nodes = store.catalog.nodes.rows()
    seen = [_info(store, node, authz) for node in nodes if authz.node_read(node.node)]
    dump = filtered(args.filter, NodeInfo, [info for info, _ in seen])
    hidden = len(seen) < len(nodes) or any(some for _, some in seen)
    return IndexedNodeDump(dump=dump, index=index, results_filtered_by_acls=hidden)


@read("Internal.ServiceDump")
def service_dump(context: Context, args: ServiceDumpRequest, watch: Watch | None) -> IndexedNodesWithGateways:
    """All instances, or those of one kind, with their nodes and checks."""
    store, authz = context.fsm.store, authorizer(context, args.token)
    if args.use_service_kind:
        rows, index = store.catalog.instances_of_kind(args.service_kind, watch)
    else:
        rows, index = store.catalog.all_instances(watch)
    if args.peer_name:
        return IndexedNodesWithGateways(nodes=[], index=index)  # Nothing is imported from peers.
    rows.sort(key=lambda row: (row.service.service, row.node, row.service.id))
    found = filtered(args.filter, CheckServiceNode, store.catalog.with_checks(rows))
    seen = visible(found, authz)
    gateways: list[GatewayService] | None = None
    if not args.use_service_kind:
        gateways = []
        names = {row.service.service: None for row in seen if row.service and row.service.kind in GATEWAY_KINDS}
        for name in names:
            links, _ = behind_gateway(store, name, watch)
            gateways.extend(link for link in links if authz.service_read(link.service.name))
        index = max(index, store.gateways.of_gateway("", watch)[1])
    return IndexedNodesWithGateways(
        nodes=seen, gateways=gateways, index=index, results_filtered_by_acls=len(seen) < len(found)
    )


@read("Internal.CatalogOverview")
def catalog_overview(context: Context, args: DCSpecificRequest, watch: Watch | None) -> CatalogSummary:
    """Counts of nodes, services and checks by health."""
    if not authorizer(context, args.token).allowed("operator", "read"):
        raise RpcError(f"{PERMISSION_DENIED}: provided token lacks permission 'operator:read'")
    catalog = context.fsm.store.catalog
    nodes = [_worst(check.status for check in catalog.checks.by("node", node.node.lower())) for node in catalog.nodes]
    services: dict[str, list[str]] = {}
    for found in catalog.with_checks(catalog.instances):
        if found.service is not None:
            worst = _worst(check.status for check in found.checks or ())
            services.setdefault(found.service.service, []).append(worst)
    checks: dict[str, list[str]] = {}
    for check in catalog.checks:
        checks.setdefault(check.name, []).append(check.status)
    return CatalogSummary(
        nodes=[_summary("", nodes)] if nodes else None,
        services=[_summary(name, services[name]) for name in sorted(services)],
        checks=[_summary(name, checks[name]) for name in sorted(checks)],
    )


def _worst(statuses: Iterable[str]) -> str:
    seen = set(statuses)
    return next((status for status in ("critical", "warning") if status in seen), "passing")


def _summary(name: str, statuses: list[str]) -> HealthSummary:
    return HealthSummary(
        name=name,
        total=len(statuses),
        passing=statuses.count("passing"),
        warning=statuses.count("warning"),
        critical=statuses.count("critical"),
    )


@local("Internal.EventFire")
async def event_fire(context: Context, args: EventFireRequest) -> EventFireResponse:
    """Spread a user event."""
    if not args.name:
        raise RpcError("Must provide event name")
    authorizer(context, args.token).require("event", "write", args.name)
    await context.fire_event(args.name, args.payload or b"")
    return EventFireResponse(index=1, known_leader=context.raft.leader is not None)
