"""Typed settings from merged ones: defaults, types, and what settings demand of each other."""

import ipaddress
import os
import re
import socket
from typing import Any

from agent.config import sections
from agent.config.access import acl_config
from agent.config.addresses import ANY, address_of, address_to_advertise, addresses_of, places_of, rendered
from agent.config.ca import ca_settings
from agent.config.check import check_config
from agent.config.deprecated import replaced
from agent.config.gossip import gossip_config
from agent.config.keys import DURATIONS
from agent.config.limits import limits as connection_limits
from agent.config.limits import unix_sockets
from agent.config.metrics_proxy import metrics_proxy_of
from agent.config.reader import Reader
from agent.config.settings import Config, ConfigError, DnsConfig, HttpConfig, Ports, Soa
from agent.config.template import is_template
from agent.config.tls import auto_encrypt, tls_settings
from model.durations import SECOND
from model.structs.operator import DEFAULT_AUTOPILOT, AutopilotConfig

_UINT32 = (1 << 32) - 1


def build(read: Reader, dev: bool) -> Config:
    """Typed settings from merged ones. Raises ConfigError."""
    read = replaced(read)
    server = read.flag("server", dev)
    ports = _ports(read.section("ports"), dev)
    bind = read.text("bind_addr", "127.0.0.1" if dev else "0.0.0.0")
    bind = address_of("bind_addr", bind)
    advertise = _advertised(read, bind)
    tagged = sections.node_addresses(read, advertise)
    clients = addresses_of("client_addr", read.text("client_addr"), ["127.0.0.1"])
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
        advertise_addr_wan=tagged["wan"],
        tagged_addresses=tagged,
        translate_wan_addrs=read.flag("translate_wan_addrs"),
        client_addrs=clients,
        http_addrs=addresses_of("addresses.http", addresses.text("http"), clients),
        https_addrs=addresses_of("addresses.https", addresses.text("https"), clients),
        dns_addrs=addresses_of("addresses.dns", addresses.text("dns"), clients),
        ports=ports,
        retry_join=places_of("retry_join", read.texts("retry_join")),
        retry_interval=read.seconds("retry_interval", 30.0),
        retry_max=read.number("retry_max"),
        start_join=places_of("start_join", read.texts("start_join")),
        recursors=_recursors(read.texts("recursors")),
        node_meta={str(key): str(value) for key, value in read.mapping("node_meta").items()},
        gossip=gossip_config(read, dev, server, tagged["wan"]),
        protocol=read.number("protocol", 2),
        raft_protocol=read.number("raft_protocol", 3),
        ui=ui.flag("enabled", dev or bool(ui.text("dir"))),
        ui_path=_ui_path(ui.text("content_path", "/ui/")),
        ui_settings=sections.ui_settings(ui, ""),
        metrics_proxy=metrics_proxy_of(ui),
        log_level=read.text("log_level", "DEBUG" if dev else "INFO").upper(),
        log_json=read.flag("log_json"),
        log_to=sections.log_file(read),
        raft=sections.raft_limits(read),
        raft_multiplier=performance.number("raft_multiplier", 5),
        lease_reads=performance.flag("lease_reads"),
        autopilot=_autopilot(read.section("autopilot")),
        leave_on_terminate=read.flag("leave_on_terminate", not server),
        leave_drain_time=performance.seconds("leave_drain_time", 0.0 if dev else sections.DEFAULT_DRAIN),
        server_rejoin_age_max=_rejoin_age(read),
        pid_file=read.text("pid_file"),
        auto_reload_config=read.flag("auto_reload_config"),
        watches=sections.watches(read),
        telemetry=sections.telemetry(read.section("telemetry")),
        rpc_limit=sections.rpc_limit(limits),
        central_config=read.flag("enable_central_service_config", True),
        cache_limit=sections.cache_limit(read.section("cache")),
        use_streaming_backend=read.flag("use_streaming_backend", True),
        discovery_max_stale=sections.discovery_max_stale(read),
        host_node_id=not read.flag("disable_host_node_id", True),
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
        tls=tls_settings(read.values),
        auto_encrypt=auto_encrypt(read.section("auto_encrypt"), server),
        enable_agent_tls_for_checks=read.flag("enable_agent_tls_for_checks"),
        limits=connection_limits(limits),
        unix_sockets=unix_sockets(read.section("unix_sockets")),
        default_query_time=read.seconds("default_query_time", 300.0),
        max_query_time=read.seconds("max_query_time", 600.0),
        kv_max_value_size=limits.number("kv_max_value_size", 512 * 1024),
        txn_max_req_len=limits.number("txn_max_req_len", 512 * 1024),
        session_ttl_min=read.seconds("session_ttl_min", 10.0),
        rpc_hold_timeout=performance.seconds("rpc_hold_timeout", 7.0),
        disable_coordinates=read.flag("disable_coordinates"),
        acl=acl_config(read),
        connect_enabled=connect.flag("enabled", True),
        ca_config=_ca_config(connect),
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


def _advertised(read: Reader, bind: str) -> str:
    """The address that others in the datacenter reach this agent by."""
    for key in ("advertise_addr", "advertise_addr_ipv4", "advertise_addr_ipv6"):
        if text := read.text(key):
            address = address_of(key, text)
            if address in ANY:
                raise ConfigError(f"{key} cannot be 0.0.0.0, :: or [::]")
            return address
    return address_to_advertise(bind) if bind in ANY else bind


def _recursors(texts: list[str]) -> list[str]:
    """DNS servers, templates resolved, each of them once."""
    found: list[str] = []
    for text in texts:
        words = rendered("recursors", text).split() if is_template(text) else [text]
        if any(word in (*ANY, "[::]") for word in words):
            raise ConfigError("DNS recursor address cannot be 0.0.0.0, :: or [::]")
        found.extend(words)
    return list(dict.fromkeys(found))


def _ui_path(text: str) -> str:
    """Where the UI is served."""
    path = "/" + text.strip("/") + "/" if text.strip("/") else "/"
    if not re.fullmatch(r"/([A-Za-z0-9_-]+/)*", path) or path.startswith("/v1/"):
        raise ConfigError(
            f"ui_config.content_path can only contain alphanumeric, - and _ characters, and cannot be /v1/: {text!r}"
        )
    return path


def _ca_config(connect: Reader) -> dict[str, Any]:
    """The configuration that the CA begins with."""
    connect.one_of("ca_provider", ("", "consul"), "consul")
    return ca_settings(connect.mapping("ca_config"))


def _rejoin_age(read: Reader) -> float:
    seconds = read.seconds("server_rejoin_age_max", 7 * 24 * 3600.0)
    if seconds < 6 * 3600:
        raise ConfigError("server_rejoin_age_max cannot be less than 6h")
    return seconds


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
            expire=soa.at_least("expire", 0, 86400, _UINT32),
            min_ttl=soa.at_least("min_ttl", 0, 0, _UINT32),
            refresh=soa.at_least("refresh", 0, 3600, _UINT32),
            retry=soa.at_least("retry", 0, 600, _UINT32),
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
