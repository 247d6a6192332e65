"""The agent's configuration as the rest of the agent sees it. Times are in seconds unless a name says otherwise."""

from typing import Any

import msgspec

from agent.config.gossip_settings import GossipConfig
from model.structs.operator import DEFAULT_AUTOPILOT, AutopilotConfig


class ConfigError(ValueError):
    """A configuration that cannot be used; the text names the key and the reason.

    `exit_code` is the agent's: 1, or 2 for what Consul finds only after it has announced its start.
    """

    def __init__(self, text: str, exit_code: int = 1) -> None:
        super().__init__(text)
        self.exit_code = exit_code


class Ports(msgspec.Struct, frozen=True):
    """Ports by use; -1 disables."""

    dns: int = 8600
    http: int = 8500
    https: int = -1
    grpc: int = -1
    grpc_tls: int = 8503
    serf_lan: int = 8301
    serf_wan: int = 8302
    server: int = 8300
    sidecar_min_port: int = 21000
    sidecar_max_port: int = 21255
    expose_min_port: int = 21500
    expose_max_port: int = 21755


class Soa(msgspec.Struct, frozen=True):
    """Fields of the zone's SOA record, in seconds."""

    expire: int = 86400
    min_ttl: int = 0
    refresh: int = 3600
    retry: int = 600


class DnsConfig(msgspec.Struct, frozen=True):
    """How DNS answers."""

    allow_stale: bool = True
    max_stale: float = 87600 * 3600.0
    node_ttl: float = 0.0
    service_ttl: dict[str, float] = {}
    enable_truncate: bool = False
    only_passing: bool = False
    recursor_timeout: float = 2.0
    recursor_strategy: str = "sequential"
    disable_compression: bool = False
    udp_answer_limit: int = 3
    a_record_limit: int = 0
    enable_additional_node_meta_txt: bool = True
    soa: Soa = Soa()
    use_cache: bool = False
    cache_max_age: float = 0.0


class HttpConfig(msgspec.Struct, frozen=True):
    """How HTTP answers."""

    block_endpoints: list[str] = []
    response_headers: dict[str, str] = {}
    allow_write_http_from: list[str] = []
    max_header_bytes: int = 0
    use_cache: bool = True


class LogFile(msgspec.Struct, frozen=True):
    """Where logs go besides standard output, and when a file is full. Bytes and files of 0 mean no limit."""

    path: str = ""
    rotate_bytes: int = 0
    rotate_seconds: float = 24 * 3600.0
    max_files: int = 0
    """Older files to keep; -1 for none."""
    syslog_facility: str = ""
    """Facility of syslog, in capitals; "" for no syslog."""


class RaftLimits(msgspec.Struct, frozen=True):
    """When a server takes a snapshot of its state, and how much of the log it keeps then."""

    snapshot_interval: float = 30.0
    snapshot_threshold: int = 16384
    trailing_logs: int = 10_000


class RateLimit(msgspec.Struct, frozen=True):
    """A token bucket: so many a second (0: any number), so many at once."""

    rate: float = 0.0
    burst: int = 0


class UiConfig(msgspec.Struct, frozen=True):
    """What the UI is served from, and what it is told."""

    folder: str = ""
    metrics_provider: str = ""
    metrics_provider_options_json: str = ""
    dashboard_url_templates: dict[str, str] = {}


class Telemetry(msgspec.Struct, frozen=True):
    """What becomes of metrics. Addresses are "" or `host:port`."""

    metrics_prefix: str = "consul"
    disable_hostname: bool = False
    filter_default: bool = True
    allowed: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()
    """Prefixes of metrics' names; the longer match wins."""
    prometheus_retention: float = 0.0
    statsd_address: str = ""
    statsite_address: str = ""
    dogstatsd_address: str = ""
    dogstatsd_tags: tuple[str, ...] = ()
    retry_failed_connection: bool = True


class TlsInterface(msgspec.Struct, frozen=True):
    """TLS of one interface: files, versions, and what it demands of the other side."""

    ca_file: str = ""
    ca_path: str = ""
    cert_file: str = ""
    key_file: str = ""
    min_version: str = "TLSv1_2"
    cipher_suites: list[str] = []
    verify_incoming: bool = False
    verify_outgoing: bool = False


class TlsSettings(msgspec.Struct, frozen=True):
    """TLS of all interfaces. `server_name` is the name that checks expect in certificates."""

    internal_rpc: TlsInterface = TlsInterface()
    https: TlsInterface = TlsInterface()
    grpc: TlsInterface = TlsInterface()
    verify_server_hostname: bool = False
    server_name: str = ""


class AutoEncrypt(msgspec.Struct, frozen=True):
    """Certificates for client agents from servers: `tls` on those who want one, `allow_tls` on those who give it."""

    tls: bool = False
    allow_tls: bool = False
    dns_san: list[str] = []
    ip_san: list[str] = []


class Limits(msgspec.Struct, frozen=True):
    """How many connections a client may have (0: any number), and how long it may take to open them."""

    http_max_conns_per_client: int = 200
    https_handshake_timeout: float = 5.0
    rpc_client_timeout: float = 60.0
    rpc_handshake_timeout: float = 5.0
    rpc_max_conns_per_client: int = 100


class UnixSockets(msgspec.Struct, frozen=True):
    """Owner, by number, and mode of unix sockets; None leaves what the system gives."""

    user: int | None = None
    group: int | None = None
    mode: int | None = None


class MetricsProxy(msgspec.Struct, frozen=True):
    """Where questions about metrics go (`base_url` "": nowhere), which paths of it may be asked for (none given: all),
    and headers to add."""

    base_url: str = ""
    path_allowlist: list[str] = []
    add_headers: list[tuple[str, str]] = []


class AclTokens(msgspec.Struct, frozen=True):
    """The secrets of the tokens that this agent uses, or knows without asking (`agent_recovery`). "" where none is."""

    default: str = ""
    agent: str = ""
    agent_recovery: str = ""
    initial_management: str = ""
    replication: str = ""


class AclConfig(msgspec.Struct, frozen=True):
    """Access control: whether it is on, what holds where no rule says anything, and for how long answers are kept."""

    enabled: bool = False
    default_policy: str = "allow"
    down_policy: str = "extend-cache"
    enable_key_list_policy: bool = False
    enable_token_persistence: bool = False
    enable_token_replication: bool = False
    token_ttl: float = 30.0
    policy_ttl: float = 30.0
    role_ttl: float = 0.0
    tokens: AclTokens = AclTokens()


class Config(msgspec.Struct, frozen=True):
    """Everything that an agent was told."""

    node_name: str
    node_id: str = ""
    datacenter: str = "dc1"
    domain: str = "consul."
    alt_domain: str = ""
    data_dir: str = ""
    dev: bool = False
    server: bool = False
    bootstrap: bool = False
    bootstrap_expect: int = 0
    bind_addr: str = "0.0.0.0"
    advertise_addr: str = ""
    advertise_addr_wan: str = ""
    tagged_addresses: dict[str, str] = {}
    """The node's addresses by "lan", "wan", "lan_ipv4" and so on."""
    translate_wan_addrs: bool = False
    client_addrs: list[str] = msgspec.field(default_factory=lambda: ["127.0.0.1"])
    http_addrs: list[str] = msgspec.field(default_factory=lambda: ["127.0.0.1"])
    https_addrs: list[str] = msgspec.field(default_factory=lambda: ["127.0.0.1"])
    dns_addrs: list[str] = msgspec.field(default_factory=lambda: ["127.0.0.1"])
    ports: Ports = Ports()
    retry_join: list[str] = []
    retry_interval: float = 30.0
    retry_max: int = 0
    start_join: list[str] = []
    recursors: list[str] = []
    node_meta: dict[str, str] = {}
    gossip: GossipConfig = GossipConfig()
    protocol: int = 2
    raft_protocol: int = 3
    ui: bool = False
    ui_path: str = "/ui/"
    metrics_proxy: MetricsProxy = MetricsProxy()
    log_level: str = "INFO"
    log_json: bool = False
    log_to: LogFile = LogFile()
    raft: RaftLimits = RaftLimits()
    raft_multiplier: int = 5
    lease_reads: bool = False
    autopilot: AutopilotConfig = DEFAULT_AUTOPILOT
    """Autopilot's settings in a cluster that has none yet."""
    leave_on_terminate: bool = False
    leave_drain_time: float = 5.0
    server_rejoin_age_max: float = 7 * 24 * 3600.0
    pid_file: str = ""
    auto_reload_config: bool = False
    watches: list[dict[str, Any]] = []
    telemetry: Telemetry = Telemetry()
    ui_settings: UiConfig = UiConfig()
    rpc_limit: RateLimit = RateLimit()
    """Calls that a client agent makes to servers."""
    central_config: bool = True
    """Whether central defaults are merged into registered proxies."""
    cache_limit: RateLimit = RateLimit(burst=2)
    """Reads that keep one entry of the agent's cache up."""
    use_streaming_backend: bool = True
    discovery_max_stale: float = 0.0
    host_node_id: bool = False
    """Whether the node's ID is made from the machine's."""
    skip_leave_on_interrupt: bool = False
    enable_script_checks: bool = False
    enable_local_script_checks: bool = False
    check_update_interval: float = 300.0
    discard_check_output: bool = False
    check_output_max_size: int = 4096
    disable_remote_exec: bool = True
    enable_debug: bool = False
    dns: DnsConfig = DnsConfig()
    http: HttpConfig = HttpConfig()
    tls: TlsSettings = TlsSettings()
    auto_encrypt: AutoEncrypt = AutoEncrypt()
    enable_agent_tls_for_checks: bool = False
    limits: Limits = Limits()
    unix_sockets: UnixSockets = UnixSockets()
    default_query_time: float = 300.0
    max_query_time: float = 600.0
    kv_max_value_size: int = 512 * 1024
    txn_max_req_len: int = 512 * 1024
    rpc_hold_timeout: float = 7.0
    session_ttl_min: float = 10.0
    disable_coordinates: bool = False
    acl: AclConfig = AclConfig()
    connect_enabled: bool = False
    ca_config: dict[str, Any] = {}
    config_entries: list[dict[str, Any]] = []
    services: list[dict[str, Any]] = []
    checks: list[dict[str, Any]] = []
    primary_datacenter: str = ""
    disable_http_unprintable_char_filter: bool = False
