"""What a server's part in Raft is told, and what it needs of others: times, fellow members, the state machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol


class StateMachine(Protocol):
    """What the log is for. Every server applies the same commands in the same order."""

    def apply(self, index: int, term: int, command: bytes) -> Any:
        """Carry out a command; what it returns or raises becomes the proposal's result."""

    def prepare(self, command: bytes) -> None:
        """Do the slow part of a command that came in pieces, in a thread, right before `apply`; changes no state."""

    def snapshot(self) -> Callable[[BinaryIO], None]:
        """Capture the state now, cheaply; the function that is returned writes it, in a thread."""

    def decode(self, source: BinaryIO) -> Any:
        """Read a snapshot, in a thread, changing no state; what it returns goes to `use`. Raises when it is bad."""

    def use(self, decoded: Any) -> None:
        """Replace the state."""


@dataclass(frozen=True)
class Server:
    """A member: its ID, `ip:port`, and whether it votes."""

    id: str
    address: str
    voter: bool = True


@dataclass(frozen=True)
class RaftConfig:
    """Times in seconds, sizes in bytes.

    A snapshot is taken after `snapshot_threshold` entries, but not within `snapshot_interval` of the one before, unless
    the log has grown by `snapshot_bytes`: what one costs depends on the state, not on what has changed.

    A leader sends heartbeats every `heartbeat`; a follower waits for `election` to twice that before it stands. With
    `lease_reads` a leader answers linearizable reads without asking for up to `lease` after a heartbeat that was
    echoed: right where clocks run at the same speed within a fifth and a paused machine's clock goes on.
    """

    heartbeat: float = 0.1
    election: float = 0.5
    snapshot_threshold: int = 16384
    snapshot_bytes: int = 64 << 20
    snapshot_interval: float = 30.0
    trailing_logs: int = 10240
    lease_reads: bool = False

    @property
    def election_ticks(self) -> int:
        """Ticks, two for each heartbeat, after which a follower may stand."""
        return 2 * max(2, round(self.election / self.heartbeat))

    @property
    def lease(self) -> float:
        """Seconds for which a majority's echo vouches; 0 without leases."""
        return 0.8 * (self.election_ticks - 1) * self.heartbeat / 2 if self.lease_reads else 0.0


def clock() -> float:
    """Seconds on a clock that goes on while the machine sleeps and is never set."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
