"""What autopilot decides, as pure functions: who is healthy, who may vote, who is taken out, what the cluster can lose.

All times but `Observation.since` are seconds of a clock that never jumps.
"""

from collections.abc import Iterable
from typing import NamedTuple

from model.durations import SECOND, DurationError, parse_duration
from model.structs.operator import AutopilotConfig, AutopilotStats, RaftStats
from server.raft.node_config import Server

NEVER = 3600 * SECOND
"""Stands for a contact that never was."""
ABSENT_GRACE = 300.0
"""Seconds for which a server may be unknown to the gossip pool before it counts as dead: after the whole cluster was
down, the first servers elect a leader while others still start."""


PATIENCE = 3
"""A failed server is taken out after so many stabilization times. One that restarts, or was cut off for a moment, keeps
its vote: as a newcomer it would have to wait for it, and another failure meanwhile could cost the quorum."""


class Member(NamedTuple):
    """What the gossip pool says of a server; `status` is "none" when it does not know it."""

    name: str
    status: str
    version: str
    read_replica: bool = False


class Observation(NamedTuple):
    """One server as it was last seen.

    `since` says when (Unix seconds) it became healthy, or ceased to be; `settled` says the same on the steady clock;
    `gone` is when it was first seen not to be alive, None while it is.
    """

    server: Server
    member: Member
    stats: AutopilotStats
    healthy: bool
    since: float
    settled: float
    gone: float | None


def is_healthy(member: Member, stats: AutopilotStats, leader: AutopilotStats, config: AutopilotConfig) -> bool:
    """Whether a server is there, has heard of the leader lately and is not far behind in the same term."""
    return (
        member.status == "alive"
        and stats.last_contact <= config.last_contact_threshold
        and stats.last_term == leader.last_term
        and stats.last_index + config.max_trailing_logs >= leader.last_index
    )


def failure_tolerance(observations: Iterable[Observation]) -> int:
    """How many healthy voters may fail before the cluster loses its quorum."""
    voters = [seen for seen in observations if seen.server.voter]
    healthy = sum(seen.healthy for seen in voters)
    return max(0, healthy - quorum(len(voters)))


def quorum(voters: int) -> int:
    """How many of so many voters must agree."""
    return voters // 2 + 1


def parse_stats(stats: RaftStats) -> AutopilotStats:
    """A server's own figures; a contact of "never" counts as very long ago."""
    try:
        contact = NEVER if stats.last_contact == "never" else parse_duration(stats.last_contact)
    except DurationError:
        contact = NEVER
    return AutopilotStats(last_contact=contact, last_index=stats.last_index, last_term=stats.last_term)


def is_dead(seen: Observation, config: AutopilotConfig, now: float) -> bool:
    """Whether a server has left, or has failed or been unknown to the pool for long enough."""
    if seen.gone is None:
        return False
    if seen.member.status == "failed":
        return now - seen.gone >= PATIENCE * config.server_stabilization_time / SECOND
    return seen.member.status == "left" or now - seen.gone >= ABSENT_GRACE


def to_promote(observations: Iterable[Observation], config: AutopilotConfig, now: float) -> list[Server]:
    """The servers that only listen so far and shall vote: healthy without a break for the stabilization time."""
    needed = config.server_stabilization_time / SECOND
    return [
        seen.server
        for seen in observations
        if not seen.server.voter and not seen.member.read_replica and seen.healthy and now - seen.settled >= needed
    ]


def to_remove(
    observations: Iterable[Observation], config: AutopilotConfig, leader_id: str, now: float
) -> list[Observation]:
    """The dead servers that may be taken out, those first that have been gone for longest.

    A quorum of the voters that there were always stays, and so do `min_quorum` of them; while the living are no quorum,
    nothing can be agreed on, and no voter goes.
    """
    if not config.cleanup_dead_servers:
        return []
    rows = list(observations)
    dead = [seen for seen in rows if seen.server.id != leader_id and is_dead(seen, config, now)]
    voters = sum(seen.server.voter for seen in rows)
    living = voters - sum(seen.server.voter for seen in dead)
    spare = voters - max(quorum(voters), config.min_quorum) if living >= quorum(voters) else 0
    chosen = []
    for seen in sorted(dead, key=lambda one: (one.gone or 0.0, one.server.id)):
        if seen.server.voter:
            if spare <= 0:
                continue
            spare -= 1
        chosen.append(seen)
    return chosen
