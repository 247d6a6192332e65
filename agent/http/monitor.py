"""/v1/agent/monitor and /v1/agent/metrics/stream: the agent's log and figures as they go on."""

import asyncio
from collections.abc import Awaitable, Callable

from agent.http.described import Operation, Param, Raw
from agent.http.routing import JSON, TEXT, ApiRequest, ApiResponse, HttpError, route
from agent.logs import LEVELS, subscribed
from agent.metrics import metrics_answer

LOOK = 5.0
"""Seconds without a line after which it is checked whether the client is still there."""
MONITORS = 64
"""How many may watch logs and figures at the same time."""
METRICS_INTERVAL = 10.0
"""Seconds between two sets of figures."""
_open = 0


@route(
    "GET",
    "/v1/agent/monitor",
    Operation(
        query=(Param("loglevel", "Least level to show."), Param("logjson", "Lines of JSON.", "flag")),
        answer=Raw("text/plain", "Lines, without an end."),
    ),
)
async def monitor(request: ApiRequest) -> ApiResponse:
    """Stream log lines of `?loglevel=` (info) and above, with `?logjson` as JSON, until the client goes."""
    level = request.param("loglevel") or "INFO"
    if level.upper() not in LEVELS:
        raise HttpError(400, f"Unknown log level: {level}")
    _refuse_more()
    as_json = request.has("logjson")

    async def send(write: Callable[[bytes], Awaitable[None]]) -> None:
        global _open
        _open += 1
        try:
            with subscribed(level, as_json) as subscription:
                while True:
                    lines = await subscription.lines(LOOK)
                    await write("".join(f"{line}\n" for line in lines).encode("utf-8", "replace"))
        finally:
            _open -= 1

    answer = ApiResponse(b"", 200, TEXT)
    answer.stream = send
    return answer


@route(
    "GET",
    "/v1/agent/metrics/stream",
    Operation(
        answer=Raw("application/json", "An object as /v1/agent/metrics has it, and a line break, every ten seconds.")
    ),
)
async def metrics_stream(request: ApiRequest) -> ApiResponse:
    """Stream the agent's figures, until the client goes."""
    _refuse_more()
    agent = request.agent

    async def send(write: Callable[[bytes], Awaitable[None]]) -> None:
        global _open
        _open += 1
        try:
            while True:
                await write(metrics_answer(agent, prometheus=False, pretty=False).body.rstrip(b"\n") + b"\n")
                await asyncio.sleep(METRICS_INTERVAL)
        finally:
            _open -= 1

    answer = ApiResponse(b"", 200, JSON)
    answer.stream = send
    return answer


def _refuse_more() -> None:
    if _open >= MONITORS:
        raise HttpError(429, f"{MONITORS} clients watch already")
