"""The keys of Consul's agent configuration: which are known, which lictor honours, how flags spell them."""

HONOURED = frozenset(
    (
        *("addresses", "advertise_addr", "alt_domain", "bind_addr", "bootstrap", "bootstrap_expect", "check", "checks"),
        *("check_output_max_size", "check_update_interval", "client_addr", "config_entries", "connect", "data_dir"),
        *("datacenter", "default_query_time", "disable_coordinates", "disable_http_unprintable_char_filter"),
        *("discard_check_output", "dns_config", "domain", "enable_debug", "enable_local_script_checks"),
        *("enable_script_checks", "http_config", "leave_on_terminate", "limits", "log_file", "log_json", "log_level"),
        *("max_query_time", "node_id", "node_meta", "node_name", "performance", "ports", "primary_datacenter"),
        *("raft_protocol", "recursors", "rejoin_after_leave", "retry_interval", "retry_join", "retry_max"),
        *("server", "service", "services", "session_ttl_min", "skip_leave_on_interrupt", "start_join", "ui"),
        *("ui_config",),
        *("disable_update_check", "disable_anonymous_signature", "disable_keyring_file", "disable_host_node_id"),
        *("autopilot", "disable_remote_exec", "protocol", "ui_content_path", "enable_central_service_config"),
        *("advertise_addr_ipv4", "advertise_addr_ipv6", "advertise_addr_wan", "advertise_addr_wan_ipv4"),
        *("advertise_addr_wan_ipv6", "allow_write_http_from", "auto_reload_config", "cache", "discovery_max_stale"),
        *("enable_syslog", "log_rotate_bytes", "log_rotate_duration", "log_rotate_max_files", "pid_file"),
        *("raft_snapshot_interval", "raft_snapshot_threshold", "raft_trailing_logs", "rpc", "server_rejoin_age_max"),
        *("syslog_facility", "tagged_addresses", "telemetry", "translate_wan_addrs", "ui_dir"),
        *("use_streaming_backend", "watches"),
        *("ca_file", "ca_path", "cert_file", "key_file", "tls", "tls_cipher_suites", "tls_min_version"),
        *("tls_prefer_server_cipher_suites", "unix_sockets", "verify_incoming", "verify_incoming_https"),
        *("verify_incoming_rpc", "verify_outgoing", "verify_server_hostname"),
        *("auto_encrypt", "enable_agent_tls_for_checks", "server_name"),
        *("advertise_addr_wan", "advertise_reconnect_timeout", "encrypt", "encrypt_verify_incoming"),
        *("encrypt_verify_outgoing", "gossip_lan", "gossip_wan", "reconnect_timeout", "reconnect_timeout_wan"),
        *("retry_interval_wan", "retry_join_wan", "retry_max_wan", "serf_lan", "serf_lan_allowed_cidrs", "serf_wan"),
        *("serf_wan_allowed_cidrs", "start_join_wan"),
        *("acl", "acl_agent_master_token", "acl_agent_token", "acl_datacenter", "acl_default_policy"),
        *("acl_down_policy", "acl_enable_key_list_policy", "acl_master_token", "acl_replication_token", "acl_token"),
        *("acl_ttl", "enable_acl_replication"),
        # Consul's own settings of itself, which files may name and whose values it never takes from them.
        *("ae_interval", "build_date", "check_deregister_interval_min", "check_reap_interval", "consul", "revision"),
        *("segment_limit", "segment_name_limit", "sync_coordinate_interval_min", "sync_coordinate_rate_target"),
        *("version", "version_metadata", "version_prerelease"),
    )
)
"""Keys that have their effect, or whose effect lictor has anyway."""

KNOWN = HONOURED | frozenset(
    (
        *("acl_enable_token_replication", "audit", "auto_config", "cloud"),
        *("default_intention_policy",),
        *("experiments", "license_path", "locality", "non_voting_server"),
        *("partition", "peering", "primary_gateways", "primary_gateways_interval", "raft_boltdb"),
        *("raft_logstore", "read_replica", "reporting", "segment", "segments", "xds"),
    )
)
"""Every key of Consul 1.14's files. Those that are not honoured yet are warned about."""

DURATIONS = (
    "primary_gateways_interval",
)
"""Durations that have no effect yet, but must be well formed."""

_GOSSIP = frozenset(
    ("gossip_nodes", "gossip_interval", "probe_interval", "probe_timeout", "suspicion_mult", "retransmit_mult")
)
NESTED = {
    "ports": frozenset(
        (
            *("dns", "http", "https", "grpc", "grpc_tls", "serf_lan", "serf_wan", "server", "sidecar_min_port"),
            *("sidecar_max_port", "expose_min_port", "expose_max_port", "proxy_min_port", "proxy_max_port"),
        )
    ),
    "autopilot": frozenset(
        (
            *("cleanup_dead_servers", "disable_upgrade_migration", "last_contact_threshold", "max_trailing_logs"),
            *("min_quorum", "redundancy_zone_tag", "server_stabilization_time", "upgrade_version_tag"),
        )
    ),
    "gossip_lan": _GOSSIP,
    "gossip_wan": _GOSSIP,
    "addresses": frozenset(("dns", "http", "https", "grpc", "grpc_tls")),
    "dns_config": frozenset(
        (
            *("allow_stale", "max_stale", "node_ttl", "service_ttl", "enable_truncate", "only_passing"),
            *("recursor_timeout", "recursor_strategy", "disable_compression", "udp_answer_limit", "a_record_limit"),
            *("enable_additional_node_meta_txt", "soa", "use_cache", "cache_max_age", "prefer_namespace"),
        )
    ),
    "http_config": frozenset(
        ("block_endpoints", "response_headers", "allow_write_http_from", "use_cache", "max_header_bytes")
    ),
    "performance": frozenset(
        ("raft_multiplier", "lease_reads", "leave_drain_time", "rpc_hold_timeout", "grpc_keepalive_interval")
    ),
    "ui_config": frozenset(
        (
            *("enabled", "dir", "content_path", "metrics_provider", "metrics_provider_files", "metrics_proxy"),
            *("metrics_provider_options_json", "dashboard_url_templates"),
        )
    ),
    "limits": frozenset(
        (
            *("http_max_conns_per_client", "https_handshake_timeout", "rpc_client_timeout", "rpc_handshake_timeout"),
            *("rpc_max_burst", "rpc_max_conns_per_client", "rpc_rate", "kv_max_value_size", "txn_max_req_len"),
            *("request_limits",),
        )
    ),
    "tls": frozenset(("defaults", "grpc", "https", "internal_rpc")),
    "unix_sockets": frozenset(("group", "mode", "user")),
    "connect": frozenset(
        (
            *("enabled", "ca_provider", "ca_config", "mesh_gateway_wan_federation_enabled"),
            *("enable_mesh_gateway_wan_federation", "enable_serverless_plugin", "test_ca_leaf_root_change_spread"),
        )
    ),
}
"""Keys below those that have some of their own."""

FLAGS: dict[str, tuple[str, str, str]] = {
    "advertise": (
        "advertise_addr",
        "text",
        "Address that other agents reach this one by; the bound one by default. May be a template.",
    ),
    "advertise-wan": ("advertise_addr_wan", "text", "Address that other datacenters reach this agent by."),
    "allow-write-http-from": (
        "allow_write_http_from",
        "list",
        "Network (10.0.0.0/8) from which the HTTP API may be written to; may be given several times.",
    ),
    "alt-domain": ("alt_domain", "text", "Alternate domain for DNS."),
    "auto-reload-config": ("auto_reload_config", "bool", "Reload when a configuration file changes."),
    "bind": (
        "bind_addr",
        "text",
        'Address for cluster traffic: an IP address, or a template such as {{ GetInterfaceIP "eth0" }}.',
    ),
    "bootstrap": ("bootstrap", "bool", "Lead alone from the first start (one server only)."),
    "bootstrap-expect": ("bootstrap_expect", "int", "Number of servers to wait for before the first election."),
    "check_output_max_size": ("check_output_max_size", "int", "Bytes of a check's output that are kept."),
    "client": ("client_addr", "text", "Addresses for HTTP and DNS, separated by blanks; may be a template."),
    "data-dir": ("data_dir", "text", "Folder for everything that must survive a restart."),
    "datacenter": ("datacenter", "text", "Datacenter of this agent."),
    "default-query-time": ("default_query_time", "text", "Time that a blocking query waits without ?wait."),
    "disable-host-node-id": ("disable_host_node_id", "bool", "Make a random node ID (the default)."),
    "disable-keyring-file": ("disable_keyring_file", "bool", "Keep no keyring on disk."),
    "dns-port": ("ports.dns", "int", "Port of DNS; -1 disables."),
    "domain": ("domain", "text", "Domain for DNS."),
    "enable-local-script-checks": ("enable_local_script_checks", "bool", "Allow script checks from files."),
    "enable-script-checks": ("enable_script_checks", "bool", "Allow script checks."),
    "encrypt": ("encrypt", "text", "Gossip key."),
    "grpc-port": ("ports.grpc", "int", "Port of gRPC."),
    "grpc-tls-port": ("ports.grpc_tls", "int", "Port of gRPC with TLS."),
    "http-port": ("ports.http", "int", "Port of HTTP; -1 disables."),
    "https-port": ("ports.https", "int", "Port of HTTPS; -1 disables."),
    "hcl": ("", "hcl", "A piece of configuration as HCL; may be given several times."),
    "join": ("start_join", "list", "Address of an agent to join at start; may be given several times."),
    "join-wan": ("start_join_wan", "list", "Address of a server elsewhere to join at start."),
    "log-file": ("log_file", "text", "Begin of the names of files for logs; a time is appended."),
    "log-json": ("log_json", "bool", "Log as JSON."),
    "log-level": ("log_level", "text", "Least level to log: trace, debug, info, warn, error."),
    "log-rotate-bytes": ("log_rotate_bytes", "int", "Bytes after which a new log file is begun."),
    "log-rotate-duration": ("log_rotate_duration", "text", "Time after which a new log file is begun (24h)."),
    "log-rotate-max-files": ("log_rotate_max_files", "int", "Older log files to keep; 0 for all, -1 for none."),
    "max-query-time": ("max_query_time", "text", "Time that a blocking query waits at most."),
    "node": ("node_name", "text", "Name of this node; its host name by default."),
    "node-id": ("node_id", "text", "ID of this node, a UUID."),
    "node-meta": ("node_meta", "map", "key:value pair for this node; may be given several times."),
    "non-voting-server": ("non_voting_server", "bool", "(Consul Enterprise) Old name of -read-replica."),
    "partition": ("partition", "text", "(Consul Enterprise) Admin partition of this agent."),
    "pid-file": ("pid_file", "text", "File to write the process's number to."),
    "primary-gateway": ("primary_gateways", "list", "Mesh gateway of the primary datacenter."),
    "protocol": ("protocol", "int", "Protocol version."),
    "raft-protocol": ("raft_protocol", "int", "Raft protocol version."),
    "read-replica": ("read_replica", "bool", "(Consul Enterprise) Follow the servers without a vote."),
    "recursor": ("recursors", "list", "DNS server for other domains; may be given several times."),
    "rejoin": ("rejoin_after_leave", "bool", "Rejoin the cluster after having left it."),
    "retry-interval": ("retry_interval", "text", "Time between attempts to join."),
    "retry-interval-wan": ("retry_interval_wan", "text", "Time between attempts to join the WAN pool."),
    "retry-join": (
        "retry_join",
        "list",
        "Address of an agent to join, until it works; may be a template, and given several times.",
    ),
    "retry-join-wan": ("retry_join_wan", "list", "Address of a server elsewhere to join, until it works."),
    "retry-max": ("retry_max", "int", "Number of attempts to join; 0 for ever."),
    "retry-max-wan": ("retry_max_wan", "int", "Number of attempts to join the WAN pool; 0 for ever."),
    "segment": ("segment", "text", "(Consul Enterprise) Network segment of this agent."),
    "serf-lan-allowed-cidrs": (
        "serf_lan_allowed_cidrs",
        "list",
        "Network from which gossip in the datacenter is heard; may be given several times.",
    ),
    "serf-lan-bind": ("serf_lan", "text", "Address for gossip in the datacenter."),
    "serf-lan-port": ("ports.serf_lan", "int", "Port of gossip in the datacenter."),
    "serf-wan-allowed-cidrs": (
        "serf_wan_allowed_cidrs",
        "list",
        "Network from which gossip between datacenters is heard; may be given several times.",
    ),
    "serf-wan-bind": ("serf_wan", "text", "Address for gossip between datacenters."),
    "serf-wan-port": ("ports.serf_wan", "int", "Port of gossip between datacenters."),
    "server": ("server", "bool", "Run as a server."),
    "server-port": ("ports.server", "int", "Port of the servers' RPC."),
    "syslog": ("enable_syslog", "bool", "Log to syslog, too."),
    "ui": ("ui_config.enabled", "bool", "Serve the web UI."),
    "ui-content-path": ("ui_config.content_path", "text", "Path of the web UI."),
    "ui-dir": ("ui_config.dir", "text", "Folder with another web UI."),
    "use-streaming": ("use_streaming_backend", "bool", "Accepted for compatibility; see use_streaming_backend."),
}
"""Flags of `lictor agent` beside -dev, -config-file, -config-dir and -config-format: key, kind, help."""
