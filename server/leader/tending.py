"""The leader's care for its fellow servers: every few seconds it asks how they are, and acts on what autopilot decides.

A task of its own, because a dead server makes it wait, and sessions must not.
"""

import asyncio
import logging

from model.errors import RpcError
from model.structs.operator import AutopilotConfig
from server.endpoints import status
from server.endpoints.context import Context
from server.leader import autopilot
from server.leader.autopilot_rules import Member, to_promote, to_remove
from server.raft.driver import Server
from server.raft.errors import RaftError

log = logging.getLogger("lictor.leader")

PERIOD = 2.0
CHANGE_TIMEOUT = 10.0


class Tending:
    """Looks after the servers during one leadership."""

    def __init__(self, context: Context) -> None:
        self._context = context

    @property
    def _config(self) -> AutopilotConfig:
        return self._context.fsm.store.autopilot.config or self._context.autopilot.initial

    async def run(self) -> None:
        """Look and act until cancelled. Run it as a task while this server leads."""
        self._context.autopilot.clear()
        while True:
            try:
                await self.look()
                await self.act()
            except (RaftError, RpcError) as error:
                log.warning("autopilot was held up: %s", error)
            await asyncio.sleep(PERIOD)

    async def look(self) -> None:
        """Ask every server how it is."""
        context = self._context
        leader = context.raft.leader
        if leader is None:
            return
        catalog = context.fsm.store.catalog
        members = {}
        for row in context.server_members():
            node = catalog.nodes.get(row.name.lower())
            meta = node.meta if node else row.meta
            members[row.id] = Member(row.name, row.status, row.version, meta, row.read_replica)
        stats = await autopilot.ask_all(context, context.raft.servers, leader.id, status.own_stats(context))
        now, clock = context.now_nanoseconds() / 1e9, asyncio.get_running_loop().time()
        context.autopilot.observe(context.raft.servers, members, stats, leader.id, self._config, now, clock)

    async def act(self) -> None:
        """Let servers vote that have proven steady, then take dead ones out. Raises RaftError, RpcError."""
        context, raft, config = self._context, self._context.raft, self._config
        if not raft.is_leader or raft.leader is None:
            return
        clock = asyncio.get_running_loop().time()
        seen = context.autopilot.observations
        for server in to_promote(seen, config, clock):
            if server in raft.servers:  # It may have gone since it was looked at.
                log.info("promoting server to voter: id=%s address=%s", server.id, server.address)
                await raft.add_server(Server(server.id, server.address), timeout=CHANGE_TIMEOUT)
        for dead in to_remove(seen, config, raft.leader.id, clock):
            back = {member.id for member in context.server_members() if member.status == "alive"}
            if dead.server.id in back or dead.server not in raft.servers:
                continue
            log.info("removing dead server from Raft: id=%s name=%s", dead.server.id, dead.member.name)
            await raft.remove_server(dead.server.id, timeout=CHANGE_TIMEOUT)
            if dead.member.name:
                context.force_leave(dead.member.name)
