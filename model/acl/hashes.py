"""The hashes of policies, roles and tokens: BLAKE2b over what they grant, which servers compare when they replicate."""

import hashlib
from collections.abc import Iterable

from model.structs.acl import ACLNodeIdentity, ACLPolicy, ACLRole, ACLServiceIdentity, ACLToken


def policy_hash(policy: ACLPolicy) -> bytes:
    """Of name, description, rules and datacenters."""
    return _hash((policy.name, policy.description, policy.rules, *(policy.datacenters or ())))


def role_hash(role: ACLRole) -> bytes:
    """Of name, description, policies and identities."""
    links = (link.id for link in role.policies or ())
    return _hash((role.name, role.description, *links, *_identities(role.service_identities, role.node_identities)))


def token_hash(token: ACLToken) -> bytes:
    """Of the description, whether it is local, policies, roles and identities."""
    links = (*(link.id for link in token.policies or ()), *(link.id for link in token.roles or ()))
    identities = _identities(token.service_identities, token.node_identities)
    return _hash((token.description, "local" if token.local else "global", *links, *identities))


def _identities(
    services: list[ACLServiceIdentity] | None, nodes: list[ACLNodeIdentity] | None
) -> Iterable[str]:
    for service in services or ():
        yield service.service_name
        yield from service.datacenters or ()
    for node in nodes or ():
        yield node.node_name
        yield node.datacenter


def _hash(parts: Iterable[str]) -> bytes:
    digest = hashlib.blake2b(digest_size=32)
    for part in parts:
        digest.update(part.encode("utf-8", "surrogateescape"))
    return digest.digest()
