"""The part of HIL, the interpolation language of Consul's templates, that its fields use: `${name}` in a text.

A text is cut into pieces once; what names and calls mean is up to who asks. `$${` stands for a plain `${`. HIL's
arithmetic and conditions are not taken: where Consul has a use for HIL there is nothing to count or to compare.
"""

import re
from typing import NamedTuple

_EXPRESSION = re.compile(r"\s*([A-Za-z_][\w.-]*)\s*(?:(\()\s*(-?\d{1,18})?\s*\))?\s*", re.ASCII)


class HilError(ValueError):
    """A text that is no template; the message says where."""


class Literal(NamedTuple):
    """Text that stands for itself."""

    text: str


class Expression(NamedTuple):
    """`${name}`, or `${name(argument)}` when it is a call; `column` counts characters from 1."""

    name: str
    is_call: bool
    argument: int | None
    column: int


Piece = Literal | Expression


def pieces(text: str) -> tuple[Piece, ...]:
    """Cut a text into its pieces. Raises HilError."""
    found: list[Piece] = []
    at = 0
    while True:
        start = text.find("${", at)
        if start < 0:
            found.append(Literal(text[at:]))
            return tuple(found)
        if start > at and text[start - 1] == "$":
            found.append(Literal(text[at : start - 1] + "${"))
            at = start + 2
            continue
        found.append(Literal(text[at:start]))
        end = text.find("}", start)
        if end < 0:
            raise HilError(f'parse error at 1:{len(text) + 1}: expected "}}" but found end of string')
        found.append(_expression(text[start + 2 : end], start + 3))
        at = end + 1


def _expression(inside: str, column: int) -> Expression:
    found = _EXPRESSION.fullmatch(inside)
    if found is None:
        raise HilError(f"parse error at 1:{column}: invalid expression")
    argument = None if found[3] is None else int(found[3])
    return Expression(found[1], found[2] is not None, argument, column + found.start(1))
