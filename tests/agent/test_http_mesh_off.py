"""What the API says while the mesh is off, and the proxy for metrics: real agents, real sockets."""

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.support.process import dev_agent

OFF = b"Connect must be enabled in order to use this endpoint"


def test_the_mesh_is_off(tmp_path: Path) -> None:
    with dev_agent(tmp_path, connect={"enabled": False}) as agent:
        for method, path, body in (
            ("GET", "/v1/connect/ca/roots", None),
            ("GET", "/v1/connect/ca/configuration", None),
            ("PUT", "/v1/connect/ca/configuration", {"Provider": "consul", "Config": {}}),
            ("GET", "/v1/agent/connect/ca/roots", None),
            ("GET", "/v1/agent/connect/ca/leaf/web", None),
            ("GET", "/v1/connect/intentions", None),
            ("PUT", "/v1/connect/intentions/exact?source=a&destination=b", {"Action": "allow"}),
            ("GET", "/v1/discovery-chain/web", None),
        ):
            assert agent.request(method, path, body) == (500, OFF), path
        assert agent.json("PUT", "/v1/config", {"Kind": "service-defaults", "Name": "web", "Protocol": "http"}) is True


class _Backend(http.server.BaseHTTPRequestHandler):
    seen: ClassVar[list[tuple[str, str]]] = []

    def do_GET(self) -> None:
        self.seen.append((self.path, self.headers.get("X-Extra", "")))
        body = json.dumps({"path": self.path}).encode()
        self.send_response(418 if "teapot" in self.path else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Theirs", "yes")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def backend() -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Backend)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()


def _agent_for(port: int, **more: Any) -> dict[str, Any]:
    proxy = {
        "base_url": f"http://127.0.0.1:{port}/prom/",
        "add_headers": [{"name": "X-Extra", "value": "added"}],
        **more,
    }
    return {"ui_config": {"enabled": True, "metrics_proxy": proxy}}


def test_metrics_are_passed_on(tmp_path: Path, backend: int) -> None:
    with dev_agent(tmp_path, **_agent_for(backend)) as agent:
        path = "/v1/internal/ui/metrics-proxy/api/v1/query?query=up%7Ba%3D%22b%22%7D&time=1"
        _Backend.seen.clear()
        assert agent.json("GET", path)["path"].startswith("/prom/api/v1/query?query=up%7Ba")
        assert [extra for _, extra in _Backend.seen] == ["added"]
        assert agent.request("GET", "/v1/internal/ui/metrics-proxy/teapot")[0] == 418
        status, text = agent.request("PUT", path, b"{}")
        assert (status, text) == (405, b"method PUT not allowed")


def test_only_allowed_paths(tmp_path: Path, backend: int) -> None:
    with dev_agent(tmp_path, **_agent_for(backend, path_allowlist=["/prom/yes"])) as agent:
        assert agent.request("GET", "/v1/internal/ui/metrics-proxy/yes")[0] == 200
        for path in ("no", "", "yes/..", "%2e%2e/x"):
            status, _ = agent.request("GET", f"/v1/internal/ui/metrics-proxy/{path}")
            assert status in (403, 301), path


def test_no_backend(tmp_path: Path) -> None:
    with dev_agent(tmp_path, **_agent_for(1)) as agent:
        assert agent.request("GET", "/v1/internal/ui/metrics-proxy/x") == (502, b"")
    with dev_agent(tmp_path / "none") as agent:
        assert agent.request("GET", "/v1/internal/ui/metrics-proxy/x")[0] == 404
