"""Typed settings of the stanzas that stand by themselves: logs, Raft, telemetry, the UI, watches, rate limits."""

import re
from typing import Any

from agent.config.addresses import address_of
from agent.config.metrics_proxy import is_web_address
from agent.config.reader import Reader
from agent.config.settings import ConfigError, LogFile, RaftLimits, RateLimit, Telemetry, UiConfig
from agent.watch_definitions import parse
from agent.watch_types import WrongWatch

FACILITIES = (
    *("KERN", "USER", "MAIL", "DAEMON", "AUTH", "SYSLOG", "LPR", "NEWS", "UUCP", "CRON", "AUTHPRIV", "FTP"),
    *(f"LOCAL{number}" for number in range(8)),
)
DEFAULT_DRAIN = 5.0


def log_file(read: Reader) -> LogFile:
    """Where logs go. Raises ConfigError."""
    facility = read.text("syslog_facility", "LOCAL0").upper()
    if facility not in FACILITIES:
        raise ConfigError(f"syslog_facility: invalid value {facility!r}: it must be one of {', '.join(FACILITIES)}")
    seconds = read.seconds("log_rotate_duration", 24 * 3600.0)
    return LogFile(
        path=read.text("log_file"),
        rotate_bytes=read.at_least("log_rotate_bytes", 0, 0),
        rotate_seconds=seconds if seconds > 0 else 24 * 3600.0,
        max_files=read.at_least("log_rotate_max_files", -1, 0),
        syslog_facility=facility if read.flag("enable_syslog") else "",
    )


def raft_limits(read: Reader) -> RaftLimits:
    """When snapshots are taken; 0 means the default, as in Consul. Raises ConfigError."""
    default = RaftLimits()
    interval = read.seconds("raft_snapshot_interval") or default.snapshot_interval
    if interval < 0:
        raise ConfigError("raft_snapshot_interval cannot be negative")
    return RaftLimits(
        snapshot_interval=interval,
        snapshot_threshold=read.at_least("raft_snapshot_threshold", 0, 0) or default.snapshot_threshold,
        trailing_logs=read.at_least("raft_trailing_logs", 0, 0) or default.trailing_logs,
    )


def telemetry(read: Reader) -> Telemetry:
    """What becomes of metrics. Raises ConfigError."""
    allowed: list[str] = []
    blocked: list[str] = []
    for rule in read.texts("prefix_filter"):
        if rule[:1] not in ("+", "-") or len(rule) < 2:
            raise ConfigError(f"telemetry.prefix_filter: rule {rule!r} must begin with '+' or '-' and name a prefix")
        (allowed if rule[0] == "+" else blocked).append(rule[1:])
    retention = read.seconds("prometheus_retention_time")
    if retention < 0:
        raise ConfigError("telemetry.prometheus_retention_time cannot be negative")
    return Telemetry(
        metrics_prefix=read.text("metrics_prefix", "consul"),
        disable_hostname=read.flag("disable_hostname"),
        filter_default=read.flag("filter_default", True),
        allowed=tuple(allowed),
        blocked=tuple(blocked),
        prometheus_retention=retention,
        statsd_address=_host_port(read, "statsd_address"),
        statsite_address=_host_port(read, "statsite_address"),
        dogstatsd_address=_host_port(read, "dogstatsd_addr"),
        dogstatsd_tags=tuple(read.texts("dogstatsd_tags")),
        retry_failed_connection=read.flag("retry_failed_connection", True),
    )


def _host_port(read: Reader, key: str) -> str:
    text = read.text(key)
    if text and not re.fullmatch(r"(\[[0-9A-Fa-f:.%]+\]|[^\s:\[\]/]*):[0-9]{1,5}", text):
        raise ConfigError(f"telemetry.{key}: {text!r} is not of the form host:port")
    if text and not 0 < int(text.rpartition(":")[2]) < 65536:
        raise ConfigError(f"telemetry.{key}: {text!r} has no valid port")
    return text


def ui_settings(read: Reader, old_folder: str) -> UiConfig:
    """What the UI is served from. Raises ConfigError."""
    folder = read.text("dir", old_folder)
    if folder and read.flag("enabled"):
        raise ConfigError(
            "Both the ui_config.enabled and ui_config.dir (or -ui and -ui-dir) were specified, please provide only one"
        )
    provider = read.text("metrics_provider")
    if not re.fullmatch(r"[a-z0-9_-]*", provider):
        raise ConfigError(
            f"ui_config.metrics_provider can only contain lowercase alphanumeric, - or _ characters, not {provider!r}"
        )
    options = read.text("metrics_provider_options_json")
    if options:
        _json_object("ui_config.metrics_provider_options_json", options)
    templates = {str(name): str(url) for name, url in read.mapping("dashboard_url_templates").items()}
    for name, url in templates.items():
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            raise ConfigError(f"ui_config.dashboard_url_templates: {name!r} is no name: only letters, digits, - and _")
        if not is_web_address(url):
            raise ConfigError(f"ui_config.dashboard_url_templates value for {name!r} is no http or https URL: {url!r}")
    return UiConfig(
        folder=folder,
        metrics_provider=provider,
        metrics_provider_options_json=options,
        dashboard_url_templates=templates,
    )


def _json_object(key: str, text: str) -> None:
    import json

    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{key} must be empty or a JSON object: {error}") from None
    if not isinstance(value, dict):
        raise ConfigError(f"{key} must be empty or a JSON object")


def rpc_limit(read: Reader) -> RateLimit:
    """How many calls a client may make. Raises ConfigError."""
    rate = read.fraction("rpc_rate", -1.0)
    burst = read.at_least("rpc_max_burst", 0, 1000)
    return RateLimit(rate=rate if rate > 0 else 0.0, burst=burst)


def cache_limit(read: Reader) -> RateLimit:
    """How often one entry of the cache is kept up. Raises ConfigError."""
    rate = read.fraction("entry_fetch_rate", 0.0)
    if read.given("entry_fetch_rate") and rate <= 0:
        raise ConfigError(f"cache.entry_fetch_rate must be strictly positive, was: {rate:g}")
    burst = read.at_least("entry_fetch_max_burst", 1, 2)
    return RateLimit(rate, burst)


def watches(read: Reader) -> list[dict[str, Any]]:
    """The definitions of watches, each of them judged. Raises ConfigError."""
    found = read.stanzas("watches")
    for number, raw in enumerate(found):
        try:
            parse(raw)
        except WrongWatch as error:
            raise ConfigError(f"watches[{number}]: {error}") from None
    return found


def node_addresses(read: Reader, lan: str) -> dict[str, str]:
    """The node's addresses by "lan", "wan", "lan_ipv4", "lan_ipv6", "wan_ipv4", "wan_ipv6". Raises ConfigError."""
    by_family = {}
    for scope, key in (("lan", "advertise_addr"), ("wan", "advertise_addr_wan")):
        for version in (4, 6):
            name = f"{key}_ipv{version}"
            text = read.text(name)
            if not text:
                continue
            address = address_of(name, text)
            if (":" in address) != (version == 6):
                raise ConfigError(f"{name}: {address} is no IPv{version} address")
            by_family[f"{scope}_ipv{version}"] = address
    text = read.text("advertise_addr_wan")
    wan = address_of("advertise_addr_wan", text) if text else ""
    if wan in ("0.0.0.0", "::"):
        raise ConfigError("advertise_addr_wan cannot be 0.0.0.0, :: or [::]")
    wan = wan or by_family.get("wan_ipv4") or by_family.get("wan_ipv6") or lan
    found = {"lan": lan, "wan": wan}
    for scope in ("lan", "wan"):
        found[f"{scope}_{'ipv6' if ':' in found[scope] else 'ipv4'}"] = found[scope]
    given = {str(name): str(value) for name, value in read.mapping("tagged_addresses").items()}
    return {**found, **by_family, **given}


def discovery_max_stale(read: Reader) -> float:
    """Seconds by which an answer of discovery may be old. Raises ConfigError."""
    seconds = read.seconds("discovery_max_stale")
    if seconds < 0:
        raise ConfigError("discovery_max_stale cannot be negative")
    return seconds
