"""docs/configuration.md, the tables in the code, and the flags agree; and the help tells of every flag."""

import re
from pathlib import Path

from agent.cli.server import agent_help
from agent.config.advice import WITHOUT_EFFECT
from agent.config.deprecated import IGNORED, OLD
from agent.config.keys import FLAGS, HONOURED, KNOWN
from agent.config.load import load_config
from agent.config.schema import SCHEMA
from agent.config.settings import Config
from agent.config.tls import DEPRECATED
from agent.reloading import RELOADED

DOCS = Path(__file__).parents[2] / "docs" / "configuration.md"
ROW = re.compile(r"\| `([^`]+)` \| (.*?) \| (yes|no) \| (yes|no) \| (?:`-([^`]+)`)? ?\| (.*) ?\|")
WHOLE = ("service", "services", "check", "checks")
"""Stanzas whose fields are the API's."""
KEYS_OF = {
    "acl": (
        *("acl.tokens.agent", "acl.tokens.agent_master", "acl.tokens.agent_recovery", "acl.tokens.default"),
        *("acl.tokens.replication", "acl_agent_master_token", "acl_agent_token", "acl_replication_token", "acl_token"),
    ),
    "cache_limit": ("cache.",),
    "config_entries": ("config_entries.",),
    "dns": ("dns_config.",),
    "checks": ("check", "checks"),
    "services": ("service", "services"),
    "limits": (
        *("limits.http_max_conns_per_client", "limits.https_handshake_timeout", "limits.rpc_client_timeout"),
        *("limits.rpc_handshake_timeout", "limits.rpc_max_conns_per_client"),
    ),
    "raft": ("raft_snapshot_interval", "raft_snapshot_threshold", "raft_trailing_logs"),
    "rpc_limit": ("limits.rpc_rate", "limits.rpc_max_burst"),
    "telemetry": ("telemetry.filter_default", "telemetry.prefix_filter"),
    "tls": ("tls.", "server_name", *DEPRECATED),
    "watches": ("watches.",),
}
"""The keys behind the settings that a reload takes over, where their names differ."""
FLAGS_OF_CONSUL = (
    *("advertise", "advertise-wan", "alt-domain", "auto-reload-config", "bind", "bootstrap"),
    *("bootstrap-expect", "check_output_max_size", "client", "config-dir", "config-file", "config-format"),
    *("data-dir", "datacenter", "default-query-time", "dev", "disable-host-node-id", "disable-keyring-file"),
    *("dns-port", "domain", "enable-local-script-checks", "enable-script-checks", "encrypt", "grpc-port"),
    *("hcl", "http-port", "https-port", "join", "join-wan", "log-file", "log-json", "log-level"),
    *("log-rotate-bytes", "log-rotate-duration", "log-rotate-max-files", "max-query-time", "node", "node-id"),
    *("node-meta", "non-voting-server", "pid-file", "primary-gateway", "protocol", "raft-protocol"),
    *("read-replica", "recursor", "rejoin", "retry-interval", "retry-interval-wan", "retry-join"),
    *("retry-join-wan", "retry-max", "retry-max-wan", "segment", "serf-lan-allowed-cidrs", "serf-lan-bind"),
    *("serf-lan-port", "serf-wan-allowed-cidrs", "serf-wan-bind", "serf-wan-port", "server", "server-port"),
    *("syslog", "ui", "ui-content-path", "ui-dir"),
)


def _rows() -> dict[str, tuple[str, bool, bool, str]]:
    found = {}
    for line in DOCS.read_text().splitlines():
        if line.startswith("| `"):
            match = ROW.fullmatch(line)
            assert match, line
            key, default, reloads, honoured, flag, _ = match.groups()
            assert key not in found, key
            found[key] = (default, reloads == "yes", honoured == "yes", flag or "")
    return found


def _leaves(stanza: dict[str, object], path: str = "") -> set[str]:
    found: set[str] = set()
    for key, below in stanza.items():
        if isinstance(below, dict) and not (not path and key in WHOLE):
            found |= _leaves(below, f"{path}{key}.")
        else:
            found.add(path + key)
    return found


def test_every_key_is_in_the_table_and_nothing_else() -> None:
    assert set(_rows()) == _leaves(SCHEMA)


def test_the_table_says_which_keys_are_honoured() -> None:
    for key, (_, _, honoured, _) in _rows().items():
        without = any(key == one or key.startswith(f"{one}.") for one in (*WITHOUT_EFFECT, *IGNORED))
        assert honoured == (key.split(".")[0] in HONOURED and not without), key


def test_the_table_says_what_a_reload_changes() -> None:
    expected = tuple(key for name in RELOADED for key in KEYS_OF.get(name, (name,)))
    for key, (_, reloads, honoured, _) in _rows().items():
        meant = any(key == one or (one.endswith(".") and key.startswith(one)) for one in expected)
        assert reloads == (meant and honoured), key
    assert set(RELOADED) <= set(Config.__struct_fields__)
    assert set(KEYS_OF) <= set(RELOADED)


def test_the_table_names_the_flags() -> None:
    of_table = {flag: key for key, (_, _, _, flag) in _rows().items() if flag}
    assert of_table == {name: key for name, (key, _, _) in FLAGS.items() if key}


def test_every_flag_of_consul_is_taken_and_described() -> None:
    described = agent_help()
    for flag in FLAGS_OF_CONSUL:
        assert f"\n  -{flag}\n     " in described or f"\n  -{flag} " in described or f"\n  -{flag}=" in described, flag
    assert {key.split(".")[0] for key, _, _ in FLAGS.values() if key} <= KNOWN


def test_defaults_in_the_table_are_the_defaults() -> None:
    config, _ = load_config(["-data-dir=/tmp", "-bind=127.0.0.1"])
    shown = {key: default for key, (default, _, _, _) in _rows().items()}
    for key, value in (
        ("ports.dns", config.ports.dns),
        ("ports.http", config.ports.http),
        ("ports.grpc_tls", config.ports.grpc_tls),
        ("ports.sidecar_max_port", config.ports.sidecar_max_port),
        ("check_output_max_size", config.check_output_max_size),
        ("raft_snapshot_threshold", config.raft.snapshot_threshold),
        ("raft_trailing_logs", config.raft.trailing_logs),
        ("log_rotate_max_files", config.log_to.max_files),
        ("limits.rpc_max_burst", config.rpc_limit.burst),
        ("limits.http_max_conns_per_client", config.limits.http_max_conns_per_client),
        ("cache.entry_fetch_max_burst", config.cache_limit.burst),
        ("dns_config.udp_answer_limit", config.dns.udp_answer_limit),
        ("dns_config.soa.expire", config.dns.soa.expire),
        ("datacenter", config.datacenter),
        ("domain", config.domain),
        ("acl.default_policy", config.acl.default_policy),
        ("acl.down_policy", config.acl.down_policy),
        ("log_level", config.log_level.lower()),
        ("telemetry.metrics_prefix", config.telemetry.metrics_prefix),
        ("ui_config.content_path", config.ui_path),
        ("performance.raft_multiplier", config.raft_multiplier),
        ("gossip_lan.gossip_nodes", config.gossip.lan.timing.gossip_nodes),
        ("gossip_wan.suspicion_mult", config.gossip.wan.timing.suspicion),
    ):
        assert shown[key] == str(value), key
    for key, seconds in (
        ("performance.leave_drain_time", config.leave_drain_time),
        ("raft_snapshot_interval", config.raft.snapshot_interval),
        ("retry_interval", config.retry_interval),
        ("limits.rpc_client_timeout", config.limits.rpc_client_timeout),
        ("dns_config.recursor_timeout", config.dns.recursor_timeout),
        ("session_ttl_min", config.session_ttl_min),
        ("acl.token_ttl", config.acl.token_ttl),
        ("acl.policy_ttl", config.acl.policy_ttl),
        ("acl.role_ttl", config.acl.role_ttl),
    ):
        assert shown[key] == f"{seconds:g}s", key


def test_old_names_point_to_keys_that_are_there() -> None:
    leaves = _leaves(SCHEMA)
    for old, new in OLD.items():
        assert old in leaves, old
        assert new in leaves, new
