"""ACL: tokens and the bootstrap."""

import contextlib
import logging
from typing import Any

import msgspec

from model.acl.hashes import token_hash
from model.commands import CommandType
from model.durations import SECOND, format_duration
from model.errors import ACL_NOT_FOUND, RpcError
from model.gotime import GoTime
from model.structs.acl import (
    ACLInitialTokenBootstrapRequest,
    ACLReplicationStatus,
    ACLToken,
    ACLTokenBatchDeleteRequest,
    ACLTokenBatchGetRequest,
    ACLTokenBatchResponse,
    ACLTokenBatchSetRequest,
    ACLTokenBootstrapRequest,
    ACLTokenDeleteRequest,
    ACLTokenGetRequest,
    ACLTokenListRequest,
    ACLTokenListResponse,
    ACLTokenListStub,
    ACLTokenResponse,
    ACLTokenSetRequest,
)
from model.structs.catalog_rpc import DCSpecificRequest
from model.tables import Watch
from server.acl.identities import ANONYMOUS_ID
from server.endpoints.acl_rules import (
    check_enabled,
    is_reserved,
    is_uuid,
    links,
    new_id,
    node_identities,
    service_identities,
)
from server.endpoints.authorizer import Authorizer, authorizer
from server.endpoints.context import Context, propose, read, write
from server.leader.access import management_token
from server.state.acl import BOOTSTRAP_NOT_ALLOWED, check_uuid, is_expired

log = logging.getLogger("lictor.acl")

HIDDEN_SECRET = "<hidden>"
_STUB_FIELDS = tuple(name for name in ACLTokenListStub.__struct_fields__ if name != "legacy")


@read("ACL.TokenRead")
def read_token(context: Context, args: ACLTokenGetRequest, watch: Watch | None) -> ACLTokenResponse:
    """One token: by its accessor, or by the secret, which needs no further right."""
    check_enabled(context)
    acl = context.fsm.store.acl
    redacted = False
    if args.token_id_type == "secret":
        token = acl.token_by_secret(args.token_id)
        index = acl.token(token.accessor_id if token else "", watch)[1]
    else:
        authz = authorizer(context, args.token)
        authz.require("acl", "read")
        check_uuid(args.token_id, "token")
        token, index = acl.token(args.token_id, watch)
        redacted = not authz.allowed("acl", "write")
    if token is not None and is_expired(token, context.now_nanoseconds()):
        token = None
    reply = ACLTokenResponse(index=index, redacted=redacted, source_datacenter=context.datacenter)
    if token is None:
        return reply
    shown = _redacted(token) if redacted else token
    if not args.expanded:
        return msgspec.structs.replace(reply, token=shown)
    return msgspec.structs.replace(
        reply,
        token=shown,
        expanded_policies=context.acl.policies(token) or None,
        expanded_roles=context.acl.roles(token) or None,
        agent_acl_default_policy=context.acl.settings.default_policy,
        agent_acl_down_policy=context.acl.settings.down_policy,
        resolved_by_agent=context.node_name,
    )


def _redacted(token: ACLToken) -> ACLToken:
    return msgspec.structs.replace(token, secret_id=HIDDEN_SECRET)


@read("ACL.TokenList")
def list_tokens(context: Context, args: ACLTokenListRequest, watch: Watch | None) -> ACLTokenListResponse:
    """All tokens, or those of a policy, a role or an auth method; secrets only for who may write."""
    check_enabled(context)
    authz = authorizer(context, args.token)
    authz.require("acl", "read")
    if sum(1 for one in (args.policy, args.role, args.auth_method) if one) > 1:
        raise RpcError("can only filter by one of policy, role, or methodName at a time")
    for identifier in (args.policy, args.role):
        if identifier:
            check_uuid(identifier, "token")
    tokens, index = context.fsm.store.acl.all_tokens(watch)
    now = context.now_nanoseconds()
    found = [
        token
        for token in tokens
        if not is_expired(token, now)
        and (args.include_local if token.local else args.include_global)
        and (not args.policy or any(link.id == args.policy for link in token.policies or ()))
        and (not args.role or any(link.id == args.role for link in token.roles or ()))
        and (not args.auth_method or token.auth_method.lower() == args.auth_method.lower())
    ]
    return ACLTokenListResponse(tokens=[_stub(token, authz) for token in found], index=index)


def _stub(token: ACLToken, authz: Authorizer) -> ACLTokenListStub:
    fields: dict[str, Any] = {name: getattr(token, name) for name in _STUB_FIELDS}
    if not authz.allowed("acl", "write"):
        fields["secret_id"] = HIDDEN_SECRET
    return ACLTokenListStub(**fields)


@read("ACL.TokenBatchRead")
def read_tokens(context: Context, args: ACLTokenBatchGetRequest, watch: Watch | None) -> ACLTokenBatchResponse:
    """Several tokens by accessor, those that are there."""
    check_enabled(context)
    authz = authorizer(context, args.token)
    authz.require("acl", "read")
    redacted = not authz.allowed("acl", "write")
    acl = context.fsm.store.acl
    found = [acl.token(accessor, watch) for accessor in args.accessor_ids or ()]
    now = context.now_nanoseconds()
    there = [token for token, _ in found if token is not None and not is_expired(token, now)]
    tokens = [_redacted(token) if redacted else token for token in there]
    index = max((one for _, one in found), default=0)
    return ACLTokenBatchResponse(tokens=tokens, redacted=redacted, index=index)


@write("ACL.TokenSet")
async def set_token(context: Context, args: ACLTokenSetRequest) -> ACLToken:
    """Create a token, or replace what one may do; returns it as it is stored."""
    check_enabled(context)
    authorizer(context, args.token).require("acl", "write")
    token = args.acl_token
    if args.create or not token.accessor_id:
        return await create(context, token)
    return await _update(context, token)


async def create(context: Context, token: ACLToken, from_login: bool = False) -> ACLToken:
    """Make a token, with new IDs where it brings none; returns it as it is stored. Raises RpcError.

    `from_login`: an auth method vouches for it.
    """
    acl = context.fsm.store.acl
    accessor, secret = token.accessor_id, token.secret_id
    for name, given in (("AccessorID", accessor), ("SecretID", secret)):
        if given:
            _check_given(context, name, given)
    if token.auth_method and not from_login:
        raise RpcError("AuthMethod field is disallowed outside of Login")
    now = context.now_nanoseconds()
    token = msgspec.structs.replace(
        token,
        accessor_id=accessor or new_id(context, acl.tokens),
        secret_id=secret or new_id(context, acl.tokens.values_of("secret")),
        create_time=GoTime.from_unix_nanoseconds(now),
    )
    return await _store(context, _with_expiration(context, token, now))


def _check_given(context: Context, name: str, given: str) -> None:
    """Raise RpcError unless an ID that comes from outside can be a new token's."""
    acl = context.fsm.store.acl
    if not is_uuid(given):
        raise RpcError(f"Invalid Token: {name} is not a valid UUID")
    if is_reserved(given):
        raise RpcError(f"Invalid Token: {name} is reserved")
    if given in acl.tokens or acl.token_by_secret(given) is not None:
        raise RpcError(f"Invalid Token: {name} is already in use")


def _with_expiration(context: Context, token: ACLToken, now: int) -> ACLToken:
    """The token with the time at which it ends instead of the time that it has. Raises RpcError."""
    ttl, end = token.expiration_ttl, token.expiration_time
    if end is not None and end.is_zero:
        end = None
    if ttl < 0:
        raise RpcError(f"Token Expiration TTL '{format_duration(ttl)}' should be > 0")
    if ttl and end is not None:
        raise RpcError("Token Expiration TTL and Expiration Time cannot both be set")
    if ttl:
        end = GoTime.from_unix_nanoseconds(now + ttl)
    if end is not None:
        left = end.seconds * SECOND + end.nanoseconds - now
        least, most = (round(limit * SECOND) for limit in context.acl.expiration_limits)
        if left < 0:
            raise RpcError("ExpirationTime cannot be before CreateTime")
        shown = format_duration(left)
        if left < least:
            raise RpcError(f"ExpirationTime cannot be less than {format_duration(least)} in the future (was {shown})")
        if left > most:
            raise RpcError(f"ExpirationTime cannot be more than {format_duration(most)} in the future (was {shown})")
    return msgspec.structs.replace(token, expiration_ttl=0, expiration_time=end)


async def _update(context: Context, token: ACLToken) -> ACLToken:
    acl = context.fsm.store.acl
    if not is_uuid(token.accessor_id):
        raise RpcError("AccessorID is not a valid UUID")
    known, _ = acl.token(token.accessor_id)
    if known is None or is_expired(known, context.now_nanoseconds()):
        raise RpcError(f'Cannot find token "{token.accessor_id}"')
    if token.secret_id not in ("", known.secret_id):
        raise RpcError("Changing a token's SecretID is not permitted")
    if token.local != known.local:
        raise RpcError(f"Cannot toggle local mode of {token.accessor_id}")
    if token.auth_method not in ("", known.auth_method):
        raise RpcError(f"Cannot change AuthMethod of {token.accessor_id}")
    if token.expiration_ttl or (token.expiration_time is not None and token.expiration_time != known.expiration_time):
        raise RpcError(f"Cannot change expiration time of {token.accessor_id}")
    kept = {name: getattr(known, name) for name in ("secret_id", "auth_method", "create_time", "expiration_time")}
    return await _store(context, msgspec.structs.replace(token, **kept))


async def _store(context: Context, token: ACLToken) -> ACLToken:
    """Judge what a token links to, and write it. Raises RpcError."""
    acl = context.fsm.store.acl
    services = service_identities(token.service_identities, "token")
    for identity in services or ():
        if token.local and identity.datacenters:
            name = identity.service_name
            raise RpcError(f'Service identity "{name}" cannot specify a list of datacenters on a local token')
    token = msgspec.structs.replace(
        token,
        policies=links(token.policies, acl, "policy"),
        roles=links(token.roles, acl, "role"),
        service_identities=services,
        node_identities=node_identities(token.node_identities, "token"),
        rules="",
        type="",
    )
    token = msgspec.structs.replace(token, hash=token_hash(token))
    try:
        await propose(context, CommandType.ACL_TOKEN, ACLTokenBatchSetRequest(tokens=[token]))
    except RpcError as error:
        raise RpcError(f"Failed to apply token write request: {error.text}") from None
    stored, _ = context.fsm.store.acl.token(token.accessor_id)
    return stored or token


@write("ACL.TokenClone")
async def clone_token(context: Context, args: ACLTokenSetRequest) -> ACLToken:
    """Make another token that may do the same."""
    check_enabled(context)
    authorizer(context, args.token).require("acl", "write")
    known, _ = context.fsm.store.acl.token(args.acl_token.accessor_id)
    if known is None or is_expired(known, context.now_nanoseconds()):
        raise RpcError(ACL_NOT_FOUND)
    if known.accessor_id == ANONYMOUS_ID:
        raise RpcError("The anonymous token may not be cloned")
    if known.auth_method:
        raise RpcError("Cannot clone a token created from an auth method")
    copy = msgspec.structs.replace(
        known,
        accessor_id="",
        secret_id="",
        description=args.acl_token.description or known.description,
        hash=None,
        create_index=0,
        modify_index=0,
    )
    return await create(context, copy)


@write("ACL.TokenDelete")
async def delete_token(context: Context, args: ACLTokenDeleteRequest) -> str:
    """Remove a token; returns its accessor, "" when it was not there."""
    check_enabled(context)
    authorizer(context, args.token).require("acl", "write")
    if args.token_id == ANONYMOUS_ID:
        raise RpcError("Delete operation not permitted on the anonymous token")
    check_uuid(args.token_id, "token")
    known, _ = context.fsm.store.acl.token(args.token_id)
    if known is None:
        return ""
    if args.token == known.secret_id:
        raise RpcError("Deletion of the request's authorization token is not permitted")
    request = ACLTokenBatchDeleteRequest(token_ids=[known.accessor_id])
    await propose(context, CommandType.ACL_TOKEN_DELETE, request)
    return known.accessor_id


@write("ACL.BootstrapTokens")
async def bootstrap(context: Context, args: ACLInitialTokenBootstrapRequest) -> ACLToken:
    """Make the first management token: once, and again only when an operator has put the index into the reset file."""
    check_enabled(context)
    acl = context.fsm.store.acl
    given = args.bootstrap_secret
    if given:
        _check_given(context, "SecretID", given)  # Before the reset file is used up.
    last = acl.bootstrapped()
    reset = _reset_index(context) if last else 0
    if last and not reset:
        raise RpcError(f"{BOOTSTRAP_NOT_ALLOWED} (reset index: {last})")
    secret = given or new_id(context, acl.tokens.values_of("secret"))
    token = management_token(context, secret, _BOOTSTRAP_TOKEN)
    made = await propose(context, CommandType.ACL_BOOTSTRAP, ACLTokenBootstrapRequest(token=token, reset_index=reset))
    assert isinstance(made, ACLToken)
    stored, _ = context.fsm.store.acl.token(made.accessor_id)
    log.info("ACL bootstrap completed")
    return stored or made


_BOOTSTRAP_TOKEN = "Bootstrap Token (Global Management)"


def _reset_index(context: Context) -> int:
    """What the reset file says; it is used up by that. 0 when there is none, or no number in it."""
    path = context.acl.settings.reset_file
    if path is None:
        return 0
    try:
        with open(path, "rb") as file:
            text = file.read(64).decode("ascii", "replace").strip()
    except FileNotFoundError:
        return 0
    except OSError as error:
        log.error("failed to read bootstrap reset file: %s", error.strerror)
        return 0
    if not (text.isascii() and text.isdigit()):
        log.error("failed to parse the bootstrap reset index in %s", path.name)
        return 0
    with contextlib.suppress(OSError):
        path.unlink()
    return int(text)


@write("ACL.ReplicationStatus")
async def replication_status(context: Context, args: DCSpecificRequest) -> ACLReplicationStatus:
    """How far this datacenter's leader has copied policies, roles and tokens from the primary one."""
    check_enabled(context)
    return context.acl.replication
