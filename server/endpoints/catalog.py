"""Catalog: registering nodes, services and checks, and looking them up."""

import msgspec

from model.commands import CommandType
from model.errors import RpcError
from model.structs.base import Empty
from model.structs.catalog import Node, NodeService, NodeServiceList, NodeServices, ServiceName, ServiceNode
from model.structs.catalog_rpc import (
    DatacentersRequest,
    DCSpecificRequest,
    DeregisterRequest,
    IndexedGatewayServices,
    IndexedNodes,
    IndexedNodeServiceList,
    IndexedNodeServices,
    IndexedServiceList,
    IndexedServiceNodes,
    IndexedServices,
    NodeSpecificRequest,
    RegisterRequest,
    ServiceSpecificRequest,
)
from model.tables import Watch
from server.endpoints.authorizer import Authorizer, authorizer
from server.endpoints.context import Context, local, propose, read, write
from server.endpoints.gateways import behind_gateway, connect_instances
from server.endpoints.registration import changes_node, prepare_registration, require_known_check
from server.endpoints.selection import (
    filtered,
    has_meta,
    has_tags,
    on_nodes_with,
    rows_with_central_defaults,
    sorted_by_distance,
    wanted_tags,
    with_central_defaults,
)
from server.state.catalog_tables import Instance, flat, tags_by_name
from server.state.store import Store


@write("Catalog.Register")
async def register(context: Context, args: RegisterRequest) -> Empty:
    """Write a node, and what comes with it."""
    authz = authorizer(context, args.token)
    request = prepare_registration(args, context.datacenter)
    catalog = context.fsm.store.catalog
    if request.service is not None:
        authz.require("service", "write", request.service.service)
    if changes_node(catalog.nodes.get(args.node.lower()), request):
        authz.require("node", "write", args.node)
    if request.service is not None:
        known = catalog.instance(args.node, request.service.id)
        if known is not None:  # Under this ID there may be a service of another name.
            authz.require("service", "write", known.service.service)
    for check in request.checks or ():
        require_known_check(context.fsm.store, check.node, check.check_id, authz)
        if check.service_id:
            service = request.service
            if service is None or service.id != check.service_id:
                instance = catalog.instance(args.node, check.service_id)
                service = instance.service if instance is not None else None
            authz.require("service", "write", service.service if service is not None else check.service_name)
        else:
            authz.require("node", "write", args.node)
    await context.settled()  # An agent that comes first would make a node without serfHealth, which sessions look for.
    await propose(context, CommandType.REGISTER, request)
    return Empty()


@write("Catalog.Deregister")
async def deregister(context: Context, args: DeregisterRequest) -> Empty:
    """Remove a node, a service or a check."""
    authz = authorizer(context, args.token)
    if not args.node:
        raise RpcError("Must provide node")
    if not authz.allows_all:
        _may_deregister(context.fsm.store, args, authz)
    await propose(context, CommandType.DEREGISTER, msgspec.structs.replace(args, token=""))
    return Empty()


def _may_deregister(store: Store, args: DeregisterRequest, authz: Authorizer) -> None:
    if authz.allowed("node", "write", args.node):
        return
    service_id = args.service_id
    if not service_id and args.check_id:
        check = store.catalog.check(args.node, args.check_id)
        if check is None:
            raise RpcError(f"Unknown check ID '{args.check_id}'")
        service_id = check.service_id
    if not service_id:
        authz.require("node", "write", args.node)
        return
    instance = store.catalog.instance(args.node, service_id)
    if instance is None:
        raise RpcError(f"Unknown service ID '{service_id}'")
    authz.require("service", "write", instance.service.service)


@local("Catalog.ListDatacenters")
async def list_datacenters(context: Context, args: DatacentersRequest) -> list[str]:
    """All known datacenters, nearest first."""
    return context.datacenters()


@read("Catalog.ListNodes")
def list_nodes(context: Context, args: DCSpecificRequest, watch: Watch | None) -> IndexedNodes:
    """All nodes."""
    store, authz = context.fsm.store, authorizer(context, args.token)
    rows, index = store.catalog.list_nodes(watch)
    nodes = [node for node in rows if has_meta(node.meta, args.node_meta_filters)]
    nodes, hidden = _visible_nodes(filtered(args.filter, Node, nodes), authz)
    nodes = sorted_by_distance(store, args.source, nodes, [node.node for node in nodes])
    return IndexedNodes(nodes=nodes, index=index, results_filtered_by_acls=hidden)


def _visible_nodes(nodes: list[Node], authz: Authorizer) -> tuple[list[Node], bool]:
    if authz.allows_all:
        return nodes, False
    seen = [node for node in nodes if authz.node_read(node.node)]
    return seen, len(seen) < len(nodes)


@read("Catalog.ListServices")
def list_services(context: Context, args: DCSpecificRequest, watch: Watch | None) -> IndexedServices:
    """Service names with their tags."""
    store, authz = context.fsm.store, authorizer(context, args.token)
    catalog = store.catalog
    if args.node_meta_filters or args.filter:
        rows, index = catalog.all_instances(watch)
        rows = on_nodes_with(store, rows, args.node_meta_filters)
        # A filter sees the services only, not the nodes that they are on.
        found = [(row, flat(Node(node=row.node), row.service)) for row in rows]
        kept = {id(row) for row in filtered(args.filter, ServiceNode, [row for _, row in found])}
        services = tags_by_name(instance for instance, row in found if id(row) in kept)
    else:
        services, index = catalog.service_names(watch)
    seen: dict[str, list[str] | None] = {
        name: list(tags) for name, tags in services.items() if authz.allows_all or authz.service_read(name)
    }
    return IndexedServices(services=seen, index=index, results_filtered_by_acls=len(seen) < len(services))


@read("Catalog.ServiceList")
def service_list(context: Context, args: DCSpecificRequest, watch: Watch | None) -> IndexedServiceList:
    """Service names alone."""
    store, authz = context.fsm.store, authorizer(context, args.token)
    services, index = store.catalog.service_names(watch)
    seen = [ServiceName(name=name) for name in services if authz.service_read(name)]
    return IndexedServiceList(services=seen, index=index, results_filtered_by_acls=len(seen) < len(services))


@read("Catalog.ServiceNodes")
def service_nodes(
    context: Context, args: ServiceSpecificRequest, watch: Watch | None
) -> IndexedServiceNodes:
    """The instances of a service, or of its proxies."""
    store, authz = context.fsm.store, authorizer(context, args.token)
    if not args.service_name and not args.service_address:
        raise RpcError("Must provide service name")
    catalog = store.catalog
    rows: list[Instance]
    if args.connect:
        rows, index = connect_instances(store, args.service_name, watch)
    elif args.service_name:
        rows, index = catalog.service_instances(args.service_name, watch)
    else:
        rows, index = catalog.all_instances(watch)
    if args.peer_name:
        rows = []  # Nothing is imported from peers.
    if args.merge_central_config:
        rows, changed = rows_with_central_defaults(store, rows, watch)
        index = max(index, changed)
    tags = [] if args.connect else wanted_tags(args)
    found: list[ServiceNode] = []
    hidden = False
    for row in rows:
        node = catalog.nodes.get(row.node.lower())
        if node is None or not has_tags(row.service.tags, tags) or not has_meta(node.meta, args.node_meta_filters):
            continue
        if args.service_address and args.service_address != (row.service.address or node.address):
            continue
        if not (authz.allows_all or (authz.node_read(node.node) and authz.service_read(row.service.service))):
            hidden = True
            continue
        found.append(flat(node, row.service))
    found = filtered(args.filter, ServiceNode, found)
    found = sorted_by_distance(store, args.source, found, [row.node for row in found])
    return IndexedServiceNodes(service_nodes=found, index=index, results_filtered_by_acls=hidden)


def _node_services(
    context: Context, args: NodeSpecificRequest, watch: Watch | None
) -> tuple[Node | None, list[NodeService], int, bool]:
    if not args.node:
        raise RpcError("Must provide node")
    authz = authorizer(context, args.token)
    node, services, index = context.fsm.store.catalog.node_services(args.node, watch)
    if args.merge_central_config:
        store = context.fsm.store
        services = [with_central_defaults(store, service, watch) for service in services]
        index = max(index, store.config_entries.index)
    services = filtered(args.filter, NodeService, services)
    if node is None:
        return None, [], index, False
    if authz.allows_all:
        return node, services, index, False
    if not authz.node_read(node.node):
        return None, [], index, True
    seen = [service for service in services if authz.service_read(service.service)]
    return node, seen, index, len(seen) < len(services)


@read("Catalog.NodeServices")
def node_services(
    context: Context, args: NodeSpecificRequest, watch: Watch | None
) -> IndexedNodeServices:
    """A node with its services by ID."""
    node, services, index, hidden = _node_services(context, args, watch)
    if node is None:
        return IndexedNodeServices(index=index, results_filtered_by_acls=hidden)
    by_id = {service.id: service for service in services}
    return IndexedNodeServices(
        node_services=NodeServices(node=node, services=by_id), index=index, results_filtered_by_acls=hidden
    )


@read("Catalog.NodeServiceList")
def node_service_list(
    context: Context, args: NodeSpecificRequest, watch: Watch | None
) -> IndexedNodeServiceList:
    """A node with its services as a list."""
    node, services, index, hidden = _node_services(context, args, watch)
    listed = NodeServiceList(node=node, services=services if services or args.filter else None)
    return IndexedNodeServiceList(node_services=listed, index=index, results_filtered_by_acls=hidden)


@read("Catalog.GatewayServices")
def gateway_services(
    context: Context, args: ServiceSpecificRequest, watch: Watch | None
) -> IndexedGatewayServices:
    """The services behind a gateway."""
    store, authz = context.fsm.store, authorizer(context, args.token)
    if not args.service_name:
        raise RpcError("Must provide gateway name")
    authz.require("service", "read", args.service_name)
    rows, index = behind_gateway(store, args.service_name, watch)
    seen = [row for row in rows if authz.service_read(row.service.name)]
    return IndexedGatewayServices(services=seen, index=index, results_filtered_by_acls=len(seen) < len(rows))


@read("Catalog.VirtualIPForService")
def virtual_ip(context: Context, args: ServiceSpecificRequest, watch: Watch | None) -> str:
    """The virtual address of a service, or ""."""
    store, authz = context.fsm.store, authorizer(context, args.token)
    authz.require("service", "read", args.service_name)
    return store.virtual_ips.address(args.service_name, watch)
