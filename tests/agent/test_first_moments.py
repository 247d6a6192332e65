"""What holds from the moment on at which an agent's node is in the catalog."""

import contextlib
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from agent.early_ports import open_early
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


def test_whoever_is_answered_can_end_the_agent(tmp_path: Path) -> None:
    agent = Agent(tmp_path, [], {"server": True, "bootstrap": True, "data_dir": str(tmp_path / "data")})
    for _ in range(3):
        agent.start()
        agent.until(lambda: agent.request("GET", "/v1/status/leader"))
        assert agent.stop(signal.SIGTERM) == 0, agent.log.read_text()[-2000:]


def test_whoever_connects_early_is_answered_later(tmp_path: Path) -> None:
    agent = Agent(tmp_path, [], {"server": True, "bootstrap": True, "data_dir": str(tmp_path / "data")})
    agent.start()
    try:
        # The first connection that is not refused; the agent is not up yet, or just up.
        with agent.until(lambda: socket.create_connection(("127.0.0.1", agent.ports["http"]), 60)) as early:
            early.sendall(b"GET /v1/agent/self HTTP/1.1\r\nHost: x\r\n\r\n")
            assert early.recv(15) == b"HTTP/1.1 200 OK"
    finally:
        agent.stop()


def test_ports_that_cannot_be_opened_early_are_left_for_later() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = open_early(["127.0.0.1", "localhost", "unix:///tmp/x.sock", "192.0.2.1"], port)
        assert found == {}
    assert open_early(["127.0.0.1"], -1) == {}
    found = open_early(["127.0.0.1", "::1"], port)
    try:
        assert found.keys() >= {("127.0.0.1", port)}
        socket.create_connection(("127.0.0.1", port), 5).close()
    finally:
        for one in found.values():
            one.close()


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


def test_what_was_registered_is_there_when_the_first_door_opens(tmp_path: Path) -> None:
    """Found on a busy machine: a service that was registered in between was taken for a leftover, or put back."""
    others = " ".join(f"unix://{tmp_path}/{number}.sock" for number in range(20))  # To open all doors takes a moment.
    settings = {
        "server": True,
        "bootstrap": True,
        "data_dir": str(tmp_path / "data"),
        "addresses": {"http": f"127.0.0.1 {others}"},
    }
    agent = Agent(tmp_path, [], settings)
    agent.start()
    try:
        agent.ready()
        for port in range(1, 4):
            agent.json("PUT", "/v1/agent/service/register", {"Name": "kept", "ID": "kept", "Port": port})
            assert agent.stop(signal.SIGKILL) == -signal.SIGKILL
            agent.start()
            found: dict[str, Any] = {}
            while not found:
                with contextlib.suppress(OSError):
                    found = {"services": agent.json("GET", "/v1/agent/services")}
                assert agent.process is not None and agent.process.poll() is None
            assert found["services"]["kept"]["Port"] == port
    finally:
        agent.stop()
