"""/v1/agent/checks, /v1/agent/check: the checks of this agent, and being told their results."""

from typing import Any

from agent.definitions import STATUSES, DefinitionError, check_of, validate_check
from agent.http.agent_shown import filtered, unknown
from agent.http.described import FILTER, NOTE, Operation
from agent.http.routing import ApiRequest, ApiResponse, HttpError, route
from model.gojson import to_json
from model.structs.catalog import CheckType, HealthCheck, ServiceID

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
    shown = {key: to_json(one) for key, one in sorted(agent.local.checks.items())}
    if request.has("filter"):
        shown = filtered(request.param("filter"), HealthCheck, agent.local.checks, shown)
    return shown


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
    with agent.local.persisted.deferred():
        agent.registrations.add_check(check_of(base, agent.config.node_name, owner, check_id, definition.name), base)
    await agent.local.persisted.durable()
    await agent.local.told()
    return ApiResponse()


@route("PUT", "/v1/agent/check/deregister/", Operation("{id}", statuses={404: NO_CHECK}), prefix=True)
async def deregister_check(request: ApiRequest) -> ApiResponse:
    """Remove a check."""
    if request.rest not in request.agent.local.checks:
        raise HttpError(404, unknown("check", request.rest))
    request.agent.registrations.remove_check(request.rest)
    await request.agent.local.told()
    return ApiResponse()


async def _tell(request: ApiRequest, status: str, output: str) -> ApiResponse:
    agent = request.agent
    check_id = request.rest
    if check_id not in agent.local.checks:
        raise HttpError(404, unknown("check", check_id))
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
