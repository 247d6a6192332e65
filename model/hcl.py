"""Configuration text, HCL 1 or JSON, to plain dicts and lists. Bounded in size and depth; errors say where."""

import json
from typing import Any

MAX_HCL = 1 << 20
MAX_JSON = 4 << 20
MAX_DEPTH = 32


class HclError(ValueError):
    """Text that cannot be parsed; the message names the place."""


def parse_json_text(text: str) -> dict[str, Any]:
    """Parse a JSON object. Raises HclError."""
    if len(text) > MAX_JSON:
        raise HclError(f"the text has {len(text)} characters, {MAX_JSON} at most")
    if not text.strip():
        return {}
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise HclError(f"line {error.lineno}, column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise HclError("nested too deeply") from None
    return _checked(value)


def parse_hcl(text: str) -> dict[str, Any]:
    """Parse HCL 1. Raises HclError."""
    if len(text) > MAX_HCL:
        raise HclError(f"the text has {len(text)} characters, {MAX_HCL} at most")
    if text.lstrip()[:1] == "{":
        return parse_json_text(text)
    import hcl  # 70 ms, and most commands never need it

    try:
        value = hcl.loads(text)
    except ValueError as error:
        raise HclError(" ".join(str(error).split())) from None
    except (RecursionError, TypeError, AttributeError, IndexError, KeyError) as error:
        raise HclError(f"not HCL: {error or type(error).__name__}") from None
    return _checked(value)


def _checked(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise HclError("the text is no object")
    if _depth(value) > MAX_DEPTH:
        raise HclError("nested too deeply")
    return value


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
