"""Regular expressions: Go's syntax and error texts, and time and memory that no pattern can run away with."""

from __future__ import annotations

import multiprocessing

import pytest

from model.filter import FilterError, compile_filter
from model.filter.evaluate import MAX_PATTERNS
from model.goregexp import RegexpError, compile_regexp
from model.structs.catalog import Node

EVIL = (
    ("(a+)+$", "a" * 4000 + "b"),
    ("(x+x+)+y", "x" * 4000),
    ("(a|aa)+$", "a" * 4000 + "b"),
    ("(.*)*(.*)*!", "a" * 4000),
)


def _match_all() -> None:
    for pattern, text in EVIL:
        assert not compile_regexp(pattern).found_in(text), pattern


def test_a_pattern_cannot_take_exponential_time() -> None:
    # In a process of its own: a match that takes years cannot be interrupted otherwise.
    process = multiprocessing.get_context("spawn").Process(target=_match_all)
    process.start()
    process.join(60)
    try:
        assert process.exitcode == 0
    finally:
        process.kill()


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("(", "missing closing ): `(`"),
        ("x[a", "missing closing ]: `[a`"),
        ("a)", "unexpected ): `a)`"),
        ("*", "missing argument to repetition operator: `*`"),
        ("a**", "invalid nested repetition operator: `**`"),
        ("a\\", "trailing backslash at end of expression: ``"),
        ("(?!x)", "invalid or unsupported Perl syntax: `(?!`"),
        ("\\y", "invalid escape sequence: `\\y`"),
        ("[z-a]", "invalid character class range: `z-a`"),
        ("a{1001}", "invalid repeat count: `{1001}`"),
        ("\\pL{900}", "expression too large"),
        ("a" * 1001, "expression is too long"),
    ],
)
def test_a_wrong_pattern_is_refused_with_the_text_of_go(pattern: str, problem: str) -> None:
    with pytest.raises(RegexpError) as caught:
        compile_regexp(pattern)
    assert str(caught.value) == f"error parsing regexp: {problem}"


def test_what_python_does_not_have() -> None:
    assert compile_regexp(r"^[[:alpha:]]+\z").found_in("web")
    assert compile_regexp(r"\p{Greek}").found_in("α")
    assert compile_regexp("(?U)a+").groups("aaa") == ("a",)
    assert not compile_regexp(r"^\d$").found_in("٣")


def test_groups_and_bytes_that_are_no_text() -> None:
    assert compile_regexp(r"(\w+)-(x)?").groups("foo-") == ("foo-", "foo", "")
    assert compile_regexp("y").groups("foo") == ()
    assert compile_regexp("a").found_in("\udcffa\ud800")
    with pytest.raises(RegexpError):
        compile_regexp("\udcff")


def test_a_filter_has_a_bounded_number_of_patterns() -> None:
    def joined(count: int) -> str:
        return " or ".join(f'Node matches "^n{number}$"' for number in range(count))

    assert compile_filter(joined(MAX_PATTERNS), Node)(Node(node="n31"))
    with pytest.raises(FilterError, match="more than 32 regular expressions"):
        compile_filter(f"not ({joined(MAX_PATTERNS + 1)})", Node)
