"""Transactions: operations, requests and answers."""

from typing import Annotated

from model.codec import HIDDEN, OMIT, Wire
from model.structs.base import Meta, Query
from model.structs.catalog import HealthCheck, Node, NodeService
from model.structs.intentions import Intention, IntentionMutation
from model.structs.kv import DirEntry
from model.structs.session import Session


class TxnKVOp(Wire, frozen=True):
    """An operation on a key."""

    dir_ent: DirEntry = DirEntry()
    verb: str = ""


class TxnNodeOp(Wire, frozen=True):
    """An operation on a node."""

    node: Node = Node()
    verb: str = ""


class TxnServiceOp(Wire, frozen=True):
    """An operation on an instance."""

    node: str = ""
    service: NodeService = NodeService()
    verb: str = ""


class TxnCheckOp(Wire, frozen=True):
    """An operation on a check."""

    check: HealthCheck = HealthCheck()
    verb: str = ""


class TxnSessionOp(Wire, frozen=True):
    """An operation on a session."""

    session: Session = Session()
    verb: str = ""


class TxnIntentionOp(Wire, frozen=True):
    """An operation on an intention, only inside Raft's log."""

    datacenter: str = ""
    intention: Intention | None = None
    mutation: IntentionMutation | None = None
    op: str = ""
    token: Annotated[str, HIDDEN] = ""


class TxnOp(Wire, frozen=True):
    """One operation of a transaction; exactly one member is set."""

    check: TxnCheckOp | None = None
    intention: TxnIntentionOp | None = None
    kv: TxnKVOp | None = None
    node: TxnNodeOp | None = None
    service: TxnServiceOp | None = None
    session: TxnSessionOp | None = None


class TxnRequest(Wire, frozen=True):
    """Arguments of `Txn.Apply`."""

    datacenter: str = ""
    ops: list[TxnOp] | None = None
    token: Annotated[str, HIDDEN] = ""


class TxnReadRequest(Query, frozen=True):
    """Arguments of `Txn.Read`."""

    datacenter: str = ""
    ops: list[TxnOp] | None = None


class TxnError(Wire, frozen=True):
    """Why an operation stopped the transaction."""

    op_index: int = 0
    what: str = ""


class TxnResult(Wire, frozen=True):
    """What one operation gives back."""

    check: Annotated[HealthCheck | None, OMIT] = None
    kv: Annotated[DirEntry | None, OMIT] = None
    node: Annotated[Node | None, OMIT] = None
    service: Annotated[NodeService | None, OMIT] = None


class TxnResponse(Wire, frozen=True):
    """Answer of `Txn.Apply`."""

    errors: list[TxnError] | None = None
    results: list[TxnResult] | None = None


class TxnReadResponse(Meta, frozen=True):
    """Answer of `Txn.Read`."""

    errors: list[TxnError] | None = None
    results: list[TxnResult] | None = None
