"""Requests and answers of the Catalog, Health and Internal services."""

from typing import Annotated

from model.codec import HIDDEN, Name, Wire
from model.structs.base import Meta, Query
from model.structs.catalog import (
    CheckServiceNode,
    GatewayService,
    HealthCheck,
    Node,
    NodeInfo,
    NodeService,
    NodeServiceList,
    NodeServices,
    PeeredServiceName,
    ServiceInfo,
    ServiceName,
    ServiceNode,
)


class QuerySource(Wire, frozen=True):
    """Where a question comes from, to sort answers by distance."""

    datacenter: str = ""
    ip: Annotated[str, Name("Ip")] = ""
    node: str = ""
    node_partition: str = ""
    segment: str = ""


class RegisterRequest(Wire, frozen=True):
    """Arguments of `Catalog.Register`."""

    address: str = ""
    check: HealthCheck | None = None
    checks: list[HealthCheck] | None = None
    datacenter: str = ""
    id: str = ""
    node: str = ""
    node_meta: dict[str, str] | None = None
    peer_name: str = ""
    service: NodeService | None = None
    skip_node_update: bool = False
    tagged_addresses: dict[str, str] | None = None
    token: Annotated[str, HIDDEN] = ""
    create_index: int = 0
    modify_index: int = 0


class DeregisterRequest(Wire, frozen=True):
    """Arguments of `Catalog.Deregister`."""

    check_id: str = ""
    datacenter: str = ""
    node: str = ""
    peer_name: str = ""
    service_id: str = ""
    token: Annotated[str, HIDDEN] = ""


class DCSpecificRequest(Query, frozen=True):
    """Arguments of `ACL.Bootstrap`, `ACL.List`, `ACL.ReplicationStatus` and others."""

    datacenter: str = ""
    node_meta_filters: dict[str, str] | None = None
    peer_name: str = ""
    source: QuerySource = QuerySource()


class NodeSpecificRequest(Query, frozen=True):
    """Arguments of `Catalog.NodeServiceList`, `Catalog.NodeServices`, `Coordinate.Node`, `Health.NodeChecks` and
    others."""

    datacenter: str = ""
    merge_central_config: bool = False
    node: str = ""
    peer_name: str = ""


class ServiceSpecificRequest(Query, frozen=True):
    """Arguments of `Catalog.GatewayServices`, `Catalog.ServiceNodes`, `Catalog.VirtualIPForService`,
    `Health.ServiceChecks` and others."""

    connect: bool = False
    datacenter: str = ""
    ingress: bool = False
    merge_central_config: bool = False
    node_meta_filters: dict[str, str] | None = None
    peer_name: str = ""
    service_address: str = ""
    service_kind: str = ""
    service_name: str = ""
    service_tag: str = ""
    service_tags: list[str] | None = None
    source: QuerySource = QuerySource()
    tag_filter: bool = False


class ChecksInStateRequest(Query, frozen=True):
    """Arguments of `Health.ChecksInState`."""

    datacenter: str = ""
    node_meta_filters: dict[str, str] | None = None
    peer_name: str = ""
    source: QuerySource = QuerySource()
    state: str = ""


class DatacentersRequest(Query, frozen=True):
    """Arguments of `Catalog.ListDatacenters`."""


class PartitionSpecificRequest(Query, frozen=True):
    """Arguments of `Internal.PeeredUpstreams`."""

    datacenter: str = ""


class ServiceDumpRequest(Query, frozen=True):
    """Arguments of `Internal.ExportedServicesForPeer`, `Internal.ServiceDump`."""

    datacenter: str = ""
    peer_name: str = ""
    service_kind: str = ""
    source: QuerySource = QuerySource()
    use_service_kind: bool = False


class IndexedNodes(Meta, frozen=True):
    """Answer of `Catalog.ListNodes`."""

    nodes: list[Node] | None = None


class IndexedServices(Meta, frozen=True):
    """Answer of `Catalog.ListServices`."""

    services: dict[str, list[str] | None] | None = None


class IndexedServiceList(Meta, frozen=True):
    """Answer of `Catalog.ServiceList`, `Internal.ExportedServicesForPeer`, `Internal.IntentionUpstreams`,
    `Internal.IntentionUpstreamsDestination`."""

    services: list[ServiceName] | None = None


class IndexedServiceNodes(Meta, frozen=True):
    """Answer of `Catalog.ServiceNodes`."""

    service_nodes: list[ServiceNode] | None = None


class IndexedNodeServices(Meta, frozen=True):
    """Answer of `Catalog.NodeServices`."""

    node_services: NodeServices | None = None


class IndexedNodeServiceList(Meta, frozen=True):
    """Answer of `Catalog.NodeServiceList`."""

    node_services: NodeServiceList = NodeServiceList()


class IndexedHealthChecks(Meta, frozen=True):
    """Answer of `Health.ChecksInState`, `Health.NodeChecks`, `Health.ServiceChecks`."""

    health_checks: list[HealthCheck] | None = None


class IndexedCheckServiceNodes(Meta, frozen=True):
    """Answer of `Health.ServiceNodes`, `Internal.ServiceGateways`."""

    nodes: list[CheckServiceNode] | None = None


class DatacenterIndexedCheckServiceNodes(Meta, frozen=True):
    """Answer of `FederationState.ListMeshGateways`."""

    datacenter_nodes: dict[str, list[CheckServiceNode] | None] | None = None


class IndexedNodeDump(Meta, frozen=True):
    """Answer of `Internal.NodeDump`, `Internal.NodeInfo`."""

    dump: list[NodeInfo] | None = None
    imported_dump: list[NodeInfo] | None = None


class IndexedServiceDump(Meta, frozen=True):
    """Answer of `Internal.GatewayServiceDump`."""

    dump: list[ServiceInfo] | None = None


class IndexedGatewayServices(Meta, frozen=True):
    """Answer of `Catalog.GatewayServices`."""

    services: list[GatewayService] | None = None


class IndexedNodesWithGateways(Meta, frozen=True):
    """Answer of `Internal.ServiceDump`."""

    gateways: list[GatewayService] | None = None
    imported_nodes: list[CheckServiceNode] | None = None
    nodes: list[CheckServiceNode] | None = None


class IndexedPeeredServiceList(Meta, frozen=True):
    """Answer of `Internal.PeeredUpstreams`."""

    services: list[PeeredServiceName] | None = None


class IndexedExportedServiceList(Meta, frozen=True):
    """Answer of `Internal.ExportedPeeredServices`."""

    services: dict[str, list[ServiceName] | None] | None = None


class HealthSummary(Wire, frozen=True):
    """How many things of one name pass, warn and fail."""

    critical: int = 0
    name: str = ""
    passing: int = 0
    total: int = 0
    warning: int = 0


class CatalogSummary(Wire, frozen=True):
    """Counts of nodes, services and checks by health."""

    checks: list[HealthSummary] | None = None
    nodes: list[HealthSummary] | None = None
    services: list[HealthSummary] | None = None


class IntentionDecisionSummary(Wire, frozen=True):
    """What intentions decide for one edge of a topology."""

    allowed: bool = False
    default_allow: bool = False
    external_source: str = ""
    has_exact: bool = False
    has_permissions: bool = False


class ServiceTopology(Wire, frozen=True):
    """Who calls a service and whom it calls."""

    downstream_decisions: dict[str, IntentionDecisionSummary] | None = None
    downstream_sources: dict[str, str] | None = None
    downstreams: list[CheckServiceNode] | None = None
    metrics_protocol: str = ""
    transparent_proxy: bool = False
    upstream_decisions: dict[str, IntentionDecisionSummary] | None = None
    upstream_sources: dict[str, str] | None = None
    upstreams: list[CheckServiceNode] | None = None


class IndexedServiceTopology(Meta, frozen=True):
    """Answer of `Internal.ServiceTopology`."""

    filtered_by_acls: bool = False
    service_topology: ServiceTopology | None = None


class EventFireRequest(Query, frozen=True):
    """Arguments of `Internal.EventFire`."""

    datacenter: str = ""
    name: str = ""
    payload: bytes | None = None


class EventFireResponse(Meta, frozen=True):
    """Answer of `Internal.EventFire`."""
