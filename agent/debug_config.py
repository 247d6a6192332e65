"""An agent's whole configuration under Go's names, without secrets: `DebugConfig` of /v1/agent/self."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from agent.config.settings import Config, TlsInterface
from agent.urls import bare_url
from agent.version import CONSUL_VERSION
from gossip.options import PoolOptions
from model.durations import SECOND, format_duration

if TYPE_CHECKING:
    from agent.agent import Agent

HIDDEN = "hidden"
"""What stands for a secret, whether there is one or not."""
_SECRET_WORDS = ("key", "secret", "token", "password")


def debug_config(agent: "Agent") -> dict[str, Any]:
    """The configuration that an agent runs with. What lictor has no setting for is left out."""
    config = agent.config
    return {
        **_addresses(config),
        **_acl(config),
        **_checks(config),
        **_cluster(agent),
        **_connect(config),
        **_dns(config),
        **_http(config),
        **_limits(config),
        **_tls(config),
        **_pool(config.gossip.lan, "LAN"),
        **_pool(config.gossip.wan, "WAN"),
        "Logging": _logging(config),
        "Telemetry": _telemetry(config),
        "UIConfig": _ui(config),
        "Version": CONSUL_VERSION,
    }


def _addresses(config: Config) -> dict[str, Any]:
    ports, gossip = config.ports, config.gossip
    bind, advertise, wide = config.bind_addr, config.advertise_addr, config.advertise_addr_wan
    wan = {
        "SerfAdvertiseAddrWAN": _tcp(gossip.wan.advertise or wide, ports.serf_wan),
        "SerfBindAddrWAN": _tcp(gossip.wan.bind or bind, ports.serf_wan),
    }
    return {
        **(wan if ports.serf_wan >= 0 else {}),
        "AdvertiseAddrLAN": advertise,
        "AdvertiseAddrWAN": wide,
        "BindAddr": bind,
        "ClientAddrs": config.client_addrs,
        "DNSAddrs": [_tcp(host, ports.dns, net) for host in config.dns_addrs for net in ("tcp", "udp")],
        "DNSPort": ports.dns,
        "GRPCAddrs": _shown(config.client_addrs, ports.grpc),
        "GRPCPort": ports.grpc,
        "GRPCTLSAddrs": _shown(config.client_addrs, ports.grpc_tls),
        "GRPCTLSPort": ports.grpc_tls,
        "HTTPAddrs": _shown(config.http_addrs, ports.http),
        "HTTPPort": ports.http,
        "HTTPSAddrs": _shown(config.https_addrs, ports.https),
        "HTTPSPort": ports.https,
        "RPCAdvertiseAddr": _tcp(advertise, ports.server),
        "RPCBindAddr": _tcp(bind, ports.server),
        "SerfAdvertiseAddrLAN": _tcp(gossip.lan.advertise or advertise, ports.serf_lan),
        "SerfBindAddrLAN": _tcp(gossip.lan.bind or bind, ports.serf_lan),
        "SerfPortLAN": ports.serf_lan,
        "SerfPortWAN": ports.serf_wan,
        "ServerPort": ports.server,
        "TaggedAddresses": config.tagged_addresses,
        "TranslateWANAddrs": config.translate_wan_addrs,
        "UnixSocketGroup": _number(config.unix_sockets.group),
        "UnixSocketMode": _number(config.unix_sockets.mode, "o"),
        "UnixSocketUser": _number(config.unix_sockets.user),
    }


def _acl(config: Config) -> dict[str, Any]:
    acl = config.acl
    return {
        "ACLEnableKeyListPolicy": acl.enable_key_list_policy,
        "ACLInitialManagementToken": HIDDEN,
        "ACLResolverSettings": {
            "ACLDefaultPolicy": acl.default_policy,
            "ACLDownPolicy": acl.down_policy,
            "ACLPolicyTTL": _go(acl.policy_ttl),
            "ACLRoleTTL": _go(acl.role_ttl),
            "ACLTokenTTL": _go(acl.token_ttl),
            "ACLsEnabled": acl.enabled,
            "Datacenter": config.datacenter,
            "EnterpriseMeta": {},
            "NodeName": config.node_name,
        },
        "ACLTokenReplication": acl.enable_token_replication,
        "ACLTokens": {
            "ACLAgentRecoveryToken": HIDDEN,
            "ACLAgentToken": HIDDEN,
            "ACLDefaultToken": HIDDEN,
            "ACLReplicationToken": HIDDEN,
            "DataDir": config.data_dir,
            "EnablePersistence": acl.enable_token_persistence,
            "EnterpriseConfig": {},
        },
        "ACLsEnabled": acl.enabled,
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


def _cluster(agent: "Agent") -> dict[str, Any]:
    config = agent.config
    gossip, pilot, raft = config.gossip, config.autopilot, config.raft
    return {
        "AdvertiseReconnectTimeout": gossip.advertise_reconnect or "0s",
        "AutoReloadConfig": config.auto_reload_config,
        "AutopilotCleanupDeadServers": pilot.cleanup_dead_servers,
        "AutopilotDisableUpgradeMigration": pilot.disable_upgrade_migration,
        "AutopilotLastContactThreshold": format_duration(pilot.last_contact_threshold),
        "AutopilotMaxTrailingLogs": pilot.max_trailing_logs,
        "AutopilotMinQuorum": pilot.min_quorum,
        "AutopilotRedundancyZoneTag": pilot.redundancy_zone_tag,
        "AutopilotServerStabilizationTime": format_duration(pilot.server_stabilization_time),
        "AutopilotUpgradeVersionTag": pilot.upgrade_version_tag,
        "Bootstrap": config.bootstrap and not config.dev,
        "BootstrapExpect": config.bootstrap_expect,
        "DataDir": config.data_dir,
        "Datacenter": config.datacenter,
        "DevMode": config.dev,
        "DisableCoordinates": config.disable_coordinates,
        "DisableHostNodeID": not config.host_node_id,
        "DisableRemoteExec": config.disable_remote_exec,
        "EnableDebug": config.enable_debug,
        "EncryptKey": HIDDEN,
        "EncryptVerifyIncoming": gossip.lan.verify_incoming,
        "EncryptVerifyOutgoing": gossip.lan.verify_outgoing,
        "LeaveDrainTime": _go(config.leave_drain_time),
        "LeaveOnTerm": config.leave_on_terminate,
        "NodeID": agent.node_id,
        "NodeMeta": config.node_meta,
        "NodeName": config.node_name,
        "PidFile": config.pid_file,
        "PrimaryDatacenter": config.primary_datacenter or config.datacenter,
        "RPCProtocol": config.protocol,
        "RaftProtocol": config.raft_protocol,
        "RaftSnapshotInterval": _go(raft.snapshot_interval),
        "RaftSnapshotThreshold": raft.snapshot_threshold,
        "RaftTrailingLogs": raft.trailing_logs,
        "RejoinAfterLeave": gossip.lan.rejoin_after_leave,
        "RetryJoinIntervalLAN": _go(config.retry_interval),
        "RetryJoinIntervalWAN": _go(gossip.retry_interval_wan),
        "RetryJoinLAN": config.retry_join,
        "RetryJoinMaxAttemptsLAN": config.retry_max,
        "RetryJoinMaxAttemptsWAN": gossip.retry_max_wan,
        "RetryJoinWAN": gossip.retry_join_wan,
        "ServerMode": config.server,
        "ServerRejoinAgeMax": _go(config.server_rejoin_age_max),
        "SkipLeaveOnInt": config.skip_leave_on_interrupt,
        "StartJoinAddrsLAN": config.start_join,
        "StartJoinAddrsWAN": gossip.start_join_wan,
        "StaticRuntimeConfig": {
            "EncryptVerifyIncoming": gossip.lan.verify_incoming,
            "EncryptVerifyOutgoing": gossip.lan.verify_outgoing,
        },
        "UseStreamingBackend": config.use_streaming_backend,
        "Watches": [without_secrets(watch) for watch in config.watches],
    }


def _connect(config: Config) -> dict[str, Any]:
    ports = config.ports
    return {
        "ConfigEntryBootstrap": [without_secrets(entry) for entry in config.config_entries],
        "ConnectCAConfig": without_secrets(config.ca_config),
        "ConnectCAProvider": "consul" if config.ca_config else "",
        "ConnectEnabled": config.connect_enabled,
        "ConnectMeshGatewayWANFederationEnabled": False,
        "ConnectServerlessPluginEnabled": False,
        "ConnectSidecarMaxPort": ports.sidecar_max_port,
        "ConnectSidecarMinPort": ports.sidecar_min_port,
        "ConnectTestCALeafRootChangeSpread": "0s",
        "EnableCentralServiceConfig": config.central_config,
        "ExposeMaxPort": ports.expose_max_port,
        "ExposeMinPort": ports.expose_min_port,
    }


def _dns(config: Config) -> dict[str, Any]:
    dns = config.dns
    return {
        "DNSARecordLimit": dns.a_record_limit,
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
    http = config.http
    return {
        "AllowWriteHTTPFrom": http.allow_write_http_from,
        "DisableHTTPUnprintableCharFilter": config.disable_http_unprintable_char_filter,
        "HTTPBlockEndpoints": http.block_endpoints,
        "HTTPMaxConnsPerClient": config.limits.http_max_conns_per_client,
        "HTTPMaxHeaderBytes": http.max_header_bytes,
        "HTTPResponseHeaders": dict.fromkeys(http.response_headers, HIDDEN),
        "HTTPSHandshakeTimeout": _go(config.limits.https_handshake_timeout),
        "HTTPUseCache": http.use_cache,
    }


def _limits(config: Config) -> dict[str, Any]:
    limits = config.limits
    return {
        "Cache": {"EntryFetchMaxBurst": config.cache_limit.burst, "EntryFetchRate": config.cache_limit.rate},
        "DefaultQueryTime": _go(config.default_query_time),
        "DiscoveryMaxStale": _go(config.discovery_max_stale),
        "KVMaxValueSize": config.kv_max_value_size,
        "MaxQueryTime": _go(config.max_query_time),
        "RPCClientTimeout": _go(limits.rpc_client_timeout),
        "RPCHandshakeTimeout": _go(limits.rpc_handshake_timeout),
        "RPCHoldTimeout": _go(config.rpc_hold_timeout),
        "RPCMaxBurst": config.rpc_limit.burst,
        "RPCMaxConnsPerClient": limits.rpc_max_conns_per_client,
        "RPCRateLimit": config.rpc_limit.rate or -1,
        "SessionTTLMin": _go(config.session_ttl_min),
        "TxnMaxReqLen": config.txn_max_req_len,
    }


def _tls(config: Config) -> dict[str, Any]:
    tls, encrypt = config.tls, config.auto_encrypt

    def interface(one: TlsInterface, hostname: bool) -> dict[str, Any]:
        return {
            "CAFile": one.ca_file,
            "CAPath": one.ca_path,
            "CertFile": one.cert_file,
            "CipherSuites": one.cipher_suites,
            "KeyFile": HIDDEN,
            "TLSMinVersion": one.min_version,
            "VerifyIncoming": one.verify_incoming,
            "VerifyOutgoing": one.verify_outgoing,
            "VerifyServerHostname": hostname,
        }

    return {
        "AutoEncryptAllowTLS": encrypt.allow_tls,
        "AutoEncryptDNSSAN": encrypt.dns_san,
        "AutoEncryptIPSAN": encrypt.ip_san,
        "AutoEncryptTLS": encrypt.tls,
        "ServerName": tls.server_name,
        "TLS": {
            "AutoTLS": encrypt.tls,
            "Domain": config.domain,
            "EnableAgentTLSForChecks": config.enable_agent_tls_for_checks,
            "GRPC": interface(tls.grpc, False),
            "HTTPS": interface(tls.https, False),
            "InternalRPC": interface(tls.internal_rpc, tls.verify_server_hostname),
            "NodeName": config.node_name,
            "ServerMode": config.server,
            "ServerName": tls.server_name,
        },
    }


def _pool(options: PoolOptions, pool: str) -> dict[str, Any]:
    timing = options.timing
    return {
        f"Gossip{pool}GossipInterval": _go(timing.gossip_interval),
        f"Gossip{pool}GossipNodes": timing.gossip_nodes,
        f"Gossip{pool}ProbeInterval": _go(timing.probe_interval),
        f"Gossip{pool}ProbeTimeout": _go(timing.probe_timeout),
        f"Gossip{pool}RetransmitMult": timing.retransmit,
        f"Gossip{pool}SuspicionMult": timing.suspicion,
        f"ReconnectTimeout{pool}": _go(timing.reap_failed),
        f"SerfAllowedCIDRs{pool}": [str(network) for network in options.allowed],
    }


def _logging(config: Config) -> dict[str, Any]:
    to = config.log_to
    return {
        "EnableSyslog": bool(to.syslog_facility),
        "LogFilePath": to.path,
        "LogJSON": config.log_json,
        "LogLevel": config.log_level,
        "LogRotateBytes": to.rotate_bytes,
        "LogRotateDuration": _go(to.rotate_seconds),
        "LogRotateMaxFiles": to.max_files,
        "SyslogFacility": to.syslog_facility or "LOCAL0",
    }


def _telemetry(config: Config) -> dict[str, Any]:
    telemetry = config.telemetry
    return {
        "AllowedPrefixes": list(telemetry.allowed),
        "BlockedPrefixes": list(telemetry.blocked),
        "DisableHostname": telemetry.disable_hostname,
        "DogstatsdAddr": telemetry.dogstatsd_address,
        "DogstatsdTags": list(telemetry.dogstatsd_tags),
        "FilterDefault": telemetry.filter_default,
        "MetricsPrefix": telemetry.metrics_prefix,
        "PrometheusOpts": {"Expiration": _go(telemetry.prometheus_retention), "Name": telemetry.metrics_prefix},
        "RetryFailedConfiguration": telemetry.retry_failed_connection,
        "StatsdAddr": telemetry.statsd_address,
        "StatsiteAddr": telemetry.statsite_address,
    }


def _ui(config: Config) -> dict[str, Any]:
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
        "MetricsProxy": {"AddHeaders": [], "BaseURL": bare_url(proxy.base_url), "PathAllowlist": proxy.path_allowlist},
    }


def without_secrets(value: Any) -> Any:
    """A setting in which what stands under a name like `PrivateKey` or `token` is hidden, and passwords of URLs are."""
    if isinstance(value, dict):
        return {key: HIDDEN if _is_secret(str(key)) else without_secrets(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [without_secrets(one) for one in value]
    return bare_url(value) if isinstance(value, str) and "://" in value else value


def _is_secret(name: str) -> bool:
    """Whether a setting of this name may hold a secret. How a key is made is none; headers may be credentials."""
    lower = name.lower().replace("_", "")
    if lower in ("privatekeytype", "privatekeybits", "key", "keyprefix"):  # A watch's key is one of the KV store.
        return False
    return lower in ("header", "headers") or any(word in lower for word in _SECRET_WORDS)


def _tcp(address: str, port: int, scheme: str = "tcp") -> str:
    host = f"[{address}]" if ":" in address else address
    return f"{scheme}://{host}:{port}" if port >= 0 else ""


def _shown(addresses: Iterable[str], port: int) -> list[str]:
    return [one if one.startswith("unix://") else _tcp(one, port) for one in addresses] if port >= 0 else []


def _number(value: int | None, form: str = "d") -> str:
    return "" if value is None else format(value, form)


def _go(seconds: float) -> str:
    return format_duration(round(seconds * SECOND))
