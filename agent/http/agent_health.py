"""/v1/agent/health: what the checks of a service here amount to, as a status code."""

from typing import Any

from agent.http.agent_shown import shown_service
from agent.http.described import Operation, Param
from agent.http.routing import JSON, TEXT, ApiRequest, ApiResponse, HttpError, route
from model.gojson import encode_json, to_json
from model.structs.catalog import HealthCheck, NodeService

NODE_MAINTENANCE = "_node_maintenance"
TEXT_FORMAT = Param("format", "text: only the word.", choice=("text",))
HEALTH_STATUSES = {404: "There is no such service.", 429: "A check warns.", 503: "A check fails, or maintenance."}

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
    await request.require("service", "read", found.service)
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
    await request.require("service", "read", request.rest)
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
