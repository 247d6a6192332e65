"""Blocking reads that wait: what is kept of each, and until when it waits.

Tens of thousands may wait at once, so one is a few words of memory and has no task and no timer of its own.
"""

import heapq
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from agent.http.kept import Question

GRAIN = 0.025
"""Seconds: no deadline is kept more exactly than that, and none is early."""


class Connection(Protocol):
    """The connection that a request came from; `agent.http.front.Front` is the real one."""

    task: Any
    """What is being done for the connection, with a method `cancel`; None when nothing is."""

    def deliver(self, opening: bytes, rest: bytes) -> None:
        """Send an answer in two pieces."""

    def go_on(self) -> None:
        """The answer is given: look at what the client has sent meanwhile."""


class Waiter:
    """One blocking read that waits.

    `index`: it wants a later one; `store`: the state that it was asked of; `began`: when, in seconds of any clock.
    """

    __slots__ = ("began", "connection", "expired", "index", "keeper", "question", "store", "tick")

    def __init__(
        self, keeper: "Keeper", connection: Connection, question: "Question", index: int, store: Any, began: float = 0.0
    ) -> None:
        self.began = began
        self.keeper = keeper
        self.connection: Connection | None = connection
        self.question = question
        self.index = index
        self.store = store
        self.tick = 0
        self.expired = False

    def cancel(self) -> None:
        """The client is gone."""
        if self.connection is not None:
            self.connection = None
            self.keeper.forget(self)


class Keeper(Protocol):
    """Whoever holds waiters."""

    def forget(self, waiter: Waiter) -> None:
        """A waiter waits no more."""


class Deadlines:
    """Waiters by the end of their time, in steps of `GRAIN`. Times are seconds of the caller's clock."""

    def __init__(self) -> None:
        self._at: dict[int, dict[Waiter, None]] = {}
        self._ticks: list[int] = []

    def add(self, waiter: Waiter, deadline: float) -> None:
        """Note a waiter."""
        tick = waiter.tick = int(deadline / GRAIN) + 1
        waiters = self._at.get(tick)
        if waiters is None:
            waiters = self._at[tick] = {}
            heapq.heappush(self._ticks, tick)
        waiters[waiter] = None

    def discard(self, waiter: Waiter) -> None:
        """Forget a waiter."""
        waiters = self._at.get(waiter.tick)
        if waiters is not None:
            waiters.pop(waiter, None)  # The empty slot stays until its time, so that it is made only once.

    def next(self) -> float | None:
        """When the next ones may be due; None when there are none."""
        return self._ticks[0] * GRAIN if self._ticks else None

    def due(self, now: float) -> list[Waiter]:
        """Those whose time has come; they are forgotten."""
        found: list[Waiter] = []
        while self._ticks and self._ticks[0] * GRAIN <= now:
            found.extend(self._at.pop(heapq.heappop(self._ticks)))
        return found
