"""/v1/config: configuration entries."""

from typing import Any

import msgspec

from agent.http.described import CAS, DC, ROWS, Operation
from agent.http.numbers import unsigned
from agent.http.routing import ApiRequest, ApiResponse, HttpError, meta_headers, route
from model.gojson import JsonError, parse_json, to_json
from model.structs.config_rpc import (
    CONFIG_ENTRY_KINDS,
    ConfigEntry,
    ConfigEntryListAllRequest,
    ConfigEntryQuery,
    ConfigEntryRequest,
    kind_of,
)
from model.weak_decode import WeakError, decode_weakly


def shown(entry: Any) -> Any:
    """An entry as JSON; kinds whose struct does not carry the kind get it here."""
    body = to_json(entry)
    if "Kind" not in body:
        body = {"Kind": kind_of(entry), **body}
    return body


def parse_entry(raw: Any) -> Any:
    """An entry from parsed JSON or HCL, in either spelling of keys. Raises WeakError."""
    if not isinstance(raw, dict):
        raise WeakError(f"json: cannot unmarshal {_JSON_KINDS.get(type(raw), 'value')} into a config entry")
    kind = next((value for key, value in raw.items() if key.lower() == "kind"), None)
    if not kind:
        raise WeakError("Payload does not contain a kind/Kind key at the top level")
    cls = CONFIG_ENTRY_KINDS.get(str(kind))
    if cls is None:
        raise WeakError(f"invalid config entry kind: {kind}")
    return decode_weakly(cls, raw, ignored=frozenset() if "kind" in cls.__struct_fields__ else frozenset(("kind",)))


_JSON_KINDS = {str: "string", list: "array", int: "number", float: "number", bool: "bool", type(None): "null"}


@route("PUT", "/v1/config", Operation(query=(DC, CAS), body=ConfigEntry, answer=bool))
async def apply(request: ApiRequest) -> bool:
    """Write an entry."""
    raw = await request.raw_body()
    try:
        entry = parse_entry(parse_json(raw))
    except (JsonError, WeakError) as error:
        raise HttpError(400, f"Request decoding failed: {error}") from None
    op = "upsert"
    if request.has("cas"):
        op = "upsert-cas"
        entry = msgspec.structs.replace(entry, modify_index=unsigned(request.param("cas")))
    return bool(await request.call("ConfigEntry.Apply", ConfigEntryRequest(op=op, entry=entry)))


def _split(request: ApiRequest) -> tuple[str, str]:
    kind, _, name = request.rest.partition("/")
    return kind, name


@route(
    "GET",
    "/v1/config/",
    Operation(
        "{kind}/{name}", ROWS, answer=ConfigEntry, statuses={404: "There is no such entry."}, summary="One entry."
    ),
    Operation("{kind}", ROWS, answer=list[ConfigEntry], summary="All entries of a kind."),
    Operation("", ROWS, answer=list[ConfigEntry], summary="All entries."),
    prefix=True,
)
async def read(request: ApiRequest) -> ApiResponse:
    """One entry, or all of a kind."""
    kind, name = _split(request)
    if not kind:
        reply = await request.call("ConfigEntry.ListAll", ConfigEntryListAllRequest(**request.query_options()))
        return request.json([shown(entry) for entry in reply.entries or []], reply)
    if kind not in CONFIG_ENTRY_KINDS:
        raise HttpError(400, f'invalid config entry kind "{kind}"')
    options = request.query_options()
    if not name:
        reply = await request.call("ConfigEntry.List", ConfigEntryQuery(kind=kind, **options))
        return request.json([shown(entry) for entry in reply.entries or []], reply)
    reply = await request.call("ConfigEntry.Get", ConfigEntryQuery(kind=kind, name=name, **options))
    if reply.entry is None:
        text = f'Config entry not found for "{kind}" / "{name}"'
        raise HttpError(404, text, meta_headers(reply, request))
    return request.json(shown(reply.entry), reply)


@route(
    "DELETE",
    "/v1/config/",
    Operation(
        "{kind}/{name}", (DC, CAS), answer=dict[str, Any] | bool, statuses={404: "The kind or the name is missing."}
    ),
    prefix=True,
)
async def delete(request: ApiRequest) -> Any:
    """Remove an entry."""
    kind, name = _split(request)
    if not kind or not name:
        raise HttpError(404, "Must provide both a kind and name to delete")
    cls = CONFIG_ENTRY_KINDS.get(kind)
    if cls is None:
        raise HttpError(400, f"invalid config entry kind: {kind}")
    fields: dict[str, Any] = {"name": name} if "name" in cls.__struct_fields__ else {}
    if "kind" in cls.__struct_fields__:
        fields["kind"] = kind
    op = "delete"
    if request.has("cas"):
        op = "delete-cas"
        fields["modify_index"] = unsigned(request.param("cas"))
    reply = await request.call("ConfigEntry.Delete", ConfigEntryRequest(op=op, entry=cls(**fields)))
    return reply.deleted if op == "delete-cas" else {}
