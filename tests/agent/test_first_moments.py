"""What holds from the moment on at which an agent's node is in the catalog."""

import contextlib
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.support.process import Agent


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
