"""/v1/event: user events."""

from typing import Any

from agent.http.described import DC, INDEX, WAIT, Operation, Param, Raw
from agent.http.routing import JSON, ApiRequest, ApiResponse, HttpError, route
from model.gojson import encode_json
from model.structs.catalog_rpc import EventFireRequest

EVENT_FILTERS = tuple(Param(name, f"Expression for a {name}.") for name in ("node", "service", "tag"))
EVENT = {
    **dict.fromkeys(("ID", "Name", "NodeFilter", "ServiceFilter", "TagFilter"), str),
    "Payload": bytes | None,
    "Version": int,
    "LTime": int,
}


@route(
    "PUT",
    "/v1/event/fire/",
    Operation(
        "{name}",
        (DC, *EVENT_FILTERS),
        Raw("application/octet-stream", "What the event says; with its name and filters at most 512 bytes."),
        EVENT,
    ),
    prefix=True,
)
async def fire(request: ApiRequest) -> Any:
    """Send a user event."""
    if not request.rest:
        raise HttpError(400, "Missing name")
    agent = request.agent
    try:
        event = agent.events.make(
            request.rest,
            await request.raw_body(),
            node=request.param("node"),
            service=request.param("service"),
            tag=request.param("tag"),
        )
    except ValueError as error:
        raise HttpError(500, str(error)) from None
    await request.call(
        "Internal.EventFire",
        EventFireRequest(name=event.name, payload=event.encode(), datacenter=request.datacenter),
    )
    return event.shown()


@route(
    "GET",
    "/v1/event/list",
    Operation(query=(INDEX, WAIT, Param("name", "Only events of this name."), *EVENT_FILTERS), answer=[EVENT]),
)
async def list_events(request: ApiRequest) -> ApiResponse:
    """The events that this agent has seen; with `?index=` the answer waits for the next."""
    agent = request.agent
    options = request.waiting()
    index = options.get("min_query_index", 0)
    wait = request.hold()
    await request.authorizer()  # Whoever is unknown is told so before waiting.
    found, present = await agent.events.listed(request.param("name"), index, wait)
    authz = await request.authorizer()
    seen = [event for event in found if authz.allowed("event", "read", event.name)]
    body = encode_json([event.shown() for event in seen], request.pretty)
    return ApiResponse(body, 200, JSON, {"X-Consul-Index": str(present)})
