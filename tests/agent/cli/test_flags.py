"""How words become flags: Go's forms, and errors that name the flag and the reason."""

from typing import Any

import pytest

from agent.cli.flags import Flag, Usage, columns, parse

KNOWN = (
    Flag("text", "", default="t"),
    Flag("on", "", "bool", True),
    Flag("off", "", "bool", False),
    Flag("int", "", "int", 0),
    Flag("count", "", "count", 0),
    Flag("wait", "", "duration", 0),
    Flag("list", "", "list"),
    Flag("map", "", "map"),
)


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["-text=a=b"], "text", "a=b"),
        (["--text", "-x"], "text", "-x"),
        (["-text="], "text", ""),
        (["-text=1", "-text=2"], "text", "2"),
        (["-off"], "off", True),
        (["-off=T"], "off", True),
        (["--on=false"], "on", False),
        (["-on=0"], "on", False),
        (["-int", "-5"], "int", -5),
        (["-int=0x1F"], "int", 31),
        (["-int=010"], "int", 8),
        (["-count=18446744073709551615"], "count", 2**64 - 1),
        (["-wait=1m30s"], "wait", 90_000_000_000),
        (["-list=a", "-list", "b"], "list", ["a", "b"]),
        (["-map=a=1", "-map=b=x=y", "-map=c="], "map", {"a": "1", "b": "x=y", "c": ""}),
        ([], "list", []),
        ([], "on", True),
    ],
)
def test_forms(words: list[str], name: str, value: Any) -> None:
    assert parse(words, KNOWN)[name] == value


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["-nope"], "flag provided but not defined: -nope"),
        (["-text"], "flag needs an argument: -text"),
        (["---text=1"], "bad flag syntax: ---text=1"),
        (["-=1"], "bad flag syntax: -=1"),
        (["-off=tRuE"], 'invalid boolean value "tRuE" for -off'),
        (["-int=x"], 'invalid value "x" for flag -int: parse error'),
        (["-int=1.5"], "-int: parse error"),
        (["-int=9223372036854775808"], "-int: value out of range"),
        (["-count=-1"], "-count: parse error"),
        (["-count=18446744073709551616"], "-count: value out of range"),
        (["-count=" + "9" * 5000], "-count: parse error"),
        (["-wait=soon"], 'invalid duration "soon"'),
        (["-wait=10"], "missing unit"),
        (["-map=bad"], "-map: missing '='"),
        (["argument", "-off"], "flags must come before arguments: -off"),
    ],
)
def test_what_does_not_fit_is_named(words: list[str], reason: str) -> None:
    with pytest.raises(Usage) as caught:
        parse(words, KNOWN)
    assert reason in str(caught.value)


def test_where_flags_end() -> None:
    assert parse(["-off", "a", "-"], KNOWN).arguments == ["a", "-"]
    assert parse(["-off", "--", "b"], KNOWN).arguments == ["b"]
    assert parse(["key", "-5", "--- x"], KNOWN).arguments == ["key", "-5", "--- x"]
    assert parse(["--", "key", "-off"], KNOWN).arguments == ["key", "-off"]
    assert parse(["ls", "-l", "--on=false"], KNOWN, child=True).arguments == ["ls", "-l", "--on=false"]
    for words in (["-h"], ["--help"], ["argument", "-h"]):
        with pytest.raises(Usage) as caught:
            parse(words, KNOWN)
        assert str(caught.value) == ""


def test_maps_and_lists_are_not_shared_between_commands() -> None:
    parse(["-list=a", "-map=a=b"], KNOWN)
    assert parse([], KNOWN)["list"] == [] and parse([], KNOWN)["map"] == {}


def test_columns_are_aligned_and_end_without_blanks() -> None:
    assert columns([["Node", "ID"], ["a-long-name", ""], ["b", "1"]]) == [
        "Node         ID",
        "a-long-name",
        "b            1",
    ]
    assert columns([]) == []
