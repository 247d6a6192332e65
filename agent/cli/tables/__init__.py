"""The table of all commands: for each its flags and its words. Help, completion and docs/cli.md are made from it."""

from agent.cli.command import Command
from agent.cli.tables import access, acl, agents, discovery, keys, mesh, operating, security

_PARTS = (access, acl, agents, discovery, keys, mesh, operating, security)

COMMANDS: dict[str, Command] = {name: command for part in _PARTS for name, command in part.COMMANDS.items()}
"""All commands by name."""
GROUPS: dict[str, tuple[str, str]] = {name: words for part in _PARTS for name, words in part.GROUPS.items()}
"""Summary and description of what only has subcommands."""


def subcommands(top: str) -> dict[str, str]:
    """The subcommands of a group (of everything, for ""), with their summaries; empty for what is no group."""
    prefix = f"{top} " if top else ""
    found: dict[str, str] = {}
    for name in (*GROUPS, *COMMANDS):
        if name.startswith(prefix):
            first = name[len(prefix) :].partition(" ")[0]
            whole = prefix + first
            found.setdefault(first, GROUPS[whole][0] if whole in GROUPS else COMMANDS[whole].summary)
    return found
