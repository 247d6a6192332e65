"""ACL: login, which turns a credential from elsewhere into a token, and logout, which ends such a token."""

import logging

from model.commands import CommandType
from model.errors import ACL_NOT_FOUND, PERMISSION_DENIED, RpcError
from model.gojson import encode_json
from model.gotext import go_quoted
from model.structs.acl import (
    ACLAuthMethod,
    ACLLoginRequest,
    ACLLogoutRequest,
    ACLNodeIdentity,
    ACLServiceIdentity,
    ACLToken,
    ACLTokenBatchDeleteRequest,
    ACLTokenRoleLink,
)
from server.acl.login.binding import NODE, SERVICE, Binding, bindings
from server.acl.login.problems import Refused, SettingsProblem
from server.endpoints.acl_rules import check_logins_enabled
from server.endpoints.acl_tokens import create
from server.endpoints.context import Context, propose, write
from server.state.acl import Acl

log = logging.getLogger("lictor.acl")

_DESCRIPTION = "token created via login"
MAX_META = 64 << 10
"""Bytes of what a login says about itself."""


@write("ACL.Login")
async def login(context: Context, args: ACLLoginRequest) -> ACLToken:
    """Make a token for who has a credential of an auth method, with what its binding rules give."""
    check_logins_enabled(context)
    auth = args.auth
    if auth is None:
        raise RpcError("Invalid Login request: Missing auth parameters")
    if args.token:
        raise RpcError("do not provide a token when logging in")
    method = _method(context, auth.auth_method)
    description = _description(auth.meta)
    try:
        identity = await context.credentials.verify(method, auth.bearer_token)
        # While others were asked, the method and its rules may have become other ones.
        method = _same(context, method)
        rules, _ = context.fsm.store.acl.binding_rules(method.name)
        bound = _existing(context.fsm.store.acl, bindings(rules, identity))
    except (Refused, SettingsProblem) as error:
        raise RpcError(str(error)) from None
    if not bound:
        raise RpcError(PERMISSION_DENIED)
    token = ACLToken(
        description=description,
        local=method.token_locality != "global",
        auth_method=method.name,
        expiration_ttl=method.max_token_ttl,
        roles=[ACLTokenRoleLink(name=one.name) for one in bound if one.kind not in (NODE, SERVICE)] or None,
        service_identities=[ACLServiceIdentity(service_name=one.name) for one in bound if one.kind == SERVICE] or None,
        node_identities=[
            ACLNodeIdentity(node_name=one.name, datacenter=context.datacenter) for one in bound if one.kind == NODE
        ]
        or None,
    )
    made = await create(context, token, from_login=True)
    log.info("created token with accessor %s by a login with auth method %s", made.accessor_id, method.name)
    return made


def _method(context: Context, name: str) -> ACLAuthMethod:
    method, _ = context.fsm.store.acl.method(name)
    if method is None:
        raise RpcError(f"{ACL_NOT_FOUND}: auth method {go_quoted(name)} not found")
    return method


def _same(context: Context, method: ACLAuthMethod) -> ACLAuthMethod:
    """The auth method as it is now, if its type and settings are those that a credential was verified by."""
    now = _method(context, method.name)
    if (now.type, now.config, now.create_index) != (method.type, method.config, method.create_index):
        raise RpcError(f"the auth method {go_quoted(method.name)} has changed during the login: log in again")
    return now


def _existing(acl: Acl, bound: list[Binding]) -> list[Binding]:
    """Without the roles that do not exist, which give nothing."""
    return [one for one in bound if one.kind in (NODE, SERVICE) or acl.role_by_name(one.name)[0] is not None]


def _description(meta: dict[str, str] | None) -> str:
    if not meta:
        return _DESCRIPTION
    text = encode_json(dict(sorted(meta.items()))).decode()
    if len(text) > MAX_META:
        raise RpcError(f"Invalid Login request: Meta is longer than {MAX_META} bytes")
    return f"{_DESCRIPTION}: {text}"


@write("ACL.Logout")
async def logout(context: Context, args: ACLLogoutRequest) -> bool:
    """Remove the token with which this is asked, which a login has made."""
    check_logins_enabled(context)
    if not args.token:
        raise RpcError(ACL_NOT_FOUND)
    if args.token in context.acl.managed:
        raise RpcError(f"{PERMISSION_DENIED}: token wasn't created via login")
    token = context.acl.token(args.token)
    if not token.auth_method:
        raise RpcError(f"{PERMISSION_DENIED}: token wasn't created via login")
    await propose(context, CommandType.ACL_TOKEN_DELETE, ACLTokenBatchDeleteRequest(token_ids=[token.accessor_id]))
    return True
