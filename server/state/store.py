"""`Store`: every replicated table, the journal that they share, and who waits for changes."""

import time
from collections.abc import Callable
from typing import Any

from kv.keys import Keys
from kv.sessions import Sessions
from model.commands import StatePart
from model.tables import Indexes, Journal, Watches
from server.state.acl import Acl
from server.state.catalog import Catalog
from server.state.config_entries import ConfigEntries
from server.state.connect_ca import ConnectCa
from server.state.gateways import Gateways
from server.state.prepared_queries import Queries
from server.state.small_tables import Autopilot, Coordinates, Metadata
from server.state.terminating_addresses import TerminatingAddresses
from server.state.virtual_ips import VirtualIps


class Store:
    """The state of the cluster. Rows are immutable; reads within one turn of the event loop are consistent.

    Only `server.fsm.Fsm` changes it. A new part of the state is an attribute here and a member of `parts`: through
    that its commands reach the log and its records the snapshots. `clock` gives seconds; it serves lock delays only,
    which are not replicated.
    """

    def __init__(self, watches: Watches | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.journal = journal = Journal()
        self.watches = watches or Watches()
        self.indexes = indexes = Indexes(journal)
        self.clock = clock
        self.metadata = Metadata(journal, indexes)
        self.virtual_ips = VirtualIps(journal, indexes)
        self.catalog = Catalog(journal, indexes, self.virtual_ips, self._virtual_ips_on)
        self.kv = Keys(journal, indexes, lambda session_id: session_id in self.sessions.rows, clock)
        self.sessions = Sessions(journal, indexes, self.catalog, self.kv, clock)
        self.coordinates = Coordinates(journal, indexes, self.catalog.has_node)
        self.queries = Queries(journal, indexes, lambda session_id: session_id in self.sessions.rows)
        self.autopilot = Autopilot(journal, indexes)
        self.acl = Acl(journal, indexes)
        self.config_entries = ConfigEntries(journal, indexes)
        self.connect_ca = ConnectCa(journal, indexes)
        self.terminating_addresses = TerminatingAddresses(  # Before the links: it is to see the old ones.
            self.catalog,
            self.config_entries,
            self.virtual_ips,
            lambda: self.metadata.value("virtual-ips-term-gateway") == "true",
            lambda gateway: self.gateways.rows.by("gateway", gateway),
        )
        self.gateways = Gateways(journal, indexes, self.catalog, self.config_entries)
        self.catalog.sessions = self.sessions
        self.catalog.on_node_gone.append(self.coordinates.forget)
        self.sessions.on_destroy.append(self.queries.session_gone)
        self.parts: tuple[StatePart, ...] = (
            *(self.virtual_ips, self.catalog, self.coordinates, self.sessions, self.kv, self.queries, self.autopilot),
            *(self.connect_ca, self.config_entries, self.metadata, self.acl),
        )
        self.kept_records: list[tuple[int, Any]] = []
        """Records of a restored snapshot that no part knows yet (type, value); they are written back as they came."""

    def _virtual_ips_on(self) -> bool:
        """Whether services in the mesh get virtual addresses; the leader says so once all servers know them."""
        return self.metadata.value("virtual-ips") == "true"
