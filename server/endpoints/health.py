"""Health: checks, and the instances of a service together with their checks."""

from model.errors import RpcError
from model.structs.catalog import HealthCheck
from model.structs.catalog_rpc import (
    ChecksInStateRequest,
    IndexedCheckServiceNodes,
    IndexedHealthChecks,
    NodeSpecificRequest,
    ServiceSpecificRequest,
)
from model.tables import Watch
from server.endpoints.catalog import has_meta, has_tags, instances_with_meta, wanted_tags
from server.endpoints.context import Context, read


def _with_meta(context: Context, checks: list[HealthCheck], wanted: dict[str, str] | None) -> list[HealthCheck]:
    if not wanted:
        return checks
    nodes = context.fsm.store.catalog.nodes
    return [check for check in checks if (node := nodes.get(check.node.lower())) and has_meta(node.meta, wanted)]


@read("Health.ChecksInState")
def checks_in_state(context: Context, args: ChecksInStateRequest, watch: Watch | None) -> IndexedHealthChecks:
    """The checks that have a status, or all for "any"."""
    checks, index = context.fsm.store.catalog.checks_in_state(args.state, watch)
    return IndexedHealthChecks(health_checks=_with_meta(context, checks, args.node_meta_filters), index=index)


@read("Health.NodeChecks")
def node_checks(context: Context, args: NodeSpecificRequest, watch: Watch | None) -> IndexedHealthChecks:
    """The checks of a node and of its services."""
    checks, index = context.fsm.store.catalog.node_checks(args.node, watch)
    return IndexedHealthChecks(health_checks=checks, index=index)


@read("Health.ServiceChecks")
def service_checks(context: Context, args: ServiceSpecificRequest, watch: Watch | None) -> IndexedHealthChecks:
    """The checks of a service's instances."""
    checks, index = context.fsm.store.catalog.service_checks(args.service_name, watch)
    return IndexedHealthChecks(health_checks=_with_meta(context, checks, args.node_meta_filters), index=index)


@read("Health.ServiceNodes")
def service_nodes(context: Context, args: ServiceSpecificRequest, watch: Watch | None) -> IndexedCheckServiceNodes:
    """The instances of a service (or its proxies) with all checks that concern them."""
    if not args.service_name:
        raise RpcError("Must provide service name")
    catalog = context.fsm.store.catalog
    if args.ingress:
        return IndexedCheckServiceNodes(index=context.fsm.store.indexes.get("services", "nodes"))
    if args.connect:
        rows, index = catalog.connect_instances(args.service_name, watch)
    else:
        rows, index = catalog.service_instances(args.service_name, watch)
    tags = wanted_tags(args)
    rows = [row for row in rows if has_tags(row.service.tags, tags)]
    rows = instances_with_meta(context, rows, args.node_meta_filters)
    return IndexedCheckServiceNodes(nodes=catalog.with_checks(rows) or None, index=index)
