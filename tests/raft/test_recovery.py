"""Whose state a folder holds, and going on with other members from it."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.raft import messages as m
from server.raft.entries import EntryLog
from server.raft.errors import ConfigurationError, CorruptLog, WrongServer
from server.raft.log import Loaded, MemoryStorage, WriteAheadLog
from server.raft.messages import Configuration, Entry, HardState
from server.raft.pieces import split
from server.raft.recovery import claim, inspect, read_peers, rebuild, write_peers
from server.raft.snapshot import DiskSnapshots, MemorySnapshots
from tests.raft.test_driver import Lines

GOOD = {"id": "a", "address": "10.0.0.1:8300"}


def test_a_folder_belongs_to_one_server(tmp_path: Path) -> None:
    claim(tmp_path / "raft", "a")
    claim(tmp_path / "raft", "a")
    with pytest.raises(WrongServer, match="holds the Raft state of server a, and this is b"):
        claim(tmp_path / "raft", "b")
    (tmp_path / "raft" / "identity.json").write_text('{"ServerId": "a", "Format": 9}')
    with pytest.raises(CorruptLog, match="format 9 is not known"):
        claim(tmp_path / "raft", "a")
    (tmp_path / "raft" / "identity.json").write_text("[")
    with pytest.raises(CorruptLog, match=r"identity\.json"):
        claim(tmp_path / "raft", "a")


def test_peers_are_read_as_consul_writes_them(tmp_path: Path) -> None:
    path = tmp_path / "peers.json"
    assert read_peers(path) is None
    path.write_text(json.dumps([{**GOOD, "non_voter": False}, {"id": "b", "address": "[::1]:8300", "non_voter": True}]))
    configuration = read_peers(path)
    assert configuration is not None
    assert (configuration.voters, configuration.learners) == (frozenset("a"), frozenset("b"))
    assert configuration.addresses == {"a": "10.0.0.1:8300", "b": "[::1]:8300"}
    assert write_peers(path, [("a", "10.0.0.1:8300", True), ("b", "[::1]:8300", False)]) == configuration
    assert read_peers(path) == configuration


@pytest.mark.parametrize(
    ("peers", "reason"),
    [
        ("nonsense", "malformed"),
        ("[]", "at least one server that votes"),
        (json.dumps([{**GOOD, "non_voter": True}]), "at least one server that votes"),
        (json.dumps([{"id": "a"}]), "missing required field `address`"),
        (json.dumps([{**GOOD, "nonvoter": True}]), "unknown field `nonvoter`"),
        (json.dumps([{**GOOD, "id": ""}]), "entry 0: id must not be empty"),
        (json.dumps([{**GOOD, "address": "here"}]), "entry 0: address 'here' is not host:port"),
        (json.dumps([{**GOOD, "address": "h:99999"}]), "is not host:port"),
        (json.dumps([GOOD, GOOD]), "an id is listed twice"),
        (json.dumps([GOOD, {**GOOD, "id": "b"}]), "an address is listed twice"),
        (" " * (1 << 20) + "[]", "larger than"),
    ],
)
def test_bad_peers_are_refused_with_the_reason(tmp_path: Path, peers: str, reason: str) -> None:
    path = tmp_path / "peers.json"
    path.write_text(peers)
    with pytest.raises(ConfigurationError, match=reason) as raised:
        read_peers(path)
    assert str(raised.value).startswith(f"{path}: ")


@given(st.binary(max_size=200))
def test_rubbish_as_peers_is_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("peers") / "peers.json"
    path.write_bytes(data)
    with pytest.raises(ConfigurationError):
        read_peers(path)


def test_the_whole_log_becomes_a_snapshot_with_the_new_members() -> None:
    large = list(split(b"x" * 250, 7, size=100))
    data = [b"one", b"bad", b"two", *large, b"three", b""]
    kinds = [m.COMMAND] * 3 + [m.PIECE] * len(large) + [m.COMMAND, m.NOOP]
    entries = [Entry(number, 2, kind, item) for number, (kind, item) in enumerate(zip(kinds, data, strict=True), 1)]
    fsm, snapshots = Lines(), MemorySnapshots()
    members = Configuration(voters=frozenset("a"), addresses={"a": "x:1"})
    loaded = Loaded(EntryLog(0, 0, entries), HardState(5, "b", 3), [])
    after, stored = rebuild(loaded, 0, members, fsm, MemoryStorage(), snapshots)
    assert fsm.lines == [b"one", b"two", b"x" * 250, b"three"]
    assert (after.log.base_index, after.log.base_term, after.log.last_index) == (len(entries), 2, len(entries))
    assert after.hard_state == HardState(5, "b", len(entries))
    assert (stored.meta.index, stored.meta.configuration) == (len(entries), members)
    assert snapshots.latest() == stored


def test_an_empty_server_has_nothing_to_recover() -> None:
    loaded = Loaded(EntryLog(), HardState(), [])
    with pytest.raises(ConfigurationError, match="no state to recover"):
        rebuild(loaded, 0, Configuration(), Lines(), MemoryStorage(), MemorySnapshots())


def test_inspecting_changes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "raft"
    claim(folder, "a")
    DiskSnapshots(folder / "snapshots")
    members = Configuration(voters=frozenset("abc"), addresses=dict.fromkeys("abc", "x:1"))
    log = WriteAheadLog(folder / "log")
    log.load()
    log.save(HardState(3, "a", 0), [Entry(1, 1, m.CONFIGURATION, m.encode_configuration(members))])
    log.save(None, [Entry(2, 3, m.COMMAND, b"x" * 2000)])
    log.close()
    path = next((folder / "log").glob("*.wal"))
    data = path.read_bytes()
    torn = bytearray(data)
    torn[1024:1536] = bytes(512)
    path.write_bytes(torn)
    found = inspect(tmp_path)
    assert (found.server_id, found.term, found.last_index, found.configuration) == ("a", 3, 1, members)
    assert "cut off" in found.remarks[0]
    assert path.read_bytes() == torn
    with pytest.raises(CorruptLog, match="no server's state"):
        inspect(tmp_path / "elsewhere")
