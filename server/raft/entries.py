"""The replicated log in memory: every entry since the last compaction.

All reads of the core are served from here; the disk is only written (and read at start). Memory stays bounded because
the driver takes snapshots and then compacts. Entries are handed to the disk in order: `handed` is the last one given to
it, `durable` the last one given to it, `durable` the last one that is known to be there.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from server.raft.errors import InvariantBroken
from server.raft.messages import Entry

_ENTRY_OVERHEAD = 24


def entry_size(entry: Entry) -> int:
    """Bytes that an entry counts against limits: its data and about what its frame takes."""
    return len(entry.data) + _ENTRY_OVERHEAD


def _term_of(entry: Entry) -> int:
    return entry.term


class EntryLog:
    """Entries `first_index`..`last_index`; of `base_index`, the one before, only the term is known."""

    __slots__ = ("_entries", "base_index", "base_term", "durable", "handed", "size")

    def __init__(self, base_index: int = 0, base_term: int = 0, entries: Sequence[Entry] = ()) -> None:
        self.base_index = base_index
        self.base_term = base_term
        self._entries = list(entries)
        for offset, entry in enumerate(self._entries):
            if entry.index != base_index + 1 + offset:
                raise InvariantBroken(f"log entry {entry.index} where {base_index + 1 + offset} belongs")
        self.size = sum(map(entry_size, self._entries))
        self.durable = self.handed = self.last_index

    @property
    def first_index(self) -> int:
        """The oldest entry that is still here (or would be the next)."""
        return self.base_index + 1

    @property
    def last_index(self) -> int:
        """The newest entry; `base_index` when there is none."""
        return self.base_index + len(self._entries)

    @property
    def last_term(self) -> int:
        """The term of the newest entry."""
        return self._entries[-1].term if self._entries else self.base_term

    def __len__(self) -> int:
        return len(self._entries)

    def term(self, index: int) -> int | None:
        """The term of the entry at `index`; None where that is not known (compacted, or not yet there)."""
        offset = index - self.base_index
        if offset == 0:
            return self.base_term
        if 0 < offset <= len(self._entries):
            return self._entries[offset - 1].term
        return None

    def entry(self, index: int) -> Entry:
        """The entry at `index`, which must be here."""
        return self._entries[index - self.base_index - 1]

    def matches(self, index: int, term: int) -> bool:
        """Whether the entry at `index` is here and of `term`."""
        return self.term(index) == term

    def append(self, entry: Entry) -> None:
        """Add the next entry."""
        self._entries.append(entry)
        self.size += len(entry.data) + _ENTRY_OVERHEAD

    def extend(self, entries: Sequence[Entry]) -> None:
        """Add the next entries, which must follow the last one."""
        self._entries.extend(entries)
        self.size += sum(map(entry_size, entries))

    def truncate_from(self, index: int) -> None:
        """Forget the entry at `index` and all after it."""
        keep = index - self.base_index - 1
        if keep < 0:
            raise InvariantBroken(f"truncating at {index}, before the log's beginning {self.first_index}")
        self.size -= sum(map(entry_size, self._entries[keep:]))
        del self._entries[keep:]
        self.handed = min(self.handed, index - 1)
        self.durable = min(self.durable, index - 1)

    def slice(self, start: int, stop: int) -> list[Entry]:
        """Entries `start`..`stop`, both included."""
        return self._entries[start - self.base_index - 1 : stop - self.base_index]

    def batch(self, start: int, max_bytes: int, max_entries: int) -> tuple[list[Entry], int]:
        """Entries from `start` on, as many as fit the limits but always one if there is one; and their size."""
        first = start - self.base_index - 1
        entries = self._entries[first : first + max_entries]
        size = 0
        for count, entry in enumerate(entries):
            size += len(entry.data) + _ENTRY_OVERHEAD
            if size > max_bytes and count:
                return entries[:count], size - len(entry.data) - _ENTRY_OVERHEAD
        return entries, size

    def last_not_above(self, index: int, term: int) -> tuple[int, int]:
        """The last entry at or before `index` whose term is not above `term`: (index, its term).

        When it lies before the log's beginning its term is not known and given as 0.
        """
        index = min(index, self.last_index)
        if index < self.base_index:
            return index, 0
        found = bisect_right(self._entries, term, hi=index - self.base_index, key=_term_of)
        if found:
            return self.base_index + found, self._entries[found - 1].term
        if self.base_term <= term:
            return self.base_index, self.base_term
        return max(self.base_index - 1, 0), 0

    def compact(self, index: int) -> None:
        """Forget everything up to `index`, which must be here."""
        if index <= self.base_index:
            return
        term = self.term(index)
        if term is None:
            raise InvariantBroken(f"compacting to {index}, beyond the log's end {self.last_index}")
        dropped = index - self.base_index
        if 2 * dropped > len(self._entries):  # Count the smaller part: this runs between two messages.
            self.size = sum(map(entry_size, self._entries[dropped:]))
        else:
            self.size -= sum(map(entry_size, self._entries[:dropped]))
        del self._entries[:dropped]
        self.base_index, self.base_term = index, term

    def reset(self, index: int, term: int) -> None:
        """Forget everything; the log continues after a snapshot at `index`."""
        self._entries.clear()
        self.size = 0
        self.base_index, self.base_term = index, term
        self.handed = self.durable = index
