"""/v1/connect/intentions."""

from typing import Any

import msgspec

from agent.http.described import ASK, CACHED, DC, READ, ROWS, WRITE, Operation, Param
from agent.http.routing import ApiRequest, ApiResponse, HttpError, route
from model.errors import ACL_NOT_FOUND, INTENTION_NOT_FOUND, PERMISSION_DENIED, RpcError
from model.structs.intentions import (
    Intention,
    IntentionListRequest,
    IntentionMatchEntry,
    IntentionQueryCheck,
    IntentionQueryExact,
    IntentionQueryMatch,
    IntentionQueryRequest,
    IntentionRequest,
)

SOURCE = Param("source", "Name of the service that calls.", required=True)
DESTINATION = Param("destination", "Name of the service that is called.", required=True)
BY = Param("by", "Which side the names are of.", required=True, choice=("source", "destination"))
NAMES = Param("name", "Name of a service.", many=True, required=True)


def one_name(request: ApiRequest, key: str, may_be_empty: bool = False) -> tuple[str, str]:
    """A service named by a parameter, and its peer. Raises HttpError."""
    values = request.params.get(key, [])
    if len(values) != 1 or not (values[0] or may_be_empty):
        raise HttpError(500, f"required query parameter '{key}' not set")
    return parse_name(values[0], key)


def parse_name(text: str, key: str) -> tuple[str, str]:
    """`name`, `namespace/name`, `partition/namespace/name` or `peer:x/name`: the name and the peer."""
    if text.startswith("peer:"):
        peer, _, name = text[len("peer:") :].partition("/")
        if not name:
            raise HttpError(500, f'{key} "{text}" is invalid: need to specify the service name as well')
        return name.rpartition("/")[2], peer
    if text.count("/") > 2:
        raise HttpError(500, f"{key} \"{text}\" is invalid: input can contain at most two '/'")
    return text.rpartition("/")[2], ""


def own_name(text: str, key: str) -> str:
    """The name of a service of this cluster. Raises HttpError for one of a peer."""
    name, peer = parse_name(text, key)
    if peer:
        raise HttpError(500, f'{key} "{text}" is invalid: cannot specify a peer here')
    return name


def _refused(error: RpcError, not_found: int = 404) -> HttpError:
    if error.has(INTENTION_NOT_FOUND):
        return HttpError(not_found, INTENTION_NOT_FOUND)
    if error.text.endswith("UUID must be 36 characters") and not error.text.startswith("Intention lookup"):
        return HttpError(400, error.text)
    forbidden = error.has(PERMISSION_DENIED) or error.has(ACL_NOT_FOUND)
    return HttpError(403 if forbidden else 500, error.text)


@route("GET", "/v1/connect/intentions", Operation(query=ROWS, answer=list[Intention]))
async def list_intentions(request: ApiRequest) -> ApiResponse:
    """All intentions in the order in which they are looked at."""
    reply = await request.call("Intention.List", IntentionListRequest(**request.query_options()))
    return request.json(reply.intentions or [], reply)


@route(
    "POST",
    "/v1/connect/intentions",
    Operation(query=WRITE, body=Intention, answer={"ID": str}, statuses={404: "There is no such intention."}),
)
async def create(request: ApiRequest) -> Any:
    """Create an intention with an ID."""
    intention = await request.body(Intention, prefix="Failed to decode request body: ", status=500)
    _check_namespaces(intention)
    args = IntentionRequest(op="create", intention=intention, datacenter=request.datacenter)
    try:
        return {"ID": await request.call("Intention.Apply", args)}
    except RpcError as error:
        raise _refused(error) from None


def _check_namespaces(intention: Intention) -> None:
    for name, value in (("SourceNS", intention.source_ns), ("DestinationNS", intention.destination_ns)):
        if value not in ("", "default"):
            raise HttpError(400, f"Invalid {name}({value}): Namespaces is a Consul Enterprise feature")
    if intention.source_partition:
        raise HttpError(400, "Cannot specify a source partition with this endpoint")
    if intention.destination_partition:
        raise HttpError(400, "Cannot specify a destination partition with this endpoint")


@route(
    "GET",
    "/v1/connect/intentions/exact",
    Operation(query=(*READ, SOURCE, DESTINATION), answer=Intention, statuses={404: "There is no such intention."}),
)
async def get_exact(request: ApiRequest) -> ApiResponse:
    """The intention between two names."""
    source, peer = one_name(request, "source")
    destination, _ = one_name(request, "destination")
    exact = IntentionQueryExact(
        source_name=source,
        source_peer=peer,
        source_ns="default",
        destination_name=destination,
        destination_ns="default",
    )
    args = IntentionQueryRequest(exact=exact, **request.query_options())
    try:
        reply = await request.call("Intention.Get", args)
    except RpcError as error:
        raise _refused(error) from None
    return request.json(reply.intentions[0], reply)


@route("PUT", "/v1/connect/intentions/exact", Operation(query=(DC, SOURCE, DESTINATION), body=Intention, answer=bool))
async def put_exact(request: ApiRequest) -> bool:
    """Write the intention between two names."""
    source, peer = one_name(request, "source")
    destination, _ = one_name(request, "destination")
    if peer:
        raise HttpError(500, f'source "{request.param("source")}" is invalid: cannot specify a peer here')
    intention = await request.body(Intention)
    if intention.source_peer:
        raise HttpError(500, "SourcePeer field is not supported on this endpoint. Use config entries instead")
    intention = msgspec.structs.replace(intention, source_name=source, destination_name=destination, id="")
    await request.call(
        "Intention.Apply", IntentionRequest(op="upsert", intention=intention, datacenter=request.datacenter)
    )
    return True


@route("DELETE", "/v1/connect/intentions/exact", Operation(query=(DC, SOURCE, DESTINATION), answer=bool))
async def delete_exact(request: ApiRequest) -> bool:
    """Remove the intention between two names."""
    source, _ = one_name(request, "source")
    destination, _ = one_name(request, "destination")
    intention = Intention(source_name=source, destination_name=destination)
    await request.call(
        "Intention.Apply", IntentionRequest(op="delete", intention=intention, datacenter=request.datacenter)
    )
    return True


@route(
    "GET",
    "/v1/connect/intentions/match",
    Operation(query=(*READ, CACHED, BY, NAMES), answer=dict[str, list[Intention] | None]),
)
async def match(request: ApiRequest) -> ApiResponse:
    """For each name, the intentions that concern it."""
    by = request.param("by")
    if len(request.params.get("by", ())) != 1:
        raise HttpError(500, "required query parameter 'by' not set")
    if by not in ("source", "destination"):
        raise HttpError(500, "'by' parameter must be one of 'source' or 'destination'")
    names = request.params.get("name", [])
    if not names:
        raise HttpError(500, "required query parameter 'name' not set")
    entries = [IntentionMatchEntry(name=own_name(name, "name"), namespace="default") for name in names]
    wanted = IntentionQueryMatch(type=by, entries=entries)
    reply = await request.cached_call("Intention.Match", IntentionQueryRequest(match=wanted, **request.query_options()))
    found = [one or None for one in reply.matches or ()]
    return request.json(dict(zip(names, found, strict=False)), reply)


@route(
    "GET",
    "/v1/connect/intentions/check",
    Operation(
        query=(*ASK, SOURCE, DESTINATION, Param("source-type", "What the source is.", choice=("consul",))),
        answer={"Allowed": bool},
    ),
)
async def check(request: ApiRequest) -> Any:
    """Whether a source may call a destination."""
    one_name(request, "source", may_be_empty=True)
    source = own_name(request.param("source"), "source")
    one_name(request, "destination", may_be_empty=True)
    destination = own_name(request.param("destination"), "destination")
    if request.has("source-type") and request.param("source-type") not in ("", "consul"):
        raise HttpError(500, f'unsupported SourceType: "{request.param("source-type")}"')
    wanted = IntentionQueryCheck(
        source_name=source,
        source_ns="default",
        destination_name=destination,
        destination_ns="default",
        source_type="consul",
    )
    reply = await request.call("Intention.Check", IntentionQueryRequest(check=wanted, **request.query_options()))
    return {"Allowed": reply.allowed}


@route(
    "GET",
    "/v1/connect/intentions/",
    Operation("{id}", READ, answer=Intention, statuses={404: "There is no such intention."}),
    prefix=True,
)
async def get_by_id(request: ApiRequest) -> ApiResponse:
    """An intention by its ID."""
    if not request.rest:
        raise HttpError(404, INTENTION_NOT_FOUND)
    try:
        args = IntentionQueryRequest(intention_id=request.rest, **request.query_options())
        reply = await request.call("Intention.Get", args)
    except RpcError as error:
        raise _refused(error) from None
    return request.json(reply.intentions[0], reply)


@route("PUT", "/v1/connect/intentions/", Operation("{id}", WRITE, Intention, {"ID": str}), prefix=True)
async def update_by_id(request: ApiRequest) -> Any:
    """Change an intention by its ID."""
    intention = await request.body(Intention)
    intention = msgspec.structs.replace(intention, id=request.rest)
    args = IntentionRequest(op="update", intention=intention, datacenter=request.datacenter)
    return {"ID": await request.call("Intention.Apply", args)}


@route("DELETE", "/v1/connect/intentions/", Operation("{id}", WRITE, answer=bool), prefix=True)
async def delete_by_id(request: ApiRequest) -> bool:
    """Remove an intention by its ID."""
    args = IntentionRequest(op="delete", intention=Intention(id=request.rest), datacenter=request.datacenter)
    await request.call("Intention.Apply", args)
    return True
