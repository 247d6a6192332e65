"""When sessions expire: twice their TTL after the last renewal. The decision is pure; the leader's loop drives it.

A new leader gives every session its full time again, because it does not know when the last renewal was.
"""

import heapq
from collections.abc import Callable, Iterable

from model.durations import SECOND, DurationError, parse_duration
from model.structs.session import Session

MAX_TTL = 24 * 3600 * SECOND
_GRACE = 2


def ttl_seconds(session: Session) -> float:
    """The TTL in seconds; 0 for a session that never expires."""
    try:
        return parse_duration(session.ttl) / SECOND if session.ttl else 0.0
    except DurationError:
        return 0.0


class SessionTimers:
    """Deadlines of sessions by ID. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._deadlines: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []

    def __len__(self) -> int:
        return len(self._deadlines)

    def reset(self, sessions: Iterable[Session]) -> None:
        """Forget all deadlines and give these sessions their full time."""
        self._deadlines.clear()
        self._heap.clear()
        for session in sessions:
            self.renew(session)

    def renew(self, session: Session) -> None:
        """Begin a session's time anew."""
        ttl = ttl_seconds(session)
        if ttl > 0:
            deadline = self._clock() + ttl * _GRACE
            self._deadlines[session.id] = deadline
            heapq.heappush(self._heap, (deadline, session.id))

    def retry(self, session: Session) -> None:
        """Ending the session failed: it is over again at once."""
        if ttl_seconds(session) > 0:
            deadline = self._clock()
            self._deadlines[session.id] = deadline
            heapq.heappush(self._heap, (deadline, session.id))

    def forget(self, session_id: str) -> None:
        """The session is gone."""
        self._deadlines.pop(session_id, None)

    def expired(self) -> list[str]:
        """The sessions whose time is over; each is named once."""
        now = self._clock()
        over = []
        while self._heap and self._heap[0][0] <= now:
            deadline, session_id = heapq.heappop(self._heap)
            if self._deadlines.get(session_id) == deadline:
                del self._deadlines[session_id]
                over.append(session_id)
        return over
