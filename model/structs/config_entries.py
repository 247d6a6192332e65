"""Configuration entries of services, proxies, the mesh and gateways."""

from typing import Annotated, Any

from model.codec import OMIT, Duration, Wire, raw_string_form
from model.structs.catalog import ExposeConfig, MeshGatewayConfig, TransparentProxyConfig
from model.structs.intentions import SourceIntention
from model.structs.routing import HTTPHeaderModifiers


class UpstreamLimits(Wire, frozen=True):
    """Bounds on connections and requests to an upstream."""

    max_concurrent_requests: Annotated[int | None, OMIT] = None
    max_connections: Annotated[int | None, OMIT] = None
    max_pending_requests: Annotated[int | None, OMIT] = None


class PassiveHealthCheck(Wire, frozen=True):
    """When an endpoint that fails is taken out for a while."""

    enforcing_consecutive_5xx: Annotated[int | None, OMIT] = None
    interval: Annotated[Duration, OMIT] = 0
    max_failures: Annotated[int, OMIT] = 0


class UpstreamConfig(Wire, frozen=True):
    """Settings for calls to one upstream, or defaults for all."""

    balance_outbound_connections: Annotated[str, OMIT] = ""
    connect_timeout_ms: Annotated[int, OMIT] = 0
    envoy_cluster_json: Annotated[str, OMIT] = ""
    envoy_listener_json: Annotated[str, OMIT] = ""
    limits: Annotated[UpstreamLimits | None, OMIT] = None
    mesh_gateway: MeshGatewayConfig = MeshGatewayConfig()
    name: Annotated[str, OMIT] = ""
    passive_health_check: Annotated[PassiveHealthCheck | None, OMIT] = None
    protocol: Annotated[str, OMIT] = ""


class UpstreamConfiguration(Wire, frozen=True):
    """Defaults and overrides for upstreams."""

    defaults: Annotated[UpstreamConfig | None, OMIT] = None
    overrides: Annotated[list[UpstreamConfig] | None, OMIT] = None


class DestinationConfig(Wire, frozen=True):
    """Addresses outside the mesh that a service stands for."""

    addresses: Annotated[list[str] | None, OMIT] = None
    port: Annotated[int, OMIT] = 0


class ServiceConfigEntry(Wire, frozen=True):
    """service-defaults: the protocol of a service and defaults of its proxies."""

    balance_inbound_connections: Annotated[str, OMIT] = ""
    destination: Annotated[DestinationConfig | None, OMIT] = None
    expose: ExposeConfig = ExposeConfig()
    external_sni: Annotated[str, OMIT] = ""
    kind: str = ""
    local_connect_timeout_ms: Annotated[int, OMIT] = 0
    local_request_timeout_ms: Annotated[int, OMIT] = 0
    max_inbound_connections: Annotated[int, OMIT] = 0
    mesh_gateway: MeshGatewayConfig = MeshGatewayConfig()
    meta: Annotated[dict[str, str] | None, OMIT] = None
    mode: Annotated[str, OMIT] = ""
    name: str = ""
    protocol: str = ""
    transparent_proxy: TransparentProxyConfig = TransparentProxyConfig()
    upstream_config: Annotated[UpstreamConfiguration | None, OMIT] = None
    create_index: int = 0
    modify_index: int = 0


class ProxyConfigEntry(Wire, frozen=True):
    """proxy-defaults: settings of every proxy."""

    config: dict[str, Any] | None = None
    expose: ExposeConfig = ExposeConfig()
    kind: str = ""
    mesh_gateway: MeshGatewayConfig = MeshGatewayConfig()
    meta: Annotated[dict[str, str] | None, OMIT] = None
    mode: Annotated[str, OMIT] = ""
    name: str = ""
    transparent_proxy: TransparentProxyConfig = TransparentProxyConfig()
    create_index: int = 0
    modify_index: int = 0


ProxyConfigEntry.WIRE_FORM = raw_string_form(ProxyConfigEntry)


class MeshDirectionalTLSConfig(Wire, frozen=True):
    """TLS versions and suites for one direction."""

    cipher_suites: Annotated[list[str] | None, OMIT] = None
    tls_max_version: Annotated[str, OMIT] = ""
    tls_min_version: Annotated[str, OMIT] = ""


class MeshTLSConfig(Wire, frozen=True):
    """TLS settings of the mesh."""

    incoming: Annotated[MeshDirectionalTLSConfig | None, OMIT] = None
    outgoing: Annotated[MeshDirectionalTLSConfig | None, OMIT] = None


class MeshHTTPConfig(Wire, frozen=True):
    """HTTP settings of the mesh."""

    sanitize_x_forwarded_client_cert: bool = False


class PeeringMeshConfig(Wire, frozen=True):
    """Whether peering traffic goes through mesh gateways."""

    peer_through_mesh_gateways: Annotated[bool, OMIT] = False


class TransparentProxyMeshConfig(Wire, frozen=True):
    """What transparent proxies may dial."""

    mesh_destinations_only: bool = False


class MeshConfigEntry(Wire, frozen=True):
    """mesh: settings of the whole mesh."""

    http: Annotated[MeshHTTPConfig | None, OMIT] = None
    meta: Annotated[dict[str, str] | None, OMIT] = None
    peering: Annotated[PeeringMeshConfig | None, OMIT] = None
    tls: Annotated[MeshTLSConfig | None, OMIT] = None
    transparent_proxy: TransparentProxyMeshConfig = TransparentProxyMeshConfig()
    create_index: int = 0
    modify_index: int = 0


class ServiceIntentionsConfigEntry(Wire, frozen=True):
    """service-intentions: who may call a service."""

    kind: str = ""
    meta: Annotated[dict[str, str] | None, OMIT] = None
    name: str = ""
    sources: list[SourceIntention] | None = None
    create_index: int = 0
    modify_index: int = 0


class ServiceConsumer(Wire, frozen=True):
    """Who may use an exported service."""

    partition: Annotated[str, OMIT] = ""
    peer: Annotated[str, OMIT] = ""


class ExportedService(Wire, frozen=True):
    """A service that is exported, and to whom."""

    consumers: list[ServiceConsumer] | None = None
    name: str = ""
    namespace: Annotated[str, OMIT] = ""


class ExportedServicesConfigEntry(Wire, frozen=True):
    """exported-services: what peers and partitions may use."""

    meta: Annotated[dict[str, str] | None, OMIT] = None
    name: str = ""
    services: list[ExportedService] | None = None
    create_index: int = 0
    modify_index: int = 0


class GatewayTLSSDSConfig(Wire, frozen=True):
    """A certificate that a gateway fetches by name."""

    cert_resource: Annotated[str, OMIT] = ""
    cluster_name: Annotated[str, OMIT] = ""


class GatewayTLSConfig(Wire, frozen=True):
    """TLS on a gateway's listeners."""

    cipher_suites: Annotated[list[str] | None, OMIT] = None
    enabled: bool = False
    sds: Annotated[GatewayTLSSDSConfig | None, OMIT] = None
    tls_max_version: Annotated[str, OMIT] = ""
    tls_min_version: Annotated[str, OMIT] = ""


class GatewayServiceTLSConfig(Wire, frozen=True):
    """TLS of one service behind a gateway."""

    sds: Annotated[GatewayTLSSDSConfig | None, OMIT] = None


class IngressServiceConfig(Wire, frozen=True):
    """Default bounds for the services behind an ingress gateway."""

    max_concurrent_requests: int = 0
    max_connections: int = 0
    max_pending_requests: int = 0


class IngressService(Wire, frozen=True):
    """A service behind a listener of an ingress gateway."""

    hosts: list[str] | None = None
    max_concurrent_requests: Annotated[int, OMIT] = 0
    max_connections: Annotated[int, OMIT] = 0
    max_pending_requests: Annotated[int, OMIT] = 0
    meta: Annotated[dict[str, str] | None, OMIT] = None
    name: str = ""
    request_headers: Annotated[HTTPHeaderModifiers | None, OMIT] = None
    response_headers: Annotated[HTTPHeaderModifiers | None, OMIT] = None
    tls: Annotated[GatewayServiceTLSConfig | None, OMIT] = None


class IngressListener(Wire, frozen=True):
    """One port of an ingress gateway."""

    port: int = 0
    protocol: str = ""
    services: list[IngressService] | None = None
    tls: Annotated[GatewayTLSConfig | None, OMIT] = None


class IngressGatewayConfigEntry(Wire, frozen=True):
    """ingress-gateway: what comes into the mesh."""

    defaults: Annotated[IngressServiceConfig | None, OMIT] = None
    kind: str = ""
    listeners: list[IngressListener] | None = None
    meta: Annotated[dict[str, str] | None, OMIT] = None
    name: str = ""
    tls: GatewayTLSConfig = GatewayTLSConfig()
    create_index: int = 0
    modify_index: int = 0


class LinkedService(Wire, frozen=True):
    """A service outside the mesh behind a terminating gateway."""

    ca_file: Annotated[str, OMIT] = ""
    cert_file: Annotated[str, OMIT] = ""
    key_file: Annotated[str, OMIT] = ""
    name: str = ""
    sni: Annotated[str, OMIT] = ""


class TerminatingGatewayConfigEntry(Wire, frozen=True):
    """terminating-gateway: what leaves the mesh."""

    kind: str = ""
    meta: Annotated[dict[str, str] | None, OMIT] = None
    name: str = ""
    services: list[LinkedService] | None = None
    create_index: int = 0
    modify_index: int = 0
