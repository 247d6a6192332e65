"""The key-value table: what each operation does to it, and what its reads look at.

Deleted keys leave tombstones, so that the index of a prefix never goes backwards while somebody may be waiting on it;
the leader has them reaped after a while.
"""

from collections.abc import Callable

import msgspec

from model.commands import Command, CommandType, Record
from model.errors import RpcError
from model.structs.kv import DirEntry, KVSRequest, TombstoneRequest
from model.tables import Indexes, Journal, Table, Watch

TOMBSTONES = "tombstones"
KEYS = "kvs"
_PRUNE_DELAYS_AT = 1024


class Keys:
    """Keys and their tombstones. `session_exists` is asked before a lock is given; `clock` gives seconds for delays."""

    def __init__(
        self, journal: Journal, indexes: Indexes, session_exists: Callable[[str], bool], clock: Callable[[], float]
    ) -> None:
        self._journal = journal
        self._indexes = indexes
        self._session_exists = session_exists
        self._clock = clock
        self._prune_delays_at = _PRUNE_DELAYS_AT
        self.entries: Table[DirEntry] = Table(
            journal, lambda row: row.key, session=lambda row: (row.session,) if row.session else ()
        )
        self.tombstones: Table[DirEntry] = Table(journal, lambda row: row.key)
        self.lock_delays: dict[str, float] = {}
        """Until when (seconds of the caller's clock) nobody may lock a key; kept in memory only."""

    # What the log and snapshots hold

    def commands(self) -> list[Command]:
        """KV operations, and the leader's order to forget tombstones."""
        return [
            Command(CommandType.KVS, KVSRequest, self.apply),
            Command(CommandType.TOMBSTONE, TombstoneRequest, self.apply_tombstone),
        ]

    def records(self) -> list[Record]:
        """Entries and tombstones."""
        return [
            Record(CommandType.KVS, DirEntry, self.entries.captured, self._load_entry),
            Record(CommandType.TOMBSTONE, DirEntry, self.tombstones.captured, self._load_tombstone),
        ]

    def _load_entry(self, row: DirEntry) -> None:
        self.entries.put(row)
        self._indexes.raise_to(row.modify_index, KEYS)

    def _load_tombstone(self, row: DirEntry) -> None:
        self.tombstones.put(row)
        self._indexes.raise_to(row.modify_index, TOMBSTONES)

    def apply(self, index: int, request: KVSRequest) -> bool | None:
        """Carry out a command; conditional ones say whether they took effect. Raises RpcError."""
        entry, op = request.dir_ent, request.op
        if op == "set":
            self.set(index, entry)
        elif op == "delete":
            self.delete(index, entry.key)
        elif op == "delete-tree":
            self.delete_tree(index, entry.key)
        elif op == "delete-cas":
            return self.delete_cas(index, entry.key, entry.modify_index)
        elif op == "cas":
            return self.set_cas(index, entry) is not None
        elif op == "lock":
            return self.lock(index, entry) is not None
        elif op == "unlock":
            return self.unlock(index, entry) is not None
        else:
            raise RpcError(f"Invalid KVS operation '{op}'")
        return None

    def apply_tombstone(self, index: int, request: TombstoneRequest) -> None:
        """Forget tombstones. Raises RpcError."""
        if request.op != "reap":
            raise RpcError(f"Invalid Tombstone operation '{request.op}'")
        self.reap(request.reap_index)

    # Reads

    def get(self, key: str, watch: Watch | None = None) -> tuple[DirEntry | None, int]:
        """The entry and its index (of the whole table when the key is missing)."""
        if watch is not None:
            watch.note(("kv", key))
        entry = self.entries.get(key)
        return entry, entry.modify_index if entry else self._indexes.get(KEYS, TOMBSTONES)

    def under(self, prefix: str, watch: Watch | None = None) -> tuple[list[DirEntry], int]:
        """The entries whose keys begin with `prefix`, and the index at which any of them changed last."""
        if watch is not None:
            watch.note(("kv/", prefix))
        entries = list(self.entries.prefixed(prefix))
        if not entries or not prefix:
            return entries, self._indexes.get(KEYS, TOMBSTONES)
        index = max(entry.modify_index for entry in entries)
        return entries, max(index, max((row.modify_index for row in self.tombstones.prefixed(prefix)), default=0))

    # Operations; each returns what KVS.Apply reports

    def set(self, index: int, entry: DirEntry, keep_session: bool = True) -> DirEntry:
        """Write a key. Session and creation stay; the lock index is reset unless the caller gives one."""
        old = self.entries.get(entry.key)
        new = msgspec.structs.replace(
            entry,
            create_index=old.create_index if old else index,
            modify_index=index,
            session=(old.session if old and keep_session else "" if keep_session else entry.session),
            value=entry.value or None,
        )
        if old is not None and _same(old, new):
            return old
        self.entries.put(new)
        self._indexes.set(index, KEYS)
        self._journal.touch(("kv", entry.key))
        return new

    def set_cas(self, index: int, entry: DirEntry) -> DirEntry | None:
        """Write a key if its modify index is `entry.modify_index` (0: if it is missing); None when it is not."""
        old = self.entries.get(entry.key)
        if (old.modify_index if old else 0) != entry.modify_index:
            return None
        return self.set(index, msgspec.structs.replace(entry, lock_index=0))

    def delete(self, index: int, key: str) -> None:
        """Remove a key, if it is there."""
        if self.entries.delete(key) is not None:
            self._bury(index, key)
            self._journal.touch(("kv", key))

    def delete_cas(self, index: int, key: str, modify_index: int) -> bool:
        """Remove a key if its modify index is the given one; a missing key counts as removed."""
        old = self.entries.get(key)
        if old is None:
            return True
        if old.modify_index != modify_index:
            return False
        self.delete(index, key)
        return True

    def delete_tree(self, index: int, prefix: str) -> None:
        """Remove all keys that begin with `prefix`."""
        doomed = [entry.key for entry in self.entries.prefixed(prefix)]
        for key in doomed:
            self.entries.delete(key)
            self._journal.touch(("kv", key))
        if doomed:
            self._bury(index, prefix)

    def _bury(self, index: int, key: str) -> None:
        if key:
            self.tombstones.put(DirEntry(key=key, modify_index=index))
            self._indexes.set(index, TOMBSTONES)
        self._indexes.set(index, KEYS)

    def lock(self, index: int, entry: DirEntry) -> DirEntry | None:
        """Write a key and lock it for `entry.session`; None when another session holds it.

        Raises RpcError when the session is missing or unknown.
        """
        if not entry.session:
            raise RpcError("missing session")
        if not self._session_exists(entry.session):
            raise RpcError(f'invalid session "{entry.session}"')
        old = self.entries.get(entry.key)
        if old is not None and old.session not in ("", entry.session):
            return None
        lock_index = old.lock_index if old else 0
        if old is None or not old.session:
            lock_index += 1
        locked = msgspec.structs.replace(entry, lock_index=lock_index)
        return self.set(index, locked, keep_session=False)

    def unlock(self, index: int, entry: DirEntry) -> DirEntry | None:
        """Write a key and release it; None when `entry.session` does not hold it. Raises RpcError."""
        if not entry.session:
            raise RpcError("missing session")
        old = self.entries.get(entry.key)
        if old is None or old.session != entry.session:
            return None
        free = msgspec.structs.replace(entry, lock_index=old.lock_index, session="")
        return self.set(index, free, keep_session=False)

    def release_session(self, index: int, session_id: str, delete: bool, lock_until: float) -> None:
        """A session is gone: free (or delete) its keys, and hold off new locks until `lock_until`."""
        for entry in self.entries.by("session", session_id):
            if delete:
                self.delete(index, entry.key)
            else:
                free = msgspec.structs.replace(entry, session="")
                self.set(index, free, keep_session=False)
            if lock_until:
                self.lock_delays[entry.key] = lock_until
        if len(self.lock_delays) > self._prune_delays_at:
            now = self._clock()
            self.lock_delays = {key: until for key, until in self.lock_delays.items() if until > now}
            self._prune_delays_at = max(_PRUNE_DELAYS_AT, 2 * len(self.lock_delays))

    def may_lock(self, key: str, now: float) -> bool:
        """Whether no lock delay holds a key back."""
        until = self.lock_delays.get(key)
        if until is None:
            return True
        if now < until:
            return False
        del self.lock_delays[key]
        return True

    def reap(self, index: int) -> None:
        """Forget tombstones up to `index`."""
        for row in self.tombstones.rows():
            if row.modify_index <= index:
                self.tombstones.delete(row.key)


def _same(old: DirEntry, new: DirEntry) -> bool:
    """Whether a write changes nothing but the modify index."""
    return (
        old.value == new.value
        and old.flags == new.flags
        and old.session == new.session
        and old.lock_index == new.lock_index
    )
