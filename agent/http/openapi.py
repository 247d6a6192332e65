"""/v1/openapi.json: the HTTP API described by its own route table, as OpenAPI 3.1.

What is said of a route stands beside its handler (`agent.http.described`); schemas come from the structs that bodies
are read into. Paths in OpenAPI cannot say that a parameter may hold slashes; those that may are marked
`x-holds-slashes`.
"""

import inspect
import re
from functools import cache
from typing import Any

from agent.http.described import NoBody, Operation, Param, Raw
from agent.http.routing import JSON, ROUTES, ApiRequest, ApiResponse, Handler, Route, route
from agent.http.schemas import DURATION_TEXT, Schema, Schemas
from agent.version import VERSION
from model.gojson import encode_json

OPENAPI = "3.1.0"
METHODS_WITHOUT_BODY = ("GET",)
PRETTY = Param("pretty", "Indent the answer.", "flag")
_UNDESCRIBED_REST = "{name}"
_KINDS: dict[str, Schema] = {
    "text": {"type": "string"},
    "number": {"type": "integer", "format": "uint64", "minimum": 0, "maximum": (1 << 64) - 1},
    "flag": {"type": "string"},
    "truth": {"type": "boolean"},
    "duration": {"type": "string", "pattern": DURATION_TEXT},
}
_TEXT_BODY: Schema = {"text/plain": {"schema": {"type": "string"}}}
_COMPONENTS = "#/components/"
_ALWAYS = {
    400: "The request is not understood; the body says why.",
    403: "Not allowed: by `allow_write_http_from`, `block_endpoints` or the token.",
    413: "The body or the value is too large.",
    429: "Too many requests or connections.",
    500: "The request is refused by the cluster, or nobody can answer it now (no leader); the body says why.",
}
"""Errors that any route may answer with."""
_MAY_HOLD_SLASHES = frozenset(("key", "rest"))
_INTRODUCTION = (
    "Consul's HTTP API as lictor serves it. Errors are plain text, with the texts and status codes of Consul: "
    "note that it answers some bad requests with 500. Reads carry `X-Consul-Index`; with `?index=` and that number "
    "they wait for a change."
)


@cache
def document() -> dict[str, Any]:
    """The whole description; the same for every agent of this version."""
    schemas = Schemas()
    paths: dict[str, dict[str, Any]] = {}
    for entry in sorted(ROUTES.routes(), key=lambda one: one.path):
        for method, handler in entry.handlers.items():
            for operation in entry.operations[method]:
                path = _path(entry, operation)
                paths.setdefault(path, {})[method.lower()] = _operation(method, path, handler, operation, schemas)
    return {
        "openapi": OPENAPI,
        "info": {
            "title": "lictor",
            "version": VERSION,
            "description": _INTRODUCTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{}, {"token": []}, {"bearer": []}, {"query": []}],
        "tags": [{"name": name, "description": text} for name, text in sorted(_tags().items())],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {"type": "apiKey", "in": "header", "name": "X-Consul-Token"},
                "bearer": {"type": "http", "scheme": "bearer"},
                "query": {"type": "apiKey", "in": "query", "name": "token"},
            },
            "parameters": {name: _parameter(param) for name, param in sorted(_shared_parameters().items())},
            "responses": {str(status): _refusal(text) for status, text in _ALWAYS.items()},
            "schemas": dict(sorted(schemas.components.items())),
        },
    }


def _path(entry: Route, operation: Operation) -> str:
    if not entry.prefix:
        return entry.path
    return entry.path + (_UNDESCRIBED_REST if operation.rest is None else operation.rest)


def _tag(handler: Handler) -> str:
    return handler.__module__.rpartition(".")[2]


def _tags() -> dict[str, str]:
    """Each module that has handlers, with the first line of what it says of itself."""
    modules = {inspect.getmodule(one) for entry in ROUTES.routes() for one in entry.handlers.values()}
    return {
        module.__name__.rpartition(".")[2]: (module.__doc__ or "").partition("\n")[0] for module in modules if module
    }


def _operation(method: str, path: str, handler: Handler, operation: Operation, schemas: Schemas) -> dict[str, Any]:
    summary = operation.summary or inspect.cleandoc(handler.__doc__ or "")
    words = [_tag(handler), method.lower(), *re.findall(r"[A-Za-z0-9]+", path.removeprefix("/v1"))]
    parameters = [_path_parameter(name) for name in re.findall(r"{(\w+)}", path)]
    parameters += [_query_parameter(param) for param in (*operation.query, PRETTY)]
    described: dict[str, Any] = {
        "operationId": "_".join(words),
        "tags": [_tag(handler)],
        "summary": summary,
        "parameters": parameters,
        "responses": _responses(operation, schemas),
    }
    if operation.body is not None and method not in METHODS_WITHOUT_BODY:
        described["requestBody"] = _request_body(operation.body, schemas)
    return described


def _path_parameter(name: str) -> dict[str, Any]:
    parameter = {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
    return {**parameter, "x-holds-slashes": True} if name in _MAY_HOLD_SLASHES else parameter


@cache
def _shared_parameters() -> dict[str, Param]:
    """By name, the parameters that mean the same wherever they are used; the one that comes first counts."""
    found: dict[str, Param] = {}
    for entry in sorted(ROUTES.routes(), key=lambda one: one.path):
        for operations in entry.operations.values():
            for param in (PRETTY, *(param for one in operations for param in one.query)):
                found.setdefault(param.name, param)
    return found


def _query_parameter(param: Param) -> dict[str, Any]:
    if _shared_parameters()[param.name] == param:
        return {"$ref": f"{_COMPONENTS}parameters/{param.name}"}
    return _parameter(param)


def _parameter(param: Param) -> dict[str, Any]:
    schema: Schema = {**_KINDS[param.kind], **({"enum": list(param.choice)} if param.choice else {})}
    if param.many:
        schema = {"type": "array", "items": schema}
    parameter: dict[str, Any] = {"name": param.name, "in": "query", "description": param.text, "schema": schema}
    if param.required:
        parameter["required"] = True
    if param.kind == "flag":
        parameter["allowEmptyValue"] = True
    return parameter


def _request_body(body: Any, schemas: Schemas) -> dict[str, Any]:
    if isinstance(body, Raw):
        content: Schema = {body.content_type: {"schema": {}}}
        return {"description": body.text, "required": False, "content": content}
    return {"required": True, "content": {JSON: {"schema": schemas.of(body)}}}


def _responses(operation: Operation, schemas: Schemas) -> dict[str, Any]:
    responses: dict[str, Any] = {"200": _success(operation, schemas)}
    for status in sorted({*_ALWAYS, *operation.statuses}):
        if status in operation.statuses:
            responses[str(status)] = _refusal(operation.statuses[status], also_json=operation.answer is not None)
        else:
            responses[str(status)] = {"$ref": f"{_COMPONENTS}responses/{status}"}
    return responses


def _refusal(text: str, also_json: bool = False) -> dict[str, Any]:
    """An error; some answers say in their own form what is amiss."""
    if isinstance(text, NoBody):
        return {"description": str(text)}
    return {"description": text, "content": {JSON: {"schema": {}}, **_TEXT_BODY} if also_json else _TEXT_BODY}


def _success(operation: Operation, schemas: Schemas) -> dict[str, Any]:
    answer = operation.answer
    if answer is None:
        return {"description": "Done."}
    if isinstance(answer, Raw):
        return {"description": answer.text, "content": {answer.content_type: {"schema": {}}}}
    content: Schema = {JSON: {"schema": schemas.of(answer)}}
    content |= {kind: {"schema": {"type": "string"}} for kind in operation.also}
    return {"description": "The answer.", "content": content}


def rendered() -> bytes:
    """The document as the file `docs/openapi.json` has it: indented, with a line break at the end."""
    return encode_json(document(), pretty=True)


@route("GET", "/v1/openapi.json", Operation(answer=dict[str, Any]))
async def openapi(request: ApiRequest) -> ApiResponse:
    """This description of the HTTP API."""
    return ApiResponse(encode_json(document(), request.pretty), 200, JSON)
