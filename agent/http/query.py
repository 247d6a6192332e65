"""/v1/query: prepared queries."""

from typing import Any

import msgspec

from agent.http.catalog import source
from agent.http.described import ASK, CACHED, NEAR, READ, WRITE, Operation, Param
from agent.http.numbers import signed, truth
from agent.http.routing import JSON, ROUTES, TEXT, ApiRequest, ApiResponse, meta_headers, route
from model.bare_json import to_bare_json
from model.errors import ACL_NOT_FOUND, PERMISSION_DENIED, QUERY_NOT_FOUND, RpcError
from model.gojson import encode_json, to_json
from model.structs.base import Meta
from model.structs.catalog import CheckServiceNode
from model.structs.catalog_rpc import DCSpecificRequest, QuerySource
from model.structs.queries import (
    PreparedQuery,
    PreparedQueryExecuteRequest,
    PreparedQueryRequest,
    PreparedQuerySpecificRequest,
    QueryDNSOptions,
)

CONNECT = Param("connect", "Proxies of the service, or instances that speak the mesh's TLS themselves.", "truth")
EXECUTE = (*ASK, NEAR, CACHED, Param("limit", "So many instances at most.", "number"), CONNECT)
EXECUTED = {
    "Service": str,
    "Nodes": list[CheckServiceNode],
    "DNS": QueryDNSOptions,
    "Datacenter": str,
    "PeerName": str,
    "Failovers": int,
    "Index": int,
    "LastContact": int,
    "KnownLeader": bool,
    "ConsistencyLevel": str,
    "NotModified": bool,
    "Backend": int,
    "ResultsFilteredByACLs": bool,
}


def _refused(error: RpcError, request: ApiRequest, headers: bool = True) -> ApiResponse:
    status = 403 if error.has(PERMISSION_DENIED) or error.has(ACL_NOT_FOUND) else 500
    if error.has(QUERY_NOT_FOUND) and not request.wants_cached:
        status = 404
    text = QUERY_NOT_FOUND if error.has(QUERY_NOT_FOUND) else error.text
    extra = meta_headers(Meta(), request, consistency=False) if headers else {}
    return ApiResponse(text.encode(), status, TEXT, extra)


@route("GET", "/v1/query", Operation(query=READ, answer=list[PreparedQuery]))
async def list_queries(request: ApiRequest) -> ApiResponse:
    """All prepared queries."""
    try:
        reply = await request.call("PreparedQuery.List", DCSpecificRequest(**request.query_options()))
    except RpcError as error:
        return _refused(error, request)
    return request.json(reply.queries or [], reply)


@route("POST", "/v1/query", Operation(query=WRITE, body=PreparedQuery, answer={"ID": str}))
async def create(request: ApiRequest) -> Any:
    """Make a prepared query and return its ID."""
    query = await request.body(PreparedQuery)
    args = PreparedQueryRequest(op="create", query=query, datacenter=request.datacenter)
    return {"ID": await request.call("PreparedQuery.Apply", args)}


def _execute_request(request: ApiRequest, name: str) -> PreparedQueryExecuteRequest:
    options = request.query_options()
    limit = signed(request.param("limit"), prefix="Bad limit: ") if request.param("limit") else 0
    agent = QuerySource(node=request.agent.config.node_name, datacenter=request.agent.config.datacenter)
    return PreparedQueryExecuteRequest(
        query_id_or_name=name,
        limit=limit,
        source=source(request),
        agent=agent,
        connect=truth(request.param("connect"), prefix="Error parsing 'connect' value: "),
        **options,
    )


def _shown(row: CheckServiceNode) -> dict[str, Any]:
    """An instance that a query found. Unlike other answers, this one shows lists that were never set as null."""
    body: dict[str, Any] = to_bare_json(row)
    return {**body, "Checks": body["Checks"] or None}


def _meta_fields(reply: Meta, request: ApiRequest) -> dict[str, Any]:
    return {
        "Index": 1,
        "LastContact": reply.last_contact,
        "KnownLeader": reply.known_leader,
        "ConsistencyLevel": request.consistency_mode,
        "NotModified": False,
        "Backend": 0,
        "ResultsFilteredByACLs": reply.results_filtered_by_acls,
    }


@route(
    "GET",
    "/v1/query/",
    Operation(
        "{id}", READ, answer=list[PreparedQuery], statuses={404: "There is no such query."}, summary="One query."
    ),
    Operation(
        "{id}/execute",
        EXECUTE,
        answer=EXECUTED,
        statuses={404: "There is no such query."},
        summary="What a query finds now.",
    ),
    Operation(
        "{id}/explain",
        EXECUTE,
        answer=dict[str, Any],
        statuses={404: "There is no such query."},
        summary="How a query reads after its template.",
    ),
    prefix=True,
)
async def read(request: ApiRequest) -> ApiResponse:
    """One query, what it finds (`/execute`), or how it reads after its template (`/explain`)."""
    name, _, verb = request.rest.rpartition("/")
    try:
        if name and verb == "execute":
            args = _execute_request(request, name)
            reply = await request.cached_call("PreparedQuery.Execute", args, fresh=False)
            body = {
                "Service": reply.service,
                "Nodes": [_shown(row) for row in reply.nodes or []],
                "DNS": to_json(reply.dns),
                "Datacenter": "" if reply.peer_name else reply.datacenter or request.agent.config.datacenter,
                "PeerName": reply.peer_name,
                "Failovers": reply.failovers,
                **_meta_fields(reply, request),
            }
        elif name and verb == "explain":
            reply = await request.call("PreparedQuery.Explain", _execute_request(request, name))
            body = {"Query": to_json(reply.query), **_meta_fields(reply, request)}
        else:
            wanted = PreparedQuerySpecificRequest(query_id=request.rest, **request.query_options())
            found = await request.call("PreparedQuery.Get", wanted)
            return request.json(found.queries or [], found)
    except RpcError as error:
        return _refused(error, request)
    headers = {**meta_headers(reply, request), "X-Consul-Index": "1"}
    return ApiResponse(encode_json(body, request.pretty), 200, JSON, headers)


def _methods(rest: str) -> tuple[str, ...]:
    """What a query finds can only be read; the query itself can be changed."""
    return ("GET",) if rest.rpartition("/")[2] in ("execute", "explain") else ("GET", "PUT", "DELETE")


ROUTES.narrowed["/v1/query/"] = _methods


@route(
    "PUT", "/v1/query/", Operation("{id}", WRITE, PreparedQuery, statuses={404: "There is no such query."}), prefix=True
)
async def update(request: ApiRequest) -> ApiResponse:
    """Change a query."""
    query = msgspec.structs.replace(await request.body(PreparedQuery, may_be_empty=True), id=request.rest)
    try:
        args = PreparedQueryRequest(op="update", query=query, datacenter=request.datacenter)
        await request.call("PreparedQuery.Apply", args)
    except RpcError as error:
        return _refused(error, request, headers=False)
    return ApiResponse()


@route("DELETE", "/v1/query/", Operation("{id}", WRITE), prefix=True)
async def delete(request: ApiRequest) -> ApiResponse:
    """Remove a query."""
    query = PreparedQuery(id=request.rest)
    await request.call(
        "PreparedQuery.Apply", PreparedQueryRequest(op="delete", query=query, datacenter=request.datacenter)
    )
    return ApiResponse()
