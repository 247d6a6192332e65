"""Nodes, services, checks and what a service registration may carry."""

from typing import Annotated, Any

from model.codec import HIDDEN, NEVER_NULL, OMIT, OMIT_ZERO, WIRE_OMIT, Name, ReadableDuration, Wire


class Weights(Wire, frozen=True):
    """How much of the traffic an instance gets while passing, and while warning."""

    passing: int = 0
    warning: int = 0


class ServiceAddress(Wire, frozen=True):
    """An address and port by which an instance is reached from some place."""

    address: str = ""
    port: int = 0


class MeshGatewayConfig(Wire, frozen=True):
    """How traffic to other datacenters leaves: "", none, local or remote."""

    mode: Annotated[str, OMIT] = ""


class ExposePath(Wire, frozen=True):
    """An HTTP path that the proxy exposes without mutual TLS."""

    listener_port: Annotated[int, OMIT] = 0
    local_path_port: Annotated[int, OMIT] = 0
    parsed_from_check: Annotated[bool, OMIT] = False
    path: Annotated[str, OMIT] = ""
    protocol: Annotated[str, OMIT] = ""


class ExposeConfig(Wire, frozen=True):
    """Paths that the proxy exposes without mutual TLS, for health checks and metrics."""

    checks: Annotated[bool, OMIT] = False
    paths: Annotated[list[ExposePath] | None, OMIT] = None


class TransparentProxyConfig(Wire, frozen=True):
    """Settings of a proxy in transparent mode."""

    dialed_directly: Annotated[bool, OMIT] = False
    outbound_listener_port: Annotated[int, OMIT] = 0


class Upstream(Wire, frozen=True):
    """A service that a proxy's owner calls, and where the proxy listens for those calls."""

    centrally_configured: Annotated[bool, HIDDEN] = False
    config: Annotated[dict[str, Any] | None, OMIT] = None
    datacenter: str = ""
    destination_name: str = ""
    destination_namespace: Annotated[str, OMIT] = ""
    destination_partition: Annotated[str, OMIT] = ""
    destination_peer: Annotated[str, OMIT] = ""
    destination_type: str = ""
    ingress_hosts: Annotated[list[str] | None, HIDDEN] = None
    local_bind_address: Annotated[str, OMIT] = ""
    local_bind_port: Annotated[int, OMIT] = 0
    local_bind_socket_mode: Annotated[str, OMIT] = ""
    local_bind_socket_path: Annotated[str, OMIT] = ""
    mesh_gateway: MeshGatewayConfig = MeshGatewayConfig()


class ConnectProxyConfig(Wire, frozen=True):
    """What a connect-proxy instance is a proxy for, and how it behaves."""

    config: Annotated[dict[str, Any] | None, OMIT] = None
    destination_service_id: Annotated[str, OMIT] = ""
    destination_service_name: Annotated[str, OMIT] = ""
    expose: ExposeConfig = ExposeConfig()
    local_service_address: Annotated[str, OMIT] = ""
    local_service_port: Annotated[int, OMIT] = 0
    local_service_socket_path: Annotated[str, OMIT] = ""
    mesh_gateway: MeshGatewayConfig = MeshGatewayConfig()
    mode: str = ""
    transparent_proxy: Annotated[TransparentProxyConfig, OMIT_ZERO] = TransparentProxyConfig()
    upstreams: Annotated[list[Upstream] | None, OMIT] = None


class PeeringServiceMeta(Wire, frozen=True):
    """How proxies in a peered cluster reach an instance."""

    protocol: str = ""
    sni: list[str] | None = None
    spiffe_id: list[str] | None = None


class CheckType(Wire, frozen=True):
    """A check's definition as an agent runs it; exactly one of its kinds is set."""

    alias_node: str = ""
    alias_service: str = ""
    body: str = ""
    check_id: str = ""
    deregister_critical_service_after: ReadableDuration = 0
    disable_redirects: bool = False
    docker_container_id: str = ""
    failures_before_critical: int = 0
    failures_before_warning: int = 0
    grpc: str = ""
    grpc_use_tls: bool = False
    h2ping: str = ""
    h2ping_use_tls: Annotated[bool, Name("H2PingUseTLS")] = True
    http: str = ""
    header: dict[str, list[str] | None] | None = None
    interval: ReadableDuration = 0
    method: str = ""
    name: str = ""
    notes: str = ""
    os_service: str = ""
    output_max_size: int = 0
    proxy_grpc: str = ""
    proxy_http: str = ""
    script_args: list[str] | None = None
    shell: str = ""
    status: str = ""
    success_before_passing: int = 0
    tcp: str = ""
    tcp_use_tls: Annotated[bool, OMIT, WIRE_OMIT] = False  # newer clients than Consul 1.14 send it
    tls_server_name: str = ""
    tls_skip_verify: bool = False
    ttl: ReadableDuration = 0
    timeout: ReadableDuration = 0
    udp: str = ""


class ServiceConnect(Wire, frozen=True):
    """The Connect stanza of a service."""

    native: Annotated[bool, OMIT] = False
    peer_meta: Annotated[PeeringServiceMeta | None, OMIT] = None
    sidecar_service: Annotated["ServiceDefinition | None", OMIT] = None


class ServiceDefinition(Wire, frozen=True):
    """A service as files and the agent's API define it."""

    address: str = ""
    check: CheckType = CheckType()
    checks: list[CheckType] | None = None
    connect: ServiceConnect | None = None
    enable_tag_override: bool = False
    id: str = ""
    kind: str = ""
    meta: dict[str, str] | None = None
    name: str = ""
    port: int = 0
    proxy: ConnectProxyConfig | None = None
    socket_path: str = ""
    tagged_addresses: dict[str, ServiceAddress] | None = None
    tags: list[str] | None = None
    token: str = ""
    weights: Weights | None = None


class Node(Wire, frozen=True):
    """A machine in the catalog."""

    address: str = ""
    datacenter: str = ""
    id: str = ""
    meta: dict[str, str] | None = None
    node: str = ""
    partition: Annotated[str, OMIT] = ""
    peer_name: Annotated[str, OMIT] = ""
    tagged_addresses: dict[str, str] | None = None
    create_index: int = 0
    modify_index: int = 0


class NodeService(Wire, frozen=True):
    """One instance of a service on a node, as the catalog keeps it."""

    address: str = ""
    connect: ServiceConnect = ServiceConnect()
    enable_tag_override: bool = False
    id: str = ""
    kind: Annotated[str, OMIT] = ""
    locally_registered_as_sidecar: Annotated[bool, HIDDEN] = False
    meta: dict[str, str] | None = None
    peer_name: str = ""
    port: Annotated[int, OMIT] = 0
    proxy: ConnectProxyConfig = ConnectProxyConfig()
    service: str = ""
    socket_path: Annotated[str, OMIT] = ""
    tagged_addresses: Annotated[dict[str, ServiceAddress] | None, OMIT] = None
    tags: Annotated[list[str] | None, NEVER_NULL] = None
    weights: Weights | None = None
    create_index: int = 0
    modify_index: int = 0


class HealthCheckDefinition(Wire, frozen=True):
    """The parts of a check's definition that the catalog keeps for whoever runs it."""

    alias_node: Annotated[str, OMIT] = ""
    alias_service: Annotated[str, OMIT] = ""
    body: Annotated[str, OMIT] = ""
    deregister_critical_service_after: Annotated[ReadableDuration, OMIT] = 0
    disable_redirects: Annotated[bool, OMIT] = False
    docker_container_id: Annotated[str, OMIT] = ""
    grpc: Annotated[str, OMIT] = ""
    grpc_use_tls: Annotated[bool, OMIT] = False
    h2ping: Annotated[str, OMIT] = ""
    h2ping_use_tls: Annotated[bool, Name("H2PingUseTLS"), OMIT] = False
    http: Annotated[str, OMIT] = ""
    header: Annotated[dict[str, list[str] | None] | None, OMIT] = None
    interval: Annotated[ReadableDuration, OMIT] = 0
    method: Annotated[str, OMIT] = ""
    os_service: Annotated[str, OMIT] = ""
    output_max_size: Annotated[int, OMIT] = 0
    script_args: Annotated[list[str] | None, OMIT] = None
    shell: Annotated[str, OMIT] = ""
    tcp: Annotated[str, OMIT] = ""
    tcp_use_tls: Annotated[bool, OMIT, WIRE_OMIT] = False
    tls_server_name: Annotated[str, OMIT] = ""
    tls_skip_verify: Annotated[bool, OMIT] = False
    ttl: Annotated[ReadableDuration, OMIT] = 0
    timeout: Annotated[ReadableDuration, OMIT] = 0
    udp: Annotated[str, OMIT] = ""


class HealthCheck(Wire, frozen=True):
    """The state of one check of a node or of one of its services."""

    check_id: str = ""
    definition: HealthCheckDefinition = HealthCheckDefinition()
    exposed_port: int = 0
    interval: str = ""
    name: str = ""
    node: str = ""
    notes: str = ""
    output: str = ""
    peer_name: Annotated[str, OMIT] = ""
    service_id: str = ""
    service_name: str = ""
    service_tags: Annotated[list[str] | None, NEVER_NULL] = None
    status: str = ""
    timeout: str = ""
    type: str = ""
    create_index: int = 0
    modify_index: int = 0


class ServiceNode(Wire, frozen=True):
    """An instance together with the node that it is on, as catalog answers give it."""

    address: str = ""
    datacenter: str = ""
    id: str = ""
    node: str = ""
    node_meta: dict[str, str] | None = None
    peer_name: Annotated[str, OMIT] = ""
    service_address: str = ""
    service_connect: ServiceConnect = ServiceConnect()
    service_enable_tag_override: bool = False
    service_id: str = ""
    service_kind: str = ""
    service_meta: dict[str, str] | None = None
    service_name: str = ""
    service_port: int = 0
    service_proxy: ConnectProxyConfig = ConnectProxyConfig()
    service_socket_path: str = ""
    service_tagged_addresses: Annotated[dict[str, ServiceAddress] | None, OMIT] = None
    service_tags: Annotated[list[str] | None, NEVER_NULL] = None
    service_weights: Weights = Weights()
    tagged_addresses: dict[str, str] | None = None
    create_index: int = 0
    modify_index: int = 0


class CheckServiceNode(Wire, frozen=True):
    """An instance with its node and all checks that concern it."""

    checks: list[HealthCheck] | None = None
    node: Node | None = None
    service: NodeService | None = None


class NodeServices(Wire, frozen=True):
    """A node with its instances by ID."""

    node: Node | None = None
    services: dict[str, NodeService] | None = None


class NodeServiceList(Wire, frozen=True):
    """A node with its instances as a list."""

    node: Node | None = None
    services: list[NodeService] | None = None


class NodeInfo(Wire, frozen=True):
    """A node with its instances and checks."""

    address: str = ""
    checks: list[HealthCheck] | None = None
    id: str = ""
    meta: dict[str, str] | None = None
    node: str = ""
    partition: Annotated[str, OMIT] = ""
    peer_name: Annotated[str, OMIT] = ""
    services: list[NodeService] | None = None
    tagged_addresses: dict[str, str] | None = None


class ServiceName(Wire, frozen=True):
    """The name of a service, as part of other rows."""

    name: str = ""


class ServiceID(Wire, frozen=True):
    """The ID of an instance, as part of other rows."""

    id: str = ""


class ServiceInfo(Wire, frozen=True):
    """An instance or a gateway's link to a service, for dumps."""

    checks: list[HealthCheck] | None = None
    gateway_service: "GatewayService | None" = None
    node: Node | None = None
    service: NodeService | None = None


class GatewayService(Wire, frozen=True):
    """A link from a gateway to one service that it serves."""

    ca_file: Annotated[str, OMIT] = ""
    cert_file: Annotated[str, OMIT] = ""
    from_wildcard: Annotated[bool, OMIT] = False
    gateway: ServiceName = ServiceName()
    gateway_kind: str = ""
    hosts: Annotated[list[str] | None, OMIT] = None
    key_file: Annotated[str, OMIT] = ""
    port: Annotated[int, OMIT] = 0
    protocol: Annotated[str, OMIT] = ""
    sni: Annotated[str, OMIT] = ""
    service: ServiceName = ServiceName()
    service_kind: Annotated[str, OMIT] = ""
    create_index: int = 0
    modify_index: int = 0


class PeeredServiceName(Wire, frozen=True):
    """A service's name and the peer that it was imported from."""

    peer: str = ""
    service_name: ServiceName = ServiceName()
