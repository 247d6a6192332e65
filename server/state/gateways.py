"""Gateway services: which service stands behind which gateway.

Derived from the gateways' entries and from the catalog, so never in a snapshot; kept as a table, since a link says when
it began and when it changed.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from mesh.gateway_links import GATEWAY_KINDS, links
from model.structs.catalog import GatewayService
from model.tables import Indexes, Journal, Table, Watch
from server.state.catalog import Catalog
from server.state.config_entries import ConfigEntries

INDEX = "gateway-services"
_TOPIC = (INDEX,)
_SERVERS = "consul"
"""The service of the servers themselves, which no wildcard covers."""


class Gateways:
    """The links between gateways and services. `catalog` and `entries` tell it what changes."""

    def __init__(self, journal: Journal, indexes: Indexes, catalog: Catalog, entries: ConfigEntries) -> None:
        self._journal = journal
        self._indexes = indexes
        self._catalog = catalog
        self._entries = entries
        self.rows: Table[GatewayService] = Table(
            journal,
            lambda row: (row.gateway.name, row.service.name, row.port),
            gateway=lambda row: (row.gateway.name,),
            service=lambda row: (row.service.name.lower(),),
        )
        catalog.on_service.append(self._service_changed)
        entries.on_change.append(self._entry_changed)

    def of_gateway(self, name: str, watch: Watch | None = None) -> tuple[list[GatewayService], int]:
        """The services behind a gateway, and the index to wait from."""
        if watch is not None:
            watch.note(_TOPIC)
        return self.rows.by("gateway", name), self._indexes.get(INDEX)

    def of_service(self, name: str, watch: Watch | None = None) -> list[GatewayService]:
        """The gateways in front of a service."""
        if watch is not None:
            watch.note(_TOPIC)
        return self.rows.by("service", name.lower())

    def rebuild(self) -> None:
        """Derive all links anew after a restore; they carry the indexes of what they come from."""
        for kind in GATEWAY_KINDS:
            for entry in self._entries.of_kind(kind)[0]:
                self._put(entry.modify_index, entry.name, self._wanted(entry))

    def _entry_changed(self, index: int, kind: str, name: str) -> None:
        if kind not in GATEWAY_KINDS:
            return
        entry = self._entries.get(kind, name)[0]
        other = self._entries.get(next(one for one in GATEWAY_KINDS if one != kind), name)[0]
        if entry is None and other is not None:
            return
        wanted = self._wanted(entry) if entry is not None else []
        if self._put(index, name, wanted):
            self._changed(index)

    def _wanted(self, entry: Any) -> list[GatewayService]:
        """The links of a gateway; of those that it names outright, a terminating one says the kind at once."""
        found = links(entry, self._plain_services(), self._in_mesh)
        return [
            msgspec.structs.replace(row, service_kind="service")
            if row.gateway_kind == "terminating-gateway" and not row.from_wildcard and self._known(row.service.name)
            else row
            for row in found
        ]

    def _service_changed(self, index: int, name: str) -> None:
        """A service appeared, vanished, or came into the mesh or left it."""
        for kind in GATEWAY_KINDS:
            for entry in self._entries.of_kind(kind)[0]:
                known = self._known(name)
                candidates = [name] if known and name != _SERVERS else []
                kind_now = "service" if known else ""
                wanted = [
                    msgspec.structs.replace(row, service_kind=kind_now)
                    for row in links(entry, candidates, self._in_mesh)
                    if row.service.name == name
                ]
                if self._put(index, entry.name, wanted, name):
                    self._changed(index)

    def _put(self, index: int, gateway: str, wanted: Iterable[GatewayService], only: str = "") -> bool:
        """Make the rows of a gateway (and of one service, if named) what is wanted; whether that changed anything."""
        there = {(row.service.name, row.port): row for row in self.rows.by("gateway", gateway)}
        changed = False
        for row in wanted:
            old = there.pop((row.service.name, row.port), None)
            if old is None:
                self.rows.put(msgspec.structs.replace(row, create_index=index, modify_index=index))
                changed = True
                continue
            kind = row.service_kind if only or row.service_kind else old.service_kind
            row = msgspec.structs.replace(
                row, service_kind=kind, create_index=old.create_index, modify_index=old.modify_index
            )
            if row != old:
                self.rows.put(msgspec.structs.replace(row, modify_index=index))
                changed = True
        for (service, port), _ in there.items():
            if not only or service == only:
                self.rows.delete((gateway, service, port))
                changed = True
        return changed

    def _changed(self, index: int) -> None:
        self._indexes.set(index, INDEX)
        self._journal.touch(_TOPIC)

    def _known(self, name: str) -> bool:
        return self._catalog.instances.any_by("kind_name", ("", name.lower()))

    def _in_mesh(self, name: str) -> bool:
        return self._catalog.instances.any_by("connect", name.lower())

    def _plain_services(self) -> list[str]:
        names = {row.service.service for row in self._catalog.instances.by("kind", "")}
        return sorted(names - {_SERVERS})
