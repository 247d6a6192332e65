"""Routes of features that are off: ACLs, the ACL system of old, cluster peering. They refuse as Consul's do."""

from agent.http.routing import ApiRequest, ApiResponse, HttpError, route

ACL_DISABLED = "ACL support disabled"
PEERING_DISABLED = "rpc error: code = FailedPrecondition desc = peering must be enabled to use this endpoint"


@route("PUT", "/v1/acl/bootstrap")
@route("GET", "/v1/acl/replication")
@route("GET", "/v1/acl/policies")
@route("PUT", "/v1/acl/policy")
@route("GET", "/v1/acl/policy/name/", prefix=True)
@route("GET PUT DELETE", "/v1/acl/policy/", prefix=True)
@route("GET", "/v1/acl/roles")
@route("PUT", "/v1/acl/role")
@route("GET", "/v1/acl/role/name/", prefix=True)
@route("GET PUT DELETE", "/v1/acl/role/", prefix=True)
@route("GET", "/v1/acl/tokens")
@route("PUT", "/v1/acl/token")
@route("GET", "/v1/acl/token/self")
@route("GET PUT DELETE", "/v1/acl/token/", prefix=True)
@route("GET", "/v1/acl/auth-methods")
@route("PUT", "/v1/acl/auth-method")
@route("GET PUT DELETE", "/v1/acl/auth-method/", prefix=True)
@route("GET", "/v1/acl/binding-rules")
@route("PUT", "/v1/acl/binding-rule")
@route("GET PUT DELETE", "/v1/acl/binding-rule/", prefix=True)
@route("POST", "/v1/acl/login")
@route("POST", "/v1/acl/logout")
@route("POST", "/v1/internal/acl/authorize")
@route("PUT", "/v1/agent/token/", prefix=True)
async def acl(request: ApiRequest) -> ApiResponse:
    """Everything about tokens, policies, roles and auth methods."""
    raise HttpError(401, ACL_DISABLED)


@route("PUT", "/v1/acl/create")
@route("PUT", "/v1/acl/update")
@route("PUT", "/v1/acl/destroy/", prefix=True)
@route("GET", "/v1/acl/info/", prefix=True)
@route("PUT", "/v1/acl/clone/", prefix=True)
@route("GET", "/v1/acl/list")
@route("POST", "/v1/acl/rules/translate")
@route("GET", "/v1/acl/rules/translate/", prefix=True)
async def legacy_acl(request: ApiRequest) -> ApiResponse:
    """The ACL system before Consul 1.4, which no version has any more."""
    raise HttpError(410, f"Endpoint {request.path} for the legacy ACL system was removed in Consul 1.11.")


@route("GET", "/v1/peerings")
@route("POST", "/v1/peering/token")
@route("POST", "/v1/peering/establish")
@route("GET DELETE", "/v1/peering/", prefix=True)
async def peering(request: ApiRequest) -> ApiResponse:
    """Everything about peers."""
    raise HttpError(500, PEERING_DISABLED)
