"""The grammar of filter expressions: text in, a tree of comparisons out.

Source: the public description of Consul's filtering, and the recorded texts of its errors, which name the position of
the first character that fits nothing and everything that would have fitted there. So that these come out the same, the
grammar is written as Consul's must be: ordered choices that try one form after the other. Results are remembered by
rule and position, which keeps the work linear.
"""

import re
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from model.filter.errors import FilterError

MAX_LENGTH = 16 << 10
MAX_DEPTH = 40

EQUAL, NOT_EQUAL = "Equal", "Not Equal"
IN, NOT_IN = "In", "Not In"
IS_EMPTY, IS_NOT_EMPTY = "Is Empty", "Is Not Empty"
MATCHES, NOT_MATCHES = "Matches", "Not Matches"


class Match(NamedTuple):
    """A comparison of what a selector finds with a value."""

    selector: tuple[str, ...]
    operator: str
    value: str = ""


class Not(NamedTuple):
    """The opposite."""

    operand: "Tree"


class Every(NamedTuple):
    """Comparisons joined by `and`."""

    operands: tuple["Tree", ...]


class Any(NamedTuple):
    """Comparisons joined by `or`."""

    operands: tuple["Tree", ...]


Tree = Match | Not | Every | Any
T = TypeVar("T")
Parsed = tuple[T, int] | None
"""What a rule found and where it ended; None when it does not fit."""

_SPACE = "[ \\t\\r\\n]"
_SPACES = re.compile(r"[ \t\r\n]+")
_IDENTIFIER = re.compile(r"[a-zA-Z][a-zA-Z0-9_]*")
_INTEGER = re.compile(r"0|[1-9][0-9]*")
_FRACTION = re.compile(r"\.[0-9]+")
_SELECTOR_OPERATORS = (
    (("==",), EQUAL, False),
    (("!=",), NOT_EQUAL, False),
    (("contains",), IN, True),
    (("not", "contains"), NOT_IN, True),
    (("matches",), MATCHES, True),
    (("not", "matches"), NOT_MATCHES, True),
)


def parse(text: str) -> Tree:
    """Read an expression. Raises FilterError."""
    if len(text) > MAX_LENGTH:
        raise FilterError(f"the expression is longer than {MAX_LENGTH} characters")
    return _Parser(text).parse()


class _Parser:
    """One parse: where it got, what would have fitted there, and what rules complained about."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._furthest = 0
        self._expected: set[str] = set()
        self._complaints: dict[str, None] = {}
        self._memo: dict[tuple[str, int], Parsed[object]] = {}
        self._depth = 0

    def parse(self) -> Tree:
        """The tree of the whole text."""
        found = self._or(self._maybe_space(0))
        if found is not None:
            tree, at = found
            at = self._maybe_space(at)
            if at == len(self._text) and not self._complaints:
                return tree
            if at < len(self._text):
                self._fail(at, "EOF")
        if self._complaints:
            raise FilterError("\n".join(self._complaints))
        expected = sorted(self._expected - {"EOF"}) + ["EOF"] * ("EOF" in self._expected)
        listed = " or ".join([", ".join(expected[:-1]), expected[-1]] if len(expected) > 1 else expected)
        raise FilterError(f"{self._place(self._furthest)}: no match found, expected: {listed}")

    def _place(self, at: int) -> str:
        line = self._text.count("\n", 0, at) + 1
        column = at - (self._text.rfind("\n", 0, at) + 1) + 1
        return f"{line}:{column} ({len(self._text[:at].encode('utf-8', 'surrogateescape'))})"

    def _fail(self, at: int, expected: str) -> None:
        if at > self._furthest:
            self._furthest = at
            self._expected.clear()
        if at == self._furthest:
            self._expected.add(expected)

    def _complain(self, at: int, rule: str, text: str) -> None:
        self._complaints[f'{self._place(at)}: rule "{rule}": {text}'] = None

    def _remembered(self, rule: str, at: int, work: Callable[[int], Parsed[T]]) -> Parsed[T]:
        key = (rule, at)
        if key not in self._memo:
            self._depth += 1
            if self._depth > MAX_DEPTH * 3:
                raise FilterError("the expression is nested too deeply")
            self._memo[key] = work(at)
            self._depth -= 1
        return self._memo[key]  # type: ignore[return-value]

    # Words and space

    def _word(self, at: int, word: str) -> int | None:
        if self._text.startswith(word, at):
            return at + len(word)
        quoted = word.replace('"', '\\"')
        self._fail(at, f'"{quoted}"')
        return None

    def _space(self, at: int) -> int | None:
        found = _SPACES.match(self._text, at)
        end = found.end() if found else at
        self._fail(end, _SPACE)
        return end if found else None

    def _maybe_space(self, at: int) -> int:
        end = self._space(at)
        return at if end is None else end

    def _words(self, at: int, words: tuple[str, ...]) -> int | None:
        """Words, each after some space."""
        for word in words:
            after = self._space(at)
            end = None if after is None else self._word(after, word)
            if end is None:
                return None
            at = end
        return at

    # Expressions

    def _or(self, at: int) -> Parsed[Tree]:
        return self._remembered("or", at, lambda start: self._chain(start, self._and, "or", Any))

    def _and(self, at: int) -> Parsed[Tree]:
        return self._remembered("and", at, lambda start: self._chain(start, self._not, "and", Every))

    def _chain(
        self,
        at: int,
        operand: Callable[[int], Parsed[Tree]],
        word: str,
        make: Callable[[tuple[Tree, ...]], Tree],
    ) -> Parsed[Tree]:
        operands: list[Tree] = []
        end = at
        start: int | None = at
        while start is not None:
            found = operand(start)
            if found is None:
                break
            operands.append(found[0])
            end = found[1]
            after = self._words(end, (word,))
            start = None if after is None else self._space(after)
        if not operands:
            return None
        return operands[0] if len(operands) == 1 else make(tuple(operands)), end

    def _not(self, at: int) -> Parsed[Tree]:
        return self._remembered("not", at, self._negation)

    def _negation(self, at: int) -> Parsed[Tree]:
        end = self._word(at, "not")
        after = None if end is None else self._space(end)
        operand = None if after is None else self._not(after)
        return (Not(operand[0]), operand[1]) if operand is not None else self._grouping(at)

    def _grouping(self, at: int) -> Parsed[Tree]:
        start = self._word(at, "(")
        inside = None if start is None else self._or(self._maybe_space(start))
        if inside is None:
            return self._comparison(at)
        closing = self._maybe_space(inside[1])
        end = self._word(closing, ")")
        if end is None:
            self._complain(closing, "grouping", "Unmatched parentheses")
            return None
        return inside[0], end

    # Comparisons

    def _comparison(self, at: int) -> Parsed[Tree]:
        selector = self._selector(at)
        if selector is not None:
            path, after = selector
            for words, operator, spaced in _SELECTOR_OPERATORS:
                end = self._words(after, words) if spaced else self._word(self._maybe_space(after), words[0])
                if end is None:
                    continue
                start = self._space(end) if spaced else self._maybe_space(end)
                value = None if start is None else self._value(start)
                if value is not None:
                    return Match(path, operator, value[0]), value[1]
            for form, operator in ((("is", "empty"), IS_EMPTY), (("is", "not", "empty"), IS_NOT_EMPTY)):
                end = self._words(after, form)
                if end is not None:
                    return Match(path, operator), end
        value = self._value(at)
        if value is None:
            return None
        for membership, operator in ((("in",), IN), (("not", "in"), NOT_IN)):
            end = self._words(value[1], membership)
            start = None if end is None else self._space(end)
            found = None if start is None else self._selector(start)
            if found is not None:
                return Match(found[0], operator, value[0]), found[1]
        return None

    def _selector(self, at: int) -> Parsed[tuple[str, ...]]:
        return self._remembered("selector", at, self._path)

    def _path(self, at: int) -> Parsed[tuple[str, ...]]:
        first = self._identifier(at)
        if first is None:
            return None
        names, at = [first[0]], first[1]
        while True:
            dot = self._word(at, ".")
            found = self._identifier(dot) if dot is not None else self._index(at)
            if found is None:
                return tuple(names), at
            names.append(found[0])
            at = found[1]

    def _identifier(self, at: int) -> Parsed[str]:
        found = _IDENTIFIER.match(self._text, at)
        if found is None:
            self._fail(at, "[a-zA-Z]")
            return None
        self._fail(found.end(), "[a-zA-Z0-9_]")
        return found[0], found.end()

    def _index(self, at: int) -> Parsed[str]:
        start = self._word(at, "[")
        if start is None:
            return None
        start = self._maybe_space(start)
        found = self._string(start)
        if found is None:
            self._complain(start, "index", "Invalid index")
            return None
        closing = self._maybe_space(found[1])
        end = self._word(closing, "]")
        if end is None:
            self._complain(closing, "index", "Unclosed index expression")
            return None
        return found[0], end

    # Values

    def _value(self, at: int) -> Parsed[str]:
        return self._remembered("value", at, self._any_value)

    def _any_value(self, at: int) -> Parsed[str]:
        selector = self._selector(at)
        if selector is not None:
            return ".".join(selector[0]), selector[1]
        return self._number(at) or self._string(at)

    def _number(self, at: int) -> Parsed[str]:
        sign = self._word(at, "-")
        start = at if sign is None else sign
        whole = _INTEGER.match(self._text, start)
        if whole is None:
            self._fail(start, '"0"')
            self._fail(start, "[1-9]")
            return None
        fraction = _FRACTION.match(self._text, whole.end())
        end = fraction.end() if fraction else whole.end()
        if end < len(self._text) and self._text[end] not in " \t\r\n)":
            self._complain(end, "number", "Invalid number literal")
            return None
        return self._text[at:end], end

    def _string(self, at: int) -> Parsed[str]:
        for quote in ("`", '"'):
            start = self._word(at, quote)
            if start is None:
                continue
            end = self._text.find(quote, start)
            if end < 0:
                self._complain(len(self._text), "string", "Unterminated string literal")
                return None
            inside = self._text[start:end]
            if quote == "`":
                return inside.replace("\r", ""), end + 1
            unquoted = unquote(inside)
            if unquoted is None:
                self._complain(at, "string", "invalid syntax")
                return None
            return unquoted, end + 1
        return None


_ESCAPE = re.compile(
    r"\\(?:([abfnrtv\\\"])|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3}))", re.ASCII
)
_SIMPLE = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"'}


def unquote(inside: str) -> str | None:
    """What a double-quoted Go string stands for; None when it is not one."""
    if "\n" in inside:
        return None
    pieces: list[bytes] = []
    at = 0
    while True:
        backslash = inside.find("\\", at)
        if backslash < 0:
            pieces.append(inside[at:].encode("utf-8", "surrogateescape"))
            return b"".join(pieces).decode("utf-8", "surrogateescape")
        pieces.append(inside[at:backslash].encode("utf-8", "surrogateescape"))
        found = _ESCAPE.match(inside, backslash)
        if found is None:
            return None
        simple, byte, short, long, octal = found.groups()
        if simple:
            pieces.append(_SIMPLE[simple].encode())
        elif byte or octal:
            number = int(byte, 16) if byte else int(octal, 8)
            if number > 255:
                return None
            pieces.append(bytes((number,)))
        else:
            code = int(short or long, 16)
            if code > 0x10FFFF or 0xD800 <= code < 0xE000:
                return None
            pieces.append(chr(code).encode())
        at = found.end()
