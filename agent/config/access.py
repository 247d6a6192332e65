"""The `acl` stanza, and the old keys that it took the place of."""

from agent.config.reader import Reader
from agent.config.settings import AclConfig, AclTokens, ConfigError

DEFAULT_POLICIES = ("allow", "deny")
DOWN_POLICIES = ("allow", "deny", "extend-cache", "async-cache")
_OLD_TOKENS = {
    "default": "acl_token",
    "agent": "acl_agent_token",
    "agent_recovery": "acl_agent_master_token",
    "initial_management": "acl_master_token",
    "replication": "acl_replication_token",
}
_RENAMED = {"agent_recovery": "agent_master", "initial_management": "master"}
MAX_TOKEN = 1024
"""Characters that a secret may have."""


def acl_config(read: Reader) -> AclConfig:
    """Access control as configured. Raises ConfigError."""
    stanza = read.section("acl")
    tokens = stanza.section("tokens")
    # As in Consul, to name the datacenter that has authority over tokens under its old key turns access control on.
    enabled = stanza.flag("enabled", bool(read.text("acl_datacenter")))
    replication = stanza.flag("enable_token_replication", read.flag("enable_acl_replication"))
    secrets = {name: _secret(read, tokens, name) for name in AclTokens.__struct_fields__}
    return AclConfig(
        enabled=enabled,
        default_policy=stanza.text("default_policy") or read.text("acl_default_policy") or "allow",
        down_policy=stanza.text("down_policy") or read.text("acl_down_policy") or "extend-cache",
        enable_key_list_policy=stanza.flag("enable_key_list_policy", read.flag("acl_enable_key_list_policy")),
        enable_token_persistence=stanza.flag("enable_token_persistence"),
        enable_token_replication=replication or bool(secrets["replication"] and read.text("acl_replication_token")),
        token_ttl=stanza.seconds("token_ttl", read.seconds("acl_ttl", 30.0)),
        policy_ttl=stanza.seconds("policy_ttl", 30.0),
        role_ttl=stanza.seconds("role_ttl", 0.0),
        tokens=AclTokens(**secrets),
    )


def check_policies(config: AclConfig) -> None:
    """What Consul judges at the start only, not when it validates files. Raises ConfigError."""
    for key, value, choices in (
        ("default_policy", config.default_policy, DEFAULT_POLICIES),
        ("down_policy", config.down_policy, DOWN_POLICIES),
    ):
        if value not in choices:
            raise ConfigError(f"acl.{key}: invalid value {value!r}: it must be one of {', '.join(choices)}")


def _secret(read: Reader, tokens: Reader, name: str) -> str:
    """A token. Its value is not to appear in any error."""
    secret = tokens.text(name)
    if not secret and name in _RENAMED:
        secret = tokens.text(_RENAMED[name])
    if not secret and name in _OLD_TOKENS:
        secret = read.text(_OLD_TOKENS[name])
    if len(secret) > MAX_TOKEN:
        raise ConfigError(f"acl.tokens.{name}: {len(secret)} characters, {MAX_TOKEN} at most")
    return secret
