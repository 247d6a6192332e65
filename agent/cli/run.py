"""Finds the command that words name, parses its flags, runs it, and turns errors into texts and exit codes."""

import importlib
import os
import sys
from collections.abc import Callable

from agent.cli import help as texts
from agent.cli.command import Command
from agent.cli.flags import HELP, Flags, Usage, parse
from agent.cli.tables import COMMANDS, GROUPS, subcommands
from model.goerrors import go_text

VERSION_FLAGS = ("-v", "-version", "--version")
HELP_FLAGS = tuple(dashes + name for name in HELP for dashes in ("-", "--"))
UNKNOWN = 127
TRACEBACK = "LICTOR_TRACEBACK"
"""The environment variable that shows where an error inside lictor came from."""


def run(words: list[str]) -> int:
    """Run a command; returns its exit code."""
    if words and words[0] in VERSION_FLAGS:
        words = ["version", *words[1:]]
    if not words or words[0] in (*HELP_FLAGS, "help"):
        asked = bool(words) and words[0] != "help"
        print(texts.of_all(subcommands("")), file=sys.stdout if asked else sys.stderr)
        return 0 if asked else UNKNOWN
    if words[0].lstrip("-").startswith("autocomplete-"):
        from agent.cli.shells import install

        return install(words)
    name, rest = find(words)
    if name in COMMANDS:
        return _run(name, COMMANDS[name], rest)
    if name in GROUPS:
        asked = any(word in HELP_FLAGS for word in rest)
        note = _ENTERPRISE.get(" ".join(words[:2]))
        if note and not asked:
            print(note, file=sys.stderr)
            return 1
        print(texts.of_group(name, GROUPS[name][1], subcommands(name)), file=sys.stdout if asked else sys.stderr)
        return 0 if asked else 1
    print(texts.of_all(subcommands("")), file=sys.stderr)
    return UNKNOWN


_ENTERPRISE = {
    "snapshot agent": "The snapshot agent is a feature of Consul Enterprise. Let a timer run `lictor snapshot save`."
}


def find(words: list[str]) -> tuple[str, list[str]]:
    """The longest name of a command or group that the words begin with ("" for none), and the words after it."""
    for length in range(min(3, len(words)), 0, -1):
        name = " ".join(words[:length])
        if name in COMMANDS or name in GROUPS:
            return name, words[length:]
    return "", words


def _run(name: str, command: Command, words: list[str]) -> int:
    if command.raw:
        parsed = Flags({}, [], words)
    else:
        try:
            parsed = parse(words, command.flags + command.shared, command.child)
        except Usage as usage:
            if not str(usage):
                print(texts.of_command(name, command), end="")
                return 0
            print(f"{usage}\n\n{texts.of_command(name, command)}", file=sys.stderr, end="")
            return 1
    try:
        module = importlib.import_module(f"agent.cli.{command.module}")
        function: Callable[[Flags], int] = getattr(module, command.function)
        return function(parsed)
    except (BrokenPipeError, KeyboardInterrupt):
        raise
    except Exception as error:
        text = _said(command, error)
        if text is None:
            if os.environ.get(TRACEBACK):
                raise
            cause = f"{type(error).__name__}: {error}; with {TRACEBACK}=1 in the environment lictor says where"
            what = "Internal error"
            if command.http and isinstance(error, KeyError | TypeError | AttributeError | IndexError):
                what = f"{command.failed}: the agent's answer has not the form that it should have"
            text = f"{what} ({cause})"
        print(text, file=sys.stderr)
        return 1


def _said(command: Command, error: Exception) -> str | None:
    """What to tell the user about an error that a command did not handle; None when it should have."""
    from agent.cli.problem import ApiError, Problem

    if isinstance(error, Problem):
        return str(error)
    if isinstance(error, OSError):  # Such as a full disk below our output.
        return f"Error: {go_text(error)}"
    return f"{command.failed}: {error}" if isinstance(error, ApiError) else None
