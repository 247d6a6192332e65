"""Tables of few rows: coordinates, autopilot's configuration, markers of the system."""

import math
from collections.abc import Callable

import msgspec

from model.codec import to_wire
from model.commands import Command, CommandType, Record
from model.errors import RpcError
from model.structs.coordinate import Coordinate
from model.structs.operator import (
    AutopilotConfig,
    AutopilotSetConfigRequest,
    SystemMetadataEntry,
    SystemMetadataRequest,
)
from model.tables import Indexes, Journal, Table, Watch

COORDINATES = "coordinates"
METADATA = "system-metadata"
AUTOPILOT = "autopilot-config"


class Coordinates:
    """Where nodes are in the network, one row for each node and segment."""

    def __init__(self, journal: Journal, indexes: Indexes, has_node: Callable[[str], bool]) -> None:
        self._journal = journal
        self._indexes = indexes
        self._has_node = has_node
        self.rows: Table[Coordinate] = Table(
            journal, lambda row: (row.node.lower(), row.segment), node=lambda row: (row.node.lower(),)
        )

    def commands(self) -> list[Command]:
        """None here: a batch is a list, which the state machine reads itself and hands to `put_all`."""
        return []

    def records(self) -> list[Record]:
        """One record for each row; on the wire it is a list of one."""
        return [
            Record(CommandType.COORDINATES, Coordinate, self.rows.captured, self._load, lambda row: [to_wire(row)])
        ]

    def _load(self, row: Coordinate) -> None:
        if is_valid(row):
            self.rows.put(row)

    def put_all(self, index: int, rows: list[Coordinate]) -> None:
        """Write coordinates; those of nodes that are not registered are dropped."""
        for row in rows:
            if self._has_node(row.node) and is_valid(row):
                self.rows.put(row)
                self._changed(index, row.node)

    def forget(self, index: int, node: str) -> None:
        """The node is gone."""
        for row in self.rows.by("node", node.lower()):
            self.rows.delete((node.lower(), row.segment))
            self._changed(index, node)

    def _changed(self, index: int, node: str) -> None:
        self._indexes.set(index, COORDINATES)
        self._journal.touch((COORDINATES,), ("coordinate", node.lower()))

    def all(self, watch: Watch | None = None) -> tuple[list[Coordinate], int]:
        """All rows."""
        if watch is not None:
            watch.note((COORDINATES,))
        return self.rows.rows(), self._indexes.get(COORDINATES)

    def of_node(self, node: str, watch: Watch | None = None) -> tuple[list[Coordinate], int]:
        """The rows of one node."""
        if watch is not None:
            watch.note(("coordinate", node.lower()))
        return self.rows.by("node", node.lower()), self._indexes.get(COORDINATES)


def is_valid(row: Coordinate) -> bool:
    """Whether a coordinate has numbers that one can reckon with."""
    vector = row.coord
    if vector is None:
        return False
    return all(map(math.isfinite, (*(vector.vec or ()), vector.error, vector.adjustment, vector.height)))


class Autopilot:
    """Autopilot's configuration: one row, or none while the defaults hold."""

    def __init__(self, journal: Journal, indexes: Indexes) -> None:
        self._journal = journal
        self._indexes = indexes
        self.rows: Table[AutopilotConfig] = Table(journal, lambda row: "")

    def commands(self) -> list[Command]:
        """Setting it."""
        return [Command(CommandType.AUTOPILOT, AutopilotSetConfigRequest, self.apply)]

    def records(self) -> list[Record]:
        """The row."""
        return [Record(CommandType.AUTOPILOT, AutopilotConfig, self.rows.captured, self.rows.put)]

    @property
    def config(self) -> AutopilotConfig | None:
        """The configuration, if one was ever set."""
        return self.rows.get("")

    def apply(self, index: int, request: AutopilotSetConfigRequest) -> bool:
        """Set it; false when it was to be checked and its modify index is another."""
        old = self.config
        if request.cas and (old is None or old.modify_index != request.config.modify_index):
            return False
        created = old.create_index if old else index
        self.rows.put(msgspec.structs.replace(request.config, create_index=created, modify_index=index))
        self._journal.touch((AUTOPILOT,))
        return True


class Metadata:
    """Markers of what the cluster has migrated to."""

    def __init__(self, journal: Journal, indexes: Indexes) -> None:
        self._journal = journal
        self._indexes = indexes
        self.rows: Table[SystemMetadataEntry] = Table(journal, lambda row: row.key)

    def commands(self) -> list[Command]:
        """Setting and removing."""
        return [Command(CommandType.SYSTEM_METADATA, SystemMetadataRequest, self.apply)]

    def records(self) -> list[Record]:
        """The markers."""
        return [Record(CommandType.SYSTEM_METADATA, SystemMetadataEntry, self.rows.captured, self._load)]

    def _load(self, row: SystemMetadataEntry) -> None:
        self.rows.put(row)
        self._indexes.raise_to(row.modify_index, METADATA)

    def value(self, key: str) -> str:
        """A marker, or "" when it is not set."""
        row = self.rows.get(key)
        return row.value if row else ""

    def apply(self, index: int, request: SystemMetadataRequest) -> None:
        """Carry out a command. Raises RpcError."""
        if request.entry is None:
            raise RpcError("missing system metadata entry")
        if request.op == "upsert":
            old = self.rows.get(request.entry.key)
            created = old.create_index if old else index
            self.rows.put(msgspec.structs.replace(request.entry, create_index=created, modify_index=index))
        elif request.op == "delete":
            self.rows.delete(request.entry.key)
        else:
            raise RpcError(f"invalid system metadata operation type: {request.op}")
        self._indexes.set(index, METADATA)
