"""Routes of access control: they refuse while it is off."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from agent.http.described import Operation
from agent.http.routing import ApiRequest, Handler, HttpError, route
from model.codec import Wire
from model.errors import ACL_DISABLED
from model.structs.base import Meta

W = TypeVar("W", bound=Wire)
OFF = {401: "ACLs are off.", 403: "The token may not do that, or there is no such token."}


def acl_route(methods: str, path: str, operation: Operation, prefix: bool = False) -> Callable[[Handler], Handler]:
    """Register a handler as `route` does; it is only asked while access control is on."""

    def register(handler: Handler) -> Handler:
        @functools.wraps(handler)
        async def guarded(request: ApiRequest) -> Any:
            if not request.agent.access.enabled:
                raise HttpError(401, ACL_DISABLED)
            return await handler(request)

        described = Operation(
            rest=operation.rest,
            query=operation.query,
            body=operation.body,
            answer=operation.answer,
            statuses={**OFF, **operation.statuses},
            summary=operation.summary,
        )
        route(methods, path, described, prefix=prefix)(guarded)
        return handler

    return register


def read_options(request: ApiRequest) -> dict[str, Any]:
    """The options of a read; the lists of access control know no filter."""
    options = request.query_options()
    options.pop("filter", None)
    return options


def shown(request: ApiRequest, value: Any, meta: Meta, status: int = 200) -> Any:
    """The answer of a read, with its headers."""
    return request.json(value, meta, consistency=False, status=status)
