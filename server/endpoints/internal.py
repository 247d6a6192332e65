"""Internal: what the UI and the agents ask for beyond the public services."""

from model.errors import RpcError
from model.structs.catalog import Node, NodeInfo
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
from server.endpoints.context import Context, local, read


def _info(context: Context, node: Node, watch: Watch | None) -> NodeInfo:
    catalog = context.fsm.store.catalog
    key = node.node.lower()
    if watch is not None:
        watch.note(("node", key))
    return NodeInfo(
        id=node.id,
        node=node.node,
        address=node.address,
        tagged_addresses=node.tagged_addresses,
        meta=node.meta,
        services=[row.service for row in catalog.instances.by("node", key)],
        checks=catalog.checks.by("node", key),
    )


@read("Internal.NodeInfo")
def node_info(context: Context, args: NodeSpecificRequest, watch: Watch | None) -> IndexedNodeDump:
    """All that is on one node."""
    store = context.fsm.store
    node = store.catalog.find_node(args.node)
    if watch is not None:
        watch.note(("nodes",), ("node", args.node.lower()))
    dump = [_info(context, node, watch)] if node is not None else []
    return IndexedNodeDump(dump=dump, index=store.indexes.get("nodes", "services", "checks"))


@read("Internal.NodeDump")
def node_dump(context: Context, args: DCSpecificRequest, watch: Watch | None) -> IndexedNodeDump:
    """All nodes with all that is on them."""
    store = context.fsm.store
    if watch is not None:
        watch.note(("nodes",), ("services",), ("checks",))
    dump = [_info(context, node, None) for node in store.catalog.nodes]
    return IndexedNodeDump(dump=dump, index=store.indexes.get("nodes", "services", "checks"))


@read("Internal.ServiceDump")
def service_dump(context: Context, args: ServiceDumpRequest, watch: Watch | None) -> IndexedNodesWithGateways:
    """All instances with their nodes and checks."""
    store = context.fsm.store
    if watch is not None:
        watch.note(("nodes",), ("services",), ("checks",))
    rows = store.catalog.instances.rows()
    if args.use_service_kind:
        rows = [row for row in rows if row.service.kind == args.service_kind]
    rows.sort(key=lambda row: (row.service.service, row.node))
    return IndexedNodesWithGateways(
        nodes=store.catalog.with_checks(rows), index=store.indexes.get("nodes", "services", "checks")
    )


@read("Internal.CatalogOverview")
def catalog_overview(context: Context, args: DCSpecificRequest, watch: Watch | None) -> CatalogSummary:
    """Counts of nodes, services and checks by health."""
    catalog = context.fsm.store.catalog
    nodes = [_worst(check.status for check in catalog.checks.by("node", node.node.lower())) for node in catalog.nodes]
    services: dict[str, list[str]] = {}
    for found in catalog.with_checks(catalog.instances.rows()):
        assert found.service is not None
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


def _worst(statuses: object) -> str:
    seen = set(statuses)  # type: ignore[call-overload]
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
    await context.fire_event(args.name, args.payload or b"")
    return EventFireResponse()
