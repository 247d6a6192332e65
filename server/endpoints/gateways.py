"""What several endpoints ask about gateways: the services behind one, and those in front of a service."""

from mesh.chains import protocol_of
from model.structs.catalog import GatewayService
from model.tables import Watch
from server.state.catalog_tables import Instance
from server.state.store import Store


def _speaks(store: Store, row: GatewayService, watch: Watch | None) -> bool:
    """Whether a link holds: a wildcard listener takes only the services that speak its protocol."""
    if not row.from_wildcard or row.gateway_kind != "ingress-gateway":
        return True
    return protocol_of(store.config_entries.lookup(watch), row.service.name) == row.protocol


def behind_gateway(store: Store, gateway: str, watch: Watch | None) -> tuple[list[GatewayService], int]:
    """The services behind a gateway, and the index to wait from."""
    rows, index = store.gateways.of_gateway(gateway, watch)
    return [row for row in rows if _speaks(store, row, watch)], index


def ingress_gateways(store: Store, service: str, watch: Watch | None) -> list[GatewayService]:
    """The ingress gateways that let calls to a service in."""
    rows = store.gateways.of_service(service, watch)
    return [row for row in rows if row.gateway_kind == "ingress-gateway" and _speaks(store, row, watch)]


def connect_instances(store: Store, service: str, watch: Watch | None) -> tuple[list[Instance], int]:
    """What serves a name in the mesh: its proxies, its native instances, and the terminating gateways to it."""
    found, index = store.catalog.connect_instances(service, watch)
    links = [row for row in store.gateways.of_service(service, watch) if row.gateway_kind == "terminating-gateway"]
    for link in links:
        rows, changed = store.catalog.service_instances(link.gateway.name, watch)
        gateways = [row for row in rows if row.service.kind == link.gateway_kind]
        found = found + gateways
        index = max(index, link.modify_index, changed if gateways else 0)
    return found, index


def ingress_instances(store: Store, service: str, watch: Watch | None) -> tuple[list[Instance], int]:
    """The instances of a service's ingress gateways, each once, and the index to wait from."""
    links = ingress_gateways(store, service, watch)
    index = max((row.modify_index for row in links), default=0)
    found: list[Instance] = []
    for gateway in sorted({row.gateway.name for row in links}):
        rows, changed = store.catalog.service_instances(gateway, watch)
        found.extend(row for row in rows if row.service.kind == "ingress-gateway")
        index = max(index, changed) if rows else index
    return found, index
