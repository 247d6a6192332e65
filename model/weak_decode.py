"""Builtins to structs, weakly typed, as Consul reads configuration entries: from HCL or JSON, in any spelling of keys.

A number fits where text is wanted and the other way round, one value fits where a list of them is, and keys are
compared without regard to case and underscores. All problems of an input are found, not the first alone.

Source: error texts as recorded from Consul 1.14.
"""

import typing
from typing import Any, TypeVar

from model.codec import DURATION, READABLE_DURATION, Field, Wire, fields_of, unwrap
from model.durations import DurationError, parse_duration
from model.gojson import JsonError, free_form_from_json
from model.gotime import GoTime

W = TypeVar("W", bound=Wire)
_TRUE = frozenset(("1", "t", "T", "true", "TRUE", "True"))
_FALSE = frozenset(("", "0", "f", "F", "false", "FALSE", "False"))


_LIMIT = 1 << 63
_FLOAT_LIMIT = 3.4028234663852886e38
"""The largest number of single precision."""


class WeakError(ValueError):
    """An input that does not fit; the text lists every problem."""


class _Mismatch(Exception):
    """One value does not fit; the message is its line of the list."""


def listed(problems: list[str]) -> str:
    """The text of a list of errors: `1 error occurred:` and a line for each."""
    noun = "error" if len(problems) == 1 else "errors"
    lines = "\n\t".join(f"* {problem}" for problem in problems)
    return f"{len(problems)} {noun} occurred:\n\t{lines}\n\n"


def decode_weakly(cls: type[W], value: dict[str, Any], ignored: frozenset[str] = frozenset()) -> W:
    """A struct from parsed JSON or HCL.

    `ignored` are keys of the outermost object, in lower case, that the struct need not have. Raises WeakError for
    values of a wrong type, or else for unknown keys.
    """
    reading = _Reading()
    known = {key: item for key, item in value.items() if key.lower() not in ignored}
    result = reading.struct(cls, known, "")
    if reading.problems:
        lines = "\n".join(f"* {problem}" for problem in sorted(reading.problems))
        raise WeakError(f"{len(reading.problems)} error(s) decoding:\n\n{lines}")
    if reading.unknown:
        raise WeakError(listed([_unknown(path) for path in reading.unknown]))
    return typing.cast(W, result)


def decode_settings(cls: type[W], value: dict[str, Any] | None) -> W:
    """A struct without structs in it from free-form settings, such as an auth method's `Config`.

    Other than in `decode_weakly`, keys are compared without regard to case only, and unknown ones stand among the
    problems. Raises WeakError.
    """
    reading = _Reading(folds_underscores=False)
    result = reading.struct(cls, value or {}, "")
    problems = list(reading.problems)
    if reading.unknown:
        problems.append(f"'' has invalid keys: {', '.join(sorted(reading.unknown))}")
    if problems:
        lines = "\n".join(f"* {problem}" for problem in sorted(problems))
        raise WeakError(f"{len(problems)} error(s) decoding:\n\n{lines}")
    return typing.cast(W, result)


def _unknown(path: str) -> str:
    text = f'invalid config key "{path}"'
    if path.rpartition(".")[2].lower() == "namespace":
        text += ", namespaces are a consul enterprise feature"
    return text


_folded: dict[type, dict[str, Field]] = {}


def _fields_by_fold(cls: type[Wire]) -> dict[str, Field]:
    known = _folded.get(cls)
    if known is None:
        known = _folded[cls] = {field.name.lower(): field for field in fields_of(cls) if not field.hidden}
    return known


class _Reading:
    """One pass over an input, collecting what is wrong with it."""

    def __init__(self, folds_underscores: bool = True) -> None:
        self._folds_underscores = folds_underscores
        self.problems: list[str] = []
        self.unknown: list[str] = []

    def struct(self, cls: type[Wire], value: Any, path: str) -> Wire:
        value = _merged(value)
        if not isinstance(value, dict):
            raise _Mismatch(f"'{path}' expected a map, got '{_go_kind(value)}'")
        fields = _fields_by_fold(cls)
        found = {}
        for key, item in value.items():
            field = fields.get(key.lower())
            if field is None and self._folds_underscores:
                field = fields.get(key.lower().replace("_", ""))
            if field is None:
                self.unknown.append(f"{path}.{key}" if path else key)
                continue
            if item is None:
                continue
            where = f"{path}.{field.name}" if path else field.name
            try:
                found[field.attribute] = self.value(field.kind, field.marker, item, where)
            except _Mismatch as problem:
                self.problems.append(str(problem))
        return cls(**found)

    def value(self, kind: Any, marker: Any, item: Any, path: str) -> Any:
        origin = typing.get_origin(kind)
        if origin is list:
            return self.array(unwrap(typing.get_args(kind)[0], [])[0], item, path)
        if origin is dict:
            return self.mapping(unwrap(typing.get_args(kind)[1], [])[0], item, path)
        if isinstance(kind, type) and issubclass(kind, Wire):
            return self.struct(kind, item, path)
        if kind is Any:
            try:
                return free_form_from_json(item)
            except JsonError as error:
                raise _Mismatch(f"error decoding '{path}': {error}") from None
        if kind is int and marker in (DURATION, READABLE_DURATION) and isinstance(item, str):
            return _duration(item, path)
        return _scalar(kind, item, path)

    def array(self, kind: Any, item: Any, path: str) -> Any:
        items = item if isinstance(item, list) else [] if item == "" else [item]
        return [self.value(kind, None, one, f"{path}[{number}]") for number, one in enumerate(items)]

    def mapping(self, kind: Any, item: Any, path: str) -> Any:
        item = _merged(item)
        if not isinstance(item, dict):
            raise _Mismatch(f"'{path}' expected a map, got '{_go_kind(item)}'")
        return {key: self.value(kind, None, one, f"{path}[{key}]") for key, one in item.items() if one is not None}


def _merged(value: Any) -> Any:
    """A list of objects, as HCL writes a block, as one object."""
    if isinstance(value, list) and all(isinstance(item, dict) for item in value):
        return {key: one for item in value for key, one in item.items()}
    return value


def _duration(text: str, path: str) -> int:
    if not text:
        return 0
    try:
        return parse_duration(text)
    except DurationError as error:
        raise _Mismatch(f"error decoding '{path}': {error}") from None


def _scalar(kind: Any, item: Any, path: str) -> Any:
    if kind is str:
        return _text(item, path)
    if kind is int:
        return _whole(item, path)
    if kind is bool:
        return _truth(item, path)
    if kind is float:
        return _fraction(item, path)
    if kind is GoTime and isinstance(item, str):
        try:
            return GoTime.parse(item)
        except ValueError as error:
            raise _Mismatch(f"error decoding '{path}': {error}") from None
    raise _unfit(path, getattr(kind, "__name__", "value"), item)


def _text(item: Any, path: str) -> str:
    if isinstance(item, str):
        return item
    if isinstance(item, bool):
        return "1" if item else "0"
    if isinstance(item, int):
        return str(item)
    if isinstance(item, float):
        return str(int(item)) if item.is_integer() else repr(item)
    raise _unfit(path, "string", item)


def _whole(item: Any, path: str) -> int:
    if isinstance(item, bool | int | float):
        if not -_LIMIT <= item < _LIMIT:
            raise _Mismatch(f"cannot parse '{path}', {item} overflows int")
        return int(item)
    if isinstance(item, str):
        try:
            number = int(item or "0", 0)
        except ValueError:
            raise _Mismatch(f"cannot parse '{path}' as int: {_syntax('ParseInt', item)}") from None
        if not -_LIMIT <= number < _LIMIT:
            raise _Mismatch(f"cannot parse '{path}' as int: strconv.ParseInt: parsing \"{item}\": value out of range")
        return number
    raise _unfit(path, "int", item)


def _truth(item: Any, path: str) -> bool:
    if isinstance(item, bool | int | float):
        return bool(item)
    if isinstance(item, str):
        if item in _TRUE or item in _FALSE:
            return item in _TRUE
        raise _Mismatch(f"cannot parse '{path}' as bool: {_syntax('ParseBool', item)}")
    raise _unfit(path, "bool", item)


def _fraction(item: Any, path: str) -> float:
    if isinstance(item, bool | int | float):
        if not -_FLOAT_LIMIT <= item <= _FLOAT_LIMIT:
            raise _Mismatch(f"cannot parse '{path}', {item} overflows float32")
        return float(item)
    if isinstance(item, str):
        try:
            number = float(item or "0")
            if not -_FLOAT_LIMIT <= number <= _FLOAT_LIMIT:  # Nor is a number what is none.
                raise ValueError
            return number
        except ValueError:
            raise _Mismatch(f"cannot parse '{path}' as float: {_syntax('ParseFloat', item)}") from None
    raise _unfit(path, "float32", item)


def _syntax(function: str, text: str) -> str:
    return f'strconv.{function}: parsing "{text}": invalid syntax'


def _unfit(path: str, wanted: str, item: Any) -> _Mismatch:
    kind = {"map": "map[string]interface {}", "slice": "[]interface {}"}.get(_go_kind(item), _go_kind(item))
    return _Mismatch(f"'{path}' expected type '{wanted}', got unconvertible type '{kind}', value: '{item}'")


def _go_kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "float64"
    return {str: "string", list: "slice", dict: "map"}.get(value.__class__, "invalid")
