"""What an ingress-gateway or terminating-gateway must look like by itself, and its stored form.

Source: error texts as recorded from Consul 1.14.
"""

import msgspec

from model.errors import RpcError
from model.structs.config_entries import (
    GatewayTLSConfig,
    IngressGatewayConfigEntry,
    IngressListener,
    IngressService,
    TerminatingGatewayConfigEntry,
)

_L7 = ("http", "http2", "grpc")
_TLS_VERSIONS = ("TLS_AUTO", "TLSv1_0", "TLSv1_1", "TLSv1_2", "TLSv1_3")


def normal_ingress(entry: IngressGatewayConfigEntry) -> IngressGatewayConfigEntry:
    """The stored form of an ingress-gateway: listeners without a protocol speak tcp. Raises RpcError."""
    if not entry.name:
        raise RpcError("failed inserting config entry: object missing primary index")
    listeners = [msgspec.structs.replace(one, protocol=one.protocol.lower() or "tcp") for one in entry.listeners or ()]
    _check_tls(entry.tls)
    ports = set()
    for listener in listeners:
        if listener.port in ports:
            raise RpcError(f"port {listener.port} declared on two listeners")
        ports.add(listener.port)
        _check_listener(entry, listener)
    return msgspec.structs.replace(entry, kind="ingress-gateway", listeners=listeners or None)


def _check_tls(tls: GatewayTLSConfig) -> None:
    for version in (tls.tls_min_version, tls.tls_max_version):
        if version and version not in _TLS_VERSIONS:
            raise RpcError(
                f"no matching TLS version found for {version}, please specify one of [{', '.join(_TLS_VERSIONS)}]"
            )
    lowest, highest = tls.tls_min_version, tls.tls_max_version
    bounded = lowest and highest and "TLS_AUTO" not in (lowest, highest)
    if bounded and _TLS_VERSIONS.index(lowest) > _TLS_VERSIONS.index(highest):
        raise RpcError("configuring an invalid range of TLS versions: TLSMinVersion is greater than TLSMaxVersion")
    if tls.cipher_suites and lowest == "TLSv1_3":
        raise RpcError(
            "configuring CipherSuites is only applicable to connections negotiated with TLS 1.2 or earlier, "
            f"TLSMinVersion is set to {lowest}"
        )


def _check_listener(entry: IngressGatewayConfigEntry, listener: IngressListener) -> None:
    place = f"(listener on port {listener.port})"
    if listener.protocol not in ("tcp", *_L7):
        raise RpcError(
            f"protocol must be 'tcp', 'http', 'http2', or 'grpc'. '{listener.protocol}' is an unsupported protocol"
        )
    if listener.tls is not None:
        _check_tls(listener.tls)
    if not listener.services:
        raise RpcError(f"No service declared for listener with port {listener.port}")
    if len(listener.services) > 1 and listener.protocol not in _L7:
        raise RpcError(
            "Multiple services per listener are only supported for L7 protocols, 'http', 'grpc' and 'http2' " + place
        )
    with_tls = entry.tls.enabled or (listener.tls is not None and listener.tls.enabled)
    names, hosts = set(), set()
    for service in listener.services:
        _check_service(listener, service, place)
        if service.name in names:
            raise RpcError(f"Service {service.name} cannot be added multiple times {place}")
        names.add(service.name)
        for host in service.hosts or ():
            if host in hosts:
                raise RpcError(f"Hosts must be unique within a specific listener {place}")
            hosts.add(host)
            _check_host(host, with_tls)


def _check_service(listener: IngressListener, service: IngressService, place: str) -> None:
    if service.name == "*" and listener.protocol != "http":
        raise RpcError(f"Wildcard service name is only valid for protocol = 'http' {place}")
    if service.hosts and listener.protocol == "tcp":
        raise RpcError(f"Associating hosts to a service is not supported for the tcp protocol {place}")
    if not service.name:
        raise RpcError(f"Service name cannot be blank {place}")
    if service.hosts and service.name == "*":
        raise RpcError(f"Associating hosts to a wildcard service is not supported {place}")


def _check_host(host: str, with_tls: bool) -> None:
    if host == "*":
        if with_tls:
            raise RpcError(
                "Host '*' is not allowed when TLS is enabled, all hosts must be valid DNS records to add as a DNSSAN"
            )
        return
    if "*" in host.removeprefix("*."):
        raise RpcError(f'Host "{host}" is not valid, a wildcard specifier is only allowed as the leftmost label')


def normal_terminating(entry: TerminatingGatewayConfigEntry) -> TerminatingGatewayConfigEntry:
    """The stored form of a terminating-gateway. Raises RpcError."""
    if not entry.name:
        raise RpcError("serviceName is required")
    seen = set()
    for service in entry.services or ():
        if not service.name:
            raise RpcError("Service name cannot be blank.")
        if service.name in seen:
            raise RpcError(f'Service "{service.name}" was specified more than once within a namespace')
        seen.add(service.name)
        if (service.cert_file or service.key_file) and not (service.ca_file and service.cert_file and service.key_file):
            raise RpcError(
                f'Service "{service.name}" must have a CertFile, CAFile, and KeyFile specified for TLS origination'
            )
    return msgspec.structs.replace(entry, kind="terminating-gateway")
