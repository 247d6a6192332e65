"""/v1/agent/services, /v1/agent/service, /v1/agent/maintenance: what is registered with this agent."""

import asyncio
from typing import TYPE_CHECKING, Any

from agent.content_hash import content_hash
from agent.definitions import DefinitionError, expand
from agent.http.agent_shown import FALSE, filtered, shown_service, unknown
from agent.http.described import FILTER, HASH, WAIT, Operation, Param
from agent.http.routing import JSON, ApiRequest, ApiResponse, HttpError, route
from model.gojson import encode_json
from model.structs.catalog import NodeService, ServiceDefinition

if TYPE_CHECKING:
    from agent.agent import Agent

ENABLE = Param("enable", "Begin (true) or end (false).", "truth", required=True)
REASON = Param("reason", "Why; shown with the check that this makes.")
REPLACE_CHECKS = Param("replace-existing-checks", "Checks that the body does not name go.", "truth")


@route("GET", "/v1/agent/services", Operation(query=(FILTER,), answer=dict[str, dict[str, Any]]))
async def services(request: ApiRequest) -> Any:
    """This agent's services."""
    agent = request.agent
    authz = await request.authorizer()
    shown = {key: shown_service(one, agent.config.datacenter) for key, one in sorted(agent.local.services.items())}
    if request.has("filter"):
        shown = filtered(request.param("filter"), NodeService, agent.local.services, shown)
    seen = {key: body for key, body in shown.items() if authz.service_read(body["Service"])}
    headers = request.filtered_headers(len(seen) < len(shown))
    return ApiResponse(encode_json(seen, request.pretty), 200, JSON, headers)


@route(
    "GET",
    "/v1/agent/service/",
    Operation("{id}", (HASH, WAIT), answer=dict[str, Any], statuses={404: "There is no such service."}),
    prefix=True,
)
async def service(request: ApiRequest) -> ApiResponse:
    """One service; with `?hash=` the answer waits until the service looks different."""
    agent = request.agent
    wanted = request.param("hash")
    wait = request.hold()
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait
    while True:
        found = agent.local.services.get(request.rest)
        if found is None:
            raise HttpError(404, f"unknown service ID: {request.rest}")
        await request.require("service", "read", found.service)
        body = shown_service(found, agent.config.datacenter)
        digest = content_hash(body)
        left = deadline - loop.time()
        if digest != wanted or left <= 0:
            break
        await agent.local.wait_changed(left)
    datacenter = body.pop("Datacenter")
    tail: dict[str, Any] = {key: body.pop(key) for key in ("Proxy", "Connect") if key in body}
    body = {**body, "ContentHash": digest, **tail, "Datacenter": datacenter}
    headers = {"X-Consul-ContentHash": digest}
    return ApiResponse(encode_json(body, request.pretty), 200, JSON, headers)


@route("PUT", "/v1/agent/service/register", Operation(query=(REPLACE_CHECKS,), body=ServiceDefinition))
async def register_service(request: ApiRequest) -> ApiResponse:
    """Add or replace a service, with its checks and its sidecar."""
    definition = await request.body(ServiceDefinition, style="agent")
    agent = request.agent
    try:
        parts = expand(
            definition, agent.config.node_name, agent.config.enable_script_checks, agent.registrations.sidecar_port
        )
    except DefinitionError as error:
        raise HttpError(error.status, str(error)) from None
    authz = await request.authorizer()
    for part in parts:
        for name in written_by(agent, part.service):
            authz.require("service", "write", name)
    replace = request.has("replace-existing-checks") and request.param("replace-existing-checks") not in FALSE
    with agent.local.persisted.deferred():
        for part in parts:
            agent.registrations.add_service(part, replace_checks=replace, token=definition.token or request.own_token)
    await agent.local.persisted.durable()
    await agent.local.told()
    return ApiResponse()


@route(
    "PUT", "/v1/agent/service/deregister/", Operation("{id}", statuses={404: "There is no such service."}), prefix=True
)
async def deregister_service(request: ApiRequest) -> ApiResponse:
    """Remove a service, its checks and its sidecar."""
    await _may_write(request)
    request.agent.registrations.remove_service(request.rest)
    await request.agent.local.told()
    return ApiResponse()


def written_by(agent: "Agent", service: NodeService) -> list[str]:
    """The names of the services that a registration writes: its own, and the one that it takes the place of."""
    known = agent.local.services.get(service.id)
    names = [service.service, *([known.service] if known is not None else ())]
    return list(dict.fromkeys(names))


async def _may_write(request: ApiRequest) -> None:
    """Raise HttpError when the service that the path names is not there, RpcError when the token may not write it."""
    authz = await request.authorizer()
    found = request.agent.local.services.get(request.rest)
    if found is None:
        raise HttpError(404, unknown("service", request.rest))
    authz.require("service", "write", found.service)


def _flag(request: ApiRequest, name: str) -> bool:
    if not request.has(name):
        raise HttpError(400, f"Missing value for {name}")
    text = request.param(name)
    if text in ("1", "t", "T", "TRUE", "true", "True"):
        return True
    if text in FALSE:
        return False
    raise HttpError(400, f'Invalid value for {name}: "{text}"')


@route(
    "PUT",
    "/v1/agent/service/maintenance/",
    Operation("{id}", (ENABLE, REASON), statuses={404: "There is no such service."}),
    prefix=True,
)
async def service_maintenance(request: ApiRequest) -> ApiResponse:
    """Take a service out of discovery for a while, or back."""
    if not request.rest:
        raise HttpError(400, "Missing service ID")
    enable = _flag(request, "enable")
    agent = request.agent
    await _may_write(request)
    agent.registrations.maintenance(request.rest, enable, request.param("reason"), request.own_token)
    await agent.local.told()
    return ApiResponse()


@route("PUT", "/v1/agent/maintenance", Operation(query=(ENABLE, REASON)))
async def node_maintenance(request: ApiRequest) -> ApiResponse:
    """Take this node out of discovery for a while, or back."""
    enable, agent = _flag(request, "enable"), request.agent
    await request.require("node", "write", agent.config.node_name)
    agent.registrations.maintenance("", enable, request.param("reason"), request.own_token)
    await agent.local.told()
    return ApiResponse()
