"""What is said of a text that is no JSON."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.gojson import JsonError, decode_json, parse_json
from model.json_syntax import syntax_error
from model.structs.catalog_rpc import RegisterRequest
from model.structs.kv import DirEntry
from model.structs.session import Session


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"", "EOF"),
        (b" \n", "EOF"),
        (b"{", "unexpected EOF"),
        (b"nul", "unexpected EOF"),
        (b"-", "unexpected EOF"),
        (b'{"a": "', "unexpected EOF"),
        (b"bad", "invalid character 'b' looking for beginning of value"),
        (b"not", "invalid character 'o' in literal null (expecting 'u')"),
        (b'{"a": tru}', "invalid character '}' in literal true (expecting 'e')"),
        (b"{bad", "invalid character 'b' looking for beginning of object key string"),
        (b"{'a': 1}", "invalid character '\\'' looking for beginning of object key string"),
        (b'{"a":1,}', "invalid character '}' looking for beginning of object key string"),
        (b"[1,]", "invalid character ']' looking for beginning of value"),
        (b'{"a" "b"}', "invalid character '\"' after object key"),
        (b'{"a":"b" "c"}', "invalid character '\"' after object key:value pair"),
        (b'{"a":01}', "invalid character '1' after object key:value pair"),
        (b"[1 2]", "invalid character '2' after array element"),
        (b'"a\nb"', "invalid character '\\n' in string literal"),
        (b'"\\x"', "invalid character 'x' in string escape code"),
        (b'"\\u12g4"', "invalid character 'g' in \\u hexadecimal character escape"),
        (b"[-a]", "invalid character 'a' in numeric literal"),
        (b"[1.]", "invalid character ']' after decimal point in numeric literal"),
        (b"[1e]", "invalid character ']' in exponent of numeric literal"),
        (b"\x01", "invalid character '\\x01' looking for beginning of value"),
        (b"[\xff]", "invalid character '\u00ff' looking for beginning of value"),
    ],
)
def test_texts(raw: bytes, text: str) -> None:
    with pytest.raises(JsonError) as caught:
        parse_json(raw)
    assert str(caught.value) == text


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    ),
    st.sampled_from((None, 2)),
)
def test_nothing_is_wrong_with_json(value: object, indent: int | None) -> None:
    assert syntax_error(json.dumps(value, indent=indent).encode()) == ""


@given(st.binary(max_size=60))
def test_refused_by_both_or_by_none(raw: bytes) -> None:
    refused = ""
    try:
        parse_json(raw)
    except JsonError as error:
        refused = str(error) or "no reason"
    assert bool(refused) or syntax_error(raw) == ""


def test_deep_nesting_costs_no_recursion() -> None:
    assert syntax_error(b"[" * 100_000) == "unexpected EOF"


def test_rubbish_in_text_is_replaced() -> None:
    assert parse_json(b'["\xff", "\\ud800", "\\udc00x", "\\ud83d\\ude00", "\\\\ud800"]') == [
        "\ufffd", "\ufffd", "\ufffdx", "\U0001f600", "\\ud800",
    ]  # fmt: skip


@pytest.mark.parametrize("number", ["99999999999999999999", "9223372036854775808", "1e30", "80.0", "1.5", "-1e30"])
def test_numbers_that_fit_no_int(number: str) -> None:
    with pytest.raises(JsonError, match=r"cannot unmarshal number .* of type int"):
        decode_json(RegisterRequest, f'{{"Service": {{"Port": {number}}}}}'.encode())


def test_unsigned_fields_take_64_bits() -> None:
    assert decode_json(DirEntry, b'{"Flags": 18446744073709551615}').flags == (1 << 64) - 1
    with pytest.raises(JsonError):
        decode_json(DirEntry, b'{"Flags": 18446744073709551616}')


@pytest.mark.parametrize("number", ["1e30", "-99999999999999999999"])
def test_durations_have_64_bits(number: str) -> None:
    with pytest.raises(JsonError, match=r"number .* into Go struct field Session.LockDelay of type time.Duration"):
        decode_json(Session, f'{{"LockDelay": {number}}}'.encode())
