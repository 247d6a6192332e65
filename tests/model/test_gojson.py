"""JSON in and out as Go's encoding/json does it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.codec import pack, unpack
from model.durations import DurationError, format_duration, parse_duration
from model.gojson import JsonError, decode_json, encode_json, from_json
from model.gotime import ZERO_TIME, GoTime
from model.structs.catalog import CheckServiceNode, HealthCheckDefinition, NodeService, ServiceDefinition
from model.structs.catalog_rpc import RegisterRequest
from model.structs.coordinate import Coordinate
from model.structs.intentions import Intention
from model.structs.kv import DirEntry
from model.structs.session import Session


def test_a_key_looks_as_consul_shows_it() -> None:
    body = encode_json([DirEntry(key="a", value=b"\x00hi", flags=7, create_index=3, modify_index=4)])
    assert json.loads(body) == [
        {"LockIndex": 0, "Key": "a", "Flags": 7, "Value": "AGhp", "CreateIndex": 3, "ModifyIndex": 4}
    ]
    assert json.loads(encode_json(DirEntry(key="a")))["Value"] is None


def test_empty_parts_of_an_instance_are_left_out() -> None:
    shown = json.loads(encode_json(NodeService(id="web", service="web")))
    assert shown["Proxy"] == {"Mode": "", "MeshGateway": {}, "Expose": {}}
    assert "Kind" not in shown and "TaggedAddresses" not in shown
    assert shown["Tags"] == []


def test_html_characters_are_escaped_and_rubbish_is_replaced() -> None:
    assert b"\\u003cb\\u003e\\u0026" in encode_json({"a": "<b>&"})
    assert "\ufffd".encode() in encode_json({"a": b"\xff".decode("utf-8", "surrogateescape")})


def test_durations_are_texts_where_consul_writes_texts() -> None:
    shown = json.loads(encode_json(HealthCheckDefinition(interval=10_000_000_000, tcp="x:1")))
    assert shown == {"Interval": "10s", "TCP": "x:1"}
    read = decode_json(HealthCheckDefinition, b'{"Interval": "5s", "Timeout": 7}')
    assert (read.interval, read.timeout) == (5_000_000_000, 7)


def test_zero_times_of_an_intention_are_left_out() -> None:
    assert "CreatedAt" not in json.loads(encode_json(Intention()))


def test_names_ignore_case_and_null_is_zero() -> None:
    read = decode_json(RegisterRequest, b'{"node": "n", "ADDRESS": "1.2.3.4", "Service": null, "NodeMeta": {"a": "b"}}')
    assert (read.node, read.address, read.service, read.node_meta) == ("n", "1.2.3.4", None, {"a": "b"})


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b'{"Bogus": 1}', 'json: unknown field "Bogus"'),
        (b'{"Port": "x"}', "json: cannot unmarshal string into Go struct field ServiceDefinition.Port of type int"),
        (b'{"ID": [1]}', "json: cannot unmarshal array into Go struct field ServiceDefinition.ID of type string"),
        (b"", "EOF"),
        (b'{"Name": ', "unexpected EOF"),
        (b"[" * 100 + b"]" * 100, "exceeded max depth"),
    ],
)
def test_bad_bodies_are_named(body: bytes, error: str) -> None:
    with pytest.raises(JsonError) as caught:
        decode_json(ServiceDefinition, body)
    assert str(caught.value) == error


def test_agent_endpoints_take_snake_case_but_not_all_of_it() -> None:
    body = b'{"name": "web", "enable_tag_override": true, "tagged_addresses": {"lan": {"address": "a", "port": 1}}}'
    read = decode_json(ServiceDefinition, body, style="agent")
    assert read.enable_tag_override and read.tagged_addresses and read.tagged_addresses["lan"].port == 1
    with pytest.raises(JsonError, match="socket_path"):
        decode_json(ServiceDefinition, b'{"socket_path": "x"}', style="agent")


def test_pretty_has_four_spaces() -> None:
    assert encode_json({"a": [1]}, pretty=True) == b'{\n    "a": [\n        1\n    ]\n}\n'


@given(st.text(), st.binary(), st.integers(0, 2**64 - 1))
def test_every_key_survives_msgpack_and_json(key: str, value: bytes, flags: int) -> None:
    key = key.encode("utf-8", "ignore").decode()
    entry = DirEntry(key=key, value=value or None, flags=flags)
    assert unpack(DirEntry, pack(entry)) == entry
    assert decode_json(DirEntry, encode_json(entry)) == entry


@given(st.integers(-(2**62), 2**62))
def test_durations_read_back(nanoseconds: int) -> None:
    assert parse_duration(format_duration(nanoseconds)) == nanoseconds


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", 'time: invalid duration ""'),
        ("3", 'time: missing unit in duration "3"'),
        ("3x", 'time: unknown unit "x" in duration "3x"'),
        ("s", 'time: invalid duration "s"'),
        ("9999999999h", 'time: invalid duration "9999999999h"'),
    ],
)
def test_bad_durations(text: str, error: str) -> None:
    with pytest.raises(DurationError) as caught:
        parse_duration(text)
    assert str(caught.value) == error


@given(st.integers(-60_000_000_000, 250_000_000_000), st.integers(0, 999_999_999), st.sampled_from([-1, 90, -300]))
def test_times_read_back(seconds: int, nanoseconds: int, offset: int) -> None:
    time = GoTime(seconds, nanoseconds, offset)
    assert GoTime.from_bytes(time.to_bytes()) == time
    assert GoTime.parse(time.rfc3339()) == time


def test_the_zero_time() -> None:
    assert ZERO_TIME.rfc3339() == "0001-01-01T00:00:00Z"
    assert ZERO_TIME.to_bytes().hex() == "01000000000000000000000000ffff"
    assert unpack(CheckServiceNode, pack(CheckServiceNode())) == CheckServiceNode()


def test_fields_that_are_passed_over() -> None:
    from server.endpoints.registration import type_of

    raw = {"TCP": "a:1", "IntervalDuration": 10, "TimeoutDuration": "2s"}
    definition = from_json(HealthCheckDefinition, raw)
    assert definition == HealthCheckDefinition(tcp="a:1")
    assert type_of(definition) == "" and type_of(from_json(HealthCheckDefinition, {**raw, "Interval": "1s"})) == "tcp"


def test_unknown_namespaces_are_explained() -> None:

    for raw, text in (
        ({"Service": {"Namespace": "x"}}, "Namespaces are a Consul Enterprise feature"),
        ({"Bogus": "x"}, 'json: unknown field "Bogus"'),
    ):
        with pytest.raises(JsonError, match=text):
            from_json(RegisterRequest, raw)


@pytest.mark.parametrize(
    ("cls", "raw", "text"),
    [
        (RegisterRequest, b'{"Service": {"Port": 9223372036854775808}}', "NodeService.Service.Port of type int"),
        (NodeService, b'{"CreateIndex": -1}', "NodeService.CreateIndex of type uint64"),
        (NodeService, b'{"ModifyIndex": 18446744073709551616}', "NodeService.ModifyIndex of type uint64"),
        (NodeService, b'{"Port": 1e19}', "NodeService.Port of type int"),
        (Session, b'{"LockDelay": 99999999999999999999}', "Session.LockDelay of type time.Duration"),
        (Coordinate, b'{"Coord": {"Height": ' + b"9" * 400 + b"}}", "of type float64"),
        (NodeService, b'{"Proxy": {"Config": {"a": [' + b"9" * 400 + b"]}}}", "of type float64"),
        (DirEntry, '{"Value": "\u00e1"}'.encode(), "illegal base64 data at input byte 0"),
    ],
)
def test_what_fits_in_no_field_is_refused(cls: Any, raw: bytes, text: str) -> None:
    with pytest.raises(JsonError, match=text):
        decode_json(cls, raw)


def test_the_largest_numbers_that_fit() -> None:
    found = decode_json(NodeService, b'{"Port": 9223372036854775807, "ModifyIndex": 18446744073709551615}')
    assert (found.port, found.modify_index) == ((1 << 63) - 1, (1 << 64) - 1)
    assert unpack(NodeService, pack(found)) == found
