"""Settings that hold at every door of one agent: plain requests, those that aiohttp reads, HTTPS, unix sockets, RPC."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mesh.agent_ca import Wanted
from tests.support.certificates import Authority
from tests.support.process import Agent, dev_agent, free_ports

DOORS = ("plain", "aiohttp", "https", "unix")


class Doors:
    """One agent, and requests through each of its doors."""

    def __init__(self, agent: Agent, authority: Authority, path: Path) -> None:
        self.agent = agent
        self._context = authority.context({"ca_file": authority.ca}, False)
        self._path = path

    def _connection(self, door: str) -> http.client.HTTPConnection:
        if door == "https":
            return http.client.HTTPSConnection(
                "127.0.0.1", self.agent.ports["https"], timeout=60, context=self._context
            )
        connection = http.client.HTTPConnection("127.0.0.1", self.agent.ports["http"], timeout=60)
        if door == "unix":
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.connect(str(self._path))
        return connection

    def ask(self, door: str, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes, Any]:
        connection = self._connection(door)
        try:
            connection.request(method, path, body, {"Connection": "keep-alive, x"} if door == "aiohttp" else {})
            response = connection.getresponse()
            return response.status, response.read(), response.headers
        finally:
            connection.close()


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    folder = tmp_path_factory.mktemp("doors")
    authority, path = Authority(folder / "certificates"), folder / "http.sock"
    settings: dict[str, Any] = {
        "addresses": {"http": f"127.0.0.1 unix://{path}"},
        "ports": {"https": free_ports(1)[0]},
        "tls": {"https": authority.files("server", Wanted("server"))},
        "http_config": {
            "response_headers": {"X-Mine": "yes", "Access-Control-Allow-Origin": "*"},
            "block_endpoints": ["/v1/event", "/v1/kv/shut"],
            "allow_write_http_from": ["10.9.0.0/16"],
            "use_cache": False,
        },
        "limits": {"rpc_max_conns_per_client": 3, "rpc_handshake_timeout": "3s", "kv_max_value_size": 100},
    }
    with dev_agent(folder / "agent", **settings) as agent:
        yield Doors(agent, authority, path)


@pytest.mark.parametrize("door", DOORS)
def test_http_config_holds_at_every_door(doors: Doors, door: str) -> None:
    status, body, headers = doors.ask(door, "GET", "/v1/catalog/nodes")
    assert status == 200 and headers["X-Mine"] == "yes" and headers["Access-Control-Allow-Origin"] == "*"
    for path in ("/v1/event/list", "/v1/kv/shut/x"):
        status, body, headers = doors.ask(door, "GET", path)
        assert (status, body) == (403, b"Endpoint is blocked by agent configuration") and headers["X-Mine"] == "yes"
    _, _, headers = doors.ask(door, "GET", "/v1/health/service/consul?cached")
    assert "X-Cache" not in headers and "Age" not in headers
    status, body, _ = doors.ask(door, "PUT", f"/v1/kv/{door}", b"1")
    if door == "unix":  # Whoever may open the socket's file may write.
        assert (status, body) == (200, b"true")
        assert doors.ask(door, "PUT", f"/v1/kv/{door}", b"1" * 101)[0] == 413
    else:
        assert (status, body) == (403, b"Access is restricted")
    assert doors.ask(door, "GET", "/v1/status/leader")[0] == 200
    assert doors.ask(door, "GET", "/ui/")[2]["X-Mine"] == "yes"


def test_limits_of_the_servers_port_hold_and_change_with_a_reload(doors: Doors) -> None:
    agent = doors.agent
    address = ("127.0.0.1", agent.ports["server"])

    def is_served() -> bool:
        """Whether a new connection is taken: one that is not ends before its time for the first byte is over."""
        with socket.create_connection(address, timeout=60) as one:
            one.sendall(b"\x04" + bytes((0, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7)))  # A yamux session, and a ping.
            try:
                return bool(one.recv(100))
            except ConnectionError:
                return False

    held = []
    for _ in range(3):
        one = socket.create_connection(address, timeout=60)
        one.sendall(b"\x04")
        held.append(one)
    assert not is_served()
    settings = json.loads(agent.config.read_text())
    settings["limits"]["rpc_max_conns_per_client"] = 50
    agent.config.write_text(json.dumps(settings))
    assert doors.ask("unix", "PUT", "/v1/agent/reload")[0] == 200
    agent.until(is_served)
    for one in held:
        one.close()
    with socket.create_connection(address, timeout=60) as silent, contextlib.suppress(ConnectionError):
        assert silent.recv(1) == b""  # Not a word in three seconds.
