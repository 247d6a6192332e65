"""Internal: what the UI shows of the mesh: a service's neighbours, and what stands behind a gateway."""

from mesh import topology
from mesh.chains import protocol_of
from mesh.intentions import WILDCARD
from model.errors import RpcError
from model.structs.catalog import CheckServiceNode, ServiceInfo, ServiceName
from model.structs.catalog_rpc import (
    IndexedCheckServiceNodes,
    IndexedServiceDump,
    IndexedServiceList,
    IndexedServiceTopology,
    ServiceDumpRequest,
    ServiceSpecificRequest,
    ServiceTopology,
)
from model.structs.intentions import IndexedIntentions, IntentionQueryRequest
from model.tables import Watch
from server.endpoints.authorizer import Authorizer, authorizer
from server.endpoints.context import Context, read
from server.endpoints.gateways import behind_gateway
from server.endpoints.health import visible
from server.endpoints.intentions import all_intentions
from server.state.catalog_tables import CONNECT_PROXY
from server.state.store import Store

_SERVERS = "consul"
_INGRESS = "ingress-gateway"


def _mesh(store: Store, watch: Watch | None, default_allow: bool) -> tuple[topology.Mesh, int]:
    """What the catalog and the intentions say about calls, and the index to wait from."""
    instances, index = store.catalog.all_instances(watch)
    services: dict[str, None] = {}
    transparent: set[str] = set()
    calls: dict[str, set[str]] = {}
    for row in instances:
        service = row.service
        if service.kind == CONNECT_PROXY:
            name = service.proxy.destination_service_name
            if service.proxy.mode == "transparent":
                transparent.add(name)
            calls.setdefault(name, set()).update(
                upstream.destination_name
                for upstream in service.proxy.upstreams or ()
                if upstream.destination_type in ("", "service") and not upstream.destination_peer
            )
        elif service.kind == _INGRESS:
            links, changed = behind_gateway(store, service.service, watch)
            calls.setdefault(service.service, set()).update(link.service.name for link in links)
            index = max(index, changed)
        elif not service.kind and service.service != _SERVERS:
            services[service.service] = None
    intentions, changed = all_intentions(store, watch)
    mesh = topology.Mesh(
        services=list(services),
        transparent=frozenset(transparent),
        calls={name: frozenset(called) for name, called in calls.items()},
        intentions=intentions,
        default_allow=default_allow,
    )
    return mesh, max(index, changed)


def _instances(store: Store, names: dict[str, str], authz: Authorizer) -> tuple[list[CheckServiceNode], bool]:
    """The instances of services and of their proxies, and whether the token hid some."""
    found = []
    for name in names:
        rows = store.catalog.service_instances(name)[0] + store.catalog.connect_instances(name)[0]
        unique = {(row.node, row.service.id): row for row in rows}
        found.extend(store.catalog.with_checks(unique.values()))
    seen = visible(found, authz)
    return seen, len(seen) < len(found)


@read("Internal.ServiceTopology")
def service_topology(context: Context, args: ServiceSpecificRequest, watch: Watch | None) -> IndexedServiceTopology:
    """Who calls a service and whom it calls, with their instances and what intentions decide."""
    store, authz = context.fsm.store, authorizer(context, args.token)
    if not args.service_name:
        raise RpcError("Must provide a service name")
    authz.require("service", "read", args.service_name)
    mesh, index = _mesh(store, watch, authz.intention_default)
    up, down = topology.upstreams(mesh, args.service_name), topology.downstreams(mesh, args.service_name)
    upstreams, some_hidden = _instances(store, up.sources, authz)
    downstreams, more_hidden = _instances(store, down.sources, authz)
    hidden = some_hidden or more_hidden
    found = ServiceTopology(
        upstreams=upstreams,
        downstreams=downstreams,
        upstream_decisions=up.decisions,
        downstream_decisions=down.decisions,
        upstream_sources=up.sources,
        downstream_sources=down.sources,
        metrics_protocol=_protocol(store, args, watch),
        transparent_proxy=args.service_name in mesh.transparent,
    )
    return IndexedServiceTopology(
        service_topology=found, filtered_by_acls=hidden, index=index, results_filtered_by_acls=hidden
    )


def _protocol(store: Store, args: ServiceSpecificRequest, watch: Watch | None) -> str:
    """What a service speaks; for an ingress gateway, its first listener."""
    lookup = store.config_entries.lookup(watch)
    if args.service_kind == _INGRESS:
        entry = lookup(_INGRESS, args.service_name)
        if entry is not None and entry.listeners:
            return str(entry.listeners[0].protocol)
    return protocol_of(lookup, args.service_name)


@read("Internal.IntentionUpstreams")
def intention_upstreams(context: Context, args: ServiceSpecificRequest, watch: Watch | None) -> IndexedServiceList:
    """The services that intentions let a service call, which is what a transparent proxy may reach."""
    store, authz = context.fsm.store, authorizer(context, args.token)
    if not args.service_name:
        raise RpcError("Must provide a service name")
    authz.require("service", "read", args.service_name)
    mesh, index = _mesh(store, watch, authz.intention_default)
    anything = mesh._replace(transparent=frozenset((args.service_name,)), calls={})
    names = [name for name in topology.upstreams(anything, args.service_name).sources if authz.service_read(name)]
    return IndexedServiceList(services=[ServiceName(name=name) for name in names], index=index)


@read("Internal.ServiceGateways")
def service_gateways(context: Context, args: ServiceSpecificRequest, watch: Watch | None) -> IndexedCheckServiceNodes:
    """The instances of the gateways of one kind in front of a service."""
    store, authz = context.fsm.store, authorizer(context, args.token)
    if not args.service_name:
        raise RpcError("Must provide a service name")
    index = 0
    found = []
    for link in store.gateways.of_service(args.service_name, watch):
        index = max(index, link.modify_index)
        if link.gateway_kind == args.service_kind:
            rows, changed = store.catalog.service_instances(link.gateway.name, watch)
            found.extend(store.catalog.with_checks(row for row in rows if row.service.kind == args.service_kind))
            index = max(index, changed)
    seen = visible(found, authz)
    return IndexedCheckServiceNodes(nodes=seen, index=index, results_filtered_by_acls=len(seen) < len(found))


@read("Internal.GatewayServiceDump")
def gateway_service_dump(context: Context, args: ServiceSpecificRequest, watch: Watch | None) -> IndexedServiceDump:
    """The services behind a gateway: each instance with its checks, or the bare link when there is no instance."""
    store, authz = context.fsm.store, authorizer(context, args.token)
    if not args.service_name:
        raise RpcError("Must provide gateway name")
    authz.require("service", "read", args.service_name)
    links, index = behind_gateway(store, args.service_name, watch)
    dump: list[ServiceInfo] = []
    for link in links:
        rows, changed = store.catalog.service_instances(link.service.name, watch)
        index = max(index, changed) if rows else index
        instances = visible(store.catalog.with_checks(rows), authz)
        dump.extend(
            ServiceInfo(node=one.node, service=one.service, checks=one.checks, gateway_service=link)
            for one in instances
        )
        if not rows and authz.service_read(link.service.name):
            dump.append(ServiceInfo(gateway_service=link))
    return IndexedServiceDump(dump=dump, index=index)


@read("Internal.GatewayIntentions")
def gateway_intentions(context: Context, args: IntentionQueryRequest, watch: Watch | None) -> IndexedIntentions:
    """The intentions that concern calls to the services behind a gateway."""
    store, authz = context.fsm.store, authorizer(context, args.token)
    names = args.match.entries if args.match is not None else None
    if not names or len(names) > 1:
        raise RpcError("Expected exactly one gateway name")
    authz.require("service", "read", names[0].name)
    links, index = behind_gateway(store, names[0].name, watch)
    behind = {link.service.name for link in links if authz.service_read(link.service.name)}
    intentions, changed = all_intentions(store, watch)
    wanted = {*behind, WILDCARD} if behind else set()
    found = [one for one in intentions if one.destination_name in wanted]
    return IndexedIntentions(intentions=found, index=max(index, changed))


@read("Internal.ExportedServicesForPeer")
def exported_services(context: Context, args: ServiceDumpRequest, watch: Watch | None) -> IndexedServiceList:
    """The services that a peer may use: none, since there are no peers to export to."""
    authorizer(context, args.token)  # Whoever is unknown is told so.
    if not args.peer_name:
        raise RpcError("must provide PeerName")
    return IndexedServiceList(services=[], index=1)
