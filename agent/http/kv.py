"""/v1/kv and /v1/txn."""

from typing import Any
from urllib.parse import urlencode

from agent.http.described import ASK, CAS, DC, READ, NoBody, Operation, Param, Raw
from agent.http.numbers import unsigned
from agent.http.reads import Asked, read_route
from agent.http.routing import JSON, ApiRequest, ApiResponse, HttpError, meta_headers, route
from model.bare_json import to_bare_json
from model.codec import Wire
from model.gojson import JsonError, encode_json, from_json, json_kind, parse_json
from model.structs.kv import DirEntry, IndexedDirEntries, IndexedKeyList, KeyListRequest, KeyRequest, KVSRequest
from model.structs.txn import (
    TxnCheckOp,
    TxnError,
    TxnKVOp,
    TxnNodeOp,
    TxnOp,
    TxnReadRequest,
    TxnRequest,
    TxnResult,
    TxnServiceOp,
)
from model.structs.txn import TxnResponse as Results
from server.state.txn import is_write

RECURSE = Param("recurse", "All keys that begin with this one.", "flag")
KEYS = (
    *READ,
    RECURSE,
    Param("keys", "Only the names of the keys that begin with this one.", "flag"),
    Param("separator", "With `keys`: names up to this only."),
    Param("raw", "Only the value, as it was written.", "flag"),
)
FLAGS = Param("flags", "Number that is kept beside the value.", "number")
ACQUIRE = Param("acquire", "ID of the session that locks the key.")
RELEASE = Param("release", "ID of the session that unlocks the key.")
VALUE = Raw("application/octet-stream", "The value, at most `limits.kv_max_value_size` bytes.")

MAX_TXN_OPS = 128


@read_route(
    "/v1/kv/",
    Operation(
        "{key}",
        KEYS,
        answer=list[DirEntry] | list[str],
        also=("text/plain",),
        statuses={404: NoBody("There is no such key.")},
    ),
    Operation(
        "",
        KEYS,
        answer=list[DirEntry] | list[str],
        statuses={404: NoBody("There is no such key.")},
        summary="All keys (`?recurse`), or their names (`?keys`).",
    ),
    prefix=True,
)
def read(request: ApiRequest) -> Asked:
    """One key, all keys below a prefix (`?recurse`), or their names (`?keys`)."""
    key = request.rest
    if request.has("keys"):
        separator = request.param("separator") or request.param("seperator")
        names = KeyListRequest(prefix=key, seperator=separator, **request.query_options())
        return Asked("KVS.ListKeys", names, lambda reply: _names(request, reply))
    options = request.query_options()
    recurse = request.has("recurse")
    if not key and not recurse:
        raise HttpError(400, "Missing key name")
    args = KeyRequest(key=key, **options)
    return Asked("KVS.List" if recurse else "KVS.Get", args, lambda reply: _entries(request, reply))


def _entries(request: ApiRequest, reply: IndexedDirEntries) -> ApiResponse:
    headers = meta_headers(reply, request, consistency=False)
    if not reply.entries:
        return ApiResponse(b"", 404, "", headers)
    if request.has("raw") and not request.has("recurse"):
        headers["X-Content-Type-Options"] = "nosniff"
        headers["Content-Security-Policy"] = "sandbox"
        return ApiResponse(reply.entries[0].value or b"", 200, "text/plain", headers)
    return ApiResponse(encode_json(reply.entries, request.pretty), 200, JSON, headers)


def _names(request: ApiRequest, reply: IndexedKeyList) -> ApiResponse:
    headers = meta_headers(reply, request, consistency=False)
    if not reply.keys and request.rest:
        return ApiResponse(b"", 404, "", headers)
    return ApiResponse(encode_json(reply.keys or [], request.pretty), 200, JSON, headers)


@route("PUT", "/v1/kv/", Operation("{key}", (DC, FLAGS, CAS, ACQUIRE, RELEASE), VALUE, bool), prefix=True)
async def write(request: ApiRequest) -> bool:
    """Write a key, on conditions if `?cas`, `?acquire` or `?release` say so."""
    key = request.rest
    if not key:
        raise HttpError(400, "Missing key name")
    conditions = [name for name in ("cas", "acquire", "release") if request.has(name)]
    if len(conditions) > 1:
        raise HttpError(400, f"Conflicting flags: {shown_flags(request)}")
    flags = unsigned(request.param("flags")) if request.has("flags") else 0
    op, session, index = "set", "", 0
    if request.has("cas"):
        op, index = "cas", unsigned(request.param("cas"))
    elif request.has("acquire"):
        op, session = "lock", request.param("acquire")
    elif request.has("release"):
        op, session = "unlock", request.param("release")
    limit = request.agent.config.kv_max_value_size
    value = await request.raw_body(limit)
    entry = DirEntry(key=key, value=value or None, flags=flags, session=session, modify_index=index)
    result = await request.call("KVS.Apply", KVSRequest(op=op, dir_ent=entry, datacenter=request.datacenter))
    return True if op == "set" else bool(result)


def shown_flags(request: ApiRequest) -> str:
    """The query with its keys in order, as Go encodes it."""
    pairs = [(key, value) for key in sorted(request.params) for value in request.params[key]]
    return urlencode(pairs, errors="surrogateescape")


@route(
    "DELETE",
    "/v1/kv/",
    Operation("{key}", (DC, CAS, RECURSE), answer=bool),
    Operation("", (DC, RECURSE), answer=bool, summary="Remove all keys; `?recurse` has to be there."),
    prefix=True,
)
async def delete(request: ApiRequest) -> bool:
    """Remove a key, or all below a prefix."""
    key = request.rest
    recurse = request.has("recurse")
    if request.has("cas") and recurse:
        raise HttpError(400, f"Conflicting flags: {shown_flags(request)}")
    if not key and not recurse:
        raise HttpError(400, "Missing key name")
    op, index = "delete-tree" if recurse else "delete", 0
    if request.has("cas"):
        op, index = "delete-cas", unsigned(request.param("cas"))
    entry = DirEntry(key=key, modify_index=index)
    result = await request.call("KVS.Apply", KVSRequest(op=op, dir_ent=entry, datacenter=request.datacenter))
    return bool(result) if op == "delete-cas" else True


class KVTxnOp(Wire, frozen=True):
    """An operation on a key, as clients write it."""

    verb: str = ""
    key: str = ""
    value: bytes | None = None
    flags: int = 0
    index: int = 0
    session: str = ""
    namespace: str = ""
    partition: str = ""


TXN_OP = {"KV": KVTxnOp, "Node": TxnNodeOp, "Service": TxnServiceOp, "Check": TxnCheckOp}
TXN_ANSWER = {"Results": list[TxnResult] | None, "Errors": list[TxnError] | None}
_OPERATIONS: dict[str, tuple[str, type[TxnNodeOp] | type[TxnServiceOp] | type[TxnCheckOp]]] = {
    "node": ("Node", TxnNodeOp),
    "service": ("Service", TxnServiceOp),
    "check": ("Check", TxnCheckOp),
}


def _one_op(raw: Any, limit: int) -> TxnOp:
    """One operation as clients write it: `{"KV": {"Verb", "Key", "Value", "Flags", "Index", "Session"}}` …

    Of several members the key's counts, or else the first. Raises JsonError, HttpError 413 for a long value.
    """
    if raw is None:
        return TxnOp()
    if not isinstance(raw, dict):
        raise JsonError(f"json: cannot unmarshal {json_kind(raw)} into Go value of type api.TxnOp")
    found: dict[str, Any] = {}
    for key, value in raw.items():
        folded = key.lower()
        if folded != "kv" and folded not in _OPERATIONS:
            raise JsonError(f'json: unknown field "{key}"')
        if value is None:
            continue
        if folded == "kv":
            found["kv"] = _kv_op(value, limit)
        else:
            name, cls = _OPERATIONS[folded]
            found[folded] = from_json(cls, value, unknown="ignore", path=name)
    if "kv" in found:
        return TxnOp(kv=found["kv"])
    return TxnOp(**dict(list(found.items())[:1]))


def _kv_op(raw: Any, limit: int) -> TxnKVOp:
    if isinstance(raw, dict):
        for key, value in raw.items():
            if key.lower() in ("flags", "index") and value is not None:
                _check_unsigned(key.capitalize(), value)
    op = from_json(KVTxnOp, raw, path="KV")
    size = len(op.value or b"")
    if size > limit:
        raise HttpError(413, f'Value for key "{op.key}" is too large ({size} > {limit} bytes)')
    entry = DirEntry(key=op.key, value=op.value, flags=op.flags, session=op.session, modify_index=op.index)
    return TxnKVOp(verb=op.verb, dir_ent=entry)


def _check_unsigned(field: str, value: Any) -> None:
    if value.__class__ is int and 0 <= value < 1 << 64:
        return
    shown = json_kind(value)
    if shown == "number":
        shown = f"number {value}"
    raise JsonError(f"json: cannot unmarshal {shown} into Go struct field KVTxnOp.KV.{field} of type uint64")


@route(
    "PUT",
    "/v1/txn",
    Operation(query=(*ASK,), body=[TXN_OP], answer=TXN_ANSWER, statuses={409: "Nothing was done; `Errors` says why."}),
)
async def transaction(request: ApiRequest) -> ApiResponse:
    """Operations that happen all or not at all."""
    limit = max(request.agent.config.txn_max_req_len, request.agent.config.kv_max_value_size)
    raw = await request.raw_body(limit, "txn_max_req_len")
    try:
        listed = parse_json(raw)
        if listed is None:
            listed = []
        if not isinstance(listed, list):
            raise JsonError(f"json: cannot unmarshal {json_kind(listed)} into Go value of type api.TxnOps")
        if len(listed) > MAX_TXN_OPS:
            text = f"Transaction contains too many operations ({len(listed)} > {MAX_TXN_OPS})"
            raise HttpError(413, text)
        ops = [_one_op(one, request.agent.config.kv_max_value_size) for one in listed]
    except JsonError as error:
        raise HttpError(400, f"Failed to parse body: {error}") from None
    if any(is_write(op) for op in ops):
        reply: Results = await request.call("Txn.Apply", TxnRequest(ops=ops, datacenter=request.datacenter))
        failed = bool(reply.errors)
        body = {"Results": None if failed else to_bare_json(reply.results or []), "Errors": reply.errors}
        return ApiResponse(encode_json(body, request.pretty), 409 if failed else 200, JSON)
    options = request.query_options()
    answer = await request.call("Txn.Read", TxnReadRequest(ops=ops, **options))
    headers = {
        "X-Consul-LastContact": str(answer.last_contact // 1_000_000),
        "X-Consul-KnownLeader": "true" if answer.known_leader else "false",
    }
    failed = bool(answer.errors)
    answered: dict[str, Any] = {
        "Results": None if failed else to_bare_json(answer.results or []),
        "Errors": answer.errors or None,
        "Index": answer.index,
        "LastContact": answer.last_contact,
        "KnownLeader": answer.known_leader,
        "ConsistencyLevel": "",
        "NotModified": False,
        "Backend": 0,
        "ResultsFilteredByACLs": answer.results_filtered_by_acls,
    }
    return ApiResponse(encode_json(answered, request.pretty), 409 if failed else 200, JSON, headers)
