"""/v1/agent/metrics: what this process counted and measured."""

from typing import Any

from agent.http.described import Operation, Param, Raw
from agent.http.routing import JSON, ApiRequest, ApiResponse, HttpError, route

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
PROMETHEUS_OFF = "Prometheus is not enabled since its retention time is not positive"


@route(
    "GET",
    "/v1/agent/metrics",
    Operation(query=(Param("format", "prometheus: in its text format."),), answer=dict[str, Any], also=("text/plain",)),
)
async def metrics(request: ApiRequest) -> Any:
    """The newest finished interval of ten seconds as JSON; or everything in Prometheus' format, if that is on."""
    await request.require("agent", "read", request.agent.config.node_name)
    telemetry = request.agent.telemetry
    if request.param("format") != "prometheus":
        return telemetry.json()
    text = telemetry.prometheus()
    if text is None:
        return ApiResponse(b"", 200, "", {"X-Consul-Reason": PROMETHEUS_OFF})
    return ApiResponse(text, 200, PROMETHEUS)


@route(
    "GET",
    "/v1/agent/metrics/stream",
    Operation(answer=Raw("application/json", "One object on a line for each interval, without an end.")),
)
async def stream(request: ApiRequest) -> ApiResponse:
    """Every interval as it ends, until the client goes."""
    await request.require("agent", "read", request.agent.config.node_name)
    telemetry = request.agent.telemetry
    if not telemetry.may_stream():
        raise HttpError(429, "too many clients follow the metrics already")
    answer = ApiResponse(b"", 200, JSON)
    answer.stream = telemetry.stream
    return answer
