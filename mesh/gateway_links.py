"""Which services stand behind a gateway, from its configuration entry. Pure; the table is `server.state.gateways`."""

from collections.abc import Callable, Iterable

from model.structs.catalog import GatewayService, ServiceName
from model.structs.config_entries import IngressGatewayConfigEntry, TerminatingGatewayConfigEntry

WILDCARD = "*"
GATEWAY_KINDS = ("ingress-gateway", "terminating-gateway")

GatewayEntry = IngressGatewayConfigEntry | TerminatingGatewayConfigEntry


def links(entry: GatewayEntry, services: Iterable[str], in_mesh: Callable[[str], bool]) -> list[GatewayService]:
    """The links of a gateway to the services that it names and to those of `services` that its wildcard covers.

    An ingress gateway's wildcard covers the services in the mesh, a terminating one's all: `services` are plain
    services of the catalog, and `in_mesh` says of one whether something serves it there. The links carry no indexes.
    """
    if isinstance(entry, IngressGatewayConfigEntry):
        return _ingress(entry, services, in_mesh)
    return _terminating(entry, services)


def _ingress(
    entry: IngressGatewayConfigEntry, services: Iterable[str], in_mesh: Callable[[str], bool]
) -> list[GatewayService]:
    found: list[GatewayService] = []
    covered = [name for name in services if in_mesh(name)]
    for listener in entry.listeners or ():
        named = {service.name for service in listener.services or ()}
        for service in listener.services or ():
            from_wildcard = service.name == WILDCARD
            names = [name for name in covered if name not in named] if from_wildcard else [service.name]
            found.extend(
                GatewayService(
                    gateway=ServiceName(name=entry.name),
                    service=ServiceName(name=name),
                    gateway_kind="ingress-gateway",
                    port=listener.port,
                    protocol=listener.protocol,
                    hosts=service.hosts or None,
                    from_wildcard=from_wildcard,
                )
                for name in names
            )
    return found


def _terminating(entry: TerminatingGatewayConfigEntry, services: Iterable[str]) -> list[GatewayService]:
    found: list[GatewayService] = []
    named = {service.name for service in entry.services or ()}
    for service in entry.services or ():
        from_wildcard = service.name == WILDCARD
        names = [name for name in services if name not in named] if from_wildcard else [service.name]
        found.extend(
            GatewayService(
                gateway=ServiceName(name=entry.name),
                service=ServiceName(name=name),
                gateway_kind="terminating-gateway",
                ca_file=service.ca_file,
                cert_file=service.cert_file,
                key_file=service.key_file,
                sni=service.sni,
                from_wildcard=from_wildcard,
            )
            for name in names
        )
    return found
