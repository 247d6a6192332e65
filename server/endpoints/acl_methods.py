"""ACL: auth methods and binding rules."""

import re

import msgspec

from model.commands import CommandType
from model.durations import SECOND, format_duration
from model.errors import RpcError
from model.gotext import go_quoted
from model.structs.acl import (
    ACLAuthMethod,
    ACLAuthMethodBatchDeleteRequest,
    ACLAuthMethodBatchSetRequest,
    ACLAuthMethodDeleteRequest,
    ACLAuthMethodGetRequest,
    ACLAuthMethodListRequest,
    ACLAuthMethodListResponse,
    ACLAuthMethodListStub,
    ACLAuthMethodResponse,
    ACLAuthMethodSetRequest,
    ACLBindingRule,
    ACLBindingRuleBatchDeleteRequest,
    ACLBindingRuleBatchSetRequest,
    ACLBindingRuleDeleteRequest,
    ACLBindingRuleGetRequest,
    ACLBindingRuleListRequest,
    ACLBindingRuleListResponse,
    ACLBindingRuleResponse,
    ACLBindingRuleSetRequest,
)
from model.tables import Watch
from server.acl.login.binding import check_rule
from server.acl.login.problems import RuleProblem, SettingsProblem
from server.acl.login.verifying import check_settings
from server.endpoints.acl_rules import check_logins_enabled, is_uuid, new_id
from server.endpoints.authorizer import authorizer
from server.endpoints.context import Context, propose, read, write
from server.state.acl import check_uuid

_METHOD_NAME = re.compile(r"[A-Za-z0-9\-_]{1,128}", re.ASCII)
_STUB_FIELDS = ACLAuthMethodListStub.__struct_fields__


@read("ACL.AuthMethodRead")
def read_method(context: Context, args: ACLAuthMethodGetRequest, watch: Watch | None) -> ACLAuthMethodResponse:
    """One auth method by its name."""
    check_logins_enabled(context)
    authorizer(context, args.token).require("acl", "read")
    method, index = context.fsm.store.acl.method(args.auth_method_name, watch)
    return ACLAuthMethodResponse(auth_method=method, index=index)


@read("ACL.AuthMethodList")
def list_methods(context: Context, args: ACLAuthMethodListRequest, watch: Watch | None) -> ACLAuthMethodListResponse:
    """All auth methods by name, without their settings."""
    check_logins_enabled(context)
    authorizer(context, args.token).require("acl", "read")
    methods, index = context.fsm.store.acl.all_methods(watch)
    stubs = [ACLAuthMethodListStub(**{name: getattr(one, name) for name in _STUB_FIELDS}) for one in methods]
    return ACLAuthMethodListResponse(auth_methods=stubs, index=index)


@write("ACL.AuthMethodSet")
async def set_method(context: Context, args: ACLAuthMethodSetRequest) -> ACLAuthMethod:
    """Create or replace an auth method, and return it as it is stored. Whoever has its keys is asked once."""
    check_logins_enabled(context)
    authorizer(context, args.token).require("acl", "write")
    method = _judged(context, args.auth_method)
    try:
        await context.credentials.check_reachable(method.type, method.config)
    except SettingsProblem as error:
        raise RpcError(f"Invalid Auth Method: {error}") from None
    _judged(context, method)  # It may have been made or removed while we asked.
    try:
        await propose(context, CommandType.ACL_AUTH_METHOD, ACLAuthMethodBatchSetRequest(auth_methods=[method]))
    except RpcError as error:
        raise RpcError(f"Failed to apply auth method upsert request: {error.text}") from None
    return context.fsm.store.acl.method(method.name)[0] or method


def _judged(context: Context, method: ACLAuthMethod) -> ACLAuthMethod:
    """A wanted auth method, with the type of the one that it replaces. Raises RpcError."""
    if not method.name:
        raise RpcError("Invalid Auth Method: no Name is set")
    if not _METHOD_NAME.fullmatch(method.name):
        raise RpcError("Invalid Auth Method: invalid Name. Only alphanumeric characters, '-' and '_' are allowed")
    known, _ = context.fsm.store.acl.method(method.name)
    if known is not None:
        if method.type not in ("", known.type):
            raise RpcError("the Type field of an Auth Method is immutable")
        method = msgspec.structs.replace(method, type=known.type)
    if method.max_token_ttl:
        least, most = (round(limit * SECOND) for limit in context.acl.expiration_limits)
        shown = format_duration(method.max_token_ttl)
        if method.max_token_ttl > most:
            raise RpcError(f"MaxTokenTTL {shown} cannot be more than {format_duration(most)}")
        if method.max_token_ttl < least:
            raise RpcError(f"MaxTokenTTL {shown} cannot be less than {format_duration(least)}")
    if method.token_locality not in ("", "local", "global"):
        raise RpcError("Invalid Auth Method: TokenLocality should be one of 'local' or 'global'")
    if method.token_locality == "global" and context.acl.is_secondary:
        raise RpcError("Invalid Auth Method: TokenLocality 'global' can only be used in the primary datacenter")
    try:
        check_settings(method.type, method.config)
    except SettingsProblem as error:
        raise RpcError(f"Invalid Auth Method: {error}") from None
    return method


@write("ACL.AuthMethodDelete")
async def delete_method(context: Context, args: ACLAuthMethodDeleteRequest) -> bool:
    """Remove an auth method, its binding rules and the tokens that came of it; False when it was not there."""
    check_logins_enabled(context)
    authorizer(context, args.token).require("acl", "write")
    known, _ = context.fsm.store.acl.method(args.auth_method_name)
    if known is None:
        return False
    request = ACLAuthMethodBatchDeleteRequest(auth_method_names=[known.name])
    await propose(context, CommandType.ACL_AUTH_METHOD_DELETE, request)
    return True


@read("ACL.BindingRuleRead")
def read_rule(context: Context, args: ACLBindingRuleGetRequest, watch: Watch | None) -> ACLBindingRuleResponse:
    """One binding rule by its ID."""
    check_logins_enabled(context)
    authorizer(context, args.token).require("acl", "read")
    check_uuid(args.binding_rule_id, "binding rule")
    rule, index = context.fsm.store.acl.binding_rule(args.binding_rule_id, watch)
    return ACLBindingRuleResponse(binding_rule=rule, index=index)


@read("ACL.BindingRuleList")
def list_rules(context: Context, args: ACLBindingRuleListRequest, watch: Watch | None) -> ACLBindingRuleListResponse:
    """All binding rules, or those of an auth method."""
    check_logins_enabled(context)
    authorizer(context, args.token).require("acl", "read")
    rules, index = context.fsm.store.acl.binding_rules(args.auth_method, watch)
    return ACLBindingRuleListResponse(binding_rules=rules, index=index)


@write("ACL.BindingRuleSet")
async def set_rule(context: Context, args: ACLBindingRuleSetRequest) -> ACLBindingRule:
    """Create or replace a binding rule, and return it as it is stored."""
    check_logins_enabled(context)
    authorizer(context, args.token).require("acl", "write")
    acl = context.fsm.store.acl
    rule = args.binding_rule
    if rule.id:
        if not is_uuid(rule.id):
            raise RpcError("Binding Rule ID invalid UUID")
        known, _ = acl.binding_rule(rule.id)
        if known is None:
            raise RpcError(f"cannot find binding rule {rule.id}")
        if rule.auth_method not in ("", known.auth_method):
            raise RpcError("the AuthMethod field of an Binding Rule is immutable")
        rule = msgspec.structs.replace(rule, auth_method=known.auth_method)
    else:
        rule = msgspec.structs.replace(rule, id=new_id(context, acl.rules))
    if not rule.auth_method:
        raise RpcError("Invalid Binding Rule: no AuthMethod is set")
    method, _ = acl.method(rule.auth_method)
    if method is None:
        raise RpcError(f"cannot find auth method with name {go_quoted(rule.auth_method)}")
    try:
        check_rule(rule, check_settings(method.type, method.config))
    except SettingsProblem as error:
        raise RpcError(f"Invalid Auth Method: {error}") from None
    except RuleProblem as error:
        raise RpcError(str(error)) from None
    try:
        await propose(context, CommandType.ACL_BINDING_RULE, ACLBindingRuleBatchSetRequest(binding_rules=[rule]))
    except RpcError as error:
        raise RpcError(f"Failed to apply binding rule upsert request: {error.text}") from None
    return acl.binding_rule(rule.id)[0] or rule


@write("ACL.BindingRuleDelete")
async def delete_rule(context: Context, args: ACLBindingRuleDeleteRequest) -> bool:
    """Remove a binding rule; False when it was not there."""
    check_logins_enabled(context)
    authorizer(context, args.token).require("acl", "write")
    check_uuid(args.binding_rule_id, "binding rule")
    known, _ = context.fsm.store.acl.binding_rule(args.binding_rule_id)
    if known is None:
        return False
    request = ACLBindingRuleBatchDeleteRequest(binding_rule_ids=[known.id])
    await propose(context, CommandType.ACL_BINDING_RULE_DELETE, request)
    return True
