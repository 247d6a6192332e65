"""Autopilot: asks every server how it is, remembers since when, lets new servers vote and takes dead ones out.

What is decided is in `autopilot_rules`; `Autopilot` remembers what was seen; `tending` acts on it.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from model.errors import RpcError
from model.gotime import GoTime
from model.metrics import METRICS
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
from server.leader.autopilot_rules import Member, Observation, failure_tolerance, is_healthy, parse_stats
from server.raft.node_config import Server

TIMEOUT = 1.5
_LAST_CONTACT = METRICS.sample("raft.leader.lastContact")
_NEVER = 3600 * 10**9
SERF_STATUS = {"none": 0, "alive": 1, "leaving": 2, "left": 3, "failed": 4}


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
        clock: float,
    ) -> None:
        """Take in what all servers said; `stats` lacks those that did not answer.

        `now` is in Unix seconds, `clock` in seconds of a clock that never jumps.
        """
        leader = stats.get(leader_id, AutopilotStats())
        before, self._seen = self._seen, {}
        for server in servers:
            if server.id != leader_id and server.id in stats and stats[server.id].last_contact < _NEVER:
                _LAST_CONTACT.add(stats[server.id].last_contact / 1e6)
            member = members.get(server.id, Member("", "none", ""))
            figures = stats.get(server.id, AutopilotStats())
            healthy = server.id in stats and is_healthy(member, figures, leader, config)
            since, settled, gone = now, clock, None if member.status in ("alive", "leaving") else clock
            old = before.get(server.id)
            if old is not None:
                if old.healthy == healthy:
                    since, settled = old.since, old.settled
                if gone is not None and old.gone is not None:
                    gone = old.gone
            self._seen[server.id] = Observation(server, member, figures, healthy, since, settled, gone)

    @property
    def observations(self) -> list[Observation]:
        """The servers as they were last seen."""
        return list(self._seen.values())

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

    def state(self, leader_id: str, meta_of: Callable[[str], dict[str, str] | None]) -> AutopilotState:
        """The answer of Operator.AutopilotState; `meta_of` knows the meta data of a node by its name."""
        servers = {
            seen.server.id: AutopilotServerState(
                server=AutopilotServer(
                    id=seen.server.id,
                    name=seen.member.name,
                    address=seen.server.address,
                    node_status=seen.member.status,
                    version=seen.member.version,
                    raft_version=3,
                    meta=meta_of(seen.member.name),
                    is_leader=seen.server.id == leader_id,
                    node_type="read-replica" if seen.member.read_replica else "voter",
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
