"""Settings of gossip: where they come from, what they mean, and what is wrong with them."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest

from agent.config.load import load_config
from agent.config.settings import Config, ConfigError
from gossip.core import LAN, LOCAL, WAN

KEY = "pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s="


def load(*words: str) -> Config:
    return load_config(["-bind=127.0.0.1", *words])[0]


def test_defaults_are_those_of_the_pools(tmp_path: Path) -> None:
    gossip = load(f"-data-dir={tmp_path}").gossip
    assert (gossip.lan.timing, gossip.wan.timing) == (LAN, WAN)
    assert (gossip.lan.key, gossip.lan.verify_incoming, gossip.lan.verify_outgoing) == (b"", True, True)
    assert gossip.lan.keyring_file == tmp_path / "serf/local.keyring"
    assert gossip.wan.keyring_file == tmp_path / "serf/remote.keyring"
    assert gossip.wan.advertise == "127.0.0.1"
    assert not gossip.lan.allowed and not gossip.lan.rejoin_after_leave and not gossip.encrypted
    assert load("-dev").gossip.lan.timing == LOCAL
    assert load("-dev").gossip.lan.keyring_file is None


def test_every_setting_has_its_effect(tmp_path: Path) -> None:
    text = f"""
        encrypt = "{KEY}"
        encrypt_verify_incoming = false
        encrypt_verify_outgoing = false
        disable_keyring_file = true
        gossip_lan {{ gossip_nodes = 5 gossip_interval = "1s" probe_interval = "2s" probe_timeout = "700ms"
                      suspicion_mult = 7 retransmit_mult = 9 }}
        gossip_wan {{ gossip_nodes = 2 }}
        reconnect_timeout = "9h"
        reconnect_timeout_wan = "10h"
        serf_lan = "127.0.0.3"
        serf_wan = "127.0.0.4"
        advertise_addr_wan = "192.0.2.1"
        serf_lan_allowed_cidrs = ["10.0.0.0/8", "127.0.0.1/8"]
        serf_wan_allowed_cidrs = ["192.0.2.0/24"]
        rejoin_after_leave = true
        retry_join_wan = ["a", "b"]
        start_join_wan = ["c"]
        retry_interval_wan = "5s"
        retry_max_wan = 3
        server = true
    """
    gossip = load(f"-data-dir={tmp_path}", "-hcl", text).gossip
    timing = gossip.lan.timing
    assert (timing.gossip_nodes, timing.gossip_interval, timing.probe_interval, timing.probe_timeout) == (5, 1, 2, 0.7)
    assert (timing.suspicion, timing.retransmit, timing.reap_failed) == (7, 9, 9 * 3600)
    assert (gossip.wan.timing.gossip_nodes, gossip.wan.timing.reap_failed) == (2, 36000)
    assert gossip.wan.timing.probe_interval == WAN.probe_interval
    for options in (gossip.lan, gossip.wan):
        assert len(options.key) == 32 and not options.verify_incoming and not options.verify_outgoing
        assert options.keyring_file is None and options.rejoin_after_leave
    assert (gossip.lan.bind, gossip.wan.bind, gossip.wan.advertise) == ("127.0.0.3", "127.0.0.4", "192.0.2.1")
    assert gossip.lan.allowed == (ip_network("10.0.0.0/8"), ip_network("127.0.0.0/8"))
    assert gossip.wan.allowed == (ip_network("192.0.2.0/24"),)
    assert (gossip.retry_join_wan, gossip.start_join_wan) == (["a", "b"], ["c"])
    assert (gossip.retry_interval_wan, gossip.retry_max_wan) == (5.0, 3)


def test_flags_have_the_same_effect(tmp_path: Path) -> None:
    gossip = load(
        *(f"-data-dir={tmp_path}", "-server", f"-encrypt={KEY}", "-disable-keyring-file", "-rejoin"),
        *("-serf-lan-bind=127.0.0.3", "-serf-wan-bind=127.0.0.4", "-advertise-wan=192.0.2.1"),
        *("-serf-lan-allowed-cidrs=10.0.0.0/8", "-serf-lan-allowed-cidrs=11.0.0.0/8"),
        *("-serf-wan-allowed-cidrs=12.0.0.0/8", "-retry-join-wan=a", "-join-wan=b"),
        *("-retry-interval-wan=7s", "-retry-max-wan=2"),
    ).gossip
    assert len(gossip.lan.key) == 32 and gossip.lan.keyring_file is None and gossip.wan.rejoin_after_leave
    assert (gossip.lan.bind, gossip.wan.bind, gossip.wan.advertise) == ("127.0.0.3", "127.0.0.4", "192.0.2.1")
    assert len(gossip.lan.allowed) == 2 and len(gossip.wan.allowed) == 1
    assert (gossip.retry_join_wan, gossip.start_join_wan) == (["a"], ["b"])
    assert (gossip.retry_interval_wan, gossip.retry_max_wan) == (7.0, 2)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('encrypt = "????"', "encrypt has invalid key: illegal base64 data at input byte 0"),
        ('encrypt_verify_incoming = "perhaps"', "encrypt_verify_incoming: expected true or false"),
        ('reconnect_timeout = "7h"', "reconnect_timeout must be >= 8h"),
        ('reconnect_timeout_wan = "1m"', "reconnect_timeout_wan must be >= 8h"),
        ("gossip_lan { gossip_nodes = 0 }", "gossip_lan.gossip_nodes must be greater than zero"),
        ('gossip_wan { probe_timeout = "-1s" }', "gossip_wan.probe_timeout must be greater than zero"),
        ('gossip_lan { probe_interval = "soon" }', "gossip_lan.probe_interval: invalid duration"),
        ("gossip_lan { gossip_node = 1 }", "invalid config key gossip_lan.gossip_node (did you mean gossip_nodes?)"),
        ('serf_lan_allowed_cidrs = ["10.0.0.0/99"]', "serf_lan_allowed_cidrs: invalid cidr: 10.0.0.0/99"),
        ('serf_wan_allowed_cidrs = ["x"]', "serf_wan_allowed_cidrs: invalid cidr: x"),
        ('serf_lan = "nowhere"', "serf_lan: failed to parse address"),
        ('advertise_addr_wan = "0.0.0.0"', "advertise_addr_wan cannot be 0.0.0.0"),
        ('advertise_reconnect_timeout = "1h"', "advertise_reconnect_timeout can only be used on a client"),
    ],
)
def test_errors_name_the_key(text: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load("-dev", "-hcl", text)
    assert reason in str(caught.value)


def test_a_keyring_on_disk_is_told_of_when_a_key_is_given(tmp_path: Path) -> None:
    (tmp_path / "serf").mkdir()
    for name in ("local", "remote"):
        (tmp_path / "serf" / f"{name}.keyring").write_text("[]")
    words = [f"-data-dir={tmp_path}", "-bind=127.0.0.1", f"-encrypt={KEY}"]
    text = "WARNING: {} keyring exists but -encrypt given, using keyring"
    assert load_config([*words, "-server"])[1] == [text.format("LAN"), text.format("WAN")]
    assert load_config(words)[1] == [text.format("LAN")]
    assert load_config(words[:2])[1] == []
    assert load_config([*words, "-disable-keyring-file"])[1] == []
    assert load(f"-data-dir={tmp_path}").gossip.encrypted


def test_a_client_can_say_when_it_is_to_be_forgotten(tmp_path: Path) -> None:
    assert (
        load(f"-data-dir={tmp_path}", "-hcl", 'advertise_reconnect_timeout = "15m"').gossip.advertise_reconnect == "15m"
    )
