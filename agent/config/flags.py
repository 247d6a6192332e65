"""Flags of `lictor agent`, in Go's manner."""

import difflib
from collections.abc import Iterable
from typing import Any

from agent.config.keys import FLAGS
from agent.config.settings import ConfigError

_SYNONYMS = {"check-output-max-size": "check_output_max_size"}
"""Flags that may be spelt in another way."""


def parse_flags(argv: list[str]) -> tuple[dict[str, Any], list[tuple[str, str]], bool, str]:
    """Flags in Go's manner: (settings, sources in order, -dev, -config-format). Raises ConfigError."""
    settings: dict[str, Any] = {}
    sources: list[tuple[str, str]] = []
    dev = False
    config_format = ""
    arguments = list(argv)
    while arguments:
        word = arguments.pop(0)
        if not word.startswith("-") or word in ("-", "--"):
            raise ConfigError(f"Unexpected argument {word!r}: all options are flags")
        name, has_value, value = word.lstrip("-").partition("=")
        name = _SYNONYMS.get(name, name)
        if name == "dev":
            dev = not has_value or boolean(name, value)
            continue
        kind = "text" if name in ("config-file", "config-dir", "config-format") else FLAGS.get(name, ("", "", ""))[1]
        if not kind:
            raise ConfigError(f"flag provided but not defined: -{name}{suggest(name, FLAGS, '-')}")
        if not has_value and kind == "bool":
            value = "true"
        elif not has_value:
            if not arguments:
                raise ConfigError(f"flag needs an argument: -{name}")
            value = arguments.pop(0)
        if name in ("config-file", "config-dir"):
            sources.append((name, value))
        elif name == "config-format":
            config_format = value
        elif kind == "hcl":
            sources.append(("hcl", value))
        else:
            _set_flag(settings, name, kind, value)
    return settings, sources, dev, config_format


def _set_flag(settings: dict[str, Any], name: str, kind: str, value: str) -> None:
    key = FLAGS[name][0]
    parsed: Any = value
    if kind == "bool":
        parsed = boolean(name, value)
    elif kind == "int":
        try:
            parsed = int(value)
        except ValueError:
            raise ConfigError(f'invalid value "{value}" for flag -{name}: not a number') from None
    elif kind == "map":
        left, separator, right = value.partition(":")
        if not separator and not left:
            raise ConfigError(f'invalid value "{value}" for flag -{name}: expected key:value')
        settings.setdefault(key, {})[left] = right
        return
    elif kind == "list":
        settings.setdefault(key, []).append(value)
        return
    target = settings
    *parents, last = key.split(".")
    for parent in parents:
        target = target.setdefault(parent, {})
    target[last] = parsed


def boolean(name: str, value: str) -> bool:
    if value.lower() in ("true", "t", "1"):
        return True
    if value.lower() in ("false", "f", "0"):
        return False
    raise ConfigError(f'invalid boolean value "{value}" for -{name}: parse error')


def suggest(word: str, known: Iterable[str], prefix: str = "") -> str:
    close = difflib.get_close_matches(word, list(known), 1)
    return f" (did you mean {prefix}{close[0]}?)" if close else ""
