"""Checks of a real agent: kinds that need a counterpart, aliases of other nodes, what a kill and a restart leave."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.agent.checks.counterparts import grpc_server
from tests.support.process import Agent, dev_agent

SOON = {"Interval": "1s", "Timeout": "5s"}


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    with dev_agent(tmp_path_factory.mktemp("agent"), enable_script_checks=True) as running:
        yield running


@pytest.fixture(scope="module")
def grpc_address() -> Iterator[str]:
    """gRPC's own server, in a thread."""
    found: list[str] = []
    up, over = threading.Event(), threading.Event()

    async def serve() -> None:
        async with grpc_server({"": "SERVING", "db": "NOT_SERVING"}) as address:
            found.append(address)
            up.set()
            while not over.is_set():
                await asyncio.sleep(0.05)

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    assert up.wait(60)
    yield found[0]
    over.set()
    thread.join(60)


def shown(agent: Agent, check_id: str) -> tuple[str, str, str]:
    """A check's type, status and output."""
    row = agent.json("GET", "/v1/agent/checks")[check_id]
    return row["Type"], row["Status"], row["Output"]


def test_grpc_and_h2ping(agent: Agent, grpc_address: str) -> None:
    for check_id, fields in (
        ("well", {"GRPC": grpc_address}),
        ("ill", {"GRPC": f"{grpc_address}/db"}),
        ("ping", {"H2PING": grpc_address, "H2PingUseTLS": False}),
        ("secret", {"H2PING": grpc_address}),
    ):
        body = {"ID": check_id, "Name": check_id, **SOON, **fields, "Status": "warning"}
        agent.json("PUT", "/v1/agent/check/register", body)
    agent.until(lambda: shown(agent, "well") == ("grpc", "passing", f"gRPC check {grpc_address}: success"))
    unwell = ("grpc", "critical", "gRPC application didn't report service healthy")
    agent.until(lambda: shown(agent, "ill") == unwell)
    agent.until(lambda: shown(agent, "ping") == ("h2ping", "passing", "HTTP2 ping was successful"))
    agent.until(lambda: shown(agent, "secret")[:2] == ("h2ping", "critical"))
    rows = agent.json("GET", "/v1/health/state/passing?filter=CheckID==well")
    assert rows == [] or rows[0]["Output"].endswith("success")


def test_docker_and_os_services_run_where_there_is_neither(agent: Agent) -> None:
    docker = {"ID": "d", "Name": "d", **SOON, "DockerContainerID": "c", "Args": ["true"], "Status": "passing"}
    agent.json("PUT", "/v1/agent/check/register", docker)
    agent.json("PUT", "/v1/agent/check/register", {"ID": "o", "Name": "o", **SOON, "OSService": "no-such-unit"})
    agent.until(lambda: shown(agent, "d")[:2] == ("docker", "critical") and shown(agent, "d")[2])
    agent.until(lambda: shown(agent, "o")[2])
    assert shown(agent, "o")[0] == "os_service"


def test_an_alias_of_a_service_on_another_node(agent: Agent) -> None:
    def catalog(status: str) -> None:
        check = {"CheckID": "disk", "Name": "disk", "ServiceID": "db", "Status": status, "Output": status}
        body = {"Node": "far", "Address": "10.0.0.9", "Service": {"Service": "db"}, "Check": check}
        agent.json("PUT", "/v1/catalog/register", body)

    catalog("passing")
    body = {"ID": "al", "Name": "al", "AliasNode": "far", "AliasService": "db"}
    agent.json("PUT", "/v1/agent/check/register", body)
    agent.until(lambda: shown(agent, "al") == ("alias", "passing", "All checks passing."))
    catalog("critical")
    agent.until(lambda: shown(agent, "al") == ("alias", "critical", 'Aliased check "disk" failing: critical'))
    agent.json("PUT", "/v1/catalog/deregister", {"Node": "far", "ServiceID": "db"})
    agent.until(lambda: shown(agent, "al")[2] == "Service db could not be found on node far")
    agent.json("PUT", "/v1/catalog/deregister", {"Node": "far"})
    agent.until(lambda: shown(agent, "al")[2] == "Node far could not be found")


def test_a_kill_leaves_what_was_registered_and_said(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "server": True,
        "bootstrap": True,
        "data_dir": str(tmp_path / "data"),
        "performance": {"raft_multiplier": 1},
        "service": {"name": "in-file", "port": 1},
    }
    agent = Agent(tmp_path, [], settings)
    agent.start()
    try:
        agent.ready()
        checks = [{"CheckID": "told", "TTL": "1h"}, {"CheckID": "untold", "TTL": "1h", "Status": "passing"}]
        body = {"Name": "web", "ID": "w1", "Port": 80, "Checks": checks, "Connect": {"SidecarService": {}}}
        agent.json("PUT", "/v1/agent/service/register", body)
        agent.json("PUT", "/v1/agent/check/register", {"Name": "node-check", "TTL": "1h"})
        agent.json("PUT", "/v1/agent/check/pass/told?note=all%20is%20well")
        agent.json("PUT", "/v1/agent/check/warn/node-check?note=hm")
        agent.json("PUT", "/v1/agent/service/maintenance/in-file?enable=true&reason=tired")
        before = agent.json("GET", "/v1/agent/services")
        assert agent.stop(signal.SIGKILL) == -signal.SIGKILL
        agent.start()
        agent.ready()
        assert agent.json("GET", "/v1/agent/services") == before
        assert shown(agent, "told") == ("ttl", "passing", "all is well")
        assert shown(agent, "untold")[:2] == ("ttl", "critical")  # Nobody said how it is.
        assert shown(agent, "node-check") == ("ttl", "warning", "hm")
        assert agent.request("GET", "/v1/agent/health/service/id/in-file?format=text") == (503, b"maintenance")
        agent.json("PUT", "/v1/agent/service/deregister/w1")
        assert set(agent.json("GET", "/v1/agent/services")) == {"in-file"}  # The sidecar went along.
    finally:
        agent.stop()
