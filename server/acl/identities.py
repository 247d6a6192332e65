"""The rules that service and node identities stand for, and the policies that every cluster has.

Source: https://developer.hashicorp.com/consul/docs/security/acl (service identities, node identities).
"""

import msgspec

from model.acl.hashes import policy_hash
from model.acl.rules import Level, Rules, no_rules
from model.structs.acl import ACLNodeIdentity, ACLPolicy, ACLServiceIdentity

GLOBAL_MANAGEMENT_ID = "00000000-0000-0000-0000-000000000001"
ANONYMOUS_ID = "00000000-0000-0000-0000-000000000002"
"""The accessor of the token that a request without one has."""
ANONYMOUS_SECRET = "anonymous"
RESERVED = "00000000-0000-0000-0000-0000000000"
"""IDs that begin so belong to the cluster itself."""

MANAGEMENT_RULES = "\n" + "\n".join(
    (
        'acl = "write"',
        *(f'{kind}_prefix "" {{\n\tpolicy = "write"\n}}' for kind in ("agent", "event", "key")),
        'keyring = "write"',
        'node_prefix "" {\n\tpolicy = "write"\n}',
        'operator = "write"',
        'mesh = "write"',
        'peering = "write"',
        'query_prefix "" {\n\tpolicy = "write"\n}',
        'service_prefix "" {\n\tpolicy = "write"\n\tintentions = "write"\n}',
        'session_prefix "" {\n\tpolicy = "write"\n}',
    )
)
GLOBAL_MANAGEMENT = ACLPolicy(
    id=GLOBAL_MANAGEMENT_ID,
    name="global-management",
    description="Builtin Policy that grants unlimited access",
    rules=MANAGEMENT_RULES,
)


_EMPTY_FNV = "6c62272e07bb014262b821756295c58d"
"""The FNV-1a hash of nothing, 128 bits: what Consul puts behind the rules to name the policies of identities."""


def service_policy(identity: ACLServiceIdentity) -> ACLPolicy:
    """What a service needs: to register itself and its proxy, and to see whom it may call."""
    name = identity.service_name
    rules = "".join(
        (
            f'\nservice "{name}" {{\n\tpolicy = "write"\n}}',
            f'\nservice "{name}-sidecar-proxy" {{\n\tpolicy = "write"\n}}',
            '\nservice_prefix "" {\n\tpolicy = "read"\n}',
            '\nnode_prefix "" {\n\tpolicy = "read"\n}',
        )
    )
    return _synthetic(f'service identity "{name}"', rules, identity.datacenters)


def node_policy(identity: ACLNodeIdentity) -> ACLPolicy:
    """What an agent needs: to register its node, and to see services."""
    name = identity.node_name
    rules = f'\nnode "{name}" {{\n\tpolicy = "write"\n}}\nservice_prefix "" {{\n\tpolicy = "read"\n}}'
    return _synthetic(f'node identity "{name}"', rules, [identity.datacenter])


def _synthetic(what: str, rules: str, datacenters: list[str] | None) -> ACLPolicy:
    policy = ACLPolicy(
        id=(identifier := rules.encode().hex() + _EMPTY_FNV),
        name=f"synthetic-policy-{identifier}",
        description=f"synthetic policy for {what}",
        rules=rules,
        datacenters=datacenters,
    )
    return msgspec.structs.replace(policy, hash=policy_hash(policy))


def recovery_rules(node: str) -> Rules:
    """What the agent recovery token may: manage its agent, and see nodes."""
    rules = no_rules()
    rules.named["agent"].exact[node] = Level.WRITE
    rules.named["node"].prefix[""] = Level.READ
    return rules
