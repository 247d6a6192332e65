"""Virtual addresses of the services behind terminating gateways: each service that a gateway's entry names has one, and
the gateway's instances list them, so that a transparent proxy finds its way to the gateway."""

from collections.abc import Callable

import msgspec

from mesh.gateway_links import WILDCARD
from model.structs.catalog import GatewayService, NodeService, ServiceAddress
from model.structs.config_entries import TerminatingGatewayConfigEntry
from server.state.catalog import Catalog
from server.state.config_entries import ConfigEntries
from server.state.virtual_ips import VirtualIps

KIND = "terminating-gateway"
PREFIX = "consul-virtual:"


class TerminatingAddresses:
    """Hands out the addresses and writes them into the gateways' instances, as entries and instances come and go.

    `linked(gateway)` gives the links of a gateway as they were before the entry changed that is being told of.
    """

    def __init__(
        self,
        catalog: Catalog,
        entries: ConfigEntries,
        virtual_ips: VirtualIps,
        enabled: Callable[[], bool],
        linked: Callable[[str], list[GatewayService]],
    ) -> None:
        self._catalog = catalog
        self._entries = entries
        self._virtual_ips = virtual_ips
        self._enabled = enabled
        self._linked = linked
        entries.on_change.append(self._entry_changed)
        catalog.completed.append(self.completed)
        catalog.needs_virtual_ip.append(self.names)

    def names(self, service: str) -> bool:
        """Whether some gateway's entry names a service."""
        key = service.lower()
        return any(key == name.lower() for entry in self._entries.of_kind(KIND)[0] for name in self._named(entry.name))

    def completed(self, index: int, service: NodeService) -> NodeService:
        """An instance with the addresses that it has to list: none but a terminating gateway's own."""
        if service.kind != KIND or not self._enabled():
            return service
        named = self._named(service.service)
        tagged = {key: one for key, one in (service.tagged_addresses or {}).items() if not key.startswith(PREFIX)}
        for name in named:
            address = self._virtual_ips.assign(index, name)
            if address:
                tagged[f"{PREFIX}{name}"] = ServiceAddress(address=address)
        return msgspec.structs.replace(service, tagged_addresses=tagged or None)

    def _named(self, gateway: str) -> tuple[str, ...]:
        entry = self._entries.get(KIND, gateway)[0]
        if not isinstance(entry, TerminatingGatewayConfigEntry):
            return ()
        return tuple(service.name for service in entry.services or ())

    def _entry_changed(self, index: int, kind: str, name: str) -> None:
        if kind != KIND or not self._enabled():
            return
        named = self._named(name)
        for service in named:
            self._virtual_ips.assign(index, service)
        for instance in self._catalog.instances.by("kind_name", (KIND, name.lower())):
            changed = msgspec.structs.replace(instance.service, meta=instance.service.meta or {})
            self._catalog.put_service(index, instance.node, changed)
        before = [row.service.name for row in self._linked(name) if row.gateway_kind == KIND and not row.from_wildcard]
        for service in (*before, WILDCARD):
            in_mesh = self._catalog.instances.any_by("connect", service.lower())
            if service not in named and not in_mesh and not self.names(service):
                self._virtual_ips.release(index, service)
