"""HCL 1, the language of configuration files, to plain dicts, lists, texts, numbers and booleans.

A body is a run of items, and an item is `key = value`, `key { … }` or `key "label" … { … }`. Blocks under one key
add up:

- one block is an object, and several without labels are a list of objects;
- a label is a key of its own, so `key "a" {…}` and `key "b" {…}` are one object with the members `a` and `b`;
- of several plain values under one key the last one stays.

Size and depth are bounded. Every error is an `HclError` that names the line and the column.
"""

import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple, NoReturn

from model.config_json import MAX_DEPTH, HclError, parse_json_text

MAX_HCL = 1 << 20
"""Characters that a text may have."""

_BLANK = re.compile(r"(?:[ \t\r\n]+|(?:\#|//)[^\n]*|/\*.*?\*/)+", re.DOTALL)
_IDENTIFIER = re.compile(r"[^\W\d][\w.\-]*")
_NUMBER = re.compile(r"-?(?:0x[0-9a-f]+|[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?)", re.IGNORECASE | re.ASCII)
_NUMBER_END = re.compile(r"[\w.]")
_HEREDOC = re.compile(r"<<(-?)([^\W\d]\w*)\r?\n")
_PLAIN_TEXT = re.compile(r'[^"\\\n$\x00]+')
_ESCAPE = re.compile(r"\\(?:([abfnrtv\\\"])|([0-7]{3})|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8}))")
_SIMPLE_ESCAPES = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "\\": "\\",
    '"': '"',
}
_INT64 = 1 << 63
MAX_DIGITS = 100
"""Digits of a whole number; beyond, it is not even computed."""


def parse_hcl(text: str) -> dict[str, Any]:
    """Parse HCL 1, or JSON if the text begins with a brace. Raises HclError."""
    if len(text) > MAX_HCL:
        raise HclError(f"the text has {len(text)} characters, {MAX_HCL} at most")
    text = text.removeprefix("\ufeff")
    if text.lstrip()[:1] == "{":
        return parse_json_text(text)
    return _Parser(text).file()


class _Token(NamedTuple):
    """A piece of the text: `kind` is "name", "text", "number" (both with a `value`), a sign such as "{", or "end"."""

    kind: str
    value: Any
    at: int

    def __str__(self) -> str:
        if self.kind == "end":
            return "the end of the text"
        return repr(self.value) if self.kind in ("text", "number", "name") else f"'{self.kind}'"


def _fail(text: str, at: int, problem: str) -> NoReturn:
    line = text.count("\n", 0, at) + 1
    column = at - (text.rfind("\n", 0, at) + 1) + 1
    raise HclError(f"line {line}, column {column}: {problem}")


def _tokens(text: str) -> Iterator[_Token]:
    """The tokens of a text, one "end" last. Raises HclError."""
    at = 0
    while True:
        if blank := _BLANK.match(text, at):
            at = blank.end()
        if at == len(text):
            yield _Token("end", None, at)
            return
        start, sign = at, text[at]
        if sign in "{}[]=,":
            at += 1
            yield _Token(sign, sign, start)
        elif sign == '"':
            value, at = _quoted(text, start)
            yield _Token("text", value, start)
        elif heredoc := _HEREDOC.match(text, at):
            value, at = _heredoc(text, start, heredoc)
            yield _Token("text", value, start)
        elif number := _NUMBER.match(text, at):
            at = number.end()
            if _NUMBER_END.match(text, at):
                _fail(text, start, f"malformed number {text[start : at + 1]!r}")
            yield _Token("number", _number(text, start, number.group()), start)
        elif identifier := _IDENTIFIER.match(text, at):
            at = identifier.end()
            yield _Token("name", identifier.group(), start)
        else:
            _fail(text, at, _stray(text, at))


def _stray(text: str, at: int) -> str:
    """What is wrong with a character that begins no token."""
    if text.startswith("/*", at):
        return "the comment is not closed"
    if text.startswith("<<", at):
        return "a heredoc begins with '<<' or '<<-', its mark and a line's end"
    if text[at] == ":":
        return "unexpected ':': use '=' between a key and its value"
    return f"unexpected character {text[at]!r}"


def _number(text: str, at: int, digits: str) -> int | float:
    """The value of a number; a leading zero means octal. Raises HclError."""
    unsigned = digits.lstrip("-")
    if unsigned[:2].lower() != "0x" and not unsigned.isdigit():
        fraction = float(digits)
        if math.isinf(fraction):
            _fail(text, at, f"the number {digits[:40]} is too large")
        return fraction
    base = 16 if unsigned[:2].lower() == "0x" else 8 if unsigned[0] == "0" else 10
    if base == 8 and unsigned.strip("01234567"):
        _fail(text, at, f"malformed number {digits[:40]!r}: with a leading zero it is octal")
    value = int(digits, base) if len(digits) <= MAX_DIGITS else _INT64
    if not -_INT64 <= value < _INT64:
        _fail(text, at, f"the number {digits[:40]} does not fit into 64 bits")
    return value


def _quoted(text: str, start: int) -> tuple[str, int]:
    """A text in double quotes, and where it ends. `${…}` stays as it is written. Raises HclError."""
    parts: list[str] = []
    at = start + 1
    while at < len(text):
        if plain := _PLAIN_TEXT.match(text, at):
            parts.append(plain.group())
            at = plain.end()
        elif text[at] == '"':
            return "".join(parts), at + 1
        elif text[at] == "\\":
            value, at = _escape(text, at)
            parts.append(value)
        elif text[at] == "$":
            end = _interpolation_end(text, at) if text.startswith("${", at) else at + 1
            parts.append(text[at:end])
            at = end
        elif text[at] == "\n":
            break
        else:
            _fail(text, at, f"unexpected character {text[at]!r}")
    _fail(text, start, "the text is not closed: a '\"' is missing on its line")


def _escape(text: str, at: int) -> tuple[str, int]:
    found = _ESCAPE.match(text, at)
    if not found:
        _fail(text, at, f"unknown escape {text[at : at + 2]!r}")
    simple, octal, *hexadecimal = found.groups()
    if simple:
        return _SIMPLE_ESCAPES[simple], found.end()
    code = int(octal, 8) if octal else int(next(digits for digits in hexadecimal if digits), 16)
    if code > 0x10FFFF or 0xD800 <= code < 0xE000:
        _fail(text, at, f"{found.group()!r} is no Unicode character")
    return chr(code), found.end()


def _interpolation_end(text: str, start: int) -> int:
    """Where a `${` is closed again; braces and quotes inside do not count for the text around."""
    depth = 0
    for sign in re.compile(r"[{}]").finditer(text, start):
        depth += 1 if sign.group() == "{" else -1
        if not depth:
            return sign.end()
    _fail(text, start, "the '${' is not closed")


def _heredoc(text: str, start: int, opening: re.Match[str]) -> tuple[str, int]:
    """The lines before the mark's own, and where that ends. After `<<-` its indentation goes off if all have it."""
    indented, mark = opening.groups()
    closing = re.compile(rf"^([ \t]*){mark}\r?$", re.MULTILINE).search(text, opening.end())
    if not closing:
        _fail(text, start, f"the heredoc is not closed: no line with {mark} alone")
    body, indentation = text[opening.end() : closing.start()], closing.group(1)
    if indented and indentation:
        *lines, rest = body.split("\n")
        if all(line.startswith(indentation) for line in lines):
            body = "\n".join([*(line[len(indentation) :] for line in lines), rest])
    return body, closing.end()


class _Parser:
    """Recursive descent over the tokens, `MAX_DEPTH` deep at most."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _tokens(text)
        self._next = next(self._tokens)

    def file(self) -> dict[str, Any]:
        """The whole text."""
        return self._body("end", 1)

    def _take(self) -> _Token:
        taken = self._next
        if taken.kind != "end":
            self._next = next(self._tokens)
        return taken

    def _expected(self, what: str) -> NoReturn:
        _fail(self._text, self._next.at, f"expected {what}, found {self._next}")

    def _body(self, end: str, depth: int) -> dict[str, Any]:
        """Items up to the token that ends them."""
        if depth > MAX_DEPTH:
            _fail(self._text, self._next.at, f"nested more than {MAX_DEPTH} levels deep")
        found: dict[str, Any] = {}
        while self._next.kind != end:
            self._item(found, depth)
            if self._next.kind == ",":
                self._take()
        self._take()
        return found

    def _item(self, body: dict[str, Any], depth: int) -> None:
        if self._next.kind not in ("name", "text"):
            self._expected("a key")
        key = str(self._take().value)
        labels: list[str] = []
        while self._next.kind in ("name", "text"):
            if depth + len(labels) >= MAX_DEPTH:
                _fail(self._text, self._next.at, f"nested more than {MAX_DEPTH} levels deep")
            labels.append(str(self._take().value))
        if self._next.kind == "=" and not labels:
            self._take()
            value = self._value(depth)
        elif self._next.kind == "{":
            value = self._value(depth + len(labels))
        else:
            self._expected("'{' after the labels" if labels else f"'=' or '{{' after the key {key!r}")
        _add(body, [key, *labels], value)

    def _value(self, depth: int) -> Any:
        token = self._next
        if token.kind == "{":
            self._take()
            return self._body("}", depth + 1)
        if token.kind == "[":
            self._take()
            return self._list(depth + 1)
        if token.kind in ("text", "number") or token.value in ("true", "false"):
            self._take()
            return token.value == "true" if token.kind == "name" else token.value
        return self._expected("a value")

    def _list(self, depth: int) -> list[Any]:
        if depth > MAX_DEPTH:
            _fail(self._text, self._next.at, f"nested more than {MAX_DEPTH} levels deep")
        found: list[Any] = []
        while self._next.kind != "]":
            found.append(self._value(depth))
            if self._next.kind == ",":
                self._take()
            elif self._next.kind != "]":
                self._expected("',' or ']' in the list")
        self._take()
        return found


def _add(body: dict[str, Any], path: list[str], value: Any) -> None:
    """Put a value below a key and its labels, beside the blocks that are there."""
    key, *labels = path
    there = body.get(key)
    blocks = isinstance(there, list) and all(isinstance(block, dict) for block in there)
    if labels and isinstance(there, dict):
        _add(there, labels, value)
        return
    for label in reversed(labels):
        value = {label: value}
    if isinstance(value, dict) and isinstance(there, dict):
        body[key] = [there, value]
    elif isinstance(value, dict) and isinstance(there, list) and blocks:
        there.append(value)
    else:
        body[key] = value
