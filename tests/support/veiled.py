"""A dev agent with access control on (`default_policy` deny) and one of everything, whose names all hold "veiled"."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.login.tokens import pem, rsa_key
from tests.support.process import Agent

ROOT = "10000000-0000-4000-8000-000000000001"
"""The secret of a management token."""
UNKNOWN = "deadbeef-0000-4000-8000-000000000001"
"""A secret that no token has."""
SHOWN = "veiled"
"""What nobody is to see without a right to it."""
NODE, OTHER = "veilednode", "veiledother"
"""The agent's node, and one that was registered from outside."""


class Veiled(NamedTuple):
    """The agent; `unrelated` is the secret of a token that may do something else; the IDs of what is there."""

    agent: Agent
    unrelated: str
    ids: dict[str, str]

    def ask(self, method: str, path: str, token: str, body: Any = None) -> tuple[int, bytes]:
        """A request with a token ("": none): status and body."""
        if token:
            path += ("&" if "?" in path else "?") + f"token={token}"
        return self.agent.request(method, path, body)

    def json(self, method: str, path: str, body: Any = None) -> Any:
        """A request of the management token that has to succeed."""
        status, raw = self.ask(method, path, ROOT, body)
        assert status == 200, (method, path, status, raw)
        return json.loads(raw) if raw.strip() else None

    def state(self) -> dict[str, Any]:
        """All that a request could have changed, but for what changes by itself."""
        paths = (
            *("/v1/kv/?recurse", "/v1/catalog/nodes", "/v1/internal/ui/nodes", "/v1/session/list", "/v1/config/"),
            *("/v1/query", "/v1/connect/intentions", "/v1/acl/tokens", "/v1/acl/policies", "/v1/acl/roles"),
            *("/v1/acl/auth-methods", "/v1/acl/binding-rules", "/v1/agent/services", "/v1/agent/checks"),
            *("/v1/event/list", "/v1/operator/autopilot/configuration", "/v1/operator/raft/configuration"),
            *("/v1/connect/ca/configuration", "/v1/connect/ca/roots"),
        )
        return {path: self.json("GET", path) for path in paths}


@contextmanager
def veiled_agent(folder: Path, **settings: Any) -> Iterator[Veiled]:
    """The agent, ready, with all that there is to hide; it ends with the block."""
    acl = {"enabled": True, "default_policy": "deny", "tokens": {"initial_management": ROOT, "agent": ROOT}}
    wanted: dict[str, Any] = {"acl": acl, "node_name": NODE, "log_level": "trace", **settings}
    agent = Agent(folder, ["-dev"], wanted)
    agent.start()
    try:
        agent.until(lambda: agent.json("GET", f"/v1/agent/self?token={ROOT}"))
        agent.until(lambda: agent.json("GET", f"/v1/catalog/node/{NODE}?token={ROOT}"))
        yield _fill(agent)
    finally:
        agent.stop()


def _fill(agent: Agent) -> Veiled:
    ids: dict[str, str] = {}
    veiled = Veiled(agent, "", ids)
    put = veiled.json
    policy = {"Name": "veiled-policy", "Rules": 'key "veiled" { policy = "read" }'}
    ids["policy"] = put("PUT", "/v1/acl/policy", policy)["ID"]
    ids["role"] = put("PUT", "/v1/acl/role", {"Name": "veiled-role", "Policies": [{"ID": ids["policy"]}]})["ID"]
    token = put("PUT", "/v1/acl/token", {"Description": "veiled", "Roles": [{"ID": ids["role"]}]})
    ids["accessor"], ids["secret"] = token["AccessorID"], token["SecretID"]
    method = {"Name": "veiled-method", "Type": "jwt", "Config": {"JWTValidationPubKeys": [pem(rsa_key())]}}
    put("PUT", "/v1/acl/auth-method", method)
    rule = {"AuthMethod": "veiled-method", "BindType": "service", "BindName": "veiled"}
    ids["rule"] = put("PUT", "/v1/acl/binding-rule", rule)["ID"]
    service = {"ID": "veiled-1", "Service": "veiled", "Port": 80, "Tags": ["veiled-tag"]}
    check = {"CheckID": "veiled-check", "Name": "veiled", "ServiceID": "veiled-1", "Status": "passing"}
    proxy = {
        "ID": "veiled-proxy-1", "Service": "veiled-proxy", "Kind": "connect-proxy", "Port": 81,
        "Proxy": {"DestinationServiceName": "veiled"},
    }
    gateway = {"ID": "veiled-gateway", "Service": "veiled-gateway", "Kind": "ingress-gateway", "Port": 82}
    for one in (service, proxy, gateway):
        body = {"Node": OTHER, "Address": "10.0.0.1", "NodeMeta": {"external": "veiled"}, "Service": one}
        put("PUT", "/v1/catalog/register", {**body, **({"Check": check} if one is service else {})})
    local = {"ID": "veiled-local", "Name": "veiled-local", "Port": 90, "Check": {"CheckID": "veiled-ttl", "TTL": "1h"}}
    put("PUT", "/v1/agent/service/register", local)
    sidecar = {
        "ID": "veiled-sidecar", "Name": "veiled-sidecar", "Kind": "connect-proxy", "Port": 91,
        "Proxy": {"DestinationServiceName": "veiled-local", "LocalServicePort": 90},
    }
    put("PUT", "/v1/agent/service/register", sidecar)
    put("PUT", "/v1/agent/check/register", {"ID": "veiled-node-ttl", "Name": "veiled", "TTL": "1h"})
    agent.until(lambda: "veiled-local" in put("GET", f"/v1/catalog/node/{NODE}")["Services"])
    put("PUT", "/v1/kv/veiled/key", b"veiled")
    coordinate = {"Vec": [0.0] * 8, "Error": 1.5, "Adjustment": 0.0, "Height": 0.00001}
    put("PUT", "/v1/coordinate/update", {"Node": OTHER, "Coord": coordinate})
    ids["session"] = put("PUT", "/v1/session/create", {"Name": "veiled", "Node": OTHER, "NodeChecks": []})["ID"]
    ids["query"] = put("POST", "/v1/query", {"Name": "veiled-query", "Service": {"Service": "veiled"}})["ID"]
    for entry in (
        {"Kind": "service-defaults", "Name": "veiled", "Protocol": "http"},
        {"Kind": "service-defaults", "Name": "veiled-caller", "Protocol": "http"},
        {
            "Kind": "ingress-gateway", "Name": "veiled-gateway",
            "Listeners": [{"Port": 8080, "Protocol": "http", "Services": [{"Name": "veiled", "Hosts": ["veiled.x"]}]}],
        },
    ):
        put("PUT", "/v1/config", entry)
    wanted = {"SourceName": "veiled-caller", "DestinationName": "veiled", "Action": "allow"}
    ids["intention"] = put("POST", "/v1/connect/intentions", wanted)["ID"]
    put("PUT", "/v1/event/fire/veiled-event", b"veiled")
    agent.until(lambda: put("GET", "/v1/event/list"))
    agent.until(lambda: any(row["Node"] == OTHER for row in put("GET", "/v1/coordinate/nodes")))
    put("PUT", "/v1/acl/policy", {"Name": "unrelated", "Rules": 'key "unrelated" { policy = "write" }'})
    unrelated = put("PUT", "/v1/acl/token", {"Description": "other", "Policies": [{"Name": "unrelated"}]})["SecretID"]
    return Veiled(agent, unrelated, ids)

