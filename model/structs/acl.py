"""Tokens, policies, roles, auth methods and binding rules, with their requests and answers."""

from typing import Annotated, Any

from model.codec import HIDDEN, OMIT, Name, ReadableDuration, Wire
from model.gotime import ZERO_TIME, GoTime
from model.structs.base import Meta, Query


class ACLAuthMethod(Wire, frozen=True):
    """A way to log in with a credential from elsewhere."""

    config: dict[str, Any] | None = None
    description: Annotated[str, OMIT] = ""
    display_name: Annotated[str, OMIT] = ""
    max_token_ttl: Annotated[ReadableDuration, OMIT] = 0
    name: str = ""
    token_locality: Annotated[str, OMIT] = ""
    type: str = ""
    create_index: int = 0
    modify_index: int = 0


class ACLAuthMethodBatchDeleteRequest(Wire, frozen=True):
    """Command that removes auth methods."""

    auth_method_names: list[str] | None = None


class ACLAuthMethodBatchSetRequest(Wire, frozen=True):
    """Command that writes auth methods."""

    auth_methods: list[ACLAuthMethod] | None = None


class ACLAuthMethodDeleteRequest(Wire, frozen=True):
    """Arguments of `ACL.AuthMethodDelete`."""

    auth_method_name: str = ""
    datacenter: str = ""
    token: Annotated[str, HIDDEN] = ""


class ACLAuthMethodGetRequest(Query, frozen=True):
    """Arguments of `ACL.AuthMethodRead`."""

    auth_method_name: str = ""
    datacenter: str = ""


class ACLAuthMethodListRequest(Query, frozen=True):
    """Arguments of `ACL.AuthMethodList`."""

    datacenter: str = ""


class ACLAuthMethodListResponse(Meta, frozen=True):
    """Answer of `ACL.AuthMethodList`."""

    auth_methods: "list[ACLAuthMethodListStub] | None" = None


class ACLAuthMethodListStub(Wire, frozen=True):
    """An auth method as lists show it."""

    description: str = ""
    display_name: Annotated[str, OMIT] = ""
    max_token_ttl: Annotated[ReadableDuration, OMIT] = 0
    name: str = ""
    token_locality: Annotated[str, OMIT] = ""
    type: str = ""
    create_index: int = 0
    modify_index: int = 0


class ACLAuthMethodResponse(Meta, frozen=True):
    """Answer of `ACL.AuthMethodRead`."""

    auth_method: ACLAuthMethod | None = None


class ACLAuthMethodSetRequest(Wire, frozen=True):
    """Arguments of `ACL.AuthMethodSet`."""

    auth_method: ACLAuthMethod = ACLAuthMethod()
    datacenter: str = ""
    token: Annotated[str, HIDDEN] = ""


class ACLAuthorizationRequest(Wire, frozen=True):
    """A permission to test."""

    access: str = ""
    resource: str = ""
    segment: str = ""


class ACLAuthorizationResponse(Wire, frozen=True):
    """A tested permission and its result."""

    access: str = ""
    allow: bool = False
    resource: str = ""
    segment: Annotated[str, OMIT] = ""


class ACLBindingRule(Wire, frozen=True):
    """What a login through an auth method may become."""

    auth_method: str = ""
    bind_name: str = ""
    bind_type: str = ""
    description: str = ""
    id: str = ""
    selector: str = ""
    create_index: int = 0
    modify_index: int = 0


class ACLBindingRuleBatchDeleteRequest(Wire, frozen=True):
    """Command that removes binding rules."""

    binding_rule_ids: list[str] | None = None


class ACLBindingRuleBatchSetRequest(Wire, frozen=True):
    """Command that writes binding rules."""

    binding_rules: list[ACLBindingRule] | None = None


class ACLBindingRuleDeleteRequest(Wire, frozen=True):
    """Arguments of `ACL.BindingRuleDelete`."""

    binding_rule_id: str = ""
    datacenter: str = ""
    token: Annotated[str, HIDDEN] = ""


class ACLBindingRuleGetRequest(Query, frozen=True):
    """Arguments of `ACL.BindingRuleRead`."""

    binding_rule_id: str = ""
    datacenter: str = ""


class ACLBindingRuleListRequest(Query, frozen=True):
    """Arguments of `ACL.BindingRuleList`."""

    auth_method: str = ""
    datacenter: str = ""


class ACLBindingRuleListResponse(Meta, frozen=True):
    """Answer of `ACL.BindingRuleList`."""

    binding_rules: list[ACLBindingRule] | None = None


class ACLBindingRuleResponse(Meta, frozen=True):
    """Answer of `ACL.BindingRuleRead`."""

    binding_rule: ACLBindingRule | None = None


class ACLBindingRuleSetRequest(Wire, frozen=True):
    """Arguments of `ACL.BindingRuleSet`."""

    binding_rule: ACLBindingRule = ACLBindingRule()
    datacenter: str = ""
    token: Annotated[str, HIDDEN] = ""


class ACLBootstrapRecord(Wire, frozen=True):
    """A snapshot's record, of old versions, that the first management token was made."""

    allow_bootstrap: bool = False
    create_index: int = 0
    modify_index: int = 0


class ACLInitialTokenBootstrapRequest(Query, frozen=True):
    """Arguments of `ACL.BootstrapTokens`; without a secret the servers make one."""

    bootstrap_secret: str = ""
    datacenter: str = ""


class ACLLoginParams(Wire, frozen=True):
    """A credential and the auth method that it is for."""

    auth_method: str = ""
    bearer_token: str = ""
    meta: dict[str, str] | None = None


class ACLLoginRequest(Wire, frozen=True):
    """Arguments of `ACL.Login`."""

    auth: ACLLoginParams | None = None
    datacenter: str = ""
    token: Annotated[str, HIDDEN] = ""


class ACLLogoutRequest(Wire, frozen=True):
    """Arguments of `ACL.Logout`."""

    datacenter: str = ""
    token: Annotated[str, HIDDEN] = ""


class ACLNodeIdentity(Wire, frozen=True):
    """The rights of one node's agent."""

    datacenter: str = ""
    node_name: str = ""


class ACLPolicy(Wire, frozen=True):
    """Rules under a name."""

    datacenters: Annotated[list[str] | None, OMIT] = None
    description: str = ""
    hash: bytes | None = None
    id: str = ""
    name: str = ""
    rules: str = ""
    syntax: Annotated[int, HIDDEN] = 0
    create_index: int = 0
    modify_index: int = 0


class ACLPolicyBatchDeleteRequest(Wire, frozen=True):
    """Command that removes policies."""

    policy_ids: list[str] | None = None


class ACLPolicyBatchGetRequest(Query, frozen=True):
    """Arguments of `ACL.PolicyBatchRead`, `ACL.PolicyResolve`."""

    datacenter: str = ""
    policy_ids: list[str] | None = None


class ACLPolicyBatchResponse(Meta, frozen=True):
    """Answer of `ACL.PolicyBatchRead`, `ACL.PolicyResolve`."""

    policies: list[ACLPolicy] | None = None


class ACLPolicyBatchSetRequest(Wire, frozen=True):
    """Command that writes policies."""

    policies: list[ACLPolicy] | None = None


class ACLPolicyDeleteRequest(Wire, frozen=True):
    """Arguments of `ACL.PolicyDelete`."""

    datacenter: str = ""
    policy_id: str = ""
    token: Annotated[str, HIDDEN] = ""


class ACLPolicyGetRequest(Query, frozen=True):
    """Arguments of `ACL.PolicyRead`."""

    datacenter: str = ""
    policy_id: str = ""
    policy_name: str = ""


class ACLPolicyListRequest(Query, frozen=True):
    """Arguments of `ACL.PolicyList`."""

    datacenter: str = ""


class ACLPolicyListResponse(Meta, frozen=True):
    """Answer of `ACL.PolicyList`."""

    policies: "list[ACLPolicyListStub] | None" = None


class ACLPolicyListStub(Wire, frozen=True):
    """A policy as lists show it."""

    datacenters: list[str] | None = None
    description: str = ""
    hash: bytes | None = None
    id: str = ""
    name: str = ""
    create_index: int = 0
    modify_index: int = 0


class ACLPolicyResponse(Meta, frozen=True):
    """Answer of `ACL.PolicyRead`."""

    policy: ACLPolicy | None = None


class ACLPolicySetRequest(Wire, frozen=True):
    """Arguments of `ACL.PolicySet`."""

    datacenter: str = ""
    policy: ACLPolicy = ACLPolicy()
    token: Annotated[str, HIDDEN] = ""


class ACLReplicationStatus(Wire, frozen=True):
    """How far replication of tokens has come."""

    enabled: bool = False
    last_error: GoTime = ZERO_TIME
    last_error_message: str = ""
    last_success: GoTime = ZERO_TIME
    replicated_index: int = 0
    replicated_role_index: int = 0
    replicated_token_index: int = 0
    replication_type: str = ""
    running: bool = False
    source_datacenter: str = ""


class ACLRole(Wire, frozen=True):
    """A group of policies and identities under a name."""

    description: str = ""
    hash: bytes | None = None
    id: str = ""
    name: str = ""
    node_identities: Annotated[list[ACLNodeIdentity] | None, OMIT] = None
    policies: Annotated["list[ACLRolePolicyLink] | None", OMIT] = None
    service_identities: Annotated["list[ACLServiceIdentity] | None", OMIT] = None
    create_index: int = 0
    modify_index: int = 0


class ACLRoleBatchDeleteRequest(Wire, frozen=True):
    """Command that removes roles."""

    role_ids: list[str] | None = None


class ACLRoleBatchGetRequest(Query, frozen=True):
    """Arguments of `ACL.RoleBatchRead`, `ACL.RoleResolve`."""

    datacenter: str = ""
    role_ids: list[str] | None = None


class ACLRoleBatchResponse(Meta, frozen=True):
    """Answer of `ACL.RoleBatchRead`, `ACL.RoleResolve`."""

    roles: list[ACLRole] | None = None


class ACLRoleBatchSetRequest(Wire, frozen=True):
    """Command that writes roles."""

    allow_missing_links: bool = False
    roles: list[ACLRole] | None = None


class ACLRoleDeleteRequest(Wire, frozen=True):
    """Arguments of `ACL.RoleDelete`."""

    datacenter: str = ""
    role_id: str = ""
    token: Annotated[str, HIDDEN] = ""


class ACLRoleGetRequest(Query, frozen=True):
    """Arguments of `ACL.RoleRead`."""

    datacenter: str = ""
    role_id: str = ""
    role_name: str = ""


class ACLRoleListRequest(Query, frozen=True):
    """Arguments of `ACL.RoleList`."""

    datacenter: str = ""
    policy: str = ""


class ACLRoleListResponse(Meta, frozen=True):
    """Answer of `ACL.RoleList`."""

    roles: list[ACLRole] | None = None


class ACLRolePolicyLink(Wire, frozen=True):
    """A role's link to a policy."""

    id: str = ""
    name: str = ""


class ACLRoleResponse(Meta, frozen=True):
    """Answer of `ACL.RoleRead`."""

    role: ACLRole | None = None


class ACLRoleSetRequest(Wire, frozen=True):
    """Arguments of `ACL.RoleSet`."""

    datacenter: str = ""
    role: ACLRole = ACLRole()
    token: Annotated[str, HIDDEN] = ""


class ACLServiceIdentity(Wire, frozen=True):
    """The rights of one service."""

    datacenters: Annotated[list[str] | None, OMIT] = None
    service_name: str = ""


class ACLToken(Wire, frozen=True):
    """A secret and the rights that it carries."""

    accessor_id: str = ""
    auth_method: Annotated[str, OMIT] = ""
    create_time: GoTime = ZERO_TIME
    description: str = ""
    expiration_ttl: Annotated[ReadableDuration, OMIT] = 0
    expiration_time: Annotated[GoTime | None, OMIT] = None
    hash: bytes | None = None
    local: bool = False
    node_identities: Annotated[list[ACLNodeIdentity] | None, OMIT] = None
    policies: Annotated["list[ACLTokenPolicyLink] | None", OMIT] = None
    roles: Annotated["list[ACLTokenRoleLink] | None", OMIT] = None
    rules: Annotated[str, OMIT] = ""
    secret_id: str = ""
    service_identities: Annotated[list[ACLServiceIdentity] | None, OMIT] = None
    type: Annotated[str, OMIT] = ""
    create_index: int = 0
    modify_index: int = 0


class ACLTokenBatchDeleteRequest(Wire, frozen=True):
    """Command that removes tokens."""

    token_ids: list[str] | None = None


class ACLTokenBatchGetRequest(Query, frozen=True):
    """Arguments of `ACL.TokenBatchRead`."""

    accessor_ids: list[str] | None = None
    datacenter: str = ""


class ACLTokenBatchResponse(Meta, frozen=True):
    """Answer of `ACL.TokenBatchRead`."""

    redacted: bool = False
    removed: bool = False
    tokens: list[ACLToken] | None = None


class ACLTokenBatchSetRequest(Wire, frozen=True):
    """Command that writes tokens."""

    allow_missing_links: bool = False
    cas: Annotated[bool, Name("CAS")] = False
    from_replication: bool = False
    prohibit_unprivileged: bool = False
    tokens: list[ACLToken] | None = None


class ACLTokenBootstrapRequest(Wire, frozen=True):
    """Command that writes the first management token, once."""

    reset_index: int = 0
    token: ACLToken = ACLToken()


class ACLTokenDeleteRequest(Wire, frozen=True):
    """Arguments of `ACL.TokenDelete`."""

    datacenter: str = ""
    token_id: str = ""
    token: Annotated[str, HIDDEN] = ""


class ACLTokenGetRequest(Query, frozen=True):
    """Arguments of `ACL.TokenRead`."""

    datacenter: str = ""
    expanded: bool = False
    token_id: str = ""
    token_id_type: str = ""


class ACLTokenListRequest(Query, frozen=True):
    """Arguments of `ACL.TokenList`."""

    auth_method: str = ""
    datacenter: str = ""
    include_global: bool = False
    include_local: bool = False
    policy: str = ""
    role: str = ""


class ACLTokenListResponse(Meta, frozen=True):
    """Answer of `ACL.TokenList`."""

    tokens: "list[ACLTokenListStub] | None" = None


class ACLTokenListStub(Wire, frozen=True):
    """A token as lists show it."""

    accessor_id: str = ""
    auth_method: Annotated[str, OMIT] = ""
    create_time: GoTime = ZERO_TIME
    description: str = ""
    expiration_time: Annotated[GoTime | None, OMIT] = None
    hash: bytes | None = None
    legacy: Annotated[bool, OMIT] = False
    local: bool = False
    node_identities: Annotated[list[ACLNodeIdentity] | None, OMIT] = None
    policies: Annotated["list[ACLTokenPolicyLink] | None", OMIT] = None
    roles: Annotated["list[ACLTokenRoleLink] | None", OMIT] = None
    secret_id: str = ""
    service_identities: Annotated[list[ACLServiceIdentity] | None, OMIT] = None
    create_index: int = 0
    modify_index: int = 0


class ACLTokenPolicyLink(Wire, frozen=True):
    """A token's link to a policy."""

    id: str = ""
    name: str = ""


class ACLTokenResponse(Meta, frozen=True):
    """Answer of `ACL.TokenRead`."""

    agent_acl_default_policy: str = ""
    agent_acl_down_policy: str = ""
    expanded_policies: list[ACLPolicy] | None = None
    expanded_roles: list[ACLRole] | None = None
    namespace_default_policy_ids: list[str] | None = None
    namespace_default_role_ids: list[str] | None = None
    redacted: bool = False
    resolved_by_agent: str = ""
    source_datacenter: str = ""
    token: ACLToken | None = None


class ACLTokenRoleLink(Wire, frozen=True):
    """A token's link to a role."""

    id: str = ""
    name: str = ""


class ACLTokenSetRequest(Wire, frozen=True):
    """Arguments of `ACL.TokenClone`, `ACL.TokenSet`."""

    acl_token: ACLToken = ACLToken()
    create: bool = False
    datacenter: str = ""
    token: Annotated[str, HIDDEN] = ""


class RemoteACLAuthorizationRequest(Query, frozen=True):
    """Arguments of `ACL.Authorize`."""

    datacenter: str = ""
    requests: list[ACLAuthorizationRequest] | None = None
