"""What the agent does because its configuration says so, asked of real processes."""

import http.client
import http.server
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.process import Agent


class _Backend(http.server.BaseHTTPRequestHandler):
    """Remembers requests and answers them."""

    seen: list[tuple[str, str, dict[str, str], bytes]]

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.seen.append((self.command, self.path, headers, self.rfile.read(length)))
        body = json.dumps({"path": self.path}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = _answer

    def log_message(self, *words: Any) -> None:
        """Say nothing."""


@contextmanager
def backend() -> Iterator[tuple[str, list[tuple[str, str, dict[str, str], bytes]]]]:
    """An HTTP server: its address, and the requests that it got."""
    handler = type("Handler", (_Backend,), {"seen": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", handler.seen
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def running(folder: Path, settings: dict[str, Any], *words: str) -> Iterator[Agent]:
    """A dev agent with settings."""
    agent = Agent(folder, ["-dev", *words], settings)
    agent.start()
    try:
        agent.ready()
        yield agent
    finally:
        agent.stop()


def test_watches_of_files_tell_scripts_and_addresses_and_are_reloaded(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with backend() as (url, seen):
        watches = [
            {"type": "key", "key": "a", "args": ["sh", "-c", f'(echo "$CONSUL_INDEX"; cat) >> {out}.key']},
            {"type": "services", "handler": f"cat >> {out}.services; exit 3"},
            {
                "type": "keyprefix",
                "prefix": "p/",
                "handler_type": "http",
                "http_handler_config": {"path": f"{url}/told?x=1", "method": "PUT", "header": {"X-A": ["b"]}},
            },
        ]
        with running(tmp_path / "agent", {"watches": watches}) as agent:
            agent.json("PUT", "/v1/kv/p/one", b"1")
            method, path, headers, body = agent.until(lambda: next((one for one in seen if b'"p/one"' in one[3]), None))
            assert (method, path, headers["x-a"]) == ("PUT", "/told?x=1", "b")
            assert int(headers["x-consul-index"]) > 0 and json.loads(body)[0]["Key"] == "p/one"
            agent.json("PUT", "/v1/kv/a", b"hello")
            text = agent.until(lambda: "aGVsbG8=" in (found := Path(f"{out}.key").read_text()) and found)
            assert text.splitlines()[0].isdigit()
            agent.json("PUT", "/v1/agent/service/register", {"Name": "web"})
            agent.until(lambda: '"web":[]' in Path(f"{out}.services").read_text())
            assert "exit status 3" in agent.until(
                lambda: agent.log.read_text() if "exit status 3" in agent.log.read_text() else ""
            )
            config = json.loads(agent.config.read_text())
            config["watches"] = [{"type": "key", "key": "b", "args": ["sh", "-c", f"cat >> {out}.b"]}]
            agent.config.write_text(json.dumps(config))
            assert agent.request("PUT", "/v1/agent/reload")[0] == 200
            before = Path(f"{out}.key").read_text()
            agent.json("PUT", "/v1/kv/a", b"again")
            agent.json("PUT", "/v1/kv/b", b"new")
            agent.until(lambda: "bmV3" in Path(f"{out}.b").read_text())
            assert Path(f"{out}.key").read_text() == before


def test_files_are_read_again_when_they_change(tmp_path: Path) -> None:
    with running(tmp_path, {"auto_reload_config": True}) as agent:
        config = json.loads(agent.config.read_text())
        agent.config.write_text(json.dumps({**config, "service": {"name": "web"}, "node_meta": {"rack": "7"}}))
        agent.until(lambda: "web" in agent.json("GET", "/v1/agent/services"))
        agent.until(lambda: (agent.json("GET", "/v1/catalog/nodes")[0]["Meta"] or {}).get("rack") == "7")
        agent.config.write_text("broken")
        agent.until(lambda: "Failed to reload config" in agent.log.read_text())
        assert "web" in agent.json("GET", "/v1/agent/services")


def test_pid_log_and_addresses(tmp_path: Path) -> None:
    settings = {
        "pid_file": f"{tmp_path}/run/agent.pid",
        "log_file": f"{tmp_path}/logs/",
        "advertise_addr_wan": "198.51.100.7",
        "translate_wan_addrs": True,
        "raft_snapshot_threshold": 100,
    }
    with running(tmp_path / "agent", settings) as agent:
        assert agent.process is not None
        assert (tmp_path / "run" / "agent.pid").read_text() == str(agent.process.pid)
        (log,) = (tmp_path / "logs").glob("consul-*.log")
        agent.until(lambda: "[INFO]" in log.read_text())
        agent.until(lambda: (agent.json("GET", "/v1/catalog/nodes")[0]["TaggedAddresses"] or {}).get("wan"))
        node = agent.json("GET", "/v1/catalog/nodes")[0]
        assert node["TaggedAddresses"]["wan"] == "198.51.100.7" and node["Address"] == "127.0.0.1"
        agent.stop()
        assert not (tmp_path / "run" / "agent.pid").exists()


def test_the_metrics_proxy_passes_on_what_it_may(tmp_path: Path) -> None:
    with backend() as (url, seen):
        proxy = {
            "base_url": f"{url}/prom",
            "path_allowlist": ["/prom/api/v1/query"],
            "add_headers": [{"name": "Authorization", "value": "Bearer secret"}],
        }
        with running(tmp_path, {"ui_config": {"enabled": True, "metrics_proxy": proxy}}) as agent:
            path = "/v1/internal/ui/metrics-proxy"
            assert (
                agent.json("GET", f"{path}/api/v1/query?query=up%7B%7D&x=1")["path"]
                == "/prom/api/v1/query?query=up%7B%7D&x=1"
            )
            assert seen[0][2]["authorization"] == "Bearer secret"
            assert agent.request("GET", f"{path}/api/v1/other")[0] == 403
            assert agent.request("GET", f"{path}/..%2f..%2fadmin")[0] in (301, 403)
            assert agent.request("POST", f"{path}/api/v1/query")[0] == 405
            assert len(seen) == 1
            assert "secret" not in agent.request("GET", "/v1/agent/self")[1].decode()


def test_another_ui_is_served_from_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "ui"
    folder.mkdir()
    (folder / "index.html").write_text("<h1>mine {{base}}</h1>")
    (tmp_path / "secret.txt").write_text("no")
    with running(tmp_path / "agent", {"ui_config": {"dir": str(folder), "content_path": "/my-ui/"}}) as agent:
        assert agent.request("GET", "/my-ui/services")[1] == b"<h1>mine {{base}}</h1>"
        assert agent.request("GET", "/my-ui/%2e%2e/secret.txt")[0] in (301, 404)
        assert agent.request("GET", "/ui/")[0] == 404


def test_a_server_that_was_away_for_too_long_stays_away(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "server_metadata.json").write_text(json.dumps({"last_seen_unix": int(time.time()) - 8 * 24 * 3600}))
    agent = Agent(tmp_path / "agent", ["-server", "-bootstrap-expect=1", f"-data-dir={data}"], {})
    agent.start()
    assert agent.process is not None and agent.process.wait(60) == 1
    assert "refusing to rejoin cluster" in agent.log.read_text()


def test_a_pid_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    agent = Agent(tmp_path, ["-dev"], {"pid_file": "/proc/nothing/agent.pid"})
    agent.start()
    assert agent.process is not None and agent.process.wait(60) == 1
    assert "could not create PID file" in agent.log.read_text()


def _headers(agent: Agent, path: str) -> dict[str, str]:
    connection = http.client.HTTPConnection("127.0.0.1", agent.ports["http"], timeout=60)
    connection.request("GET", path)
    response = connection.getresponse()
    response.read()
    connection.close()
    return {name.lower(): value for name, value in response.getheaders()}


def test_headers_tell_how_answers_were_made(tmp_path: Path) -> None:
    settings = {"discovery_max_stale": "10s", "use_streaming_backend": False, "translate_wan_addrs": True}
    with running(tmp_path, settings) as agent:
        assert _headers(agent, "/v1/catalog/nodes")["x-consul-effective-consistency"] == "stale"
        assert _headers(agent, "/v1/catalog/nodes?consistent")["x-consul-effective-consistency"] == "consistent"
        found = _headers(agent, "/v1/health/service/consul?index=1&wait=1s")
        assert found["x-consul-query-backend"] == "blocking-query"
        assert found["x-consul-translate-addresses"] == "true"
    with running(tmp_path / "other", {}) as agent:
        assert _headers(agent, "/v1/catalog/nodes")["x-consul-effective-consistency"] == "leader"
        found = _headers(agent, "/v1/health/service/consul?index=1&wait=1s")
        assert found["x-consul-query-backend"] == "streaming" and "x-consul-translate-addresses" not in found


def test_a_client_makes_no_more_calls_than_it_may(tmp_path: Path) -> None:
    server = Agent(tmp_path / "s", ["-server", "-bootstrap-expect=1", f"-data-dir={tmp_path}/s"], {"node_name": "s"})
    limits = {"rpc_rate": 0.01, "rpc_max_burst": 60}
    client = Agent(
        tmp_path / "c",
        [f"-data-dir={tmp_path}/c", f"-retry-join=127.0.0.1:{server.ports['serf_lan']}"],
        {"node_name": "c", "limits": limits},
    )
    server.start()
    try:
        # Every question is a call, also the ones of a test that waits: it waits for what the agents know themselves.
        server.ready()
        client.start()
        client.until(lambda: len(client.json("GET", "/v1/agent/members")) == 2)
        answers = [client.request("GET", "/v1/catalog/nodes") for _ in range(70)]
        assert answers[-1][0] == 429 and b"rate limit exceeded" in answers[-1][1]
    finally:
        if client.process is not None:
            client.stop()
        server.stop()
