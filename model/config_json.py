"""Configuration text in JSON to plain dicts and lists. Bounded in size and depth; errors say where."""

import json
from typing import Any, NoReturn

MAX_JSON = 4 << 20
"""Characters that a text may have."""

MAX_DEPTH = 32
"""Levels of objects and lists, the outermost counted."""


class HclError(ValueError):
    """Configuration text, JSON or HCL, that cannot be parsed; the message names the place."""


def parse_json_text(text: str) -> dict[str, Any]:
    """Parse a JSON object; blank text is an empty one. Raises HclError."""
    if len(text) > MAX_JSON:
        raise HclError(f"the text has {len(text)} characters, {MAX_JSON} at most")
    if not text.strip():
        return {}
    try:
        value = json.loads(text, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        raise HclError(f"line {error.lineno}, column {error.colno}: {error.msg}") from None
    except HclError:
        raise
    except RecursionError:
        raise HclError("nested too deeply") from None
    except ValueError as error:  # a number of thousands of digits
        raise HclError(str(error)) from None
    if not isinstance(value, dict):
        raise HclError("the text is no object")
    if _depth(value) > MAX_DEPTH:
        raise HclError("nested too deeply")
    return value


def _no_number(name: str) -> NoReturn:
    raise HclError(f"{name} is no number")


def _depth(value: Any) -> int:
    layer, depth = [value], 0
    while layer and depth <= MAX_DEPTH:
        depth += 1
        layer = [
            child
            for item in layer
            for child in (item.values() if isinstance(item, dict) else item if isinstance(item, list) else ())
        ]
        layer = [child for child in layer if isinstance(child, dict | list)]
    return depth
