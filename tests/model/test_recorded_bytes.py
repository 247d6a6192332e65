"""Every recorded call and snapshot record of a real Consul decodes, and encodes to the same bytes again."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import msgpack
import pytest

from model.codec import Wire, from_wire, pack_builtins, to_wire, unpack_builtins
from model.gojson import encode_json, to_json
from model.methods import METHODS
from model.structs import acl, catalog_rpc, config_rpc, connect, kv, operator, queries, session
from tests.support.tools import need_shared

RECORDS: dict[int, type[Wire]] = {
    0: catalog_rpc.RegisterRequest,
    2: kv.DirEntry,
    3: session.Session,
    5: kv.DirEntry,
    7: queries.PreparedQuery,
    9: operator.AutopilotConfig,
    13: connect.CARoot,
    14: connect.CAConsulProviderState,
    15: connect.CAConfiguration,
    16: operator.IndexEntry,
    17: acl.ACLToken,
    19: acl.ACLPolicy,
    22: config_rpc.ConfigEntryRequest,
    23: acl.ACLRole,
    25: acl.ACLBindingRule,
    27: acl.ACLAuthMethod,
    31: operator.SystemMetadataEntry,
    32: operator.ServiceVirtualIP,
    33: operator.FreeVirtualIP,
}


def _normal(value: Any) -> Any:
    """The same value with its maps sorted (Go writes maps of strings in random order)."""
    if isinstance(value, dict):
        return {key: _normal(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_normal(item) for item in value]
    return value


def _again(cls: type[Wire], value: Any) -> bytes:
    return pack_builtins(_normal(to_wire(from_wire(cls, value))))


def _values(data: bytes) -> list[Any]:
    unpacker = msgpack.Unpacker(raw=False, unicode_errors="surrogateescape", strict_map_key=False)
    unpacker.feed(data)
    return list(unpacker)


def test_calls_encode_to_the_recorded_bytes() -> None:
    path = need_shared("protocols/rpc-vectors.json")
    checked = 0
    for call in json.loads(path.read_text())["calls"]:
        method = METHODS.get(call["method"])
        if method is None:
            continue
        request = _values(bytes.fromhex(call["request_hex"]))
        if method.args.WIRE_FORM is None and set(to_wire(method.args())) == set(request[1] or {}):
            assert _again(method.args, request[1]) == pack_builtins(_normal(request[1])), call["method"]
            checked += 1
        response = _values(bytes.fromhex(call["response_hex"]))
        if response[0]["Error"] or not (isinstance(method.reply, type) and issubclass(method.reply, Wire)):
            continue
        if method.reply.WIRE_FORM is None:
            assert _again(method.reply, response[1]) == pack_builtins(_normal(response[1])), call["method"]
        else:
            assert from_wire(method.reply, response[1]) == from_wire(
                method.reply, unpack_builtins(pack_builtins(to_wire(from_wire(method.reply, response[1]))))
            )
        encode_json(from_wire(method.reply, response[1]))
        checked += 1
    assert checked > 40


@pytest.mark.parametrize("archive", ["plain.snap", "acl.snap", "full.snap"])
def test_snapshot_records_encode_to_the_recorded_bytes(archive: str) -> None:
    path: Path = need_shared(f"protocols/{archive}")
    with tarfile.open(fileobj=io.BytesIO(path.read_bytes()), mode="r:gz") as tar:
        member = tar.extractfile("state.bin")
        assert member is not None
        state = member.read()
    unpacker = msgpack.Unpacker(raw=False, unicode_errors="surrogateescape", strict_map_key=False)
    unpacker.feed(state)
    unpacker.unpack()
    seen = 0
    while unpacker.tell() < len(state):
        kind = unpacker.unpack()  # a record's type is one byte, below 128: a small msgpack integer
        start = unpacker.tell()
        value = unpacker.unpack()
        cls = RECORDS.get(kind)
        if cls is None:
            continue
        seen += 1
        again = to_wire(from_wire(cls, value))
        if cls.WIRE_FORM is None:
            assert pack_builtins(_normal(again)) == pack_builtins(_normal(value)), (kind, value)
        else:
            assert from_wire(cls, again) == from_wire(cls, value)
        assert start
        to_json(from_wire(cls, value))
    assert seen > 20
