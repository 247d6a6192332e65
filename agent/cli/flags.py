"""Flags in Go's manner: `-flag value`, `-flag=value`, `--flag`, `-flag=false`, and all of them before the arguments."""

import sys
from collections.abc import Callable
from typing import Any

from agent.cli.command import HTTP_FLAGS, Command, Flag

TRUE = ("1", "t", "T", "TRUE", "true", "True")
FALSE = ("0", "f", "F", "FALSE", "false", "False")
HELP = ("h", "help")


class Usage(Exception):
    """The command line is wrong; the text says how. An empty text asks for help."""


class Flags:
    """Parsed flags by name, and the arguments after them."""

    def __init__(self, values: dict[str, Any], arguments: list[str], words: list[str]) -> None:
        self.values = values
        self.arguments = arguments
        self.words = words

    def __getitem__(self, name: str) -> Any:
        return self.values[name]


def parse(words: list[str], known: tuple[Flag, ...], child: bool = False) -> Flags:
    """Split words into flags and arguments; with `child`, what follows the flags may look like flags, too.

    Raises Usage for a flag that is not known or whose value does not fit.
    """
    by_name = {flag.name: flag for flag in known}
    values = defaults(known)
    rest = list(words)
    ended = False
    while rest:
        word = rest[0]
        if not word.startswith("-") or word == "-":
            break
        rest.pop(0)
        if word == "--":
            ended = True
            break
        name, has_value, value = word.removeprefix("-").removeprefix("-").partition("=")
        if not name or name.startswith("-"):
            raise Usage(f"bad flag syntax: {word}")
        flag = by_name.get(name)
        if flag is None:
            if name in HELP:
                raise Usage("")
            raise Usage(f"flag provided but not defined: -{name}")
        if flag.kind == "bool":
            if has_value and value not in (*TRUE, *FALSE):
                raise Usage(f'invalid boolean value "{value}" for -{name}: parse error')
            values[name] = not has_value or value in TRUE
            continue
        if not has_value:
            if not rest:
                raise Usage(f"flag needs an argument: -{name}")
            value = rest.pop(0)
        _take(flag, value, values)
    # Go stops at the first argument: what follows is an argument, such as the value -5. A flag of this very command
    # there was hardly meant as one.
    late = [] if child or ended else [word for word in rest if word.startswith("-")]
    for word in late:
        name = word.removeprefix("-").removeprefix("-").partition("=")[0]
        if name in HELP:
            raise Usage("")
        if name in by_name:
            raise Usage(f"flags must come before arguments: {word} (after -- it counts as an argument)")
    return Flags(values, rest, list(words))


def defaults(known: tuple[Flag, ...]) -> dict[str, Any]:
    """The values of flags that are not given."""
    empty: dict[str, Callable[[], Any]] = {"list": list, "map": dict}
    return {flag.name: empty[flag.kind]() if flag.kind in empty else flag.default for flag in known}


def _take(flag: Flag, value: str, values: dict[str, Any]) -> None:
    """Note the value of one flag. Raises Usage."""
    try:
        if flag.kind == "list":
            values[flag.name].append(value)
        elif flag.kind == "map":
            key, equals, rest = value.partition("=")
            if not equals:
                raise ValueError(f"missing '=' in {value!r}, it must be key=value")
            values[flag.name][key] = rest
        else:
            values[flag.name] = _READERS[flag.kind](value)
    except ValueError as error:
        raise Usage(f'invalid value "{value}" for flag -{flag.name}: {error}') from None


def _int(text: str) -> int:
    """A whole number as Go reads one: decimal, or with 0x, 0o, 0b or a leading 0 in another base."""
    digits = text[1:] if text[:1] in ("+", "-") else text
    old_octal = digits[:1] == "0" and digits[1:].isdigit()
    if len(text) > 80 or not digits[:1].isdigit() or not digits.isascii():
        raise ValueError("parse error")
    try:
        number = int(text, 8 if old_octal else 0)
    except ValueError:
        raise ValueError("parse error") from None
    if not -(1 << 63) <= number < 1 << 63:
        raise ValueError("value out of range")
    return number


def _count(text: str) -> int:
    if text[:1] in ("+", "-"):
        raise ValueError("parse error")
    try:
        return _int(text)
    except ValueError as error:
        if str(error) != "value out of range" or int(text, 0) >= 1 << 64:
            raise
        return int(text, 0)


def _duration(text: str) -> int:
    from model.durations import parse_duration

    return parse_duration(text)


_READERS: dict[str, Callable[[str], Any]] = {"int": _int, "count": _count, "duration": _duration, "text": str}
"""How the texts of flags become values; all raise ValueError."""


def columns(rows: list[list[str]]) -> list[str]:
    """Rows as columns, two blanks apart."""
    widths = [max(len(row[i]) for row in rows if i < len(row)) for i in range(max(map(len, rows), default=0))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip() for row in rows]


def fail(text: str) -> int:
    """Say what went wrong on standard error; returns exit code 1."""
    print(text, file=sys.stderr)
    return 1


def too_many(flags: Flags, allowed: int = 0) -> str:
    """What is wrong when there are more arguments than allowed; "" when there are not."""
    given = len(flags.arguments)
    return f"Too many arguments (expected {allowed}, got {given})" if given > allowed else ""


def write_bytes(*parts: bytes) -> None:
    """Bytes to standard output, in order with what was printed before."""
    sys.stdout.flush()
    for part in parts:
        sys.stdout.buffer.write(part)
    sys.stdout.buffer.flush()


__all__ = [
    "HTTP_FLAGS",
    "Command",
    "Flag",
    "Flags",
    "Usage",
    "columns",
    "defaults",
    "fail",
    "parse",
    "too_many",
    "write_bytes",
]
