"""Every route of the HTTP API while access control denies by default: what those without a right get, and change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

import agent.http.server  # noqa: F401  (registers all routes)
from agent.http.routing import ROUTES
from tests.support.veiled import NODE, OTHER, ROOT, SHOWN, UNKNOWN, Veiled, veiled_agent

REFUSED = "is refused with 403"
NOTHING = "is told nothing that is hidden"
MISSING = "is told nothing that is hidden, as nothing is there even for who may see it"


class Open(NamedTuple):
    """Answered for everybody, on purpose."""

    why: str


class Case(NamedTuple):
    """A request below a route: what comes after its path, the body, and what is expected of the answer."""

    rest: str
    expected: str | Open
    body: Any = None
    unknown: str | Open = REFUSED
    """What is expected for a secret that no token has."""


PUBLIC_ROOTS = Open("the certificates of the authority are public; whoever verifies a service needs them")
DISCOVERY = Open("says which datacenters, or which servers, there are; Consul asks no right for it either")
LOGIN = Open("who logs in has no token yet: the credential decides")
OFF = Open("says only that this version does not have it")

SERVICE = {"ID": "new", "Name": "new", "Port": 1}
CSR = {"Datacenter": "dc1"}
ENTRY = {"Kind": "service-defaults", "Name": "veiled", "Protocol": "tcp"}
INTENTION = {"SourceName": "veiled-caller", "DestinationName": "veiled", "Action": "deny"}
DENY_ALL = [{"Name": "*", "Action": "deny"}]
NAMES = "?source=veiled-caller&destination=veiled"
QUERY = {"Name": "veiled-new", "Service": {"Service": "veiled"}}
TXN = [{"KV": {"Verb": "set", "Key": "veiled/key", "Value": "eA=="}}]
COORDINATE = {"Node": OTHER, "Coord": {"Vec": [0.1] * 8, "Error": 1.5, "Adjustment": 0.0, "Height": 0.00001}}
CERTIFICATE = {
    "Target": "veiled-local",
    "ClientCertURI": "spiffe://11111111-2222-3333-4444-555555555555.consul/ns/default/dc/dc1/svc/veiled-caller",
}
SERVED = {"Node": OTHER, "Address": "10.0.0.9", "Service": {"Service": "veiled", "ID": "veiled-1", "Port": 9}}
NEW_CHECK = {"ID": "veiled-node-ttl", "Name": "new", "TTL": "1h"}
CHECK_OF_SERVICE = {"ID": "new", "Name": "new", "TTL": "1h", "ServiceID": "veiled-local"}
ACCESSES = [{"Resource": "key", "Access": "read", "Segment": "veiled"}]
AUTOPILOT = {"CleanupDeadServers": False}
CA = {"Provider": "consul", "Config": {"LeafCertTTL": "2h"}}

CASES: dict[tuple[str, str], list[Case]] = {
    ("GET", "/v1/acl/policies"): [Case("", REFUSED)],
    ("PUT", "/v1/acl/policy"): [Case("", REFUSED, {"Name": "mine", "Rules": 'acl = "write"'})],
    ("GET", "/v1/acl/policy/"): [Case("{policy}", REFUSED)],
    ("PUT", "/v1/acl/policy/"): [Case("{policy}", REFUSED, {"Name": "veiled-policy", "Rules": 'acl = "write"'})],
    ("DELETE", "/v1/acl/policy/"): [Case("{policy}", REFUSED)],
    ("GET", "/v1/acl/policy/name/"): [Case("veiled-policy", REFUSED)],
    ("GET", "/v1/acl/roles"): [Case("", REFUSED)],
    ("PUT", "/v1/acl/role"): [Case("", REFUSED, {"Name": "mine"})],
    ("GET", "/v1/acl/role/"): [Case("{role}", REFUSED)],
    ("PUT", "/v1/acl/role/"): [Case("{role}", REFUSED, {"Name": "veiled-role"})],
    ("DELETE", "/v1/acl/role/"): [Case("{role}", REFUSED)],
    ("GET", "/v1/acl/role/name/"): [Case("veiled-role", REFUSED)],
    ("GET", "/v1/acl/tokens"): [Case("", REFUSED)],
    ("PUT", "/v1/acl/token"): [Case("", REFUSED, {"Policies": [{"Name": "global-management"}]})],
    ("GET", "/v1/acl/token/self"): [Case("", Open("whoever has a secret may see its own token"))],
    ("GET", "/v1/acl/token/"): [Case("{accessor}", REFUSED), Case("{accessor}?expanded", REFUSED)],
    ("PUT", "/v1/acl/token/"): [
        Case("{accessor}", REFUSED, {"Policies": [{"Name": "global-management"}]}),
        Case("{accessor}/clone", REFUSED, {}),
    ],
    ("DELETE", "/v1/acl/token/"): [Case("{accessor}", REFUSED)],
    ("GET", "/v1/acl/auth-methods"): [Case("", REFUSED)],
    ("PUT", "/v1/acl/auth-method"): [Case("", REFUSED, {"Name": "mine", "Type": "jwt"})],
    ("GET", "/v1/acl/auth-method/"): [Case("veiled-method", REFUSED)],
    ("PUT", "/v1/acl/auth-method/"): [Case("veiled-method", REFUSED, {"Name": "veiled-method"})],
    ("DELETE", "/v1/acl/auth-method/"): [Case("veiled-method", REFUSED)],
    ("GET", "/v1/acl/binding-rules"): [Case("", REFUSED)],
    ("PUT", "/v1/acl/binding-rule"): [
        Case("", REFUSED, {"AuthMethod": "veiled-method", "BindType": "service", "BindName": "x"})
    ],
    ("GET", "/v1/acl/binding-rule/"): [Case("{rule}", REFUSED)],
    ("PUT", "/v1/acl/binding-rule/"): [Case("{rule}", REFUSED, {"BindType": "service", "BindName": "x"})],
    ("DELETE", "/v1/acl/binding-rule/"): [Case("{rule}", REFUSED)],
    ("PUT", "/v1/acl/bootstrap"): [Case("", REFUSED)],
    ("GET", "/v1/acl/replication"): [
        Case("", Open("says how far a copy is; Consul asks no right"), unknown=Open("as for all"))
    ],
    ("POST", "/v1/acl/login"): [
        Case("", LOGIN, {"AuthMethod": "veiled-method", "BearerToken": "x"}, unknown=LOGIN),
        Case("", LOGIN, {"AuthMethod": "none", "BearerToken": "x"}, unknown=LOGIN),
    ],
    ("POST", "/v1/acl/logout"): [Case("", REFUSED)],
    ("POST", "/v1/internal/acl/authorize"): [
        Case("", Open("says no of each access that the token does not have"), ACCESSES)
    ],
    ("GET", "/v1/agent/checks"): [Case("", NOTHING), Case("?filter=Name!=x", NOTHING)],
    ("PUT", "/v1/agent/check/register"): [Case("", REFUSED, NEW_CHECK), Case("", REFUSED, CHECK_OF_SERVICE)],
    ("PUT", "/v1/agent/check/deregister/"): [Case("veiled-ttl", REFUSED), Case("veiled-node-ttl", REFUSED)],
    ("PUT", "/v1/agent/check/pass/"): [Case("veiled-ttl", REFUSED)],
    ("PUT", "/v1/agent/check/warn/"): [Case("veiled-ttl", REFUSED), Case("veiled-node-ttl", REFUSED)],
    ("PUT", "/v1/agent/check/fail/"): [Case("veiled-ttl", REFUSED)],
    ("PUT", "/v1/agent/check/update/"): [Case("veiled-ttl", REFUSED, {"Status": "passing"})],
    ("GET", "/v1/agent/health/service/id/"): [
        Case("veiled-local", REFUSED),
        Case("veiled-local?format=text", REFUSED),
    ],
    ("GET", "/v1/agent/health/service/name/"): [
        Case("veiled-local", REFUSED),
        Case("veiled-local?format=text", REFUSED),
    ],
    ("GET", "/v1/agent/self"): [Case("", REFUSED)],
    ("GET", "/v1/agent/host"): [Case("", REFUSED)],
    ("GET", "/v1/agent/members"): [Case("", NOTHING), Case("?wan=1", MISSING)],
    ("PUT", "/v1/agent/join/"): [Case("127.0.0.1", REFUSED), Case("127.0.0.1?wan=1", REFUSED)],
    ("PUT", "/v1/agent/force-leave/"): [Case(NODE, REFUSED), Case(f"{NODE}?prune", REFUSED)],
    ("PUT", "/v1/agent/leave"): [Case("", REFUSED)],
    ("PUT", "/v1/agent/reload"): [Case("", REFUSED)],
    ("PUT", "/v1/agent/token/"): [
        Case(kind, REFUSED, {"Token": "x"}) for kind in ("default", "agent", "agent_recovery", "replication")
    ],
    ("GET", "/v1/agent/services"): [Case("", NOTHING), Case("?filter=Service!=x", NOTHING)],
    ("GET", "/v1/agent/service/"): [Case("veiled-local", REFUSED), Case("veiled-local?hash=x&wait=1s", REFUSED)],
    ("PUT", "/v1/agent/service/register"): [
        Case("", REFUSED, SERVICE),
        Case("?replace-existing-checks", REFUSED, {"ID": "veiled-local", "Name": "mine", "Port": 1}),
    ],
    ("PUT", "/v1/agent/service/deregister/"): [Case("veiled-local", REFUSED)],
    ("PUT", "/v1/agent/service/maintenance/"): [Case("veiled-local?enable=true", REFUSED)],
    ("PUT", "/v1/agent/maintenance"): [Case("?enable=true", REFUSED)],
    ("GET", "/v1/agent/metrics"): [Case("", REFUSED), Case("?format=prometheus", REFUSED)],
    ("GET", "/v1/agent/metrics/stream"): [Case("", REFUSED)],
    ("GET", "/v1/agent/monitor"): [Case("?loglevel=trace", REFUSED)],
    ("GET", "/v1/agent/connect/ca/roots"): [Case("", PUBLIC_ROOTS, unknown=PUBLIC_ROOTS)],
    ("GET", "/v1/agent/connect/ca/leaf/"): [Case("veiled-local", REFUSED), Case("never-seen", REFUSED)],
    ("POST", "/v1/agent/connect/authorize"): [Case("", REFUSED, CERTIFICATE)],
    ("GET", "/v1/agent/connect/proxy-state/"): [
        Case("veiled-sidecar", REFUSED),
        Case("veiled-sidecar?hash=x&wait=1s", REFUSED),
    ],
    ("GET", "/v1/status/leader"): [Case("", DISCOVERY, unknown=DISCOVERY)],
    ("GET", "/v1/status/peers"): [Case("", DISCOVERY, unknown=DISCOVERY)],
    ("PUT", "/v1/catalog/register"): [
        Case("", REFUSED, {"Node": "new", "Address": "10.0.0.2"}),
        Case("", REFUSED, SERVED),
        Case("", REFUSED, {**SERVED, "SkipNodeUpdate": True}),
        Case("", REFUSED, {"Node": OTHER, "SkipNodeUpdate": True, "Check": {"CheckID": "veiled-check", "Name": "x"}}),
    ],
    ("PUT", "/v1/catalog/deregister"): [
        Case("", REFUSED, {"Node": OTHER}),
        Case("", REFUSED, {"Node": OTHER, "ServiceID": "veiled-1"}),
        Case("", REFUSED, {"Node": OTHER, "CheckID": "veiled-check"}),
    ],
    ("GET", "/v1/catalog/datacenters"): [Case("", DISCOVERY, unknown=DISCOVERY)],
    ("GET", "/v1/catalog/nodes"): [Case("", NOTHING), Case("?filter=Node!=x", NOTHING), Case("?near=_agent", NOTHING)],
    ("GET", "/v1/catalog/services"): [Case("", NOTHING), Case("?filter=ServiceName!=x", NOTHING)],
    ("GET", "/v1/catalog/service/"): [Case("veiled", NOTHING), Case("veiled?merge-central-config", NOTHING)],
    ("GET", "/v1/catalog/connect/"): [Case("veiled", NOTHING)],
    ("GET", "/v1/catalog/node/"): [Case(OTHER, NOTHING), Case(NODE, NOTHING)],
    ("GET", "/v1/catalog/node-services/"): [Case(OTHER, NOTHING), Case(NODE, NOTHING)],
    ("GET", "/v1/catalog/gateway-services/"): [Case("veiled-gateway", REFUSED)],
    ("GET", "/v1/health/node/"): [Case(OTHER, NOTHING), Case(NODE, NOTHING)],
    ("GET", "/v1/health/checks/"): [Case("veiled", NOTHING)],
    ("GET", "/v1/health/state/"): [Case("any", NOTHING), Case("passing", NOTHING)],
    ("GET", "/v1/health/service/"): [Case("veiled", NOTHING), Case("veiled?passing", NOTHING)],
    ("GET", "/v1/health/connect/"): [Case("veiled", NOTHING)],
    ("GET", "/v1/health/ingress/"): [Case("veiled", NOTHING)],
    ("PUT", "/v1/config"): [
        Case("", REFUSED, ENTRY),
        Case("", REFUSED, {"Kind": "proxy-defaults", "Name": "global"}),
        Case("", REFUSED, {"Kind": "mesh"}),
        Case("", REFUSED, {"Kind": "service-intentions", "Name": "veiled", "Sources": DENY_ALL}),
    ],
    ("GET", "/v1/config/"): [
        Case("", NOTHING),
        Case("service-defaults", NOTHING),
        Case("service-defaults/veiled", REFUSED),
        Case("service-intentions", NOTHING),
        Case("service-intentions/veiled", REFUSED),
        Case("ingress-gateway/veiled-gateway", REFUSED),
    ],
    ("DELETE", "/v1/config/"): [
        Case("service-defaults/veiled", REFUSED),
        Case("service-intentions/veiled", REFUSED),
        Case("ingress-gateway/veiled-gateway", REFUSED),
    ],
    ("GET", "/v1/connect/ca/roots"): [Case("", PUBLIC_ROOTS, unknown=PUBLIC_ROOTS)],
    ("GET", "/v1/connect/ca/configuration"): [Case("", REFUSED)],
    ("PUT", "/v1/connect/ca/configuration"): [Case("", REFUSED, CA)],
    ("GET", "/v1/connect/intentions"): [Case("", NOTHING)],
    ("POST", "/v1/connect/intentions"): [Case("", REFUSED, {**INTENTION, "SourceName": "other"})],
    ("GET", "/v1/connect/intentions/"): [Case("{intention}", REFUSED)],
    ("PUT", "/v1/connect/intentions/"): [Case("{intention}", REFUSED, INTENTION)],
    ("DELETE", "/v1/connect/intentions/"): [Case("{intention}", REFUSED)],
    ("GET", "/v1/connect/intentions/exact"): [Case(NAMES, REFUSED)],
    ("PUT", "/v1/connect/intentions/exact"): [Case(NAMES, REFUSED, {"Action": "deny"})],
    ("DELETE", "/v1/connect/intentions/exact"): [Case(NAMES, REFUSED)],
    ("GET", "/v1/connect/intentions/match"): [Case("?by=destination&name=veiled", REFUSED)],
    ("GET", "/v1/connect/intentions/check"): [Case(NAMES, REFUSED)],
    ("GET", "/v1/discovery-chain/"): [Case("veiled", REFUSED)],
    ("POST", "/v1/discovery-chain/"): [Case("veiled", REFUSED, {})],
    ("PUT", "/v1/event/fire/"): [Case("veiled-event", REFUSED, b"x"), Case("_rexec", REFUSED, b"{}")],
    ("GET", "/v1/event/list"): [Case("", NOTHING), Case("?name=veiled-event", NOTHING)],
    ("GET", "/v1/internal/ui/nodes"): [Case("", NOTHING)],
    ("GET", "/v1/internal/ui/node/"): [Case(OTHER, NOTHING), Case(NODE, NOTHING)],
    ("GET", "/v1/internal/ui/services"): [Case("", NOTHING)],
    ("GET", "/v1/internal/ui/catalog-overview"): [Case("", REFUSED)],
    ("GET", "/v1/internal/ui/exported-services"): [Case("?peer=x", MISSING)],
    ("GET", "/v1/internal/ui/gateway-services-nodes/"): [Case("veiled-gateway", REFUSED)],
    ("GET", "/v1/internal/ui/gateway-intentions/"): [Case("veiled-gateway", REFUSED)],
    ("GET", "/v1/internal/ui/service-topology/"): [Case("veiled?kind=", REFUSED)],
    ("GET", "/v1/internal/ui/metrics-proxy/"): [Case("api/v1/query", REFUSED)],
    ("GET", "/v1/kv/"): [
        Case("veiled/key", REFUSED),
        Case("veiled/key?raw", REFUSED),
        Case("veiled?recurse", NOTHING),
        Case("?recurse", NOTHING),
        Case("veiled?keys", NOTHING),
        Case("?keys&separator=/", NOTHING),
    ],
    ("PUT", "/v1/kv/"): [
        Case("veiled/key", REFUSED, b"x"),
        Case("veiled/new", REFUSED, b"x"),
        Case("veiled/key?acquire={session}", REFUSED, b"x"),
    ],
    ("DELETE", "/v1/kv/"): [
        Case("veiled/key", REFUSED),
        Case("veiled?recurse", REFUSED),
        Case("?recurse", REFUSED),
        Case("veiled/key?cas=1", REFUSED),
    ],
    ("GET", "/v1/operator/keyring"): [Case("", REFUSED)],
    ("POST", "/v1/operator/keyring"): [Case("", REFUSED, {"Key": "MTIzNDU2Nzg5MDEyMzQ1Ng=="})],
    ("PUT", "/v1/operator/keyring"): [Case("", REFUSED, {"Key": "MTIzNDU2Nzg5MDEyMzQ1Ng=="})],
    ("DELETE", "/v1/operator/keyring"): [Case("", REFUSED, {"Key": "MTIzNDU2Nzg5MDEyMzQ1Ng=="})],
    ("GET", "/v1/operator/raft/configuration"): [Case("", REFUSED)],
    ("DELETE", "/v1/operator/raft/peer"): [Case("?id=x", REFUSED), Case("?address=x", REFUSED)],
    ("PUT", "/v1/operator/raft/transfer-leader"): [Case("", REFUSED)],
    ("POST", "/v1/operator/raft/transfer-leader"): [Case("", REFUSED)],
    ("GET", "/v1/operator/autopilot/configuration"): [Case("", REFUSED)],
    ("PUT", "/v1/operator/autopilot/configuration"): [Case("", REFUSED, AUTOPILOT)],
    ("GET", "/v1/operator/autopilot/health"): [Case("", REFUSED)],
    ("GET", "/v1/operator/autopilot/state"): [Case("", REFUSED)],
    ("GET", "/v1/query"): [Case("", NOTHING)],
    ("POST", "/v1/query"): [Case("", REFUSED, QUERY)],
    ("GET", "/v1/query/"): [
        Case("{query}", REFUSED),
        Case("{query}/explain", REFUSED),
        # Whoever knows a query's name may ask it; what it finds is for those with rights to that.
        Case("veiled-query/execute", Open("names the service that it asks for, and no instance")),
    ],
    ("PUT", "/v1/query/"): [Case("{query}", REFUSED, QUERY)],
    ("DELETE", "/v1/query/"): [Case("{query}", REFUSED)],
    ("PUT", "/v1/session/create"): [Case("", REFUSED, {"Node": OTHER}), Case("", REFUSED, {})],
    ("PUT", "/v1/session/destroy/"): [Case("{session}", REFUSED)],
    ("PUT", "/v1/session/renew/"): [Case("{session}", REFUSED)],
    ("GET", "/v1/session/info/"): [Case("{session}", NOTHING)],
    ("GET", "/v1/session/node/"): [Case(OTHER, NOTHING)],
    ("GET", "/v1/session/list"): [Case("", NOTHING)],
    ("GET", "/v1/coordinate/datacenters"): [Case("", DISCOVERY, unknown=DISCOVERY)],
    ("GET", "/v1/coordinate/nodes"): [Case("", NOTHING)],
    ("GET", "/v1/coordinate/node/"): [Case(OTHER, REFUSED)],
    ("PUT", "/v1/coordinate/update"): [Case("", REFUSED, COORDINATE)],
    ("PUT", "/v1/txn"): [
        Case("", "is refused with 409", TXN, unknown=REFUSED),
        Case("", NOTHING, [{"KV": {"Verb": "get", "Key": "veiled/key"}}]),
        Case("", NOTHING, [{"KV": {"Verb": "get-tree", "Key": "veiled"}}]),
        Case("", NOTHING, [{"Node": {"Verb": "get", "Node": {"Node": OTHER}}}]),
        Case("", NOTHING, [{"Service": {"Verb": "get", "Node": OTHER, "Service": {"ID": "veiled-1"}}}]),
        Case("", NOTHING, [{"Check": {"Verb": "get", "Check": {"Node": OTHER, "CheckID": "veiled-check"}}}]),
    ],
    ("GET", "/v1/snapshot"): [Case("", REFUSED)],
    ("PUT", "/v1/snapshot"): [Case("", REFUSED, b"no archive")],
    ("GET", "/v1/openapi.json"): [Case("", Open("the description of the API itself"), unknown=Open("the same"))],
    **{
        (method, path): [Case("x" if path.endswith("/") else "", OFF, unknown=OFF)]
        for method, path in (
            *(("POST", "/v1/acl/rules/translate"), ("GET", "/v1/acl/rules/translate/"), ("GET", "/v1/acl/list")),
            *(("PUT", "/v1/acl/update"), ("PUT", "/v1/acl/create"), ("PUT", "/v1/acl/clone/")),
            *(("GET", "/v1/acl/info/"), ("PUT", "/v1/acl/destroy/")),
            *(("POST", "/v1/peering/establish"), ("POST", "/v1/peering/token"), ("GET", "/v1/peerings")),
            *(("GET", "/v1/peering/"), ("DELETE", "/v1/peering/")),
        )
    },
}


@pytest.fixture(scope="module")
def veiled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Veiled]:
    metrics = {"enabled": True, "metrics_proxy": {"base_url": "http://127.0.0.1:9/"}}
    folder = tmp_path_factory.mktemp("veiled")
    with veiled_agent(folder, ui_config=metrics, encrypt="pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s=") as running:
        yield running


def test_every_route_is_in_the_table() -> None:
    known = {(method, route.path) for route in ROUTES.routes() for method in route.handlers}
    assert known == set(CASES), "say in CASES what those without a right get of it"


def _judge(expected: str | Open, said: str, status: int, body: bytes) -> None:
    if isinstance(expected, Open):
        assert status != 500 or b"internal error" not in body, said
    elif expected == REFUSED:
        assert status == 403 and (b"Permission denied" in body or b"ACL not found" in body), said
        assert SHOWN not in body.decode() or b"lacks permission" in body or b"Permission denied" in body, said
    elif expected == "is refused with 409":
        assert status == 409 and b"Permission denied" in body, said
    else:
        assert status in (200, 404), said
        assert SHOWN.encode() not in body, said


@pytest.mark.parametrize("key", sorted(CASES), ids=" ".join)
def test_without_a_right(veiled: Veiled, key: tuple[str, str]) -> None:
    method, route = key
    for case in CASES[key]:
        path = route + case.rest.format(**veiled.ids)
        forms = [path]
        if method == "GET":
            joint = "&" if "?" in path else "?"
            forms += [path + joint + more for more in ("dc=dc1", "stale", "cached", "consistent")]
        for form in forms:
            for what, token, expected in (
                ("no token", "", case.expected),
                ("another token", veiled.unrelated, case.expected),
                ("an unknown token", UNKNOWN, case.unknown),
            ):
                status, body = veiled.ask(method, form, token, case.body)
                _judge(expected, f"{method} {form} with {what}: {status} {body[:500]!r}", status, body)
        if method == "GET" and case.expected == NOTHING:
            status, body = veiled.ask(method, path, ROOT)
            assert status == 200 and SHOWN.encode() in body, f"{path} hides nothing: {status} {body!r}"
        elif method == "GET" and case.expected == REFUSED and not route.endswith(("/monitor", "/stream")):
            status, body = veiled.ask(method, path, ROOT)
            assert status != 403, f"{path} is refused for everybody: {body!r}"


def test_an_executed_query_shows_no_instance(veiled: Veiled) -> None:
    for token in ("", veiled.unrelated):
        status, body = veiled.ask("GET", "/v1/query/veiled-query/execute", token)
        assert status == 200 and b'"Nodes":[]' in body.replace(b" ", b"") and OTHER.encode() not in body


def test_all_that_changes_nothing(veiled: Veiled) -> None:
    before = veiled.state()
    for (method, route), cases in CASES.items():
        for case in cases:
            if method == "GET" or case.expected == LOGIN:
                continue
            path = route + case.rest.format(**veiled.ids)
            for token in ("", UNKNOWN, veiled.unrelated):
                veiled.ask(method, path, token, case.body)
    assert veiled.state() == before


def test_heads_and_options_tell_nothing(veiled: Veiled) -> None:
    for (method, route), cases in CASES.items():
        if method == "GET":
            path = route + cases[0].rest.format(**veiled.ids)
            for other in ("HEAD", "OPTIONS"):
                status, body = veiled.ask(other, path, "")
                assert status in (200, 403, 405) and SHOWN.encode() not in body, (other, path, status, body)


def test_the_log_holds_no_secret(veiled: Veiled) -> None:
    veiled.ask("GET", "/v1/kv/veiled/key", UNKNOWN)
    text = veiled.agent.log.read_text()
    for secret in (ROOT, UNKNOWN, veiled.unrelated, veiled.ids["secret"]):
        assert secret not in text
