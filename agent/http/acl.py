"""/v1/acl: tokens, policies, roles, the bootstrap; and which accesses a token has."""

from typing import Any

import msgspec

from agent.http.acl_routes import acl_route, read_options, shown
from agent.http.described import READ, WRITE, Operation, Param
from agent.http.routing import ApiRequest, ApiResponse, HttpError
from model.codec import Wire
from model.errors import ACL_NOT_FOUND, PERMISSION_DENIED, RpcError
from model.gojson import JsonError, from_json, json_kind, parse_json, to_json
from model.structs.acl import (
    ACLAuthorizationRequest,
    ACLAuthorizationResponse,
    ACLInitialTokenBootstrapRequest,
    ACLPolicy,
    ACLPolicyDeleteRequest,
    ACLPolicyGetRequest,
    ACLPolicyListRequest,
    ACLPolicyListStub,
    ACLPolicySetRequest,
    ACLReplicationStatus,
    ACLRole,
    ACLRoleDeleteRequest,
    ACLRoleGetRequest,
    ACLRoleListRequest,
    ACLRoleSetRequest,
    ACLToken,
    ACLTokenDeleteRequest,
    ACLTokenGetRequest,
    ACLTokenListRequest,
    ACLTokenListStub,
    ACLTokenResponse,
    ACLTokenSetRequest,
    RemoteACLAuthorizationRequest,
)
from model.structs.catalog_rpc import DCSpecificRequest
from server.endpoints.acl_policies import MAX_AUTHORIZATIONS
from server.state.acl import BOOTSTRAP_NOT_ALLOWED

EXPANDED = Param("expanded", "Show the policies and roles themselves, too.", "flag")
_NOT_ALLOWED = ("Invalid ACL resource requested", "Invalid access level for")


class BootstrapBody(Wire, frozen=True):
    """What the first token is made of."""

    bootstrap_secret: str = ""


@acl_route(
    "PUT",
    "/v1/acl/bootstrap",
    Operation(body=BootstrapBody, answer=ACLToken, statuses={403: "It was done before."}),
)
async def bootstrap(request: ApiRequest) -> Any:
    """Make the first management token, with the given secret (a UUID) if there is one."""
    body = await request.body(BootstrapBody, may_be_empty=True, unknown="ignore")
    args = ACLInitialTokenBootstrapRequest(
        bootstrap_secret=body.bootstrap_secret, datacenter=request.agent.config.datacenter
    )
    try:
        return await request.call("ACL.BootstrapTokens", args)
    except RpcError as error:
        if error.has(BOOTSTRAP_NOT_ALLOWED):
            raise HttpError(403, f"{PERMISSION_DENIED}: {error.text}") from None
        raise


@acl_route("GET", "/v1/acl/replication", Operation(query=WRITE, answer=ACLReplicationStatus))
async def replication(request: ApiRequest) -> Any:
    """How far tokens are copied from the primary datacenter."""
    return await request.call("ACL.ReplicationStatus", DCSpecificRequest(datacenter=request.datacenter))


# Policies


@acl_route("GET", "/v1/acl/policies", Operation(query=READ, answer=list[ACLPolicyListStub]))
async def policies(request: ApiRequest) -> Any:
    """All policies, without their rules."""
    reply = await request.call("ACL.PolicyList", ACLPolicyListRequest(**read_options(request)))
    return shown(request, reply.policies or [], reply)


@acl_route("PUT", "/v1/acl/policy", Operation(query=WRITE, body=ACLPolicy, answer=ACLPolicy))
async def create_policy(request: ApiRequest) -> Any:
    """Make a policy."""
    policy = await request.body(ACLPolicy, "Policy decoding failed: ")
    if policy.id:
        raise HttpError(400, "Cannot specify the ID when creating a new policy")
    return await _set_policy(request, policy)


async def _set_policy(request: ApiRequest, policy: ACLPolicy) -> Any:
    return await request.call("ACL.PolicySet", ACLPolicySetRequest(policy=policy, datacenter=request.datacenter))


@acl_route("GET", "/v1/acl/policy/name/", Operation("{name}", READ, answer=ACLPolicy), prefix=True)
async def policy_by_name(request: ApiRequest) -> Any:
    """A policy by its name."""
    if not request.rest:
        raise HttpError(400, "Missing policy Name")
    return await _policy(request, policy_name=request.rest)


async def _policy(request: ApiRequest, **which: Any) -> Any:
    reply = await request.call("ACL.PolicyRead", ACLPolicyGetRequest(**which, **read_options(request)))
    if reply.policy is None:
        raise HttpError(403, ACL_NOT_FOUND, _failed_headers(request, reply))
    return shown(request, reply.policy, reply)


@acl_route(
    "GET PUT DELETE",
    "/v1/acl/policy/",
    Operation("{id}", READ, body=ACLPolicy, answer=ACLPolicy, summary="Read, replace or remove a policy."),
    prefix=True,
)
async def policy(request: ApiRequest) -> Any:
    """Read, replace or remove a policy."""
    if request.method == "PUT":
        given = await request.body(ACLPolicy, "Policy decoding failed: ")
        if given.id not in ("", request.rest):
            raise HttpError(400, "Policy ID in URL and payload do not match")
        return await _set_policy(request, msgspec.structs.replace(given, id=request.rest))
    if not request.rest:
        raise HttpError(400, "Missing policy ID")
    if request.method == "DELETE":
        args = ACLPolicyDeleteRequest(policy_id=request.rest, datacenter=request.datacenter)
        await request.call("ACL.PolicyDelete", args)
        return True
    return await _policy(request, policy_id=request.rest)


# Roles


@acl_route(
    "GET",
    "/v1/acl/roles",
    Operation(query=(*READ, Param("policy", "Only roles with the policy of this ID.")), answer=list[ACLRole]),
)
async def roles(request: ApiRequest) -> Any:
    """All roles."""
    args = ACLRoleListRequest(policy=request.param("policy"), **read_options(request))
    reply = await request.call("ACL.RoleList", args)
    return shown(request, reply.roles or [], reply)


@acl_route("PUT", "/v1/acl/role", Operation(query=WRITE, body=ACLRole, answer=ACLRole))
async def create_role(request: ApiRequest) -> Any:
    """Make a role."""
    return await _set_role(request)


async def _set_role(request: ApiRequest) -> Any:
    given = await request.body(ACLRole, "Role decoding failed: ")
    if given.id not in ("", request.rest):
        raise HttpError(400, "Role ID in URL and payload do not match")
    role = msgspec.structs.replace(given, id=request.rest)
    return await request.call("ACL.RoleSet", ACLRoleSetRequest(role=role, datacenter=request.datacenter))


@acl_route(
    "GET",
    "/v1/acl/role/name/",
    Operation("{name}", READ, answer=ACLRole, statuses={404: "There is no such role."}),
    prefix=True,
)
async def role_by_name(request: ApiRequest) -> Any:
    """A role by its name."""
    if not request.rest:
        raise HttpError(400, "Missing role Name")
    return await _role(request, role_name=request.rest)


async def _role(request: ApiRequest, **which: Any) -> Any:
    reply = await request.call("ACL.RoleRead", ACLRoleGetRequest(**which, **read_options(request)))
    if reply.role is None:
        raise HttpError(404, "", _failed_headers(request, reply))
    return shown(request, reply.role, reply)


@acl_route(
    "GET PUT DELETE",
    "/v1/acl/role/",
    Operation(
        "{id}",
        READ,
        body=ACLRole,
        answer=ACLRole,
        statuses={404: "There is no such role."},
        summary="Read, replace or remove a role.",
    ),
    prefix=True,
)
async def role(request: ApiRequest) -> Any:
    """Read, replace or remove a role."""
    if request.method == "PUT":
        return await _set_role(request)
    if not request.rest:
        raise HttpError(400, "Missing role ID")
    if request.method == "DELETE":
        args = ACLRoleDeleteRequest(role_id=request.rest, datacenter=request.datacenter)
        await request.call("ACL.RoleDelete", args)
        return True
    return await _role(request, role_id=request.rest)


# Tokens


@acl_route(
    "GET",
    "/v1/acl/tokens",
    Operation(
        query=(
            *READ,
            Param("policy", "Only tokens with the policy of this ID."),
            Param("role", "Only tokens with the role of this ID."),
            Param("authmethod", "Only tokens that came of this auth method."),
        ),
        answer=list[ACLTokenListStub],
    ),
)
async def tokens(request: ApiRequest) -> Any:
    """All tokens."""
    args = ACLTokenListRequest(
        include_local=True,
        include_global=True,
        policy=request.param("policy"),
        role=request.param("role"),
        auth_method=request.param("authmethod"),
        **read_options(request),
    )
    reply = await request.call("ACL.TokenList", args)
    return shown(request, reply.tokens or [], reply)


@acl_route("PUT", "/v1/acl/token", Operation(query=WRITE, body=ACLToken, answer=ACLToken))
async def create_token(request: ApiRequest) -> Any:
    """Make a token."""
    return await _set_token(request, await _token_body(request), create=True)


async def _token_body(request: ApiRequest) -> ACLToken:
    return await request.body(ACLToken, "Token decoding failed: ")


async def _set_token(request: ApiRequest, token: ACLToken, create: bool) -> Any:
    args = ACLTokenSetRequest(acl_token=token, create=create, datacenter=request.datacenter)
    return await request.call("ACL.TokenSet", args)


@acl_route("GET", "/v1/acl/token/self", Operation(query=READ, answer=ACLToken))
async def own_token(request: ApiRequest) -> Any:
    """The token that the request brings."""
    return await _token(request, request.token, "secret")


async def _token(request: ApiRequest, identifier: str, kind: str) -> Any:
    expanded = request.has("expanded") and kind == "accessor"
    args = ACLTokenGetRequest(token_id=identifier, token_id_type=kind, expanded=expanded, **read_options(request))
    reply = await request.call("ACL.TokenRead", args)
    if reply.token is None:
        raise HttpError(403, ACL_NOT_FOUND, _failed_headers(request, reply))
    return shown(request, _expanded(reply) if args.expanded else reply.token, reply)


def _expanded(reply: ACLTokenResponse) -> dict[str, Any]:
    body: dict[str, Any] = to_json(reply.token)
    return {
        **body,
        "ExpandedPolicies": to_json(reply.expanded_policies),
        "ExpandedRoles": to_json(reply.expanded_roles),
        "NamespaceDefaultPolicyIDs": None,
        "NamespaceDefaultRoleIDs": None,
        "AgentACLDefaultPolicy": reply.agent_acl_default_policy,
        "AgentACLDownPolicy": reply.agent_acl_down_policy,
        "ResolvedByAgent": reply.resolved_by_agent,
    }


@acl_route(
    "GET PUT DELETE",
    "/v1/acl/token/",
    Operation(
        "{accessor}",
        (*READ, EXPANDED),
        body=ACLToken,
        answer=ACLToken,
        summary="Read, replace or remove a token; PUT …/clone makes another that may do the same.",
    ),
    prefix=True,
)
async def token(request: ApiRequest) -> Any:
    """Read, replace, remove or clone a token."""
    accessor, _, clone = request.rest.partition("/")
    if request.method == "PUT" and clone == "clone":
        given = msgspec.structs.replace(await _token_body(request), accessor_id=accessor)
        args = ACLTokenSetRequest(acl_token=given, datacenter=request.datacenter)
        return await request.call("ACL.TokenClone", args)
    if request.method == "PUT":
        given = await _token_body(request)
        if given.accessor_id not in ("", request.rest):
            raise HttpError(400, "Token Accessor ID in URL and payload do not match")
        return await _set_token(request, msgspec.structs.replace(given, accessor_id=request.rest), create=False)
    if not request.rest:
        raise HttpError(400, "Missing token ID")
    if request.method == "DELETE":
        args_of_deletion = ACLTokenDeleteRequest(token_id=request.rest, datacenter=request.datacenter)
        await request.call("ACL.TokenDelete", args_of_deletion)
        return True
    return await _token(request, request.rest, "accessor")


@acl_route(
    "POST",
    "/v1/internal/acl/authorize",
    Operation(query=WRITE, body=list[ACLAuthorizationRequest], answer=list[ACLAuthorizationResponse]),
)
async def authorize(request: ApiRequest) -> Any:
    """Which of some accesses the token has."""
    asked = _accesses(await request.raw_body())
    if len(asked) > MAX_AUTHORIZATIONS:
        raise HttpError(400, f"Refusing to process more than {MAX_AUTHORIZATIONS} authorizations at once")
    if not asked:
        return []
    args = RemoteACLAuthorizationRequest(requests=asked, **read_options(request))
    try:
        return await request.call("ACL.Authorize", args)
    except RpcError as error:
        if any(error.has(text) for text in _NOT_ALLOWED):
            raise HttpError(400, error.text) from None
        raise


def _accesses(raw: bytes) -> list[ACLAuthorizationRequest]:
    prefix = "Failed to decode request body: "
    try:
        body = parse_json(raw)
        if body is None:
            return []
        if not isinstance(body, list):
            kind = json_kind(body)
            raise JsonError(f"json: cannot unmarshal {kind} into Go value of type []structs.ACLAuthorizationRequest")
        return [from_json(ACLAuthorizationRequest, one) for one in body]
    except JsonError as error:
        raise HttpError(400, f"{prefix}{error}") from None


def _failed_headers(request: ApiRequest, reply: Any) -> dict[str, str]:
    answer: ApiResponse = shown(request, None, reply)
    return answer.headers
