"""What the endpoints of access control demand of names, IDs and links. Pure; errors are in Consul's words."""

import re
from collections.abc import Container, Sequence
from typing import Any, TypeVar

import msgspec

from model.errors import ACL_DISABLED, RpcError
from model.gotext import go_quoted
from model.structs.acl import (
    ACLNodeIdentity,
    ACLRolePolicyLink,
    ACLServiceIdentity,
    ACLTokenPolicyLink,
    ACLTokenRoleLink,
)
from server.acl.identities import RESERVED
from server.endpoints.context import Context
from server.state.acl import UUID, Acl

_POLICY_NAME = re.compile(r"[A-Za-z0-9\-_]{1,128}", re.ASCII)
_ROLE_NAME = re.compile(r"[A-Za-z0-9\-_]{1,256}", re.ASCII)
_IDENTITY_NAME = re.compile(r"[a-z0-9]([a-z0-9\-_]*[a-z0-9])?", re.ASCII)
MAX_IDENTITY_NAME = 256

Link = TypeVar("Link", ACLTokenPolicyLink, ACLTokenRoleLink, ACLRolePolicyLink)


def check_enabled(context: Context) -> None:
    """Raise RpcError while access control is off."""
    if not context.acl.enabled:
        raise RpcError(ACL_DISABLED)


def check_logins_enabled(context: Context) -> None:
    """Raise RpcError while access control is off, or nobody can log in: the tokens of logins link to copied roles."""
    check_enabled(context)
    if context.acl.is_secondary and not context.acl.settings.token_replication:
        raise RpcError("Token replication is required for auth methods to function")


def check_name(what: str, name: str) -> None:
    """Judge the name of a "Policy" or a "Role". Raises RpcError."""
    if not name:
        raise RpcError(f"Invalid {what}: no Name is set")
    if not (_POLICY_NAME if what == "Policy" else _ROLE_NAME).fullmatch(name):
        raise RpcError(f"Invalid {what}: invalid Name. Only alphanumeric characters, '-' and '_' are allowed")


def is_uuid(text: str) -> bool:
    """Whether a text is a UUID."""
    return UUID.fullmatch(text) is not None


def is_reserved(text: str) -> bool:
    """Whether a UUID is one of those that belong to the cluster."""
    return text.startswith(RESERVED)


def new_id(context: Context, taken: Container[Any]) -> str:
    """A UUID that nothing in `taken` is, and that is not reserved."""
    while True:
        fresh = context.uuid()
        if fresh not in taken and not is_reserved(fresh):
            return fresh


def service_identities(given: Sequence[ACLServiceIdentity] | None, holder: str) -> list[ACLServiceIdentity] | None:
    """Identities of a "token" or "role", judged, each service once. Raises RpcError."""
    merged: dict[str, ACLServiceIdentity] = {}
    for identity in given or ():
        name = identity.service_name
        if not name:
            raise RpcError(f"Service identity is missing the service name field on this {holder}")
        if not _may_be_named(name):
            raise RpcError(
                f"Service identity {go_quoted(name)} has an invalid name. "
                "Only lowercase alphanumeric characters, '-' and '_' are allowed"
            )
        before = merged.get(name)
        if before is not None:
            both = dict.fromkeys((*(before.datacenters or ()), *(identity.datacenters or ())))
            identity = msgspec.structs.replace(identity, datacenters=list(both) or None)
        merged[name] = identity
    return list(merged.values()) or None


def node_identities(given: Sequence[ACLNodeIdentity] | None, holder: str) -> list[ACLNodeIdentity] | None:
    """Identities of a "token" or "role", judged, each node and datacenter once. Raises RpcError."""
    merged: dict[tuple[str, str], ACLNodeIdentity] = {}
    for identity in given or ():
        if not identity.node_name:
            raise RpcError(f"Node identity is missing the node name field on this {holder}")
        if not identity.datacenter:
            raise RpcError(f"Node identity is missing the datacenter field on this {holder}")
        if not _may_be_named(identity.node_name):
            raise RpcError(
                "Node identity has an invalid name. Only lowercase alphanumeric characters, '-' and '_' are allowed"
            )
        merged[identity.node_name, identity.datacenter] = identity
    return list(merged.values()) or None


def _may_be_named(name: str) -> bool:
    return len(name) <= MAX_IDENTITY_NAME and _IDENTITY_NAME.fullmatch(name) is not None


def links(given: Sequence[Link] | None, acl: Acl, what: str) -> list[Link] | None:
    """Links to a "policy" or "role" by ID, each once; those by name are looked up. Raises RpcError.

    Whether something has an ID is judged when the command is carried out.
    """
    found: dict[str, Link] = {}
    for link in given or ():
        if not link.id:
            row = (acl.policy_by_name(link.name) if what == "policy" else acl.role_by_name(link.name))[0]
            if row is None:
                raise RpcError(f"No such ACL {what} with name {go_quoted(link.name)}")
            link = msgspec.structs.replace(link, id=row.id)
        # Names are filled in when the links are read: they may change.
        found.setdefault(link.id, msgspec.structs.replace(link, name=""))
    return list(found.values()) or None
