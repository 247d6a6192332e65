"""Log lines that others have a part in: one line each, bounded, never refused; floods; what nobody expected."""

import json
import logging
import sys

import pytest

from agent.logs import MAX_TEXT, Floods, InternalErrors, Json, Lines


def record(message: str, *arguments: object, failed: bool = False) -> logging.LogRecord:
    try:
        raise ValueError("the\n\udcffreason")
    except ValueError:
        info = sys.exc_info() if failed else None
    return logging.LogRecord("lictor.agent.test", logging.WARNING, "file", 1, message, arguments, info)


@pytest.mark.parametrize("formatter", [Lines(), Json()])
def test_what_others_sent_cannot_forge_a_line(formatter: logging.Formatter) -> None:
    line = formatter.format(record("from %s", "a\n2026-01-01 [INFO] b\x1b[31m\u2028\udcff\x85"))
    assert len(line.splitlines()) == 1
    line.encode("utf-8")
    assert "\x1b" not in line and "2026-01-01 [INFO] b" in line


def test_a_line_is_bounded() -> None:
    line = Lines().format(record("%s", "x" * 100_000))
    assert len(line) < MAX_TEXT + 200 and line.endswith(f"... ({100_000 - MAX_TEXT} more characters)")


def test_what_nobody_expected_says_so_and_is_counted() -> None:
    count = InternalErrors()
    assert count.filter(record("a plain line")) and count.count == 0
    assert count.filter(record("it failed", failed=True)) and count.count == 1
    text = Lines().format(record("it failed", failed=True))
    assert ": internal error: it failed\nTraceback" in text
    text.encode("utf-8")
    body = json.loads(Json().format(record("it failed", failed=True)))
    assert body["@message"] == "internal error: it failed" and "ValueError" in body["stacktrace"]


def test_a_flood_is_cut_off_and_told_of() -> None:
    now = 100.0
    floods = Floods(most=3, seconds=10, clock=lambda: now)
    assert [floods.filter(record("from %d", number)) for number in range(5)] == [True, True, True, False, False]
    assert floods.filter(record("another"))
    now = 111.0
    later = record("from %d", 9)
    assert floods.filter(later)
    assert Lines().format(later).endswith("from 9 (2 more like this were left out)")
    again = record("from %d", 10)
    assert floods.filter(again) and Lines().format(again).endswith("from 10")
