"""The CA's replicated state: configuration, roots, the built-in provider's keys, the serial of leaf certificates."""

import msgspec

from model.commands import Command, CommandType, Record
from model.errors import RpcError
from model.structs.connect import CAConfiguration, CAConsulProviderState, CALeafRequest, CARequest, CARoot
from model.tables import Indexes, Journal, Table, Watch

ROOTS = "connect-ca-roots"
CONFIG = "connect-ca-config"
PROVIDER = "connect-ca-builtin"
SERIAL = "connect-ca-builtin-serial"
LEAF = "connect-ca-leaf-certs"


class ConnectCa:
    """All that the cluster knows of its certificate authority."""

    def __init__(self, journal: Journal, indexes: Indexes) -> None:
        self._journal = journal
        self._indexes = indexes
        self.roots: Table[CARoot] = Table(journal, lambda row: row.id)
        self.configs: Table[CAConfiguration] = Table(journal, lambda row: "")
        self.provider_states: Table[CAConsulProviderState] = Table(journal, lambda row: row.id)

    def commands(self) -> list[Command]:
        """Changes of the CA, and the note that a leaf was issued."""
        return [
            Command(CommandType.CONNECT_CA, CARequest, self.apply),
            Command(CommandType.CA_LEAF, CALeafRequest, self.apply_leaf),
        ]

    def records(self) -> list[Record]:
        """Roots, provider states and the configuration."""
        return [
            Record(CommandType.CONNECT_CA, CARoot, self.roots.captured, self._load_root),
            Record(
                CommandType.CA_PROVIDER_STATE, CAConsulProviderState, self.provider_states.captured, self._load_provider
            ),
            Record(CommandType.CA_CONFIG, CAConfiguration, self.configs.captured, self._load_config),
        ]

    def _load_root(self, row: CARoot) -> None:
        self.roots.put(row)
        self._indexes.raise_to(row.modify_index, ROOTS)

    def _load_provider(self, row: CAConsulProviderState) -> None:
        self.provider_states.put(row)
        self._indexes.raise_to(row.modify_index, PROVIDER)

    def _load_config(self, row: CAConfiguration) -> None:
        self.configs.put(row)

    @property
    def config(self) -> CAConfiguration | None:
        """The configuration, once the CA is set up."""
        return self.configs.get("")

    def list_roots(self, watch: Watch | None = None) -> tuple[list[CARoot], int]:
        """All roots, and the index to wait from."""
        if watch is not None:
            watch.note((ROOTS,))
        return self.roots.rows(), self._indexes.get(ROOTS)

    def active_root(self) -> CARoot | None:
        """The root that signs."""
        return next((root for root in self.roots if root.active), None)

    def apply(self, index: int, request: CARequest) -> bool | int:
        """Carry out a command; returns whether it took effect, or the next serial number."""
        op = request.op
        if op == "set-config":
            return self._set_config(index, request.config)
        if op == "set-roots":
            return self._set_roots(index, request.index, request.roots or [])
        if op == "set-roots-config":
            if not self._set_roots(index, request.index, request.roots or []):
                return False
            return self._set_config(index, request.config)
        if op == "set-provider-state":
            if request.provider_state is None:
                raise RpcError("missing provider state")
            self.put_provider_state(index, request.provider_state)
            return True
        if op == "delete-provider-state":
            if request.provider_state is not None:
                self.provider_states.delete(request.provider_state.id)
            return True
        if op == "increment-provider-serial":
            return self._next_serial()
        raise RpcError(f'Invalid CA operation "{op}"')

    def apply_leaf(self, index: int, request: CALeafRequest) -> bool:
        """Note that a leaf certificate was issued."""
        if request.op != "increment-index":
            raise RpcError(f'Invalid CA Leaf operation "{request.op}"')
        self._indexes.set(index, LEAF)
        return True

    def _next_serial(self) -> int:
        serial = self._indexes.get(SERIAL) + 1
        self._indexes.set(serial, SERIAL)
        return serial

    def _set_config(self, index: int, config: CAConfiguration | None) -> bool:
        if config is None:
            raise RpcError("missing CA configuration")
        old = self.config
        if config.modify_index and config.modify_index != (old.modify_index if old else 0):
            return False
        new = msgspec.structs.replace(
            config,
            cluster_id=config.cluster_id or (old.cluster_id if old else ""),
            create_index=old.create_index if old else index,
            modify_index=index,
        )
        self.configs.put(new)
        self._indexes.set(index, CONFIG)
        self._journal.touch((CONFIG,), (ROOTS,))
        return True

    def _set_roots(self, index: int, expected: int, roots: list[CARoot]) -> bool:
        if sum(root.active for root in roots) != 1:
            raise RpcError("there must be exactly one active CA root")
        if expected != self._indexes.get(ROOTS):
            return False
        known = {root.id: root for root in self.roots}
        for root in self.roots.rows():
            self.roots.delete(root.id)
        for root in roots:
            old = known.get(root.id)
            row = msgspec.structs.replace(root, create_index=old.create_index if old else index, modify_index=index)
            self.roots.put(row)
        self._indexes.set(index, ROOTS)
        self._journal.touch((ROOTS,))
        return True

    def put_provider_state(self, index: int, state: CAConsulProviderState) -> None:
        """Write the built-in provider's state."""
        old = self.provider_states.get(state.id)
        created = old.create_index if old else index
        self.provider_states.put(msgspec.structs.replace(state, create_index=created, modify_index=index))
        self._indexes.set(index, PROVIDER)
