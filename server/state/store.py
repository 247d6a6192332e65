"""`Store`: every replicated table, the journal that they share, and who waits for changes."""

import time
from collections.abc import Callable

import msgspec

from kv.keys import Keys
from kv.sessions import Sessions
from model.structs.coordinate import Coordinate
from model.structs.operator import AutopilotConfig, SystemMetadataEntry
from model.structs.queries import PreparedQuery
from model.tables import Indexes, Journal, Table, Watches
from server.state.catalog import Catalog
from server.state.config_entries import ConfigEntries
from server.state.connect_ca import ConnectCa


class Store:
    """The state of the cluster. Rows are immutable; reads within one turn of the event loop are consistent.

    `clock` gives seconds; it serves lock delays only, which are not replicated.
    """

    def __init__(self, watches: Watches | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.journal = Journal()
        self.watches = watches or Watches()
        self.indexes = Indexes(self.journal)
        self.clock = clock
        self.metadata: Table[SystemMetadataEntry] = Table(self.journal, lambda row: row.key)
        self.catalog = Catalog(self.journal, self.indexes, self.metadata_value)
        self.kv = Keys(self.journal, self.indexes, lambda session_id: session_id in self.sessions.rows)
        self.sessions = Sessions(self.journal, self.indexes, self.catalog, self.kv, clock)
        self.catalog.sessions = self.sessions
        self.coordinates: Table[Coordinate] = Table(self.journal, lambda row: (row.node.lower(), row.segment))
        self.config_entries = ConfigEntries(self.journal, self.indexes)
        self.connect_ca = ConnectCa(self.journal, self.indexes)
        self.queries: Table[PreparedQuery] = Table(
            self.journal,
            lambda row: row.id,
            name=lambda row: (row.name.lower(),) if row.name else (),
            session=lambda row: (row.session,) if row.session else (),
        )
        self.autopilot: Table[AutopilotConfig] = Table(self.journal, lambda row: "")
        self.kept_records: list[tuple[int, object]] = []
        """Records of a restored snapshot that no feature uses yet; they are written back as they came."""
        self.catalog.on_node_gone.append(self._forget_coordinates)
        self.sessions.on_destroy.append(self._forget_queries)

    def metadata_value(self, key: str) -> str:
        """A marker of what the cluster has migrated to; "" when it is not set."""
        row = self.metadata.get(key)
        return row.value if row else ""

    def set_metadata(self, index: int, entry: SystemMetadataEntry) -> None:
        """Write a marker."""
        old = self.metadata.get(entry.key)
        created = old.create_index if old else index
        self.metadata.put(msgspec.structs.replace(entry, create_index=created, modify_index=index))
        self.indexes.set(index, "system-metadata")

    def put_coordinates(self, index: int, coordinates: list[Coordinate]) -> None:
        """Write coordinates of nodes that are registered; others are dropped."""
        written = False
        for row in coordinates:
            if self.catalog.has_node(row.node):
                self.coordinates.put(row)
                self.journal.touch(("coordinates",), ("coordinate", row.node.lower()))
                written = True
        if written:
            self.indexes.set(index, "coordinates")

    def _forget_coordinates(self, index: int, node: str) -> None:
        for row in [row for row in self.coordinates if row.node.lower() == node.lower()]:
            self.coordinates.delete((row.node.lower(), row.segment))
            self.indexes.set(index, "coordinates")
            self.journal.touch(("coordinates",), ("coordinate", node.lower()))

    def put_query(self, index: int, query: PreparedQuery) -> None:
        """Write a prepared query."""
        old = self.queries.get(query.id)
        created = old.create_index if old else index
        self.queries.put(msgspec.structs.replace(query, create_index=created, modify_index=index))
        self.indexes.set(index, "prepared-queries")
        self.journal.touch(("queries",), ("query", query.id))

    def delete_query(self, index: int, query_id: str) -> None:
        """Remove a prepared query, if it is there."""
        if self.queries.delete(query_id) is not None:
            self.indexes.set(index, "prepared-queries")
            self.journal.touch(("queries",), ("query", query_id))

    def _forget_queries(self, index: int, session_id: str) -> None:
        for query in self.queries.by("session", session_id):
            self.delete_query(index, query.id)

    def set_autopilot(self, index: int, config: AutopilotConfig) -> None:
        """Write autopilot's configuration."""
        old = self.autopilot.get("")
        created = old.create_index if old else index
        self.autopilot.put(msgspec.structs.replace(config, create_index=created, modify_index=index))
        self.indexes.set(index, "autopilot-config")
        self.journal.touch(("autopilot",))
