"""How far one follower is, as its leader sees it, and how much may be sent to it now.

A follower is *probed* until the leader knows where the logs meet (one message under way at a time), then
*replicated* to (messages are pipelined; `next` runs ahead of the answers within a window), or receives a *snapshot*
(nothing else is sent).
"""

from __future__ import annotations

import enum
from collections import deque

STALLED = 4
"""Echoes without an acknowledgement after which a stream begins anew; a slow disk costs one message sent twice."""


class ProgressState(enum.Enum):
    """See the module's text."""

    PROBE = "StateProbe"
    REPLICATE = "StateReplicate"
    SNAPSHOT = "StateSnapshot"


class Progress:
    """The leader's view of one peer.

    Attributes:
        match: the highest index known to be durable there.
        next: the index of the next entry to send.
        active: it was heard of since the leader last checked its quorum.
        waiting: a probe is under way; nothing is sent until an answer or a heartbeat's echo.
        stalled: how many heartbeats were echoed since something that was sent was last acknowledged.
        sent_commit: the commit index that it was last told.
        acked_round: the latest heartbeat that it echoed.
    """

    __slots__ = (
        "_inflight",
        "acked_round",
        "active",
        "inflight_bytes",
        "is_learner",
        "match",
        "next",
        "pending_snapshot",
        "sent_commit",
        "stalled",
        "state",
        "waiting",
    )

    def __init__(self, next_index: int, match: int = 0, is_learner: bool = False) -> None:
        self.match = match
        self.next = next_index
        self.state = ProgressState.PROBE
        self.is_learner = is_learner
        self.active = False
        self.waiting = False
        self.stalled = 0
        self.pending_snapshot = 0
        self.sent_commit = 0
        self.acked_round = 0
        self.inflight_bytes = 0
        self._inflight: deque[tuple[int, int]] = deque()

    @property
    def inflight_count(self) -> int:
        """Messages with entries that are sent and not yet answered."""
        return len(self._inflight)

    def _enter(self, state: ProgressState) -> None:
        self.state = state
        self.waiting = False
        self.stalled = 0
        self.pending_snapshot = 0
        self._inflight.clear()
        self.inflight_bytes = 0

    def become_probe(self) -> None:
        """Find out again where the logs meet; a snapshot that was sent counts as received."""
        arrived = self.pending_snapshot if self.state is ProgressState.SNAPSHOT else 0
        self._enter(ProgressState.PROBE)
        self.next = max(self.match, arrived) + 1

    def become_replicate(self) -> None:
        """The logs meet at `match`; stream from there."""
        self._enter(ProgressState.REPLICATE)
        self.next = self.match + 1

    def become_snapshot(self, index: int) -> None:
        """Send nothing until the snapshot at `index` has arrived or failed."""
        self._enter(ProgressState.SNAPSHOT)
        self.pending_snapshot = index

    def snapshot_failed(self) -> None:
        """The snapshot did not arrive: probe again from what is known."""
        self.pending_snapshot = 0
        self.become_probe()

    def sent_entries(self, last_index: int, size: int) -> None:
        """Entries up to `last_index`, `size` bytes of them, were handed to the network."""
        if self.state is ProgressState.REPLICATE:
            self.next = last_index + 1
            self._inflight.append((last_index, size))
            self.inflight_bytes += size

    def window_full(self, max_messages: int, max_bytes: int) -> bool:
        """Whether no more entries may be sent before an answer arrives."""
        return len(self._inflight) >= max_messages or self.inflight_bytes >= max_bytes

    def acknowledge(self, index: int) -> bool:
        """The peer has everything up to `index`. Returns whether that is news."""
        while self._inflight and self._inflight[0][0] <= index:
            self.inflight_bytes -= self._inflight.popleft()[1]
        self.next = max(self.next, index + 1)
        if index <= self.match:
            return False
        self.match = index
        self.waiting = False
        self.stalled = 0
        return True

    def echoed(self, behind: bool) -> None:
        """A heartbeat came back while the peer is `behind`: what was sent and not acknowledged may be lost."""
        self.waiting = False
        if self.state is not ProgressState.REPLICATE or not behind:
            self.stalled = 0
            return
        self.stalled += 1
        if not self._inflight or self.stalled >= STALLED:
            self.become_probe()

    def reject(self, rejected: int, retry_from: int) -> bool:
        """The peer's log does not fit at `rejected`; `retry_from` is the last index that may fit.

        Returns False for an answer that is out of date.
        """
        if self.state is ProgressState.REPLICATE:
            if rejected <= self.match:
                return False
            self.become_probe()
            return True
        if self.state is ProgressState.SNAPSHOT or self.next - 1 != rejected:
            return False
        self.next = max(min(rejected, retry_from + 1), self.match + 1)
        self.waiting = False
        return True

    def __str__(self) -> str:
        text = f"{self.state.value} match={self.match} next={self.next}"
        return text + " learner" if self.is_learner else text
