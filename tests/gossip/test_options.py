"""The keyring on disk, who may come in, and how long members are remembered."""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip import keyring_file, wire
from gossip.core import Core, Settings, Status, Timing
from gossip.keyring import KeyringError
from gossip.members import Alive
from gossip.options import PoolOptions
from gossip.wire import GossipError
from tests.gossip.network import QUICK, Network
from tests.gossip.vectors import vectors

A, B = b"a" * 16, b"b" * 32


def settings(options: PoolOptions) -> Settings:
    return options.settings("n", "10.0.0.1", 8301, {}, lambda member: "")


def test_a_real_keyring_is_read_and_ours_is_the_same(tmp_path: Path) -> None:
    recorded = vectors("serf")["live"]["encrypted"]
    path = tmp_path / "serf" / "local.keyring"
    path.parent.mkdir()
    path.write_text(recorded["keyring_file"])
    keys = keyring_file.load(path)
    assert {key.hex() for key in keys} == set(recorded["keys"])
    keyring_file.save(path, keys)
    assert path.read_text().strip() == recorded["keyring_file"].strip()
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_file_wins_over_the_key_and_is_made_from_it(tmp_path: Path) -> None:
    path = tmp_path / "serf" / "local.keyring"
    first = settings(PoolOptions(key=A, keyring_file=path))
    assert keyring_file.load(path) == [A]
    ring = first.envelope.keyring
    assert ring is not None
    ring.install(B)
    ring.use(B)
    assert first.save_keys(ring.keys) == ""
    for key in (A, b"x" * 16, b""):  # Whatever is configured now, even nothing.
        again = settings(PoolOptions(key=key, keyring_file=path)).envelope.keyring
        assert again is not None and again.keys == [B, A]
    only_in_memory = settings(PoolOptions(key=A)).envelope.keyring
    assert only_in_memory is not None and only_in_memory.keys == [A]
    assert settings(PoolOptions(keyring_file=tmp_path / "none")).envelope.keyring is None


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "it is no JSON"),
        ("{}", "no list of texts"),
        ("[]", "contains no keys"),
        ("[1]", "no list of texts"),
        ('["YWJj"]', "key 0: key size must be 16, 24 or 32 bytes"),
        ('["YWFhYWFhYWFhYWFhYWFhYQ==", "secret-thing!"]', "key 1: illegal base64 data at input byte 6"),
    ],
)
def test_a_damaged_keyring_is_an_error_that_shows_no_key(tmp_path: Path, content: str, reason: str) -> None:
    path = tmp_path / "local.keyring"
    path.write_text(content)
    with pytest.raises(KeyringError) as caught:
        settings(PoolOptions(key=A, keyring_file=path))
    assert reason in str(caught.value) and str(path) in str(caught.value)
    assert "secret" not in str(caught.value) and "YWFh" not in str(caught.value)


def test_keys_that_cannot_be_written(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(OSError, match="cannot write the keyring"):
        settings(PoolOptions(key=A, keyring_file=blocked / "local.keyring"))
    path = tmp_path / "serf" / "local.keyring"
    made = settings(PoolOptions(key=A, keyring_file=path))
    path.unlink()
    path.parent.rmdir()
    path.parent.write_text("")
    assert made.save_keys([A]).startswith("Failed to write keyring file: ")


@given(st.lists(st.sampled_from([b"a" * 16, b"b" * 24, b"c" * 32]), min_size=1, unique=True))
def test_what_is_saved_is_loaded(tmp_path_factory: pytest.TempPathFactory, keys: list[bytes]) -> None:
    path = tmp_path_factory.mktemp("ring") / "x" / "local.keyring"
    keyring_file.save(path, keys)
    assert keyring_file.load(path) == keys and isinstance(json.loads(path.read_text()), list)


def test_keys_do_not_show_where_settings_do() -> None:
    options = PoolOptions(key=A)
    assert "aaaa" not in repr(options) and "aaaa" not in repr(settings(options))


# Who may come in


def allowing(*networks: str) -> PoolOptions:
    return PoolOptions(allowed=tuple(ipaddress.ip_network(one) for one in networks))


def test_addresses_that_are_allowed() -> None:
    options = allowing("10.0.0.0/8", "fd00::/8")
    for address in ("10.1.2.3", "fd00::1", "::ffff:10.0.0.1"):
        assert options.allows(address)
    for address in ("11.0.0.1", "fe80::1", "nonsense", ""):
        assert not options.allows(address)
    assert PoolOptions().allows("192.0.2.1")


def test_members_from_elsewhere_stay_out_by_every_way() -> None:
    network = Network()
    picky = network.member("picky", allowed=allowing("10.0.0.1/32", "10.0.0.3/32").allows)
    outside, inside = network.member("outside"), network.member("inside")
    assert outside.settings.address == "10.0.0.2"
    with pytest.raises(GossipError, match=r"Member .outside. has address 10\.0\.0\.2, which is not in the"):
        network.exchange(outside, picky)
    network.exchange(inside, picky)
    network.exchange(outside, inside)
    network.run(3)
    assert {member.name for member in inside.members()} == {"picky", "outside", "inside"}
    assert {member.name for member in picky.members()} == {"picky", "inside"}
    assert picky.counters.refused > 0
    # An alive message about an allowed address counts as little when it comes from a stranger.
    me = inside.pool.me
    forged = Alive("forged", me.address, 9999, me.meta, me.versions, 1).encode()
    picky.receive_packet(forged, ("10.0.0.2", 8301), network.now)
    assert picky.member("forged") is None
    picky.receive_packet(forged, ("10.0.0.3", 8301), network.now)
    assert picky.member("forged") is not None


# How long members are remembered


def gone(name: str, tags: dict[str, str], timing: Timing) -> Core:
    """A core that saw a member of these tags fail at second 0."""
    network = Network()
    core = network.member("watcher")
    core.pool.timing = timing
    other = network.member(name)
    other.pool.settings.tags.update(tags)
    core.receive_packet(other.pool.me.encode(), ("10.0.0.2", 8301), 0.0)
    dead = wire.message(wire.DEAD, {"From": "x", "Incarnation": 1, "Node": name})
    core.receive_packet(dead, ("10.0.0.2", 8301), 0.0)
    assert (member := core.member(name)) is not None and member.status is Status.FAILED
    return core


def forgotten_after(core: Core, name: str) -> float:
    """In steps of 15 s, up to a week."""
    now = 0.0
    while core.member(name) is not None and now < 7 * 86400:
        now += 15.0
        core.pool.now = now
        core.serf.reap()
    return now


def test_when_failed_members_are_forgotten() -> None:
    assert forgotten_after(gone("m", {}, QUICK), "m") == 72 * 3600 + 15
    shorter = Timing(reap_failed=8 * 3600.0)
    assert forgotten_after(gone("m", {}, shorter), "m") == 8 * 3600 + 15
    # A client says itself when it is to be forgotten; what is no duration says nothing.
    assert forgotten_after(gone("m", {"rc_tm": "15m"}, shorter), "m") == 15 * 60 + 15
    for nonsense in ("soon", "-5m", "0s"):
        assert forgotten_after(gone("m", {"rc_tm": nonsense}, shorter), "m") == 8 * 3600 + 15
