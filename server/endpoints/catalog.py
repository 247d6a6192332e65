"""Catalog: registering nodes, services and checks, and looking them up."""

import re
from collections.abc import Iterable, Mapping

import msgspec

from model.errors import RpcError
from model.structs.base import Empty
from model.structs.catalog import (
    HealthCheck,
    NodeService,
    NodeServiceList,
    NodeServices,
    ServiceName,
    ServiceNode,
    Weights,
)
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
from server import fsm
from server.endpoints.context import Context, local, propose, read, write
from server.state.catalog import Instance, flat, virtual_address

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def check_node_id(node_id: str) -> None:
    """Raise RpcError unless a node's ID is a UUID."""
    if node_id and not _UUID.fullmatch(node_id):
        if len(node_id) != 36:
            reason = f"uuid string is wrong length: expected 36, got {len(node_id)}"
        else:
            reason = "uuid is improperly formatted"
        raise RpcError(f"Bad node ID: {reason}")


def has_meta(meta: Mapping[str, str] | None, wanted: Mapping[str, str] | None) -> bool:
    """Whether a node's meta has everything that is wanted."""
    return not wanted or all((meta or {}).get(key) == value for key, value in wanted.items())


def has_tags(tags: Iterable[str] | None, wanted: Iterable[str]) -> bool:
    """Whether all wanted tags are there, without regard to case."""
    have = {tag.lower() for tag in tags or ()}
    return all(tag.lower() in have for tag in wanted)


def prepare_service(service: NodeService, node: str) -> NodeService:
    """A service as it is stored: with an ID and weights. Raises RpcError naming what is missing."""
    if not service.id and service.service:
        service = msgspec.structs.replace(service, id=service.service)
    if service.id and not service.service:
        raise RpcError("Must provide service name with ID")
    if service.kind == "connect-proxy":
        check_proxy(service)
    weights = service.weights or Weights(passing=1, warning=1)
    return msgspec.structs.replace(service, weights=weights)




def check_proxy(service: NodeService) -> None:
    """Raise RpcError unless a proxy says what it is for."""
    problems = []
    if not service.proxy.destination_service_name:
        problems.append("Proxy.DestinationServiceName must be non-empty for Connect proxy services")
    elif service.proxy.destination_service_name == "*":
        problems.append("Proxy.DestinationServiceName must not be a wildcard for Connect proxy services")
    if service.port == 0 and not service.socket_path:
        problems.append("Port or SocketPath must be set for a Connect proxy")
    if service.connect.native:
        problems.append("A Proxy cannot also be Connect Native, only typical services")
    if problems:
        listed = "\n\t".join(f"* {problem}" for problem in problems)
        noun = "error" if len(problems) == 1 else "errors"
        raise RpcError(f"{len(problems)} {noun} occurred:\n\t{listed}\n\n")


@write("Catalog.Register")
async def register(context: Context, args: RegisterRequest) -> Empty:
    """Write a node, and what comes with it."""
    if not args.node:
        raise RpcError("Must provide node")
    if not args.address and not args.skip_node_update:
        raise RpcError("Must provide address if SkipNodeUpdate is not set")
    check_node_id(args.id)
    service = prepare_service(args.service, args.node) if args.service is not None else None
    checks = list(args.checks or ())
    if args.check is not None:
        checks.append(args.check)
    prepared = [_prepare_check(check, args.node) for check in checks]
    request = msgspec.structs.replace(
        args,
        service=service,
        check=None,
        checks=prepared or None,
        datacenter=args.datacenter or context.datacenter,
        token="",
    )
    await propose(context, fsm.REGISTER, request)
    return Empty()


def _prepare_check(check: HealthCheck, node: str) -> HealthCheck:
    return msgspec.structs.replace(check, check_id=check.check_id or check.name, node=check.node or node)


@write("Catalog.Deregister")
async def deregister(context: Context, args: DeregisterRequest) -> Empty:
    """Remove a node, a service or a check."""
    if not args.node:
        raise RpcError("Must provide node")
    await propose(context, fsm.DEREGISTER, msgspec.structs.replace(args, token=""))
    return Empty()


@local("Catalog.ListDatacenters")
async def list_datacenters(context: Context, args: DatacentersRequest) -> list[str]:
    """All known datacenters."""
    return [context.datacenter]


@read("Catalog.ListNodes")
def list_nodes(context: Context, args: DCSpecificRequest, watch: Watch | None) -> IndexedNodes:
    """All nodes."""
    nodes, index = context.fsm.store.catalog.list_nodes(watch)
    return IndexedNodes(nodes=[node for node in nodes if has_meta(node.meta, args.node_meta_filters)], index=index)


@read("Catalog.ListServices")
def list_services(context: Context, args: DCSpecificRequest, watch: Watch | None) -> IndexedServices:
    """Service names with their tags."""
    catalog = context.fsm.store.catalog
    if args.node_meta_filters:
        if watch is not None:
            watch.note(("services",), ("nodes",))
        found: dict[str, dict[str, None]] = {}
        for row in catalog.instances:
            node = catalog.nodes.get(row.node.lower())
            if node is not None and has_meta(node.meta, args.node_meta_filters):
                found.setdefault(row.service.service, {}).update(dict.fromkeys(row.service.tags or ()))
        services = {name: list(tags) for name, tags in found.items()}
        index = context.fsm.store.indexes.get("services", "nodes")
    else:
        services, index = catalog.service_names(watch)
    return IndexedServices(services=dict(services), index=index)


@read("Catalog.ServiceList")
def service_list(context: Context, args: DCSpecificRequest, watch: Watch | None) -> IndexedServiceList:
    """Service names alone."""
    services, index = context.fsm.store.catalog.service_names(watch)
    return IndexedServiceList(services=[ServiceName(name=name) for name in sorted(services)], index=index)


def wanted_tags(args: ServiceSpecificRequest) -> list[str]:
    """The tags that a question asks for, in the form of new or of old clients."""
    if not args.tag_filter:
        return []
    return list(args.service_tags) if args.service_tags else [args.service_tag] if args.service_tag else []


@read("Catalog.ServiceNodes")
def service_nodes(context: Context, args: ServiceSpecificRequest, watch: Watch | None) -> IndexedServiceNodes:
    """The instances of a service, or of its proxies."""
    catalog = context.fsm.store.catalog
    if not args.service_name and not args.service_address:
        raise RpcError("Must provide service name")
    if args.connect:
        rows, index = catalog.connect_instances(args.service_name, watch)
    else:
        rows, index = catalog.service_instances(args.service_name, watch)
    tags = wanted_tags(args)
    found: list[ServiceNode] = []
    for row in rows:
        node = catalog.nodes.get(row.node.lower())
        if node is None or not has_tags(row.service.tags, tags) or not has_meta(node.meta, args.node_meta_filters):
            continue
        if args.service_address and args.service_address not in (row.service.address, node.address):
            continue
        found.append(flat(node, row.service))
    return IndexedServiceNodes(service_nodes=found, index=index)


@read("Catalog.NodeServices")
def node_services(context: Context, args: NodeSpecificRequest, watch: Watch | None) -> IndexedNodeServices:
    """A node with its services by ID."""
    if not args.node:
        raise RpcError("Must provide node")
    node, services, index = context.fsm.store.catalog.node_services(args.node, watch)
    if node is None:
        return IndexedNodeServices(index=index)
    by_id = {service.id: service for service in services}
    return IndexedNodeServices(node_services=NodeServices(node=node, services=by_id), index=index)


@read("Catalog.NodeServiceList")
def node_service_list(context: Context, args: NodeSpecificRequest, watch: Watch | None) -> IndexedNodeServiceList:
    """A node with its services as a list."""
    if not args.node:
        raise RpcError("Must provide node")
    node, services, index = context.fsm.store.catalog.node_services(args.node, watch)
    if node is None:
        return IndexedNodeServiceList(index=index)
    return IndexedNodeServiceList(node_services=NodeServiceList(node=node, services=services), index=index)


@read("Catalog.GatewayServices")
def gateway_services(context: Context, args: ServiceSpecificRequest, watch: Watch | None) -> IndexedGatewayServices:
    """The services behind a gateway. Gateways come with the mesh; until then none has any."""
    if not args.service_name:
        raise RpcError("Must provide gateway name")
    if watch is not None:
        watch.note(("config",))
    return IndexedGatewayServices(services=[], index=context.fsm.store.indexes.get("gateway-services"))


@read("Catalog.VirtualIPForService")
def virtual_ip(context: Context, args: ServiceSpecificRequest, watch: Watch | None) -> str:
    """The virtual address of a service, or ""."""
    row = context.fsm.store.catalog.virtual_ips.get(args.service_name.lower())
    return virtual_address(row.ip) if row else ""


def instances_with_meta(context: Context, rows: list[Instance], wanted: Mapping[str, str] | None) -> list[Instance]:
    """The instances whose nodes have the wanted meta."""
    if not wanted:
        return rows
    nodes = context.fsm.store.catalog.nodes
    return [row for row in rows if (node := nodes.get(row.node.lower())) and has_meta(node.meta, wanted)]
