"""Autopilot's view of the servers: who is healthy and since when, and how many the cluster can lose.

What a server's figures mean is decided in pure functions; `Autopilot` asks every server for its figures from time to
time while this server leads.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

from model.durations import SECOND, DurationError, parse_duration
from model.errors import RpcError
from model.gotime import GoTime
from model.structs.base import Empty
from model.structs.operator import (
    DEFAULT_AUTOPILOT,
    AutopilotConfig,
    AutopilotHealth,
    AutopilotHealthReply,
    AutopilotServer,
    AutopilotServerHealth,
    AutopilotServerState,
    AutopilotState,
    AutopilotStats,
    RaftStats,
)
from server.raft.driver import Server

PERIOD = 2.0
TIMEOUT = 1.5
SERF_STATUS = {"none": 0, "alive": 1, "leaving": 2, "left": 3, "failed": 4}


class Member(NamedTuple):
    """What the gossip pool says of a server."""

    name: str
    status: str
    version: str
    meta: Mapping[str, str] | None = None


class Observation(NamedTuple):
    """One server as it was last seen; `since` when (Unix seconds) it has been healthy, or not."""

    server: Server
    member: Member
    stats: AutopilotStats
    healthy: bool
    since: float


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
    return max(0, healthy - (len(voters) // 2 + 1))


def parse_stats(stats: RaftStats) -> AutopilotStats:
    """A server's own figures; a contact of "never" counts as very long ago."""
    if stats.last_contact == "never":
        contact = 3600 * SECOND
    else:
        try:
            contact = parse_duration(stats.last_contact)
        except DurationError:
            contact = 3600 * SECOND
    return AutopilotStats(last_contact=contact, last_index=stats.last_index, last_term=stats.last_term)


class Asker(Protocol):
    """How `Autopilot` reaches the servers."""

    async def forward(self, method: str, args: Empty, address: str) -> RaftStats:
        """Make a call on the server at an address."""


class Autopilot:
    """What is known of the servers; filled by `observe` while this server leads."""

    def __init__(self, initial: AutopilotConfig = DEFAULT_AUTOPILOT) -> None:
        self.initial = initial
        """The settings of a cluster that has none yet."""
        self._seen: dict[str, Observation] = {}

    def clear(self) -> None:
        """Forget everything: somebody else leads now."""
        self._seen.clear()

    def observe(
        self,
        servers: Iterable[Server],
        members: Mapping[str, Member],
        stats: Mapping[str, AutopilotStats],
        leader_id: str,
        config: AutopilotConfig,
        now: float,
    ) -> None:
        """Take in what all servers said; `stats` lacks those that did not answer. `now` is in Unix seconds."""
        leader = stats.get(leader_id, AutopilotStats())
        before, self._seen = self._seen, {}
        for server in servers:
            member = members.get(server.id, Member("", "none", ""))
            figures = stats.get(server.id, AutopilotStats())
            healthy = server.id in stats and is_healthy(member, figures, leader, config)
            old = before.get(server.id)
            since = old.since if old is not None and old.healthy == healthy else now
            self._seen[server.id] = Observation(server, member, figures, healthy, since)

    def health(self, leader_id: str) -> AutopilotHealthReply:
        """The answer of Operator.ServerHealth."""
        rows = [
            AutopilotServerHealth(
                id=seen.server.id,
                name=seen.member.name,
                address=seen.server.address,
                serf_status=SERF_STATUS.get(seen.member.status, 0),
                version=seen.member.version,
                leader=seen.server.id == leader_id,
                last_contact=seen.stats.last_contact,
                last_term=seen.stats.last_term,
                last_index=seen.stats.last_index,
                healthy=seen.healthy,
                voter=seen.server.voter,
                stable_since=GoTime.from_unix(int(seen.since)),
            )
            for seen in self._seen.values()
        ]
        return AutopilotHealthReply(
            healthy=bool(rows) and all(row.healthy for row in rows),
            failure_tolerance=failure_tolerance(self._seen.values()),
            servers=rows,
        )

    def state(self, leader_id: str) -> AutopilotState:
        """The answer of Operator.AutopilotState."""
        servers = {
            seen.server.id: AutopilotServerState(
                server=AutopilotServer(
                    id=seen.server.id,
                    name=seen.member.name,
                    address=seen.server.address,
                    node_status=seen.member.status,
                    version=seen.member.version,
                    raft_version=3,
                    meta=dict(seen.member.meta) if seen.member.meta is not None else None,
                    is_leader=seen.server.id == leader_id,
                    node_type="voter",
                ),
                state=_role(seen, leader_id),
                stats=seen.stats,
                health=AutopilotHealth(healthy=seen.healthy, stable_since=GoTime.from_unix(seen.since)),
            )
            for seen in self._seen.values()
        }
        return AutopilotState(
            healthy=bool(servers) and all(seen.healthy for seen in self._seen.values()),
            failure_tolerance=failure_tolerance(self._seen.values()),
            leader=leader_id,
            voters=[seen.server.id for seen in self._seen.values() if seen.server.voter],
            servers=servers,
        )


def _role(seen: Observation, leader_id: str) -> str:
    if seen.server.id == leader_id:
        return "leader"
    return "voter" if seen.server.voter else "non-voter"


async def ask_all(asker: Asker, servers: Iterable[Server], own: str, own_stats: RaftStats) -> dict[str, AutopilotStats]:
    """The figures of every server that answers in time; this server's own (`own` is its ID) are handed in."""

    async def ask(server: Server) -> tuple[str, AutopilotStats] | None:
        if server.id == own:
            return own, parse_stats(own_stats)
        try:
            async with asyncio.timeout(TIMEOUT):
                return server.id, parse_stats(await asker.forward("Status.RaftStats", Empty(), server.address))
        except (RpcError, OSError, TimeoutError):
            return None

    answers = await asyncio.gather(*(ask(server) for server in servers))
    return dict(answer for answer in answers if answer is not None)
