"""What the leader does for access control: the rows that every cluster has, and the removal of expired tokens."""

import logging

import msgspec

from model.acl.hashes import policy_hash, token_hash
from model.commands import CommandType
from model.gotime import GoTime
from model.structs.acl import (
    ACLPolicyBatchSetRequest,
    ACLToken,
    ACLTokenBatchDeleteRequest,
    ACLTokenBatchSetRequest,
    ACLTokenBootstrapRequest,
    ACLTokenPolicyLink,
)
from model.structs.operator import SystemMetadataEntry, SystemMetadataRequest
from server.acl.identities import ANONYMOUS_ID, ANONYMOUS_SECRET, GLOBAL_MANAGEMENT, GLOBAL_MANAGEMENT_ID
from server.acl.resolver import MANAGEMENT_SECRET
from server.endpoints.context import Context, propose

log = logging.getLogger("lictor.leader")

_BATCH = 256
"""Expired tokens that one command removes."""


def management_token(context: Context, secret: str, description: str) -> ACLToken:
    """A new token that may do everything."""
    token = ACLToken(
        accessor_id=context.uuid(),
        secret_id=secret,
        description=description,
        policies=[ACLTokenPolicyLink(id=GLOBAL_MANAGEMENT_ID)],
        create_time=GoTime.from_unix_nanoseconds(context.now_nanoseconds()),
    )
    return msgspec.structs.replace(token, hash=token_hash(token))


async def establish(context: Context) -> None:
    """Write the built-in policy and tokens, as far as they are not there. Raises RpcError, RaftError."""
    settings = context.acl.settings
    if not settings.enabled:
        return
    if not context.fsm.store.metadata.value(MANAGEMENT_SECRET):
        entry = SystemMetadataEntry(key=MANAGEMENT_SECRET, value=context.uuid())
        await propose(context, CommandType.SYSTEM_METADATA, SystemMetadataRequest(op="upsert", entry=entry))
    if context.acl.is_secondary:
        return  # Policies and tokens come from the primary datacenter.
    acl = context.fsm.store.acl
    known, _ = acl.policy(GLOBAL_MANAGEMENT_ID)
    if known is None or known.rules != GLOBAL_MANAGEMENT.rules:
        policy = GLOBAL_MANAGEMENT
        if known is not None:  # Its name and description may have been changed; its rules are the version's.
            policy = msgspec.structs.replace(known, rules=GLOBAL_MANAGEMENT.rules)
        policy = msgspec.structs.replace(policy, hash=policy_hash(policy))
        await propose(context, CommandType.ACL_POLICY, ACLPolicyBatchSetRequest(policies=[policy]))
    if settings.initial_management and acl.token_by_secret(settings.initial_management) is None:
        token = management_token(context, settings.initial_management, "Initial Management Token")
        if acl.bootstrapped():
            await propose(context, CommandType.ACL_TOKEN, ACLTokenBatchSetRequest(tokens=[token]))
        else:
            await propose(context, CommandType.ACL_BOOTSTRAP, ACLTokenBootstrapRequest(token=token))
        log.info("created the initial management token with accessor %s", token.accessor_id)
    if acl.token(ANONYMOUS_ID)[0] is None:
        anonymous = ACLToken(
            accessor_id=ANONYMOUS_ID,
            secret_id=ANONYMOUS_SECRET,
            description="Anonymous Token",
            create_time=GoTime.from_unix_nanoseconds(context.now_nanoseconds()),
        )
        anonymous = msgspec.structs.replace(anonymous, hash=token_hash(anonymous))
        await propose(context, CommandType.ACL_TOKEN, ACLTokenBatchSetRequest(tokens=[anonymous]))


async def remove_expired_tokens(context: Context) -> None:
    """Remove the tokens whose time is over; they are refused already. Raises RpcError, RaftError."""
    if not context.acl.enabled:
        return
    expired = context.fsm.store.acl.expired_tokens(context.now_nanoseconds())
    for at in range(0, len(expired), _BATCH):
        accessors = [token.accessor_id for token in expired[at : at + _BATCH]]
        await propose(context, CommandType.ACL_TOKEN_DELETE, ACLTokenBatchDeleteRequest(token_ids=accessors))
        log.info("removed %d expired tokens", len(accessors))
