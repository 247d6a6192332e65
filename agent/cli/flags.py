"""Flags in Go's manner: `-flag value`, `-flag=value`, `--flag`, `-flag=false`, and all of them before the arguments."""

import sys
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

from model.durations import parse_duration


class Flag(NamedTuple):
    """A flag; its kind is "text", "int", "count" (not negative), "duration" (in nanoseconds), "bool" or "list"."""

    name: str
    help: str
    kind: str = "text"
    default: Any = ""


class Command(NamedTuple):
    """Where a command lives (module and function), what it does, its flags, whether it speaks HTTP.

    A `raw` command parses its words itself; the arguments of one with a `child` are another command, flags and all.
    """

    module: str
    function: str
    summary: str
    flags: tuple[Flag, ...] = ()
    http: bool = True
    raw: bool = False
    child: bool = False


HTTP_FLAGS = (
    Flag("ca-file", "Path to a CA file to use for TLS. Also CONSUL_CACERT."),
    Flag("ca-path", "Path to a folder of CA certificates. Also CONSUL_CAPATH."),
    Flag("client-cert", "Path to a client certificate. Also CONSUL_CLIENT_CERT."),
    Flag("client-key", "Path to the client certificate's key. Also CONSUL_CLIENT_KEY."),
    Flag("datacenter", "Name of the datacenter to ask."),
    Flag("http-addr", "Address of the agent: host:port, http(s)://…, unix://path. Also CONSUL_HTTP_ADDR."),
    Flag("stale", "Allow any server to answer, not only the leader.", "bool", False),
    Flag("tls-server-name", "Name to expect in the agent's certificate. Also CONSUL_TLS_SERVER_NAME."),
    Flag("token", "ACL token. Also CONSUL_HTTP_TOKEN."),
    Flag("token-file", "File that holds the ACL token. Also CONSUL_HTTP_TOKEN_FILE."),
    Flag("namespace", "Accepted for compatibility."),
    Flag("partition", "Accepted for compatibility."),
)


class Usage(Exception):
    """The command line is wrong; the text says how."""


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

    Raises Usage for a flag that is not known, SystemExit never.
    """
    by_name = {flag.name: flag for flag in known}
    values: dict[str, Any] = {flag.name: [] if flag.kind == "list" else flag.default for flag in known}
    rest = list(words)
    while rest:
        word = rest[0]
        if word == "--":
            rest.pop(0)
            break
        if not word.startswith("-") or word == "-":
            break
        rest.pop(0)
        name, has_value, value = word.lstrip("-").partition("=")
        if name in ("h", "help"):
            raise Usage("")
        flag = by_name.get(name)
        if flag is None:
            raise Usage(f"flag provided but not defined: -{name}")
        if flag.kind == "bool":
            if has_value and value.lower() not in ("true", "false", "1", "0", "t", "f"):
                raise Usage(f'invalid boolean value "{value}" for -{name}: parse error')
            values[name] = not has_value or value.lower() in ("true", "1", "t")
            continue
        if not has_value:
            if not rest:
                raise Usage(f"flag needs an argument: -{name}")
            value = rest.pop(0)
        if flag.kind == "list":
            values[name].append(value)
        elif flag.kind in _NUMBERS:
            try:
                values[name] = _NUMBERS[flag.kind](value)
            except ValueError:
                raise Usage(f'invalid value "{value}" for flag -{name}: parse error') from None
        else:
            values[name] = value
    # Go stops at the first argument: what looks like a flag behind it is one too many.
    late = [word for word in rest if word.startswith("-") and word != "-" and len(word) > 1]
    if late and known is not RAW and not child:
        raise Usage(f"flags must come before arguments: {late[0]}")
    return Flags(values, rest, list(words))


RAW: tuple[Flag, ...] = ()
"""Marks a command that parses its words itself."""


def _count(text: str) -> int:
    number = int(text)
    if not 0 <= number < 1 << 64:
        raise ValueError(text)
    return number


_NUMBERS: dict[str, Callable[[str], int]] = {"int": int, "count": _count, "duration": parse_duration}
"""How the texts of flags become numbers; all raise ValueError."""


def help_of(name: str, summary: str, flags: tuple[Flag, ...]) -> str:
    """The text of `-h`."""
    own = [flag for flag in flags if flag not in HTTP_FLAGS]
    shared = [flag for flag in flags if flag in HTTP_FLAGS]
    lines = [f"Usage: lictor {name}", "", f"  {summary}"]
    for title, group in (("HTTP API Options", shared), ("Command Options", own)):
        if group:
            lines += ["", title]
            for flag in sorted(group, key=lambda item: item.name):
                lines += ["", f"  -{flag.name}" + ("" if flag.kind == "bool" else "=<value>"), f"     {flag.help}"]
    return "\n".join(lines) + "\n"


def columns(rows: list[list[str]]) -> list[str]:
    """Rows as columns, two blanks apart."""
    widths = [max(len(row[i]) for row in rows if i < len(row)) for i in range(max(map(len, rows), default=0))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip() for row in rows]


def fail(text: str) -> int:
    """Say what went wrong on standard error; returns exit code 1."""
    print(text, file=sys.stderr)
    return 1


def quit_with(code: int) -> NoReturn:
    """Leave with an exit code."""
    sys.stdout.flush()
    sys.exit(code)
