"""Commands of the log and records of snapshots: their type numbers, and how a part of the state offers them.

Source: the public format of Consul's Raft commands and snapshots: one type byte, then one msgpack value.
"""

from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from typing import Any, NamedTuple, Protocol

from model.codec import Wire, from_wire, pack_builtins, to_wire

IGNORE_IF_UNKNOWN = 128
"""Set in a command's type byte: a server that does not know the type passes over it."""


class CommandType(IntEnum):
    """The type byte of a command, and of a record in a snapshot."""

    REGISTER = 0
    DEREGISTER = 1
    KVS = 2
    SESSION = 3
    LEGACY_ACL = 4
    TOMBSTONE = 5
    COORDINATES = 6
    PREPARED_QUERY = 7
    TXN = 8
    AUTOPILOT = 9
    ACL_BOOTSTRAP = 11
    INTENTION = 12
    CONNECT_CA = 13
    CA_PROVIDER_STATE = 14
    CA_CONFIG = 15
    INDEX = 16
    ACL_TOKEN = 17
    ACL_TOKEN_DELETE = 18
    ACL_POLICY = 19
    ACL_POLICY_DELETE = 20
    CA_LEAF = 21
    CONFIG_ENTRY = 22
    ACL_ROLE = 23
    ACL_ROLE_DELETE = 24
    ACL_BINDING_RULE = 25
    ACL_BINDING_RULE_DELETE = 26
    ACL_AUTH_METHOD = 27
    ACL_AUTH_METHOD_DELETE = 28
    CHUNKING = 29
    FEDERATION_STATE = 30
    SYSTEM_METADATA = 31
    SERVICE_VIRTUAL_IP = 32
    FREE_VIRTUAL_IP = 33
    PEERING = 35
    PEERING_TRUST_BUNDLE = 38
    PEERING_SECRET = 40
    RESTORE = 100
    """Ours alone: the archive's index as u64 (big-endian), then the records of a snapshot that replace the state."""


SNAPSHOT_ORDER: tuple[int, ...] = (
    *(32, 33, 0, 6, 3, 17, 19, 23, 25, 27, 2, 5, 7, 9, 12, 13, 14, 15, 22, 30, 31, 16, 35, 38, 40),
    29,
)
"""The types of records in the order in which a snapshot holds them."""


class Command(NamedTuple):
    """A command that a part of the state carries out: `apply(index, request)` returns the result or raises RpcError."""

    kind: CommandType
    request: type[Wire]
    apply: Callable[[int, Any], Any]


def _plain_value(row: Any) -> Any:
    return to_wire(row)


class Record(NamedTuple):
    """The records of one type that a part of the state has in a snapshot.

    `rows` captures what is to be written, quickly (rows are immutable: `Table.captured` has only to copy lists); it is
    gone through in a thread, where `value` makes a row's msgpack builtins. `load` takes one struct `cls` back, with the
    indexes that it carries.
    """

    kind: CommandType
    cls: type[Wire]
    rows: Callable[[], Iterable[Any]]
    load: Callable[[Any], None]
    value: Callable[[Any], Any] = _plain_value

    def read(self, value: Any) -> None:
        """Load a decoded record; raises WireError when it is not one."""
        self.load(from_wire(self.cls, value))


class StatePart(Protocol):
    """A part of the replicated state: it says which commands change it and which records hold it."""

    def commands(self) -> Sequence[Command]:
        """The commands that it carries out."""

    def records(self) -> Sequence[Record]:
        """Its records in a snapshot."""


def command(kind: CommandType, request: Wire) -> bytes:
    """The bytes of a command, as they go into the log."""
    return bytes((kind,)) + pack_builtins(to_wire(request))
