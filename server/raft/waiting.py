"""Who waits for what on this server: callers for their entries to be applied, readers for an index to be reached."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, NamedTuple

from server.raft.errors import LeadershipLost, ProposalTimeout
from server.raft.messages import Entry


def fail(futures: Iterable[asyncio.Future[Any]], error: Exception) -> None:
    """Set an error on those futures that nothing has happened to yet."""
    for future in futures:
        if not future.done():
            future.set_exception(error)


class _Proposal(NamedTuple):
    """A proposal that somebody waits for; `deadline` in seconds of the event loop's clock."""

    term: int
    future: asyncio.Future[Any]
    deadline: float


class Waiting:
    """Futures by index. A caller that gave up leaves a cancelled future, which is passed over."""

    def __init__(self) -> None:
        self._proposals: dict[int, _Proposal] = {}
        self._readers: list[tuple[int, asyncio.Future[int]]] = []

    def for_entry(self, index: int, term: int, timeout: float) -> asyncio.Future[Any]:
        """The outcome of the entry at `index`, if it is the one of `term`; `timeout` in seconds."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._proposals[index] = _Proposal(term, future, loop.time() + timeout)
        return future

    def applied(self, entry: Entry, result: Any, error: Exception | None) -> None:
        """An entry was applied with a result, or failed with an error."""
        waiting = self._proposals.pop(entry.index, None)
        if waiting is None or waiting.future.done():
            return
        if waiting.term != entry.term:
            waiting.future.set_exception(LeadershipLost())
        elif error is not None:
            waiting.future.set_exception(error)
        else:
            waiting.future.set_result(result)

    def expire(self) -> None:
        """Give up what has waited too long: one look at each tick is cheaper than a timer for each proposal."""
        now = asyncio.get_running_loop().time()
        for waiting in self._proposals.values():
            if waiting.deadline <= now and not waiting.future.done():
                waiting.future.set_exception(ProposalTimeout())

    def fail_proposals(self, error: Exception) -> None:
        """None of the entries' outcomes will be known here."""
        proposals, self._proposals = self._proposals, {}
        fail([waiting.future for waiting in proposals.values()], error)

    def for_index(self, index: int, applied: int, future: asyncio.Future[int]) -> None:
        """Set the future to `index` once that is applied; `applied` is how far it is now."""
        if applied >= index:
            future.set_result(index)
        else:
            self._readers.append((index, future))

    def reached(self, applied: int) -> None:
        """Everything up to `applied` is."""
        if not self._readers:
            return
        later = []
        for index, future in self._readers:
            if index > applied:
                later.append((index, future))
            elif not future.done():
                future.set_result(index)
        self._readers = later

    def fail_all(self, error: Exception) -> None:
        """Nothing will happen here any more."""
        self.fail_proposals(error)
        fail([future for _, future in self._readers], error)
        self._readers = []


class Reads:
    """Reads that need a proof of leadership first: those that nobody asked the core for yet, and those it works on."""

    def __init__(self) -> None:
        self._new: list[asyncio.Future[int]] = []
        self._asked: set[asyncio.Future[int]] = set()

    def add(self) -> asyncio.Future[int]:
        """A new read: the index up to which its answer must have applied."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._new.append(future)
        return future

    def take(self) -> list[asyncio.Future[int]]:
        """The new reads that somebody still waits for."""
        if not self._new:
            return []
        new, self._new = self._new, []
        return [future for future in new if not future.done()]

    def asked(self, futures: Iterable[asyncio.Future[int]]) -> None:
        """The core was asked for these reads."""
        self._asked.update(futures)

    def answered(self, future: asyncio.Future[int]) -> None:
        """The core is done with a read."""
        self._asked.discard(future)

    def fail_asked(self, error: Exception) -> None:
        """The core will not answer what it was asked."""
        asked, self._asked = self._asked, set()
        fail(asked, error)

    def fail_all(self, error: Exception) -> None:
        """Nothing will be answered here any more."""
        new, self._new = self._new, []
        fail(new, error)
        self.fail_asked(error)
