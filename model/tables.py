"""Tables of immutable rows with indexes, a journal that can undo a command, and watches on what was read.

State changes only inside a command. Each table writes its changes to the one `Journal`, so a command that fails
half-way leaves nothing behind. A read is handed a `Watch` and notes on it the topics that it looked at; when a command
that touched one of them is done, the watch fires. What did not change does not wake.
"""

import asyncio
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from sortedcontainers import SortedDict

Row = TypeVar("Row")
Key = Any
Topic = tuple[str, ...]
"""A kind and a name: `("kv", key)`, `("service", name)`. The kind "kv/" means every key that begins with the name."""


class Watch:
    """Notes what a read looked at, then fires once when some of it changes."""

    __slots__ = ("_future", "_registry", "topics")

    def __init__(self) -> None:
        self.topics: set[Topic] = set()
        self._future: asyncio.Future[None] | None = None
        self._registry: Watches | None = None

    def note(self, *topics: Topic) -> None:
        """The read looked at these."""
        self.topics.update(topics)

    def fire(self) -> None:
        """Something changed."""
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    async def wait(self, watches: "Watches", seconds: float) -> bool:
        """Wait for a change; returns False when `seconds` went by without one.

        Must be called in the same turn of the event loop as the read.
        """
        self._future = asyncio.get_running_loop().create_future()
        watches.add(self)
        watches.waiting += 1
        try:
            async with asyncio.timeout(seconds):
                await self._future
        except TimeoutError:
            return False
        finally:
            watches.waiting -= 1
            watches.discard(self)
            self._future = None
        return True


class Watches:
    """Who waits for what."""

    def __init__(self) -> None:
        self._by_topic: dict[Topic, set[Watch]] = {}
        self._prefixes = 0
        self.waiting = 0
        """How many blocking reads wait."""

    def add(self, watch: Watch) -> None:
        """Begin to tell a watch."""
        for topic in watch.topics:
            self._by_topic.setdefault(topic, set()).add(watch)
            self._prefixes += topic[0] == "kv/"

    def discard(self, watch: Watch) -> None:
        """Stop telling a watch."""
        for topic in watch.topics:
            watching = self._by_topic.get(topic)
            if watching is not None and watch in watching:
                watching.discard(watch)
                self._prefixes -= topic[0] == "kv/"
                if not watching:
                    del self._by_topic[topic]

    def fire(self, topics: Iterable[Topic]) -> None:
        """Wake everybody who looked at one of these."""
        if not self._by_topic:
            return
        for topic in topics:
            for watch in self._by_topic.get(topic, ()):
                watch.fire()
            if topic[0] == "kv" and self._prefixes:
                key = topic[1]
                for end in range(len(key) + 1):
                    for watch in self._by_topic.get(("kv/", key[:end]), ()):
                        watch.fire()

    def fire_all(self) -> None:
        """Wake everybody: the whole state was replaced."""
        for watching in list(self._by_topic.values()):
            for watch in watching:
                watch.fire()


class Journal:
    """What the command under way has changed: how to undo it, and whom to wake when it is done."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], None]] = []
        self.touched: set[Topic] = set()
        self.index_changes = 0
        """How often a value of `Indexes` has changed."""
        self.looked_up: list[LookUp] | None = None
        """While a read is made whose answer is to be kept: which index values it has looked up."""

    def undoable(self, undo: Callable[[], None]) -> None:
        """A change was made that `undo` takes back."""
        self._undo.append(undo)

    def touch(self, *topics: Topic) -> None:
        """Readers of these topics would now see something else."""
        self.touched.update(topics)

    def rollback(self) -> None:
        """Take back everything since the command began."""
        while self._undo:
            self._undo.pop()()
        self.touched.clear()

    def finish(self) -> set[Topic]:
        """The command is done; returns what it touched."""
        self._undo.clear()
        touched, self.touched = self.touched, set()
        return touched


class Captured(Generic[Row]):
    """The rows of a table at one moment; `keys` in order, `rows` in any."""

    def __init__(self, key_of: Callable[[Row], Key], keys: list[Key], rows: list[Row]) -> None:
        self._key_of = key_of
        self._keys = keys
        self._rows = rows

    def __iter__(self) -> Iterator[Row]:
        key_of = self._key_of
        by_key = {key_of(row): row for row in self._rows}
        for key in self._keys:
            yield by_key[key]


class Table(Generic[Row]):
    """Rows by key, in the order of their keys.

    `key_of` gives a row's key; `indexes` name functions from a row to the keys under which an index lists it.
    """

    def __init__(
        self,
        journal: Journal,
        key_of: Callable[[Row], Key],
        **indexes: Callable[[Row], Iterable[Hashable]],
    ) -> None:
        self._journal = journal
        self._key_of = key_of
        self._rows: SortedDict[Key, Row] = SortedDict()
        self._index_of = indexes
        self._indexes: dict[str, dict[Hashable, dict[Key, None]]] = {name: {} for name in indexes}

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows.values())

    def __contains__(self, key: Key) -> bool:
        return key in self._rows

    def get(self, key: Key) -> Row | None:
        """The row under a key."""
        row: Row | None = self._rows.get(key)
        return row

    def rows(self) -> list[Row]:
        """All rows in the order of their keys; a copy that later changes do not touch."""
        return list(self._rows.values())

    def captured(self) -> "Captured[Row]":
        """All rows of this moment in the order of their keys, to be gone through later and in a thread.

        Costs the caller two plain copies, 25 ms for a million rows; `rows` takes thirty times as long.
        """
        return Captured(self._key_of, list(self._rows), list(dict.values(self._rows)))

    def between(self, start: Key, inclusive_end: Key | None = None) -> Iterator[Row]:
        """Rows whose keys are at or after `start` (and at or before `inclusive_end`), in order."""
        for key in self._rows.irange(start, inclusive_end):
            yield self._rows[key]

    def prefixed(self, prefix: str) -> Iterator[Row]:
        """Rows whose text keys begin with `prefix`, in order."""
        for key in self._rows.irange(prefix):
            if not key.startswith(prefix):
                return
            yield self._rows[key]

    def by(self, index: str, value: Hashable) -> list[Row]:
        """The rows that an index lists under a value, in the order of their keys."""
        keys = self._indexes[index].get(value)
        return [self._rows[key] for key in sorted(keys)] if keys else []

    def any_by(self, index: str, value: Hashable) -> bool:
        """Whether an index lists anything under a value."""
        return value in self._indexes[index]

    def values_of(self, index: str) -> list[Any]:
        """All values under which an index lists rows."""
        return list(self._indexes[index])

    def put(self, row: Row) -> None:
        """Insert a row, or replace the one under its key."""
        key = self._key_of(row)
        old = self._rows.get(key)
        self._journal.undoable(lambda: self._set(key, old))
        self._set(key, row)

    def delete(self, key: Key) -> Row | None:
        """Remove the row under a key and return it."""
        old: Row | None = self._rows.get(key)
        if old is not None:
            self._journal.undoable(lambda: self._set(key, old))
            self._set(key, None)
        return old

    def _set(self, key: Key, row: Row | None) -> None:
        old = self._rows.get(key)
        for name, index_of in self._index_of.items():
            index = self._indexes[name]
            if old is not None:
                for value in index_of(old):
                    listed = index[value]
                    listed.pop(key, None)
                    if not listed:
                        del index[value]
            if row is not None:
                for value in index_of(row):
                    index.setdefault(value, {})[key] = None
        if row is None:
            self._rows.pop(key, None)
        else:
            self._rows[key] = row


LookUp = tuple["Indexes", tuple[str, ...], int]
"""Names whose highest index was looked up, and what it was."""


class Indexes:
    """The Raft index at which each named part of the state changed last."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._values: dict[str, int] = {}

    @property
    def changes(self) -> int:
        """Grows whenever a value of the state's indexes changes: as long as it is the same, all of them are."""
        return self._journal.index_changes

    def get(self, *names: str) -> int:
        """The highest index of these parts; 0 when none of them ever changed."""
        found = max([self._values.get(name, 0) for name in names], default=0)
        if self._journal.looked_up is not None:
            self._journal.looked_up.append((self, names, found))
        return found

    def has(self, name: str) -> bool:
        """Whether the part was ever noted."""
        return name in self._values

    def set(self, index: int, *names: str) -> None:
        """These parts change at `index`."""
        for name in names:
            old = self._values.get(name)
            self._journal.undoable(lambda name=name, old=old: self._restore(name, old))  # type: ignore[misc]
            self._values[name] = index
        self._journal.index_changes += 1

    def raise_to(self, index: int, *names: str) -> None:
        """These parts changed at `index`, if nothing later is known."""
        for name in names:
            if index > self._values.get(name, 0):
                self.set(index, name)

    def drop(self, name: str) -> None:
        """The part is gone."""
        old = self._values.pop(name, None)
        self._journal.index_changes += 1
        if old is not None:
            self._journal.undoable(lambda: self._restore(name, old))

    def items(self) -> list[tuple[str, int]]:
        """All parts in order of their names."""
        return sorted(self._values.items())

    def highest(self) -> int:
        """The highest index of all."""
        return max(self._values.values(), default=0)

    def _restore(self, name: str, value: int | None) -> None:
        self._journal.index_changes += 1
        if value is None:
            self._values.pop(name, None)
        else:
            self._values[name] = value
