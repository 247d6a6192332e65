"""The discovery-chain compiler: from configuration entries to the graph that a service's name stands for.

Routers lead to splitters, splitters to resolvers, resolvers to targets. Compiling is pure: entries come through a
look-up function, and what cannot be compiled raises RpcError with the reason.

Source: recorded chains and error texts of Consul 1.14.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from model.durations import SECOND
from model.errors import RpcError
from model.structs.catalog import MeshGatewayConfig
from model.structs.config_entries import ProxyConfigEntry, ServiceConfigEntry
from model.structs.discovery_chain import (
    CompiledDiscoveryChain,
    DiscoveryFailover,
    DiscoveryGraphNode,
    DiscoveryResolver,
    DiscoveryRoute,
    DiscoverySplit,
    DiscoveryTarget,
)
from model.structs.routing import (
    HTTPHeaderModifiers,
    LoadBalancer,
    ServiceResolverConfigEntry,
    ServiceResolverFailover,
    ServiceResolverSubset,
    ServiceRoute,
    ServiceRouteDestination,
    ServiceRouteHTTPMatch,
    ServiceRouteMatch,
    ServiceRouterConfigEntry,
    ServiceSplit,
    ServiceSplitterConfigEntry,
)
from model.structure_hash import struct_of, text, whole

Lookup = Callable[[str, str], Any]
"""Finds an entry by kind and name; None when there is none."""

L7_PROTOCOLS = frozenset(("http", "http2", "grpc"))
DEFAULT_PROTOCOL = "tcp"
_CONNECT_TIMEOUT = 5 * SECOND
_SCOPE = "default.default"
"""Namespace and partition, which node names carry."""


class Overrides(NamedTuple):
    """What one caller wants otherwise than the entries say; zero values leave things as they are.

    `connect_timeout` is in nanoseconds.
    """

    protocol: str = ""
    connect_timeout: int = 0
    mesh_gateway: str = ""

    @property
    def fingerprint(self) -> str:
        """Consul's short text for these overrides, which its clients put into names; "" for none."""
        if not any(self):
            return ""
        shown = {
            "OverrideMeshGateway": {"Mode": self.mesh_gateway},
            "OverrideProtocol": self.protocol,
            "OverrideConnectTimeout": self.connect_timeout,
        }
        return f"{_HASH_OF_OVERRIDES(shown):x}"[:8]


_HASH_OF_OVERRIDES = struct_of(
    "",
    {
        "OverrideMeshGateway": struct_of("MeshGatewayConfig", {"Mode": text}),
        "OverrideProtocol": text,
        "OverrideConnectTimeout": whole,
    },
)


def protocol_of(lookup: Lookup, service: str) -> str:
    """The protocol of a service: its own, that of all proxies, or tcp."""
    own = lookup("service-defaults", service)
    if isinstance(own, ServiceConfigEntry) and own.protocol:
        return own.protocol
    common = lookup("proxy-defaults", "global")
    if isinstance(common, ProxyConfigEntry):
        wanted = (common.config or {}).get("protocol")
        if isinstance(wanted, float) and wanted.is_integer():
            wanted = int(wanted)
        if isinstance(wanted, str | int | float) and wanted != "":
            return str(wanted)
    return DEFAULT_PROTOCOL


def compile_chain(
    name: str, lookup: Lookup, datacenter: str, trust_domain: str = "", overrides: Overrides = Overrides()
) -> CompiledDiscoveryChain:
    """The chain of a service as `datacenter` sees it. Raises RpcError when the entries contradict each other."""
    return _Compiler(name, lookup, datacenter, trust_domain, overrides).chain()


class _Place(NamedTuple):
    """Where a resolver leads, before it is looked into."""

    service: str
    subset: str
    datacenter: str
    peer: str = ""

    @property
    def id(self) -> str:
        where = f"external.{self.peer}" if self.peer else self.datacenter
        return f"{self.subset + '.' if self.subset else ''}{self.service}.{_SCOPE}.{where}"


MAX_NESTED = 100
"""Splitters that may lead to one another."""
MAX_SPLITS = 2000
"""Parts into which nested splitters may divide traffic: with every level they multiply."""


class _Compiler:
    """One compilation."""

    def __init__(self, name: str, lookup: Lookup, datacenter: str, trust_domain: str, overrides: Overrides) -> None:
        self.name = name
        self.lookup = lookup
        self.datacenter = datacenter
        self.trust_domain = trust_domain
        self.overrides = overrides
        self.heeded = Overrides()
        """Those of the overrides that made the chain other than the entries have it."""
        self.protocol = ""
        self.nodes: dict[str, DiscoveryGraphNode] = {}
        self.targets: dict[str, DiscoveryTarget] = {}
        self.routing = not overrides.protocol or overrides.protocol in L7_PROTOCOLS
        """Whether routers and splitters count; not for a caller that speaks plain TCP."""

    def chain(self) -> CompiledDiscoveryChain:
        start = self.start()
        self.check_protocol()
        self.drop_unreachable(start)
        first = self.nodes[start]
        target = self.targets[first.resolver.target] if first.resolver is not None else None
        defaults = self.lookup("service-defaults", self.name)
        if self.overrides.protocol and self.overrides.protocol != self.protocol:
            self.heeded = self.heeded._replace(protocol=self.overrides.protocol)
        return CompiledDiscoveryChain(
            service_name=self.name,
            namespace="default",
            partition="default",
            datacenter=self.datacenter,
            customization_hash=self.heeded.fingerprint,
            default=bool(first.resolver and first.resolver.default and target and target.service == self.name),
            protocol=self.overrides.protocol or self.protocol,
            service_meta=defaults.meta if isinstance(defaults, ServiceConfigEntry) else None,
            start_node=start,
            nodes={key: self.nodes[key] for key in sorted(self.nodes)},
            targets={key: self.targets[key] for key in sorted(self.targets)},
        )

    def check_protocol(self) -> None:
        advanced = any(node.type != "resolver" for node in self.nodes.values())
        protocol = self.overrides.protocol or self.protocol
        if advanced and protocol not in L7_PROTOCOLS:
            raise RpcError(
                f'discovery chain "{self.name}" uses a protocol "{protocol}" that does not permit advanced routing or '
                "splitting behavior"
            )

    def note_protocol(self, service: str) -> None:
        """All services of a chain speak one protocol: that of the first that is met."""
        found = protocol_of(self.lookup, service)
        if not self.protocol:
            self.protocol = found
        elif found != self.protocol:
            raise RpcError(
                f'discovery chain "{self.name}" uses inconsistent protocols; service "{service}" has "{found}" which '
                f'is not "{self.protocol}"'
            )

    def drop_unreachable(self, start: str) -> None:
        reached, waiting = set(), [start]
        while waiting:
            key = waiting.pop()
            if key in reached:
                continue
            reached.add(key)
            node = self.nodes[key]
            waiting += [step.next_node for step in (*(node.routes or ()), *(node.splits or ()))]
        self.nodes = {key: node for key, node in self.nodes.items() if key in reached}
        used = set()
        for node in self.nodes.values():
            if node.resolver is not None:
                used.add(node.resolver.target)
                used.update((node.resolver.failover.targets or ()) if node.resolver.failover else ())
        self.targets = {key: target for key, target in self.targets.items() if key in used}

    # Routers

    def start(self) -> str:
        router = self.lookup("service-router", self.name) if self.routing else None
        if not isinstance(router, ServiceRouterConfigEntry):
            return self.splitter_or_resolver(self.name, ())
        self.note_protocol(self.name)
        everything_else = ServiceRoute(
            match=ServiceRouteMatch(http=ServiceRouteHTTPMatch(path_prefix="/")),
            destination=ServiceRouteDestination(service=self.name, namespace="default", partition="default"),
        )
        routes = []
        for route in (*(router.routes or ()), everything_else):
            destination = route.destination or ServiceRouteDestination()
            service = destination.service or self.name
            if destination.service_subset:
                following = self.resolver(_Place(service, destination.service_subset, self.datacenter))
            else:
                following = self.splitter_or_resolver(service, ())
            routes.append(DiscoveryRoute(definition=route, next_node=following))
        name = f"{self.name}.{_SCOPE}"
        key = f"router:{name}"
        self.nodes[key] = DiscoveryGraphNode(type="router", name=name, routes=routes)
        return key

    # Splitters

    def splitter_or_resolver(self, service: str, above: tuple[str, ...]) -> str:
        """The node for a service without a subset. `above` are the splitters that led here."""
        splitter = self.lookup("service-splitter", service) if self.routing else None
        if not isinstance(splitter, ServiceSplitterConfigEntry):
            return self.resolver(_Place(service, "", self.datacenter))
        name = f"{service}.{_SCOPE}"
        key = f"splitter:{name}"
        if key in above:
            raise RpcError(f"detected circular reference: [{' -> '.join((*above[above.index(key) :], key))}]")
        if key in self.nodes:
            return key
        if len(above) >= MAX_NESTED:
            raise RpcError(f'discovery chain "{self.name}" has splitters nested more than {MAX_NESTED} deep')
        splits: list[DiscoverySplit] = []
        balancer: LoadBalancer | None = None
        for split in splitter.splits or ():
            following = self.after_split(service, split, (*above, key))
            node = self.nodes[following]
            balancer = balancer or node.load_balancer
            if node.type == "splitter":
                splits += [_nested(split, inner) for inner in node.splits or ()]
            else:
                splits.append(DiscoverySplit(definition=split, weight=split.weight, next_node=following))
            if len(splits) > MAX_SPLITS:
                raise RpcError(f'discovery chain "{self.name}" splits traffic into more than {MAX_SPLITS} parts')
        self.nodes[key] = DiscoveryGraphNode(type="splitter", name=name, splits=splits, load_balancer=balancer)
        return key

    def after_split(self, service: str, split: ServiceSplit, above: tuple[str, ...]) -> str:
        wanted = split.service or service
        if split.service_subset or wanted == service:
            return self.resolver(_Place(wanted, split.service_subset, self.datacenter))
        return self.splitter_or_resolver(wanted, above)

    # Resolvers

    def resolver(self, place: _Place) -> str:
        """The node for a place, after redirects."""
        place, entry = self.settle(place)
        key = f"resolver:{place.id}"
        if key in self.nodes:
            return key
        target = self.target(place, entry)
        self.nodes[key] = DiscoveryGraphNode(
            type="resolver",
            name=place.id,
            load_balancer=entry.load_balancer if entry is not None else None,
            resolver=DiscoveryResolver(
                connect_timeout=target.connect_timeout,
                default=entry is None,
                target=place.id,
                failover=self.failover(place, entry) if entry is not None else None,
            ),
        )
        return key

    def settle(self, place: _Place) -> tuple[_Place, ServiceResolverConfigEntry | None]:
        """Follow redirects and fill in the default subset; the last place and its service-resolver."""
        seen: list[str] = []
        while True:
            if place.id in seen:
                raise RpcError(f"detected circular resolver redirect: [{' -> '.join((*seen, place.id))}]")
            seen.append(place.id)
            self.note_protocol(place.service)
            entry = self.lookup("service-resolver", place.service)
            if not isinstance(entry, ServiceResolverConfigEntry):
                return self.checked(place, None), None
            after = _redirected(place, entry)
            if after != place:
                place = after
                continue
            if not place.subset and entry.default_subset:
                place = place._replace(subset=entry.default_subset)
            return self.checked(place, entry), entry

    def checked(self, place: _Place, entry: ServiceResolverConfigEntry | None) -> _Place:
        if entry is not None and self.external_sni(place.service):
            for what, defined in (("subsets", entry.subsets), ("failover", entry.failover)):
                if defined:
                    raise RpcError(
                        f'service "{place.service}" has an external SNI set; cannot define {what} for external services'
                    )
        if place.subset and (entry is None or place.subset not in (entry.subsets or {})):
            raise RpcError(f'service "{place.service}" does not have a subset named "{place.subset}"')
        return place

    def external_sni(self, service: str) -> str:
        defaults = self.lookup("service-defaults", service)
        return defaults.external_sni if isinstance(defaults, ServiceConfigEntry) else ""

    def target(self, place: _Place, entry: ServiceResolverConfigEntry | None) -> DiscoveryTarget:
        """The target of a place, noted under its ID."""
        known = self.targets.get(place.id)
        if known is not None:
            return known
        external = self.external_sni(place.service) if not place.peer else ""
        name = ""
        if not place.peer:
            subset = f"{place.subset}." if place.subset else ""
            name = f"{subset}{place.service}.default.{place.datacenter}.internal.{self.trust_domain}"
        subsets = (entry.subsets if entry is not None else None) or {}
        made = DiscoveryTarget(
            connect_timeout=self.connect_timeout(entry),
            id=place.id,
            service=place.service,
            service_subset=place.subset,
            namespace="default",
            partition="default",
            datacenter="" if place.peer else place.datacenter,
            peer=place.peer,
            mesh_gateway=MeshGatewayConfig(mode=self.gateway_mode(place)),
            subset=subsets.get(place.subset, ServiceResolverSubset()),
            external=bool(external),
            sni=external or name,
            name=name,
        )
        self.targets[place.id] = made
        return made

    def connect_timeout(self, entry: ServiceResolverConfigEntry | None) -> int:
        own = (entry.connect_timeout if entry is not None else 0) or _CONNECT_TIMEOUT
        wanted = self.overrides.connect_timeout
        if wanted and wanted != own:
            self.heeded = self.heeded._replace(connect_timeout=wanted)
        return wanted or own

    def gateway_mode(self, place: _Place) -> str:
        own, wanted = self.gateway_mode_of_entries(place), self.overrides.mesh_gateway
        if wanted and wanted != own:
            self.heeded = self.heeded._replace(mesh_gateway=wanted)
        return wanted or own

    def gateway_mode_of_entries(self, place: _Place) -> str:
        for kind, name in (("service-defaults", place.service), ("proxy-defaults", "global")):
            entry = self.lookup(kind, name)
            if isinstance(entry, ServiceConfigEntry | ProxyConfigEntry) and entry.mesh_gateway.mode:
                return entry.mesh_gateway.mode
        return ""

    def failover(self, place: _Place, entry: ServiceResolverConfigEntry) -> DiscoveryFailover | None:
        definitions = entry.failover or {}
        definition = definitions.get(place.subset) or definitions.get("*")
        if definition is None:
            return None
        targets: list[str] = []
        for other in _failover_places(place, definition):
            settled, other_entry = (other, None) if other.peer else self.settle(other)
            if settled.id == place.id or settled.id in targets:
                continue
            targets.append(self.target(settled, other_entry).id)
        return DiscoveryFailover(targets=targets) if targets else None


def _redirected(place: _Place, entry: ServiceResolverConfigEntry) -> _Place:
    """Where a redirect leads; the same place when it leads nowhere else. A peer is left out, as recorded."""
    redirect = entry.redirect
    if redirect is None:
        return place
    service = redirect.service or place.service
    subset = redirect.service_subset or (place.subset if service == place.service else "")
    return place._replace(service=service, subset=subset, datacenter=redirect.datacenter or place.datacenter)


def _failover_places(place: _Place, definition: ServiceResolverFailover) -> list[_Place]:
    def other(service: str, subset: str, datacenter: str, peer: str = "") -> _Place:
        service = service or place.service
        kept = place.subset if service == place.service and not peer else ""
        return _Place(service, subset or kept, datacenter or place.datacenter, peer)

    if definition.targets:
        return [other(one.service, one.service_subset, one.datacenter, one.peer) for one in definition.targets]
    return [
        other(definition.service, definition.service_subset, datacenter)
        for datacenter in definition.datacenters or [""]
    ]


def _nested(outer: ServiceSplit, inner: DiscoverySplit) -> DiscoverySplit:
    """A share of a splitter inside another: its part of the outer share, with the outer one's headers, too."""
    definition = inner.definition or ServiceSplit()
    return DiscoverySplit(
        definition=msgspec.structs.replace(
            definition,
            request_headers=_merged(outer.request_headers, definition.request_headers),
            response_headers=_merged(outer.response_headers, definition.response_headers),
        ),
        weight=round(outer.weight * inner.weight) / 100,
        next_node=inner.next_node,
    )


def _merged(outer: HTTPHeaderModifiers | None, inner: HTTPHeaderModifiers | None) -> HTTPHeaderModifiers | None:
    """Both changes to headers; the inner one wins where both set the same."""
    if outer is None or inner is None:
        return inner or outer
    return HTTPHeaderModifiers(
        add={**(outer.add or {}), **(inner.add or {})} or None,
        set={**(outer.set or {}), **(inner.set or {})} or None,
        remove=[*(outer.remove or ()), *(inner.remove or ())] or None,
    )
