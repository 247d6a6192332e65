"""Old names of settings: what took their place, and the warnings that Consul gives for them."""

from typing import Any

from agent.config.reader import Reader
from agent.config.schema import merged_values
from agent.config.tls import DEPRECATED as TLS

MOVED: dict[str, str] = {
    "allow_write_http_from": "http_config.allow_write_http_from",
    "ui": "ui_config.enabled",
    "ui_dir": "ui_config.dir",
    "ui_content_path": "ui_config.content_path",
}
"""Settings that go on working under another name, which wins where both are given."""

OLD: dict[str, str] = {
    **MOVED,
    **TLS,
    "acl_agent_master_token": "acl.tokens.agent_recovery",
    "acl_agent_token": "acl.tokens.agent",
    "acl_datacenter": "primary_datacenter",
    "acl_default_policy": "acl.default_policy",
    "acl_down_policy": "acl.down_policy",
    "acl_enable_key_list_policy": "acl.enable_key_list_policy",
    "acl_master_token": "acl.tokens.initial_management",
    "acl_replication_token": "acl.tokens.replication",
    "acl_token": "acl.tokens.default",
    "acl_ttl": "acl.token_ttl",
    "enable_acl_replication": "acl.enable_token_replication",
    "non_voting_server": "read_replica",
    "acl.tokens.master": "acl.tokens.initial_management",
    "acl.tokens.agent_master": "acl.tokens.agent_recovery",
    "connect.mesh_gateway_wan_federation_enabled": "connect.enable_mesh_gateway_wan_federation",
    "dns_config.udp_answer_limit": "dns_config.a_record_limit",
}
"""Old names, with dots before those in stanzas, and the names to use in their place."""
IGNORED = {
    "tls_prefer_server_cipher_suites": "The 'tls_prefer_server_cipher_suites' field is deprecated and will be ignored.",
    "dns_config.prefer_namespace": "The 'dns_config.prefer_namespace' field is deprecated and will be ignored.",
    "telemetry.disable_compat_1.9": "The 'telemetry.disable_compat_1.9' field is deprecated and will be ignored.",
}
_SILENT = frozenset(("dns_config.udp_answer_limit",))
"""Consul's documentation calls these deprecated, but an agent says nothing about them."""


def value_at(merged: Any, path: str) -> Any:
    """The value at a name with dots before what stands in stanzas; None where there is none."""
    for name in _names(path):
        merged = merged.get(name) if isinstance(merged, dict) else None
    return merged


def _names(path: str) -> list[str]:
    section, dot, last = path.partition(".")
    if not dot:
        return [path]
    return [section, last] if last.startswith("disable_compat_") else path.split(".")


def deprecations(merged: dict[str, Any]) -> list[str]:
    """A warning for every old name that is used."""
    found = [
        f"The '{old}' field is deprecated. Use the '{new}' field instead."
        for old, new in OLD.items()
        if old not in _SILENT and value_at(merged, old) is not None
    ]
    return sorted(found + [text for old, text in IGNORED.items() if value_at(merged, old) is not None])


def replaced(read: Reader) -> Reader:
    """The settings with those under old names where they belong."""
    values = dict(read.values)
    for old, new in MOVED.items():
        if (value := values.get(old)) is None:
            continue
        section, name = new.split(".")
        values[section] = merged_values({name: value}, values.get(section) or {})
    return Reader(values)
