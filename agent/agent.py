"""`Agent`: a server or client with HTTP, DNS, checks and local services around it; and how it starts and stops."""

import asyncio
import contextlib
import errno
import fcntl
import logging
import os
import random
import signal
import ssl
import time
import uuid
from pathlib import Path
from typing import Any

import msgspec

from agent import lifecycle, reloading, remote_exec
from agent.access import Access, acl_settings
from agent.auto_encrypt import AgentCertificate, Encryption, follow_roots
from agent.cache import Cache
from agent.central import CentralDefaults
from agent.checks.runner import CheckRunner
from agent.client import Client, ClientConfig
from agent.config.access import check_policies
from agent.config.load import watched_files
from agent.config.settings import Config, ConfigError
from agent.coordinates import report_places
from agent.definitions import DefinitionError
from agent.dns.server import DnsServer
from agent.early_ports import Ports
from agent.events import Events
from agent.http.server import HttpServer
from agent.joining import Plan, join_pool
from agent.leaf import LeafCertificates
from agent.local import LocalState
from agent.metric_sources import agent_gauges, count_gossip, count_joined
from agent.process import raise_open_files, settle
from agent.proxy_state import ProxyStates
from agent.registrations import Registrations
from agent.remote_exec import RemoteExec
from agent.telemetry import TelemetryDriver
from agent.tls import check_tls_for_checks, https_context, rpc_rules
from agent.tokens import AgentTokens, Bearing
from agent.translating import TranslatingCaller
from agent.version import CONSUL_VERSION
from agent.watches import Watches
from gossip.consul import parse_server
from gossip.core import EventKind, MemberEvent, UserEvent
from gossip.driver import Event as GossipEvent
from gossip.keyring import KeyringError
from model.errors import RpcError
from model.goerrors import go_text, system_text
from model.gojson import JsonError
from model.structs.catalog import Node
from model.structs.config_rpc import ConfigEntryQuery, ConfigEntryRequest, kind_of
from model.weak_decode import WeakError
from rpc.caller import Caller
from rpc.security import Rules, Security
from server.acl.remote import RemoteTokens
from server.endpoints.context import Limits
from server.raft.errors import CorruptLog, RaftError
from server.server import Server
from server.server_config import ServerConfig, SnapshotTiming

log = logging.getLogger("lictor.agent")

COMPARE_WITHIN = 2.0
"""Seconds within which an agent compares with the catalog once a server has joined."""


class StartError(Exception):
    """The agent cannot start; the text is one readable line."""


class Agent:
    """One agent. `start`, then `run` until told to stop."""

    def __init__(self, config: Config, argv: list[str] | None = None, early: Ports | None = None) -> None:
        self.config = config
        self._early = early
        self.argv = argv or []
        self._files_read = reloading.signature(self.reload_files()) if config.auto_reload_config else frozenset()
        self.node_id = ""
        self._data = Path(config.data_dir) if config.data_dir and not config.dev else None
        self._lock: int | None = None
        self._stop = asyncio.Event()
        self._leave_on_stop = False
        self._joined_in_vain = False
        self._tasks: set[asyncio.Task[None]] = set()
        self.started_at = time.time()
        self.delegate: Server | Client
        self.tokens: AgentTokens
        self.access: Access
        self.local: LocalState
        self.registrations: Registrations
        self.checks: CheckRunner
        self.leafs: LeafCertificates
        self.proxies: ProxyStates
        self.cache: Cache
        self.events: Events
        self.watches: Watches
        self.telemetry: TelemetryDriver
        self.security = Security()
        self.encryption = Encryption(self)
        self._certificate: AgentCertificate | None = None
        self.http: HttpServer
        self.dns: Any = None

    # Start and stop

    async def start(self) -> None:
        """Open everything. Raises StartError."""
        try:
            self._prepare_data_dir()
            check_policies(self.config.acl)
            self.tokens = AgentTokens(self.config.acl, self._data)
            self.security.rules = rpc_rules(self.config)
            check_tls_for_checks(self.config)
            self.delegate = self._make_delegate()
            if self.config.auto_encrypt.tls:
                self._certificate = AgentCertificate(
                    self.config, self.delegate.dialer, self.encryption.take, lambda: self.tokens.agent
                )
                await self._certificate.obtain()
            await self._start_delegate()
            self._build()
            await self.telemetry.start()
            self._load_registrations()
            # Who is answered by the ports may go on to stop us.
            self._heed(signal.SIGTERM, signal.SIGINT)
            await self._open_ports()
        except StartError:
            await self.stop()
            raise
        except ConfigError as error:
            await self.stop()
            raise StartError(str(error)) from None
        except (CorruptLog, RaftError, KeyringError, OSError) as error:
            await self.stop()
            raise StartError(f"failed to start: {go_text(error)}") from None
        self.watches.reload(self.config.watches)
        if self.config.auto_reload_config:
            self._spawn(reloading.reload_on_changes(self.reload_files, self._files_read, self._reload_logged))
        if self._data is not None and self.config.server:
            self._spawn(self._note_alive(self._data))
        self._spawn(self.registrations.reap())
        if self._certificate is not None:
            self._spawn(self._certificate.keep(Bearing(self.delegate, lambda: self.tokens.agent), self.leafs))
        if self.config.auto_encrypt.allow_tls:
            self._spawn(follow_roots(self.leafs, self.encryption.take))
        self._join()
        if not self.config.disable_coordinates:
            delegate = self.delegate
            self._spawn(
                report_places(
                    Bearing(delegate, lambda: self.tokens.agent),
                    self.config.datacenter,
                    self.config.node_name,
                    lambda: delegate.place,
                    lambda: len(delegate.members()),
                )
            )
        if self.config.config_entries and self.delegate.is_server:
            self._spawn(self._bootstrap_entries())

    def _load_registrations(self) -> None:
        """Take up what the agent had and what its files define, before anybody registers more. Raises StartError."""
        try:
            self.registrations.load()
        except (DefinitionError, JsonError) as error:
            raise StartError(f"failed to register a service or check: {error}") from None
        self.local.start()

    def _prepare_data_dir(self) -> None:
        """Lock the data directory, and see that it is this node's. Raises StartError."""
        if self.config.pid_file:
            lifecycle.write_pid(self.config.pid_file)
        wanted = self.config.node_id or (lifecycle.host_id() if self.config.host_node_id else "")
        if self._data is None:
            self.node_id = wanted or str(uuid.uuid4())
            return
        try:
            self._data.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self._data / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StartError(f"data_dir {self._data} is in use by another agent") from None
        except OSError as error:
            raise StartError(f"data_dir {self._data}: {go_text(error)}") from None
        problem = lifecycle.offline_too_long(self._data, self.config.server_rejoin_age_max)
        if self.config.server and problem:
            raise StartError(problem)
        path = self._data / "node-id"
        held = path.read_text("utf-8", "replace").strip().lower() if path.exists() else ""
        if held and wanted and held != wanted:
            raise StartError(f"data_dir {self._data} belongs to node {held}, not to {wanted}")
        if held:
            try:
                self.node_id = str(uuid.UUID(held))
            except ValueError:
                raise StartError(f"{path} does not hold a node ID: {held[:64]!r}") from None
            return
        self.node_id = wanted or str(uuid.uuid4())
        path.write_text(self.node_id)

    def _make_delegate(self) -> Server | Client:
        config = self.config
        if config.server:
            return Server(
                ServerConfig(
                    node_name=config.node_name,
                    node_id=self.node_id,
                    datacenter=config.datacenter,
                    domain=config.domain,
                    build=CONSUL_VERSION,
                    bind=config.bind_addr,
                    advertise=config.advertise_addr,
                    rpc_port=config.ports.server,
                    gossip_port=config.ports.serf_lan,
                    wan_port=config.ports.serf_wan,
                    lan=config.gossip.lan,
                    wan=config.gossip.wan,
                    data_dir=self._data,
                    bootstrap=config.bootstrap,
                    bootstrap_expect=config.bootstrap_expect,
                    raft_multiplier=config.raft_multiplier,
                    lease_reads=config.lease_reads,
                    snapshots=SnapshotTiming(*msgspec.structs.astuple(config.raft)),
                    fast=config.dev,
                    limits=Limits(
                        config.default_query_time,
                        config.max_query_time,
                        config.rpc_hold_timeout,
                        config.session_ttl_min,
                    ),
                    connect_enabled=config.connect_enabled,
                    ca_config=config.ca_config,
                    autopilot=config.autopilot,
                    extra_tags=self._port_tags(),
                    security=self.security,
                    acl=acl_settings(config.acl, config.primary_datacenter, self._data),
                )
            )
        return Client(
            ClientConfig(
                node_name=config.node_name,
                node_id=self.node_id,
                datacenter=config.datacenter,
                build=CONSUL_VERSION,
                bind=config.bind_addr,
                advertise=config.advertise_addr,
                gossip_port=config.ports.serf_lan,
                lan=config.gossip.lan,
                reconnect=config.gossip.advertise_reconnect,
                data_dir=self._data,
                fast=config.dev,
                hold_timeout=config.rpc_hold_timeout,
                rate=config.rpc_limit.rate,
                burst=config.rpc_limit.burst,
                security=self.security,
            )
        )

    def _port_tags(self) -> dict[str, str]:
        ports = self.config.ports
        tags = {}
        if ports.grpc > 0:
            tags["grpc_port"] = str(ports.grpc)
        if ports.grpc_tls > 0:
            tags["grpc_tls_port"] = str(ports.grpc_tls)
        if self.security.rules.accept is not None:
            tags["use_tls"] = "1"
        if self.config.acl.enabled:
            tags["acls"] = "1"
        return tags

    async def _start_delegate(self) -> None:
        try:
            await self.delegate.start()
        except OSError as error:
            raise StartError(_port_text(error, "gossip or RPC", self.config.bind_addr)) from None

    def _node(self) -> Node:
        """This node as the catalog is to show it."""
        config = self.config
        return Node(
            id=self.node_id,
            node=config.node_name,
            address=config.advertise_addr,
            datacenter=config.datacenter,
            tagged_addresses=config.tagged_addresses,
            meta={**config.node_meta, "consul-network-segment": ""},
        )

    def _build(self) -> None:
        config, tokens = self.config, self.tokens
        with_default, with_own = (
            Bearing(self.delegate, lambda: tokens.default),
            Bearing(self.delegate, lambda: tokens.agent),
        )
        settings, delegate = acl_settings(config.acl, config.primary_datacenter), self.delegate
        resolver = delegate.acl if isinstance(delegate, Server) else None
        if resolver is not None:
            resolver.replication_secret = lambda: tokens.replication
        remote = RemoteTokens(
            settings, config.datacenter, config.datacenter, lambda args: delegate.call("ACL.TokenRead", args)
        )
        self.access = Access(settings, config.node_name, tokens, resolver, remote)
        self.local = LocalState(
            self.delegate, self._node(), config.server, self._data, config.check_update_interval, tokens
        )
        self.registrations = Registrations(config, self.local, self.node_id, with_own)
        self.checks = self.registrations.checks
        self.leafs = LeafCertificates(self.delegate, config.datacenter)
        rights_last = config.acl.token_ttl if config.acl.enabled else None
        self.cache = Cache(with_default.call, time.monotonic, config.cache_limit, rights_last)
        if config.central_config:
            self.central = CentralDefaults(self.delegate, self.local, config.datacenter)
        default_allow = settings.default_policy == "allow"
        self.proxies = ProxyStates(self.delegate, self.local, self.leafs, config.datacenter, default_allow)
        self.events = Events(
            config.node_name,
            lambda: [(one.id, list(one.tags or ())) for one in self.local.services.values()],
        )
        commands = RemoteExec(with_own.call, config.node_name, config.datacenter, not config.disable_remote_exec)
        self.events.internal[remote_exec.EVENT] = lambda event: self._spawn(commands.handle(event.payload))
        count_joined(len(self.delegate.members()))
        self.delegate.on_gossip(self._on_gossip)
        self.http = HttpServer(self, self._early)
        tokens.on_change.append(self._tokens_changed)
        self.watches = Watches(self.http.ask)
        self.telemetry = TelemetryDriver(config.telemetry, lambda metrics: agent_gauges(self, metrics))

    def _tokens_changed(self) -> None:
        """What was answered for other tokens is of no use any more, and what they blocked may be allowed now."""
        self.cache.close()
        if self.http.kept is not None:
            self.http.kept.clear()
        self.local.compare_again()

    async def _open_ports(self) -> None:
        config = self.config
        self.apply_limits(config, https_context(config, self.encryption.given))
        doors = [("HTTP", address, config.ports.http, False) for address in config.http_addrs]
        doors += [("HTTPS", address, config.ports.https, True) for address in config.https_addrs]
        for what, address, port, secure in doors:
            if port < 0 or (secure and port == 0):
                continue
            try:
                await self.http.listen(address, port, secure)
            except OSError as error:
                where = address if address.startswith("unix://") else f"{address}:{port}"
                raise StartError(_port_text(error, what, where)) from None
        if config.ports.dns >= 0:
            await self._start_dns()

    def apply_limits(self, config: Config, https: ssl.SSLContext | None) -> None:
        """Let new connections have these limits and this certificate."""
        limits = config.limits
        self.security.handshake_timeout = limits.rpc_handshake_timeout
        self.encryption.offer()
        self.delegate.limit(limits.rpc_max_conns_per_client, limits.rpc_client_timeout)
        self.http.apply(limits, https)

    async def _start_dns(self) -> None:
        config = self.config
        caller: Caller = Bearing(self.delegate, lambda: self.tokens.default)
        if config.translate_wan_addrs:
            caller = TranslatingCaller(caller, config.datacenter)
        self.dns = DnsServer(caller, config, self.cache)
        try:
            await self.dns.start()
        except OSError as error:
            self.dns = None
            raise StartError(_port_text(error, "DNS", f"{config.dns_addrs[0]}:{config.ports.dns}")) from None

    async def run(self) -> int:
        """Serve until a signal, `request_stop` or a failure; returns the exit code."""
        loop = asyncio.get_running_loop()
        failed = self.delegate.raft.failed if isinstance(self.delegate, Server) else None
        if failed is not None:
            failed.add_done_callback(lambda _: self._stop.set())
        self._heed(signal.SIGHUP)
        loop.add_signal_handler(signal.SIGUSR1, self.telemetry.dump)
        await self._stop.wait()
        code = 0
        if failed is not None and failed.done():
            log.critical("stopping because consensus failed: %s", failed.result())
            code = 1
        elif self._joined_in_vain:
            code = 1
        elif self._leave_on_stop:
            log.info("Gracefully shutting down agent...")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(15.0 + self.config.leave_drain_time):
                    await self.leave()
        await self.stop()
        return code

    def _heed(self, *numbers: int) -> None:
        loop = asyncio.get_running_loop()
        for number in numbers:
            loop.add_signal_handler(number, self._on_signal, number)

    def _on_signal(self, number: int) -> None:
        log.info("Caught: signal=%s", signal.Signals(number).name)
        if number == signal.SIGHUP:
            self._spawn(self._reload_logged())
            return
        config = self.config
        graceful = config.leave_on_terminate if number == signal.SIGTERM else not config.skip_leave_on_interrupt
        if self._stop.is_set():
            os._exit(1)  # Told twice: at once.
        self._leave_on_stop = graceful
        self._stop.set()

    async def leave(self) -> None:
        """Leave the cluster. A server with fellows goes on answering for a while, so that clients find them."""
        alone = len(self.delegate.members()) < 2
        await self.delegate.leave()
        if self.delegate.is_server and not alone and self.config.leave_drain_time > 0:
            log.info("Waiting to drain RPC traffic: drain_time=%gs", self.config.leave_drain_time)
            await asyncio.sleep(self.config.leave_drain_time)

    async def _note_alive(self, folder: Path) -> None:
        while True:
            try:
                lifecycle.note_alive(folder)
            except OSError as error:
                log.error("cannot note that this server is alive: %s", error)
            await asyncio.sleep(lifecycle.SEEN_EVERY)

    def request_stop(self) -> None:
        """Stop soon, without leaving (again)."""
        asyncio.get_running_loop().call_later(0.1, self._stop.set)

    async def stop(self) -> None:
        """Close everything."""
        for task in list(self._tasks):
            task.cancel()
        if self.config.pid_file:
            lifecycle.remove_pid(self.config.pid_file)
        if hasattr(self, "proxies"):
            self.proxies.close()
            self.cache.close()
        names = ("watches", "telemetry", "http", "dns", "central", "local", "checks", "delegate")
        parts = [getattr(self, name, None) for name in names]
        for part in parts:  # What was never started is not there, or has nothing to stop.
            if part is None:
                continue
            try:
                await (part.close() if isinstance(part, CheckRunner) else part.stop())
            except Exception:
                log.exception("stopping %s failed", type(part).__name__)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # Joining

    def _join(self) -> None:
        config, gossip = self.config, self.config.gossip
        plans = [(Plan("LAN", config.start_join, config.retry_join, config.retry_interval, config.retry_max), False)]
        if self.delegate.is_server:
            wide = Plan(
                "WAN", gossip.start_join_wan, gossip.retry_join_wan, gossip.retry_interval_wan, gossip.retry_max_wan
            )
            plans.append((wide, True))
        for plan, is_wide in plans:
            if plan.once or plan.retry:
                self._spawn(self._join_as_planned(plan, is_wide))

    async def _join_as_planned(self, plan: Plan, is_wide: bool) -> None:
        if not await join_pool(plan, self.delegate.join_wide if is_wide else self.delegate.join):
            self._joined_in_vain = True
            self._stop.set()

    async def _bootstrap_entries(self) -> None:
        """Write the configuration entries of the files that the cluster does not have yet."""
        from agent.http.config_entries import parse_entry

        server = self.delegate
        assert isinstance(server, Server)
        while not server.raft.ready_for_reads or (server.acl.enabled and not server.management_secret):
            await asyncio.sleep(0.2)
        for raw in self.config.config_entries:
            try:
                entry = parse_entry(raw)
                name = getattr(entry, "name", "") or ("global" if kind_of(entry) == "proxy-defaults" else "mesh")
                secret = server.management_secret
                query = ConfigEntryQuery(kind=kind_of(entry), name=name, token=secret)
                if (await server.call("ConfigEntry.Get", query)).entry is None:
                    await server.call("ConfigEntry.Apply", ConfigEntryRequest(op="upsert", entry=entry, token=secret))
            except (WeakError, RpcError) as error:
                log.error("cannot write a configuration entry from the files: %s", error)

    def _on_gossip(self, event: GossipEvent) -> None:
        count_gossip(event)
        if isinstance(event, UserEvent):
            self.events.gossiped(event)
        elif isinstance(event, MemberEvent) and event.kind is EventKind.JOIN and parse_server(event.member):
            # A server that was away may have lost what it knew of this node. Not all agents tell it at once.
            asyncio.get_running_loop().call_later(random.random() * COMPARE_WITHIN, self.local.compare_again)

    # Reload

    async def _reload_logged(self) -> None:
        problem = await self.reload()
        if problem:
            log.error("Failed to reload config: %s", problem)

    async def reload(self) -> str:
        """Read files and flags again and take over what can change while the agent runs. Returns a problem or ""."""
        return await reloading.reload(self)

    def reload_files(self) -> list[str]:
        """The files and folders whose change means a reload."""
        return watched_files(self.argv)

    def take_over(self, before: Config, rules: Rules, https: ssl.SSLContext | None) -> None:
        """Hand the new configuration to the parts that were told the old one (`before`)."""
        config = self.config
        self.security.rules = rules
        self.apply_limits(config, https)
        self.cache.limit = config.cache_limit
        self.telemetry.reload(config.telemetry)
        if config.acl.tokens != before.acl.tokens:
            self.tokens.configure(config.acl)
        self.watches.reload(config.watches)
        if isinstance(self.delegate, Server):
            self.delegate.take_snapshots(SnapshotTiming(*msgspec.structs.astuple(config.raft)))
        else:
            self.delegate.limit_calls(config.rpc_limit.rate, config.rpc_limit.burst)
        if config.node_meta != before.node_meta:
            self.local.replace_node(self._node())
        if config.config_entries != before.config_entries and self.delegate.is_server:
            self._spawn(self._bootstrap_entries())


def _port_text(error: OSError, what: str, where: str) -> str:
    own = error.errno == errno.EEXIST  # Told by us, not by the system.
    return f"failed to start {what}: listen on {where}: {error.strerror if own else system_text(error)}"


async def run_agent(config: Config, warnings: list[str], argv: list[str], early: Ports | None = None) -> int:
    """Start an agent, serve, stop; returns the exit code. Prints one line and returns 1 when it cannot start.

    `early` are HTTP ports that are open already.
    """
    random.seed()
    raise_open_files()
    agent = Agent(config, argv, early)
    for warning in warnings:
        log.warning("%s", warning)
    try:
        await agent.start()
    except StartError as error:
        log.error("%s", error)
        print(f"==> {error}", flush=True)
        return 1
    settle()
    log.info("Consul agent running!")
    return await agent.run()
