"""Health: checks, and the instances of a service together with their checks."""

from collections.abc import Mapping

from model.errors import RpcError
from model.structs.catalog import CheckServiceNode, HealthCheck
from model.structs.catalog_rpc import (
    ChecksInStateRequest,
    IndexedCheckServiceNodes,
    IndexedHealthChecks,
    NodeSpecificRequest,
    QuerySource,
    ServiceSpecificRequest,
)
from model.tables import Watch
from server.endpoints.authorizer import Authorizer, authorizer
from server.endpoints.context import Context, read
from server.endpoints.gateways import connect_instances, ingress_instances
from server.endpoints.query import Unanswered
from server.endpoints.selection import (
    filtered,
    has_meta,
    has_tags,
    on_nodes_with,
    rows_with_central_defaults,
    sorted_by_distance,
    wanted_tags,
)
from server.state.store import Store


def _checks(
    store: Store,
    found: tuple[list[HealthCheck], int],
    expression: str,
    meta: Mapping[str, str] | None,
    source: QuerySource,
    authz: Authorizer,
) -> IndexedHealthChecks:
    """The checks that a caller asked for and may see."""
    checks, index = found
    if meta:
        nodes = store.catalog.nodes
        checks = [check for check in checks if (node := nodes.get(check.node.lower())) and has_meta(node.meta, meta)]
    checks = filtered(expression, HealthCheck, checks)
    seen = checks
    if not authz.allows_all:
        seen = [
            check
            for check in checks
            if authz.node_read(check.node) and (not check.service_name or authz.service_read(check.service_name))
        ]
    ordered = sorted_by_distance(store, source, seen, [check.node for check in seen])
    return IndexedHealthChecks(health_checks=ordered, index=index, results_filtered_by_acls=len(seen) < len(checks))


@read("Health.ChecksInState")
def checks_in_state(
    context: Context, args: ChecksInStateRequest, watch: Watch | None
) -> IndexedHealthChecks:
    """The checks that have a status, or all for "any"."""
    store, authz = context.fsm.store, authorizer(context, args.token)
    checks, index = store.catalog.checks_in_state(args.state, watch)
    if args.node_meta_filters:  # Then a node that changes changes the answer, too.
        index = max(index, store.catalog.list_nodes(watch)[1])
    return _checks(store, (checks, index), args.filter, args.node_meta_filters, args.source, authz)


@read("Health.NodeChecks")
def node_checks(context: Context, args: NodeSpecificRequest, watch: Watch | None) -> IndexedHealthChecks:
    """The checks of a node and of its services."""
    store, authz = context.fsm.store, authorizer(context, args.token)
    found = store.catalog.node_checks(args.node, watch)
    return _checks(store, found, args.filter, None, QuerySource(), authz)


@read("Health.ServiceChecks")
def service_checks(
    context: Context, args: ServiceSpecificRequest, watch: Watch | None
) -> IndexedHealthChecks:
    """The checks of a service's instances."""
    store, authz = context.fsm.store, authorizer(context, args.token)
    if not args.service_name:
        raise RpcError("Must provide service name")
    found = store.catalog.service_checks(args.service_name, watch)
    return _checks(store, found, args.filter, args.node_meta_filters, args.source, authz)


@read("Health.ServiceNodes")
def service_nodes(
    context: Context, args: ServiceSpecificRequest, watch: Watch | None
) -> IndexedCheckServiceNodes | Unanswered:
    """The instances of a service (or its proxies) with all checks that concern them."""
    store, authz = context.fsm.store, authorizer(context, args.token)
    if not args.service_name:
        raise RpcError("Must provide service name")
    if (args.ingress or args.connect) and not authz.service_read(args.service_name):
        return Unanswered(IndexedCheckServiceNodes(nodes=[]))
    catalog = store.catalog
    if args.ingress:
        rows, index = ingress_instances(store, args.service_name, watch)
    elif args.connect:
        rows, index = connect_instances(store, args.service_name, watch)
    else:
        rows, index = catalog.service_instances(args.service_name, watch)
        tags = wanted_tags(args)
        rows = [row for row in rows if has_tags(row.service.tags, tags)] if tags else rows
    if args.peer_name:
        rows = []  # Nothing is imported from peers.
    rows = on_nodes_with(store, rows, args.node_meta_filters)
    if args.merge_central_config:
        rows, changed = rows_with_central_defaults(store, rows, watch)
        index = max(index, changed)
    found = filtered(args.filter, CheckServiceNode, catalog.with_checks(rows))
    seen = visible(found, authz)
    if args.source.node:
        seen = sorted_by_distance(store, args.source, seen, [row.node.node if row.node else "" for row in seen])
    hidden = len(seen) < len(found)
    return IndexedCheckServiceNodes(
        nodes=seen or ([] if hidden else None), index=index, results_filtered_by_acls=hidden
    )


def visible(rows: list[CheckServiceNode], authz: Authorizer) -> list[CheckServiceNode]:
    """The instances that a token may see."""
    if authz.allows_all:
        return rows
    return [
        row
        for row in rows
        if row.node is not None
        and row.service is not None
        and authz.node_read(row.node.node)
        and authz.service_read(row.service.service)
    ]
