"""The fixtures that py-consul's own test-suite asks for, with one lictor agent instead of containers of Consul.

This file takes the place of the `conftest.py` at the root of an unpacked source distribution of py-consul;
`test_py_consul.py` puts it there, with `tests/support/process.py` beside it as `lictor_process.py`. All tests share one
agent, and what a test left behind is removed after it. Without ACLs a token is ignored, as by Consul.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from lictor_process import Agent, dev_agent

PORT = 8500

NOT_YET = {
    "test_agent_service_register_kind_proxy_locality": "localities came after Consul 1.14",
    "test_usage": "operator usage came after Consul 1.14",
    "test_agent_token_set": "lictor has no ACLs yet",
    "test_snapshot_requires_management_token": "lictor has no ACLs yet",
}
"""The tests that fail, each with its reason. One that begins to pass is a failure, so that it leaves this list."""


class Instance(NamedTuple):
    """What the suite wants to know of the agent that it talks to."""

    container: object
    port: int
    version: str


def names(agent: Agent, path: str) -> list[str]:
    """The keys of a JSON object that the agent answers."""
    return list(agent.json("GET", path))


def wipe(agent: Agent) -> None:
    """Remove all that a test can have made, so that the next one finds a fresh agent."""
    own = agent.json("GET", "/v1/agent/self")["Config"]["NodeName"]
    for service in names(agent, "/v1/agent/services"):
        agent.request("PUT", f"/v1/agent/service/deregister/{service.replace('#', '%23')}")
    for check in names(agent, "/v1/agent/checks"):
        agent.request("PUT", f"/v1/agent/check/deregister/{check.replace(' ', '%20')}")
    for session in agent.json("GET", "/v1/session/list"):
        agent.request("PUT", f"/v1/session/destroy/{session['ID']}")
    agent.request("DELETE", "/v1/kv/?recurse")
    for query in agent.json("GET", "/v1/query"):
        agent.request("DELETE", f"/v1/query/{query['ID']}")
    for intention in agent.json("GET", "/v1/connect/intentions") or []:
        pair = f"source={intention['SourceName']}&destination={intention['DestinationName']}"
        agent.request("DELETE", f"/v1/connect/intentions/exact?{pair}")
    for entry in agent.json("GET", "/v1/config/"):
        agent.request("DELETE", f"/v1/config/{entry['Kind']}/{entry['Name']}")
    for node in agent.json("GET", "/v1/catalog/nodes"):
        if node["Node"] != own:
            agent.json("PUT", "/v1/catalog/deregister", {"Node": node["Node"]})
    agent.until(lambda: set(agent.json("GET", "/v1/catalog/services")) == {"consul"})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Expect the failures that are known."""
    for item in items:
        if reason := NOT_YET.get(item.name):
            item.add_marker(pytest.mark.xfail(reason=reason, strict=True))


@pytest.fixture(scope="session")
def shared_agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    """The agent that all tests talk to."""
    settings: dict[str, Any] = {"ports": {"http": PORT, "serf_wan": 8302}, "enable_script_checks": True}
    with dev_agent(tmp_path_factory.mktemp("agent"), **settings) as agent:
        yield agent


@pytest.fixture
def consul_instance(shared_agent: Agent) -> Iterator[Instance]:
    """An agent without anything in it."""
    version = shared_agent.json("GET", "/v1/agent/self")["Config"]["Version"]
    yield Instance(None, PORT, version)
    try:
        wipe(shared_agent)
    except OSError:
        # The test told the agent to leave.
        shared_agent.stop()
        shared_agent.start()
        shared_agent.ready()
        # The leader knows the node's name and address at once, the rest when the agent has synced.
        shared_agent.until(lambda: shared_agent.json("GET", "/v1/catalog/nodes")[0]["TaggedAddresses"])


@pytest.fixture
def acl_consul_instance(consul_instance: Instance) -> tuple[Instance, str]:
    """An agent and a token."""
    return consul_instance, "not-asked-for"


@pytest.fixture
def consul_port(consul_instance: Instance) -> tuple[int, str]:
    """Port and version of the agent."""
    return consul_instance.port, consul_instance.version
