"""Numbers and truth values in the query string, read as Go's strconv reads them, with its error texts."""

import re
from typing import NoReturn

from agent.http.routing import HttpError

_TRUE = frozenset(("1", "t", "T", "true", "TRUE", "True"))
_FALSE = frozenset(("0", "f", "F", "false", "FALSE", "False"))


def unsigned(text: str, status: int = 500, prefix: str = "") -> int:
    """A number from 0 up to 2**64-1. Raises HttpError."""
    if not re.fullmatch(r"[0-9]+", text, re.ASCII):
        _refuse("ParseUint", text, "invalid syntax", status, prefix)
    value = int(text) if len(text) < 100 else 1 << 64
    if value >= 1 << 64:
        _refuse("ParseUint", text, "value out of range", status, prefix)
    return value


def signed(text: str, status: int = 500, prefix: str = "") -> int:
    """A number of 64 bits. Raises HttpError."""
    if not re.fullmatch(r"[+-]?[0-9]+", text, re.ASCII):
        _refuse("Atoi", text, "invalid syntax", status, prefix)
    value = int(text) if len(text) < 100 else 1 << 64
    if not -(1 << 63) <= value < 1 << 63:
        _refuse("Atoi", text, "value out of range", status, prefix)
    return value


def truth(text: str, status: int = 500, prefix: str = "") -> bool:
    """True or false; an empty text is false. Raises HttpError."""
    if text and text not in _TRUE and text not in _FALSE:
        _refuse("ParseBool", text, "invalid syntax", status, prefix)
    return text in _TRUE


def _refuse(function: str, text: str, reason: str, status: int, prefix: str) -> NoReturn:
    shown = text.replace("\\", "\\\\").replace('"', '\\"')
    raise HttpError(status, f'{prefix}strconv.{function}: parsing "{shown}": {reason}')
