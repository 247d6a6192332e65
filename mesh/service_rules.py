"""What a registered service must say, by its kind: proxies, gateways and services that speak the mesh's TLS. Pure.

The agent asks for what it is told to register, the catalog for what others register.
"""

from model.structs.catalog import ExposePath, NodeService, Upstream

GATEWAY_KINDS = ("mesh-gateway", "terminating-gateway", "ingress-gateway")
_UPSTREAM_TYPES = ("", "service", "prepared_query")
_EXPOSED_PROTOCOLS = ("", "http", "http2")


def problems_of(service: NodeService) -> list[str]:
    """What is wrong with a service, in Consul's words."""
    if service.kind == "connect-proxy":
        return _of_proxy(service)
    if service.kind in GATEWAY_KINDS:
        return _of_gateway(service)
    if service.connect.native and service.port == 0 and not service.socket_path:
        return ["Port or SocketPath must be set for a Connect native service."]
    return []


def listed(problems: list[str]) -> str:
    """Problems as one text: how many there are, and a line for each."""
    noun = "error" if len(problems) == 1 else "errors"
    lines = "\n\t".join(f"* {problem}" for problem in problems)
    return f"{len(problems)} {noun} occurred:\n\t{lines}\n\n"


def _of_proxy(service: NodeService) -> list[str]:
    problems = []
    if not service.proxy.destination_service_name.strip():
        problems.append("Proxy.DestinationServiceName must be non-empty for Connect proxy services")
    elif service.proxy.destination_service_name == "*":
        problems.append("Proxy.DestinationServiceName must not be a wildcard for Connect proxy services")
    if service.port == 0 and not service.socket_path:
        problems.append("Port or SocketPath must be set for a connect-proxy")
    if service.connect.native:
        problems.append("A Proxy cannot also be Connect Native, only typical services")
    problems.extend(_of_upstreams(service.proxy.upstreams or []))
    problems.extend(_of_exposed_paths(service.proxy.expose.paths or []))
    return problems


def _of_upstreams(upstreams: list[Upstream]) -> list[str]:
    problems: list[str] = []
    targets: set[tuple[str, ...]] = set()
    listeners: set[str] = set()
    for upstream in upstreams:
        problem = _of_upstream(upstream)
        if problem:
            problems.append(problem)
            continue
        target = (
            upstream.destination_type or "service",
            upstream.destination_name,
            *(upstream.destination_partition, upstream.destination_namespace, upstream.destination_peer),
            upstream.datacenter,
        )
        if target in targets:
            fields = ("type", "name", "partition", "namespace", "peer", "datacenter")
            shown = ", ".join(f'{field}="{value}"' for field, value in zip(fields, target, strict=True))
            problems.append(f"upstreams cannot contain duplicates of [{shown}]")
            continue
        targets.add(target)
        if not upstream.local_bind_port and not upstream.local_bind_socket_path:
            continue
        address = f"{upstream.local_bind_address or '127.0.0.1'}:{upstream.local_bind_port}"
        listener = upstream.local_bind_socket_path or address
        if listener in listeners:
            problems.append(
                "upstreams cannot contain duplicates by local bind address and port or unix path; "
                f'"{listener}" is specified twice'
            )
        listeners.add(listener)
    return problems


def _of_upstream(upstream: Upstream) -> str:
    """What is wrong with an upstream by itself; "" when it fits."""
    if upstream.destination_type not in _UPSTREAM_TYPES:
        return f'unknown upstream destination type: "{upstream.destination_type}"'
    if not upstream.destination_name:
        return "upstream destination name cannot be empty"
    if upstream.destination_name == "*":
        return "upstream destination name cannot be a wildcard"
    if upstream.destination_peer and upstream.datacenter:
        return "upstream cannot specify both destination peer and datacenter"
    if upstream.local_bind_port and upstream.local_bind_socket_path:
        return "only one of upstream local bind port or local socket path can be defined and nonzero"
    if not (upstream.local_bind_port or upstream.local_bind_socket_path or upstream.centrally_configured):
        return "upstream local bind port or local socket path must be defined and nonzero"
    return ""


def _of_exposed_paths(paths: list[ExposePath]) -> list[str]:
    problems = []
    used: set[int] = set()
    for path in paths:
        if not path.path:
            problems.append("expose.paths: empty path exposed")
        if path.listener_port in used:
            problems.append(f"expose.paths: duplicate listener ports exposed: {path.listener_port}")
        used.add(path.listener_port)
        if not 0 < path.listener_port <= 65535:
            problems.append(f"expose.paths: invalid listener port: {path.listener_port}")
        if path.protocol not in _EXPOSED_PROTOCOLS:
            problems.append(f"protocol '{path.protocol}' not supported for path: {path.path}, must be in: [http2 http]")
    return problems


def _of_gateway(service: NodeService) -> list[str]:
    problems = []
    if service.port == 0 and service.kind != "ingress-gateway":
        problems.append(f"Port must be non-zero for a {service.kind}")
    if service.connect.native:
        problems.append(f"Connect.Native cannot be true for a {service.kind}")
    proxy = service.proxy
    for field, value in (
        ("DestinationServiceName", proxy.destination_service_name),
        ("DestinationServiceID", proxy.destination_service_id),
        ("LocalServiceAddress", proxy.local_service_address),
        ("LocalServicePort", proxy.local_service_port),
        ("Upstreams", proxy.upstreams),
    ):
        if value:
            problems.append(f"The Proxy.{field} configuration is invalid for a {service.kind}")
    return problems
