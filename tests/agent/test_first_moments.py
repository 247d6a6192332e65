"""What holds from the moment on at which an agent's node is in the catalog."""

import signal
import socket
from pathlib import Path

import pytest

from tests.support.process import Agent, dev_agent


@pytest.mark.parametrize("number", range(3))
def test_a_node_comes_with_its_health_and_services_with_their_addresses(tmp_path: Path, number: int) -> None:
    agent = Agent(tmp_path, ["-dev"], {})
    agent.start()
    try:
        agent.until(lambda: agent.json("GET", "/v1/catalog/nodes"))
        assert agent.request("PUT", "/v1/session/create", b"{}")[0] == 200
        native = {"Node": "other", "Address": "10.0.0.1", "Service": {"Service": "native", "Port": 1}}
        native["Service"] |= {"Connect": {"Native": True}}  # type: ignore[operator]
        agent.json("PUT", "/v1/catalog/register", native)
        rows = agent.json("GET", "/v1/catalog/service/native")
        assert rows[0]["ServiceTaggedAddresses"]["consul-virtual"]["Address"].startswith("240.0.0.")
        assert agent.json("GET", "/v1/connect/ca/roots")["Roots"]
    finally:
        agent.stop()


def test_whoever_can_connect_can_end_the_agent(tmp_path: Path) -> None:
    agent = Agent(tmp_path, [], {"server": True, "bootstrap": True, "data_dir": str(tmp_path / "data")})
    for _ in range(3):
        agent.start()
        with agent.until(lambda: socket.create_connection(("127.0.0.1", agent.ports["http"]), 5)):
            assert agent.stop(signal.SIGTERM) == 0, agent.log.read_text()[-2000:]


@pytest.mark.parametrize("number", range(3))
def test_where_there_is_a_leader_there_is_its_node(tmp_path: Path, number: int) -> None:
    agent = Agent(tmp_path, [], {"server": True, "bootstrap": True, "data_dir": str(tmp_path / "data")})
    agent.start()
    try:
        agent.ready()
        assert agent.request("PUT", "/v1/session/create", b"{}")[0] == 200
    finally:
        agent.stop()


def test_the_catalog_knows_at_once_what_the_agent_was_told(tmp_path: Path) -> None:
    with dev_agent(tmp_path) as agent:
        for number in range(5):
            name = f"web{number}"
            health = f"/v1/health/service/{name}"
            agent.json("PUT", "/v1/agent/service/register", {"Name": name, "Check": {"TTL": "60s"}})
            assert [one["ServiceName"] for one in agent.json("GET", f"/v1/catalog/service/{name}")] == [name]
            agent.json("PUT", f"/v1/agent/check/pass/service:{name}")
            assert len(agent.json("GET", f"{health}?passing")) == 1
            agent.json("PUT", f"/v1/agent/service/maintenance/{name}?enable=true")
            assert agent.json("GET", f"{health}?passing") == []
            agent.json("PUT", f"/v1/agent/service/maintenance/{name}?enable=false")
            agent.json("PUT", "/v1/agent/check/register", {"Name": "extra", "ServiceID": name, "TTL": "60s"})
            assert agent.json("GET", f"{health}?passing") == []
            agent.json("PUT", "/v1/agent/check/deregister/extra")
            assert len(agent.json("GET", f"{health}?passing")) == 1
            agent.json("PUT", f"/v1/agent/service/deregister/{name}")
            assert agent.json("GET", health) == []


def test_an_agent_without_servers_takes_registrations(tmp_path: Path) -> None:
    agent = Agent(tmp_path, [], {"data_dir": str(tmp_path / "data")})
    agent.start()
    try:
        agent.until(lambda: agent.request("GET", "/v1/agent/self")[0] == 200)
        agent.json("PUT", "/v1/agent/service/register", {"Name": "web"})
        assert list(agent.json("GET", "/v1/agent/services")) == ["web"]
    finally:
        agent.stop()
