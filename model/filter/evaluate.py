"""Filter expressions against structs: which selectors there are, which comparisons fit, and the answer for a row."""

import functools
import re
import typing
from collections.abc import Callable
from typing import Any

from model.codec import Field, Wire, fields_of, unwrap
from model.filter import grammar
from model.filter.errors import FilterError
from model.filter.grammar import Every, Match, Not, Tree
from model.goregexp import RegexpError, compile_regexp
from model.gotime import GoTime

Test = Callable[[Any], bool]

_HIDDEN = frozenset(("CreateIndex", "ModifyIndex", "Definition", "SidecarService", "PeerMeta", "Hash"))
"""Fields that no filter sees, whatever struct they are in."""
_MISSING = object()
MAX_PATTERNS = 32
"""Regular expressions in one filter: less than are kept compiled."""
_TRUE = frozenset(("1", "t", "T", "true", "TRUE", "True"))
_FALSE = frozenset(("0", "f", "F", "false", "FALSE", "False"))
_INTEGER = re.compile(r"[+-]?(0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]*|[1-9][0-9]*)", re.ASCII)


@functools.lru_cache(maxsize=128)
def compile_filter(expression: str, cls: type[Wire]) -> Test:
    """A function that says whether a struct of type `cls` fits the expression.

    Selectors are the Go names of fields. Raises FilterError with Consul's text.
    """
    tree = grammar.parse(expression)
    if _patterns(tree) > MAX_PATTERNS:
        raise FilterError(f"the expression has more than {MAX_PATTERNS} regular expressions")
    return _compile(tree, cls)


def _patterns(tree: Tree) -> int:
    """How many regular expressions there are in an expression."""
    if isinstance(tree, Match):
        return tree.operator in (grammar.MATCHES, grammar.NOT_MATCHES)
    return sum(map(_patterns, (tree.operand,) if isinstance(tree, Not) else tree.operands))


def _compile(tree: Tree, cls: type[Wire]) -> Test:
    if isinstance(tree, Match):
        return _compile_match(tree, cls, 0)
    if isinstance(tree, Not):
        operand = _compile(tree.operand, cls)
        return lambda row: not operand(row)
    operands = [_compile(part, cls) for part in tree.operands]
    if isinstance(tree, Every):
        return lambda row: all(test(row) for test in operands)
    return lambda row: any(test(row) for test in operands)


def _invalid(match: Match, depth: int) -> FilterError:
    return FilterError(f'Selector "{".".join(match.selector[: depth + 1])}" is not valid')


def _visible(field: Field) -> bool:
    if field.name in _HIDDEN or field.hidden or field.kind in (Any, GoTime, bytes):
        return False
    return not (typing.get_origin(field.kind) is dict and _element(field.kind, 1) is Any)


def _element(kind: Any, position: int) -> Any:
    return unwrap(typing.get_args(kind)[position], [])[0]


def _compile_match(match: Match, kind: Any, depth: int) -> Test:
    """A test of a value of a kind, where `depth` names of the selector are behind us."""
    origin = typing.get_origin(kind)
    if depth == len(match.selector):
        return _compile_operator(match, kind, origin)
    if isinstance(kind, type) and issubclass(kind, Wire):
        name = match.selector[depth]
        field = next((field for field in fields_of(kind) if field.name == name and _visible(field)), None)
        if field is None:
            raise _invalid(match, depth)
        attribute, inner = field.attribute, _compile_match(match, field.kind, depth + 1)
        optional_struct = field.optional and isinstance(field.kind, type) and issubclass(field.kind, Wire)

        def test_field(row: Any) -> bool:
            value = getattr(row, attribute)
            if value is None and optional_struct:
                return _of_missing(match)
            return inner(value)

        return test_field
    if origin is list and not _is_scalar(_element(kind, 0)):
        inner = _compile_match(match, _element(kind, 0), depth)
        return lambda rows: any(inner(row) for row in rows or ())
    if origin is dict:
        name = match.selector[depth]
        inner = _compile_match(match, _element(kind, 1), depth + 1)

        def test_value(values: Any) -> bool:
            value = (values or {}).get(name, _MISSING)
            return _of_missing(match) if value is _MISSING else inner(value)

        return test_value
    raise _invalid(match, depth)


def _of_missing(match: Match) -> bool:
    """What a comparison with a key that is not there says."""
    return match.operator not in (grammar.EQUAL, grammar.IN, grammar.IS_NOT_EMPTY)


def _is_scalar(kind: Any) -> bool:
    return kind in (str, int, bool, float)


def _compile_operator(match: Match, kind: Any, origin: Any) -> Test:
    operator = match.operator
    test: Test | None = None
    if kind is str:
        test = _text_test(match)
    elif kind in (int, float, bool):
        if operator in (grammar.EQUAL, grammar.NOT_EQUAL):
            wanted = _coerce(match, kind)
            test = lambda value: value == wanted  # noqa: E731
    elif origin in (list, dict):
        if operator in (grammar.IS_EMPTY, grammar.IS_NOT_EMPTY):
            test = lambda values: not values  # noqa: E731
        elif operator in (grammar.IN, grammar.NOT_IN) and (origin is dict or _is_scalar(_element(kind, 0))):
            element = str if origin is dict else _element(kind, 0)
            member = match.value if element is str else _coerce(match, element)
            test = lambda values: member in (values or ())  # noqa: E731
    if test is None:
        raise FilterError(f'Invalid match operator "{operator}" for selector "{".".join(match.selector)}"')
    if operator in (grammar.NOT_EQUAL, grammar.NOT_IN, grammar.IS_NOT_EMPTY, grammar.NOT_MATCHES):
        positive = test
        return lambda value: not positive(value)
    return test


def _text_test(match: Match) -> Test | None:
    wanted = match.value
    if match.operator in (grammar.EQUAL, grammar.NOT_EQUAL):
        return lambda text: bool(text == wanted)
    if match.operator in (grammar.IN, grammar.NOT_IN):
        return lambda text: wanted in text
    if match.operator in (grammar.MATCHES, grammar.NOT_MATCHES):
        try:
            compile_regexp(wanted)
        except RegexpError as error:
            raise FilterError(f'Failed to compile regular expression "{wanted}": {error}') from None
        # Looked up at each row: programs are kept, and bounded, in one place, not once for every kept filter.
        return lambda text: compile_regexp(wanted).found_in(text)
    return None


def _coerce(match: Match, kind: Any) -> int | float | bool:
    """The value of a comparison with a number or a boolean."""
    text = match.value
    if kind is bool:
        if text in _TRUE:
            return True
        if text in _FALSE:
            return False
        function = "ParseBool"
    elif kind is int:
        if _INTEGER.fullmatch(text):
            sign = -1 if text.startswith("-") else 1
            digits = text.lstrip("+-")
            octal = len(digits) > 1 and digits[0] == "0" and digits[1] in "01234567"
            return sign * (int(digits, 8) if octal else int(digits, 0))
        function = "ParseInt"
    else:
        try:
            return float(text)
        except ValueError:
            function = "ParseFloat"
    raise FilterError(
        f'Failed to coerce value "{text}" for selector "{".".join(match.selector)}": '
        f'strconv.{function}: parsing "{text}": invalid syntax'
    )
