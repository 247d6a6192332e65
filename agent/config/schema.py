"""Which keys each stanza of a configuration file has, however deep; and how files are laid on top of each other.

A stanza is a dict from key to what stands below it: another stanza, `LEAF` (a value of its own), `FREE` (a map with
keys of the user's choice) or `Each` (a map of the user's keys to stanzas). Stanzas of services and checks are read off
the structs that they become, so what the agent's API takes is what files may say.
"""

import types
import typing
from typing import Any

from agent.config.flags import suggest
from agent.config.keys import KNOWN, NESTED
from agent.config.settings import ConfigError
from model.codec import Wire, fields_of
from model.structs.catalog import CheckType, ServiceDefinition

LEAF = "leaf"
FREE = "free"
MAX_PROBLEMS = 20
"""Unknown keys that one error names."""
MAX_KEY = 100
"""Characters of an unknown key that are shown."""


class Each:
    """A map whose keys are the user's and whose values are stanzas of one kind."""

    def __init__(self, stanza: "Stanza") -> None:
        self.stanza = stanza


Below = str | Each | dict[str, Any]
Stanza = dict[str, Any]


def fold(key: str) -> str:
    """A key without regard to its spelling: `NodeName` and `node_name` are one."""
    return key.lower().replace("_", "")


def _of_type(kind: Any, seen: tuple[type, ...]) -> Below:
    """What stands below a field of a struct."""
    origin = typing.get_origin(kind)
    arguments = [one for one in typing.get_args(kind) if one is not type(None)]
    if origin is typing.Annotated or origin in (types.UnionType, typing.Union):
        return _of_type(arguments[0], seen)
    if origin is list:
        return _of_type(arguments[0], seen)
    if origin is dict:
        below = _of_type(arguments[1], seen)
        return Each(below) if isinstance(below, dict) else FREE
    if isinstance(kind, type) and issubclass(kind, Wire):
        return FREE if kind in seen else _of_struct(kind, seen)
    return LEAF if kind is not Any else FREE


def _of_struct(cls: type[Wire], seen: tuple[type, ...] = ()) -> Stanza:
    return {field.attribute: _of_type(field.kind, (*seen, cls)) for field in fields_of(cls) if not field.hidden}


_CHECK: Stanza = {
    **_of_struct(CheckType),
    **dict.fromkeys(("args", "enterprise_meta", "id", "namespace", "partition", "script", "service_id", "token"), LEAF),
}
_PLAIN_SERVICE: Stanza = {
    **_of_struct(ServiceDefinition),
    **dict.fromkeys(("namespace", "partition"), LEAF),
    "check": _CHECK,
    "checks": _CHECK,
}
_CONNECT = _PLAIN_SERVICE["connect"]
_SERVICE: Stanza = {
    **_PLAIN_SERVICE,
    "connect": {**_CONNECT, "proxy": FREE, "sidecar_service": {**_PLAIN_SERVICE, "connect": _CONNECT}},
}
_WATCH: Stanza = {
    **dict.fromkeys(
        (
            *("args", "datacenter", "handler", "handler_type", "key", "name", "passingonly", "prefix", "service"),
            *("state", "tag", "token", "type"),
        ),
        LEAF,
    ),
    "http_handler_config": {**dict.fromkeys(("path", "method", "timeout", "tls_skip_verify"), LEAF), "header": FREE},
}
_TLS = ("ca_file", "ca_path", "cert_file", "key_file", "tls_min_version", "tls_cipher_suites", "verify_incoming")
_TLS_INTERFACES = {
    "defaults": (*_TLS, "verify_outgoing"),
    "grpc": (*_TLS, "use_auto_cert"),
    "https": (*_TLS, "verify_outgoing"),
    "internal_rpc": (*_TLS, "verify_outgoing", "verify_server_hostname"),
}
_GOSSIP = (
    *("gossip_nodes", "gossip_interval", "probe_interval", "probe_timeout", "retransmit_mult", "suspicion_mult"),
)
_TELEMETRY = (
    *("disable_compat_1.9", "disable_hostname", "dogstatsd_addr", "dogstatsd_tags", "filter_default"),
    *("metrics_prefix", "prefix_filter", "prometheus_retention_time", "retry_failed_connection", "statsd_address"),
    "statsite_address",
)
CIRCONUS = (
    *("circonus_api_app", "circonus_api_token", "circonus_api_url", "circonus_broker_id"),
    *("circonus_broker_select_tag", "circonus_check_display_name", "circonus_check_force_metric_activation"),
    *("circonus_check_id", "circonus_check_instance_id", "circonus_check_search_tag", "circonus_check_tags"),
    *("circonus_submission_interval", "circonus_submission_url"),
)
_ACL_TOKENS = (
    *("agent", "agent_master", "agent_recovery", "config_file_service_registration", "default"),
    *("initial_management", "managed_service_provider", "master", "replication"),
)
_DEEPER: dict[str, Below] = {
    "acl": {
        **dict.fromkeys(
            (
                *("default_policy", "disabled_ttl", "down_policy", "enable_key_list_policy", "enabled"),
                *("enable_token_persistence", "enable_token_replication", "policy_ttl", "role_ttl", "token_ttl"),
                *("msp_disable_bootstrap",),
            ),
            LEAF,
        ),
        "tokens": dict.fromkeys(_ACL_TOKENS, LEAF),
    },
    "auto_config": FREE,
    "audit": FREE,
    "auto_encrypt": dict.fromkeys(("allow_tls", "dns_san", "ip_san", "tls"), LEAF),
    "cache": dict.fromkeys(("entry_fetch_max_burst", "entry_fetch_rate"), LEAF),
    "check": _CHECK,
    "checks": _CHECK,
    "cloud": FREE,
    "config_entries": {"bootstrap": FREE},
    "connect": {"ca_config": FREE},
    "dns_config": {"service_ttl": FREE, "soa": dict.fromkeys(("expire", "min_ttl", "refresh", "retry"), LEAF)},
    "gossip_lan": dict.fromkeys(_GOSSIP, LEAF),
    "gossip_wan": dict.fromkeys(_GOSSIP, LEAF),
    "http_config": {"response_headers": FREE},
    "limits": {"request_limits": dict.fromkeys(("mode", "read_rate", "write_rate"), LEAF)},
    "locality": FREE,
    "node_meta": FREE,
    "peering": dict.fromkeys(("enabled", "test_allow_peer_registrations"), LEAF),
    "raft_boltdb": {"NoFreelistSync": LEAF},
    "raft_logstore": FREE,
    "reporting": FREE,
    "rpc": {"enable_streaming": LEAF},
    "segments": dict.fromkeys(("name", "bind", "port", "advertise", "rpc_listener"), LEAF),
    "service": _SERVICE,
    "services": _SERVICE,
    "tagged_addresses": FREE,
    "telemetry": dict.fromkeys((*_TELEMETRY, *CIRCONUS), LEAF),
    "tls": {name: dict.fromkeys(keys, LEAF) for name, keys in _TLS_INTERFACES.items()},
    "ui_config": {
        "dashboard_url_templates": FREE,
        "metrics_proxy": {
            **dict.fromkeys(("base_url", "path_allowlist"), LEAF),
            "add_headers": dict.fromkeys(("name", "value"), LEAF),
        },
    },
    "unix_sockets": dict.fromkeys(("group", "mode", "user"), LEAF),
    "watches": _WATCH,
    "xds": {"update_max_per_second": LEAF},
}


def _schema() -> Stanza:
    found: Stanza = dict.fromkeys(KNOWN, LEAF)
    for name, keys in NESTED.items():
        found[name] = dict.fromkeys(keys, LEAF)
    for name, deeper in _DEEPER.items():
        own = found.get(name)
        found[name] = {**own, **deeper} if isinstance(own, dict) and isinstance(deeper, dict) else deeper
    return found


SCHEMA: Stanza = _schema()
"""Every key of a configuration file."""


def section_of(value: Any) -> dict[str, Any]:
    """A stanza; several blocks are one. Raises ConfigError."""
    if isinstance(value, list):
        joined: dict[str, Any] = {}
        for item in value:
            joined.update(section_of(item))
        return joined
    if not isinstance(value, dict):
        raise ConfigError(f"expected a section, got {value!r}")
    return value


def unknown_keys(source: dict[str, Any]) -> list[str]:
    """What is wrong with the keys of a file, each with a suggestion if there is one close to it."""
    problems: list[str] = []
    _look(source, SCHEMA, "", problems)
    return problems


def _look(value: Any, below: Below, path: str, problems: list[str]) -> None:
    if isinstance(value, list):
        for number, item in enumerate(value):
            if isinstance(item, dict):
                _look(item, below, f"{path}[{number}]" if len(value) > 1 else path, problems)
        return
    if not isinstance(value, dict) or isinstance(below, str):
        return
    if isinstance(below, Each):
        for key, item in value.items():
            _look(item, below.stanza, f"{path}.{key}", problems)
        return
    known = {fold(key): key for key in below}
    for key, item in value.items():
        if len(problems) >= MAX_PROBLEMS:
            return
        key = key[:MAX_KEY]
        at = f"{path}.{key}" if path else key
        name = known.get(fold(key))
        if name is None:
            problems.append(f"invalid config key {at}{suggest(snake(key), below)}")
        else:
            _look(item, below[name], at, problems)


def snake(key: str) -> str:
    """A key in the spelling of files: `NodeName` is `node_name`."""
    result = ""
    for before, character in zip(" " + key, key, strict=False):
        if character.isupper() and before.isalnum() and not before.isupper():
            result += "_"
        result += character.lower()
    return result


def canonical(source: dict[str, Any], below: Stanza) -> dict[str, Any]:
    """A file's settings with the names of `below`, nested stanzas too (but not those of services, checks, watches)."""
    known = {fold(key): key for key in below}
    result: dict[str, Any] = {}
    for key, value in source.items():
        name = known[fold(key)]
        stanza = below[name]
        if isinstance(stanza, dict) and name not in _AS_WRITTEN:
            one: Any = _nested(value, stanza)
        elif stanza == FREE and isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            one = section_of(value) if name not in _LISTS_OF_MAPS else value
        else:
            one = value
        result[name] = merged_values(result[name], one) if name in result else one
    return result


_AS_WRITTEN = frozenset(("service", "services", "check", "checks", "watches", "segments", "add_headers"))
_LISTS_OF_MAPS = frozenset(("bootstrap",))


def _nested(value: Any, stanza: Stanza) -> dict[str, Any]:
    return canonical(section_of(value), stanza)


def merged_values(lower: Any, upper: Any) -> Any:
    """One value on top of another: maps are merged key by key, lists grow, other values are replaced."""
    if isinstance(lower, dict) and isinstance(upper, dict):
        joined = dict(lower)
        for key, value in upper.items():
            joined[key] = merged_values(joined[key], value) if key in joined else value
        return joined
    if isinstance(lower, list) and isinstance(upper, list):
        return [*lower, *upper]
    return upper
