"""What bodies of transactions are taken, and how others are refused."""

from typing import Any

import pytest

from agent.http.kv import _one_op
from agent.http.routing import HttpError
from model.gojson import JsonError, parse_json


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (1, "json: cannot unmarshal number into Go value of type api.TxnOp"),
        ({"Session": {}}, 'json: unknown field "Session"'),
        ({"KV": {"Extra": 1}}, 'json: unknown field "Extra"'),
        ({"KV": {"Value": 5}}, "json: cannot unmarshal number into Go struct field KVTxnOp.KV.Value of type []uint8"),
        ({"KV": {"Index": "5"}}, "json: cannot unmarshal string into Go struct field KVTxnOp.KV.Index of type uint64"),
        (
            {"KV": {"Flags": -1}},
            "json: cannot unmarshal number -1 into Go struct field KVTxnOp.KV.Flags of type uint64",
        ),
    ],
)
def test_refused(raw: Any, text: str) -> None:
    with pytest.raises(JsonError) as caught:
        _one_op(raw, 100)
    assert str(caught.value) == text


def test_long_values() -> None:
    with pytest.raises(HttpError) as caught:
        _one_op({"KV": {"Verb": "set", "Key": "a", "Value": "YWFh"}}, 2)
    assert caught.value.status == 413


def test_members() -> None:
    op = _one_op({"node": {"Verb": "get", "Node": {"Node": "n"}}, "KV": {"verb": "set", "Key": "a", "Index": 7}}, 10)
    assert op.node is None and op.kv is not None
    assert (op.kv.verb, op.kv.dir_ent.key, op.kv.dir_ent.modify_index) == ("set", "a", 7)
    assert _one_op({}, 10).kv is None


def test_what_follows_the_first_value_is_not_looked_at() -> None:
    assert parse_json(b"[] trailing") == []
    with pytest.raises(JsonError):
        parse_json(b"[} trailing")
