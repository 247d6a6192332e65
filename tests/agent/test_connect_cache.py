"""The agent's own Connect endpoints answer from its cache, and say so."""

import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.process import Agent, dev_agent


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    with dev_agent(tmp_path_factory.mktemp("cache")) as running:
        yield running


def ask(agent: Agent, method: str, path: str, body: Any = None) -> tuple[str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", agent.ports["http"], timeout=60)
    try:
        connection.request(method, path, json.dumps(body) if body is not None else None)
        response = connection.getresponse()
        assert response.status == 200, response.read()
        return response.getheader("X-Cache", ""), json.loads(response.read())
    finally:
        connection.close()


def test_decisions_are_kept_up(agent: Agent) -> None:
    question = {"Target": "db", "ClientCertURI": "spiffe://x.consul/ns/default/dc/dc1/svc/web", "ClientCertSerial": "1"}

    def decision() -> tuple[str, Any]:
        return ask(agent, "POST", "/v1/agent/connect/authorize", question)

    default = {"Authorized": True, "Reason": "Default behavior configured by ACLs"}
    assert decision() == ("MISS", default)
    assert decision() == ("HIT", default)
    agent.json("PUT", "/v1/connect/intentions/exact?source=web&destination=db", {"Action": "deny"})
    denied = "Matched L4 intention: default/web => default/db (Precedence: 9, Action: DENY)"
    agent.until(lambda: decision() == ("HIT", {"Authorized": False, "Reason": denied}))
    agent.json("PUT", "/v1/config", {"Kind": "service-defaults", "Name": "db", "Protocol": "http"})
    permissions = [{"Action": "allow", "HTTP": {"PathPrefix": "/"}}]
    body = {"Kind": "service-intentions", "Name": "db", "Sources": [{"Name": "web", "Permissions": permissions}]}
    agent.json("PUT", "/v1/config", body)
    denied = "Matched L7 intention: default/web => default/db (Precedence: 9, Permissions: 1)"
    agent.until(lambda: decision() == ("HIT", {"Authorized": False, "Reason": denied}))


@pytest.mark.parametrize("path", ["/v1/agent/connect/ca/roots", "/v1/agent/connect/ca/leaf/cached"])
def test_roots_and_leafs(agent: Agent, path: str) -> None:
    first, answer = ask(agent, "GET", path)
    assert first in ("MISS", "HIT")
    assert ask(agent, "GET", path) == ("HIT", answer)
