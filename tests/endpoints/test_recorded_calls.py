"""The calls that were recorded from a real server, made here: same replies, apart from indexes and chosen IDs."""

import base64
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from model.codec import Wire, to_wire
from model.errors import RpcError
from model.structs.coordinate import CoordinateVector
from server.leader.housekeeping import Housekeeping
from tests.endpoints.fake import FakeServer

HAS_FILTERS = importlib.util.find_spec("model.filter") is not None
VECTORS = Path("../shared/protocols/rpc-vectors.json")
FAMILIES = ("Catalog.", "Coordinate.", "Health.", "KVS.", "Session.", "Txn.", "Status.", "Internal.", "Nope.")
SKIPPED = {"Status.Leader", "Status.Peers", "Status.RaftStats", "Internal.ServiceTopology"}
VOLATILE = {"Index", "CreateIndex", "ModifyIndex", "ID", "SessionID"}


def _builtin(value: Any) -> Any:
    """The recorded notation of bytes back to bytes."""
    if isinstance(value, dict):
        if set(value) == {"base64"}:
            return base64.b64decode(value["base64"])
        return {key: _builtin(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_builtin(item) for item in value]
    return value


def _stable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _stable(item) for key, item in value.items() if key not in VOLATILE}
    if isinstance(value, list):
        return [_stable(item) for item in value]
    if isinstance(value, Wire):
        return _stable(to_wire(value))
    return value


def _recorded() -> list[dict[str, Any]]:
    calls: list[dict[str, Any]] = json.loads(VECTORS.read_text())["calls"]
    return calls


@pytest.mark.skipif(not VECTORS.exists(), reason="the recorded vectors are not here")
async def test_recorded_calls_get_the_recorded_replies() -> None:
    server = FakeServer()
    server.places = [("dc1", "node1", CoordinateVector(vec=[0.0] * 8, error=1.5, height=1e-05))]
    await server.call_wire(
        "Catalog.Register",
        {
            "Node": "node1", "Address": "127.0.0.1", "ID": "e51f1073-260f-2f9a-2def-eb73d98e52a3",
            "TaggedAddresses": dict.fromkeys(("lan", "lan_ipv4", "wan", "wan_ipv4"), "127.0.0.1"),
        },
    )
    session = recorded_session = ""
    same = 0
    wrong = []
    for call in _recorded():
        method, error = call["method"], call["response_header"]["Error"]
        if not method.startswith(FAMILIES) or method in SKIPPED or "blocking" in call["note"]:
            continue
        if call["request_args"] is None or (call["request_args"].get("Filter") and not HAS_FILTERS):
            continue
        args = _builtin(call["request_args"])
        recorded = _builtin(call["response_body"])
        if session:
            args = json_replace(args, recorded_session, session)
        if error:
            with pytest.raises(RpcError) as failure:
                await server.call_wire(method, args)
            assert failure.value.text == error, method
            continue
        reply = await server.call_wire(method, args)
        if method == "Coordinate.Update":
            await Housekeeping(server).write_coordinates()
        if method == "Session.Apply" and args["Op"] == "create":
            session, recorded_session = reply, recorded
            continue
        got = _stable(reply)
        if got == _stable(recorded) or _without_self(got) == _without_self(_stable(recorded)):
            same += 1
        else:
            wrong.append((method, call["note"], got, _stable(recorded)))
    assert not wrong, wrong[0]
    assert same > 25


def json_replace(value: Any, old: str, new: str) -> Any:
    if isinstance(value, dict):
        return {key: json_replace(item, old, new) for key, item in value.items()}
    return new if value == old else value


def _without_self(value: Any) -> Any:
    """Leave out the recorded server's own node, service and checks, and values that time changes."""
    if isinstance(value, dict):
        hidden = ("consul", "Session", "LockIndex", "Flags", "Value")
        return {key: _without_self(item) for key, item in value.items() if key not in hidden}
    if isinstance(value, list):
        return [_without_self(item) for item in value if not _is_self(item)]
    return value


def _is_self(item: Any) -> bool:
    if not isinstance(item, dict):
        return False
    node = item.get("Node")
    return node == "node1" or (isinstance(node, dict) and node.get("Node") == "node1")
