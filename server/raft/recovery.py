"""Whose state a data directory holds, and starting from it with other members when the old ones can't agree any more.

`raft/identity.json` ties the folder to one server: a log under another ID would be a second vote in the name of the
first. `raft/peers.json`, Consul's file, lists the members with which a server goes on after a quorum was lost:

    [{"id": "<server ID>", "address": "10.0.0.1:8300", "non_voter": false}, …]

Everything that is in the log counts as committed then, also what no quorum had; so every surviving server must be given
the same file, while all are stopped.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from server.raft import messages as m
from server.raft.disk import sync_folder
from server.raft.entries import EntryLog
from server.raft.errors import ConfigurationError, CorruptLog, WrongServer
from server.raft.log import Loaded, WriteAheadLog
from server.raft.messages import Configuration, SnapshotMeta
from server.raft.pieces import Assembler
from server.raft.snapshot import DiskSnapshots, Snapshots, StoredSnapshot

log = logging.getLogger("lictor.raft")

FORMAT: Final = 1
MAX_PEERS_BYTES: Final = 1 << 20
MAX_PEERS: Final = 64


class _Identity(msgspec.Struct, rename="pascal"):
    server_id: str
    format: int = FORMAT


class _Peer(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    address: str
    non_voter: bool = False


def claim(folder: Path, server_id: str) -> None:
    """Tie the folder to a server, or see that it is that server's.

    Raises:
        WrongServer: it belongs to another one. CorruptLog: `identity.json` cannot be read. OSError.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / "identity.json"
    held = _identity(path)
    if held is None:
        _write(path, msgspec.json.encode(_Identity(server_id)))
    elif held.server_id != server_id:
        raise WrongServer(
            f"{folder} holds the Raft state of server {held.server_id}, and this is {server_id}: a copy of another "
            "server's data must not vote in its name. Start with an empty data directory; the others send the state"
        )


def _identity(path: Path) -> _Identity | None:
    if not path.exists():
        return None
    try:
        held = msgspec.json.decode(path.read_bytes(), type=_Identity)
    except msgspec.DecodeError as error:
        raise CorruptLog(f"{path}: {error}") from None
    if held.format > FORMAT:
        raise CorruptLog(f"{path}: format {held.format} is not known to this version of lictor")
    return held


def _write(path: Path, data: bytes) -> None:
    """Put a file in place, whole and durable."""
    temporary = path.with_name(path.name + ".new")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    sync_folder(path.parent)


def read_peers(path: Path) -> Configuration | None:
    """The members that `peers.json` names; None when there is no such file.

    Raises ConfigurationError, which names what is wrong with it.
    """
    if not path.exists():
        return None
    if path.stat().st_size > MAX_PEERS_BYTES:
        raise ConfigurationError(f"{path}: larger than {MAX_PEERS_BYTES} bytes")
    try:
        peers = msgspec.json.decode(path.read_bytes(), type=list[_Peer])
    except msgspec.DecodeError as error:
        raise ConfigurationError(f"{path}: {error}") from None
    try:
        return configuration_of(peers)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from None


def configuration_of(peers: list[_Peer]) -> Configuration:
    """The configuration of listed peers. Raises ConfigurationError."""
    if len(peers) > MAX_PEERS:
        raise ConfigurationError(f"{len(peers)} servers are more than {MAX_PEERS}")
    for number, peer in enumerate(peers):
        host, _, port = peer.address.rpartition(":")
        if not peer.id or len(peer.id) > 256:
            raise ConfigurationError(f"entry {number}: id must not be empty nor longer than 256 characters")
        if not host or not port.isdigit() or not 0 < int(port) < 65536:
            raise ConfigurationError(f"entry {number}: address {peer.address!r} is not host:port")
    if len({peer.id for peer in peers}) != len(peers):
        raise ConfigurationError("an id is listed twice")
    if len({peer.address for peer in peers}) != len(peers):
        raise ConfigurationError("an address is listed twice")
    voters = frozenset(peer.id for peer in peers if not peer.non_voter)
    if not voters:
        raise ConfigurationError("there must be at least one server that votes")
    return Configuration(
        voters=voters,
        learners=frozenset(peer.id for peer in peers if peer.non_voter),
        addresses={peer.id: peer.address for peer in sorted(peers, key=lambda one: one.id)},
    )


def write_peers(path: Path, members: list[tuple[str, str, bool]]) -> Configuration:
    """Write `peers.json` for (ID, address, votes) and return what it means. Raises ConfigurationError, OSError."""
    peers = [_Peer(server_id, address, not votes) for server_id, address, votes in members]
    configuration = configuration_of(peers)
    _write(path, json.dumps(msgspec.to_builtins(peers), indent=2).encode() + b"\n")
    return configuration


class StateMachine(Protocol):
    """What recovery needs of the state machine; see `server.raft.driver.StateMachine`."""

    def apply(self, index: int, term: int, command: bytes) -> Any:
        """Carry out a command."""

    def prepare(self, command: bytes) -> None:
        """Do the slow part of a large one."""

    def snapshot(self) -> Any:
        """Capture the state."""


def rebuild(
    loaded: Loaded,
    applied: int,
    configuration: Configuration,
    fsm: StateMachine,
    storage: WriteAheadLog | Any,
    snapshots: Snapshots,
) -> tuple[Loaded, StoredSnapshot]:
    """Apply the whole log, put a snapshot with the new members in its place and begin a new log after it.

    Raises ConfigurationError when there is nothing to go on from, CorruptLog, OSError.
    """
    index, term = loaded.log.last_index, loaded.log.last_term
    if not index:
        raise ConfigurationError("peers.json: this server has no state to recover; let it join the others empty")
    assembler = Assembler()
    for entry in loaded.log.slice(max(applied, loaded.log.base_index) + 1, index):
        _apply(fsm, assembler, entry)
    meta = SnapshotMeta(index, term, configuration, index)
    stored = snapshots.create(meta, fsm.snapshot())
    state = m.HardState(loaded.hard_state.term, loaded.hard_state.vote, index)
    storage.reset(state, index, term)
    count = len(configuration.members())
    log.warning("recovered with %d servers from peers.json, at entry %d of term %d", count, index, term)
    return Loaded(EntryLog(index, term), state, loaded.remarks), stored


def _apply(fsm: StateMachine, assembler: Assembler, entry: m.Entry) -> None:
    command: bytes | None = None
    if entry.kind == m.COMMAND:
        command = entry.data
    elif entry.kind == m.NOOP:
        assembler.clear()
    try:
        if entry.kind == m.PIECE:
            command = assembler.add(entry.data)
            if command is not None:
                fsm.prepare(command)
        if command is not None:
            fsm.apply(entry.index, entry.term, command)
    except Exception as error:  # It failed in the same way wherever it was applied; its result is nobody's any more.
        log.debug("entry %d: %s", entry.index, error)
    finally:
        if command is not None:
            assembler.clear()


class Found(NamedTuple):
    """What a stopped server's data directory holds."""

    server_id: str
    term: int
    last_index: int
    last_term: int
    snapshot_index: int
    configuration: Configuration
    remarks: list[str]


class _ReadOnlyLog(WriteAheadLog):
    """Reads a log and leaves it alone."""

    def _open_last(self, name: str, end: int, begun: bool) -> None:
        """Nothing is repaired."""

    def _begin_segment(self, first: list[Any]) -> None:
        """Nothing is written."""


def inspect(data_dir: Path) -> Found:
    """Look at a stopped server's state without changing it. Raises CorruptLog, OSError."""
    folder = data_dir / "raft"
    if not (folder / "log").is_dir():
        raise CorruptLog(f"{folder}: no server's state is here")
    snapshots = DiskSnapshots(folder / "snapshots", read_only=True)
    stored = snapshots.latest()
    loaded = _ReadOnlyLog(folder / "log").load()
    meta = stored.meta if stored is not None else SnapshotMeta()
    configuration = meta.configuration
    for entry in loaded.log.slice(loaded.log.first_index, loaded.log.last_index):
        if entry.kind == m.CONFIGURATION and entry.index > meta.configuration_index:
            configuration = m.decode_configuration(entry.data)
    last = max((loaded.log.last_term, loaded.log.last_index), (meta.term, meta.index))
    held = _identity(folder / "identity.json")
    server_id = held.server_id if held is not None else ""
    return Found(server_id, loaded.hard_state.term, last[1], last[0], meta.index, configuration, loaded.remarks)
