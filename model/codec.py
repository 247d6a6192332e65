"""Structs with the names and the bytes that Consul's RPC, Raft log and snapshots use.

A struct is a frozen `Wire` class with snake_case attributes; its Go names, and how each field looks in JSON, are read
off the annotations once and compiled into plain functions, so that encoding costs little more than a
dictionary display.

Source: the msgpack dialect as recorded from Consul 1.14: text and bytes both in the old raw family, a struct as a map
of all its fields in byte order of their names, times and a few types as one raw string (see `Wire.WIRE_FORM`).
"""

import types
import typing
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, TypeVar, Union

import msgpack
import msgspec

from model.gotime import ZERO_TIME, GoTime

MAX_DEPTH = 64
"""How deeply arrays and maps may nest in input, msgpack and JSON alike."""


class WireError(ValueError):
    """Bytes that are not the value that was expected; the text names the field."""


class Name:
    """Marks the Go name of a field where the default rule (`wire_name`) does not give it."""

    def __init__(self, name: str) -> None:
        self.name = name


class Marker:
    """A property of a field's JSON form; used inside `Annotated`."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


OMIT = Marker("OMIT")
"""Left out of JSON while it is empty (Go's `omitempty`)."""
OMIT_ZERO = Marker("OMIT_ZERO")
"""Left out of JSON while it is a struct of zero values (which Go's `omitempty` alone would not do)."""
WIRE_OMIT = Marker("WIRE_OMIT")
"""Left out on the wire, too, while it is empty."""
HIDDEN = Marker("HIDDEN")
"""Never in JSON, neither written nor read."""
DURATION = Marker("DURATION")
"""Nanoseconds, in JSON a number; texts such as "10s" are read too."""
READABLE_DURATION = Marker("READABLE_DURATION")
"""Nanoseconds, in JSON a text such as "10s"; numbers are read too."""
NEVER_NULL = Marker("NEVER_NULL")
"""A list that JSON shows as [] where it is nil."""
FLOAT32 = Marker("FLOAT32")
"""A number of single precision on the wire."""

UNSIGNED = frozenset(("create_index", "modify_index", "lock_index", "flags"))
"""The fields that hold unsigned numbers of 64 bits; all other whole numbers are signed ones."""

Duration = Annotated[int, DURATION]
ReadableDuration = Annotated[int, READABLE_DURATION]
Float32 = Annotated[float, FLOAT32]

_INITIALISMS = {
    word: word.upper()
    for word in (
        *("id", "ttl", "http", "tcp", "udp", "tls", "acl", "dns", "grpc", "ip", "ca", "dc", "sni", "json", "url"),
        *("pem", "csr", "kv", "lan", "wan", "rtt", "sds", "ns", "jwt"),
    )
} | {"ids": "IDs", "acls": "ACLs", "pems": "PEMs", "ms": "Ms", "grpctls": "GRPCTLS", "h2ping": "H2PING", "os": "OS"}


def wire_name(attribute: str) -> str:
    """The Go name of a snake_case attribute: `service_id` is `ServiceID`, `cert_pem` is `CertPEM`."""
    return "".join(_INITIALISMS.get(word, word[:1].upper() + word[1:]) for word in attribute.rstrip("_").split("_"))


class Wire(msgspec.Struct, frozen=True):
    """Base of everything that is said on the wire: immutable, every field with its zero value as default.

    A subclass that travels in a form of its own (as one raw string, say) sets `WIRE_FORM`, two functions to and from
    the builtin form; one whose JSON is not a plain object of its fields defines `json_encode` and `json_decode`.
    """

    WIRE_FORM: ClassVar[tuple[Callable[[Any], Any], Callable[[Any], Any]] | None] = None


class Field:
    """What the codecs know of one field.

    `attribute` is its Python name, `name` its Go name (also in JSON), `kind` the annotation without markers and without
    `None`, `optional` whether `None` is allowed.
    """

    __slots__ = (
        *("attribute", "hidden", "kind", "marker", "name", "never_null", "omit", "omit_zero_struct", "optional"),
        "wire_omit",
    )

    def __init__(self, attribute: str, annotation: Any) -> None:
        markers: list[Any] = []
        annotation, optional = unwrap(annotation, markers)
        self.attribute = attribute
        self.name = next((m.name for m in markers if isinstance(m, Name)), None) or wire_name(attribute)
        self.kind = annotation
        self.optional = optional
        self.omit = OMIT in markers or OMIT_ZERO in markers
        self.omit_zero_struct = OMIT_ZERO in markers
        self.hidden = HIDDEN in markers
        self.never_null = NEVER_NULL in markers
        self.wire_omit = WIRE_OMIT in markers
        self.marker = next((m for m in (DURATION, READABLE_DURATION, FLOAT32) if m in markers), None)


def unwrap(annotation: Any, markers: list[Any]) -> tuple[Any, bool]:
    """Strip `Annotated` and `| None` off an annotation, collecting the markers."""
    optional = False
    while True:
        origin = typing.get_origin(annotation)
        if origin is Annotated:
            markers.extend(annotation.__metadata__)
            annotation = annotation.__origin__
        elif origin in (Union, types.UnionType):
            options = [option for option in typing.get_args(annotation) if option is not type(None)]
            if len(options) != 1:
                raise TypeError(f"{annotation}: only `X | None` unions have a form on the wire")
            optional = True
            annotation = options[0]
        else:
            return annotation, optional


_fields: dict[type, tuple[Field, ...]] = {}


def fields_of(cls: type[Wire]) -> tuple[Field, ...]:
    """The fields of a struct in their order of declaration (which is their order in JSON)."""
    known = _fields.get(cls)
    if known is None:
        hints = typing.get_type_hints(cls, include_extras=True)
        known = tuple(Field(name, hints[name]) for name in cls.__struct_fields__)
        _fields[cls] = known
    return known


# Compilation: each class gets one function each way, made from source text as `dataclasses` does it.

_to_wire: dict[Any, Callable[[Any], Any]] = {}
_from_wire: dict[Any, Callable[[Any], Any]] = {}


def to_wire(value: Wire) -> Any:
    """The builtin form (dicts, lists, str, bytes, numbers) that msgpack encodes."""
    cls = type(value)
    convert = _to_wire.get(cls) or _compile_to_wire(cls)
    return convert(value)


W = TypeVar("W", bound=Wire)


def from_wire(cls: type[W], value: Any) -> W:
    """Build a struct from decoded msgpack, as leniently as Consul does; raises WireError naming the field."""
    convert = _from_wire.get(cls) or _compile_from_wire(cls)
    result: W = convert(value)
    return result


def is_plain(kind: Any) -> bool:
    """Whether a value of this kind goes into msgpack as it is."""
    return kind in (str, int, bool, float, bytes, Any)


class Namespace:
    """Names for the converters that generated source refers to."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def add(self, value: Any) -> str:
        """Give a value a name and return it."""
        name = f"_c{len(self.values)}"
        self.values[name] = value
        return name


def lazily(table: dict[Any, Callable[[Any], Any]], compiler: Callable[[Any], Callable[[Any], Any]], cls: Any) -> Any:
    """A converter for `cls` that may be made later: structs refer to each other in circles."""
    known = table.get(cls)
    if known is not None:
        return known

    def convert(value: Any) -> Any:
        return (table.get(cls) or compiler(cls))(value)

    return convert


def _compile_to_wire(cls: Any) -> Callable[[Any], Any]:
    if cls.WIRE_FORM is not None:
        converter: Callable[[Any], Any] = cls.WIRE_FORM[0]
        _to_wire[cls] = converter
        return converter
    converter = _to_wire[cls] = compile_fields_to_wire(cls)
    return converter


def compile_fields_to_wire(cls: type[Wire]) -> Callable[[Any], Any]:
    """A function from an instance to the map of all its fields in byte order of their names."""
    names = Namespace()
    items = []
    for field in sorted(fields_of(cls), key=lambda f: f.name.encode()):
        item = f"{field.name!r}: {_wire_expression(field.kind, f'o.{field.attribute}', field.optional, names)}"
        items.append(f"**({{{item}}} if o.{field.attribute} else {{}})" if field.wire_omit else item)
    return make_function(f"lambda o: {{{', '.join(items)}}}", names)


def _wire_expression(kind: Any, value: str, optional: bool, names: Namespace) -> str:
    origin = typing.get_origin(kind)
    arguments = typing.get_args(kind)
    if kind is GoTime:
        inner = f"{value}.to_bytes()"
    elif origin is list:
        element, may_be_none = unwrap(arguments[0], [])
        if is_plain(element):
            return value
        inner = f"[{_wire_expression(element, 'x', may_be_none, names)} for x in {value}]"
    elif origin is dict:
        element, may_be_none = unwrap(arguments[1], [])
        if is_plain(element):
            return value
        inner = f"{{k: {_wire_expression(element, 'x', may_be_none, names)} for k, x in {value}.items()}}"
    elif is_plain(kind):
        return value
    elif isinstance(kind, type) and issubclass(kind, Wire):
        inner = f"{names.add(lazily(_to_wire, _compile_to_wire, kind))}({value})"
    else:
        raise TypeError(f"{kind} has no form on the wire")
    return f"(None if {value} is None else {inner})" if optional else inner


def make_function(source: str, names: Namespace) -> Callable[..., Any]:
    """The function that a lambda's source text describes."""
    function: Callable[..., Any] = eval(source, names.values)  # source made here, from field names only
    return function


def _compile_from_wire(cls: Any) -> Callable[[Any], Any]:
    if cls.WIRE_FORM is not None:
        converter: Callable[[Any], Any] = cls.WIRE_FORM[1]
        _from_wire[cls] = converter
        return converter
    converter = _from_wire[cls] = compile_fields_from_wire(cls)
    return converter


def compile_fields_from_wire(cls: type[Wire]) -> Callable[[Any], Any]:
    """A function from a decoded map to an instance; missing and nil fields are zero values, unknown ones ignored."""
    names = Namespace()
    make = names.add(cls)
    arguments = []
    for field in fields_of(cls):
        convert = names.add(_reader(field.kind, field.optional, f"{cls.__name__}.{field.name}"))
        arguments.append(f"{field.attribute}={convert}(get({field.name!r}))")
    function = make_function(f"lambda d, get: {make}({', '.join(arguments)})", names)
    name = cls.__name__

    def read(value: Any) -> Any:
        if value.__class__ is not dict:
            value = _expect_map(value, name)
        return function(value, value.get)

    return read


def _expect_map(value: Any, where: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise WireError(f"{where}: expected a map, got {type(value).__name__}")
    return value


def _reader(kind: Any, optional: bool, where: str) -> Callable[[Any], Any]:
    """A function that checks and converts one decoded value; `where` names the field in errors."""
    origin = typing.get_origin(kind)
    if kind is Any:
        return _free_form
    if kind is GoTime:
        return _time_reader(optional, where)
    if kind in (str, int, bool, float, bytes):
        return _scalar_reader(kind, optional, where)
    if origin is list:
        element, may_be_none = unwrap(typing.get_args(kind)[0], [])
        return _list_reader(_reader(element, may_be_none, where), optional, where)
    if origin is dict:
        key, element = typing.get_args(kind)
        element, may_be_none = unwrap(element, [])
        return _dict_reader(key, _reader(element, may_be_none, where), optional, where)
    if isinstance(kind, type) and issubclass(kind, Wire):
        convert = lazily(_from_wire, _compile_from_wire, kind)
        if optional:
            return lambda value: None if value is None else convert(value)
        return convert  # type: ignore[no-any-return]
    raise TypeError(f"{kind} has no form on the wire ({where})")


def _scalar_reader(kind: Any, optional: bool, where: str) -> Callable[[Any], Any]:
    zero = None if optional else kind()

    def text(value: Any) -> Any:
        if value.__class__ is str:
            return value
        if value is None:
            return zero
        raise WireError(f"{where}: expected text, got {type(value).__name__}")

    def number(value: Any) -> Any:
        if value.__class__ is int:
            return value
        if value is None:
            return zero
        if value.__class__ is bool:
            return int(value)
        raise WireError(f"{where}: expected an integer, got {type(value).__name__}")

    def boolean(value: Any) -> Any:
        if value.__class__ is bool:
            return value
        if value is None:
            return zero
        if value in (0, 1) and value.__class__ is int:
            return bool(value)
        raise WireError(f"{where}: expected a boolean, got {type(value).__name__}")

    def real(value: Any) -> Any:
        if value.__class__ is float:
            return value
        if value is None:
            return zero
        if value.__class__ is int:
            return float(value)
        raise WireError(f"{where}: expected a number, got {type(value).__name__}")

    def raw(value: Any) -> Any:
        if value.__class__ is str:
            data = value.encode("utf-8", "surrogateescape")
        elif value.__class__ is bytes:
            data = value
        elif value is None:
            return zero
        else:
            raise WireError(f"{where}: expected bytes, got {type(value).__name__}")
        # Go's decoder makes nil of an empty byte string; whoever allows None sees the same.
        return data or zero

    return {str: text, int: number, bool: boolean, float: real, bytes: raw}[kind]


def _time_reader(optional: bool, where: str) -> Callable[[Any], Any]:
    zero = None if optional else ZERO_TIME

    def read(value: Any) -> Any:
        if value is None:
            return zero
        if value.__class__ is str:
            value = value.encode("utf-8", "surrogateescape")
        if value.__class__ is not bytes:
            raise WireError(f"{where}: expected a time, got {type(value).__name__}")
        try:
            return GoTime.from_bytes(value)
        except ValueError as error:
            raise WireError(f"{where}: {error}") from None

    return read


def _list_reader(element: Callable[[Any], Any], optional: bool, where: str) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if value.__class__ is list:
            return [element(item) for item in value]
        if value is None:
            return None if optional else []
        raise WireError(f"{where}: expected a list, got {type(value).__name__}")

    return read


def _dict_reader(key: Any, element: Callable[[Any], Any], optional: bool, where: str) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if value.__class__ is dict:
            for name in value:
                if name.__class__ is not key:
                    raise WireError(f"{where}: a key is {type(name).__name__}, not {key.__name__}")
            return {name: element(item) for name, item in value.items()}
        if value is None:
            return None if optional else {}
        raise WireError(f"{where}: expected a map, got {type(value).__name__}")

    return read


def _free_form(value: Any) -> Any:
    return value


def pack_builtins(value: Any, single_floats: bool = False) -> bytes:
    """Encode builtins in Consul's dialect of msgpack (no str8, no bin); floats of double precision, or of single."""
    try:
        packed: bytes = msgpack.packb(
            value, use_bin_type=False, unicode_errors="surrogateescape", use_single_float=single_floats
        )
    except (ValueError, OverflowError, TypeError) as error:
        raise WireError(f"cannot encode: {error}") from None
    return packed


def unpack_builtins(data: bytes | memoryview) -> Any:
    """Decode one msgpack value; raw strings become `str` (bytes that are not UTF-8 survive as surrogates).

    Sizes are bounded by the size of `data` itself; raises WireError for anything that is not exactly one value.
    """
    try:
        return msgpack.unpackb(
            data, raw=False, unicode_errors="surrogateescape", strict_map_key=False
        )
    except (ValueError, msgpack.exceptions.UnpackException, RecursionError, TypeError) as error:
        raise WireError(f"not a msgpack value: {error or type(error).__name__}") from None


def pack(value: Wire) -> bytes:
    """The bytes of a struct, as Consul writes them."""
    return pack_builtins(to_wire(value))


def unpack(cls: type[W], data: bytes | memoryview) -> W:
    """Read a struct from exactly one msgpack value; raises WireError."""
    return from_wire(cls, unpack_builtins(data))


def raw_string_form(cls: Any) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """The form of a type with a binary marshaler of its own: one raw string that holds the map of its fields."""
    compiled: list[Callable[[Any], Any]] = []

    def functions() -> list[Callable[[Any], Any]]:
        if not compiled:
            compiled.extend((compile_fields_to_wire(cls), compile_fields_from_wire(cls)))
        return compiled

    def encode(value: Any) -> bytes:
        return pack_builtins(functions()[0](value))

    def decode(value: Any) -> Any:
        if value is None or value == "":
            return cls()
        if isinstance(value, dict):
            return functions()[1](value)
        return functions()[1](unpack_builtins(raw_bytes(value, cls.__name__)))

    return encode, decode


def raw_bytes(value: Any, where: str) -> bytes:
    """The bytes of a decoded raw string."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    if isinstance(value, bytes):
        return value
    raise WireError(f"{where}: expected a raw string, got {type(value).__name__}")


def unpack_sequence(data: bytes, most: int | None, least: int = 1) -> list[Any]:
    """Decode msgpack values that follow one another; raises WireError beyond `most` and below `least` of them."""
    unpacker = msgpack.Unpacker(
        raw=False, unicode_errors="surrogateescape", strict_map_key=False, max_buffer_size=max(1, len(data))
    )
    unpacker.feed(data)
    values: list[Any] = []
    try:
        for value in unpacker:
            if most is not None and len(values) == most:
                raise WireError(f"more than {most} msgpack values")
            values.append(value)
    except (ValueError, TypeError, msgpack.exceptions.UnpackException, RecursionError) as error:
        if isinstance(error, WireError):
            raise
        raise WireError(f"not a msgpack value: {error}") from None
    if unpacker.tell() != len(data):
        raise WireError("a msgpack value is cut short")
    if len(values) < least:
        raise WireError(f"fewer than {least} msgpack values")
    return values
