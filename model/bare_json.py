"""JSON of structs as they are stored: lists that were never set stay null.

Most answers show them as empty lists (`NEVER_NULL`); transactions, prepared queries and the UI's nodes do not.
"""

from typing import Any

from model.codec import Wire, fields_of
from model.gojson import to_json


def to_bare_json(value: Any) -> Any:
    """`to_json`, but a list that was never set is null."""
    shown = to_json(value)
    _restore(value, shown)
    return shown


def _restore(value: Any, shown: Any) -> None:
    if isinstance(value, Wire):
        if not isinstance(shown, dict):
            return
        for field in fields_of(type(value)):
            if field.hidden or field.name not in shown:
                continue
            inner = getattr(value, field.attribute)
            if inner is None and field.never_null:
                shown[field.name] = None
            elif isinstance(inner, Wire | list | dict):
                _restore(inner, shown[field.name])
    elif isinstance(value, list) and isinstance(shown, list):
        for inner, part in zip(value, shown, strict=True):
            _restore(inner, part)
    elif isinstance(value, dict) and isinstance(shown, dict):
        for key, inner in value.items():
            if isinstance(inner, Wire | list | dict):
                _restore(inner, shown.get(key))
