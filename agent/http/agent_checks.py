"""/v1/agent/checks, /v1/agent/check: the checks of this agent, and being told their results."""

from typing import Any

from agent.definitions import STATUSES, DefinitionError, check_of, validate_check
from agent.http.agent_shown import filtered, unknown
from agent.http.described import FILTER, NOTE, Operation
from agent.http.routing import JSON, ApiRequest, ApiResponse, HttpError, route
from model.gojson import encode_json, to_json
from model.structs.catalog import CheckType, HealthCheck, ServiceID
from server.endpoints.authorizer import Authorizer

NO_CHECK = "There is no such check."


class CheckDefinition(CheckType, frozen=True):
    """A check as /v1/agent/check/register takes it."""

    id: str = ""
    service_id: str = ""
    token: str = ""


@route("GET", "/v1/agent/checks", Operation(query=(FILTER,), answer=dict[str, HealthCheck]))
async def checks(request: ApiRequest) -> Any:
    """This agent's checks."""
    agent = request.agent
    authz = await request.authorizer()
    rows = agent.local.checks
    shown = {key: to_json(one) for key, one in sorted(rows.items())}
    if request.has("filter"):
        shown = filtered(request.param("filter"), HealthCheck, rows, shown)
    seen = {key: body for key, body in shown.items() if _may_see(authz, rows[key], agent.config.node_name)}
    headers = request.filtered_headers(len(seen) < len(shown))
    return ApiResponse(encode_json(seen, request.pretty), 200, JSON, headers)


def _may_see(authz: Authorizer, check: HealthCheck, node: str) -> bool:
    return authz.service_read(check.service_name) if check.service_name else authz.node_read(node)


def _require_write(authz: Authorizer, service_name: str, node: str) -> None:
    """Raise RpcError unless a check of a service ("" for the node's own) may be written."""
    if service_name:
        authz.require("service", "write", service_name)
    else:
        authz.require("node", "write", node)


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
    authz = await request.authorizer()
    _require_write(authz, owner.service if owner is not None else "", agent.config.node_name)
    known = agent.local.checks.get(check_id)
    if known is not None:
        _require_write(authz, known.service_name, agent.config.node_name)
    with agent.local.persisted.deferred():
        row = check_of(base, agent.config.node_name, owner, check_id, definition.name)
        agent.registrations.add_check(row, base, token=definition.token or request.own_token)
    await agent.local.persisted.durable()
    await agent.local.told()
    return ApiResponse()


@route("PUT", "/v1/agent/check/deregister/", Operation("{id}", statuses={404: NO_CHECK}), prefix=True)
async def deregister_check(request: ApiRequest) -> ApiResponse:
    """Remove a check."""
    await _may_write(request)
    request.agent.registrations.remove_check(request.rest)
    await request.agent.local.told()
    return ApiResponse()


async def _may_write(request: ApiRequest) -> None:
    """Raise HttpError when the check that the path names is not there, RpcError when the token may not write it."""
    authz = await request.authorizer()
    found = request.agent.local.checks.get(request.rest)
    if found is None:
        raise HttpError(404, unknown("check", request.rest))
    _require_write(authz, found.service_name, request.agent.config.node_name)


async def _tell(request: ApiRequest, status: str, output: str) -> ApiResponse:
    agent = request.agent
    check_id = request.rest
    await _may_write(request)
    if not agent.checks.is_ttl(check_id):
        raise HttpError(500, f'CheckID "{check_id}" does not have associated TTL')
    agent.registrations.told(check_id, status, output)
    await agent.local.told()
    return ApiResponse()


@route("PUT", "/v1/agent/check/pass/", Operation("{id}", (NOTE,), statuses={404: NO_CHECK}), prefix=True)
async def check_pass(request: ApiRequest) -> ApiResponse:
    """A TTL check passes."""
    return await _tell(request, "passing", request.param("note"))


@route("PUT", "/v1/agent/check/warn/", Operation("{id}", (NOTE,), statuses={404: NO_CHECK}), prefix=True)
async def check_warn(request: ApiRequest) -> ApiResponse:
    """A TTL check warns."""
    return await _tell(request, "warning", request.param("note"))


@route("PUT", "/v1/agent/check/fail/", Operation("{id}", (NOTE,), statuses={404: NO_CHECK}), prefix=True)
async def check_fail(request: ApiRequest) -> ApiResponse:
    """A TTL check fails."""
    return await _tell(request, "critical", request.param("note"))


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
    return await _tell(request, update.status, update.output)
