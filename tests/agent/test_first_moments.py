"""What holds from the moment on at which an agent's node is in the catalog."""

import signal
import socket
from pathlib import Path

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
