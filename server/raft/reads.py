"""A leader's linearizable reads: which wait for which heartbeat to be echoed, and until when none needs to.

A read may be answered from the state at the commit index of the moment it was asked, once a majority has echoed a
heartbeat that was sent after that moment: nobody else can have led before. With a lease, a majority's echo of a
heartbeat also vouches for the time that follows its sending. The core says when a lease may be used at all.

Source: Ongaro's dissertation, 6.4.
"""

from __future__ import annotations

from collections import deque


class PendingReads:
    """What one leader has been asked in its term. Times are in seconds on the caller's clock."""

    def __init__(self) -> None:
        self.round = 0
        """The latest heartbeat's number; it only ever grows, over all terms."""
        self._sent: deque[tuple[int, float]] = deque()
        self._waiting: deque[tuple[object, int, int]] = deque()
        self._early: list[object] = []
        self._vouched_from = float("-inf")

    def begin_term(self) -> None:
        """Leadership begins or ends: no read of before counts, no echo of before vouches for anything."""
        self._sent.clear()
        self._waiting.clear()
        self._early.clear()
        self._vouched_from = float("-inf")

    def heartbeat(self, now: float) -> int:
        """A heartbeat goes out; returns its number."""
        self.round += 1
        self._sent.append((self.round, now))
        return self.round

    def lease_holds(self, now: float, seconds: float) -> bool:
        """Whether a majority echoed a heartbeat that was sent less than `seconds` ago."""
        return now < self._vouched_from + seconds

    def put_early(self, context: object) -> None:
        """A read that came before the leader knew how far the log is committed."""
        self._early.append(context)

    def take_early(self) -> list[object]:
        """The reads of `put_early`, once."""
        contexts, self._early = self._early, []
        return contexts

    def wait(self, context: object, index: int) -> None:
        """A read of the state at `index` waits for the latest heartbeat."""
        self._waiting.append((context, index, self.round))

    def echoed(self, confirmed: int) -> list[tuple[object, int]]:
        """A majority has echoed heartbeat `confirmed`; returns the reads that waited for it or an earlier one."""
        while self._sent and self._sent[0][0] <= confirmed:
            self._vouched_from = self._sent.popleft()[1]
        done = []
        while self._waiting and self._waiting[0][2] <= confirmed:
            context, index, _ = self._waiting.popleft()
            done.append((context, index))
        return done

    @property
    def idle(self) -> bool:
        """Whether no heartbeat waits for an echo (and so no read does)."""
        return not self._sent
