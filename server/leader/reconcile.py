"""The leader keeps the catalog, and Raft's membership, in step with the gossip pool.

What a member's state means for the catalog is decided in pure functions; `Reconciler` proposes the differences.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable

from gossip.consul import ServerInfo, parse_server
from gossip.core import Member, Status
from model.commands import CommandType
from model.errors import RpcError
from model.structs.catalog import HealthCheck, NodeService, Weights
from model.structs.catalog_rpc import DeregisterRequest, RegisterRequest
from server.endpoints.context import Context, propose
from server.raft.driver import RaftNode
from server.raft.errors import ConfigurationError
from server.raft.node_config import Server
from server.state.store import Store

log = logging.getLogger("lictor.leader")

SERF_CHECK_ID = "serfHealth"
ALIVE_OUTPUT = "Agent alive and reachable"
FAILED_OUTPUT = "Agent not live or unreachable"
ADD_RETRY = 5.0
ADD_ATTEMPTS = 8
ADD_PAUSE = 0.25
ABSENT = 45.0
"""Seconds for which a node is unknown to the gossip pool before the catalog forgets it: a server that has just started
again does not know everybody yet."""


def serf_check(node: str, alive: bool) -> HealthCheck:
    """The check by which the catalog shows whether a member is there."""
    return HealthCheck(
        node=node,
        check_id=SERF_CHECK_ID,
        name="Serf Health Status",
        status="passing" if alive else "critical",
        output=ALIVE_OUTPUT if alive else FAILED_OUTPUT,
        service_tags=None,
    )


def consul_service(member: Member, server: ServerInfo) -> NodeService:
    """The `consul` service of a server."""
    tags = member.tags
    meta = {
        "non_voter": "false" if server.voter else "true",
        "raft_version": str(server.raft_version),
        "read_replica": "false" if server.voter else "true",
        "serf_protocol_current": str(member.versions[2]),
        "serf_protocol_max": str(member.versions[1]),
        "serf_protocol_min": str(member.versions[0]),
        "version": server.build,
    }
    for key in ("grpc_port", "grpc_tls_port"):
        if key in tags:
            meta[key] = tags[key]
    return NodeService(
        id="consul",
        service="consul",
        port=int(server.address.rpartition(":")[2]),
        tags=None,
        meta=meta,
        weights=Weights(passing=1, warning=1),
    )


def wanted_registration(store: Store, member: Member, datacenter: str) -> RegisterRequest | None:
    """What has to be registered for a member that is alive or failed; None when the catalog says it already."""
    alive = member.status is Status.ALIVE
    key = member.name.lower()
    node = store.catalog.nodes.get(key)
    check = store.catalog.check(member.name, SERF_CHECK_ID)
    server = parse_server(member)
    service = consul_service(member, server) if server is not None and alive else None
    held = store.catalog.instances.get((key, "consul")) if service is not None else None
    same_service = service is None or (
        held is not None and (held.service.port, held.service.meta) == (service.port, service.meta)
    )
    same_node = node is not None and node.address == member.address and node.id == member.tags.get("id", "")
    wanted = serf_check(member.name, alive)
    same_check = check is not None and (check.status, check.output) == (wanted.status, wanted.output)
    if same_node and same_check and same_service:
        return None
    if not alive and node is None:
        return None
    return RegisterRequest(
        datacenter=datacenter,
        node=member.name,
        id=member.tags.get("id", ""),
        address=member.address,
        service=service,
        check=wanted,
        # A node that is missing now may register itself, meta data and all, before this is applied: do not undo that.
        skip_node_update=node is None or same_node or not alive,
    )


class Reconciler:
    """Proposes what is missing. Runs on the leader only."""

    def __init__(self, context: Context, raft: RaftNode, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._absent: dict[str, float] = {}
        """The nodes of the catalog that gossip does not know, and since when that is so."""
        self._context = context
        self._raft = raft
        self._tried: dict[str, float] = {}

    async def member(self, member: Member) -> None:
        """Bring the catalog and Raft in step with one member. Raises RaftError, RpcError."""
        if member.status in (Status.ALIVE, Status.FAILED):
            if member.status is Status.ALIVE:
                await self._join(member)
            request = wanted_registration(self._context.fsm.store, member, self._context.datacenter)
            if request is not None:
                log.info("member %s: %s", "joined" if member.status is Status.ALIVE else "failed", member.name)
                await propose(self._context, CommandType.REGISTER, request)
        elif member.status is Status.LEFT:
            await self._gone(member)

    async def gone(self, member: Member) -> None:
        """A member left or was reaped."""
        await self._gone(member)

    async def _join(self, member: Member) -> None:
        server = parse_server(member)
        if server is None or not server.id:
            return
        known = {one.id: one for one in self._raft.servers}
        here = known.get(server.id)
        # A newcomer listens first; autopilot lets it vote once it has been well for a while.
        votes = here is not None and here.voter and server.voter
        if here is not None and here.address == server.address and here.voter == votes:
            return
        now = time.monotonic()
        if now - self._tried.get(server.id, -ADD_RETRY) < ADD_RETRY:
            return
        self._tried[server.id] = now
        for other in known.values():
            if other.address == server.address and other.id != server.id:
                log.info("removing server with duplicate address from Raft: %s", other.id)
                await self._raft.remove_server(other.id)
        try:
            log.info("adding server to Raft: id=%s address=%s", server.id, server.address)
            await self._add(Server(server.id, server.address, votes))
        except ConfigurationError as error:
            log.info("server %s cannot be added to Raft yet: %s", server.name, error)

    async def _add(self, server: Server) -> None:
        """Add a server; waits a moment for another change of the members to be over. Raises ConfigurationError, …"""
        for _ in range(ADD_ATTEMPTS):
            with contextlib.suppress(ConfigurationError):
                await self._raft.add_server(server, timeout=10.0)
                return
            await asyncio.sleep(ADD_PAUSE)
        await self._raft.add_server(server, timeout=10.0)

    async def _gone(self, member: Member) -> None:
        store = self._context.fsm.store
        if member.name == self._context.node_name:
            return  # A leader that leaves is removed by the next one.
        server = parse_server(member)
        if server is not None and server.id in {one.id for one in self._raft.servers}:
            try:
                log.info("removing server from Raft: id=%s", server.id)
                await self._raft.remove_server(server.id, timeout=10.0)
            except ConfigurationError as error:
                log.warning("server %s cannot be removed from Raft: %s", server.name, error)
        if store.catalog.nodes.get(member.name.lower()) is not None:
            log.info("deregistering member: member=%s reason=left", member.name)
            request = DeregisterRequest(datacenter=self._context.datacenter, node=member.name)
            await propose(self._context, CommandType.DEREGISTER, request)

    async def all(self, members: list[Member]) -> None:
        """Bring everything in step; nodes whose members are forgotten go, too.

        A member that the catalog refuses (another node has its name, say) does not keep the others waiting.
        """
        for member in members:
            try:
                await self.member(member)
            except RpcError as error:
                log.warning("failed to reconcile member %s: %s", member.name, error)
        known = {member.name.lower() for member in members}
        nodes = (check.node for check in self._context.fsm.store.catalog.checks if check.check_id == SERF_CHECK_ID)
        now = self._clock()
        self._absent = {node: self._absent.get(node, now) for node in nodes if node.lower() not in known}
        for node, since in self._absent.items():
            if now - since >= ABSENT:
                log.info("deregistering member: member=%s reason=unknown", node)
                request = DeregisterRequest(datacenter=self._context.datacenter, node=node)
                await propose(self._context, CommandType.DEREGISTER, request)
