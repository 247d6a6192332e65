"""/v1/snapshot: the whole state as an archive, out and in."""

import io
from collections.abc import Awaitable, Callable

from agent.http.described import ASK, WRITE, Operation, Raw
from agent.http.routing import ApiRequest, ApiResponse, meta_headers, route
from model.structs.operator import SnapshotRequest
from rpc.snapshot_stream import RESTORE, SAVE

ARCHIVE = Raw("application/x-gzip", "The archive.")

MAX_ARCHIVE = 1 << 30
"""Bytes of an archive that the API takes."""
_CHUNK = 256 << 10


def _request(request: ApiRequest, operation: int) -> SnapshotRequest:
    stale = bool(request.consistency()["allow_stale"])
    return SnapshotRequest(allow_stale=stale, datacenter=request.datacenter, op=operation, token=request.token)


@route("GET", "/v1/snapshot", Operation(query=ASK, answer=ARCHIVE))
async def save(request: ApiRequest) -> ApiResponse:
    """Save: the archive is the body; `?stale` lets any server make it."""
    response, archive = await request.agent.delegate.snapshot(_request(request, SAVE), io.BytesIO())
    headers = meta_headers(response, request, consistency=False)

    async def send(write: Callable[[bytes], Awaitable[None]]) -> None:
        with archive:
            while data := archive.read(_CHUNK):
                await write(data)

    answer = ApiResponse(b"", 200, "application/x-gzip", headers)
    answer.stream = send
    return answer


@route("PUT", "/v1/snapshot", Operation(query=WRITE, body=ARCHIVE))
async def restore(request: ApiRequest) -> ApiResponse:
    """Put an archive's state in the place of the present one, on all servers at once."""
    head = _request(request, RESTORE)
    if head.datacenter == request.agent.config.datacenter:
        await request.require("acl", "write")  # Before an archive of any size is taken in.
    _, nothing = await request.agent.delegate.snapshot(head, io.BytesIO(await request.raw_body(MAX_ARCHIVE)))
    nothing.close()
    return ApiResponse()
