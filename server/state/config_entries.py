"""Configuration entries by kind and name."""

from collections.abc import Callable
from typing import Any

import msgspec

from mesh.entry_graph import check_change
from model.codec import to_wire
from model.commands import Command, CommandType, Record
from model.errors import RpcError
from model.structs.config_rpc import ConfigEntry, ConfigEntryRequest, kind_of
from model.tables import Indexes, Journal, Table, Watch

INDEX = "config-entries"


def name_of(entry: ConfigEntry) -> str:
    """The name of an entry; `mesh` has one fixed name."""
    return getattr(entry, "name", "") or "mesh"


class ConfigEntries:
    """All configuration entries."""

    def __init__(self, journal: Journal, indexes: Indexes) -> None:
        self._journal = journal
        self._indexes = indexes
        self.on_change: list[Callable[[int, str, str], None]] = []
        """Told the index, the kind and the name of an entry that was written or removed."""
        self.rows: Table[Any] = Table(journal, lambda row: (kind_of(row), name_of(row)), kind=lambda r: (kind_of(r),))

    def commands(self) -> list[Command]:
        """Writing and removing entries."""
        return [Command(CommandType.CONFIG_ENTRY, ConfigEntryRequest, self.apply)]

    def records(self) -> list[Record]:
        """The entries by kind and name."""
        return [
            Record(
                CommandType.CONFIG_ENTRY,
                ConfigEntryRequest,
                self.rows.captured,
                self._load,
                lambda row: to_wire(ConfigEntryRequest(entry=row)),
            )
        ]

    def _load(self, request: ConfigEntryRequest) -> None:
        entry: Any = request.entry
        self.rows.put(entry)
        self._indexes.raise_to(entry.modify_index, INDEX)

    def get(self, kind: str, name: str, watch: Watch | None = None) -> tuple[Any, int]:
        """The entry or None, and the index to wait from."""
        if watch is not None:
            watch.note(("config", kind, name))
        entry = self.rows.get((kind, name))
        return entry, entry.modify_index if entry else self._indexes.get(INDEX)

    def lookup(self, watch: Watch | None = None) -> Callable[[str, str], Any]:
        """Finds entries by kind and name for logic that knows no tables; the watch notes what it looked at."""
        return lambda kind, name: self.get(kind, name, watch)[0]

    @property
    def index(self) -> int:
        """The index of the last change to any entry."""
        return self._indexes.get(INDEX)

    def of_kind(self, kind: str = "", watch: Watch | None = None) -> tuple[list[Any], int]:
        """The entries of a kind, or of all kinds."""
        if watch is not None:
            watch.note(("config", kind) if kind else ("config",))
        return self.rows.by("kind", kind) if kind else self.rows.rows(), self._indexes.get(INDEX)

    def apply(self, index: int, request: ConfigEntryRequest) -> bool:
        """Carry out a command; returns whether it took effect (a cas that did not match does not).

        Raises RpcError when the entries would contradict each other afterwards.
        """
        entry: Any = request.entry
        old, _ = self.get(kind_of(entry), name_of(entry))
        if request.op.endswith("-cas") and entry.modify_index != (old.modify_index if old else 0):
            return False
        kind, name = kind_of(entry), name_of(entry)
        if request.op in ("upsert", "upsert-cas"):
            self._check_change(kind, name, entry, request.datacenter)
            self.put(index, entry)
        elif request.op in ("delete", "delete-cas"):
            if old is not None:
                self._check_change(kind, name, None, request.datacenter)
            self.delete(index, kind, name)
        else:
            raise RpcError(f"invalid config entry operation type: {request.op}")
        return True

    def _check_change(self, kind: str, name: str, entry: Any, datacenter: str) -> None:
        def lookup(wanted_kind: str, wanted_name: str) -> Any:
            return self.rows.get((wanted_kind, wanted_name))

        check_change(lookup, self.rows.rows(), kind, name, entry, datacenter)

    def put(self, index: int, entry: Any) -> None:
        """Write an entry; one that says what is there already changes nothing, so wakes nobody."""
        old = self.rows.get((kind_of(entry), name_of(entry)))
        created = old.create_index if old else index
        if old is not None and old == msgspec.structs.replace(
            entry, create_index=old.create_index, modify_index=old.modify_index
        ):
            return
        self.rows.put(msgspec.structs.replace(entry, create_index=created, modify_index=index))
        self._changed(index, kind_of(entry), name_of(entry))

    def delete(self, index: int, kind: str, name: str) -> None:
        """Remove an entry, if it is there."""
        if self.rows.delete((kind, name)) is not None:
            self._changed(index, kind, name)

    def _changed(self, index: int, kind: str, name: str) -> None:
        self._indexes.set(index, INDEX)
        self._journal.touch(("config",), ("config", kind), ("config", kind, name))
        for hook in self.on_change:
            hook(index, kind, name)
