"""What the entries of defaults (of services, proxies, the mesh) and of exported services must look like by themselves.

Source: error texts as recorded from Consul 1.14 where there are recordings, allowed values from its documentation.
"""

import ipaddress
import re

import msgspec

from mesh.traffic_rules import require_name
from model.errors import RpcError
from model.structs.config_entries import (
    DestinationConfig,
    ExportedServicesConfigEntry,
    ProxyConfigEntry,
    ServiceConfigEntry,
    UpstreamConfig,
)

_HOST = re.compile(
    r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*\.?"
)
_BALANCING = ("", "exact_balance")


def normal_service_defaults(entry: ServiceConfigEntry) -> ServiceConfigEntry:
    """The stored form of a service-defaults: its protocol in lower case. Raises RpcError."""
    require_name(entry.name)
    if entry.balance_inbound_connections not in _BALANCING:
        raise RpcError(f"invalid value for balance_inbound_connections: {entry.balance_inbound_connections}")
    if entry.destination is not None:
        _check_destination(entry.destination)
    upstreams = entry.upstream_config
    if upstreams is not None and upstreams.defaults is not None:
        if upstreams.defaults.name:
            raise RpcError("error in upstream defaults: Name must be empty")
        _check_upstream("error in upstream defaults", upstreams.defaults)
    for override in (upstreams.overrides or ()) if upstreams is not None else ():
        if not override.name:
            raise RpcError("error in upstream override for : Name is required")
        _check_upstream(f"error in upstream override for {override.name}", override)
    return msgspec.structs.replace(entry, kind="service-defaults", protocol=entry.protocol.lower())


def _check_upstream(where: str, upstream: UpstreamConfig) -> None:
    if upstream.balance_outbound_connections not in _BALANCING:
        raise RpcError(
            f"{where}: invalid value for balance_outbound_connections: {upstream.balance_outbound_connections}"
        )


def _check_destination(destination: DestinationConfig) -> None:
    addresses = destination.addresses or []
    if not addresses:
        raise RpcError("Destination.Addresses cannot be empty")
    if len(set(addresses)) < len(addresses):
        raise RpcError("Destination.Addresses contains an address more than once")
    for address in addresses:
        if not _is_address(address):
            raise RpcError(f"Could not validate address {address}")
    if not 1 <= destination.port <= 65535:
        raise RpcError(f"Invalid Port number {destination.port}")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return len(text) <= 253 and bool(_HOST.fullmatch(text))
    return True


def normal_proxy_defaults(entry: ProxyConfigEntry) -> ProxyConfigEntry:
    """The stored form of the proxy-defaults, whose one name may be left out. Raises RpcError."""
    check_proxy_defaults_name(entry.name)
    return msgspec.structs.replace(entry, kind="proxy-defaults", name="global")


def check_proxy_defaults_name(name: str) -> None:
    """Raise RpcError unless the name can be that of the proxy-defaults."""
    if name not in ("", "global"):
        raise RpcError(f'invalid name ("{name}"), only "global" is supported')


def normal_exported_services(entry: ExportedServicesConfigEntry) -> ExportedServicesConfigEntry:
    """The stored form of an exported-services. Raises RpcError."""
    if entry.name not in ("", "default"):
        raise RpcError(f'invalid name ("{entry.name}"), only "default" is supported')
    for number, service in enumerate(entry.services or ()):
        where = f"Services[{number}]"
        if not service.name:
            raise RpcError(f"{where}: service name cannot be empty")
        if not service.consumers:
            raise RpcError(f"{where}: must have at least one consumer")
        for place, consumer in enumerate(service.consumers):
            at = f"{where}.Consumers[{place}]"
            if consumer.partition and consumer.peer:
                raise RpcError(f"{at}: must define at most one of Peer or Partition")
            if not consumer.partition and not consumer.peer:
                raise RpcError(f"{at}: must define one of Peer or Partition")
            if "*" in (consumer.partition, consumer.peer):
                raise RpcError(f"{at}: exporting to all peers or partitions (wildcard) is not supported")
    return msgspec.structs.replace(entry, name="default")
