"""Commands of the replicated log become changes of state here, and nowhere else.

A command is one type byte and a msgpack value, both as Consul writes them. Applying is deterministic; a command that
fails changes nothing and its error becomes the proposal's result. A snapshot is a shallow capture of immutable rows,
written by a thread in Consul's record format; a restore decodes everything into a new store before the old one goes.
"""

import contextlib
import io
import logging
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO

import msgpack

from model.codec import WireError, from_wire, pack_builtins, unpack, unpack_builtins
from model.commands import IGNORE_IF_UNKNOWN, SNAPSHOT_ORDER, Command, CommandType, Record, command
from model.errors import RpcError
from model.metrics import METRICS
from model.structs.coordinate import Coordinate
from model.structs.operator import IndexEntry
from model.structs.txn import TxnRequest, TxnResponse
from server.state import txn
from server.state.store import Store

__all__ = ["Fsm", "command"]

log = logging.getLogger("lictor.fsm")

MAX_RECORD = 512 << 20
"""Bytes that one record of a snapshot may take."""
MAX_INDEX = 1 << 62
"""Above all indexes that a restored state may have: further ones follow them."""
_CHUNK = 32 << 10
"""Bytes of a snapshot that are written at a time."""
_TIMES = {
    int(kind): METRICS.sample(f"fsm.{name}")
    for kind, name in (
        (CommandType.REGISTER, "register"),
        (CommandType.DEREGISTER, "deregister"),
        (CommandType.KVS, "kvs"),
        (CommandType.SESSION, "session"),
        (CommandType.TOMBSTONE, "tombstone"),
        (CommandType.COORDINATES, "coordinate.batch-update"),
        (CommandType.PREPARED_QUERY, "prepared-query"),
        (CommandType.TXN, "txn"),
        (CommandType.AUTOPILOT, "autopilot"),
        (CommandType.INTENTION, "intention"),
        (CommandType.CONNECT_CA, "ca"),
        (CommandType.CA_LEAF, "ca.leaf"),
        (CommandType.CONFIG_ENTRY, "config_entry"),
        (CommandType.SYSTEM_METADATA, "system_metadata"),
    )
}
"""How long commands take, by their types."""
_NO_CHUNKS: dict[str, Any] = {"ChunkMap": {}}
_ARCHIVE_INDEX = struct.Struct(">BQ")


def restore_command(archive_index: int, records: bytes) -> bytes:
    """The command that replaces the state of every server by an archive's records."""
    return _ARCHIVE_INDEX.pack(CommandType.RESTORE, archive_index) + records


class Fsm:
    """Owns the store; `store` is another object after a restore. Implements `server.raft.driver.StateMachine`.

    `on_restore` are called when a snapshot has replaced the store, before those who wait on the old one wake.
    """

    def __init__(self, store: Store | None = None) -> None:
        self.store = store or Store()
        self.on_restore: list[Callable[[], None]] = []
        self.index_offset = 0
        """What is added to the log's indexes, so that indexes of the state never fall below those of a restored one."""
        self._prepared: tuple[bytes, Store] | None = None
        self._commands = self._collect()

    def _collect(self) -> dict[int, Command]:
        commands = {entry.kind: entry for part in self.store.parts for entry in part.commands()}
        commands[CommandType.TXN] = Command(CommandType.TXN, TxnRequest, self._txn)
        return {int(kind): entry for kind, entry in commands.items()}

    def apply(self, index: int, term: int, command: bytes) -> Any:
        """Carry out a command and return its result. Raises RpcError when it fails; then nothing has changed."""
        if command[:1] == bytes((CommandType.RESTORE,)):
            return self._replace(index, command)
        store = self.store
        began = time.perf_counter()
        try:
            result = self._carry_out(index + self.index_offset, command)
        except RpcError:
            store.journal.rollback()
            raise
        except WireError as error:
            store.journal.rollback()
            raise RpcError(f"failed to decode request: {error}") from None
        except Exception:
            store.journal.rollback()
            log.exception("the command at index %d failed", index)
            raise RpcError("internal error while applying a command") from None
        touched = store.journal.finish()
        if touched:
            store.watches.fire(touched)
        times = _TIMES.get(command[0] & ~IGNORE_IF_UNKNOWN)
        if times is not None:
            times.add((time.perf_counter() - began) * 1000.0)
        return result

    def _carry_out(self, index: int, command: bytes) -> Any:
        if not command:
            raise RpcError("failed to apply request: the command is empty")
        kind = command[0]
        entry = self._commands.get(kind & ~IGNORE_IF_UNKNOWN)
        if entry is not None:
            return entry.apply(index, unpack(entry.request, memoryview(command)[1:]))
        if kind & ~IGNORE_IF_UNKNOWN == CommandType.COORDINATES:
            rows = unpack_builtins(memoryview(command)[1:])
            if not isinstance(rows, list):
                raise WireError("Coordinates: expected a list")
            return self.store.coordinates.put_all(index, [from_wire(Coordinate, row) for row in rows])
        if kind & IGNORE_IF_UNKNOWN:
            log.warning("ignoring command of unknown type %d; upgrade to a newer version", kind & ~IGNORE_IF_UNKNOWN)
            return None
        raise RpcError(f"failed to apply request: unknown command type {kind}")

    def _txn(self, index: int, request: TxnRequest) -> TxnResponse:
        results, errors = txn.run(self.store, index, request.ops or [])
        if errors:
            self.store.journal.rollback()
        return TxnResponse(results=results, errors=errors)

    # Snapshots

    def snapshot(self) -> Callable[[BinaryIO], None]:
        """Capture this server's state, for itself and its peers; see `export`."""
        return self._writer({"IndexOffset": self.index_offset} if self.index_offset else {})

    def export(self) -> Callable[[BinaryIO], None]:
        """Capture the rows; the function that is returned writes the records of an archive and may run in a thread."""
        return self._writer({})

    def _writer(self, more: dict[str, int]) -> Callable[[BinaryIO], None]:
        captured = list(_capture(self.store))
        header = pack_builtins({**more, "LastIndex": self.store.indexes.highest()})

        def write(target: BinaryIO) -> None:
            # Whole chunks are quicker, and while one is hashed and written the event loop's thread may run.
            chunk = bytearray(header)
            for kind, rows, value in captured:
                prefix = bytes((kind,))
                for row in rows:
                    chunk += prefix
                    chunk += pack_builtins(value(row))
                    if len(chunk) >= _CHUNK:
                        target.write(bytes(chunk))
                        chunk.clear()
            target.write(bytes(chunk))

        return write

    def restore(self, source: BinaryIO) -> None:
        """Replace the state by a snapshot's. Raises RpcError and changes nothing when a record cannot be read."""
        self.use(self.decode(source))

    def use(self, decoded: tuple[Store, dict[str, Any]]) -> None:
        """Replace the state by what `decode` made of a snapshot."""
        store, header = decoded
        self.index_offset = header.get("IndexOffset", 0)
        self._use(store)

    def decode(self, source: BinaryIO) -> tuple[Store, dict[str, Any]]:
        """A new store from a snapshot's records, and their header; may run in a thread. Raises RpcError."""
        store = Store(self.store.watches, self.store.clock)
        try:
            return store, load(store, source)
        except (WireError, RpcError, ValueError, TypeError, msgpack.exceptions.UnpackException) as error:
            raise RpcError(f"failed to restore snapshot: {error}") from None

    def _use(self, store: Store) -> None:
        self.store = store
        self._commands = self._collect()
        for hook in self.on_restore:
            hook()
        store.watches.fire_all()

    def prepare(self, command: bytes) -> None:
        """Decode the records of a restore in a thread, before it is applied; errors are raised by `apply`."""
        if command[:1] == bytes((CommandType.RESTORE,)) and len(command) >= _ARCHIVE_INDEX.size:
            with contextlib.suppress(RpcError):
                self._prepared = (command, self.decode(io.BytesIO(command[_ARCHIVE_INDEX.size :]))[0])

    def _replace(self, index: int, command: bytes) -> int:
        """Carry out a restore; returns the index that the state has from now on."""
        if len(command) < _ARCHIVE_INDEX.size:
            raise RpcError("failed to apply request: the restore is cut short")
        _, archive_index = _ARCHIVE_INDEX.unpack_from(command)
        prepared, self._prepared = self._prepared, None
        if prepared is not None and prepared[0] is command:
            store = prepared[1]
        else:
            store, _ = self.decode(io.BytesIO(command[_ARCHIVE_INDEX.size :]))
        highest = max(archive_index, store.indexes.highest())
        self.index_offset = max(self.index_offset, highest + 1 - index)
        self._use(store)
        return index + self.index_offset


def _as_is(value: Any) -> Any:
    return value


def _capture(store: Store) -> Iterator[tuple[int, Iterable[Any], Callable[[Any], Any]]]:
    """Type, rows and encoder of everything that a snapshot holds, in its order."""
    records = {record.kind: record for part in store.parts for record in part.records()}
    kept: dict[int, list[Any]] = {}
    for number, value in store.kept_records:
        kept.setdefault(number, []).append(value)
    kept.setdefault(CommandType.CHUNKING, [_NO_CHUNKS])
    for kind in SNAPSHOT_ORDER:
        record = records.get(CommandType(kind))
        if record is not None:
            yield kind, record.rows(), record.value
        elif kind == CommandType.INDEX:
            rows = [{"Key": name, "Value": value} for name, value in store.indexes.items()]
            yield kind, rows, _as_is
        else:
            yield kind, kept.get(kind, []), _as_is


def load(store: Store, source: BinaryIO) -> dict[str, Any]:
    """Read a snapshot's records into an empty store; returns the header.

    Raises WireError, ValueError or RpcError saying what is wrong; then the store must not be used.
    """
    unpacker = msgpack.Unpacker(
        source, raw=False, unicode_errors="surrogateescape", strict_map_key=False, max_buffer_size=MAX_RECORD
    )
    header: dict[str, Any] = _next(unpacker, "its header")
    numbers = [header.get(name, 0) for name in ("LastIndex", "IndexOffset")] if isinstance(header, dict) else [""]
    if not all(isinstance(number, int) and 0 <= number < MAX_INDEX for number in numbers):
        raise ValueError("the snapshot does not begin with a header")
    records: dict[int, Record] = {
        int(record.kind): record for part in store.parts for record in part.records()
    }
    known = frozenset(SNAPSHOT_ORDER) | {CommandType.LEGACY_ACL, CommandType.ACL_BOOTSTRAP}
    indexes: list[IndexEntry] = []
    while True:
        try:
            kind = unpacker.unpack()
        except msgpack.OutOfData:
            break
        if not isinstance(kind, int) or kind not in known:
            raise ValueError(f"unrecognized record type {kind!r}")
        value = _next(unpacker, f"the record of type {kind}")
        record = records.get(kind)
        if kind == CommandType.INDEX:
            indexes.append(from_wire(IndexEntry, value))
        elif kind == CommandType.COORDINATES:
            for row in value or ():
                records[kind].read(row)
            store.indexes.raise_to(header.get("LastIndex", 0), "coordinates")
        elif record is not None:
            record.read(value)
        else:
            store.kept_records.append((kind, value))
        store.journal.finish()
    store.gateways.rebuild()
    for entry in indexes:
        store.indexes.set(entry.value, entry.key)
    if store.indexes.highest() >= MAX_INDEX:
        raise ValueError("an index is out of range")
    store.catalog.connect_floor = store.indexes.get("services", "nodes", "checks")
    store.journal.finish()
    return header


def _next(unpacker: Any, what: str) -> Any:
    try:
        return unpacker.unpack()
    except msgpack.OutOfData:
        raise ValueError(f"the snapshot is cut short in {what}") from None
