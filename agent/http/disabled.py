"""Routes of features that are not there: the ACL system of old, cluster peering. They refuse as Consul's do."""

from agent.http.described import Operation
from agent.http.routing import ApiRequest, ApiResponse, HttpError, route

GONE = {410: "The ACL system of old is gone."}

PEERING_DISABLED = "rpc error: code = FailedPrecondition desc = peering must be enabled to use this endpoint"


@route("PUT", "/v1/acl/create", Operation(statuses=GONE))
@route("PUT", "/v1/acl/update", Operation(statuses=GONE))
@route("PUT", "/v1/acl/destroy/", Operation("{id}", statuses=GONE), prefix=True)
@route("GET", "/v1/acl/info/", Operation("{id}", statuses=GONE), prefix=True)
@route("PUT", "/v1/acl/clone/", Operation("{id}", statuses=GONE), prefix=True)
@route("GET", "/v1/acl/list", Operation(statuses=GONE))
@route("POST", "/v1/acl/rules/translate", Operation(statuses=GONE))
@route("GET", "/v1/acl/rules/translate/", Operation("{id}", statuses=GONE), prefix=True)
async def legacy_acl(request: ApiRequest) -> ApiResponse:
    """The ACL system before Consul 1.4, which no version has any more."""
    raise HttpError(410, f"Endpoint {request.path} for the legacy ACL system was removed in Consul 1.11.")


@route("GET", "/v1/peerings")
@route("POST", "/v1/peering/token")
@route("POST", "/v1/peering/establish")
@route("GET DELETE", "/v1/peering/", Operation("{name}"), prefix=True)
async def peering(request: ApiRequest) -> ApiResponse:
    """Everything about peers."""
    raise HttpError(500, PEERING_DISABLED)
