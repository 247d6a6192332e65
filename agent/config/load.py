"""Defaults, then files in order, then flags become one `Config`. Unknown keys are errors that suggest the right one."""

import difflib
import ipaddress
import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.config.check import check_config, check_start
from agent.config.keys import DURATIONS, FLAGS, HONOURED, KNOWN, NESTED
from agent.config.settings import Config, ConfigError, DnsConfig, HttpConfig, Ports, Soa
from model.config_json import HclError, parse_json_text
from model.durations import SECOND, DurationError, parse_duration
from model.hcl import parse_hcl
from model.structs.operator import DEFAULT_AUTOPILOT, AutopilotConfig

_LISTS = ("retry_join", "start_join", "recursors", "services", "checks", "config_entries")


def parse_flags(argv: list[str]) -> tuple[dict[str, Any], list[tuple[str, str]], bool, str]:
    """Flags in Go's manner: (settings, sources in order, -dev, -config-format). Raises ConfigError."""
    settings: dict[str, Any] = {}
    sources: list[tuple[str, str]] = []
    dev = False
    config_format = ""
    arguments = list(argv)
    while arguments:
        word = arguments.pop(0)
        if not word.startswith("-") or word in ("-", "--"):
            raise ConfigError(f"Unexpected argument {word!r}: all options are flags")
        name, has_value, value = word.lstrip("-").partition("=")
        if name == "dev":
            dev = not has_value or _boolean(name, value)
            continue
        kind = "text" if name in ("config-file", "config-dir", "config-format") else FLAGS.get(name, ("", "", ""))[1]
        if not kind:
            raise ConfigError(f"flag provided but not defined: -{name}{_suggest(name, FLAGS, '-')}")
        if not has_value and kind == "bool":
            value = "true"
        elif not has_value:
            if not arguments:
                raise ConfigError(f"flag needs an argument: -{name}")
            value = arguments.pop(0)
        if name in ("config-file", "config-dir"):
            sources.append((name, value))
        elif name == "config-format":
            config_format = value
        elif kind == "hcl":
            sources.append(("hcl", value))
        else:
            _set_flag(settings, name, kind, value)
    return settings, sources, dev, config_format


def _set_flag(settings: dict[str, Any], name: str, kind: str, value: str) -> None:
    key = FLAGS[name][0]
    parsed: Any = value
    if kind == "bool":
        parsed = _boolean(name, value)
    elif kind == "int":
        try:
            parsed = int(value)
        except ValueError:
            raise ConfigError(f'invalid value "{value}" for flag -{name}: not a number') from None
    elif kind == "map":
        left, _, right = value.partition(":")
        settings.setdefault(key, {})[left] = right
        return
    elif kind == "list":
        settings.setdefault(key, []).append(value)
        return
    target = settings
    *parents, last = key.split(".")
    for parent in parents:
        target = target.setdefault(parent, {})
    target[last] = parsed


def _boolean(name: str, value: str) -> bool:
    if value.lower() in ("true", "t", "1"):
        return True
    if value.lower() in ("false", "f", "0"):
        return False
    raise ConfigError(f'invalid boolean value "{value}" for -{name}: parse error')


def _suggest(word: str, known: Any, prefix: str = "") -> str:
    close = difflib.get_close_matches(word, list(known), 1)
    return f" (did you mean {prefix}{close[0]}?)" if close else ""


def read_sources(sources: list[tuple[str, str]], config_format: str) -> list[tuple[str, dict[str, Any]]]:
    """Every file that is named, parsed, in order. Raises ConfigError."""
    if config_format not in ("", "json", "hcl"):
        raise ConfigError("config: -config-format must be either 'hcl' or 'json'")
    found: list[tuple[str, dict[str, Any]]] = []
    for kind, value in sources:
        if kind == "hcl":
            found.append(("flag -hcl", _parse("flag -hcl", value, "hcl")))
            continue
        path = Path(value)
        if not path.exists():
            raise ConfigError(f"config: ReadPath failed on {value}: open {value}: no such file or directory")
        if path.is_dir():
            for child in sorted(path.iterdir()):
                if child.is_file() and (config_format or child.suffix in (".json", ".hcl")):
                    found.append((str(child), _read(child, config_format)))
        elif config_format or path.suffix in (".json", ".hcl"):
            found.append((value, _read(path, config_format)))
        else:
            raise ConfigError(f"config: file {value} has unsupported extension: use .json or .hcl, or -config-format")
    return found


def _read(path: Path, config_format: str) -> dict[str, Any]:
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"config: ReadFile failed on {path}: {error}") from None
    return _parse(str(path), text, config_format or path.suffix[1:])


def _parse(name: str, text: str, kind: str) -> dict[str, Any]:
    try:
        return parse_json_text(text) if kind == "json" else parse_hcl(text)
    except HclError as error:
        raise ConfigError(f"failed to parse {name}: {error}") from None


def snake(key: str) -> str:
    """A key in the spelling of files: `NodeName` is `node_name`."""
    if "_" in key or key.islower():
        return key.lower()
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key).lower()


def merge(sources: list[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    """Sources on top of each other: later values win, lists grow, maps are merged. Raises ConfigError."""
    merged: dict[str, Any] = {}
    for name, source in sources:
        unknown = []
        for key, value in source.items():
            folded = snake(key)
            if folded not in KNOWN:
                unknown.append(f"invalid config key {key}{_suggest(folded, KNOWN)}")
                continue
            if folded in NESTED:
                value = _section(value)
                known = NESTED[folded]
                unknown.extend(
                    f"invalid config key {folded}.{sub}{_suggest(snake(sub), known)}"
                    for sub in value
                    if snake(sub) not in known
                )
                value = {snake(sub): item for sub, item in value.items()}
            _merge_key(merged, name, folded, value)
        if unknown:
            listed = "\n\t".join(f"* {problem}" for problem in unknown)
            noun = "error" if len(unknown) == 1 else "errors"
            raise ConfigError(f"failed to parse {name}: {len(unknown)} {noun} occurred:\n\t{listed}\n\n")
    return merged


def _section(value: Any) -> dict[str, Any]:
    if isinstance(value, list):
        joined: dict[str, Any] = {}
        for item in value:
            joined.update(_section(item))
        return joined
    if not isinstance(value, dict):
        raise ConfigError(f"expected a section, got {value!r}")
    return value


def _merge_key(merged: dict[str, Any], source: str, key: str, value: Any) -> None:
    if key in ("service", "check"):
        if isinstance(value, list) and len(value) > 1:
            raise ConfigError(f"failed to parse {source}: {key}: use {key}s for more than one")
        merged.setdefault(f"{key}s", []).append(value[0] if isinstance(value, list) else value)
    elif key == "recursor":
        merged.setdefault("recursors", []).append(value)
    elif key == "config_entries":
        bootstrap = _section(value).get("bootstrap") or []
        merged.setdefault(key, []).extend(bootstrap if isinstance(bootstrap, list) else [bootstrap])
    elif key in _LISTS:
        merged.setdefault(key, []).extend(value if isinstance(value, list) else [value])
    elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        _merge_key(merged, source, key, _section(value))
    elif isinstance(value, dict) and isinstance(merged.get(key), dict):
        merged[key] = {**merged[key], **value}
    else:
        merged[key] = value


class Reader:
    """Typed access to merged settings; errors name the key."""

    def __init__(self, values: Mapping[str, Any], path: str = "") -> None:
        self._values = values
        self._path = path

    def _get(self, key: str) -> Any:
        return self._values.get(key)

    def _wrong(self, key: str, wanted: str) -> ConfigError:
        return ConfigError(f"{self._path}{key}: expected {wanted}, got {self._get(key)!r}")

    def text(self, key: str, default: str = "") -> str:
        """A text."""
        value = self._get(key)
        if value is None:
            return default
        if isinstance(value, bool | dict | list):
            raise self._wrong(key, "text")
        return str(value)

    def flag(self, key: str, default: bool = False) -> bool:
        """A boolean."""
        value = self._get(key)
        if value is None:
            return default
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        raise self._wrong(key, "true or false")

    def number(self, key: str, default: int = 0) -> int:
        """An integer."""
        value = self._get(key)
        if value is None:
            return default
        if isinstance(value, str) and re.fullmatch(r"-?\d+", value):
            return int(value)
        if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
            raise self._wrong(key, "a number")
        return int(value)

    def seconds(self, key: str, default: float = 0.0) -> float:
        """A duration, as text or as nanoseconds."""
        value = self._get(key)
        if value is None:
            return default
        if isinstance(value, int) and not isinstance(value, bool):
            return value / SECOND
        try:
            return parse_duration(str(value)) / SECOND
        except DurationError:
            raise ConfigError(f"{self._path}{key}: invalid duration: {value}: {_reason(value)}") from None

    def texts(self, key: str) -> list[str]:
        """A list of texts."""
        value = self._get(key)
        if value is None:
            return []
        if isinstance(value, str):
            return [value]
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self._wrong(key, "a list of texts")
        return list(value)

    def mapping(self, key: str) -> dict[str, Any]:
        """A map."""
        value = self._get(key)
        return _section(value) if value is not None else {}

    def stanzas(self, key: str) -> list[dict[str, Any]]:
        """A list of maps."""
        value = self._get(key) or []
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self._wrong(key, "a list of definitions")
        return list(value)

    def section(self, key: str) -> "Reader":
        """The settings below a key."""
        return Reader(self.mapping(key), f"{self._path}{key}.")


def _reason(value: Any) -> str:
    try:
        parse_duration(str(value))
    except DurationError as error:
        return str(error)
    return ""


def _address(key: str, text: str) -> str:
    """One address; templates that name a kind of interface address are resolved. Raises ConfigError."""
    text = text.strip()
    template = re.fullmatch(r"\{\{\s*(GetPrivateIP|GetPublicIP)\s*\}\}", text)
    if template:
        return _own_address()
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        raise ConfigError(f"{key}: failed to parse address {text!r}: it is no IP address") from None


def _own_address() -> str:
    """The address from which this host would reach others (nothing is sent)."""
    probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])
    except OSError:
        return "127.0.0.1"
    finally:
        probe.close()


def _addresses(key: str, text: str, default: list[str]) -> list[str]:
    words = text.split()
    if not words:
        return default
    return [word if word.startswith("unix://") else _address(key, word) for word in words]


def load_config(argv: list[str]) -> tuple[Config, list[str]]:
    """The configuration that an agent was started with, and warnings. Raises ConfigError."""
    flags, sources, dev, config_format = parse_flags(argv)
    merged = merge([*read_sources(sources, config_format), ("flags", flags)])
    warnings = [
        f"configuration key {key} is known but has no effect yet" for key in sorted(merged) if key not in HONOURED
    ]
    config = build(Reader(merged), dev)
    check_start(config)
    return config, warnings


def build(read: Reader, dev: bool) -> Config:
    """Typed settings from merged ones. Raises ConfigError."""
    server = read.flag("server", dev)
    ports = _ports(read.section("ports"), dev)
    bind = read.text("bind_addr", "127.0.0.1" if dev else "0.0.0.0")
    bind = _address("bind_addr", bind)
    advertise = read.text("advertise_addr")
    if advertise:
        advertise = _address("advertise_addr", advertise)
        if advertise in ("0.0.0.0", "::"):
            raise ConfigError("advertise_addr cannot be 0.0.0.0, :: or [::]")
    else:
        advertise = _own_address() if bind in ("0.0.0.0", "::") else bind
    clients = _addresses("client_addr", read.text("client_addr"), ["127.0.0.1"])
    addresses = read.section("addresses")
    performance, limits, ui = read.section("performance"), read.section("limits"), read.section("ui_config")
    connect = read.section("connect")
    node_name = read.text("node_name") or socket.gethostname()
    config = Config(
        node_name=node_name,
        node_id=read.text("node_id").lower(),
        datacenter=read.text("datacenter", "dc1").lower(),
        primary_datacenter=read.text("primary_datacenter").lower(),
        domain=_zone(read.text("domain", "consul.")),
        alt_domain=_zone(read.text("alt_domain")),
        data_dir=read.text("data_dir"),
        dev=dev,
        server=server,
        bootstrap=read.flag("bootstrap") or (dev and server and not read.number("bootstrap_expect")),
        bootstrap_expect=read.number("bootstrap_expect"),
        bind_addr=bind,
        advertise_addr=advertise,
        client_addrs=clients,
        http_addrs=_addresses("addresses.http", addresses.text("http"), clients),
        dns_addrs=_addresses("addresses.dns", addresses.text("dns"), clients),
        ports=ports,
        retry_join=read.texts("retry_join"),
        retry_interval=read.seconds("retry_interval", 30.0),
        retry_max=read.number("retry_max"),
        start_join=read.texts("start_join"),
        recursors=read.texts("recursors"),
        node_meta={str(key): str(value) for key, value in read.mapping("node_meta").items()},
        encrypt=read.text("encrypt"),
        protocol=read.number("protocol", 2),
        raft_protocol=read.number("raft_protocol", 3),
        ui=ui.flag("enabled", read.flag("ui", dev)),
        ui_path=ui.text("content_path", read.text("ui_content_path", "/ui/")),
        log_level=read.text("log_level", "DEBUG" if dev else "INFO").upper(),
        log_json=read.flag("log_json"),
        log_file=read.text("log_file"),
        raft_multiplier=performance.number("raft_multiplier", 5),
        lease_reads=performance.flag("lease_reads"),
        autopilot=_autopilot(read.section("autopilot")),
        leave_on_terminate=read.flag("leave_on_terminate", not server),
        skip_leave_on_interrupt=read.flag("skip_leave_on_interrupt", server),
        enable_script_checks=read.flag("enable_script_checks"),
        enable_local_script_checks=read.flag("enable_local_script_checks") or read.flag("enable_script_checks"),
        check_update_interval=read.seconds("check_update_interval", 300.0),
        discard_check_output=read.flag("discard_check_output"),
        check_output_max_size=read.number("check_output_max_size", 4096),
        enable_debug=read.flag("enable_debug", dev),
        disable_remote_exec=read.flag("disable_remote_exec", True),
        dns=_dns(read.section("dns_config")),
        http=_http(read.section("http_config")),
        default_query_time=read.seconds("default_query_time", 300.0),
        max_query_time=read.seconds("max_query_time", 600.0),
        kv_max_value_size=limits.number("kv_max_value_size", 512 * 1024),
        txn_max_req_len=limits.number("txn_max_req_len", 512 * 1024),
        session_ttl_min=read.seconds("session_ttl_min", 10.0),
        rpc_hold_timeout=performance.seconds("rpc_hold_timeout", 7.0),
        disable_coordinates=read.flag("disable_coordinates"),
        connect_enabled=connect.flag("enabled", True),
        ca_config=connect.mapping("ca_config"),
        config_entries=read.stanzas("config_entries"),
        services=read.stanzas("services"),
        checks=read.stanzas("checks"),
        disable_http_unprintable_char_filter=read.flag("disable_http_unprintable_char_filter"),
    )
    for key in DURATIONS:
        read.seconds(key)
    _validate(config)
    check_config(config)
    return config


def _zone(text: str) -> str:
    return text.lower().strip(".") + "." if text.strip(".") else ""


def _ports(read: Reader, dev: bool) -> Ports:
    default = Ports()
    names = Ports.__struct_fields__
    found = {name: read.number(name, getattr(default, name)) for name in names}
    if dev and read.number("grpc", 0) == 0:
        found["grpc"] = 8502
    for name, port in found.items():
        if port > 65535:
            raise ConfigError(f"ports.{name}: invalid port {port}")
    used: dict[int, str] = {}
    for name in ("dns", "http", "https", "server", "serf_lan", "serf_wan", "grpc", "grpc_tls"):
        port = found[name]
        if port > 0:
            if port in used and name not in ("dns",):
                raise ConfigError(f"ports.{name}: port {port} is already used by ports.{used[port]}")
            used[port] = name
    return Ports(**found)


def _autopilot(read: Reader) -> AutopilotConfig:
    default = DEFAULT_AUTOPILOT
    trailing, quorum = read.number("max_trailing_logs", default.max_trailing_logs), read.number("min_quorum")
    for name, value in (("max_trailing_logs", trailing), ("min_quorum", quorum)):
        if value < 0:
            raise ConfigError(f"autopilot.{name} cannot be {value}. Must be greater than or equal to zero")
    return AutopilotConfig(
        cleanup_dead_servers=read.flag("cleanup_dead_servers", default.cleanup_dead_servers),
        disable_upgrade_migration=read.flag("disable_upgrade_migration"),
        last_contact_threshold=_nanoseconds(read, "last_contact_threshold", default.last_contact_threshold),
        max_trailing_logs=trailing,
        min_quorum=quorum,
        redundancy_zone_tag=read.text("redundancy_zone_tag"),
        server_stabilization_time=_nanoseconds(read, "server_stabilization_time", default.server_stabilization_time),
        upgrade_version_tag=read.text("upgrade_version_tag"),
    )


def _nanoseconds(read: Reader, key: str, default: int) -> int:
    return round(read.seconds(key, default / SECOND) * SECOND)


def _dns(read: Reader) -> DnsConfig:
    soa = read.section("soa")
    service_ttl = read.mapping("service_ttl")
    return DnsConfig(
        allow_stale=read.flag("allow_stale", True),
        max_stale=read.seconds("max_stale", 87600 * 3600.0),
        node_ttl=read.seconds("node_ttl"),
        service_ttl={str(key): Reader(service_ttl, "dns_config.service_ttl.").seconds(key) for key in service_ttl},
        enable_truncate=read.flag("enable_truncate"),
        only_passing=read.flag("only_passing"),
        recursor_timeout=read.seconds("recursor_timeout", 2.0),
        recursor_strategy=read.text("recursor_strategy", "sequential"),
        disable_compression=read.flag("disable_compression"),
        udp_answer_limit=read.number("udp_answer_limit", 3),
        a_record_limit=read.number("a_record_limit"),
        enable_additional_node_meta_txt=read.flag("enable_additional_node_meta_txt", True),
        soa=Soa(
            expire=soa.number("expire", 86400),
            min_ttl=soa.number("min_ttl", 0),
            refresh=soa.number("refresh", 3600),
            retry=soa.number("retry", 600),
        ),
        use_cache=read.flag("use_cache"),
        cache_max_age=read.seconds("cache_max_age"),
    )


def _http(read: Reader) -> HttpConfig:
    networks = read.texts("allow_write_http_from")
    for network in networks:
        try:
            ipaddress.ip_network(network, strict=False)
        except ValueError:
            raise ConfigError(f"http_config.allow_write_http_from: invalid CIDR address: {network}") from None
    return HttpConfig(
        block_endpoints=read.texts("block_endpoints"),
        response_headers={str(k): str(v) for k, v in read.mapping("response_headers").items()},
        allow_write_http_from=networks,
        max_header_bytes=read.number("max_header_bytes"),
        use_cache=read.flag("use_cache", True),
    )


def _validate(config: Config) -> None:
    if not config.dev and not config.data_dir:
        raise ConfigError("data_dir cannot be empty")
    if not re.fullmatch(r"[a-z0-9_-]+", config.datacenter):
        raise ConfigError(
            f'datacenter can only contain lowercase alphanumeric, - or _ characters, not "{config.datacenter}"'
        )
    if config.bootstrap_expect < 0:
        expect = config.bootstrap_expect
        raise ConfigError(f"bootstrap_expect cannot be {expect}. Must be greater than or equal to zero")
    if config.bootstrap_expect and not config.server:
        raise ConfigError("'bootstrap_expect > 0' requires 'server = true'")
    if config.bootstrap and not config.server:
        raise ConfigError("'bootstrap = true' requires 'server = true'")
    if config.bootstrap and config.bootstrap_expect:
        raise ConfigError("'bootstrap_expect > 0' and 'bootstrap = true' are mutually exclusive")
    if not config.node_name.strip():
        raise ConfigError("node_name cannot be empty")
    if not 1 <= config.raft_multiplier <= 10:
        raise ConfigError(f"performance.raft_multiplier cannot be {config.raft_multiplier}. Must be between 1 and 10")
    if config.dns.recursor_strategy not in ("sequential", "random"):
        raise ConfigError(
            f"dns_config.recursor_strategy: invalid strategy: {config.dns.recursor_strategy!r}, "
            "must be 'sequential' or 'random'"
        )
    dns = config.dns
    for name, value in (("udp_answer_limit", dns.udp_answer_limit), ("a_record_limit", dns.a_record_limit)):
        if value < 0:
            raise ConfigError(f"dns_config.{name} cannot be {value}. Must be greater than or equal to zero")
    if config.data_dir and os.path.exists(config.data_dir) and not os.path.isdir(config.data_dir):
        raise ConfigError(f"data_dir {config.data_dir!r} is not a directory")
