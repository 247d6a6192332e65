"""What no schema would send: bodies whose values and bytes are wrong at random, queries out of all bounds.

LICTOR_FUZZ_REQUESTS=20000 LICTOR_FUZZ_SEED=7 .venv/bin/python -m pytest tests/agent/test_hostile_bodies.py
"""

from __future__ import annotations

import http.client
import json
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.mutate import wrong_bytes, wrong_json
from tests.support.netns import Island
from tests.support.process import Agent, dev_agent
from tests.support.usage import unexpected, usage

REQUESTS = int(os.environ.get("LICTOR_FUZZ_REQUESTS", "1000"))
SEED = int(os.environ.get("LICTOR_FUZZ_SEED", "1"))
MAX_GROWTH = 64 << 20

CHECK = {
    "CheckID": "c1",
    "Name": "c",
    "TTL": "10s",
    "Status": "passing",
    "Notes": "n",
    "DeregisterCriticalServiceAfter": "90m",
}
HTTP_CHECK = {
    "CheckID": "c2",
    "Name": "h",
    "HTTP": "http://127.0.0.1:1/",
    "Interval": "10s",
    "Timeout": "1s",
    "Method": "GET",
    "Header": {"X-A": ["b"]},
    "Body": "x",
    "TLSSkipVerify": True,
    "SuccessBeforePassing": 1,
    "OutputMaxSize": 100,
}
PROXY = {
    "DestinationServiceName": "web",
    "DestinationServiceID": "web-1",
    "LocalServicePort": 8080,
    "Mode": "transparent",
    "Config": {"protocol": "http", "limits": {"max": 3}},
    "Upstreams": [{"DestinationName": "db", "LocalBindPort": 9000, "Config": {"connect_timeout_ms": 1000}}],
    "MeshGateway": {"Mode": "local"},
    "Expose": {"Checks": True, "Paths": [{"Path": "/h", "ListenerPort": 21500, "LocalPathPort": 8080}]},
}
SERVICE = {
    "ID": "web-1",
    "Name": "web",
    "Port": 8080,
    "Address": "127.0.0.1",
    "Tags": ["a", "b"],
    "Meta": {"k": "v"},
    "Weights": {"Passing": 10, "Warning": 1},
    "EnableTagOverride": True,
    "Check": CHECK,
    "Checks": [HTTP_CHECK],
    "TaggedAddresses": {"lan": {"Address": "127.0.0.1", "Port": 80}},
    "Connect": {"SidecarService": {"Port": 21001}},
}
NODE_SERVICE = {
    "ID": "ext-1",
    "Service": "ext",
    "Port": 80,
    "Address": "192.0.2.1",
    "Tags": ["a"],
    "Meta": {"k": "v"},
    "Weights": {"Passing": 1, "Warning": 1},
    "Kind": "connect-proxy",
    "Proxy": PROXY,
}
NODE_CHECK = {
    "Node": "ext",
    "CheckID": "ext-c",
    "Name": "c",
    "Status": "passing",
    "ServiceID": "ext-1",
    "Output": "o",
    "Definition": {"HTTP": "http://192.0.2.1/", "Interval": "10s", "Timeout": "1s"},
}
NODE = {
    "ID": "40e4a748-2192-161a-0510-9bf59fe950b5",
    "Node": "ext",
    "Address": "192.0.2.1",
    "Datacenter": "dc1",
    "TaggedAddresses": {"lan": "192.0.2.1"},
    "NodeMeta": {"external-node": "true"},
    "SkipNodeUpdate": False,
}
SOURCE = {"Name": "api", "Action": "allow", "Type": "consul", "Description": "d"}
PERMISSION = {
    "Action": "deny",
    "HTTP": {"PathPrefix": "/v1", "Methods": ["GET"], "Header": [{"Name": "x", "Exact": "1", "Invert": True}]},
}
LISTENER = {"Port": 8080, "Protocol": "http", "Services": [{"Name": "web", "Hosts": ["a.example"]}]}
ENTRIES: list[dict[str, Any]] = [
    {
        "Kind": "service-defaults",
        "Name": "web",
        "Protocol": "http",
        "Meta": {"k": "v"},
        "UpstreamConfig": {"Defaults": {"ConnectTimeoutMs": 10, "Limits": {"MaxConnections": 3}}},
        "MaxInboundConnections": 5,
    },
    {
        "Kind": "proxy-defaults",
        "Name": "global",
        "Config": {"protocol": "http", "a": {"b": [1, 2.5]}},
        "MeshGateway": {"Mode": "none"},
    },
    {
        "Kind": "service-router",
        "Name": "web",
        "Routes": [
            {
                "Match": {"HTTP": {"PathRegex": "/v[0-9]+", "QueryParam": [{"Name": "q", "Regex": "^a"}]}},
                "Destination": {
                    "Service": "web2",
                    "RequestTimeout": "1s",
                    "NumRetries": 3,
                    "RetryOnStatusCodes": [500],
                },
            }
        ],
    },
    {
        "Kind": "service-resolver",
        "Name": "web",
        "DefaultSubset": "v1",
        "ConnectTimeout": "3s",
        "Subsets": {"v1": {"Filter": "Service.Meta.version == 1", "OnlyPassing": True}},
        "Failover": {"*": {"Service": "b", "Datacenters": ["dc1"]}},
        "LoadBalancer": {
            "Policy": "ring_hash",
            "RingHashConfig": {"MinimumRingSize": 10},
            "HashPolicies": [{"SourceIP": True}],
        },
    },
    {
        "Kind": "service-splitter",
        "Name": "web",
        "Splits": [{"Weight": 50.5, "ServiceSubset": "v1"}, {"Weight": 49.5, "Service": "x"}],
    },
    {
        "Kind": "service-intentions",
        "Name": "web",
        "Sources": [{"Name": "l7", "Permissions": [PERMISSION]}, SOURCE],
        "Meta": {"a": "b"},
    },
    {
        "Kind": "ingress-gateway",
        "Name": "in",
        "TLS": {"Enabled": True, "TLSMinVersion": "TLSv1_2"},
        "Listeners": [LISTENER],
    },
    {"Kind": "terminating-gateway", "Name": "out", "Services": [{"Name": "db", "CAFile": "/ca", "SNI": "db.example"}]},
    {
        "Kind": "mesh",
        "TransparentProxy": {"MeshDestinationsOnly": True},
        "TLS": {"Incoming": {"TLSMinVersion": "TLSv1_3"}},
    },
    {"Kind": "exported-services", "Name": "default", "Services": [{"Name": "web", "Consumers": [{"Peer": "p"}]}]},
]
QUERY = {
    "Name": "geo-",
    "Template": {"Type": "name_prefix_match", "Regexp": "^geo-(.*?)-([^-]+)$", "RemoveEmptyTags": True},
    "Service": {
        "Service": "${match(1)}-${name.suffix}",
        "Tags": ["${match(2)}", "!x"],
        "Near": "_agent",
        "OnlyPassing": True,
        "Failover": {"NearestN": 3, "Datacenters": ["dc1"]},
        "NodeMeta": {"a": "b"},
        "ServiceMeta": {"c": "d"},
        "IgnoreCheckIDs": ["c"],
    },
    "DNS": {"TTL": "10s"},
}
INTENTION = {
    "SourceName": "api2",
    "DestinationName": "web",
    "Action": "allow",
    "SourceType": "consul",
    "Meta": {"a": "b"},
}
TXN = [
    {"KV": {"Verb": "set", "Key": "t/a", "Value": "YQ==", "Flags": 7, "Index": 0}},
    {"KV": {"Verb": "delete-cas", "Key": "t/none", "Index": 3}},
    {"Node": {"Verb": "set", "Node": NODE}},
    {"Service": {"Verb": "set", "Node": "ext", "Service": NODE_SERVICE}},
    {"Check": {"Verb": "set", "Check": NODE_CHECK}},
    {"KV": {"Verb": "get-tree", "Key": "t/"}},
]
COORDINATE = {"Vec": [0.1, 0, 0, 0, 0, 0, 0, 0], "Error": 1.5, "Adjustment": 0.1, "Height": 0.001}
CONFIGURATION = {"Provider": "consul", "Config": {"LeafCertTTL": "72h", "PrivateKeyType": "ec", "PrivateKeyBits": 256}}
OFF = ("/v1/operator/keyring", "/v1/acl/", "/v1/peering/", "/v1/agent/token/")
BODIES: list[tuple[str, str, Any]] = [
    ("PUT", "/v1/agent/service/register", SERVICE),
    ("PUT", "/v1/agent/check/register", HTTP_CHECK),
    ("PUT", "/v1/agent/check/update/c1", {"Status": "passing", "Output": "text"}),
    (
        "POST",
        "/v1/agent/connect/authorize",
        {"Target": "web", "ClientCertURI": "spiffe://a.consul/ns/default/dc/dc1/svc/api"},
    ),
    ("PUT", "/v1/agent/token/default", {"Token": "x"}),
    ("PUT", "/v1/catalog/register", {**NODE, "Service": NODE_SERVICE, "Check": NODE_CHECK, "Checks": [NODE_CHECK]}),
    ("PUT", "/v1/catalog/deregister", {"Node": "ext", "ServiceID": "ext-1", "Datacenter": "dc1"}),
    *(("PUT", "/v1/config", entry) for entry in ENTRIES),
    ("PUT", "/v1/connect/ca/configuration", CONFIGURATION),
    ("POST", "/v1/connect/intentions", INTENTION),
    ("PUT", "/v1/connect/intentions/exact?source=api&destination=db", {"Action": "allow", "Description": "d"}),
    ("PUT", "/v1/coordinate/update", {"Node": "node1", "Segment": "", "Coord": COORDINATE}),
    (
        "POST",
        "/v1/discovery-chain/web",
        {"OverrideConnectTimeout": "7s", "OverrideProtocol": "grpc", "OverrideMeshGateway": {"Mode": "local"}},
    ),
    (
        "PUT",
        "/v1/operator/autopilot/configuration",
        {"CleanupDeadServers": True, "LastContactThreshold": "200ms", "MaxTrailingLogs": 250},
    ),
    ("POST", "/v1/query", QUERY),
    (
        "PUT",
        "/v1/session/create",
        {"Name": "s", "LockDelay": "15s", "TTL": "30s", "Behavior": "release", "NodeChecks": ["serfHealth"]},
    ),
    ("PUT", "/v1/txn", TXN),
    ("POST", "/v1/operator/keyring", {"Key": "cg8StVXbQJ0gPvMd9o7yrg=="}),
    ("POST", "/v1/peering/token", {"PeerName": "p"}),
    ("PUT", "/v1/acl/token", {"Description": "d", "Policies": [{"Name": "p"}]}),
]


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    # What is registered may name addresses anywhere: nothing gets out of here.
    with Island() as island, island.inside():
        settings: dict[str, Any] = {"default_query_time": "20ms", "max_query_time": "20ms", "log_level": "WARN"}
        with dev_agent(tmp_path_factory.mktemp("agent"), **settings) as running:
            yield running


def ask(agent: Agent, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
    """One request that must be answered in time."""
    return agent.request(method, path, body, seconds=60)


def well(agent: Agent) -> None:
    """The agent still does what it is for, and nothing happened that nobody expected."""
    agent.json("PUT", "/v1/kv/well", b"1")
    assert agent.request("GET", "/v1/kv/well?raw")[1] == b"1"
    log = agent.log.read_text()
    errors = agent.json("GET", "/v1/agent/self")["Stats"]["agent"].get("internal_errors", "0")
    assert errors == "0" and "Traceback" not in log, unexpected(log)


@pytest.mark.slow
@pytest.mark.timeout(max(300, REQUESTS // 20))
def test_wrong_bodies(agent: Agent) -> None:
    chance = random.Random(SEED)
    for method, path, body in BODIES:
        status, answer = ask(agent, method, path, json.dumps(body).encode())
        assert status == 200 or path.startswith(OFF), (path, status, answer)
    statuses: Counter[int] = Counter()
    problems: dict[str, str] = {}
    early = usage(agent)
    for number in range(REQUESTS):
        method, path, body = BODIES[number % len(BODIES)]
        if chance.random() < 0.7:
            wrong = wrong_json(chance, body)
        else:
            wrong = wrong_bytes(chance, json.dumps(body).encode())
        try:
            status, _ = ask(agent, method, path, wrong)
            statuses[status] += 1
        except (OSError, AssertionError, http.client.HTTPException) as error:
            problems.setdefault(path, f"{wrong[:2000]!r}: {error!r}"[:3000])
        if number % 50 == 0:  # Reads of what was stored.
            for read in ("/v1/catalog/nodes", "/v1/health/state/any", "/v1/config/", "/v1/query", "/v1/agent/services"):
                ask(agent, "GET", read)
            for read in (
                "/v1/internal/ui/services",
                "/v1/discovery-chain/web",
                "/v1/query/geo-a-b/execute",
                "/v1/session/list",
            ):
                ask(agent, "GET", read)
        if number == REQUESTS // 10:
            early = usage(agent)
    log = agent.log.read_text()
    assert "Traceback" not in log, unexpected(log)
    assert not problems, "\n\n".join(problems.values())
    well(agent)
    assert statuses[200] > REQUESTS // 20 and statuses[400] > REQUESTS // 4, statuses
    assert usage(agent).resident < early.resident + MAX_GROWTH, (early, usage(agent))


@pytest.mark.slow
def test_wrong_paths_and_queries(agent: Agent) -> None:
    chance = random.Random(SEED)
    values = (
        *(
            "18446744073709551615",
            "18446744073709551616",
            "-1",
            "1e5",
            "%D9%A3",
            "0x10",
            "9" * 4000,
            "",
            "%ff",
            "%00",
            "a%0d%0ab",
        ),
        *("%ed%a0%80", "99999999h", "-5s", "1" * 300 + "s", "10d", "%F0%9F%92%A9", "..%2f..", "(" * 200, "a" * 8000),
    )
    document = agent.json("GET", "/v1/openapi.json")
    shared = document["components"]["parameters"]
    operations = [
        (
            method.upper(),
            path,
            [shared[one["$ref"].rpartition("/")[2]] if "$ref" in one else one for one in found["parameters"]],
        )
        for path, item in document["paths"].items()
        for method, found in item.items()
        if path not in ("/v1/agent/leave", "/v1/agent/monitor", "/v1/agent/metrics/stream", "/v1/snapshot")
    ]
    for _ in range(max(800, REQUESTS // 2)):
        method, path, parameters = chance.choice(operations)
        query = []
        for one in parameters:
            value = chance.choice(values)
            if one["in"] == "path":
                path = path.replace(f"{{{one['name']}}}", value[:3000] or "a")
            elif chance.random() < 2 / len(parameters):
                query.append(f"{one['name']}={value}")
        ask(agent, method, f"{path}?{'&'.join(query)}", chance.choice((b"", b"", b"{}", b"\xff\x00")))
    for value in values:
        for path in ("kv", "catalog/node", "health/service", "session/info", "query", "agent/join", "discovery-chain"):
            ask(agent, "PUT" if path == "agent/join" else "GET", f"/v1/{path}/{value[:3000]}")
    well(agent)


def test_an_index_from_the_future_waits_no_longer_than_it_may(agent: Agent) -> None:
    agent.json("PUT", "/v1/kv/future", b"1")
    status, answer = ask(agent, "GET", f"/v1/kv/future?raw&index={(1 << 64) - 1}&wait=1ms")
    assert (status, answer) == (200, b"1")
    assert ask(agent, "GET", f"/v1/kv/future?index={1 << 64}") == (400, b"Invalid index")
    assert ask(agent, "GET", "/v1/kv/future?index=1&wait=9999999999999h") == (400, b"Invalid wait time")


@pytest.mark.parametrize(
    "expression",
    [
        "(" * 16_000,
        "not " * 4_000,
        "(" * 3_000 + 'Node == "a"' + ")" * 3_000,
        " and ".join(['Node == "a"'] * 1_000),
        "Node == `" + "x" * 16_000 + "`",
        "Meta." + ".".join(["a"] * 5_000) + ' == "x"',
        'Node matches "' + "(a+)+" * 150 + '$"',
        'Node matches "' + "(" * 900 + '"',
        'Node matches "(((a{1,100}){1,100}){1,100}){1,100}"',
        " or ".join(['Node matches "(a|aa)+$"'] * 500),
        'Node == "\\ud800"',
        "x" * 60_000,
    ],
    ids=range(12),
)
def test_a_huge_filter_is_answered_soon(agent: Agent, expression: str) -> None:
    began = time.process_time()
    status, _ = ask(agent, "GET", f"/v1/catalog/nodes?filter={quote(expression)}")
    assert status in (200, 400, 414, 431, 500), began
    well(agent)


def test_patterns_that_take_for_ever_elsewhere(agent: Agent) -> None:
    body = {
        "Name": "evil",
        "Template": {"Type": "name_prefix_match", "Regexp": "^(a+)+$"},
        "Service": {"Service": "${name.full}"},
    }
    created = agent.json("POST", "/v1/query", body)
    ask(agent, "GET", f"/v1/query/evil{'a' * 60}b/execute")
    ask(agent, "GET", f"/v1/query/evil{'a' * 60}b/explain")
    agent.request("DELETE", f"/v1/query/{created['ID']}")
    # A template whose result holds a template is not looked at twice.
    body["Name"], body["Service"] = "loop", {"Service": "$${name.full}${name.full}${name.full}"}
    created = agent.json("POST", "/v1/query", body)
    explained = agent.json(
        "GET", "/v1/query/loop${name.full}/explain".replace("$", "%24").replace("{", "%7B").replace("}", "%7D")
    )
    assert explained["Query"]["Service"]["Service"] == "${name.full}" + "loop${name.full}" * 2
    agent.request("DELETE", f"/v1/query/{created['ID']}")
    # A name of some thousand characters in some thousand places makes no text of millions.
    body["Name"], body["Service"] = "bomb", {"Service": "${name.full}" * 10_000}
    created = agent.json("POST", "/v1/query", body)
    assert ask(agent, "GET", f"/v1/query/bomb{'a' * 4000}/explain") == (
        500,
        b"failed rendering template: Service.Service would be longer than 65536 characters",
    )
    agent.request("DELETE", f"/v1/query/{created['ID']}")
    well(agent)


def test_the_largest_transactions(agent: Agent) -> None:
    small = [{"KV": {"Verb": "set", "Key": f"big/{number}", "Value": "YQ=="}} for number in range(128)]
    assert ask(agent, "PUT", "/v1/txn", json.dumps(small).encode())[0] == 200
    assert ask(agent, "PUT", "/v1/txn", json.dumps([*small, small[0]]).encode())[0] == 413
    large = [{"KV": {"Verb": "set", "Key": f"big/{number}", "Value": "YWFh" * 1000}} for number in range(127)]
    assert (
        ask(agent, "PUT", "/v1/txn", json.dumps(large).encode())[0] == 200
        if len(json.dumps(large)) <= 512 << 10
        else True
    )
    huge = [{"KV": {"Verb": "set", "Key": "big/x", "Value": "YWFh" * 140_000}}]
    assert ask(agent, "PUT", "/v1/txn", json.dumps(huge).encode())[0] == 413
    tree = [{"KV": {"Verb": "get-tree", "Key": ""}}] * 128
    status, answer = ask(agent, "PUT", "/v1/txn", json.dumps(tree).encode())
    assert status in (200, 409, 413) and len(answer) < 200 << 20
    well(agent)
