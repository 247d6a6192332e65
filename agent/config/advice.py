"""What an agent says of its configuration at start, and `lictor validate` too: what has no effect, what is old, what is
unwise."""

import re
from typing import Any

from agent.config.deprecated import deprecations, value_at
from agent.config.keys import HONOURED
from agent.config.schema import CIRCONUS
from agent.config.settings import Config

_ENTERPRISE = "it belongs to Consul Enterprise"
_NO_GRPC = "lictor serves no gRPC"
_AS_A_WHOLE = "what a token may do is heard of as a whole, and acl.token_ttl says for how long that holds"
WITHOUT_EFFECT: dict[str, str] = {
    "acl.disabled_ttl": "each agent's own configuration says whether access control is on",
    "acl.msp_disable_bootstrap": _ENTERPRISE,
    "acl.policy_ttl": _AS_A_WHOLE,
    "acl.role_ttl": _AS_A_WHOLE,
    "acl.tokens.config_file_service_registration": "it came with Consul 1.15",
    "acl.tokens.managed_service_provider": _ENTERPRISE,
    **{f"telemetry.{name}": "lictor sends no metrics to Circonus" for name in CIRCONUS},
    "autopilot.disable_upgrade_migration": _ENTERPRISE,
    "autopilot.redundancy_zone_tag": _ENTERPRISE,
    "autopilot.upgrade_version_tag": _ENTERPRISE,
    "connect.enable_mesh_gateway_wan_federation": "lictor does not send servers' traffic through gateways",
    "connect.enable_serverless_plugin": _NO_GRPC,
    "connect.mesh_gateway_wan_federation_enabled": "lictor does not send servers' traffic through gateways",
    "connect.test_ca_leaf_root_change_spread": "it is for Consul's own tests",
    "dns_config.prefer_namespace": _ENTERPRISE,
    "limits.request_limits": "it came with Consul 1.15",
    "performance.grpc_keepalive_interval": _NO_GRPC,
    "performance.grpc_keepalive_timeout": _NO_GRPC,
    "addresses.grpc": _NO_GRPC,
    "addresses.grpc_tls": _NO_GRPC,
    "ports.expose_max_port": "lictor's proxies expose no checks",
    "ports.expose_min_port": "lictor's proxies expose no checks",
    "ports.proxy_max_port": "Consul no longer manages proxies",
    "ports.proxy_min_port": "Consul no longer manages proxies",
    "rpc.enable_streaming": "watches of lictor's servers are per row without it",
    "tls.grpc": _NO_GRPC,
    "ui_config.metrics_provider_files": "lictor's UI loads no scripts of others",
}
"""Keys inside stanzas that are known and change nothing, and why; with `KNOWN - HONOURED` that is all of them."""


def without_effect(merged: dict[str, Any]) -> list[str]:
    """A warning for every setting that changes nothing."""
    found = [f"configuration key {key} is known but has no effect yet" for key in sorted(merged) if key not in HONOURED]
    for key, reason in WITHOUT_EFFECT.items():
        if value_at(merged, key) not in (None, "", [], {}):
            found.append(f"configuration key {key} has no effect: {reason}")
    return found


def advice(config: Config) -> list[str]:
    """What is allowed but unwise, as Consul says it."""
    found = []
    if config.bootstrap and not config.dev:
        found.append("bootstrap = true: do not enable unless necessary")
    if config.bootstrap_expect == 1:
        found.append("BootstrapExpect is set to 1; this is the same as Bootstrap mode.")
    elif config.bootstrap_expect > 1:
        found.append(f"bootstrap_expect > 0: expecting {config.bootstrap_expect} servers")
        if config.bootstrap_expect == 2:
            found.append("bootstrap_expect = 2: A cluster with 2 servers will provide no failure tolerance.")
        if config.bootstrap_expect % 2 == 0:
            found.append(
                f"bootstrap_expect is even number: A cluster with an even number of servers does not achieve optimum "
                f"fault tolerance ({config.bootstrap_expect})."
            )
    if not re.fullmatch(r"[A-Za-z0-9-]+", config.node_name):
        found.append(
            f'Node name "{config.node_name}" will not be discoverable via DNS due to invalid characters. '
            "Valid characters include all alpha-numerics and dashes."
        )
    elif len(config.node_name) > 63:
        found.append(
            f'Node name "{config.node_name}" will not be discoverable via DNS due to it being too long. '
            "Valid lengths are between 1 and 63 bytes."
        )
    if config.enable_script_checks and not config.acl.enabled and not config.http.allow_write_http_from:
        found.append(
            "using enable-script-checks without ACLs and without allow_write_http_from is DANGEROUS, "
            "use enable-local-script-checks instead"
        )
    if (config.metrics_proxy.base_url or config.ui_settings.metrics_provider) and not config.ui:
        found.append("ui_config.metrics_proxy has no effect: the UI is not enabled")
    return found


def warnings_of(merged: dict[str, Any], config: Config) -> list[str]:
    """Everything to say about a configuration."""
    return [*deprecations(merged), *without_effect(merged), *advice(config)]
