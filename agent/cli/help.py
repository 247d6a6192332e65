"""The texts of `-h`: for one command, for a group of commands, for all of them."""

from agent.cli.command import Command, Flag

WIDTH = 78
_PLACEHOLDERS = {
    "text": "<string>",
    "int": "<int>",
    "count": "<uint>",
    "duration": "<duration>",
    "list": "<string>",
    "map": "<key=value>",
}


def of_command(name: str, command: Command) -> str:
    """All that there is to say about a command: usage, what it does, the shared flags, its own."""
    own = command.flags + tuple(flag for flag in command.shared if flag.name in ("namespace", "partition"))
    shared = tuple(flag for flag in command.shared if flag not in own)
    parts = ["lictor", name, "[options]" if own or shared else "", command.arguments]
    lines = [f"Usage: {' '.join(part for part in parts if part)}", ""]
    lines += paragraphs(command.about or f"{command.summary}.")
    for title, group in (("HTTP API Options", shared), ("Command Options", own)):
        if group:
            lines += ["", title]
            for flag in sorted(group, key=lambda item: item.name):
                lines += ["", f"  {written(flag)}", *_wrapped(explained(flag), "     ")]
    return "\n".join(lines) + "\n"


def written(flag: Flag) -> str:
    """How a flag is written: -keys, -separator=<string>."""
    return f"-{flag.name}" + ("" if flag.kind == "bool" else f"={_PLACEHOLDERS[flag.kind]}")


def explained(flag: Flag) -> str:
    """What a flag means, how often it may be given, and its default."""
    text = flag.help
    if flag.kind in ("list", "map"):
        text += " May be given several times."
    elif flag.kind == "bool" and flag.default is not None:
        text += f" The default is {'true' if flag.default else 'false'}."
    elif flag.kind == "duration" and flag.default is not None:
        from model.durations import format_duration

        text += f" The default is {format_duration(flag.default)}."
    elif flag.default not in ("", None):
        shown = f'"{flag.default}"' if flag.kind == "text" else flag.default
        text += f" The default is {shown}."
    return text


def paragraphs(text: str) -> list[str]:
    """A text as wrapped lines. Lines that begin with blanks, such as examples, stay as they are, further indented."""
    lines: list[str] = []
    for paragraph in text.strip("\n").split("\n\n"):
        if lines:
            lines.append("")
        if paragraph.startswith(" "):
            lines += [f"  {line}" for line in paragraph.split("\n")]
        else:
            lines += _wrapped(paragraph, "  ")
    return lines


def _wrapped(text: str, indent: str) -> list[str]:
    import textwrap

    return textwrap.wrap(
        text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def of_group(top: str, about: str, subcommands: dict[str, str]) -> str:
    """A group: what it is for, and its subcommands with their summaries."""
    width = max(map(len, subcommands))
    lines = [f"Usage: lictor {top} <subcommand> [options] [args]", "", *paragraphs(about), "", "Subcommands:", ""]
    lines += [f"    {name:<{width}}    {subcommands[name]}" for name in sorted(subcommands)]
    return "\n".join(lines) + "\n"


def of_all(summaries: dict[str, str]) -> str:
    """All commands and groups in one list."""
    lines = ["Usage: lictor [--version] [--help] [-autocomplete-(un)install] <command> [args]", ""]
    lines += ["Available commands are:", *(f"    {name:<14} {summaries[name]}" for name in sorted(summaries))]
    return "\n".join(lines) + "\n"
