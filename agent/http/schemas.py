"""JSON Schemas of what the API takes and answers, made from the tables by which `model.gojson` reads and writes.

The structs' names in JSON, what is hidden, which numbers may be texts and which lists may be null are all told by
`model.codec.fields_of`, so a schema says what the codec does. Structs that are not `Wire` are msgspec's to describe.
"""

import inspect
import types
import typing
from typing import Any, Union

import msgspec

from model.codec import DURATION, READABLE_DURATION, UNSIGNED, Field, Wire, fields_of, unwrap
from model.gotime import GoTime
from model.structs.config_rpc import CONFIG_ENTRY_KINDS, ConfigEntry

Schema = dict[str, Any]
COMPONENTS = "#/components/schemas/"
DURATION_TEXT = r"^-?([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$"
_PLAIN: dict[Any, Schema] = {
    str: {"type": "string"},
    int: {"type": "integer", "format": "int64"},
    bool: {"type": "boolean"},
    float: {"type": "number", "format": "double"},
    bytes: {"type": "string", "contentEncoding": "base64"},
    GoTime: {"type": "string", "format": "date-time"},
    Any: {},
}


class Schemas:
    """Makes schemas; `components` holds those of the structs that they refer to, by name."""

    def __init__(self) -> None:
        self.components: dict[str, Schema] = {}
        self._owners: dict[str, Any] = {}

    def of(self, kind: Any) -> Schema:
        """The schema of a type, or of an example as `agent.http.described` has them. Raises TypeError."""
        if kind == ConfigEntry:
            return self._config_entry()
        if isinstance(kind, dict):
            return {"type": "object", "properties": {name: self.of(item) for name, item in kind.items()}}
        if isinstance(kind, list):
            return {"type": "array", "items": self.of(kind[0])}
        if typing.get_origin(kind) in (Union, types.UnionType):
            return _any_of([self.of(option) for option in typing.get_args(kind)])
        if kind is type(None):
            return {"type": "null"}
        markers: list[Any] = []
        bare, _ = unwrap(kind, markers)
        return self._value(bare, next((one for one in markers if one in (DURATION, READABLE_DURATION)), None))

    def _value(self, kind: Any, marker: Any = None) -> Schema:
        if marker is DURATION:
            return {"type": ["integer", "string"], "format": "int64", "description": "Nanoseconds, or such as `10s`."}
        if marker is READABLE_DURATION:
            return {"type": ["string", "integer"], "description": "Such as `10s`, or nanoseconds."}
        origin, arguments = typing.get_origin(kind), typing.get_args(kind)
        if origin is list:
            return {"type": "array", "items": self.of(arguments[0])}
        if origin is dict:
            return {"type": "object", "additionalProperties": self.of(arguments[1])}
        try:
            return dict(_PLAIN[kind])
        except KeyError:
            return self._reference(kind)

    def _reference(self, kind: Any) -> Schema:
        if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
            raise TypeError(f"{kind} has no schema")
        if not issubclass(kind, Wire):
            (schema,), components = msgspec.json.schema_components([kind], ref_template=COMPONENTS + "{name}")
            self.components.update(components)
            return schema
        name = kind.__name__
        if self._owners.setdefault(name, kind) is not kind:
            raise TypeError(f"two structs are called {name}")
        if name not in self.components:
            self.components[name] = {}  # Structs refer to each other in circles.
            self.components[name] = self._struct(kind)
        return {"$ref": COMPONENTS + name}

    def _struct(self, cls: type[Wire]) -> Schema:
        properties = {one.name: self._field(one) for one in fields_of(cls) if not one.hidden}
        text = {"description": inspect.cleandoc(cls.__doc__)} if cls.__doc__ else {}
        return {"type": "object", **text, "properties": properties, "additionalProperties": False}

    def _field(self, field: Field) -> Schema:
        schema = self._value(field.kind, field.marker)
        if field.attribute in UNSIGNED:
            schema |= {"format": "uint64", "minimum": 0}
        return _or_null(schema) if field.optional and not field.never_null else schema

    def _config_entry(self) -> Schema:
        options = []
        for kind, cls in CONFIG_ENTRY_KINDS.items():
            schema = self._struct(cls)
            schema["properties"] = schema["properties"] | {"Kind": {"const": kind}}
            schema["required"] = ["Kind"]
            name = "".join(word.capitalize() for word in kind.split("-")) + "Entry"
            self.components[name] = schema
            options.append({"$ref": COMPONENTS + name})
        self.components["ConfigEntry"] = {"description": "An entry of some kind.", "oneOf": options}
        return {"$ref": COMPONENTS + "ConfigEntry"}


def _or_null(schema: Schema) -> Schema:
    kind = schema.get("type")
    if isinstance(kind, str):
        return {**schema, "type": [kind, "null"]}
    if isinstance(kind, list):
        return {**schema, "type": [*kind, "null"]}
    return {"anyOf": [schema, {"type": "null"}]} if schema else schema


def _any_of(schemas: list[Schema]) -> Schema:
    rest = [schema for schema in schemas if schema != {"type": "null"}]
    joined = rest[0] if len(rest) == 1 else {"anyOf": rest}
    return joined if len(rest) == len(schemas) else _or_null(joined)
