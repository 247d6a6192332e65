"""Transactions: operations on keys, nodes, services, checks and sessions that happen all or not at all."""

import msgspec

from model.errors import RpcError
from model.structs.catalog import HealthCheck, Node, NodeService
from model.structs.kv import DirEntry
from model.structs.txn import TxnError, TxnKVOp, TxnOp, TxnResult
from server.state.store import Store

READ_VERBS = frozenset(("get", "get-tree", "get-or-empty", "check-index", "check-session", "check-not-exists"))
WRITE_VERBS = frozenset(("set", "delete", "delete-cas", "delete-tree", "cas", "lock", "unlock"))


def is_write(op: TxnOp) -> bool:
    """Whether an operation changes anything."""
    if op.kv is not None:
        return op.kv.verb in WRITE_VERBS
    for part in (op.node, op.service, op.check):
        if part is not None:
            return part.verb in WRITE_VERBS
    return op.session is not None


def run(store: Store, index: int, ops: list[TxnOp]) -> tuple[list[TxnResult] | None, list[TxnError] | None]:
    """Carry out operations; when any fails, all errors are returned and the caller rolls the store back."""
    results: list[TxnResult] = []
    errors: list[TxnError] = []
    for position, op in enumerate(ops):
        try:
            results.extend(_one(store, index, op))
        except RpcError as error:
            errors.append(TxnError(op_index=position, what=error.text))
    return (None, errors) if errors else (results, None)


def _one(store: Store, index: int, op: TxnOp) -> list[TxnResult]:
    if op.kv is not None:
        return _kv(store, index, op.kv)
    if op.node is not None:
        return _node(store, index, op.node.verb, op.node.node)
    if op.service is not None:
        return _service(store, index, op.service.verb, op.service.node, op.service.service)
    if op.check is not None:
        return _check(store, index, op.check.verb, op.check.check)
    if op.session is not None:
        if op.session.verb != "delete":
            raise RpcError(f"unknown session verb {op.session.verb!r}")
        store.sessions.destroy(index, op.session.session.id)
        return []
    return []


def _shown(entry: DirEntry | None) -> list[TxnResult]:
    return [TxnResult(kv=msgspec.structs.replace(entry, value=None))] if entry else []


def _kv(store: Store, index: int, op: TxnKVOp) -> list[TxnResult]:
    keys, entry, verb = store.kv, op.dir_ent, op.verb
    if verb == "set":
        return _shown(keys.set(index, msgspec.structs.replace(entry, lock_index=0)))
    if verb == "delete":
        keys.delete(index, entry.key)
        return []
    if verb == "delete-cas":
        if not keys.delete_cas(index, entry.key, entry.modify_index):
            raise RpcError(f'failed to delete key "{entry.key}", index is stale')
        return []
    if verb == "delete-tree":
        keys.delete_tree(index, entry.key)
        return []
    if verb == "cas":
        written = keys.set_cas(index, entry)
        if written is None:
            raise RpcError(f'failed to set key "{entry.key}", index is stale')
        return _shown(written)
    if verb == "lock":
        written = keys.lock(index, entry)
        if written is None:
            raise RpcError(f'failed to lock key "{entry.key}", lock is already held')
        return _shown(written)
    if verb == "unlock":
        written = keys.unlock(index, entry)
        if written is None:
            raise RpcError(f'failed to unlock key "{entry.key}", lock isn\'t held, or is held by another session')
        return _shown(written)
    return _kv_read(store, op)


def _kv_read(store: Store, op: TxnKVOp) -> list[TxnResult]:
    entry, verb = op.dir_ent, op.verb
    found, _ = store.kv.get(entry.key)
    if verb == "get":
        if found is None:
            raise RpcError(f'key "{entry.key}" doesn\'t exist')
        return [TxnResult(kv=found)]
    if verb == "get-or-empty":
        return [TxnResult(kv=found or DirEntry(key=entry.key))]
    if verb == "get-tree":
        return [TxnResult(kv=row) for row in store.kv.under(entry.key)[0]]
    if verb == "check-session":
        if found is None:
            raise RpcError(f'failed to check session, key "{entry.key}" doesn\'t exist')
        if found.session != entry.session:
            raise RpcError(
                f'failed session check for key "{entry.key}", current session "{found.session}" != "{entry.session}"'
            )
        return _shown(found)
    if verb == "check-index":
        if found is None:
            raise RpcError(f'failed to check index, key "{entry.key}" doesn\'t exist')
        if found.modify_index != entry.modify_index:
            raise RpcError(
                f'failed index check for key "{entry.key}", current modify index {found.modify_index} '
                f"!= {entry.modify_index}"
            )
        return _shown(found)
    if verb == "check-not-exists":
        if found is not None:
            raise RpcError(f'key "{entry.key}" exists')
        return []
    raise RpcError(f'unknown KV verb "{verb}"')


def _node(store: Store, index: int, verb: str, node: Node) -> list[TxnResult]:
    catalog = store.catalog

    def current() -> Node | None:
        same_id = catalog.nodes.by("id", node.id.lower()) if node.id else []
        return same_id[0] if same_id else catalog.nodes.get(node.node.lower())

    found = current()
    if verb == "get":
        if found is None:
            raise RpcError(f'node "{node.node}" doesn\'t exist')
        return [TxnResult(node=found)]
    if verb in ("set", "cas"):
        if verb == "cas" and (found.modify_index if found else 0) != node.modify_index:
            raise RpcError(f'failed to set node "{node.node}", index is stale')
        catalog.put_node(index, node)
        written = catalog.nodes.get(node.node.lower())
        return [TxnResult(node=written)]
    if verb == "delete":
        catalog.delete_node(index, found.node if found else node.node)
        return []
    if verb == "delete-cas":
        if found is None or found.modify_index != node.modify_index:
            raise RpcError(f'failed to delete node "{node.node}", index is stale')
        catalog.delete_node(index, found.node)
        return []
    raise RpcError(f'unknown Node verb "{verb}"')


def _service(store: Store, index: int, verb: str, node: str, service: NodeService) -> list[TxnResult]:
    catalog = store.catalog
    key = (node.lower(), service.id)
    found = catalog.instances.get(key)
    if verb == "get":
        if found is None:
            raise RpcError(f'service "{service.id}" on node "{node}" doesn\'t exist')
        return [TxnResult(service=found.service)]
    if verb in ("set", "cas"):
        if verb == "cas" and (found.service.modify_index if found else 0) != service.modify_index:
            raise RpcError(f'failed to set service "{service.id}" on node "{node}", index is stale')
        catalog.put_service(index, node, service)
        written = catalog.instances.get(key)
        return [TxnResult(service=written.service if written else None)]
    if verb == "delete":
        catalog.delete_service(index, node, service.id)
        return []
    if verb == "delete-cas":
        if found is None or found.service.modify_index != service.modify_index:
            raise RpcError(f'failed to delete service "{service.id}" on node "{node}", index is stale')
        catalog.delete_service(index, node, service.id)
        return []
    raise RpcError(f'unknown Service verb "{verb}"')


def _check(store: Store, index: int, verb: str, check: HealthCheck) -> list[TxnResult]:
    catalog = store.catalog
    found = catalog.check(check.node, check.check_id)
    if verb == "get":
        if found is None:
            raise RpcError(f'check "{check.check_id}" on node "{check.node}" doesn\'t exist')
        return [TxnResult(check=found)]
    if verb in ("set", "cas"):
        if verb == "cas" and (found.modify_index if found else 0) != check.modify_index:
            raise RpcError(f'failed to set check "{check.check_id}" on node "{check.node}", index is stale')
        catalog.put_check(index, check)
        return [TxnResult(check=catalog.check(check.node, check.check_id))]
    if verb == "delete":
        catalog.delete_check(index, check.node, check.check_id)
        return []
    if verb == "delete-cas":
        if found is None or found.modify_index != check.modify_index:
            raise RpcError(f'failed to delete check "{check.check_id}" on node "{check.node}", index is stale')
        catalog.delete_check(index, check.node, check.check_id)
        return []
    raise RpcError(f'unknown Check verb "{verb}"')
