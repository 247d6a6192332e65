"""Rules of Consul before 1.4, in which every name was the beginning of names, as the rules of today say the same.

What such a text has besides the names of its blocks stays as it is, its comments, too; it is laid out anew.
"""

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

from model.acl.rules import NAMED
from model.hcl import parse_hcl

_TOKEN = re.compile(
    r"""(?P<blank>\s+)
    | (?P<comment>\#[^\n]* | //[^\n]* | /\*.*?\*/)
    | (?P<heredoc><<-?\s*(?P<end>[^\s]+)\n(?:.*?\n)??[ \t]*(?P=end)(?=\s|\Z))
    | (?P<text>"(?:[^"\\$] | \\. | \$(?!\{) | \$\{[^}]*\})*")
    | (?P<sign>[{}\[\],=])
    | (?P<word>[^\s{}\[\],="\#]+)""",
    re.VERBOSE | re.DOTALL,
)


class _Item(NamedTuple):
    """A line or a block: the comments above it, its keys, and its value or what is in it."""

    comments: list[str]
    keys: list[str]
    assigned: bool
    value: str
    body: "list[_Item] | None"


def translate_rules(text: str) -> str:
    """The same rules in today's language. Raises HclError when the text cannot be read."""
    found = parse_hcl(text)
    text = text.removeprefix("\ufeff")
    if text.lstrip()[:1] == "{":  # JSON stays JSON.
        return json.dumps({_name(name): value for name, value in found.items()}, indent=2, ensure_ascii=False)
    items = _items(_tokens(text), top=True)
    return "\n".join(_lines(items, ""))


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    """Kind and text of each token, without blanks. The text has been read before, so nothing in it is stray."""
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:  # A sign that only the reader knows; it stays.
            yield "word", text[at]
            at += 1
            continue
        at = found.end()
        if found.lastgroup != "blank":
            yield found.lastgroup or "word", found.group()


def _items(tokens: Iterator[tuple[str, str]], top: bool = False) -> list[_Item]:
    """What stands up to the closing brace or the end. Nesting is as deep as the reader lets it be."""
    items: list[_Item] = []
    comments: list[str] = []
    keys: list[str] = []
    assigned = False
    for kind, token in tokens:
        if kind == "comment":
            comments.append(token)
        elif token == "}" and kind == "sign":
            break
        elif token == "," and kind == "sign":
            continue
        elif token == "=" and kind == "sign":
            assigned = True
        elif kind == "sign" and token == "{":
            items.append(_Item(comments, _renamed(keys) if top else keys, assigned, "", _items(tokens)))
            comments, keys, assigned = [], [], False
        elif assigned:
            value = _list(tokens) if token == "[" and kind == "sign" else token
            items.append(_Item(comments, keys, True, value, None))
            comments, keys, assigned = [], [], False
        else:
            keys.append(token)
    if comments:
        items.append(_Item(comments, [], False, "", None))
    return items


def _list(tokens: Iterator[tuple[str, str]]) -> str:
    """The rest of a list, on one line."""
    parts: list[str] = []
    for kind, token in tokens:
        if kind == "sign" and token == "]":
            break
        if kind == "sign" and token in "[{":
            parts.append("[" + _list(tokens)[1:] if token == "[" else _object(tokens))
        elif kind != "comment" and token != ",":
            parts.append(token)
    return f"[{', '.join(parts)}]"


def _object(tokens: Iterator[tuple[str, str]]) -> str:
    inner = " ".join(line.strip() for line in _lines(_items(tokens), ""))
    return "{ " + inner + " }"


def _renamed(keys: list[str]) -> list[str]:
    name = _name(keys[0].strip('"')) if keys else ""
    return [name, *keys[1:]] if name.endswith("_prefix") else keys


def _name(name: str) -> str:
    return f"{name}_prefix" if name in NAMED else name


def _lines(items: list[_Item], indent: str) -> list[str]:
    """Items laid out: blocks apart from what is around them, the signs of neighbouring values in one column."""
    lines: list[str] = []
    for number, item in enumerate(items):
        before = items[number - 1] if number else None
        if before is not None and (before.body is not None or item.body is not None):
            lines.append("")
        lines += [f"{indent}{comment}" for comment in item.comments]
        name = " ".join(item.keys)
        if item.body is not None:
            opening = f"{indent}{name}{' =' if item.assigned else ''} {{"
            inner = _lines(item.body, indent + "  ")
            lines += [opening, *inner, f"{indent}}}"] if inner else [opening + "}"]
        elif item.keys:
            width = max(len(" ".join(one.keys)) for one in _neighbours(items, number))
            lines.append(f"{indent}{name:<{width}} = {item.value}")
    return lines


def _neighbours(items: list[_Item], number: int) -> list[_Item]:
    """The values around one, without a block or a comment between them."""
    first = last = number
    while first and items[first - 1].body is None and not items[first].comments:
        first -= 1
    while last + 1 < len(items) and items[last + 1].body is None and not items[last + 1].comments:
        last += 1
    return items[first : last + 1]
