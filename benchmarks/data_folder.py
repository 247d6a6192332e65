"""Fills the data directory of a single server that has ended: with a long log, or with a large snapshot.

The server must have led once, so that its configuration is in the log; what is added follows on that as if it had been
written through it, only much faster than a client could.
"""

from collections.abc import Iterator
from pathlib import Path

from model.commands import CommandType
from model.structs.kv import DirEntry, KVSRequest
from server.fsm import Fsm, command
from server.raft import messages as m
from server.raft.disk import PosixFolder
from server.raft.log import Loaded, WriteAheadLog
from server.raft.messages import Entry, HardState, SnapshotMeta
from server.raft.snapshot import DiskSnapshots

BATCH = 1000


def puts(count: int, keys: int, size: int) -> Iterator[bytes]:
    """Commands that write values of `size` bytes to so many keys in turn."""
    for number in range(count):
        entry = DirEntry(key=f"bench/{number % keys}", value=b"%0*d" % (size, number))
        yield command(CommandType.KVS, KVSRequest(op="set", datacenter="dc1", dir_ent=entry))


def add_log_entries(data: Path, count: int, keys: int) -> None:
    """Append committed writes of 100 bytes to the log below a data directory."""
    storage = WriteAheadLog(PosixFolder(data / "raft" / "log", sync_data=lambda descriptor: None))
    loaded = storage.load()
    index, term = loaded.log.last_index, loaded.log.last_term
    batch: list[Entry] = []
    for written in puts(count, keys, 100):
        index += 1
        batch.append(Entry(index, term, m.COMMAND, written))
        if len(batch) == BATCH:
            _save(storage, loaded, batch)
            batch = []
    if batch:
        _save(storage, loaded, batch)
    storage.close()


def _save(storage: WriteAheadLog, loaded: Loaded, batch: list[Entry]) -> None:
    state = loaded.hard_state
    storage.save(HardState(max(state.term, batch[-1].term), state.vote, batch[-1].index), batch)


def make_snapshot(data: Path, size: int) -> int:
    """Replace the log below a data directory by a snapshot of about `size` bytes; returns its true size.

    The rows are keys with values of 1,000 bytes.
    """
    storage = WriteAheadLog(data / "raft" / "log")
    loaded = storage.load()
    fsm = Fsm()
    configuration, configuration_index = m.Configuration(), 0
    for entry in loaded.log.slice(loaded.log.first_index, loaded.log.last_index):
        if entry.kind == m.COMMAND:
            fsm.apply(entry.index, entry.term, entry.data)
        elif entry.kind == m.CONFIGURATION:
            configuration, configuration_index = m.decode_configuration(entry.data), entry.index
    index, term = loaded.log.last_index, loaded.log.last_term
    rows = size // 1100
    for written in puts(rows, rows, 1000):
        index += 1
        fsm.apply(index, term, written)
    meta = SnapshotMeta(index, term, configuration, configuration_index)
    stored = DiskSnapshots(data / "raft" / "snapshots").create(meta, fsm.snapshot())
    storage.reset(HardState(loaded.hard_state.term, loaded.hard_state.vote, index), index, term)
    storage.close()
    return stored.size
