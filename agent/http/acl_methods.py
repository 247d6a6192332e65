"""Auth methods, binding rules, login and logout (/v1/acl/…): tokens for credentials from elsewhere."""

from typing import Any

import msgspec

from agent.http.acl_routes import acl_route, read_options, shown
from agent.http.described import READ, WRITE, Operation, Param
from agent.http.routing import ApiRequest, ApiResponse, HttpError
from model.structs.acl import (
    ACLAuthMethod,
    ACLAuthMethodDeleteRequest,
    ACLAuthMethodGetRequest,
    ACLAuthMethodListRequest,
    ACLAuthMethodListStub,
    ACLAuthMethodSetRequest,
    ACLBindingRule,
    ACLBindingRuleDeleteRequest,
    ACLBindingRuleGetRequest,
    ACLBindingRuleListRequest,
    ACLBindingRuleSetRequest,
    ACLLoginParams,
    ACLLoginRequest,
    ACLLogoutRequest,
    ACLToken,
)
from model.structs.base import Meta

NO_METHOD = {404: "There is no such auth method."}
NO_RULE = {404: "There is no such binding rule."}
AUTH_METHOD = Param("authmethod", "Only rules of this auth method.")


def _found(request: ApiRequest, value: Any, meta: Meta) -> Any:
    answer: ApiResponse = shown(request, value, meta)
    if value is None:
        raise HttpError(404, "", answer.headers)
    return answer


@acl_route("GET", "/v1/acl/auth-methods", Operation(query=READ, answer=list[ACLAuthMethodListStub]))
async def list_methods(request: ApiRequest) -> Any:
    """All auth methods, without their settings."""
    reply = await request.call("ACL.AuthMethodList", ACLAuthMethodListRequest(**read_options(request)))
    return shown(request, reply.auth_methods or [], reply)


@acl_route("PUT", "/v1/acl/auth-method", Operation(query=WRITE, body=ACLAuthMethod, answer=ACLAuthMethod))
@acl_route(
    "PUT",
    "/v1/acl/auth-method/",
    Operation("{name}", query=WRITE, body=ACLAuthMethod, answer=ACLAuthMethod),
    prefix=True,
)
async def set_method(request: ApiRequest) -> Any:
    """Create or replace an auth method."""
    method = await request.body(ACLAuthMethod, prefix="AuthMethod decoding failed: ")
    if request.rest:
        if method.name not in ("", request.rest):
            raise HttpError(400, "AuthMethod Name in URL and payload do not match")
        method = msgspec.structs.replace(method, name=request.rest)
    args = ACLAuthMethodSetRequest(auth_method=method, datacenter=request.datacenter)
    return await request.call("ACL.AuthMethodSet", args)


def _method_name(request: ApiRequest) -> str:
    if not request.rest:
        raise HttpError(400, "Missing auth method name")
    return request.rest


@acl_route(
    "GET",
    "/v1/acl/auth-method/",
    Operation("{name}", query=READ, answer=ACLAuthMethod, statuses=NO_METHOD),
    prefix=True,
)
async def read_method(request: ApiRequest) -> Any:
    """An auth method with its settings."""
    args = ACLAuthMethodGetRequest(auth_method_name=_method_name(request), **read_options(request))
    reply = await request.call("ACL.AuthMethodRead", args)
    return _found(request, reply.auth_method, reply)


@acl_route("DELETE", "/v1/acl/auth-method/", Operation("{name}", query=WRITE, answer=bool), prefix=True)
async def delete_method(request: ApiRequest) -> Any:
    """Remove an auth method, and with it its binding rules and the tokens that came of it."""
    args = ACLAuthMethodDeleteRequest(auth_method_name=_method_name(request), datacenter=request.datacenter)
    await request.call("ACL.AuthMethodDelete", args)
    return True


@acl_route(
    "GET",
    "/v1/acl/binding-rules",
    Operation(query=(*READ, AUTH_METHOD), answer=list[ACLBindingRule]),
)
async def list_rules(request: ApiRequest) -> Any:
    """All binding rules."""
    args = ACLBindingRuleListRequest(auth_method=request.param("authmethod"), **read_options(request))
    reply = await request.call("ACL.BindingRuleList", args)
    return shown(request, reply.binding_rules or [], reply)


@acl_route("PUT", "/v1/acl/binding-rule", Operation(query=WRITE, body=ACLBindingRule, answer=ACLBindingRule))
@acl_route(
    "PUT",
    "/v1/acl/binding-rule/",
    Operation("{id}", query=WRITE, body=ACLBindingRule, answer=ACLBindingRule),
    prefix=True,
)
async def set_rule(request: ApiRequest) -> Any:
    """Create or, with an ID in the path, replace a binding rule."""
    rule = await request.body(ACLBindingRule, prefix="BindingRule decoding failed: ")
    if rule.id not in ("", request.rest):
        raise HttpError(400, "BindingRule ID in URL and payload do not match")
    rule = msgspec.structs.replace(rule, id=request.rest)
    args = ACLBindingRuleSetRequest(binding_rule=rule, datacenter=request.datacenter)
    return await request.call("ACL.BindingRuleSet", args)


def _rule_id(request: ApiRequest) -> str:
    if not request.rest:
        raise HttpError(400, "Missing binding rule ID")
    return request.rest


@acl_route(
    "GET",
    "/v1/acl/binding-rule/",
    Operation("{id}", query=READ, answer=ACLBindingRule, statuses=NO_RULE),
    prefix=True,
)
async def read_rule(request: ApiRequest) -> Any:
    """A binding rule."""
    args = ACLBindingRuleGetRequest(binding_rule_id=_rule_id(request), **read_options(request))
    reply = await request.call("ACL.BindingRuleRead", args)
    return _found(request, reply.binding_rule, reply)


@acl_route("DELETE", "/v1/acl/binding-rule/", Operation("{id}", query=WRITE, answer=bool), prefix=True)
async def delete_rule(request: ApiRequest) -> Any:
    """Remove a binding rule."""
    args = ACLBindingRuleDeleteRequest(binding_rule_id=_rule_id(request), datacenter=request.datacenter)
    await request.call("ACL.BindingRuleDelete", args)
    return True


@acl_route("POST", "/v1/acl/login", Operation(body=ACLLoginParams, answer=ACLToken))
async def login(request: ApiRequest) -> Any:
    """Trade a credential that an auth method verifies for a token; the request's own token does not matter."""
    auth = await request.body(ACLLoginParams, prefix="Failed to decode request body: ")
    agent = request.agent
    # Not `request.call`, which would add a token: who logs in has none that counts.
    return await agent.delegate.call("ACL.Login", ACLLoginRequest(auth=auth, datacenter=agent.config.datacenter))


@acl_route("POST", "/v1/acl/logout", Operation(answer=bool))
async def logout(request: ApiRequest) -> Any:
    """Remove the token with which this is asked; a login must have made it."""
    args = ACLLogoutRequest(datacenter=request.agent.config.datacenter)
    return await request.call("ACL.Logout", args)
