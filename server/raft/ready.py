"""What the core is told (limits) and what it asks for (`Ready`); `server.raft.core` says in which order to do it."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from server.raft.messages import CoreMessage, Entry, HardState, SnapshotMeta


class Role(enum.Enum):
    """What a server is at the moment."""

    FOLLOWER = "Follower"
    PRE_CANDIDATE = "PreCandidate"
    CANDIDATE = "Candidate"
    LEADER = "Leader"


@dataclass(frozen=True)
class Settings:
    """Limits and times of the core; times are in ticks, sizes in bytes; `lease` in seconds, 0 for none."""

    election_ticks: int = 10
    heartbeat_ticks: int = 2
    max_append_bytes: int = 1 << 20
    max_append_entries: int = 4096
    max_inflight: int = 128
    max_inflight_bytes: int = 16 << 20
    max_uncommitted_bytes: int = 64 << 20
    lease: float = 0.0


@dataclass
class Ready:
    """What has to be done now; see `server.raft.core`."""

    hard_state: HardState | None = None
    entries: list[Entry] = field(default_factory=list)
    messages: list[CoreMessage] = field(default_factory=list)
    messages_after: list[CoreMessage] = field(default_factory=list)
    committed: list[Entry] = field(default_factory=list)
    snapshot: SnapshotMeta | None = None
    reads: list[tuple[object, int]] = field(default_factory=list)

    @property
    def must_persist(self) -> bool:
        """Whether the disk has something to write."""
        return self.hard_state is not None or bool(self.entries)

    def __bool__(self) -> bool:
        return bool(
            self.hard_state
            or self.entries
            or self.messages
            or self.messages_after
            or self.committed
            or self.snapshot
            or self.reads
        )
