"""ACL: policies, and what a token is asked to be allowed."""

import msgspec

from model.acl.decisions import ACCESSES
from model.acl.hashes import policy_hash
from model.acl.rules import RulesError, parse_rules
from model.commands import CommandType
from model.errors import RpcError
from model.gotext import go_quoted
from model.structs.acl import (
    ACLAuthorizationResponse,
    ACLPolicy,
    ACLPolicyBatchDeleteRequest,
    ACLPolicyBatchGetRequest,
    ACLPolicyBatchResponse,
    ACLPolicyBatchSetRequest,
    ACLPolicyDeleteRequest,
    ACLPolicyGetRequest,
    ACLPolicyListRequest,
    ACLPolicyListResponse,
    ACLPolicyListStub,
    ACLPolicyResponse,
    ACLPolicySetRequest,
    RemoteACLAuthorizationRequest,
)
from model.tables import Watch
from server.acl.identities import GLOBAL_MANAGEMENT, GLOBAL_MANAGEMENT_ID
from server.endpoints.acl_rules import check_enabled, check_name, is_uuid, new_id
from server.endpoints.authorizer import authorizer
from server.endpoints.context import Context, local, propose, read, write
from server.state.acl import check_uuid

MAX_AUTHORIZATIONS = 64
_STUB_FIELDS = ACLPolicyListStub.__struct_fields__


@read("ACL.PolicyRead")
def read_policy(context: Context, args: ACLPolicyGetRequest, watch: Watch | None) -> ACLPolicyResponse:
    """One policy, by ID or name."""
    check_enabled(context)
    authorizer(context, args.token).require("acl", "read")
    acl = context.fsm.store.acl
    if args.policy_id:
        check_uuid(args.policy_id, "policy")
        policy, index = acl.policy(args.policy_id, watch)
    else:
        policy, index = acl.policy_by_name(args.policy_name, watch)
    return ACLPolicyResponse(policy=policy, index=index)


@read("ACL.PolicyList")
def list_policies(context: Context, args: ACLPolicyListRequest, watch: Watch | None) -> ACLPolicyListResponse:
    """All policies, without their rules, by name."""
    check_enabled(context)
    authorizer(context, args.token).require("acl", "read")
    policies, index = context.fsm.store.acl.all_policies(watch)
    stubs = [ACLPolicyListStub(**{name: getattr(policy, name) for name in _STUB_FIELDS}) for policy in policies]
    return ACLPolicyListResponse(policies=sorted(stubs, key=lambda stub: stub.name) or None, index=index)


@read("ACL.PolicyBatchRead")
def read_policies(context: Context, args: ACLPolicyBatchGetRequest, watch: Watch | None) -> ACLPolicyBatchResponse:
    """Several policies by ID, those that are there."""
    check_enabled(context)
    authorizer(context, args.token).require("acl", "read")
    acl = context.fsm.store.acl
    found = [acl.policy(policy_id, watch) for policy_id in args.policy_ids or ()]
    index = max((one for _, one in found), default=0)
    return ACLPolicyBatchResponse(policies=[policy for policy, _ in found if policy is not None], index=index)


@read("ACL.PolicyResolve")
def resolve_policies(context: Context, args: ACLPolicyBatchGetRequest, watch: Watch | None) -> ACLPolicyBatchResponse:
    """Several policies by ID, as far as they are those of the token that asks."""
    check_enabled(context)
    token = context.acl.token(args.token)
    wanted = frozenset(args.policy_ids or ())
    policies = [policy for policy in context.acl.policies(token) if policy.id in wanted]
    _, index = context.fsm.store.acl.all_policies(watch)
    return ACLPolicyBatchResponse(policies=policies, index=index)


@write("ACL.PolicySet")
async def set_policy(context: Context, args: ACLPolicySetRequest) -> ACLPolicy:
    """Create or replace a policy, and return it as it is stored."""
    check_enabled(context)
    authorizer(context, args.token).require("acl", "write")
    acl = context.fsm.store.acl
    policy = args.policy
    check_name("Policy", policy.name)
    same_name, _ = acl.policy_by_name(policy.name)
    if not policy.id:
        if same_name is not None:
            raise RpcError(f"Invalid Policy: A Policy with Name {go_quoted(policy.name)} already exists")
        policy = msgspec.structs.replace(policy, id=new_id(context, acl.policies))
    else:
        if not is_uuid(policy.id):
            raise RpcError("Policy ID invalid UUID")
        known, _ = acl.policy(policy.id)
        if known is None:
            raise RpcError(f"cannot find policy {policy.id}")
        if same_name is not None and same_name.id != policy.id:
            raise RpcError(f"Invalid Policy: A policy with name {go_quoted(policy.name)} already exists")
        if policy.id == GLOBAL_MANAGEMENT_ID:
            if policy.datacenters:
                raise RpcError("Changing the Datacenters of the builtin global-management policy is not permitted")
            if policy.rules != known.rules:
                raise RpcError("Changing the Rules for the builtin global-management policy is not permitted")
    try:
        parse_rules(policy.rules)
    except RulesError as error:
        raise RpcError(str(error)) from None
    policy = msgspec.structs.replace(policy, hash=policy_hash(policy))
    await propose(context, CommandType.ACL_POLICY, ACLPolicyBatchSetRequest(policies=[policy]))
    stored, _ = context.fsm.store.acl.policy(policy.id)
    return stored or policy


@write("ACL.PolicyDelete")
async def delete_policy(context: Context, args: ACLPolicyDeleteRequest) -> str:
    """Remove a policy; returns its name, "" when it was not there."""
    check_enabled(context)
    authorizer(context, args.token).require("acl", "write")
    check_uuid(args.policy_id, "policy")
    policy, _ = context.fsm.store.acl.policy(args.policy_id)
    if policy is None:
        return ""
    if policy.id == GLOBAL_MANAGEMENT_ID:
        raise RpcError(f"Delete operation not permitted on the builtin {GLOBAL_MANAGEMENT.name} policy")
    await propose(context, CommandType.ACL_POLICY_DELETE, ACLPolicyBatchDeleteRequest(policy_ids=[policy.id]))
    return policy.name


@local("ACL.Authorize")
async def authorize(context: Context, args: RemoteACLAuthorizationRequest) -> list[ACLAuthorizationResponse]:
    """Say of each access whether the token may. Raises RpcError for what is no access."""
    check_enabled(context)
    authz = authorizer(context, args.token)
    answers = []
    for asked in args.requests or ():
        if asked.resource not in ACCESSES:
            raise RpcError(f"Invalid ACL resource requested: {go_quoted(asked.resource)}")
        if asked.access not in ACCESSES[asked.resource]:
            raise RpcError(f"Invalid access level for {asked.resource} resource: {asked.access}")
        answers.append(
            ACLAuthorizationResponse(
                resource=asked.resource,
                access=asked.access,
                segment=asked.segment,
                allow=authz.allowed(asked.resource, asked.access, asked.segment),
            )
        )
    return answers
