"""/v1/agent/monitor: the agent's log as it goes on."""

from collections.abc import Awaitable, Callable

from agent.http.described import Operation, Param, Raw
from agent.http.routing import TEXT, ApiRequest, ApiResponse, HttpError, route
from agent.logs import LEVELS, subscribed

LOOK = 5.0
"""Seconds without a line after which it is checked whether the client is still there."""
MONITORS = 64
"""How many may watch at the same time."""
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
    await request.require("agent", "read", request.agent.config.node_name)
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


def _refuse_more() -> None:
    if _open >= MONITORS:
        raise HttpError(429, f"{MONITORS} clients watch already")
