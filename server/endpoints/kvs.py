"""KVS: reading and writing keys."""

import msgspec

from model.commands import CommandType
from model.errors import RpcError
from model.structs.kv import IndexedDirEntries, IndexedKeyList, KeyListRequest, KeyRequest, KVSRequest
from model.tables import Watch
from server.endpoints.authorizer import Authorizer, authorizer
from server.endpoints.context import Context, propose, read, write


@write("KVS.Apply")
async def apply(context: Context, args: KVSRequest) -> bool:
    """Carry out one operation; true only for a conditional one that took effect."""
    authz = authorizer(context, args.token)
    key = args.dir_ent.key
    if not key and args.op != "delete-tree":
        raise RpcError("Must provide key")
    authz.require("key", "write-prefix" if args.op == "delete-tree" else "write", key)
    store = context.fsm.store
    if args.op == "lock" and not store.kv.may_lock(key, store.clock()):
        return False
    try:
        without_token = msgspec.structs.replace(args, token="") if args.token else args
        result = await propose(context, CommandType.KVS, without_token)
    except RpcError as error:
        raise RpcError(f"raft apply failed: {error.text}") from None
    return bool(result)


@read("KVS.Get")
def get(context: Context, args: KeyRequest, watch: Watch | None) -> IndexedDirEntries:
    """One key."""
    store, authz = context.fsm.store, authorizer(context, args.token)
    authz.require("key", "read", args.key)
    entry, index = store.kv.get(args.key, watch)
    return IndexedDirEntries(entries=[entry] if entry is not None else None, index=index)


def _may_list(context: Context, authz: Authorizer, prefix: str) -> None:
    """With `acl.enable_key_list_policy` the right to list is needed, too. Raises RpcError."""
    if context.acl.settings.key_list_policy and prefix:
        authz.require("key", "list", prefix)


@read("KVS.List")
def list_entries(context: Context, args: KeyRequest, watch: Watch | None) -> IndexedDirEntries:
    """All keys that begin with a prefix, with their values."""
    store, authz = context.fsm.store, authorizer(context, args.token)
    _may_list(context, authz, args.key)
    entries, index = store.kv.under(args.key, watch)
    seen = entries if authz.allows_all else [entry for entry in entries if authz.key_read(entry.key)]
    return IndexedDirEntries(entries=seen or None, index=index, results_filtered_by_acls=len(seen) < len(entries))


@read("KVS.ListKeys")
def list_keys(context: Context, args: KeyListRequest, watch: Watch | None) -> IndexedKeyList:
    """The names of keys that begin with a prefix, cut at the separator."""
    store, authz = context.fsm.store, authorizer(context, args.token)
    _may_list(context, authz, args.prefix)
    entries, index = store.kv.under(args.prefix, watch)
    keys = [entry.key for entry in entries if authz.allows_all or authz.key_read(entry.key)]
    hidden = len(keys) < len(entries)
    if args.seperator:
        start = len(args.prefix)
        found: dict[str, None] = {}
        for key in keys:
            at = key.find(args.seperator, start)
            found[key if at < 0 else key[: at + len(args.seperator)]] = None
        keys = list(found)
    return IndexedKeyList(keys=keys, index=index, results_filtered_by_acls=hidden)
