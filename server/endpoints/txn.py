"""Txn: transactions."""

import msgspec

from model.errors import RpcError
from model.structs.txn import TxnError, TxnOp, TxnReadRequest, TxnReadResponse, TxnRequest, TxnResponse
from model.tables import Watch
from server import fsm
from server.endpoints.catalog import check_node_id
from server.endpoints.context import Context, propose, read, write
from server.state import txn


def _check(context: Context, ops: list[TxnOp]) -> list[TxnError]:
    """What is wrong with operations before anything is tried."""
    errors = []
    for position, op in enumerate(ops):
        try:
            if op.kv is not None:
                if not op.kv.dir_ent.key and op.kv.verb != "delete-tree":
                    raise RpcError("Must provide key")
                if op.kv.verb == "lock" and not context.fsm.store.kv.may_lock(
                    op.kv.dir_ent.key, context.fsm.store.clock()
                ):
                    raise RpcError(f'failed to lock key "{op.kv.dir_ent.key}", lock is delayed')
            elif op.node is not None:
                check_node_id(op.node.node.id)
        except RpcError as error:
            errors.append(TxnError(op_index=position, what=error.text))
    return errors




@write("Txn.Apply")
async def apply(context: Context, args: TxnRequest) -> TxnResponse:
    """Carry out operations, all or none."""
    ops = args.ops or []
    errors = _check(context, ops)
    if errors:
        return TxnResponse(errors=errors)
    result = await propose(context, fsm.TXN, msgspec.structs.replace(args, token=""))
    assert isinstance(result, TxnResponse)
    return result


@read("Txn.Read")
def read_only(context: Context, args: TxnReadRequest, watch: Watch | None) -> TxnReadResponse:
    """Carry out operations that only read."""
    ops = args.ops or []
    errors = _check(context, ops)
    if errors:
        return TxnReadResponse(errors=errors)
    if any(txn.is_write(op) for op in ops):
        raise RpcError("a read-only transaction must not write")
    results, failed = txn.run(context.fsm.store, 0, ops)
    return TxnReadResponse(results=results, errors=failed)
