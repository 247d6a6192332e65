"""/v1/agent: this agent, its services and its checks; /v1/event."""

import asyncio
import hashlib
from typing import Any

from agent.definitions import PROXY_KINDS, STATUSES, DefinitionError, check_of, expand, validate_check
from agent.describe import describe, host_info, shown_member, version_info
from agent.http.described import DC, FILTER, HASH, INDEX, NOTE, WAIT, Operation, Param, Raw
from agent.http.routing import JSON, TEXT, ApiRequest, ApiResponse, HttpError, route
from agent.metrics import metrics_answer
from gossip.driver import JoinError
from model.filter import BAD_FILTER, FilterError, compile_filter, is_expression
from model.gojson import encode_json, to_json
from model.structs.catalog import CheckType, HealthCheck, NodeService, ServiceDefinition, ServiceID
from model.structs.catalog_rpc import EventFireRequest

NO_CHECK = "There is no such check."
ENABLE = Param("enable", "Begin (true) or end (false).", "truth", required=True)
REASON = Param("reason", "Why; shown with the check that this makes.")
REPLACE_CHECKS = Param("replace-existing-checks", "Checks that the body does not name go.", "truth")
TEXT_FORMAT = Param("format", "text: only the word.", choice=("text",))
HEALTH_STATUSES = {404: "There is no such service.", 429: "A check warns.", 503: "A check fails, or maintenance."}
EVENT_FILTERS = tuple(Param(name, f"Expression for a {name}.") for name in ("node", "service", "tag"))
EVENT = {
    **dict.fromkeys(("ID", "Name", "NodeFilter", "ServiceFilter", "TagFilter"), str),
    "Payload": bytes | None,
    "Version": int,
    "LTime": int,
}

NODE_MAINTENANCE = "_node_maintenance"
_FALSE = ("0", "f", "F", "FALSE", "false", "False")


class CheckDefinition(CheckType, frozen=True):
    """A check as /v1/agent/check/register takes it."""

    id: str = ""
    service_id: str = ""
    token: str = ""


def _unknown(what: str, identifier: str) -> str:
    return f'Unknown {what} ID "{identifier}". Ensure that the {what} ID is passed, not the {what} name.'


def shown_service(service: NodeService, datacenter: str) -> dict[str, Any]:
    """A service as the agent's API shows it."""
    body: dict[str, Any] = {"Kind": service.kind} if service.kind else {}
    body |= {
        "ID": service.id,
        "Service": service.service,
        "Tags": service.tags or [],
        "Meta": service.meta or {},
        "Port": service.port,
        "Address": service.address,
    }
    tagged = dict(service.tagged_addresses or {})
    if tagged:
        body["TaggedAddresses"] = to_json(tagged)
    if service.socket_path:
        body["SocketPath"] = service.socket_path
    body["Weights"] = to_json(service.weights)
    body["EnableTagOverride"] = service.enable_tag_override
    if service.kind in PROXY_KINDS:
        body["Proxy"] = _shown_proxy(service)
    connect = to_json(service.connect)
    if connect:
        body["Connect"] = connect
    body["Datacenter"] = datacenter
    return body


def _shown_proxy(service: NodeService) -> dict[str, Any]:
    proxy: dict[str, Any] = to_json(service.proxy)
    if not proxy["Mode"]:
        del proxy["Mode"]
    for upstream in proxy.get("Upstreams", ()):
        if not upstream["Datacenter"]:
            del upstream["Datacenter"]
    for path in proxy["Expose"].get("Paths", ()):
        path.setdefault("ParsedFromCheck", False)
    return proxy


def filtered(expression: str, cls: Any, rows: dict[str, Any], shown: dict[str, Any]) -> dict[str, Any]:
    """The shown rows whose struct passes a filter expression."""
    try:
        passes = compile_filter(expression, cls)
    except FilterError as error:
        # Of checks Consul judges the selectors only as it meets the first one, so without the introduction.
        late = cls is HealthCheck and is_expression(expression)
        raise HttpError(500, str(error) if late else f"{BAD_FILTER}{error}") from None
    return {key: value for key, value in shown.items() if passes(rows[key])}


@route("GET", "/v1/agent/self", Operation(answer=dict[str, Any]))
async def myself(request: ApiRequest) -> Any:
    """What this agent is and how it is configured."""
    return describe(request.agent)


@route("GET", "/v1/agent/version", Operation(answer=dict[str, str]))
async def version(request: ApiRequest) -> Any:
    """The version."""
    return version_info()


@route("GET", "/v1/agent/host", Operation(answer=dict[str, Any]))
async def host(request: ApiRequest) -> Any:
    """The machine."""
    return host_info()


@route(
    "GET",
    "/v1/agent/members",
    Operation(query=(Param("wan", "1 or true: the servers as the WAN pool has them."),), answer=list[dict[str, Any]]),
)
async def members(request: ApiRequest) -> Any:
    """The members of the gossip pool."""
    agent = request.agent
    found = [shown_member(member) for member in agent.delegate.members()]
    if request.param("wan") in ("1", "true") and agent.delegate.is_server:
        found = [
            {**one, "Name": f"{one['Name']}.{agent.config.datacenter}", "Port": agent.config.ports.serf_wan}
            for one in found
            if one["Tags"].get("role") == "consul"
        ]
    return found


@route("PUT", "/v1/agent/join/", Operation("{address}", (Param("wan", "Accepted for compatibility."),)), prefix=True)
async def join(request: ApiRequest) -> ApiResponse:
    """Join the pool at an address."""
    try:
        await request.agent.delegate.join([request.rest])
    except JoinError as error:
        raise HttpError(500, str(error)) from None
    return ApiResponse()


@route(
    "PUT",
    "/v1/agent/force-leave/",
    Operation("{node}", (Param("prune", "Forget the member at once.", "flag"),)),
    prefix=True,
)
async def force_leave(request: ApiRequest) -> ApiResponse:
    """Declare that a failed member has left."""
    if not request.agent.delegate.gossip.force_leave(request.rest, request.has("prune")):
        raise HttpError(500, f"agent: No node found with name '{request.rest}'")
    return ApiResponse()


@route("PUT", "/v1/agent/leave", Operation())
async def leave(request: ApiRequest) -> ApiResponse:
    """Leave the cluster and stop."""
    await request.agent.leave()
    request.agent.request_stop()
    return ApiResponse()


@route("PUT", "/v1/agent/reload", Operation())
async def reload(request: ApiRequest) -> ApiResponse:
    """Read the configuration again."""
    problem = await request.agent.reload()
    if problem:
        raise HttpError(500, problem)
    return ApiResponse()


@route(
    "GET",
    "/v1/agent/metrics",
    Operation(query=(Param("format", "prometheus: in its text format."),), answer=dict[str, Any], also=("text/plain",)),
)
async def metrics(request: ApiRequest) -> ApiResponse:
    """Figures, as JSON or in Prometheus' format."""
    return metrics_answer(request.agent, prometheus=request.param("format") == "prometheus", pretty=request.pretty)


# Services


@route("GET", "/v1/agent/services", Operation(query=(FILTER,), answer=dict[str, dict[str, Any]]))
async def services(request: ApiRequest) -> Any:
    """This agent's services."""
    agent = request.agent
    shown = {key: shown_service(one, agent.config.datacenter) for key, one in sorted(agent.local.services.items())}
    if request.has("filter"):
        shown = filtered(request.param("filter"), NodeService, agent.local.services, shown)
    return shown


@route(
    "GET",
    "/v1/agent/service/",
    Operation("{id}", (HASH, WAIT), answer=dict[str, Any], statuses={404: "There is no such service."}),
    prefix=True,
)
async def service(request: ApiRequest) -> ApiResponse:
    """One service; with `?hash=` the answer waits until the service looks different."""
    agent = request.agent
    wanted = request.param("hash")
    wait = min(request.query_options().get("max_query_time", 0) / 1e9 or 300.0, 600.0)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait
    while True:
        found = agent.local.services.get(request.rest)
        if found is None:
            raise HttpError(404, f"unknown service ID: {request.rest}")
        body = shown_service(found, agent.config.datacenter)
        digest = hashlib.sha256(encode_json(body)).hexdigest()[:16]
        left = deadline - loop.time()
        if digest != wanted or left <= 0:
            break
        await agent.local.wait_changed(left)
    datacenter = body.pop("Datacenter")
    tail: dict[str, Any] = {key: body.pop(key) for key in ("Proxy", "Connect") if key in body}
    body = {**body, "ContentHash": digest, **tail, "Datacenter": datacenter}
    headers = {"X-Consul-ContentHash": digest}
    return ApiResponse(encode_json(body, request.pretty), 200, JSON, headers)


@route("PUT", "/v1/agent/service/register", Operation(query=(REPLACE_CHECKS,), body=ServiceDefinition))
async def register_service(request: ApiRequest) -> ApiResponse:
    """Add or replace a service, with its checks and its sidecar."""
    definition = await request.body(ServiceDefinition, style="agent")
    agent = request.agent
    try:
        parts = expand(
            definition, agent.config.node_name, agent.config.enable_script_checks, agent.registrations.sidecar_port
        )
    except DefinitionError as error:
        raise HttpError(error.status, str(error)) from None
    replace = request.has("replace-existing-checks") and request.param("replace-existing-checks") not in _FALSE
    for part in parts:
        agent.registrations.add_service(part, replace_checks=replace)
    return ApiResponse()


@route(
    "PUT", "/v1/agent/service/deregister/", Operation("{id}", statuses={404: "There is no such service."}), prefix=True
)
async def deregister_service(request: ApiRequest) -> ApiResponse:
    """Remove a service, its checks and its sidecar."""
    if request.rest not in request.agent.local.services:
        raise HttpError(404, _unknown("service", request.rest))
    request.agent.registrations.remove_service(request.rest)
    return ApiResponse()


def _flag(request: ApiRequest, name: str) -> bool:
    if not request.has(name):
        raise HttpError(400, f"Missing value for {name}")
    text = request.param(name)
    if text in ("1", "t", "T", "TRUE", "true", "True"):
        return True
    if text in _FALSE:
        return False
    raise HttpError(400, f'Invalid value for {name}: "{text}"')


@route(
    "PUT",
    "/v1/agent/service/maintenance/",
    Operation("{id}", (ENABLE, REASON), statuses={404: "There is no such service."}),
    prefix=True,
)
async def service_maintenance(request: ApiRequest) -> ApiResponse:
    """Take a service out of discovery for a while, or back."""
    if not request.rest:
        raise HttpError(400, "Missing service ID")
    enable = _flag(request, "enable")
    agent = request.agent
    if request.rest not in agent.local.services:
        raise HttpError(404, _unknown("service", request.rest))
    agent.registrations.maintenance(request.rest, enable, request.param("reason"))
    return ApiResponse()


@route("PUT", "/v1/agent/maintenance", Operation(query=(ENABLE, REASON)))
async def node_maintenance(request: ApiRequest) -> ApiResponse:
    """Take this node out of discovery for a while, or back."""
    request.agent.registrations.maintenance("", _flag(request, "enable"), request.param("reason"))
    return ApiResponse()


# Checks


@route("GET", "/v1/agent/checks", Operation(query=(FILTER,), answer=dict[str, HealthCheck]))
async def checks(request: ApiRequest) -> Any:
    """This agent's checks."""
    agent = request.agent
    shown = {key: to_json(one) for key, one in sorted(agent.local.checks.items())}
    if request.has("filter"):
        shown = filtered(request.param("filter"), HealthCheck, agent.local.checks, shown)
    return shown


@route(
    "PUT",
    "/v1/agent/check/register",
    Operation(body=CheckDefinition, statuses={404: "There is no service with this ServiceID."}),
)
async def register_check(request: ApiRequest) -> ApiResponse:
    """Add or replace a check."""
    definition = await request.body(CheckDefinition, style="agent")
    agent = request.agent
    check_id = definition.id or definition.check_id or definition.name
    if not definition.name and not definition.check_id:
        raise HttpError(400, "Missing check name")
    base = CheckType(**{name: getattr(definition, name) for name in CheckType.__struct_fields__})
    owner = None
    if definition.status and definition.status not in STATUSES:
        raise HttpError(400, "Bad check status")
    try:
        validate_check(base, agent.config.enable_script_checks)
    except DefinitionError as error:
        raise HttpError(error.status, str(error)) from None
    if definition.service_id:
        owner = agent.local.services.get(definition.service_id)
        if owner is None:
            raise HttpError(404, f'ServiceID "{definition.service_id}" does not exist')
    agent.registrations.add_check(check_of(base, agent.config.node_name, owner, check_id, definition.name), base)
    return ApiResponse()


@route("PUT", "/v1/agent/check/deregister/", Operation("{id}", statuses={404: NO_CHECK}), prefix=True)
async def deregister_check(request: ApiRequest) -> ApiResponse:
    """Remove a check."""
    if request.rest not in request.agent.local.checks:
        raise HttpError(404, _unknown("check", request.rest))
    request.agent.registrations.remove_check(request.rest)
    return ApiResponse()


def _tell(request: ApiRequest, status: str, output: str) -> ApiResponse:
    agent = request.agent
    check_id = request.rest
    if check_id not in agent.local.checks:
        raise HttpError(404, _unknown("check", check_id))
    if not agent.checks.is_ttl(check_id):
        raise HttpError(500, f'CheckID "{check_id}" does not have associated TTL')
    agent.checks.told(check_id, status, output)
    return ApiResponse()


@route("PUT", "/v1/agent/check/pass/", Operation("{id}", (NOTE,), statuses={404: NO_CHECK}), prefix=True)
async def check_pass(request: ApiRequest) -> ApiResponse:
    """A TTL check passes."""
    return _tell(request, "passing", request.param("note"))


@route("PUT", "/v1/agent/check/warn/", Operation("{id}", (NOTE,), statuses={404: NO_CHECK}), prefix=True)
async def check_warn(request: ApiRequest) -> ApiResponse:
    """A TTL check warns."""
    return _tell(request, "warning", request.param("note"))


@route("PUT", "/v1/agent/check/fail/", Operation("{id}", (NOTE,), statuses={404: NO_CHECK}), prefix=True)
async def check_fail(request: ApiRequest) -> ApiResponse:
    """A TTL check fails."""
    return _tell(request, "critical", request.param("note"))


class CheckUpdate(ServiceID, frozen=True):
    """The body of /v1/agent/check/update."""

    status: str = ""
    output: str = ""


@route("PUT", "/v1/agent/check/update/", Operation("{id}", body=CheckUpdate, statuses={404: NO_CHECK}), prefix=True)
async def check_update(request: ApiRequest) -> ApiResponse:
    """A TTL check is told its status and output."""
    update = await request.body(CheckUpdate)
    if update.status not in ("passing", "warning", "critical"):
        raise HttpError(400, f"Invalid check status: '{update.status}'")
    return _tell(request, update.status, update.output)


# Health by service

_CODES = {"passing": 200, "warning": 429, "critical": 503, "maintenance": 503}


def _aggregate(request: ApiRequest, service_id: str) -> tuple[str, list[HealthCheck]]:
    local = request.agent.local
    found = [*local.checks_of(""), *local.checks_of(service_id)]
    status = "passing"
    for check in found:
        if check.check_id == NODE_MAINTENANCE or check.check_id.startswith("_service_maintenance:"):
            return "maintenance", found
        if check.status == "critical" or (check.status == "warning" and status == "passing"):
            status = check.status
    return status, found


def _shown_in_health(check: HealthCheck) -> dict[str, Any]:
    """A check as /v1/agent/health shows it: the form of the API's own client, with an empty definition."""
    body: dict[str, Any] = to_json(check)
    body.pop("Interval")
    body.pop("Timeout")
    body["Type"] = ""
    body["ServiceTags"] = body["ServiceTags"] or None
    times = dict.fromkeys(("Interval", "Timeout", "DeregisterCriticalServiceAfter"), "0s")
    texts = dict.fromkeys(("HTTP", "Method", "Body", "TLSServerName", "TCP", "UDP", "GRPC", "OSService"), "")
    body["Definition"] = {**times, **texts, "Header": None, "TLSSkipVerify": False, "GRPCUseTLS": False}
    return body


def _health_body(request: ApiRequest, service_row: NodeService) -> tuple[str, dict[str, Any]]:
    status, found = _aggregate(request, service_row.id)
    shown = {
        "AggregatedStatus": status,
        "Service": shown_service(service_row, request.agent.config.datacenter),
        "Checks": [_shown_in_health(check) for check in found],
    }
    return status, shown


def _wants_text(request: ApiRequest) -> bool:
    return request.param("format") == "text" or request.headers.get("Accept", "").startswith("text/plain")


@route(
    "GET",
    "/v1/agent/health/service/id/",
    Operation("{id}", (TEXT_FORMAT,), answer=dict[str, Any], also=("text/plain",), statuses=HEALTH_STATUSES),
    prefix=True,
)
async def health_by_id(request: ApiRequest) -> ApiResponse:
    """One service's health as a status code."""
    found = request.agent.local.services.get(request.rest)
    if not request.rest:
        raise HttpError(500, "Missing serviceID")
    if found is None:
        if _wants_text(request):
            raise HttpError(404, f"ServiceId {request.rest} not found")
        nothing = {"AggregatedStatus": "critical", "Service": None, "Checks": None}
        return ApiResponse(encode_json(nothing, request.pretty), 404, JSON)
    status, body = _health_body(request, found)
    if _wants_text(request):
        return ApiResponse(status.encode(), _CODES[status], TEXT)
    return ApiResponse(encode_json(body, request.pretty), _CODES[status], JSON)


@route(
    "GET",
    "/v1/agent/health/service/name/",
    Operation("{name}", (TEXT_FORMAT,), answer=list[dict[str, Any]], also=("text/plain",), statuses=HEALTH_STATUSES),
    prefix=True,
)
async def health_by_name(request: ApiRequest) -> ApiResponse:
    """The worst health of a service's instances here, as a status code."""
    if not request.rest:
        raise HttpError(500, "Missing service Name")
    rows = [one for _, one in sorted(request.agent.local.services.items()) if one.service == request.rest]
    if not rows:
        if _wants_text(request):
            raise HttpError(404, f"ServiceName {request.rest} Not Found")
        return ApiResponse(encode_json([]), 404, JSON)
    found = [_health_body(request, row) for row in rows]
    order = ("maintenance", "critical", "warning", "passing")
    worst = next(status for status in order if any(one == status for one, _ in found))
    if _wants_text(request):
        return ApiResponse(worst.encode(), _CODES[worst], TEXT)
    return ApiResponse(encode_json([body for _, body in found], request.pretty), _CODES[worst], JSON)


# Events


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
    wait = min(options.get("max_query_time", 0) / 1e9 or 300.0, 600.0)
    found, present = await agent.events.listed(request.param("name"), index, wait)
    headers = {
        "X-Consul-Index": str(present),
        "X-Consul-KnownLeader": "true",
        "X-Consul-LastContact": "0",
    }
    return ApiResponse(encode_json([event.shown() for event in found], request.pretty), 200, JSON, headers)
