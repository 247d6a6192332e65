"""Configuration text: what HCL says, and that bad text is refused with its place."""

import json
import textwrap
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.config_json import MAX_DEPTH, HclError, parse_json_text
from model.hcl import MAX_HCL, parse_hcl


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", {}),
        ("# only a comment", {}),
        ('a = "x"', {"a": "x"}),
        ("a = 1 b = 2.5, c = true\nd = false", {"a": 1, "b": 2.5, "c": True, "d": False}),
        ("a = 0x1F b = -3 c = 1e3 d = 010 e = 0 f = -0.5", {"a": 31, "b": -3, "c": 1000.0, "d": 8, "e": 0, "f": -0.5}),
        ('"quoted key" = 1', {"quoted key": 1}),
        ("a-b.c = 1", {"a-b.c": 1}),
        ("a = [1, \"x\", [true], {b = 2},]", {"a": [1, "x", [True], {"b": 2}]}),
        ("a = []", {"a": []}),
        ("a { b = 1 }", {"a": {"b": 1}}),
        ("a { b = 1, c = 2 }", {"a": {"b": 1, "c": 2}}),
        ("a = { b = 1 }", {"a": {"b": 1}}),
        ("a {} a {}", {"a": [{}, {}]}),
        ("a { b = 1 } a { b = 2 } a { c = 3 }", {"a": [{"b": 1}, {"b": 2}, {"c": 3}]}),
        ("a = [{ b = 1 }] a { b = 2 }", {"a": [{"b": 1}, {"b": 2}]}),
        ('a "x" { b = 1 }', {"a": {"x": {"b": 1}}}),
        ('a "x" "y" { b = 1 }\na "x" "z" { b = 2 }', {"a": {"x": {"y": {"b": 1}, "z": {"b": 2}}}}),
        ('a "x" { b = 1 } a "y" { b = 2 }', {"a": {"x": {"b": 1}, "y": {"b": 2}}}),
        ('a "x" { b = 1 } a "x" { b = 2 }', {"a": {"x": [{"b": 1}, {"b": 2}]}}),
        ("a b { c = 1 }", {"a": {"b": {"c": 1}}}),
        ("a = 1 a = 2", {"a": 2}),
        ("a = 1 // one\nb = 2 # two\n/* three\nfour */ c = 3 /* five */ d = 4", {"a": 1, "b": 2, "c": 3, "d": 4}),
        ('a = "# no comment // here /* or here */"', {"a": "# no comment // here /* or here */"}),
        (r'a = "\"\\\n\t\r\a\b\f\v"', {"a": '"\\\n\t\r\a\b\f\v'}),
        (r'a = "\x41\101\u00e9\U0001F600"', {"a": "AAé😀"}),
        ('a = "{{ GetPrivateIP }}"', {"a": "{{ GetPrivateIP }}"}),
        ('a = "$5 and ${x("}")} $"', None),
        ('a = "${f("x", "{y}")} z"', {"a": '${f("x", "{y}")} z'}),
        ('a = "costs $5"', {"a": "costs $5"}),
        ("a = <<EOF\none\n  two\nEOF\nb = 1", {"a": "one\n  two\n", "b": 1}),
        ("a = <<-EOF\n    one\n      two\n    EOF\nb = 1", {"a": "one\n  two\n", "b": 1}),
        ("a = <<-EOF\none\n    two\n    EOF", {"a": "one\n    two\n"}),
        ("a = <<EOF\nEOFX\n\"${\\n\nEOF", {"a": 'EOFX\n"${\\n\n'}),
        ("a = <<EOF\nEOF", {"a": ""}),
        ("a = [<<X\none\nX\n, 2]", {"a": ["one\n", 2]}),
        ("a = 1\r\nb = 2\r\n", {"a": 1, "b": 2}),
        ("\ufeffa = 1", {"a": 1}),
        ("ключ = 1", {"ключ": 1}),
        ('  { "a": [1] }', {"a": [1]}),
        ("true = 1", {"true": 1}),
    ],
)
def test_texts(text: str, value: dict[str, Any] | None) -> None:
    if value is None:
        with pytest.raises(HclError):
            parse_hcl(text)
    else:
        assert parse_hcl(text) == value


def test_services_with_checks_and_upstreams() -> None:
    text = textwrap.dedent(
        """
        services {
          name = "web"
          check { id = "a" }
          check { id = "b" }
          connect { sidecar_service { proxy { upstreams { destination_name = "db" } } } }
        }
        services { name = "db" }
        """
    )
    assert parse_hcl(text) == {
        "services": [
            {
                "name": "web",
                "check": [{"id": "a"}, {"id": "b"}],
                "connect": {"sidecar_service": {"proxy": {"upstreams": {"destination_name": "db"}}}},
            },
            {"name": "db"},
        ]
    }


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a = = 3", "line 1, column 5: expected a value, found '='"),
        ("a\n", "line 2, column 1: expected '=' or '{' after the key 'a', found the end of the text"),
        ("a = 1\nb : 2", "line 2, column 3: unexpected ':'"),
        ('a "b" = 1', "line 1, column 7: expected '{' after the labels, found '='"),
        ("a {\n  b = 1\n", "line 3, column 1: expected a key, found the end of the text"),
        ("}", "line 1, column 1: expected a key, found '}'"),
        ("a = [1 2]", "line 1, column 8: expected ',' or ']' in the list, found 2"),
        ("a = [,]", "line 1, column 6: expected a value"),
        ("a = yes", "line 1, column 5: expected a value, found 'yes'"),
        ('a = "x\ny"', "line 1, column 5: the text is not closed"),
        ('a = "x', "line 1, column 5: the text is not closed"),
        (r'a = "\q"', r"line 1, column 6: unknown escape '\\q'"),
        (r'a = "\uD800"', "is no Unicode character"),
        (r'a = "\UFFFFFFFF"', "is no Unicode character"),
        ('a = "${x"', "line 1, column 6: the '${' is not closed"),
        ("a = 1 /* x", "line 1, column 7: the comment is not closed"),
        ("a = <<EOF\nx\n", "line 1, column 5: the heredoc is not closed: no line with EOF alone"),
        ("a = << EOF\nx\n", "line 1, column 5: a heredoc begins with"),
        ("a = 08", "line 1, column 5: malformed number '08'"),
        ("a = 1.2.3", "line 1, column 5: malformed number"),
        ("a = 12x", "line 1, column 5: malformed number"),
        ("a = 9223372036854775808", "does not fit into 64 bits"),
        ("a = " + "9" * 5000, "does not fit into 64 bits"),
        ("a = 1e999", "too large"),
        ("a = \x00", r"line 1, column 5: unexpected character '\x00'"),
        ("a " + "{ a " * 1000, "nested more than 32 levels deep"),
        ("a = " + "[" * 1000, "nested more than 32 levels deep"),
        ("a " + '"x" ' * 1000 + "{}", "nested more than 32 levels deep"),
        ("#" * (MAX_HCL + 1), "characters, 1048576 at most"),
        ('{"a": NaN}', "NaN is no number"),
        ('{"a": ' + "9" * 5000 + "}", "digits"),
    ],
)
def test_errors_name_the_place(text: str, problem: str) -> None:
    with pytest.raises(HclError) as caught:
        parse_hcl(text)
    assert problem in str(caught.value)


_PIECES = st.sampled_from(
    [
        *("a", "b", '"c"', '"', "=", "{", "}", "[", "]", ",", "1", "0x", "-", ".5", "08", "true", "\n", " ", "\r"),
        *("<<E\n", "<<-E\n", "E\n", "${", "\\", "\\u12", "#", "//", "/*", "*/", "$", "é", "\x00", "\ud800"),
    ]
)


@given(st.one_of(st.text(max_size=200), st.lists(_PIECES, max_size=60).map("".join)))
def test_any_text_gives_a_value_or_a_clear_error(text: str) -> None:
    with suppress(HclError):
        assert isinstance(parse_hcl(text), dict)


_KEYS = st.from_regex(r"[a-z][a-z0-9_]{0,6}", fullmatch=True)
_VALUES = st.recursive(
    st.one_of(
        st.booleans(),
        st.integers(-(1 << 63), (1 << 63) - 1),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(_KEYS, inner, max_size=4)),
    max_leaves=20,
)


def _written(value: Any) -> str:
    """A value as HCL."""
    if isinstance(value, dict):
        return "{" + " ".join(f"{key} = {_written(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_written, value)) + "]"
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(letter):08x}" for letter in value) + '"'
    return json.dumps(value)


@given(st.dictionaries(_KEYS, _VALUES, max_size=5))
def test_what_is_written_is_read_again(value: dict[str, Any]) -> None:
    assert parse_hcl(" ".join(f"{key} = {_written(item)}" for key, item in value.items())) == value
    assert parse_json_text(json.dumps(value)) == value


def test_the_deepest_that_is_allowed() -> None:
    inside = MAX_DEPTH - 1
    assert parse_hcl("a {" * inside + "}" * inside)
    with pytest.raises(HclError):
        parse_hcl("a {" * (inside + 1) + "}" * (inside + 1))
