"""Txn: transactions."""

import msgspec

from model.commands import CommandType
from model.errors import RpcError
from model.structs.txn import TxnError, TxnOp, TxnReadRequest, TxnReadResponse, TxnRequest, TxnResponse, TxnResult
from model.tables import Watch
from server.endpoints.authorizer import Authorizer, authorizer
from server.endpoints.context import Context, propose, read, write
from server.endpoints.query import Unanswered
from server.endpoints.registration import check_node_id, prepare_check, prepare_service, require_known_check
from server.state import txn


def _prepare(context: Context, op: TxnOp, authz: Authorizer) -> TxnOp:
    """An operation as it goes into the log. Raises RpcError for what can be refused before anything is tried."""
    store = context.fsm.store
    if op.kv is not None:
        entry, verb = op.kv.dir_ent, op.kv.verb
        if not entry.key and verb != "delete-tree":
            raise RpcError("Must provide key")
        if verb == "lock" and not store.kv.may_lock(entry.key, store.clock()):
            raise RpcError(f'failed to lock key "{entry.key}", lock is delayed')
        if verb == "delete-tree":
            authz.require("key", "write-prefix", entry.key)
        elif verb in ("check-index", "check-session"):
            authz.require("key", "read", entry.key)
        elif verb not in ("get", "get-tree", "get-or-empty"):
            authz.require("key", "write", entry.key)
    elif op.node is not None:
        check_node_id(op.node.node.id)
        if op.node.verb != "get":
            authz.require("node", "write", op.node.node.node)
        node = op.node.node
        if not node.datacenter:
            node = msgspec.structs.replace(node, datacenter=context.datacenter)
            return msgspec.structs.replace(op, node=msgspec.structs.replace(op.node, node=node))
    elif op.service is not None:
        if op.service.verb == "get":
            return op
        writes = op.service.verb in ("set", "cas")
        service = prepare_service(op.service.service) if writes else op.service.service
        if writes:
            authz.require("service", "write", service.service)
        known = store.catalog.instance(op.service.node, service.id)
        if known is not None:  # Under this ID there may be a service of another name.
            authz.require("service", "write", known.service.service)
        return msgspec.structs.replace(op, service=msgspec.structs.replace(op.service, service=service))
    elif op.check is not None and op.check.verb != "get":
        check = op.check.check
        require_known_check(store, check.node, check.check_id or check.name, authz)
        if check.service_id:
            instance = store.catalog.instance(check.node, check.service_id)
            name = instance.service.service if instance is not None else check.service_name
            authz.require("service", "write", name)
        else:
            authz.require("node", "write", check.node)
        if op.check.verb in ("set", "cas"):
            prepared = prepare_check(check, check.node)
            return msgspec.structs.replace(op, check=msgspec.structs.replace(op.check, check=prepared))
    elif op.session is not None:
        session = store.sessions.rows.get(op.session.session.id)
        if session is not None:
            authz.require("session", "write", session.node)
    return op


def _prepare_all(context: Context, ops: list[TxnOp], authz: Authorizer) -> tuple[list[TxnOp], list[TxnError]]:
    prepared, errors = [], []
    for position, op in enumerate(ops):
        try:
            prepared.append(_prepare(context, op, authz))
        except RpcError as error:
            errors.append(TxnError(op_index=position, what=error.text))
    return prepared, errors


@write("Txn.Apply")
async def apply(context: Context, args: TxnRequest) -> TxnResponse:
    """Carry out operations, all or none."""
    authz = authorizer(context, args.token)
    ops, errors = _prepare_all(context, args.ops or [], authz)
    if errors:
        return TxnResponse(errors=errors)
    result = await propose(context, CommandType.TXN, msgspec.structs.replace(args, ops=ops, token=""))
    assert isinstance(result, TxnResponse)
    if result.results and not authz.allows_all:
        seen = [row for row in result.results if _may_see(row, authz)]
        return msgspec.structs.replace(result, results=seen)
    return result


def _may_see(row: TxnResult, authz: Authorizer) -> bool:
    if row.kv is not None:
        return authz.key_read(row.kv.key)
    if row.node is not None:
        return authz.node_read(row.node.node)
    if row.service is not None:
        return authz.service_read(row.service.service)
    if row.check is not None:
        name = row.check.service_name
        return authz.service_read(name) if name else authz.node_read(row.check.node)
    return True


@read("Txn.Read")
def read_only(context: Context, args: TxnReadRequest, watch: Watch | None) -> TxnReadResponse | Unanswered:
    """Carry out operations that only read. It never blocks: there is no index for so many things at once."""
    authz = authorizer(context, args.token)
    ops, errors = _prepare_all(context, args.ops or [], authz)
    if errors:
        return Unanswered(TxnReadResponse(errors=errors))
    if any(txn.is_write(op) for op in ops):
        raise RpcError("Transaction contains writes")
    results, failed = txn.run(context.fsm.store, 0, ops)
    if results and not authz.allows_all:
        seen = [row for row in results if _may_see(row, authz)]
        return TxnReadResponse(results=seen, results_filtered_by_acls=len(seen) < len(results))
    return TxnReadResponse(results=results, errors=failed)
