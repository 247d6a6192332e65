"""Handlers of reads in two halves: what to ask the cluster, and how its reply is answered.

Both halves are plain functions. So whoever has the reply already, or makes it within one turn of the event loop, needs
no task: see `agent.http.kept`. An answer may depend on nothing but the request that was handed in, the agent's
configuration and the reply.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from agent.http.described import Operation
from agent.http.routing import ApiRequest, ApiResponse, Handler, route
from model.structs.base import Query


class Asked(NamedTuple):
    """A read of the cluster: its method and arguments, and what makes the answer of the reply.

    `answer` may raise HttpError. `cacheable`: with `?cached` the agent's cache may be asked instead.
    """

    method: str
    args: Query
    answer: Callable[[Any], ApiResponse]
    cacheable: bool = False


Ask = Callable[[ApiRequest], Asked]
"""The first half; raises HttpError for a bad request."""
ASKS: dict[Handler, Ask] = {}
"""The first halves of all handlers that have two."""


def read_route(path: str, *operations: Operation, prefix: bool = False) -> Callable[[Ask], Ask]:
    """Register the first half of a read, which names the second, for GET requests; otherwise like `route`."""

    def register(ask: Ask) -> Ask:
        @functools.wraps(ask)
        async def handler(request: ApiRequest) -> ApiResponse:
            asked = ask(request)
            call = request.cached_call if asked.cacheable else request.call
            return asked.answer(await call(asked.method, asked.args))

        ASKS[route("GET", path, *operations, prefix=prefix)(handler)] = ask
        return ask

    return register
