"""Whether configuration entries still fit together after one of them changes.

A change is refused when a discovery chain that it touches would no longer compile, when a listener of an ingress
gateway would lead to a service of another protocol, or when two kinds of gateway would share a name.
"""

from collections.abc import Iterable
from typing import Any

from mesh.chains import Lookup, compile_chain
from model.errors import RpcError
from model.structs.config_entries import IngressGatewayConfigEntry
from model.structs.config_rpc import kind_of
from model.structs.routing import (
    ServiceResolverConfigEntry,
    ServiceRouterConfigEntry,
    ServiceSplitterConfigEntry,
)

_CHAIN_KINDS = frozenset(("service-defaults", "service-router", "service-splitter", "service-resolver"))
_GATEWAY_KINDS = ("ingress-gateway", "terminating-gateway")


def references(entry: Any) -> set[str]:
    """The services that an entry names besides its own."""
    names: set[str] = set()
    if isinstance(entry, ServiceRouterConfigEntry):
        names = {route.destination.service for route in entry.routes or () if route.destination is not None}
    elif isinstance(entry, ServiceSplitterConfigEntry):
        names = {split.service for split in entry.splits or ()}
    elif isinstance(entry, ServiceResolverConfigEntry):
        if entry.redirect is not None:
            names.add(entry.redirect.service)
        for failover in (entry.failover or {}).values():
            names.add(failover.service)
            names.update(target.service for target in failover.targets or ())
    return names - {""}


def check_change(lookup: Lookup, entries: Iterable[Any], kind: str, name: str, entry: Any, datacenter: str) -> None:
    """Raise RpcError when writing `entry` under this kind and name (or removing what is there, with None) would leave
    entries that contradict each other.

    `lookup` finds an entry before the change, `entries` are all of them; `datacenter` is the name that errors show.
    """
    if kind in _GATEWAY_KINDS and entry is not None:
        _check_gateway_name(lookup, kind, name)
    if kind not in _CHAIN_KINDS and kind not in ("proxy-defaults", "ingress-gateway"):
        return
    after = [other for other in entries if (kind_of(other), getattr(other, "name", "")) != (kind, name)]
    if entry is not None:
        after.append(entry)

    def changed(wanted_kind: str, wanted_name: str) -> Any:
        return entry if (wanted_kind, wanted_name) == (kind, name) else lookup(wanted_kind, wanted_name)

    protocols: dict[str, str] = {}
    for service in _touched(kind, name, after):
        protocols[service] = compile_chain(service, changed, datacenter).protocol
    for gateway in sorted((one for one in after if isinstance(one, IngressGatewayConfigEntry)), key=lambda g: g.name):
        if kind == "ingress-gateway" and gateway.name != name:
            continue
        _check_listeners(gateway, changed, protocols, datacenter, every=kind in ("ingress-gateway", "proxy-defaults"))


def _check_gateway_name(lookup: Lookup, kind: str, name: str) -> None:
    for other in _GATEWAY_KINDS:
        if other != kind and lookup(other, name) is not None:
            raise RpcError(
                f'cannot create a "{kind}" config entry with name "{name}", a "{other}" config entry with that name '
                "already exists"
            )


def _touched(kind: str, name: str, entries: list[Any]) -> list[str]:
    """The services whose chains a change may alter: itself, and in order all that lead to it."""
    if kind == "ingress-gateway":
        return []
    if kind == "proxy-defaults":
        return sorted({one.name for one in entries if kind_of(one) in _CHAIN_KINDS})
    found, waiting = {name}, {name}
    while waiting:
        waiting = {one.name for one in entries if kind_of(one) in _CHAIN_KINDS and references(one) & waiting} - found
        found |= waiting
    return [name, *sorted(found - {name})]


def _check_listeners(
    gateway: IngressGatewayConfigEntry, lookup: Lookup, protocols: dict[str, str], datacenter: str, every: bool
) -> None:
    for listener in gateway.listeners or ():
        for service in listener.services or ():
            if service.name == "*" or not (every or service.name in protocols):
                continue
            protocol = protocols.get(service.name) or compile_chain(service.name, lookup, datacenter).protocol
            if protocol != listener.protocol:
                raise RpcError(
                    f'service "{service.name}" has protocol "{protocol}", which does not match defined listener '
                    f'protocol "{listener.protocol}"'
                )
