"""Settings of gossip: addresses, timing, keys, who may come in, and where to join other datacenters."""

import ipaddress
from pathlib import Path
from typing import Any

from agent.config.addresses import address_of, places_of
from agent.config.gossip_settings import GossipConfig
from agent.config.reader import Reader
from agent.config.settings import ConfigError
from gossip.core import LAN, LOCAL, WAN, Timing
from gossip.key_answers import decoded
from gossip.keyring import KEY_SIZES, KeyringError
from gossip.options import Network, PoolOptions

LEAST_RECONNECT = 8 * 3600.0
LOCAL_KEYRING, WIDE_KEYRING = "serf/local.keyring", "serf/remote.keyring"


def gossip_config(read: Reader, dev: bool, server: bool, advertise: str) -> GossipConfig:
    """The settings of gossip; `advertise` is the address for other datacenters. Raises ConfigError."""
    key = _key(read.text("encrypt"))
    folder = None if dev or read.flag("disable_keyring_file") else read.text("data_dir") or None
    shared: dict[str, Any] = {
        "key": key,
        "verify_incoming": read.flag("encrypt_verify_incoming", True),
        "verify_outgoing": read.flag("encrypt_verify_outgoing", True),
        "coordinates": not read.flag("disable_coordinates"),
        "rejoin_after_leave": read.flag("rejoin_after_leave"),
    }
    wish = read.text("advertise_reconnect_timeout") if read.seconds("advertise_reconnect_timeout") else ""
    if wish and server:
        raise ConfigError("advertise_reconnect_timeout can only be used on a client")
    return GossipConfig(
        lan=PoolOptions(
            bind=_address(read, "serf_lan"),
            timing=_timing(read, "gossip_lan", LOCAL if dev else LAN, "reconnect_timeout"),
            allowed=_networks(read, "serf_lan_allowed_cidrs"),
            keyring_file=Path(folder, LOCAL_KEYRING) if folder else None,
            **shared,
        ),
        wan=PoolOptions(
            bind=_address(read, "serf_wan"),
            advertise=advertise,
            timing=_timing(read, "gossip_wan", LOCAL if dev else WAN, "reconnect_timeout_wan"),
            allowed=_networks(read, "serf_wan_allowed_cidrs"),
            keyring_file=Path(folder, WIDE_KEYRING) if folder else None,
            **shared,
        ),
        retry_join_wan=places_of("retry_join_wan", read.texts("retry_join_wan")),
        retry_interval_wan=read.seconds("retry_interval_wan", 30.0),
        retry_max_wan=read.number("retry_max_wan"),
        start_join_wan=places_of("start_join_wan", read.texts("start_join_wan")),
        advertise_reconnect=wish,
    )


def gossip_warnings(gossip: GossipConfig, server: bool) -> list[str]:
    """What an operator should know: a keyring on disk wins over the key that was given."""
    found = []
    for name, options, used in (("LAN", gossip.lan, True), ("WAN", gossip.wan, server)):
        if used and options.key and options.keyring_file is not None and options.keyring_file.exists():
            found.append(f"WARNING: {name} keyring exists but -encrypt given, using keyring")
    return found


def _key(text: str) -> bytes:
    if not text:
        return b""
    try:
        key = decoded(text)
    except KeyringError as error:
        raise ConfigError(f"encrypt has invalid key: {error}") from None
    if len(key) not in KEY_SIZES:
        raise ConfigError(f"encrypt has invalid key: it has {len(key)} bytes, not 16, 24 or 32")
    return key


def _address(read: Reader, key: str) -> str:
    text = read.text(key)
    return address_of(key, text) if text else ""


def _networks(read: Reader, key: str) -> tuple[Network, ...]:
    found = []
    for text in read.texts(key):
        try:
            found.append(ipaddress.ip_network(text, strict=False))
        except ValueError:
            raise ConfigError(f"{key}: invalid cidr: {text}") from None
    return tuple(found)


def _timing(read: Reader, key: str, base: Timing, reconnect: str) -> Timing:
    section = read.section(key)
    timing = Timing(
        **{
            **{field: getattr(base, field) for field in Timing.__dataclass_fields__},
            "gossip_nodes": section.number("gossip_nodes", base.gossip_nodes),
            "gossip_interval": section.seconds("gossip_interval", base.gossip_interval),
            "probe_interval": section.seconds("probe_interval", base.probe_interval),
            "probe_timeout": section.seconds("probe_timeout", base.probe_timeout),
            "suspicion": section.number("suspicion_mult", base.suspicion),
            "retransmit": section.number("retransmit_mult", base.retransmit),
            "reap_failed": read.seconds(reconnect, base.reap_failed),
        }
    )
    for name, value in (
        ("gossip_nodes", timing.gossip_nodes),
        ("gossip_interval", timing.gossip_interval),
        ("probe_interval", timing.probe_interval),
        ("probe_timeout", timing.probe_timeout),
        ("suspicion_mult", timing.suspicion),
        ("retransmit_mult", timing.retransmit),
    ):
        if value <= 0:
            raise ConfigError(f"{key}.{name} must be greater than zero")
    if timing.reap_failed < LEAST_RECONNECT:
        raise ConfigError(f"{reconnect} must be >= 8h")
    return timing
