"""The compiled discovery chain: how a service name becomes endpoints."""

from typing import Annotated

from model.codec import OMIT, Duration, Float32, ReadableDuration, Wire
from model.structs.base import Meta, Query
from model.structs.catalog import MeshGatewayConfig
from model.structs.routing import LoadBalancer, ServiceResolverSubset, ServiceRoute, ServiceSplit


class DiscoveryFailover(Wire, frozen=True):
    """Targets to try in order when the first has no healthy endpoint."""

    targets: list[str] | None = None


class DiscoveryResolver(Wire, frozen=True):
    """The end of a chain: a target and its fail-over."""

    connect_timeout: ReadableDuration = 0
    default: Annotated[bool, OMIT] = False
    failover: Annotated[DiscoveryFailover | None, OMIT] = None
    target: str = ""


class DiscoveryRoute(Wire, frozen=True):
    """A route and the node that it leads to."""

    definition: Annotated[ServiceRoute | None, OMIT] = None
    next_node: str = ""


class DiscoverySplit(Wire, frozen=True):
    """A share and the node that it leads to."""

    definition: Annotated[ServiceSplit | None, OMIT] = None
    next_node: str = ""
    weight: Float32 = 0.0


class DiscoveryGraphNode(Wire, frozen=True):
    """A node of the chain: router, splitter or resolver."""

    load_balancer: Annotated[LoadBalancer | None, OMIT] = None
    name: str = ""
    resolver: Annotated[DiscoveryResolver | None, OMIT] = None
    routes: Annotated[list[DiscoveryRoute] | None, OMIT] = None
    splits: Annotated[list[DiscoverySplit] | None, OMIT] = None
    type: str = ""


class DiscoveryTarget(Wire, frozen=True):
    """A set of endpoints: service, subset, datacenter."""

    connect_timeout: Annotated[ReadableDuration, OMIT] = 0
    datacenter: Annotated[str, OMIT] = ""
    external: Annotated[bool, OMIT] = False
    id: str = ""
    mesh_gateway: MeshGatewayConfig = MeshGatewayConfig()
    name: Annotated[str, OMIT] = ""
    namespace: str = ""
    partition: str = ""
    peer: Annotated[str, OMIT] = ""
    sni: Annotated[str, OMIT] = ""
    service: str = ""
    service_subset: Annotated[str, OMIT] = ""
    subset: ServiceResolverSubset = ServiceResolverSubset()


class CompiledDiscoveryChain(Wire, frozen=True):
    """The graph from a service's name to its targets."""

    customization_hash: Annotated[str, OMIT] = ""
    datacenter: str = ""
    default: Annotated[bool, OMIT] = False
    namespace: str = ""
    nodes: Annotated[dict[str, DiscoveryGraphNode] | None, OMIT] = None
    partition: str = ""
    protocol: Annotated[str, OMIT] = ""
    service_meta: Annotated[dict[str, str] | None, OMIT] = None
    service_name: str = ""
    start_node: Annotated[str, OMIT] = ""
    targets: Annotated[dict[str, DiscoveryTarget] | None, OMIT] = None


class DiscoveryChainRequest(Query, frozen=True):
    """Arguments of `DiscoveryChain.Get`."""

    datacenter: str = ""
    evaluate_in_datacenter: str = ""
    evaluate_in_namespace: str = ""
    evaluate_in_partition: str = ""
    name: str = ""
    override_connect_timeout: Duration = 0
    override_mesh_gateway: MeshGatewayConfig = MeshGatewayConfig()
    override_protocol: str = ""


class DiscoveryChainResponse(Meta, frozen=True):
    """Answer of `DiscoveryChain.Get`."""

    chain: CompiledDiscoveryChain | None = None
