"""Which right each kind of configuration entry wants."""

from typing import Any

from model.errors import RpcError
from model.structs.config_entries import (
    ExportedServicesConfigEntry,
    IngressGatewayConfigEntry,
    MeshConfigEntry,
    ProxyConfigEntry,
    ServiceIntentionsConfigEntry,
    TerminatingGatewayConfigEntry,
)
from model.structs.config_rpc import CONFIG_ENTRY_KINDS
from model.structs.routing import ServiceResolverConfigEntry, ServiceRouterConfigEntry, ServiceSplitterConfigEntry
from server.endpoints.authorizer import Authorizer

_OF_THE_MESH = (
    ProxyConfigEntry,
    MeshConfigEntry,
    IngressGatewayConfigEntry,
    TerminatingGatewayConfigEntry,
    ExportedServicesConfigEntry,
)
_FOR_ALL = frozenset(("proxy-defaults", "mesh"))


def require_write(authz: Authorizer, entry: Any) -> None:
    """Raise RpcError unless an entry may be written or removed."""
    if isinstance(entry, _OF_THE_MESH):
        authz.require("mesh", "write")
    elif isinstance(entry, ServiceIntentionsConfigEntry):
        authz.require("intention", "write", entry.name)
    else:
        authz.require("service", "write", entry.name)
        for name in sorted(_related(entry)):
            authz.require("service", "read", name)


def may_read(authz: Authorizer, kind: str, name: str) -> bool:
    """Whether an entry may be seen."""
    try:
        require_read(authz, kind, name)
    except RpcError:
        return False
    return True


def require_read(authz: Authorizer, kind: str, name: str) -> None:
    """Raise RpcError unless an entry may be seen."""
    if kind not in CONFIG_ENTRY_KINDS or kind in _FOR_ALL:
        return
    if kind == "exported-services":
        authz.require("mesh", "read")
    elif kind == "service-intentions":
        authz.require("intention", "read", name)
    else:
        authz.require("service", "read", name)


def _related(entry: Any) -> set[str]:
    """The other services that an entry of a discovery chain sends requests to."""
    found: set[str] = set()
    if isinstance(entry, ServiceRouterConfigEntry):
        found = {route.destination.service for route in entry.routes or () if route.destination is not None}
    elif isinstance(entry, ServiceSplitterConfigEntry):
        found = {split.service for split in entry.splits or ()}
    elif isinstance(entry, ServiceResolverConfigEntry):
        found = {failover.service for failover in (entry.failover or {}).values()}
        found |= {target.service for failover in (entry.failover or {}).values() for target in failover.targets or ()}
        if entry.redirect is not None:
            found.add(entry.redirect.service)
    return found - {"", entry.name}
