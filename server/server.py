"""`Server`: consensus, state, RPC and gossip put together. It answers calls itself or asks the leader."""

import asyncio
import logging
import random
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import IO, Any

from gossip.consul import ServerInfo, admission, parse_server, server_tags
from gossip.core import LAN, LOCAL, WAN, Member, MemberEvent, Status
from gossip.driver import Event, Gossip
from gossip.options import PoolOptions
from model.codec import Wire
from model.commands import CommandType, command
from model.errors import NO_LEADER, NO_PATH_TO_DATACENTER, RpcError
from model.metrics import METRICS
from model.structs.coordinate import Coordinate
from model.structs.operator import SnapshotRequest, SnapshotResponse
from rpc import snapshot_stream
from rpc.dialing import Dialer
from rpc.listener import Listener
from rpc.pool import Pool
from server.acl.login.verifying import Verifier
from server.acl.remote import RemoteTokens
from server.acl.resolver import MANAGEMENT_SECRET, Resolver
from server.endpoints import snapshot
from server.endpoints.context import ServerMember, SignOffer
from server.endpoints.dispatch import dispatch
from server.fsm import Fsm
from server.leader.autopilot import Autopilot
from server.leader.ca import CertificateAuthority
from server.leader.loop import LeaderLoop
from server.leader.session_ttl import SessionTimers
from server.pools import Pools
from server.raft import recovery
from server.raft.driver import RaftNode
from server.raft.errors import CannotBootstrap, ConfigurationError, RaftError
from server.raft.log import MemoryStorage, Storage, WriteAheadLog
from server.raft.node_config import Server as RaftServer
from server.raft.snapshot import DiskSnapshots, MemorySnapshots, Snapshots
from server.raft.transport import Transport
from server.server_config import ServerConfig, SnapshotTiming, raft_timing
from server.wide import WideConfig, WidePool

log = logging.getLogger("lictor.server")

_CALLS = METRICS.counter("client.rpc")


SETTLING = 5.0
"""Seconds for which registrations are held back at most while a new leader takes up its duties."""


class Server(Pools):
    """A server. The face that it shares with `agent.client.Client`: call, members, join, leave, stop, stats."""

    is_server = True

    def __init__(self, config: ServerConfig) -> None:
        self.config = config
        self.datacenter = config.datacenter
        self.domain = config.domain
        self.node_name = config.node_name
        self.limits = config.limits
        self.connect_enabled = config.connect_enabled
        self.fsm = Fsm()
        self.acl = Resolver(config.acl, config.datacenter, lambda: self.fsm.store, self.now_nanoseconds)
        self.credentials = Verifier()
        if self.acl.is_secondary:
            primary = config.acl.primary_datacenter
            self.acl.elsewhere = RemoteTokens(
                config.acl, config.datacenter, primary, lambda args: self.call("ACL.TokenRead", args)
            )
        self.session_timers = SessionTimers(time.monotonic)
        self.autopilot = Autopilot(config.autopilot)
        self.coordinate_updates: dict[tuple[str, str], Coordinate] = {}
        self.ca = CertificateAuthority(config.datacenter, lambda: self.fsm.store, self._apply, self.uuid)
        self.ca.initial_config = config.ca_config
        self.auto_encrypt: SignOffer | None = None
        self.dialer = Dialer(
            config.bind if config.bind.startswith("127.") else "", config.security, self.other_datacenter
        )
        self.pool = Pool(self.dialer)
        self.listener = Listener(self._remote_call, self._raft_connection, self.snapshot, config.security)
        self.rpc_port = config.rpc_port
        self._gossip: Gossip | None = None
        self.wide: WidePool | None = None
        self._raft: RaftNode | None = None
        self._transport: Transport | None = None
        self._leader_loop: LeaderLoop | None = None
        self._warned: set[str] = set()
        self._stopped = False
        self._serving = asyncio.Event()
        self._background: set[asyncio.Task[None]] = set()
        self._log: WriteAheadLog | None = None

    # Life

    async def start(self) -> None:
        """Open the ports, read the disk, begin to take part.

        Raises:
            OSError: a port is in use. CorruptLog: the disk's state is damaged.
        """
        config = self.config
        self.rpc_port = await self.listener.start(config.bind, config.rpc_port)
        try:
            await self._start_raft()
            self._serving.set()
            await self._start_pools()
        except BaseException:
            await self.stop()
            raise
        if config.bootstrap:
            await self._bootstrap([RaftServer(config.node_id, self._rpc_address())])
        self._consider_bootstrap()

    def _rpc_address(self) -> str:
        host = self.config.advertise
        return f"[{host}]:{self.rpc_port}" if ":" in host else f"{host}:{self.rpc_port}"

    async def _start_raft(self) -> None:
        config = self.config
        storage: Storage
        snapshots: Snapshots
        if config.data_dir is None:
            storage, snapshots = MemoryStorage(), MemorySnapshots()
        else:
            recovery.claim(config.data_dir / "raft", config.node_id)
            storage = self._log = WriteAheadLog(config.data_dir / "raft" / "log")
            snapshots = DiskSnapshots(config.data_dir / "raft" / "snapshots")
        self._transport = Transport(config.node_id, self._address_of, dialer=self.dialer)
        self._raft = RaftNode(
            node_id=config.node_id,
            address=self._rpc_address(),
            storage=storage,
            snapshots=snapshots,
            transport=self._transport,
            fsm=self.fsm,
            config=raft_timing(config.raft_multiplier, config.fast, config.lease_reads),
            random=random.randrange,
        )
        self.take_snapshots(config.snapshots)
        self._leader_loop = LeaderLoop(self, self._raft, self.members)
        self._raft.on_leadership(self._leader_loop.leadership)
        self._raft.on_leader_change(self._leader_changed)
        await self._recover_or_start(self._raft)
        in_configuration = self._transport.knows
        self._transport.knows = lambda peer: in_configuration(peer) or self._in_pool(peer)

    async def _recover_or_start(self, raft: RaftNode) -> None:
        """Start Raft, with the members of `peers.json` when an operator has put one there; it is used up by that."""
        path = self.config.data_dir / "raft" / "peers.json" if self.config.data_dir is not None else None
        wanted = recovery.read_peers(path) if path is not None else None
        if wanted is not None and self.config.node_id not in wanted.members():
            raise ConfigurationError(f"{path}: this server ({self.config.node_id}) is not among the servers listed")
        await raft.start(wanted)
        if path is not None and wanted is not None:
            path.rename(path.with_name("peers.json.used"))

    def _in_pool(self, server_id: str) -> bool:
        """Whether the pool has this server of our datacenter.

        Raft listens to such a server although the present configuration lacks it: what crossed it out may never be
        committed, or it may have been taken in again, and then nobody but that server may be left to say so.
        """
        return any(info.id == server_id for info in self.servers())

    def _address_of(self, server_id: str) -> str:
        """Where a server is: the gossip pool knows best, the configuration remembers."""
        for info in self.servers():
            if info.id == server_id and info.status is Status.ALIVE:
                return info.address
        return self.raft.core.configuration.addresses.get(server_id, "")

    def _tags(self, wan_port: int) -> dict[str, str]:
        config = self.config
        tags = server_tags(
            config.node_id,
            config.datacenter,
            config.build,
            self.rpc_port,
            wan_port,
            config.bootstrap and not config.fast,  # As in Consul: a server for development does not say so.
            config.bootstrap_expect,
        )
        return {**tags, **config.extra_tags}

    async def _start_pools(self) -> None:
        config = self.config
        folder = config.data_dir / "serf" if config.data_dir else None
        wan_port = -1
        if config.wan_port >= 0:
            wide = WideConfig(
                config.node_name,
                config.datacenter,
                config.advertise,
                config.bind,
                config.wan_port,
                self._tags(-1),
                config.wan or PoolOptions(timing=LOCAL if config.fast else WAN),
                folder / "remote.snapshot" if folder else None,
            )
            self.wide = WidePool(wide, self.members)
            wan_port = await self.wide.start()
        options = config.lan or PoolOptions(timing=LOCAL if config.fast else LAN)
        settings = options.settings(
            config.node_name, config.advertise, config.gossip_port, self._tags(wan_port), self._admit
        )
        remembered = folder / "local.snapshot" if folder else None
        self._gossip = Gossip(settings, options.bind or config.bind, remembered, options.rejoin_after_leave)
        self._gossip.on_event(self._on_gossip)
        await self._gossip.start()
        self.spawn(self._rejoin())

    def _admit(self, member: Member) -> str:
        return admission(self.node_name, self.config.node_id, self.datacenter, member)

    async def _rejoin(self) -> None:
        await self.gossip.rejoin()

    def spawn(self, work: Any) -> None:
        """Run a coroutine until it is done or this server stops."""
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def stop(self) -> None:
        """Stop without leaving the cluster."""
        if self._stopped:
            return
        self._stopped = True
        if self._leader_loop is not None:
            self._leader_loop.stop()
        for task in list(self._background):
            task.cancel()
        if self.wide is not None:
            await self.wide.stop()
        if self._gossip is not None and self._gossip.started:
            await self._gossip.stop()
        await self.credentials.close()
        await self.listener.stop()
        if self._raft is not None:
            await self._raft.stop()
        await self.pool.close()

    def take_snapshots(self, timing: SnapshotTiming) -> None:
        """Change when snapshots are taken and how much of the log they leave."""
        raft = self.raft
        raft.config = replace(
            raft.config,
            snapshot_interval=timing.interval,
            snapshot_threshold=timing.threshold,
            trailing_logs=timing.trailing_logs,
        )

    async def leave(self) -> None:
        """Leave the cluster: leadership is handed over, the others take this server out; then `stop`."""
        raft = self.raft
        others = [server for server in raft.servers if server.id != self.config.node_id]
        if raft.is_leader and others:
            try:
                await raft.transfer_leadership(timeout=5.0)
            except (RaftError, ConfigurationError) as error:
                log.warning("failed to transfer leadership: %s", error)
        pools = [self.wide.leave()] if self.wide is not None else []
        await asyncio.gather(*pools, self.gossip.leave())
        deadline = time.monotonic() + 5.0
        while others and time.monotonic() < deadline:
            if self.config.node_id not in {server.id for server in raft.servers}:
                break
            await asyncio.sleep(0.05)

    # Parts

    @property
    def raft(self) -> RaftNode:
        """This server's part in Raft."""
        assert self._raft is not None
        return self._raft

    def servers(self) -> list[ServerInfo]:
        """The servers of this datacenter that the pool knows."""
        if self._gossip is None or not self._gossip.started:
            return []
        infos = [info for member in self._gossip.members() if (info := parse_server(member)) is not None]
        return [info for info in infos if info.datacenter == self.datacenter]

    def _leader_changed(self, leader: RaftServer | None) -> None:
        if leader is not None and leader.id != self.config.node_id:
            log.info("New leader elected: payload=%s", self._name_of(leader.id))

    def _name_of(self, server_id: str) -> str:
        return next((info.name for info in self.servers() if info.id == server_id), server_id)

    # Gossip

    def _on_gossip(self, event: Event) -> None:
        if not isinstance(event, MemberEvent):
            return
        log.info("serf: %s: %s %s", event.kind.value, event.member.name, event.member.address)
        if self._leader_loop is not None:
            self._leader_loop.gossip(event)
        if self.wide is not None:
            self.wide.neighbour(event)
        self._consider_bootstrap()

    def _consider_bootstrap(self) -> None:
        """Bootstrap once as many servers as expected are there and all expect the same."""
        expect = self.config.bootstrap_expect
        raft = self._raft
        if not expect or raft is None or self._stopped:
            return
        if raft.core.log.last_index or raft.core.term or raft.core.configuration.members():
            return
        servers = [info for info in self.servers() if info.status is Status.ALIVE and info.voter]
        for info in servers:
            if info.bootstrap and expect > 1:
                self._warn(f"member {info.name} has bootstrap mode, disabling our expect mode")
                return
            if info.expect != expect and not (expect == 1 and info.bootstrap):
                self._warn(f"member {info.name} expects {info.expect} servers, this server expects {expect}")
                return
        if len(servers) < expect:
            return
        log.info("found expected number of peers, attempting bootstrap: peers=%s", ",".join(s.address for s in servers))
        self.spawn(self._bootstrap([RaftServer(info.id, info.address) for info in servers]))

    def _warn(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            log.warning("%s", text)

    async def _bootstrap(self, servers: list[RaftServer]) -> None:
        try:
            await self.raft.bootstrap(servers)
        except CannotBootstrap:
            pass  # This server has state already: it is part of a cluster.

    # Calls

    async def call(self, method: str, args: Wire) -> Any:
        """Answer a call or pass it on to the leader. Raises RpcError."""
        _CALLS.add()
        return await dispatch(self, method, args)

    async def _remote_call(self, method: str, args: Any) -> Any:
        await self._until_serving()
        return await dispatch(self, method, args)

    async def _until_serving(self) -> None:
        """Hold what arrives between the opening of the port and the end of reading the disk. Raises RpcError."""
        if not self._serving.is_set():
            try:
                async with asyncio.timeout(self.limits.hold_timeout):
                    await self._serving.wait()
            except TimeoutError:
                raise RpcError(NO_LEADER) from None

    async def forward(self, method: str, args: Wire, address: str) -> Any:
        """Make a call on another server."""
        return await self.pool.call(address, method, args)

    async def snapshot(
        self, request: SnapshotRequest, archive: IO[bytes]
    ) -> tuple[SnapshotResponse, IO[bytes]]:
        """Save or restore the whole state, here or on the leader; see `server.endpoints.snapshot`. Raises RpcError."""
        if request.datacenter.lower() != self.datacenter.lower():
            return await self._snapshot_elsewhere(request, archive)
        await self._until_serving()
        stale = request.allow_stale and request.op == snapshot_stream.SAVE
        deadline = time.monotonic() + self.limits.hold_timeout
        while True:
            leader = self.raft.leader
            if (stale and leader is not None) or (self.raft.is_leader and self.raft.ready_for_reads):
                return await snapshot.carry_out(self, request, archive)
            if leader is not None and leader.address and not self.raft.is_leader:
                try:
                    return await snapshot_stream.ask(leader.address, request, archive, self.dialer)
                except ConnectionError as error:
                    raise RpcError(f"rpc error making call: {error}") from None
            if time.monotonic() >= deadline:
                raise RpcError(NO_LEADER)
            await asyncio.sleep(self.limits.hold_timeout / 64)

    async def settled(self) -> None:
        """Wait, for a moment at most, until the members are in the catalog."""
        if self._leader_loop is not None:
            await self._leader_loop.settled(SETTLING)

    async def _snapshot_elsewhere(
        self, request: SnapshotRequest, archive: IO[bytes]
    ) -> tuple[SnapshotResponse, IO[bytes]]:
        for address in self.route(request.datacenter):
            try:
                return await snapshot_stream.ask(address, request, archive, self.dialer)
            except ConnectionRefusedError:
                continue  # Nothing was sent: another server may be asked.
            except ConnectionError as error:
                raise RpcError(f"rpc error making call: {error}") from None
        raise RpcError(NO_PATH_TO_DATACENTER)

    async def lead_again(self) -> None:
        """Begin the leader's duties anew on a state that was replaced."""
        if self._leader_loop is not None:
            try:
                await self._leader_loop.again()
            except TimeoutError:
                raise RpcError("the snapshot is restored, but the leader's duties were not taken up in time") from None

    async def _raft_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._transport is not None:
            await self._transport.accept(reader, writer)

    async def _apply(self, kind: int, request: Any) -> Any:
        return await self.raft.propose(command(CommandType(kind), request))

    # What endpoints ask

    def uuid(self) -> str:
        """A new random UUID."""
        return str(uuid.uuid4())

    def random(self) -> float:
        """A number from 0 up to 1."""
        return random.random()

    def now_nanoseconds(self) -> int:
        """The time of day."""
        return time.time_ns()

    def server_members(self) -> list[ServerMember]:
        """The servers of this datacenter in the pool."""
        return [
            ServerMember(
                info.id,
                info.name,
                info.address,
                info.status.name.lower(),
                info.build,
                info.raft_version,
                read_replica=not info.voter,
            )
            for info in self.servers()
        ]

    async def fire_event(self, name: str, payload: bytes) -> None:
        """Spread a user event."""
        try:
            self.gossip.fire(f"consul:event:{name}", payload)
        except ValueError as error:
            raise RpcError(f"error broadcasting event: {error}") from None

    # What the agent asks

    @property
    def management_secret(self) -> str:
        """The secret of a token that may do everything, which servers share through the state; "" without ACLs."""
        return self.fsm.store.metadata.value(MANAGEMENT_SECRET) if self.acl.enabled else ""

    def limit(self, connections: int, call_timeout: float) -> None:
        """Set how many connections one address may have, and how many seconds calls of other servers may take."""
        self.listener.max_per_client = connections
        self.pool.call_timeout = call_timeout

    def on_gossip(self, callback: Callable[[Event], None]) -> None:
        """Call back for every event of the pool."""
        self.gossip.on_event(callback)

    def stats(self) -> dict[str, dict[str, str]]:
        """Figures in the manner of `consul info`."""
        leader = self.raft.leader
        return {
            "consul": {
                "acl": "enabled" if self.acl.enabled else "disabled",
                "bootstrap": str(self.config.bootstrap and not self.config.fast).lower(),
                "known_datacenters": str(len(self.datacenters())),
                "leader": str(self.raft.is_leader).lower(),
                "leader_addr": leader.address if leader else "",
                "server": "true",
            },
            "raft": {**self.raft.stats(), "log_flushes": str(self._log.flushes if self._log else 0)},
            "serf_lan": self.gossip.stats(),
            **({"serf_wan": self.wide.gossip.stats()} if self.wide is not None else {}),
        }
