"""Consul's JSON: structs out as Go's encoding/json writes them, bodies in as it reads them, with its error texts.

Names are read without regard to case, `null` leaves a zero value, a wrong type names the field, and unknown fields are
refused where the endpoint asks for that. Bounded in depth; the caller bounds the size.
"""

import re
import typing
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import msgspec

from model.codec import (
    DURATION,
    MAX_DEPTH,
    READABLE_DURATION,
    UNSIGNED,
    Field,
    Namespace,
    Wire,
    fields_of,
    is_plain,
    lazily,
    make_function,
    unwrap,
)
from model.durations import DurationError, format_duration, parse_duration
from model.gotime import GoTime
from model.json_syntax import syntax_error

W = TypeVar("W", bound=Wire)
Style = Literal["go", "agent"]

_encoder = msgspec.json.Encoder()
_html_escapes = ((b"<", b"\\u003c"), (b">", b"\\u003e"), (b"&", b"\\u0026"))


class JsonError(ValueError):
    """A body that is not what the endpoint takes; the text is Go's."""


# Writing

_to_json: dict[Any, Callable[[Any], Any]] = {}


def to_json(value: Any) -> Any:
    """The JSON form of a struct, or of lists and maps of structs, as builtins."""
    if isinstance(value, Wire):
        cls = type(value)
        return (_to_json.get(cls) or _compile_to_json(cls))(value)
    if isinstance(value, list | tuple):
        if isinstance(value, GoTime):
            return value.rfc3339()
        return [to_json(item) for item in value]
    if isinstance(value, dict):
        return {key: to_json(item) for key, item in value.items()}
    return value


def encode_json(value: Any, pretty: bool = False) -> bytes:
    """The body of an answer: compact, or with `pretty` indented by four spaces as Consul does for `?pretty`.

    Text that is not UTF-8 becomes U+FFFD, and `<`, `>`, `&` are escaped, both as Go does.
    """
    builtins = to_json(value)
    try:
        body = _encoder.encode(builtins)
    except UnicodeEncodeError:
        body = _encoder.encode(_replace_surrogates(builtins))
    if b"<" in body or b">" in body or b"&" in body:
        for plain, escaped in _html_escapes:
            body = body.replace(plain, escaped)
    if pretty:
        body = msgspec.json.format(body, indent=4) + b"\n"
    return body


def _replace_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if isinstance(value, list):
        return [_replace_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {_replace_surrogates(key): _replace_surrogates(item) for key, item in value.items()}
    return value


def _compile_to_json(cls: Any) -> Callable[[Any], Any]:
    own = getattr(cls, "json_encode", None)
    if own is not None:
        converter: Callable[[Any], Any] = _to_json.setdefault(cls, own)
        return converter
    converter = _to_json[cls] = compile_fields_to_json(cls)
    return converter


def compile_fields_to_json(cls: type[Wire]) -> Callable[[Any], Any]:
    """A function from an instance to its JSON object, fields in their order of declaration."""
    names = Namespace()
    parts: list[str] = []
    for field in fields_of(cls):
        if field.hidden:
            continue
        value = f"o.{field.attribute}"
        expression = _json_expression(field.kind, field.marker, value, field.optional, names)
        item = f"{field.name!r}: {expression}" + (" or []" if field.never_null else "")
        if field.omit:
            parts.append(f"**({{{item}}} if {_omit_test(field, value, names)} else {_EMPTY})")
        else:
            parts.append(item)
    names.values[_EMPTY] = {}
    return make_function(f"lambda o: {{{', '.join(parts)}}}", names)


_EMPTY = "_empty"


def _omit_test(field: Field, value: str, names: Namespace) -> str:
    """Source of the test whether a field that may be left out is there."""
    is_struct = isinstance(field.kind, type) and issubclass(field.kind, Wire)
    if field.optional and (is_struct or field.kind in (str, int, bool, float, GoTime)):
        return f"{value} is not None"  # a pointer is left out when nil, whatever it points to
    if field.omit_zero_struct:
        return f"{value} != {names.add(field.kind())}"
    if field.kind is GoTime:
        return f"not {value}.is_zero"
    return "True" if is_struct else value  # Go never leaves out a struct that is no pointer


def _json_expression(kind: Any, marker: Any, value: str, optional: bool, names: Namespace) -> str:
    origin = typing.get_origin(kind)
    arguments = typing.get_args(kind)
    if kind is GoTime:
        inner = f"{value}.rfc3339()"
    elif marker is READABLE_DURATION:
        inner = f"{names.add(format_duration)}({value})"
    elif kind is Any:
        return f"{names.add(free_form_to_json)}({value})"
    elif origin is list:
        element, may_be_none = unwrap(arguments[0], [])
        if is_plain(element) and element is not Any:
            return value
        inner = f"[{_json_expression(element, None, 'x', may_be_none, names)} for x in {value}]"
    elif origin is dict:
        element, may_be_none = unwrap(arguments[1], [])
        if is_plain(element) and element is not Any:
            return value
        inner = f"{{k: {_json_expression(element, None, 'x', may_be_none, names)} for k, x in {value}.items()}}"
    elif is_plain(kind):
        return value
    else:
        inner = f"{names.add(lazily(_to_json, _compile_to_json, kind))}({value})"
    return f"(None if {value} is None else {inner})" if optional else inner


def free_form_to_json(value: Any) -> Any:
    """A free-form value as Go writes it: whole floats without a fraction, bytes as base64."""
    if value.__class__ is float and value.is_integer() and abs(value) < 1e21:
        return int(value)
    if isinstance(value, list):
        return [free_form_to_json(item) for item in value]
    if isinstance(value, dict):
        return {str(key): free_form_to_json(item) for key, item in value.items()}
    return value


# Reading


def parse_json(raw: bytes) -> Any:
    """JSON text to builtins; raises JsonError with Go's text for bad syntax and for nesting beyond MAX_DEPTH.

    Text that is not UTF-8, and halves of surrogate pairs, become U+FFFD, as in Go.
    """
    try:
        value = msgspec.json.decode(raw)
    except msgspec.DecodeError as error:
        first = _first_value(raw, str(error)) or _without_surrogates(raw)
        if first is None:
            raise JsonError(syntax_error(raw) or str(error)) from None
        return parse_json(first)
    except RecursionError:
        raise JsonError("exceeded max depth") from None
    except UnicodeDecodeError:
        return parse_json(raw.decode("utf-8", "replace").encode())
    if _depth_exceeds(value, MAX_DEPTH):
        raise JsonError("exceeded max depth")
    return value


_LOW = rb"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_SURROGATE = re.compile(rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}(%b)?|%b" % (_LOW, _LOW))


def _without_surrogates(raw: bytes) -> bytes | None:
    """The text with halves of surrogate pairs replaced; None when there are none."""

    def replaced(found: re.Match[bytes]) -> bytes:
        return found[0] if found[0] == b"\\\\" or found[1] else b"\\ufffd"

    text = _SURROGATE.sub(replaced, raw)
    return text if text != raw else None


def _first_value(raw: bytes, reason: str) -> bytes | None:
    """The text of the first value when only what follows it is amiss: like Go's decoder, nobody looks at that."""
    at = reason.rpartition("(byte ")[2].rstrip(")")
    if "trailing characters" not in reason or not at.isdigit():
        return None
    first = raw[: int(at)].rstrip()[:-1]  # The place that is named lies behind the first character too many.
    return first if len(first) < len(raw) else None


def _depth_exceeds(value: Any, limit: int) -> bool:
    layer = [value]
    for _ in range(limit):
        layer = [
            child
            for item in layer
            if item.__class__ in (dict, list)
            for child in (item.values() if item.__class__ is dict else item)
            if child.__class__ in (dict, list)
        ]
        if not layer:
            return False
    return True


_REFUSED_SNAKE_CASE = frozenset(
    (
        *("check_id", "socket_path", "success_before_passing", "failures_before_warning", "failures_before_critical"),
        *("output_max_size", "alias_service", "os_service", "outbound_listener_port"),
    )
)
"""Snake-case keys that Consul's agent endpoints do not know, although they know the others."""


_AGENT_ALIASES = {"CheckType": {"args": "scriptargs"}, "CheckDefinition": {"args": "scriptargs"}}
"""Other names of fields that the agent's endpoints take, by struct."""
_AGENT_IGNORES = {"ServiceConnect": frozenset(("proxy",))}
"""Fields of earlier versions that the agent's endpoints take and pass over, by struct."""
_IGNORES = {
    "DeregisterRequest": frozenset(("address",)),
    "HealthCheckDefinition": frozenset(
        ("intervalduration", "timeoutduration", "deregistercriticalserviceafterduration")
    )
}
"""Fields that every endpoint takes and passes over, by struct."""


class _Reader:
    """One struct's names, prepared for look-up without regard to case."""

    __slots__ = ("agent_aliases", "agent_ignores", "by_fold", "by_name", "cls", "ignores", "parse")

    def __init__(self, cls: type[Wire]) -> None:
        self.cls = cls
        visible = [field for field in fields_of(cls) if not field.hidden]
        self.by_name = {field.name: field for field in visible}
        self.by_fold = {field.name.lower(): field for field in visible}
        self.agent_aliases = _AGENT_ALIASES.get(cls.__name__, {})
        self.ignores = _IGNORES.get(cls.__name__, frozenset())
        self.agent_ignores = self.ignores | _AGENT_IGNORES.get(cls.__name__, frozenset())

    def ignored(self, key: str, style: Style) -> bool:
        return key.lower() in (self.agent_ignores if style == "agent" else self.ignores)

    def find(self, key: str, style: Style) -> Field | None:
        field = self.by_name.get(key)
        if field is None:
            folded = key.lower()
            field = self.by_fold.get(folded)
            if field is None and style == "agent" and "_" in key and folded not in _REFUSED_SNAKE_CASE:
                field = self.by_fold.get(folded.replace("_", ""))
            if field is None and style == "agent" and folded in self.agent_aliases:
                field = self.by_fold[self.agent_aliases[folded]]
        return field


_readers: dict[type, _Reader] = {}


def decode_json(
    cls: type[W], raw: bytes, *, unknown: Literal["error", "ignore"] = "error", style: Style = "go"
) -> W:
    """Read a body into a struct.

    `unknown` says what happens to fields that the struct does not have; `style` "agent" also takes the snake-case keys
    of the agent's endpoints. Raises JsonError with Go's text.
    """
    return from_json(cls, parse_json(raw), unknown=unknown, style=style)


def from_json(
    cls: type[W], value: Any, *, unknown: Literal["error", "ignore"] = "error", style: Style = "go", path: str = ""
) -> W:
    """Build a struct from parsed JSON; see `decode_json`. `path` is where the value stands, for errors."""
    own = getattr(cls, "json_decode", None)
    if own is not None:
        result: W = own(value, unknown=unknown, style=style, path=path)
        return result
    return fields_from_json(cls, value, unknown=unknown, style=style, path=path)


def fields_from_json(cls: type[W], value: Any, *, unknown: Literal["error", "ignore"], style: Style, path: str) -> W:
    """`from_json` without the class's own `json_decode`, for use inside one."""
    if value is None:
        return cls()
    if value.__class__ is not dict:
        raise _mismatch(value, cls.__name__, path, cls.__name__)
    reader = _readers.get(cls)
    if reader is None:
        reader = _readers[cls] = _Reader(cls)
    found: dict[str, Any] = {}
    for key, item in value.items():
        field = reader.find(key, style)
        if field is None:
            if unknown == "error" and not reader.ignored(key, style):
                text = f'json: unknown field "{key}"'
                if key.lower() == "namespace" and style == "go":
                    text += " - Namespaces are a Consul Enterprise feature"
                raise JsonError(text)
            continue
        if item is None:
            continue
        where = f"{path}.{field.name}" if path else field.name
        if field.kind is int and not field.marker and item.__class__ in (int, float):
            _check_range(field, item, where, _shown_owner(cls.__name__, style))
        found[field.attribute] = _value_from_json(
            field.kind, field.marker, item, unknown, style, where, cls.__name__
        )
    return cls(**found)


_SIGNED_LIMIT = 1 << 63


def _check_range(field: Field, value: float, path: str, owner: str) -> None:
    """Raise JsonError for a number that a field of 64 bits, signed or not, cannot hold."""
    unsigned = field.attribute in UNSIGNED
    if not (0 <= value < 2 * _SIGNED_LIMIT if unsigned else -_SIGNED_LIMIT <= value < _SIGNED_LIMIT):
        kind = "uint64" if unsigned else "int"
        raise JsonError(f"json: cannot unmarshal number {value} into Go struct field {owner}.{path} of type {kind}")


_GO_TYPES = {str: "string", int: "int", bool: "bool", float: "float64", bytes: "[]uint8"}


def _value_from_json(
    kind: Any, marker: Any, value: Any, unknown: Literal["error", "ignore"], style: Style, path: str, owner: str
) -> Any:
    actual = value.__class__
    if kind is str:
        if actual is str:
            return value
    elif kind is int:
        if marker in (DURATION, READABLE_DURATION):
            if style == "agent" and actual in (list, dict, bool):
                return 0  # The agent's endpoints read durations by hand and pass over what is neither text nor number.
            return _duration(value, f"{_shown_owner(owner, style)}.{path}")
        if actual is int and -_SIGNED_LIMIT <= value < 2 * _SIGNED_LIMIT:
            return value
    elif kind is bool:
        if actual is bool:
            return value
    elif kind is float:
        if actual in (int, float):
            return _float(value)
    elif kind is bytes:
        if actual is str:
            return _base64(value)
    elif kind is GoTime:
        if actual is str:
            try:
                return GoTime.parse(value)
            except ValueError as error:
                raise JsonError(str(error)) from None
    elif kind is Any:
        return free_form_from_json(value)
    else:
        return _container_from_json(kind, value, unknown, style, path, owner)
    raise _mismatch(value, _shown_owner(owner, style), path, _GO_TYPES.get(kind, "time.Time"))


def _shown_owner(owner: str, style: Style) -> str:
    """The struct as Consul's errors name it: what the agent's endpoints read is embedded in one without a name."""
    return ".Alias" if style == "agent" else owner


def _container_from_json(
    kind: Any, value: Any, unknown: Literal["error", "ignore"], style: Style, path: str, owner: str
) -> Any:
    origin = typing.get_origin(kind)
    arguments = typing.get_args(kind)
    if origin is list:
        element, optional = unwrap(arguments[0], [])
        if value.__class__ is not list:
            shown = _GO_TYPES.get(element) or getattr(element, "__name__", "any")
            raise _mismatch(value, _shown_owner(owner, style), path, f"[]{shown}")
        return [
            (None if optional else _zero(element))
            if item is None
            else _value_from_json(element, None, item, unknown, style, path, owner)
            for item in value
        ]
    if origin is dict:
        markers: list[Any] = []
        element, optional = unwrap(arguments[1], markers)
        if value.__class__ is not dict:
            shown = _GO_TYPES.get(element) or getattr(element, "__name__", "interface {}")
            raise _mismatch(value, _shown_owner(owner, style), path, f"map[string]{shown}")
        return {
            key: (None if optional else _zero(element))
            if item is None
            else _value_from_json(element, None, item, unknown, style, path, owner)
            for key, item in value.items()
        }
    return from_json(kind, value, unknown=unknown, style=style, path=path)


def _zero(kind: Any) -> Any:
    origin = typing.get_origin(kind)
    if origin in (list, dict) or kind is Any:
        return None
    return kind()


def free_form_from_json(value: Any) -> Any:
    """A free-form value as Go keeps it: every number is a float64. Raises JsonError for one that is too large."""
    if value.__class__ is int:
        return _float(value)
    if value.__class__ is list:
        return [free_form_from_json(item) for item in value]
    if value.__class__ is dict:
        return {key: free_form_from_json(item) for key, item in value.items()}
    return value


def _duration(value: Any, path: str) -> int:
    if value.__class__ is str:
        if value == "":
            return 0
        try:
            return parse_duration(value)
        except DurationError as error:
            raise JsonError(str(error)) from None
    if value.__class__ in (int, float):
        if -_SIGNED_LIMIT <= value < _SIGNED_LIMIT:
            return int(value)
        raise JsonError(f"json: cannot unmarshal number {value} into Go struct field {path} of type time.Duration")
    raise JsonError(f"json: cannot unmarshal {json_kind(value)} into Go struct field {path} of type time.Duration")


def _float(value: int | float) -> float:
    try:
        return float(value)
    except OverflowError:
        raise JsonError(f"json: cannot unmarshal number {value} into Go value of type float64") from None


def _base64(text: str) -> bytes:
    import base64
    import binascii

    raw = text.encode("utf-8", "surrogateescape")
    try:
        return base64.b64decode(raw.replace(b"\n", b"").replace(b"\r", b""), validate=True)
    except binascii.Error:
        at = next((i for i, c in enumerate(raw) if not (chr(c).isalnum() or c in b"+/=") or c > 127), len(raw))
        raise JsonError(f"illegal base64 data at input byte {at}") from None


def _mismatch(value: Any, owner: str, path: str, go_type: str) -> JsonError:
    shown = json_kind(value)
    if not path:
        return JsonError(f"json: cannot unmarshal {shown} into Go value of type structs.{owner}")
    if shown == "number" and (value.__class__ is float or go_type == "int"):
        shown = f"number {value}"
    return JsonError(f"json: cannot unmarshal {shown} into Go struct field {owner}.{path} of type {go_type}")


def json_kind(value: Any) -> str:
    """What Go calls the kind of a JSON value in its errors."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    return {str: "string", list: "array", dict: "object"}.get(value.__class__, "value")
