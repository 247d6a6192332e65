"""KVS: reading and writing keys."""

import msgspec

from model.errors import RpcError
from model.structs.kv import IndexedDirEntries, IndexedKeyList, KeyListRequest, KeyRequest, KVSRequest
from model.tables import Watch
from server import fsm
from server.endpoints.context import Context, propose, read, write
from server.raft.errors import RaftError


@write("KVS.Apply")
async def apply(context: Context, args: KVSRequest) -> bool:
    """Carry out one operation; true only for a conditional one that took effect."""
    if not args.dir_ent.key and args.op != "delete-tree":
        raise RpcError("Must provide key")
    keys = context.fsm.store.kv
    if args.op == "lock" and not keys.may_lock(args.dir_ent.key, context.fsm.store.clock()):
        return False
    try:
        result = await propose(context, fsm.KVS, msgspec.structs.replace(args, token=""))
    except RpcError as error:
        raise RpcError(f"raft apply failed: {error.text}") from None
    except RaftError:
        raise
    return bool(result)


@read("KVS.Get")
def get(context: Context, args: KeyRequest, watch: Watch | None) -> IndexedDirEntries:
    """One key."""
    entry, index = context.fsm.store.kv.get(args.key, watch)
    return IndexedDirEntries(entries=[entry] if entry else None, index=index)


@read("KVS.List")
def list_entries(context: Context, args: KeyRequest, watch: Watch | None) -> IndexedDirEntries:
    """All keys that begin with a prefix, with their values."""
    entries, index = context.fsm.store.kv.under(args.key, watch)
    return IndexedDirEntries(entries=entries or None, index=index)


@read("KVS.ListKeys")
def list_keys(context: Context, args: KeyListRequest, watch: Watch | None) -> IndexedKeyList:
    """The names of keys that begin with a prefix, cut at the separator."""
    entries, index = context.fsm.store.kv.under(args.prefix, watch)
    if not args.seperator:
        return IndexedKeyList(keys=[entry.key for entry in entries], index=index)
    start = len(args.prefix)
    found: dict[str, None] = {}
    for entry in entries:
        at = entry.key.find(args.seperator, start)
        found[entry.key if at < 0 else entry.key[: at + len(args.seperator)]] = None
    return IndexedKeyList(keys=list(found), index=index)
