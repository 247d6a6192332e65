"""`Agent`: a server or client with HTTP, DNS, checks and local services around it; and how it starts and stops."""

import asyncio
import contextlib
import errno
import fcntl
import logging
import os
import platform
import random
import signal
import time
import uuid
from pathlib import Path
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.core import CollectorRegistry as Registry

from agent import definitions, file_definitions, remote_exec
from agent.cache import Cache
from agent.central import CentralDefaults
from agent.checks.runner import CheckRunner
from agent.client import Client, ClientConfig
from agent.config.settings import Config, ConfigError
from agent.definitions import DefinitionError, Expanded
from agent.dns.server import DnsServer
from agent.events import Events
from agent.http.routing import JSON, ApiResponse
from agent.http.server import HttpServer
from agent.leaf import LeafCertificates
from agent.local import LocalState
from agent.logs import LEVELS, set_level
from agent.proxy_state import ProxyStates
from agent.remote_exec import RemoteExec
from agent.version import CONSUL_VERSION, VERSION
from gossip.core import UserEvent
from gossip.driver import Event as GossipEvent
from gossip.driver import JoinError
from model.errors import RpcError
from model.gojson import JsonError, encode_json
from model.structs.catalog import CheckType, HealthCheck, Node
from model.structs.config_rpc import ConfigEntryQuery, ConfigEntryRequest, kind_of
from model.weak_decode import WeakError
from server.endpoints.context import Limits
from server.raft.errors import CorruptLog, RaftError
from server.server import Server, ServerConfig

log = logging.getLogger("lictor.agent")

JOIN_TIMEOUT = 10.0


class StartError(Exception):
    """The agent cannot start; the text is one readable line."""


class Agent:
    """One agent. `start`, then `run` until told to stop."""

    def __init__(self, config: Config, argv: list[str] | None = None) -> None:
        self.config = config
        self.argv = argv or []
        self.node_id = ""
        self._data = Path(config.data_dir) if config.data_dir and not config.dev else None
        self._lock: int | None = None
        self._stop = asyncio.Event()
        self._leave_on_stop = False
        self._tasks: set[asyncio.Task[None]] = set()
        self.started_at = time.time()
        self.delegate: Server | Client
        self.local: LocalState
        self.checks: CheckRunner
        self.leafs: LeafCertificates
        self.proxies: ProxyStates
        self.cache: Cache
        self.events: Events
        self.http: HttpServer
        self.dns: Any = None

    # Start and stop

    async def start(self) -> None:
        """Open everything. Raises StartError."""
        try:
            self._prepare_data_dir()
            self.delegate = self._make_delegate()
            await self._start_delegate()
            self._build()
            await self._open_ports()
        except StartError:
            await self.stop()
            raise
        except (CorruptLog, RaftError, OSError) as error:
            await self.stop()
            raise StartError(f"failed to start: {error}") from None
        try:
            self._load_services()
        except (DefinitionError, JsonError) as error:
            await self.stop()
            raise StartError(f"failed to register a service or check: {error}") from None
        self.local.start()
        if self.config.retry_join or self.config.start_join:
            self._spawn(self._join())
        if self.config.config_entries and self.delegate.is_server:
            self._spawn(self._bootstrap_entries())

    def _prepare_data_dir(self) -> None:
        """Lock the data directory, and see that it is this node's. Raises StartError."""
        wanted = self.config.node_id
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
            raise StartError(f"data_dir {self._data}: {error.strerror}") from None
        path = self._data / "node-id"
        held = path.read_text().strip().lower() if path.exists() else ""
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
                    data_dir=self._data,
                    bootstrap=config.bootstrap,
                    bootstrap_expect=config.bootstrap_expect,
                    raft_multiplier=config.raft_multiplier,
                    lease_reads=config.lease_reads,
                    fast=config.dev,
                    limits=Limits(
                        config.default_query_time,
                        config.max_query_time,
                        config.rpc_hold_timeout,
                        config.session_ttl_min,
                    ),
                    ca_config=config.ca_config,
                    autopilot=config.autopilot,
                    extra_tags=self._port_tags(),
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
                data_dir=self._data,
                fast=config.dev,
                hold_timeout=config.rpc_hold_timeout,
            )
        )

    def _port_tags(self) -> dict[str, str]:
        ports = self.config.ports
        tags = {}
        if ports.grpc > 0:
            tags["grpc_port"] = str(ports.grpc)
        if ports.grpc_tls > 0:
            tags["grpc_tls_port"] = str(ports.grpc_tls)
        return tags

    async def _start_delegate(self) -> None:
        try:
            await self.delegate.start()
        except OSError as error:
            raise StartError(_port_text(error, "gossip or RPC", self.config.bind_addr)) from None

    def _build(self) -> None:
        config = self.config
        address = config.advertise_addr
        family = "ipv6" if ":" in address else "ipv4"
        node = Node(
            id=self.node_id,
            node=config.node_name,
            address=address,
            datacenter=config.datacenter,
            tagged_addresses={"lan": address, f"lan_{family}": address, "wan": address, f"wan_{family}": address},
            meta={**config.node_meta, "consul-network-segment": ""},
        )
        self.local = LocalState(self.delegate, node, config.server, self._data)
        self.checks = CheckRunner(self._check_result, self._aliased, config.check_output_max_size)
        self.checks.last_output = self._last_output  # type: ignore[method-assign]
        self.leafs = LeafCertificates(self.delegate, config.datacenter)
        self.cache = Cache(self.delegate.call, time.monotonic)
        self.central = CentralDefaults(self.delegate, self.local, config.datacenter)
        self.proxies = ProxyStates(self.delegate, self.local, self.leafs, config.datacenter)
        self.events = Events(
            config.node_name,
            lambda: [(one.id, list(one.tags or ())) for one in self.local.services.values()],
        )
        commands = RemoteExec(self.delegate.call, config.node_name, config.datacenter, not config.disable_remote_exec)
        self.events.internal[remote_exec.EVENT] = lambda event: self._spawn(commands.handle(event.payload))
        self.delegate.on_gossip(self._on_gossip)
        self.http = HttpServer(self)

    async def _open_ports(self) -> None:
        config = self.config
        if config.ports.http >= 0:
            try:
                await self.http.start(config.http_addrs, config.ports.http)
            except OSError as error:
                raise StartError(_port_text(error, "HTTP", f"{config.http_addrs[0]}:{config.ports.http}")) from None
        if config.ports.dns >= 0:
            await self._start_dns()

    async def _start_dns(self) -> None:
        config = self.config
        self.dns = DnsServer(self.delegate, config)
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
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self._on_signal, number)
        await self._stop.wait()
        code = 0
        if failed is not None and failed.done():
            log.critical("stopping because consensus failed: %s", failed.result())
            code = 1
        elif self._leave_on_stop:
            log.info("Gracefully shutting down agent...")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(15.0):
                    await self.delegate.leave()
        await self.stop()
        return code

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

    def request_stop(self) -> None:
        """Stop soon, without leaving (again)."""
        asyncio.get_running_loop().call_later(0.1, self._stop.set)

    async def stop(self) -> None:
        """Close everything."""
        for task in list(self._tasks):
            task.cancel()
        if hasattr(self, "proxies"):
            self.proxies.close()
            self.cache.close()
        parts = [getattr(self, name, None) for name in ("http", "dns", "central", "local", "checks", "delegate")]
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

    async def _join(self) -> None:
        config = self.config
        if config.start_join:
            try:
                await self.delegate.join(config.start_join)
            except JoinError as error:
                log.error("Join failed: %s", error)
        attempt = 0
        while config.retry_join:
            try:
                joined = await self.delegate.join(config.retry_join)
                log.info("Join cluster completed. Synced with initial agents: num_agents=%d", joined)
                return
            except JoinError as error:
                attempt += 1
                if config.retry_max and attempt >= config.retry_max:
                    log.error("max join retry exhausted, exiting")
                    self._stop.set()
                    return
                log.warning("Join cluster failed, will retry: error=%s", error)
                await asyncio.sleep(min(config.retry_interval, 1.0 * attempt))

    async def _bootstrap_entries(self) -> None:
        """Write the configuration entries of the files that the cluster does not have yet."""
        from agent.http.config_entries import parse_entry

        while isinstance(self.delegate, Server) and not self.delegate.raft.ready_for_reads:
            await asyncio.sleep(0.2)
        for raw in self.config.config_entries:
            try:
                entry = parse_entry(raw)
                name = getattr(entry, "name", "") or ("global" if kind_of(entry) == "proxy-defaults" else "mesh")
                query = ConfigEntryQuery(kind=kind_of(entry), name=name)
                if (await self.delegate.call("ConfigEntry.Get", query)).entry is None:
                    await self.delegate.call("ConfigEntry.Apply", ConfigEntryRequest(op="upsert", entry=entry))
            except (WeakError, RpcError) as error:
                log.error("cannot write a configuration entry from the files: %s", error)

    def _on_gossip(self, event: GossipEvent) -> None:
        if isinstance(event, UserEvent):
            self.events.gossiped(event)

    # Services and checks

    def _load_services(self) -> None:
        services, checks = self.local.load()
        for service in services:
            self.local.put_service(service, persist=False)
        for check, definition in checks:
            if not check.service_id or check.service_id in self.local.services:
                self.local.put_check(msgspec.structs.replace(check, status="critical"), definition, persist=False)
                if definition is not None:
                    self.checks.add(check.check_id, definition, "critical")
        self._load_from_files(self.config)

    def _load_from_files(self, config: Config) -> None:
        for raw in config.services:
            definition = file_definitions.service(raw)
            for part in definitions.expand(
                definition, config.node_name, config.enable_local_script_checks, self.sidecar_port
            ):
                self.add_service(part, replace_checks=True, persist=False)
                self.local.from_files.add(part.service.id)
        for raw in config.checks:
            own = file_definitions.check(raw)
            if not own.name:
                raise DefinitionError("Missing check name")
            definitions.validate_check(own.check, config.enable_local_script_checks)
            owner = self.local.services.get(own.service_id) if own.service_id else None
            if own.service_id and owner is None:
                raise DefinitionError(f'ServiceID "{own.service_id}" does not exist')
            row = definitions.check_of(own.check, config.node_name, owner, own.check_id, own.name)
            self.add_check(msgspec.structs.replace(row, type=""), own.check, persist=False)  # As Consul shows these.
            self.local.checks_from_files.add(own.check_id)

    def sidecar_port(self, service_id: str) -> int:
        """A port for a sidecar: the one that it has, or the lowest free one of the range; 0 when none is left."""
        known = self.local.services.get(service_id)
        low, high = self.config.ports.sidecar_min_port, self.config.ports.sidecar_max_port
        if known is not None and low <= known.port <= high:
            return known.port
        used = {service.port for service in self.local.services.values()}
        return next((port for port in range(low, high + 1) if port not in used), 0)

    def add_service(self, part: Expanded, replace_checks: bool, persist: bool = True) -> None:
        """Add or replace a service with the checks of its definition."""
        service = part.service
        if replace_checks:
            keep = {check.check_id for check, _ in part.checks}
            for check in self.local.checks_of(service.id):
                if check.check_id not in keep:
                    self.remove_check(check.check_id)
        self.local.put_service(service, persist)
        for check, definition in part.checks:
            self.add_check(check, definition, persist)

    def remove_service(self, service_id: str) -> None:
        """Remove a service, its checks, and the sidecar that came with it."""
        for check in self.local.checks_of(service_id):
            self.remove_check(check.check_id)
        self.local.remove_service(service_id)
        sidecar = self.local.services.get(f"{service_id}-sidecar-proxy")
        if sidecar is not None and sidecar.proxy.destination_service_id == service_id:
            self.remove_service(sidecar.id)

    def add_check(self, check: HealthCheck, definition: CheckType, persist: bool = True) -> None:
        """Add or replace a check and run it; a check that was there keeps its status and output."""
        old = self.local.checks.get(check.check_id)
        if old is not None and not definition.status:
            check = msgspec.structs.replace(check, status=old.status, output=old.output)
        self.local.put_check(check, definition, persist)
        self.checks.add(check.check_id, definition, check.status)

    def remove_check(self, check_id: str) -> None:
        """Stop and remove a check."""
        self.checks.remove(check_id)
        self.local.remove_check(check_id)

    def _check_result(self, check_id: str, status: str, output: str) -> None:
        if self.config.discard_check_output:
            output = ""
        self.local.update_check(check_id, status, output)
        definition = self.local.definitions.get(check_id)
        check = self.local.checks.get(check_id)
        if definition is None or check is None or definition.deregister_critical_service_after <= 0:
            return
        if status != "critical":
            self._critical_since.pop(check_id, None)
            return
        since = self._critical_since.setdefault(check_id, time.monotonic())
        limit = max(60.0, definition.deregister_critical_service_after / 1e9)
        if check.service_id and time.monotonic() - since > limit:
            log.info("Check for service has been critical for too long, deregistering: %s", check.service_id)
            self._critical_since.pop(check_id, None)
            self.remove_service(check.service_id)

    def _last_output(self, check_id: str) -> str:
        check = self.local.checks.get(check_id)
        return check.output if check else ""

    def _aliased(self, check: CheckType) -> list[HealthCheck] | None:
        if check.alias_node and check.alias_node != self.config.node_name:
            return []
        if check.alias_service and check.alias_service not in self.local.services:
            return None
        found = self.local.checks_of(check.alias_service)
        return [*found, *(self.local.checks_of("") if not check.alias_service else [])]

    def maintenance(self, service_id: str, enable: bool, reason: str) -> None:
        """Take a service ("" for the node) out of discovery, or back."""
        check_id = f"_service_maintenance:{service_id}" if service_id else "_node_maintenance"
        what = "service" if service_id else "node"
        if not enable:
            if check_id in self.local.checks:
                self.local.remove_check(check_id)
            return
        if check_id in self.local.checks:
            return
        owner = self.local.services.get(service_id)
        default = f"Maintenance mode is enabled for this {what}, but no reason was provided. This is a default message."
        check = HealthCheck(
            node=self.config.node_name,
            check_id=check_id,
            name="Service Maintenance Mode" if service_id else "Node Maintenance Mode",
            status="critical",
            notes=reason or default,
            service_id=service_id,
            service_name=owner.service if owner else "",
            service_tags=list(owner.tags or ()) if owner else [],
            type="maintenance",
        )
        self.local.put_check(check, None)

    @property
    def _critical_since(self) -> dict[str, float]:
        found: dict[str, float] = self.__dict__.setdefault("critical_since", {})
        return found

    def filtered(self, expression: str, cls: Any, rows: dict[str, Any], shown: dict[str, Any]) -> dict[str, Any]:
        """The shown rows whose struct passes a filter expression."""
        from agent.http.routing import HttpError
        from model.filter import BAD_FILTER, FilterError, compile_filter, is_expression

        try:
            passes = compile_filter(expression, cls)
        except FilterError as error:
            # Of checks Consul judges the selectors only as it meets the first one, so without the introduction.
            late = cls is HealthCheck and is_expression(expression)
            raise HttpError(500, str(error) if late else f"{BAD_FILTER}{error}") from None
        return {key: value for key, value in shown.items() if passes(rows[key])}

    # Reload

    async def _reload_logged(self) -> None:
        problem = await self.reload()
        if problem:
            log.error("Failed to reload config: %s", problem)

    async def reload(self) -> str:
        """Read files and flags again: services, checks, DNS settings, log level. Returns a problem or ""."""
        from agent.config.load import load_config

        try:
            config, _ = load_config(self.argv)
        except ConfigError as error:
            return str(error)
        if config.log_level not in LEVELS:
            return f"log_level: unknown level {config.log_level}"
        log.info("Reloading configuration...")
        before, checks_before = set(self.local.from_files), set(self.local.checks_from_files)
        self.local.from_files.clear()
        self.local.checks_from_files.clear()
        try:
            self._load_from_files(config)
        except (DefinitionError, JsonError) as error:
            return str(error)
        for service_id in before - self.local.from_files:
            if service_id in self.local.services:
                self.remove_service(service_id)
        for check_id in checks_before - self.local.checks_from_files:
            if check_id in self.local.checks:
                self.remove_check(check_id)
        self.config = msgspec.structs.replace(self.config, dns=config.dns, recursors=config.recursors)
        if self.dns is not None:
            self.dns.reload(self.config)
        set_level(config.log_level)
        return ""

    # What can be seen

    def version(self) -> dict[str, str]:
        """The version, as /v1/agent/version shows it."""
        return {
            "SHA": "",
            "BuildDate": "1970-01-01T00:00:01Z",
            "HumanVersion": CONSUL_VERSION,
            "FIPS": "",
            "Lictor": VERSION,
        }

    def describe(self) -> dict[str, Any]:
        """/v1/agent/self."""
        from agent.http.agent_api import shown_member

        config = self.config
        member = next((one for one in self.delegate.members() if one.name == config.node_name), None)
        return {
            "Config": {
                "Datacenter": config.datacenter,
                "PrimaryDatacenter": config.primary_datacenter or config.datacenter,
                "NodeName": config.node_name,
                "NodeID": self.node_id,
                "Revision": "",
                "Server": config.server,
                "Version": CONSUL_VERSION,
                "BuildDate": "1970-01-01T00:00:01Z",
            },
            "DebugConfig": self._debug_config(),
            "Coord": {"Adjustment": 0, "Error": 1.5, "Height": 0.00001, "Vec": [0] * 8},
            "Member": shown_member(member) if member is not None else {},
            "Stats": self.stats(),
            "Meta": {**config.node_meta, "consul-network-segment": ""},
            "xDS": {"SupportedProxies": {}, "Port": config.ports.grpc, "Ports": {"Plaintext": -1, "TLS": -1}},
        }

    def _debug_config(self) -> dict[str, Any]:
        """The configuration with Go's names, without secrets."""
        config = self.config
        ports = config.ports
        return {
            "AdvertiseAddrLAN": config.advertise_addr,
            "AdvertiseAddrWAN": config.advertise_addr,
            "BindAddr": config.bind_addr,
            "Bootstrap": config.bootstrap and not config.dev,
            "BootstrapExpect": config.bootstrap_expect,
            "ClientAddrs": config.client_addrs,
            "ConnectEnabled": config.connect_enabled,
            "DNSAddrs": [f"{net}://{host}:{ports.dns}" for host in config.dns_addrs for net in ("tcp", "udp")],
            "DNSDomain": config.domain,
            "DNSPort": ports.dns,
            "DataDir": config.data_dir,
            "Datacenter": config.datacenter,
            "DevMode": config.dev,
            "EnableDebug": config.enable_debug,
            "EnableLocalScriptChecks": config.enable_local_script_checks,
            "EnableRemoteScriptChecks": config.enable_script_checks,
            "HTTPAddrs": [f"tcp://{host}:{ports.http}" for host in config.http_addrs],
            "HTTPPort": ports.http,
            "LeaveOnTerm": config.leave_on_terminate,
            "NodeID": self.node_id,
            "NodeMeta": config.node_meta,
            "NodeName": config.node_name,
            "PrimaryDatacenter": config.primary_datacenter or config.datacenter,
            "RetryJoinLAN": config.retry_join,
            "SerfPortLAN": ports.serf_lan,
            "SerfPortWAN": ports.serf_wan,
            "ServerMode": config.server,
            "ServerPort": ports.server,
            "SkipLeaveOnInt": config.skip_leave_on_interrupt,
            "UIConfig": {"Enabled": config.ui, "ContentPath": config.ui_path},
            "Version": CONSUL_VERSION,
        }

    def stats(self) -> dict[str, dict[str, str]]:
        """Sections of figures, as `info` shows them."""
        local = self.local
        return {
            "agent": {
                "check_monitors": "0",
                "check_ttls": str(sum(self.checks.is_ttl(check_id) for check_id in local.checks)),
                "checks": str(len(local.checks)),
                "services": str(len(local.services)),
            },
            "build": {"prerelease": "", "revision": "", "version": CONSUL_VERSION, "version_metadata": ""},
            **self.delegate.stats(),
            "runtime": {
                "arch": platform.machine(),
                "cpu_count": str(os.cpu_count()),
                "os": platform.system().lower(),
                "version": f"python{platform.python_version()}",
            },
        }

    def host_info(self) -> dict[str, Any]:
        """The machine, as /v1/agent/host shows it."""
        pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
        free = os.sysconf("SC_AVPHYS_PAGES") * size
        return {
            "Memory": {"total": pages * size, "available": free, "used": pages * size - free},
            "CPU": [{"cpu": number} for number in range(os.cpu_count() or 1)],
            "Host": {
                "hostname": platform.node(),
                "os": platform.system().lower(),
                "platform": platform.platform(),
                "kernelVersion": platform.release(),
                "kernelArch": platform.machine(),
            },
            "Disk": None,
            "CollectionTime": time.time_ns(),
            "Errors": None,
        }

    def metrics(self, prometheus: bool, pretty: bool) -> ApiResponse:
        """Figures about this agent."""
        gauges = [
            ("consul_runtime_uptime_seconds", time.time() - self.started_at),
            ("consul_agent_services", float(len(self.local.services))),
            ("consul_agent_checks", float(len(self.local.checks))),
            ("consul_serf_members", float(len(self.delegate.members()))),
        ]
        if isinstance(self.delegate, Server):
            raft = self.delegate.raft
            gauges += [
                ("consul_raft_applied_index", float(raft.applied_index)),
                ("consul_server_isLeader", float(raft.is_leader)),
                ("consul_rpc_queries_blocking", float(self.delegate.fsm.store.watches.waiting)),
            ]
        if prometheus:
            registry: Registry = CollectorRegistry()
            for name, value in gauges:
                Gauge(name, name.replace("_", " "), registry=registry).set(value)
            return ApiResponse(generate_latest(registry), 200, "text/plain; version=0.0.4; charset=utf-8")
        body = {
            "Timestamp": time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC", time.gmtime()),
            "Gauges": [{"Name": name.replace("_", "."), "Value": value, "Labels": {}} for name, value in gauges],
            "Points": [],
            "Counters": [],
            "Samples": [],
        }
        return ApiResponse(encode_json(body, pretty), 200, JSON)


def _port_text(error: OSError, what: str, where: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"failed to start {what}: listen on {where}: address already in use"
    if error.errno == errno.EACCES:
        return f"failed to start {what}: listen on {where}: permission denied"
    return f"failed to start {what} on {where}: {error.strerror or error}"


async def run_agent(config: Config, warnings: list[str], argv: list[str]) -> int:
    """Start an agent, serve, stop; returns the exit code. Prints one line and returns 1 when it cannot start."""
    random.seed()
    agent = Agent(config, argv)
    for warning in warnings:
        log.warning("%s", warning)
    try:
        await agent.start()
    except StartError as error:
        log.error("%s", error)
        print(f"==> {error}", flush=True)
        return 1
    log.info("Consul agent running!")
    return await agent.run()
