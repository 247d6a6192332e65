"""ACL: roles."""

import msgspec

from model.acl.hashes import role_hash
from model.commands import CommandType
from model.errors import RpcError
from model.gotext import go_quoted
from model.structs.acl import (
    ACLRole,
    ACLRoleBatchDeleteRequest,
    ACLRoleBatchGetRequest,
    ACLRoleBatchResponse,
    ACLRoleBatchSetRequest,
    ACLRoleDeleteRequest,
    ACLRoleGetRequest,
    ACLRoleListRequest,
    ACLRoleListResponse,
    ACLRoleResponse,
    ACLRoleSetRequest,
)
from model.tables import Watch
from server.endpoints.acl_rules import (
    check_enabled,
    check_name,
    is_uuid,
    links,
    new_id,
    node_identities,
    service_identities,
)
from server.endpoints.authorizer import authorizer
from server.endpoints.context import Context, propose, read, write
from server.state.acl import check_uuid


@read("ACL.RoleRead")
def read_role(context: Context, args: ACLRoleGetRequest, watch: Watch | None) -> ACLRoleResponse:
    """One role, by ID or name."""
    check_enabled(context)
    authorizer(context, args.token).require("acl", "read")
    acl = context.fsm.store.acl
    if args.role_id:
        check_uuid(args.role_id, "role")
        role, index = acl.role(args.role_id, watch)
    else:
        role, index = acl.role_by_name(args.role_name, watch)
    return ACLRoleResponse(role=role, index=index)


@read("ACL.RoleList")
def list_roles(context: Context, args: ACLRoleListRequest, watch: Watch | None) -> ACLRoleListResponse:
    """All roles, or those with a policy, by name."""
    check_enabled(context)
    authorizer(context, args.token).require("acl", "read")
    if args.policy:
        check_uuid(args.policy, "role")
    roles, index = context.fsm.store.acl.all_roles(watch)
    if args.policy:
        roles = [role for role in roles if any(link.id == args.policy for link in role.policies or ())]
    return ACLRoleListResponse(roles=sorted(roles, key=lambda role: role.name) or None, index=index)


@read("ACL.RoleBatchRead")
def read_roles(context: Context, args: ACLRoleBatchGetRequest, watch: Watch | None) -> ACLRoleBatchResponse:
    """Several roles by ID, those that are there."""
    check_enabled(context)
    authorizer(context, args.token).require("acl", "read")
    acl = context.fsm.store.acl
    found = [acl.role(role_id, watch) for role_id in args.role_ids or ()]
    index = max((one for _, one in found), default=0)
    return ACLRoleBatchResponse(roles=[role for role, _ in found if role is not None], index=index)


@read("ACL.RoleResolve")
def resolve_roles(context: Context, args: ACLRoleBatchGetRequest, watch: Watch | None) -> ACLRoleBatchResponse:
    """Several roles by ID, as far as they are those of the token that asks."""
    check_enabled(context)
    token = context.acl.token(args.token)
    wanted = frozenset(args.role_ids or ())
    roles = [role for role in context.acl.roles(token) if role.id in wanted]
    _, index = context.fsm.store.acl.all_roles(watch)
    return ACLRoleBatchResponse(roles=roles, index=index)


@write("ACL.RoleSet")
async def set_role(context: Context, args: ACLRoleSetRequest) -> ACLRole:
    """Create or replace a role, and return it as it is stored."""
    check_enabled(context)
    authorizer(context, args.token).require("acl", "write")
    acl = context.fsm.store.acl
    role = args.role
    check_name("Role", role.name)
    same_name, _ = acl.role_by_name(role.name)
    if not role.id:
        if same_name is not None:
            raise RpcError(f"Invalid Role: A Role with Name {go_quoted(role.name)} already exists")
        role = msgspec.structs.replace(role, id=new_id(context, acl.roles))
    else:
        if not is_uuid(role.id):
            raise RpcError("Role ID invalid UUID")
        if acl.role(role.id)[0] is None:
            raise RpcError(f"cannot find role {role.id}")
        if same_name is not None and same_name.id != role.id:
            raise RpcError(f"Invalid Role: A role with name {go_quoted(role.name)} already exists")
    services = service_identities(role.service_identities, "role")
    nodes = node_identities(role.node_identities, "role")
    role = msgspec.structs.replace(
        role,
        policies=links(role.policies, acl, "policy"),
        service_identities=sorted(services, key=lambda one: one.service_name) if services else None,
        node_identities=sorted(nodes, key=lambda one: (one.node_name, one.datacenter)) if nodes else None,
    )
    role = msgspec.structs.replace(role, hash=role_hash(role))
    try:
        await propose(context, CommandType.ACL_ROLE, ACLRoleBatchSetRequest(roles=[role]))
    except RpcError as error:
        raise RpcError(f"Failed to apply role upsert request: {error.text}") from None
    stored, _ = context.fsm.store.acl.role(role.id)
    return stored or role


@write("ACL.RoleDelete")
async def delete_role(context: Context, args: ACLRoleDeleteRequest) -> str:
    """Remove a role; returns its name, "" when it was not there."""
    check_enabled(context)
    authorizer(context, args.token).require("acl", "write")
    check_uuid(args.role_id, "role")
    role, _ = context.fsm.store.acl.role(args.role_id)
    if role is None:
        return ""
    await propose(context, CommandType.ACL_ROLE_DELETE, ACLRoleBatchDeleteRequest(role_ids=[role.id]))
    return role.name
