"""An agent's configuration as /v1/agent/self shows it: under the names of Consul's fields, without secrets. Pure."""

from typing import Any

from agent.config.settings import Config, TlsInterface
from agent.version import CONSUL_VERSION
from gossip.options import PoolOptions
from model.durations import SECOND, format_duration

HIDDEN = "hidden"
"""What stands in the place of a secret, whether there is one or not."""


def shown_config(config: Config, node_id: str) -> dict[str, Any]:
    """The DebugConfig of /v1/agent/self."""
    shown = {
        **_agent(config, node_id),
        **_addresses(config),
        **_autopilot_and_raft(config),
        **_checks(config),
        **_dns(config),
        **_http(config),
        **_limits(config),
        **_pool(config.gossip.lan, "LAN", config.bind_addr, config.advertise_addr, config.ports.serf_lan),
        **_pool(config.gossip.wan, "WAN", config.bind_addr, config.advertise_addr_wan, config.ports.serf_wan),
        "Logging": _logging(config),
        "TLS": _tls(config),
        "UIConfig": _ui_config(config),
    }
    return dict(sorted(shown.items()))


def _agent(config: Config, node_id: str) -> dict[str, Any]:
    gossip = config.gossip
    return {
        "AutoEncryptAllowTLS": config.auto_encrypt.allow_tls,
        "AutoEncryptDNSSAN": config.auto_encrypt.dns_san,
        "AutoEncryptIPSAN": config.auto_encrypt.ip_san,
        "AutoEncryptTLS": config.auto_encrypt.tls,
        "AutoReloadConfig": config.auto_reload_config,
        "Bootstrap": config.bootstrap and not config.dev,
        "BootstrapExpect": config.bootstrap_expect,
        "ConnectEnabled": config.connect_enabled,
        "DataDir": config.data_dir,
        "Datacenter": config.datacenter,
        "DevMode": config.dev,
        "DisableCoordinates": config.disable_coordinates,
        "DisableHostNodeID": not config.host_node_id,
        "DisableRemoteExec": config.disable_remote_exec,
        "EnableCentralServiceConfig": config.central_config,
        "EnableDebug": config.enable_debug,
        "EncryptKey": HIDDEN,
        "EncryptVerifyIncoming": gossip.lan.verify_incoming,
        "EncryptVerifyOutgoing": gossip.lan.verify_outgoing,
        "LeaveDrainTime": _go(config.leave_drain_time),
        "LeaveOnTerm": config.leave_on_terminate,
        "NodeID": node_id,
        "NodeMeta": config.node_meta,
        "NodeName": config.node_name,
        "PidFile": config.pid_file,
        "PrimaryDatacenter": config.primary_datacenter or config.datacenter,
        "RejoinAfterLeave": gossip.lan.rejoin_after_leave,
        "RetryJoinIntervalLAN": _go(config.retry_interval),
        "RetryJoinIntervalWAN": _go(gossip.retry_interval_wan),
        "RetryJoinLAN": config.retry_join,
        "RetryJoinMaxAttemptsLAN": config.retry_max,
        "RetryJoinMaxAttemptsWAN": gossip.retry_max_wan,
        "RetryJoinWAN": gossip.retry_join_wan,
        "ServerMode": config.server,
        "SkipLeaveOnInt": config.skip_leave_on_interrupt,
        "StartJoinAddrsLAN": config.start_join,
        "StartJoinAddrsWAN": gossip.start_join_wan,
        "StaticRuntimeConfig": {
            "EncryptVerifyIncoming": gossip.lan.verify_incoming,
            "EncryptVerifyOutgoing": gossip.lan.verify_outgoing,
        },
        "TranslateWANAddrs": config.translate_wan_addrs,
        "UseStreamingBackend": config.use_streaming_backend,
        "Version": CONSUL_VERSION,
    }


def _addresses(config: Config) -> dict[str, Any]:
    ports = config.ports
    return {
        "AdvertiseAddrLAN": config.advertise_addr,
        "AdvertiseAddrWAN": config.advertise_addr_wan,
        "BindAddr": config.bind_addr,
        "ClientAddrs": config.client_addrs,
        "ConnectSidecarMaxPort": ports.sidecar_max_port,
        "ConnectSidecarMinPort": ports.sidecar_min_port,
        "RPCAdvertiseAddr": _place(config.advertise_addr, ports.server),
        "RPCBindAddr": _place(config.bind_addr, ports.server),
        "ServerPort": ports.server,
        "TaggedAddresses": config.tagged_addresses,
    }


def _autopilot_and_raft(config: Config) -> dict[str, Any]:
    pilot, raft = config.autopilot, config.raft
    return {
        "AutopilotCleanupDeadServers": pilot.cleanup_dead_servers,
        "AutopilotLastContactThreshold": format_duration(pilot.last_contact_threshold),
        "AutopilotMaxTrailingLogs": pilot.max_trailing_logs,
        "AutopilotMinQuorum": pilot.min_quorum,
        "AutopilotServerStabilizationTime": format_duration(pilot.server_stabilization_time),
        "RPCProtocol": config.protocol,
        "RaftProtocol": config.raft_protocol,
        "RaftSnapshotInterval": _go(raft.snapshot_interval),
        "RaftSnapshotThreshold": raft.snapshot_threshold,
        "RaftTrailingLogs": raft.trailing_logs,
    }


def _checks(config: Config) -> dict[str, Any]:
    return {
        "CheckOutputMaxSize": config.check_output_max_size,
        "CheckUpdateInterval": _go(config.check_update_interval),
        "DiscardCheckOutput": config.discard_check_output,
        "EnableAgentTLSForChecks": config.enable_agent_tls_for_checks,
        "EnableLocalScriptChecks": config.enable_local_script_checks,
        "EnableRemoteScriptChecks": config.enable_script_checks,
    }


def _dns(config: Config) -> dict[str, Any]:
    dns, port = config.dns, config.ports.dns
    return {
        "DNSARecordLimit": dns.a_record_limit,
        "DNSAddrs": [f"{net}{_place(host, port)[3:]}" for host in config.dns_addrs for net in ("tcp", "udp")],
        "DNSAllowStale": dns.allow_stale,
        "DNSAltDomain": config.alt_domain,
        "DNSCacheMaxAge": _go(dns.cache_max_age),
        "DNSDisableCompression": dns.disable_compression,
        "DNSDomain": config.domain,
        "DNSEnableTruncate": dns.enable_truncate,
        "DNSMaxStale": _go(dns.max_stale),
        "DNSNodeMetaTXT": dns.enable_additional_node_meta_txt,
        "DNSNodeTTL": _go(dns.node_ttl),
        "DNSOnlyPassing": dns.only_passing,
        "DNSPort": port,
        "DNSRecursorStrategy": dns.recursor_strategy,
        "DNSRecursorTimeout": _go(dns.recursor_timeout),
        "DNSRecursors": config.recursors,
        "DNSSOA": {
            "Expire": dns.soa.expire,
            "Minttl": dns.soa.min_ttl,
            "Refresh": dns.soa.refresh,
            "Retry": dns.soa.retry,
        },
        "DNSServiceTTL": {name: _go(ttl) for name, ttl in dns.service_ttl.items()},
        "DNSUDPAnswerLimit": dns.udp_answer_limit,
        "DNSUseCache": dns.use_cache,
    }


def _http(config: Config) -> dict[str, Any]:
    http, ports = config.http, config.ports
    return {
        "AllowWriteHTTPFrom": http.allow_write_http_from,
        "DisableHTTPUnprintableCharFilter": config.disable_http_unprintable_char_filter,
        "HTTPAddrs": _shown_addresses(config.http_addrs, ports.http),
        "HTTPBlockEndpoints": http.block_endpoints,
        "HTTPMaxConnsPerClient": config.limits.http_max_conns_per_client,
        "HTTPMaxHeaderBytes": http.max_header_bytes,
        "HTTPPort": ports.http,
        # Values of headers may be credentials.
        "HTTPResponseHeaders": dict.fromkeys(http.response_headers, HIDDEN),
        "HTTPSAddrs": _shown_addresses(config.https_addrs, ports.https),
        "HTTPSHandshakeTimeout": _go(config.limits.https_handshake_timeout),
        "HTTPSPort": ports.https,
        "HTTPUseCache": http.use_cache,
    }


def _limits(config: Config) -> dict[str, Any]:
    return {
        "DefaultQueryTime": _go(config.default_query_time),
        "DiscoveryMaxStale": _go(config.discovery_max_stale),
        "KVMaxValueSize": config.kv_max_value_size,
        "MaxQueryTime": _go(config.max_query_time),
        "RPCClientTimeout": _go(config.limits.rpc_client_timeout),
        "RPCHandshakeTimeout": _go(config.limits.rpc_handshake_timeout),
        "RPCHoldTimeout": _go(config.rpc_hold_timeout),
        "RPCMaxConnsPerClient": config.limits.rpc_max_conns_per_client,
        "SessionTTLMin": _go(config.session_ttl_min),
        "TxnMaxReqLen": config.txn_max_req_len,
    }


def _pool(options: PoolOptions, pool: str, bind: str, advertise: str, port: int) -> dict[str, Any]:
    """An agent's part in a gossip pool, which it may be without (port -1)."""
    timing = options.timing
    shown: dict[str, Any] = {
        f"Gossip{pool}GossipInterval": _go(timing.gossip_interval),
        f"Gossip{pool}GossipNodes": timing.gossip_nodes,
        f"Gossip{pool}ProbeInterval": _go(timing.probe_interval),
        f"Gossip{pool}ProbeTimeout": _go(timing.probe_timeout),
        f"Gossip{pool}RetransmitMult": timing.retransmit,
        f"Gossip{pool}SuspicionMult": timing.suspicion,
        f"ReconnectTimeout{pool}": _go(timing.reap_failed),
        f"SerfAllowedCIDRs{pool}": [str(network) for network in options.allowed],
        f"SerfPort{pool}": port,
    }
    if port > 0:
        shown[f"SerfAdvertiseAddr{pool}"] = _place(options.advertise or advertise, port)
        shown[f"SerfBindAddr{pool}"] = _place(options.bind or bind, port)
    return shown


def _logging(config: Config) -> dict[str, Any]:
    to = config.log_to
    return {
        "EnableSyslog": bool(to.syslog_facility),
        "LogFilePath": to.path,
        "LogJSON": config.log_json,
        "LogLevel": config.log_level.lower(),
        "LogRotateBytes": to.rotate_bytes,
        "LogRotateDuration": _go(to.rotate_seconds),
        "LogRotateMaxFiles": to.max_files,
        "SyslogFacility": to.syslog_facility,
    }


def _tls(config: Config) -> dict[str, Any]:
    tls = config.tls
    return {
        "Domain": config.domain,
        "EnableAgentTLSForChecks": config.enable_agent_tls_for_checks,
        "GRPC": _tls_interface(tls.grpc),
        "HTTPS": _tls_interface(tls.https),
        "InternalRPC": {**_tls_interface(tls.internal_rpc), "VerifyServerHostname": tls.verify_server_hostname},
        "NodeName": config.node_name,
        "ServerMode": config.server,
        "ServerName": tls.server_name,
    }


def _tls_interface(one: TlsInterface) -> dict[str, Any]:
    return {
        "CAFile": one.ca_file,
        "CAPath": one.ca_path,
        "CertFile": one.cert_file,
        "CipherSuites": one.cipher_suites,
        "KeyFile": HIDDEN,
        "TLSMinVersion": one.min_version,
        "VerifyIncoming": one.verify_incoming,
        "VerifyOutgoing": one.verify_outgoing,
    }


def _ui_config(config: Config) -> dict[str, Any]:
    """What the UI is told, without the headers that the metrics proxy adds: these may be credentials."""
    ui, proxy = config.ui_settings, config.metrics_proxy
    return {
        "ContentPath": config.ui_path,
        "DashboardURLTemplates": ui.dashboard_url_templates,
        "Dir": ui.folder,
        "Enabled": config.ui,
        "MetricsProvider": ui.metrics_provider,
        "MetricsProviderFiles": [],
        "MetricsProviderOptionsJSON": ui.metrics_provider_options_json,
        "MetricsProxy": {"AddHeaders": [], "BaseURL": _bare(proxy.base_url), "PathAllowlist": proxy.path_allowlist},
    }


def _bare(url: str) -> str:
    """A URL without the name and password that may stand in it."""
    scheme, separator, rest = url.partition("://")
    place, slash, path = rest.partition("/")
    return f"{scheme}{separator}{place.rpartition('@')[2]}{slash}{path}"


def _shown_addresses(addresses: list[str], port: int) -> list[str]:
    if port < 0:
        return []
    return [one if one.startswith("unix://") else _place(one, port) for one in addresses]


def _place(host: str, port: int) -> str:
    """A TCP address as Consul shows it."""
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"


def _go(seconds: float) -> str:
    return format_duration(round(seconds * SECOND))
