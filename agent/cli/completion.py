"""What a shell may offer when the user presses Tab.

A shell asks by running `lictor` with the line in COMP_LINE and the cursor's place in it in COMP_POINT, as `complete -C`
of bash does; each line of the answer is one word to offer. What words there are comes from the table of commands. Names
that only the agent knows (keys, services, nodes …) are asked of it, with the line's own -http-addr and -token, and with
little patience. They may have been chosen by anybody, so what a shell would not take as plain text is escaped.
"""

import os
import shlex
import string
from collections.abc import Callable, Iterable
from typing import Any

from agent.cli.command import Command, Flag
from agent.cli.flags import FALSE, TRUE, Flags, defaults
from agent.cli.run import HELP_FLAGS, find
from agent.cli.tables import COMMANDS, GROUPS, subcommands

PATIENCE = 0.5
"""Seconds that the agent has for an answer."""
MOST = 500
"""Names that are offered at most."""
ESCAPES = "LICTOR_COMPLETE_RAW"
"""The environment variable of shells that escape by themselves what they are offered."""
_PLAIN = frozenset(string.ascii_letters + string.digits + "_./-:=@%+,~")


def answer(words: list[str]) -> int:
    """Print what may stand at the end of COMP_LINE; words[1], if there, is the part of it that the shell replaces."""
    line = os.environ.get("COMP_LINE", "")
    point = os.environ.get("COMP_POINT", "")
    if point.isdigit():
        # The point counts bytes.
        line = os.fsencode(line)[: int(point)].decode("utf-8", "surrogateescape")
    given = split(line)
    if len(given) < 2:
        return 0
    current = given[-1]
    replaced = words[1] if len(words) > 1 else current
    # A shell may take `=` or `:` for the beginning of a word and replace only what follows it.
    kept = len(current) - len(replaced) if replaced and current.endswith(replaced) else 0
    if not replaced and current.endswith(("=", ":")):
        kept = len(current)
    for word in sorted(set(offers(given[1:-1], current)))[:MOST]:
        shown = escaped(word[kept:])
        if shown:
            print(shown)
    return 0


def split(line: str) -> list[str]:
    """The words of a line, the last of them the one at the cursor (which may be empty). Quotes may be open."""
    for closing in ("", '"', "'"):
        lexer = shlex.shlex(line + closing, posix=True, punctuation_chars=False)
        lexer.whitespace_split, lexer.commenters = True, ""
        try:
            words = list(lexer)
        except ValueError:
            continue
        return [*words, ""] if not closing and (not line or line[-1].isspace()) else words
    return []


def escaped(word: str) -> str:
    """A word so that a shell takes it as it is; "" for one that no line can hold."""
    if not word.isprintable():
        return ""
    if os.environ.get(ESCAPES):
        return word
    return "".join(one if one in _PLAIN or ord(one) > 127 else f"\\{one}" for one in word)


def offers(before: list[str], current: str) -> Iterable[str]:
    """The words that may stand at the cursor, after the words before it."""
    name, rest = find(before)
    if name not in COMMANDS:
        found = subcommands(name) if not rest and (name in GROUPS or not before) else {}
        extra = () if name or before else ("-help", "-version")
        return [word for word in (*found, *extra) if word.startswith(current) and (current or word[0] != "-")]
    command = COMMANDS[name]
    flags, arguments, pending = taken(command, rest)
    if pending is not None:
        return values(pending.names or _of_kind(pending), current, flags)
    if arguments is None and current.startswith("-"):
        stem, equals, text = current.partition("=")
        flag = flags_of(command).get(stem.lstrip("-"))
        if equals:
            found_values = values(flag.names or _of_kind(flag), text, flags) if flag is not None else ()
            return [f"{stem}={one}" for one in found_values]
        dashes = "--" if stem.startswith("--") else "-"
        return [dashes + one for one in (*flags_of(command), "help") if (dashes + one).startswith(current)]
    position = len(arguments or ())
    hints = command.names
    return values(hints[min(position, len(hints) - 1)] if hints else "", current, flags)


def flags_of(command: Command) -> dict[str, Flag]:
    """All flags of a command by name; those of `agent` have a table of their own."""
    if command.raw:
        from agent.config.keys import FLAGS

        kinds = {"config-dir": "file", "config-file": "file", "data-dir": "file", "log-file": "file", "dev": "bool"}
        names = (*FLAGS, "config-dir", "config-file", "config-format", "dev")
        kind_of = {name: row[1] for name, row in FLAGS.items()} | {"dev": "bool"}
        return {one: Flag(one, "", kind_of.get(one, "text"), names=kinds.get(one, "")) for one in sorted(names)}
    return {flag.name: flag for flag in command.flags + command.shared}


def _of_kind(flag: Flag) -> str:
    return "|true|false|" if flag.kind == "bool" else ""


def taken(command: Command, words: list[str]) -> tuple[Flags, list[str] | None, Flag | None]:
    """What the words before the cursor say: flags, arguments if any have begun, and a flag that waits for its value."""
    known = flags_of(command)
    found = Flags(defaults(tuple(known.values())), [], words)
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-") or word == "-":
            return found, [word, *rest], None
        if word == "--":
            return found, rest, None
        name, equals, value = word.lstrip("-").partition("=")
        flag = known.get(name)
        if flag is None or word in HELP_FLAGS:
            continue
        if flag.kind == "bool":
            found.values[name] = not equals or value in TRUE or value not in FALSE
            continue
        if not equals:
            if not rest:
                return found, None, flag
            value = rest.pop(0)
        if flag.kind == "text":
            found.values[name] = value
    return found, None, None


def values(hint: str, current: str, flags: Flags) -> list[str]:
    """The values that a hint stands for and that begin as the current word does."""
    if hint.startswith("|"):
        return [word for word in hint.split("|") if word and word.startswith(current)]
    if hint in ("file", "command"):
        return files(current)
    if hint == "data":
        return [f"@{one}" for one in files(current[1:])] if current.startswith("@") else []
    ask = NAMES.get(hint)
    if ask is None:
        return []
    from agent.cli.client import Api, ApiError, Problem

    try:
        names = ask(Api(flags, timeout=PATIENCE), current, flags)
    except (ApiError, Problem, TypeError, KeyError, AttributeError, ValueError):
        return []
    return [name for name in names if name.startswith(current)]


def files(current: str) -> list[str]:
    """Files and folders (with a slash) whose path begins with the current word."""
    folder, slash, beginning = current.rpartition("/")
    try:
        with os.scandir(os.path.expanduser(folder + slash) or ".") as found:
            return [
                folder + slash + one.name + ("/" if one.is_dir() else "")
                for one in found
                if one.name.startswith(beginning) and (beginning or not one.name.startswith("."))
            ]
    except (OSError, ValueError):
        return []


# What the agent knows


def _keys(api: Any, current: str, flags: Flags) -> list[str]:
    # Up to the next slash, so that keys complete as files in folders do.
    folder = current.rpartition("/")[0]
    prefix = f"{folder}/" if folder else ""
    return list(api.get(f"/v1/kv/{prefix}", keys=True, separator="/") or ())


def _services(api: Any, current: str, flags: Flags) -> list[str]:
    return list(api.get("/v1/catalog/services"))


def _service_ids(api: Any, current: str, flags: Flags) -> list[str]:
    return list(api.get("/v1/agent/services"))


def _nodes(api: Any, current: str, flags: Flags) -> list[str]:
    return [row["Node"] for row in api.get("/v1/catalog/nodes")]


def _members(api: Any, current: str, flags: Flags) -> list[str]:
    return [row["Name"] for row in api.get("/v1/agent/members")]


def _datacenters(api: Any, current: str, flags: Flags) -> list[str]:
    return list(api.get("/v1/catalog/datacenters"))


def _events(api: Any, current: str, flags: Flags) -> list[str]:
    return [row["Name"] for row in api.get("/v1/event/list")]


def _entries(api: Any, current: str, flags: Flags) -> list[str]:
    rows = api.get(f"/v1/config/{flags['kind']}") if flags.values.get("kind") else ()
    return [row.get("Name") or "mesh" for row in rows or ()]


def _peers(api: Any, current: str, flags: Flags) -> list[str]:
    return [row["Name"] for row in api.get("/v1/peerings") or ()]


def _field(path: str, field: str) -> Callable[[Any, str, Flags], list[str]]:
    """Asks for one field of the rows of a list."""
    return lambda api, current, flags: [row[field] for row in api.get(path) or ()]


NAMES: dict[str, Callable[[Any, str, Flags], list[str]]] = {
    "accessor-id": _field("/v1/acl/tokens", "AccessorID"),
    "auth-method": _field("/v1/acl/auth-methods", "Name"),
    "datacenter": _datacenters,
    "entry": _entries,
    "event": _events,
    "key": _keys,
    "member": _members,
    "node": _nodes,
    "peer": _peers,
    "policy": _field("/v1/acl/policies", "Name"),
    "policy-id": _field("/v1/acl/policies", "ID"),
    "role": _field("/v1/acl/roles", "Name"),
    "role-id": _field("/v1/acl/roles", "ID"),
    "rule-id": _field("/v1/acl/binding-rules", "ID"),
    "service": _services,
    "service-id": _service_ids,
}
"""What the agent is asked for each kind of name."""


def completion(flags: Flags) -> int:
    """Show what makes a shell complete commands."""
    from agent.cli.flags import fail
    from agent.cli.shells import SCRIPTS

    if len(flags.arguments) != 1 or flags.arguments[0] not in SCRIPTS:
        return fail(f"One shell must be named: {', '.join(SCRIPTS)}")
    print(SCRIPTS[flags.arguments[0]], end="")
    return 0
