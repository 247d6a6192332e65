"""/v1/connect/ca and /v1/agent/connect: roots, configuration, leaf certificates, authorization, proxy state."""

import asyncio
from typing import Annotated, Any

import msgspec

from agent.http.described import ASK, HASH, READ, WAIT, WRITE, Operation, Param
from agent.http.routing import JSON, ApiRequest, ApiResponse, HttpError, meta_headers, route
from mesh.proxy_state import ProxyState
from mesh.spiffe import ServiceIdentity, SpiffeError, parse
from model.codec import Name, Wire
from model.gojson import encode_json, to_json
from model.structs.catalog_rpc import DCSpecificRequest
from model.structs.connect import CAConfiguration, CARequest, CARoot, IndexedCARoots, IssuedCert
from model.structs.intentions import Intention, IntentionMatchEntry, IntentionQueryMatch, IntentionQueryRequest

ROOTS = {"ActiveRootID": str, "TrustDomain": str, "Roots": list[CARoot]}


def shown_roots(reply: IndexedCARoots) -> dict[str, Any]:
    """Roots as the API shows them."""
    return {
        "ActiveRootID": reply.active_root_id,
        "TrustDomain": reply.trust_domain,
        "Roots": [to_json(root) for root in reply.roots or ()],
    }


@route(
    "GET",
    "/v1/connect/ca/roots",
    Operation(
        query=(*READ, Param("pem", "true or 1: only the certificates, as PEM.")),
        answer=ROOTS,
        also=("application/pem-certificate-chain",),
    ),
)
async def roots(request: ApiRequest) -> ApiResponse:
    """The roots, as JSON or (`?pem=true`) as PEM."""
    reply = await request.call("ConnectCA.Roots", DCSpecificRequest(**request.query_options()))
    if request.has("pem") and request.param("pem") in ("true", "1"):
        pem = "".join("".join((root.root_cert, *(root.intermediate_certs or ()))) for root in reply.roots or ())
        headers = meta_headers(reply, request)
        return ApiResponse(pem.encode(), 200, "application/pem-certificate-chain", headers)
    return request.json(shown_roots(reply), reply)


@route("GET", "/v1/agent/connect/ca/roots", Operation(query=READ, answer=ROOTS))
async def agent_roots(request: ApiRequest) -> ApiResponse:
    """The roots, as this agent knows them."""
    reply = await request.cached_call("ConnectCA.Roots", DCSpecificRequest(**request.query_options()), always=True)
    headers = meta_headers(reply, request, consistency=False)
    return ApiResponse(encode_json(shown_roots(reply), request.pretty), 200, JSON, headers)


@route("GET", "/v1/connect/ca/configuration", Operation(query=ASK, answer=CAConfiguration))
async def configuration(request: ApiRequest) -> Any:
    """The CA's configuration."""
    return await request.call("ConnectCA.ConfigurationGet", DCSpecificRequest(**request.query_options()))


@route("PUT", "/v1/connect/ca/configuration", Operation(query=WRITE, body=CAConfiguration))
async def configure(request: ApiRequest) -> ApiResponse:
    """Change the CA's configuration; another key or root rotates the root."""
    config = await request.body(CAConfiguration, style="agent")
    if config.state:
        current = await request.call("ConnectCA.ConfigurationGet", DCSpecificRequest(datacenter=request.datacenter))
        if config.state != current.state:
            raise HttpError(400, "Provider State is read-only. It must be omitted or identical to the current value")
    await request.call("ConnectCA.ConfigurationSet", CARequest(config=config, datacenter=request.datacenter))
    return ApiResponse()


@route("GET", "/v1/agent/connect/ca/leaf/", Operation("{service}", READ, answer=IssuedCert), prefix=True)
async def leaf(request: ApiRequest) -> ApiResponse:
    """A leaf certificate of a service with its key; with `?index=` the answer waits for the next one."""
    service = request.rest.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if not service:
        raise HttpError(500, "URI must be either service, agent, server, or kind")
    options = request.query_options()
    index = options.get("min_query_index", 0)
    agent = request.agent
    deadline = asyncio.get_running_loop().time() + request.hold()
    await request.require("service", "write", service)
    held = agent.leafs.held(service)
    certificate = await agent.leafs.get(service, token=request.token)
    hit = certificate is held
    while index and certificate.modify_index <= index:
        left = deadline - asyncio.get_running_loop().time()
        if left <= 0:
            break
        await asyncio.sleep(min(left, 0.25, agent.leafs.seconds_until_renewal(certificate) + 0.05))
        await request.require("service", "write", service)  # It may have been taken away meanwhile.
        certificate = await agent.leafs.get(service, token=request.token)
    headers = {"X-Consul-Index": str(certificate.modify_index), "X-Cache": "HIT" if hit else "MISS"}
    return ApiResponse(encode_json(certificate, request.pretty), 200, JSON, headers)


class AuthorizeRequest(Wire, frozen=True):
    """The body of /v1/agent/connect/authorize."""

    target: str = ""
    client_cert_uri: Annotated[str, Name("ClientCertURI")] = ""
    client_cert_serial: str = ""


@route(
    "POST", "/v1/agent/connect/authorize", Operation(body=AuthorizeRequest, answer={"Authorized": bool, "Reason": str})
)
async def authorize(request: ApiRequest) -> ApiResponse:
    """Whether the bearer of a certificate may connect to a service."""
    wanted = await request.body(AuthorizeRequest, style="agent")
    if not wanted.target:
        raise HttpError(400, "Target service must be specified")
    try:
        identity = parse(wanted.client_cert_uri)
    except SpiffeError as error:
        raise HttpError(400, f"ClientCertURI not a valid Connect identifier: {error}") from None
    if not isinstance(identity, ServiceIdentity):
        raise HttpError(400, "ClientCertURI not a valid Service identifier")
    authz = await request.authorizer()
    authz.require("service", "write", wanted.target)
    entry = IntentionMatchEntry(name=wanted.target, namespace="default")
    args = IntentionQueryRequest(
        match=IntentionQueryMatch(type="destination", entries=[entry]), datacenter=request.agent.config.datacenter
    )
    reply = await request.cached_call("Intention.Match", args, always=True)
    decision: dict[str, Any] = {"Authorized": authz.intention_default, "Reason": "Default behavior configured by ACLs"}
    for one in reply.matches[0] if reply.matches else []:
        if one.source_name in (identity.service, "*"):
            allowed = one.action == "allow" and not one.permissions
            decision = {"Authorized": allowed, "Reason": f"Matched {_shown_intention(one)}"}
            break
    return ApiResponse(encode_json(decision, request.pretty), 200, JSON, request.cache_headers)


def _shown_intention(one: Intention) -> str:
    """An intention in words: its level, what it is between, and what it says."""
    says = f"Permissions: {len(one.permissions)}" if one.permissions else f"Action: {one.action.upper()}"
    known_as = f"ID: {one.id}, " if one.id else ""
    between = f"default/{one.source_name} => default/{one.destination_name}"
    return f"{'L7' if one.permissions else 'L4'} intention: {between} ({known_as}Precedence: {one.precedence}, {says})"


async def _may_have_proxy_state(request: ApiRequest) -> None:
    """With the document comes the key of the service that the proxy speaks for. Raises RpcError."""
    authz = await request.authorizer()
    proxy = request.agent.local.services.get(request.rest)
    if proxy is not None:
        authz.require("service", "write", proxy.proxy.destination_service_name or proxy.service)


@route(
    "GET",
    "/v1/agent/connect/proxy-state/",
    Operation(
        "{id}",
        (HASH, WAIT),
        answer=ProxyState,
        statuses={404: "There is no such proxy.", 503: "The state is not complete yet."},
    ),
    prefix=True,
)
async def proxy_state(request: ApiRequest) -> ApiResponse:
    """The proxy-state document; with `?hash=` the answer waits until it is another. Loopback only: it holds a key."""
    if not (request.remote.startswith("127.") or request.remote in ("::1", "")):
        raise HttpError(403, "the proxy's state is given to this host only")
    request.query_options()  # Refuses what does not go together.
    await _may_have_proxy_state(request)
    state = await request.agent.proxies.get(request.rest, request.param("hash"), request.hold(60.0))
    await _may_have_proxy_state(request)  # It may have been taken away meanwhile.
    if state is None:
        known = request.rest in request.agent.local.services
        if known and request.agent.local.services[request.rest].kind == "connect-proxy":
            raise HttpError(503, "the proxy's state is not complete yet")
        raise HttpError(404, f'unknown proxy service ID: "{request.rest}"')
    return ApiResponse(msgspec.json.encode(state), 200, JSON, {"X-Consul-ContentHash": state.version})
