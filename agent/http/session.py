"""/v1/session and /v1/coordinate."""

from typing import Any

import msgspec

from agent.http.described import READ, ROWS, WRITE, NoBody, Operation, Param
from agent.http.routing import JSON, ApiRequest, ApiResponse, HttpError, meta_headers, route
from model.durations import SECOND
from model.gojson import JsonError, encode_json, from_json, parse_json
from model.structs.base import Empty
from model.structs.catalog_rpc import DCSpecificRequest, NodeSpecificRequest
from model.structs.coordinate import Coordinate, CoordinateUpdateRequest, DatacenterMap
from model.structs.session import Session, SessionRequest, SessionSpecificRequest

SEGMENT = Param("segment", "Only nodes of this network segment.")

DEFAULT_LOCK_DELAY = 15 * SECOND
SMALL_DELAY = 1000
"""A lock delay below this counts seconds, in whatever unit it was given; negative ones do, too."""
MIN_DELAY = -(1 << 63)


@route("PUT", "/v1/session/create", Operation(query=WRITE, body=Session | None, answer={"ID": str}))
async def create(request: ApiRequest) -> Any:
    """Make a session of this node (or of another one) and return its ID."""
    session = await _session(request)
    if session.node_checks is None and session.checks is None:
        session = msgspec.structs.replace(session, node_checks=["serfHealth"])
    delay = session.lock_delay
    if delay < SMALL_DELAY:
        delay = max(delay * SECOND, MIN_DELAY)
    session = msgspec.structs.replace(session, lock_delay=delay, id="")
    args = SessionRequest(op="create", session=session, datacenter=request.datacenter)
    return {"ID": await request.call("Session.Apply", args)}


_DECODED = "struct { LockDelay interface {}; *structs.Alias }"
"""What Consul reads a session into, as its errors name it."""


def _is_delay(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


async def _session(request: ApiRequest) -> Session:
    raw = await request.raw_body()
    base = Session(lock_delay=DEFAULT_LOCK_DELAY, node=request.agent.config.node_name)
    if not raw.strip() or raw.strip() == b"null":
        return base
    try:
        body = parse_json(raw)
        if isinstance(body, dict):  # A delay that is neither text nor number is passed over.
            body = {key: value for key, value in body.items() if key.lower() != "lockdelay" or _is_delay(value)}
        given = from_json(Session, body, unknown="ignore")
    except JsonError as error:
        text = str(error).replace("type structs.Session", f"type {_DECODED}").replace("field Session.", "field .Alias.")
        raise HttpError(400, f"Request decode failed: {text}") from None
    named = {key.lower() for key, value in body.items() if value is not None}
    missing = {field: getattr(base, field) for field in ("lock_delay", "node") if field.replace("_", "") not in named}
    return msgspec.structs.replace(given, **missing)


@route("PUT", "/v1/session/destroy/", Operation("{id}", WRITE, answer=bool), prefix=True)
async def destroy(request: ApiRequest) -> bool:
    """End a session."""
    if not request.rest:
        raise HttpError(400, "Missing session")
    args = SessionRequest(op="destroy", session=Session(id=request.rest), datacenter=request.datacenter)
    await request.call("Session.Apply", args)
    return True


@route(
    "PUT",
    "/v1/session/renew/",
    Operation("{id}", WRITE, answer=list[Session], statuses={404: "There is no such session."}),
    prefix=True,
)
async def renew(request: ApiRequest) -> ApiResponse:
    """Begin a session's time anew."""
    if not request.rest:
        raise HttpError(400, "Missing session")
    args = SessionSpecificRequest(session_id=request.rest, datacenter=request.datacenter)
    reply = await request.call("Session.Renew", args)
    if not reply.sessions:
        raise HttpError(404, f"Session id '{request.rest}' not found")
    return request.json(reply.sessions)


@route("GET", "/v1/session/info/", Operation("{id}", READ, answer=list[Session]), prefix=True)
async def info(request: ApiRequest) -> ApiResponse:
    """One session."""
    if not request.rest:
        raise HttpError(400, "Missing session")
    args = SessionSpecificRequest(session_id=request.rest, **request.query_options())
    reply = await request.call("Session.Get", args)
    return request.json(reply.sessions or [], reply, consistency=False)


@route("GET", "/v1/session/list", Operation(query=ROWS, answer=list[Session]))
async def list_sessions(request: ApiRequest) -> ApiResponse:
    """All sessions."""
    reply = await request.call("Session.List", SessionSpecificRequest(**request.query_options()))
    return request.json(reply.sessions or [], reply, consistency=False)


@route("GET", "/v1/session/node/", Operation("{node}", ROWS, answer=list[Session]), prefix=True)
async def node_sessions(request: ApiRequest) -> ApiResponse:
    """The sessions of a node."""
    if not request.rest:
        raise HttpError(400, "Missing node name")
    args = NodeSpecificRequest(node=request.rest, **request.query_options())
    reply = await request.call("Session.NodeSessions", args)
    return request.json(reply.sessions or [], reply, consistency=False)


def _require_coordinates(request: ApiRequest) -> None:
    if request.agent.config.disable_coordinates:
        raise HttpError(401, "Coordinate support disabled")


@route(
    "GET", "/v1/coordinate/datacenters", Operation(answer=list[DatacenterMap], statuses={401: "Coordinates are off."})
)
async def coordinate_datacenters(request: ApiRequest) -> Any:
    """Where the servers of each datacenter are."""
    _require_coordinates(request)
    return await request.call("Coordinate.ListDatacenters", Empty())


@route(
    "GET",
    "/v1/coordinate/nodes",
    Operation(query=(*ROWS, SEGMENT), answer=list[Coordinate], statuses={401: "Coordinates are off."}),
)
async def coordinate_nodes(request: ApiRequest) -> ApiResponse:
    """Where all nodes are."""
    _require_coordinates(request)
    reply = await request.call("Coordinate.ListNodes", DCSpecificRequest(**request.query_options()))
    segment = request.param("segment")
    rows = [row for row in reply.coordinates or [] if not request.has("segment") or row.segment == segment]
    return request.json(rows, reply, consistency=False)


@route(
    "GET",
    "/v1/coordinate/node/",
    Operation(
        "{node}",
        READ,
        answer=list[Coordinate],
        statuses={401: "Coordinates are off.", 404: NoBody("Nothing is known of this node.")},
    ),
    prefix=True,
)
async def coordinate_node(request: ApiRequest) -> ApiResponse:
    """Where one node is."""
    _require_coordinates(request)
    args = NodeSpecificRequest(node=request.rest, **request.query_options())
    reply = await request.call("Coordinate.Node", args)
    headers = meta_headers(reply, request, consistency=False)
    if not reply.coordinates:
        return ApiResponse(b"", 404, "", headers)
    return ApiResponse(encode_json(reply.coordinates, request.pretty), 200, JSON, headers)


@route("PUT", "/v1/coordinate/update", Operation(body=CoordinateUpdateRequest, statuses={401: "Coordinates are off."}))
async def coordinate_update(request: ApiRequest) -> ApiResponse:
    """Note where a node is."""
    _require_coordinates(request)
    args = await request.body(CoordinateUpdateRequest)
    if not args.datacenter:
        args = msgspec.structs.replace(args, datacenter=request.agent.config.datacenter)
    await request.call("Coordinate.Update", args)
    return ApiResponse()
