"""Commands of the replicated log become changes of state here, and nowhere else.

A command is one type byte and a msgpack value, both as Consul writes them. Applying is deterministic; a command that
fails changes nothing and its error becomes the proposal's result. A snapshot is a shallow capture of immutable rows,
written by a thread in Consul's record format; a restore decodes everything into a new store before the old one goes.
"""

import logging
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import msgpack

from model.codec import Wire, WireError, from_wire, pack_builtins, to_wire, unpack, unpack_builtins
from model.errors import RpcError
from model.structs.catalog import Node
from model.structs.catalog_rpc import DeregisterRequest, RegisterRequest
from model.structs.config_rpc import ConfigEntryRequest
from model.structs.connect import CAConfiguration, CAConsulProviderState, CALeafRequest, CARequest, CARoot
from model.structs.coordinate import Coordinate
from model.structs.kv import DirEntry, KVSRequest, TombstoneRequest
from model.structs.operator import (
    AutopilotConfig,
    AutopilotSetConfigRequest,
    FreeVirtualIP,
    IndexEntry,
    ServiceVirtualIP,
    SystemMetadataEntry,
    SystemMetadataRequest,
)
from model.structs.queries import PreparedQuery, PreparedQueryRequest
from model.structs.session import Session, SessionRequest
from model.structs.txn import TxnRequest, TxnResponse
from server.state import txn
from server.state.store import Store

log = logging.getLogger("lictor.fsm")

REGISTER, DEREGISTER, KVS, SESSION = 0, 1, 2, 3
TOMBSTONE, COORDINATES, QUERY, TXN, AUTOPILOT = 5, 6, 7, 8, 9
CA, CA_PROVIDER_STATE, CA_CONFIG, INDEX = 13, 14, 15, 16
CA_LEAF, CONFIG_ENTRY, CHUNKING, METADATA, VIRTUAL_IP, FREE_VIRTUAL_IP = 21, 22, 29, 31, 32, 33
LAST_KNOWN_TYPE = 40
IGNORE_UNKNOWN = 128

MAX_SNAPSHOT_RECORD = 512 << 20


def command(kind: int, request: Wire) -> bytes:
    """The bytes of a command."""
    return bytes((kind,)) + pack_builtins(to_wire(request))


class Fsm:
    """Owns the store. `on_restore` is called when a snapshot has replaced it."""

    def __init__(self, store: Store | None = None) -> None:
        self.store = store or Store()
        self.on_restore: list[Callable[[], None]] = []
        self._commands: dict[int, tuple[Any, Callable[[int, Any], Any]]] = {
            REGISTER: (RegisterRequest, self._register),
            DEREGISTER: (DeregisterRequest, self._deregister),
            KVS: (KVSRequest, self._kvs),
            SESSION: (SessionRequest, self._session),
            TOMBSTONE: (TombstoneRequest, self._tombstone),
            QUERY: (PreparedQueryRequest, self._query),
            TXN: (TxnRequest, self._txn),
            AUTOPILOT: (AutopilotSetConfigRequest, self._autopilot),
            CA: (CARequest, lambda index, request: self.store.connect_ca.apply(index, request)),
            CA_LEAF: (CALeafRequest, lambda index, request: self.store.connect_ca.apply_leaf(index, request)),
            CONFIG_ENTRY: (ConfigEntryRequest, lambda index, request: self.store.config_entries.apply(index, request)),
            METADATA: (SystemMetadataRequest, self._metadata),
        }

    def apply(self, index: int, term: int, command: bytes) -> Any:
        """Carry out a command and return its result. Raises RpcError when it fails; then nothing has changed."""
        kind = command[0] if command else 255
        known = self._commands.get(kind & 127)
        store = self.store
        try:
            if (kind & 127) == COORDINATES:
                rows = unpack_builtins(memoryview(command)[1:])
                store.put_coordinates(index, [from_wire(Coordinate, row) for row in rows or ()])
                result: Any = None
            elif known is None:
                if kind & IGNORE_UNKNOWN:
                    log.warning("ignoring command of unknown type %d", kind & 127)
                    return None
                raise RpcError(f"failed to apply request: unknown command type {kind}")
            else:
                cls, carry_out = known
                result = carry_out(index, unpack(cls, memoryview(command)[1:]))
        except WireError as error:
            store.journal.rollback()
            raise RpcError(f"failed to decode request: {error}") from None
        except RpcError:
            store.journal.rollback()
            raise
        except Exception:
            store.journal.rollback()
            log.exception("command of type %d at index %d failed", kind, index)
            raise RpcError("internal error while applying a command") from None
        store.watches.fire(store.journal.finish())
        return result

    def _register(self, index: int, request: RegisterRequest) -> None:
        self.store.catalog.register(index, request)

    def _deregister(self, index: int, request: DeregisterRequest) -> None:
        self.store.catalog.deregister(index, request)

    def _kvs(self, index: int, request: KVSRequest) -> bool | None:
        keys, entry, op = self.store.kv, request.dir_ent, request.op
        if op == "set":
            keys.set(index, entry)
            return None
        if op == "delete":
            keys.delete(index, entry.key)
            return None
        if op == "delete-cas":
            return keys.delete_cas(index, entry.key, entry.modify_index)
        if op == "delete-tree":
            keys.delete_tree(index, entry.key)
            return None
        if op == "cas":
            return keys.set_cas(index, entry) is not None
        if op == "lock":
            return keys.lock(index, entry) is not None
        if op == "unlock":
            return keys.unlock(index, entry) is not None
        raise RpcError(f"Invalid KVS operation '{op}'")

    def _session(self, index: int, request: SessionRequest) -> str:
        if request.op == "create":
            return self.store.sessions.create(index, request.session)
        if request.op == "destroy":
            self.store.sessions.destroy(index, request.session.id)
            return ""
        raise RpcError(f"Invalid session operation '{request.op}'")

    def _tombstone(self, index: int, request: TombstoneRequest) -> None:
        if request.op != "reap":
            raise RpcError(f"Invalid Tombstone operation '{request.op}'")
        self.store.kv.reap(request.reap_index)

    def _query(self, index: int, request: PreparedQueryRequest) -> None:
        if request.query is None:
            raise RpcError("missing prepared query")
        if request.op in ("create", "update"):
            self.store.put_query(index, request.query)
        elif request.op == "delete":
            self.store.delete_query(index, request.query.id)
        else:
            raise RpcError(f"Invalid PreparedQuery operation '{request.op}'")

    def _txn(self, index: int, request: TxnRequest) -> TxnResponse:
        results, errors = txn.run(self.store, index, request.ops or [])
        if errors:
            self.store.journal.rollback()
        return TxnResponse(results=results, errors=errors)

    def _autopilot(self, index: int, request: AutopilotSetConfigRequest) -> bool:
        if request.cas:
            old = self.store.autopilot.get("")
            if (old.modify_index if old else 0) != request.config.modify_index:
                return False
        self.store.set_autopilot(index, request.config)
        return True

    def _metadata(self, index: int, request: SystemMetadataRequest) -> None:
        if request.entry is None:
            raise RpcError("missing system metadata entry")
        if request.op == "upsert":
            self.store.set_metadata(index, request.entry)
        elif request.op == "delete":
            self.store.metadata.delete(request.entry.key)
        else:
            raise RpcError(f"invalid system metadata operation type: {request.op}")

    # Snapshots

    def snapshot(self) -> Callable[[BinaryIO], None]:
        """Capture the rows; the function that is returned writes the records."""
        records = list(_capture(self.store))
        header = pack_builtins({"LastIndex": self.store.indexes.highest()})

        def write(target: BinaryIO) -> None:
            target.write(header)
            for kind, row in records:
                value = to_wire(row) if isinstance(row, Wire) else _builtins(row)
                target.write(bytes((kind,)) + pack_builtins(value))

        return write

    def restore(self, source: BinaryIO) -> None:
        """Replace the state. Raises RpcError and changes nothing when a record cannot be read."""
        store = Store(self.store.watches, self.store.clock)
        try:
            _load(store, source)
        except (WireError, ValueError, TypeError, AttributeError, msgpack.exceptions.UnpackException) as error:
            raise RpcError(f"failed to restore snapshot: {error}") from None
        store.journal.finish()
        self.store = store
        for hook in self.on_restore:
            hook()
        store.watches.fire_all()


def _builtins(row: Any) -> Any:
    return [to_wire(item) for item in row] if isinstance(row, list) else row


def _capture(store: Store) -> Iterator[tuple[int, Any]]:
    """Every record in the order in which Consul writes them."""
    kept = sorted(store.kept_records, key=lambda record: record[0])
    catalog = store.catalog
    for address in catalog.virtual_ips.rows():
        yield VIRTUAL_IP, address
    for free in catalog.free_virtual_ips.rows():
        yield FREE_VIRTUAL_IP, free
    for node in catalog.nodes.rows():
        yield REGISTER, _registration(node)
        key = node.node.lower()
        for instance in catalog.instances.by("node", key):
            yield REGISTER, _registration(node, service=instance.service)
        for check in catalog.checks.by("node", key):
            yield REGISTER, _registration(node, check=check)
    if len(store.coordinates):
        yield COORDINATES, store.coordinates.rows()
    for session in store.sessions.rows.rows():
        yield SESSION, session
    for entry in store.kv.entries.rows():
        yield KVS, entry
    for tombstone in store.kv.tombstones.rows():
        yield TOMBSTONE, tombstone
    for query in store.queries.rows():
        yield QUERY, query
    for autopilot in store.autopilot.rows():
        yield AUTOPILOT, autopilot
    for root in store.connect_ca.roots.rows():
        yield CA, root
    for state in store.connect_ca.provider_states.rows():
        yield CA_PROVIDER_STATE, state
    for config in store.connect_ca.configs.rows():
        yield CA_CONFIG, config
    for config_entry in store.config_entries.rows.rows():
        yield CONFIG_ENTRY, ConfigEntryRequest(op="upsert", entry=config_entry)
    for kind, value in kept:
        if kind != CHUNKING:
            yield kind, value
    for marker in store.metadata.rows():
        yield METADATA, marker
    for name, value in store.indexes.items():
        yield INDEX, IndexEntry(key=name, value=value)
    yield CHUNKING, next((value for kind, value in kept if kind == CHUNKING), {"ChunkMap": None})


def _registration(node: Node, **parts: Any) -> RegisterRequest:
    return RegisterRequest(
        id=node.id,
        node=node.node,
        datacenter=node.datacenter,
        address=node.address,
        tagged_addresses=node.tagged_addresses,
        node_meta=node.meta,
        peer_name=node.peer_name,
        create_index=node.create_index,
        modify_index=node.modify_index,
        **parts,
    )


def _load(store: Store, source: BinaryIO) -> None:
    unpacker = msgpack.Unpacker(
        source,
        raw=False,
        unicode_errors="surrogateescape",
        strict_map_key=False,
        max_buffer_size=MAX_SNAPSHOT_RECORD,
    )
    try:
        header = unpacker.unpack()
    except msgpack.OutOfData:
        raise ValueError("the snapshot is empty") from None
    if not isinstance(header, dict):
        raise ValueError("the snapshot does not begin with a header")
    indexes: list[IndexEntry] = []
    while True:
        try:
            kind = unpacker.unpack()
        except msgpack.OutOfData:
            break
        if not isinstance(kind, int) or not 0 <= kind <= LAST_KNOWN_TYPE:
            raise ValueError(f"unrecognized record type {kind!r}")
        try:
            value = unpacker.unpack()
        except msgpack.OutOfData:
            raise ValueError("the snapshot is cut short") from None
        if kind == INDEX:
            indexes.append(from_wire(IndexEntry, value))
        elif kind == COORDINATES:
            for row in value or ():
                store.coordinates.put(from_wire(Coordinate, row))
        else:
            _load_record(store, kind, value)
        store.journal.finish()
    for entry in indexes:
        store.indexes.set(entry.value, entry.key)


def _load_record(store: Store, kind: int, value: Any) -> None:
    """Put one record where it belongs, with the indexes that it carries."""
    if kind == REGISTER:
        _load_registration(store, from_wire(RegisterRequest, value))
        return
    if kind == CONFIG_ENTRY:
        entry = from_wire(ConfigEntryRequest, value).entry
        store.config_entries.rows.put(entry)
        _raise(store, entry.modify_index, "config-entries")
        return
    places: dict[int, tuple[type[Wire], Any, tuple[str, ...]]] = {
        VIRTUAL_IP: (ServiceVirtualIP, store.catalog.virtual_ips, ("service-virtual-ips",)),
        FREE_VIRTUAL_IP: (FreeVirtualIP, store.catalog.free_virtual_ips, ()),
        SESSION: (Session, store.sessions.rows, ("sessions",)),
        KVS: (DirEntry, store.kv.entries, ("kvs",)),
        TOMBSTONE: (DirEntry, store.kv.tombstones, ("tombstones",)),
        QUERY: (PreparedQuery, store.queries, ("prepared-queries",)),
        AUTOPILOT: (AutopilotConfig, store.autopilot, ("autopilot-config",)),
        CA: (CARoot, store.connect_ca.roots, ("connect-ca-roots",)),
        CA_PROVIDER_STATE: (CAConsulProviderState, store.connect_ca.provider_states, ("connect-ca-builtin",)),
        CA_CONFIG: (CAConfiguration, store.connect_ca.configs, ("connect-ca-config",)),
        METADATA: (SystemMetadataEntry, store.metadata, ("system-metadata",)),
    }
    place = places.get(kind)
    if place is None:
        store.kept_records.append((kind, value))
        return
    cls, table, names = place
    row: Any = from_wire(cls, value)
    table.put(row)
    for name in names:
        _raise(store, row.modify_index, name)


def _raise(store: Store, index: int, name: str) -> None:
    if index > store.indexes.get(name):
        store.indexes.set(index, name)


def _load_registration(store: Store, request: RegisterRequest) -> None:
    catalog = store.catalog
    catalog.nodes.put(
        Node(
            id=request.id,
            node=request.node,
            address=request.address,
            datacenter=request.datacenter,
            tagged_addresses=request.tagged_addresses,
            meta=request.node_meta,
            peer_name=request.peer_name,
            create_index=request.create_index,
            modify_index=request.modify_index,
        )
    )
    _raise(store, request.modify_index, "nodes")
    if request.service is not None:
        catalog.load_service(request.node, request.service)
        _raise(store, request.service.modify_index, "services")
    for check in [*([request.check] if request.check else []), *(request.checks or ())]:
        catalog.checks.put(check)
        _raise(store, check.modify_index, "checks")
