"""A real dev agent: unmodified clients, bad input on every door, restarts, refusals to start."""

import json
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from dnslib import DNSRecord

from tests.support.process import Agent, dev_agent, free_ports


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    with dev_agent(tmp_path_factory.mktemp("agent")) as running:
        yield running


def ask(agent: Agent, name: str, kind: str = "A", tcp: bool = False) -> DNSRecord:
    return DNSRecord.parse(DNSRecord.question(name, kind).send("127.0.0.1", agent.ports["dns"], tcp=tcp, timeout=60))


def test_py_consul_registers_discovers_and_watches(agent: Agent) -> None:
    consul = pytest.importorskip("consul")
    client = consul.Consul(port=agent.ports["http"])
    assert client.kv.put("py/a", "one", flags=7)
    index, entry = client.kv.get("py/a")
    assert entry["Value"] == b"one" and entry["Flags"] == 7
    seen: list[bytes] = []

    def watch() -> None:
        _, changed = client.kv.get("py/a", index=index, wait="5m")
        seen.append(changed["Value"])

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    time.sleep(0.2)
    client.kv.put("py/a", "two")
    watching.join(60)
    assert seen == [b"two"]

    client.agent.service.register("py-web", service_id="py-web-1", port=8123, tags=["v1"], check={"ttl": "30s"})
    client.agent.check.ttl_pass("service:py-web-1")
    agent.until(lambda: client.health.service("py-web", passing=True)[1])
    _, nodes = client.health.service("py-web", passing=True)
    assert nodes[0]["Service"]["Port"] == 8123
    assert "py-web" in client.catalog.services()[1]
    answer = ask(agent, "v1.py-web.service.consul", "SRV")
    assert answer.rr[0].rdata.port == 8123
    client.agent.check.ttl_fail("service:py-web-1")
    agent.until(lambda: ask(agent, "py-web.service.consul").header.rcode == 3)
    client.agent.service.deregister("py-web-1")
    agent.until(lambda: "py-web" not in client.catalog.services()[1])

    session = client.session.create("lock", ttl=10)
    assert client.kv.put("py/lock", "x", acquire=session)
    assert not client.kv.put("py/lock", "y", acquire=client.session.create("other"))
    assert client.session.destroy(session)
    assert "Session" not in client.kv.get("py/lock")[1]


def test_an_http_check_follows_its_service(agent: Agent) -> None:
    status = 200

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/"
    check = {"HTTP": url, "Interval": "100ms"}
    agent.json("PUT", "/v1/agent/service/register", {"Name": "checked", "Port": 1, "Check": check})

    def state() -> str:
        return str(agent.json("GET", "/v1/health/checks/checked")[0]["Status"])

    agent.until(lambda: state() == "passing")
    status = 429
    agent.until(lambda: state() == "warning")
    server.shutdown()
    server.server_close()
    agent.until(lambda: state() == "critical")
    agent.json("PUT", "/v1/agent/service/deregister/checked")


def test_dns_over_both_transports_and_bad_packets(agent: Agent) -> None:
    assert str(ask(agent, "node1.node.dc1.consul").rr[0].rdata) == "127.0.0.1"
    assert str(ask(agent, "node1.node.consul", tcp=True).rr[0].rdata) == "127.0.0.1"
    missing = ask(agent, "nothing.service.consul")
    assert missing.header.rcode == 3 and missing.auth
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for junk in (b"", b"\0" * 11, b"\xff" * 40, DNSRecord.question("consul.").pack()[:-3]):
            sock.sendto(junk, ("127.0.0.1", agent.ports["dns"]))
    assert ask(agent, "node1.node.consul").rr


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "text"),
    [
        ("PUT", "/v1/catalog/register", b"{bad", 400, "Request decode failed"),
        ("PUT", "/v1/catalog/register", b'{"Bogus": 1}', 400, "unknown field"),
        ("PUT", "/v1/agent/service/register", b"{}", 400, "Missing service name"),
        ("PUT", "/v1/kv/big", b"x" * (512 * 1024 + 1), 413, "too large, max size: 524288 bytes"),
        ("GET", "/v1/kv/a?index=-1", None, 400, "Invalid index"),
        ("GET", "/v1/kv/a?wait=soon", None, 400, "Invalid wait"),
        ("GET", "/v1/nothing", None, 404, "not a recognized"),
        ("POST", "/v1/status/leader", None, 405, "not allowed"),
        ("GET", "/v1/catalog/nodes?dc=mars", None, 500, "No path to datacenter"),
        ("PUT", "/v1/txn", b"[" * 5000 + b"]" * 5000, 400, "Failed to parse body"),
        ("PUT", "/v1/config", b'{"Kind": "nonsense", "Name": "x"}', 400, "invalid config entry kind"),
    ],
)
def test_bad_requests_are_named(agent: Agent, method: str, path: str, body: bytes, status: int, text: str) -> None:
    got, answer = agent.request(method, path, body)
    assert got == status and text in answer.decode(), answer
    assert agent.request("GET", "/v1/status/leader")[0] == 200


def test_a_client_that_says_nothing_harms_nobody(agent: Agent) -> None:
    idle = [socket.create_connection(("127.0.0.1", agent.ports["http"])) for _ in range(20)]
    for one in idle:
        one.sendall(b"PUT /v1/kv/slow HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nab")
    assert agent.request("GET", "/v1/status/leader")[0] == 200
    for one in idle:
        one.close()


def test_the_command_line(agent: Agent) -> None:
    assert agent.cli("kv", "put", "cli/a", "hello").stdout == "Success! Data written to: cli/a\n"
    assert agent.cli("kv", "get", "cli/a").stdout == "hello\n"
    assert agent.cli("kv", "get", "cli/none").returncode == 1
    assert "node1" in agent.cli("members").stdout
    assert "raft:" in agent.cli("info").stdout
    assert agent.cli("intention", "create", "-deny", "a", "b").returncode == 0
    assert agent.cli("intention", "check", "a", "b").returncode == 1
    assert agent.cli("intention", "delete", "a", "b").returncode == 0
    assert agent.cli("nosuch").returncode == 127
    assert agent.cli("kv", "get", "-h").stdout.startswith("Usage: lictor kv get")
    away = agent.cli("members", "-http-addr=127.0.0.1:1")
    assert away.returncode == 1 and "connection refused" in away.stderr


def durable(folder: Path, ports: dict[str, int] | None = None, **settings: object) -> Agent:
    base = {"data_dir": str(folder / "data"), "server": True, "bootstrap": True, **settings}
    if ports:
        base["ports"] = ports
    return Agent(folder, [], base)


def test_everything_survives_kill_9(tmp_path: Path) -> None:
    agent = durable(tmp_path)
    agent.start()
    agent.ready()
    agent.json("PUT", "/v1/kv/kept", b"yes")
    agent.json("PUT", "/v1/agent/service/register", {"Name": "kept", "Port": 9, "Check": {"TTL": "60s"}})
    agent.until(lambda: agent.json("GET", "/v1/catalog/service/kept"))
    agent.json("PUT", "/v1/connect/intentions/exact?source=a&destination=b", {"Action": "deny"})
    root = agent.json("GET", "/v1/connect/ca/roots")["ActiveRootID"]
    agent.stop(signal.SIGKILL)
    agent.start()
    agent.ready()
    assert agent.request("GET", "/v1/kv/kept?raw")[1] == b"yes"
    assert "kept" in agent.json("GET", "/v1/agent/services")
    assert agent.json("GET", "/v1/connect/intentions/check?source=a&destination=b") == {"Allowed": False}
    assert agent.json("GET", "/v1/connect/ca/roots")["ActiveRootID"] == root
    assert agent.stop() == 0


def refused(agent: Agent) -> str:
    agent.start()
    assert agent.process is not None
    assert agent.process.wait(60) == 1
    return agent.log.read_text()


def test_refusals_to_start_are_one_readable_line(tmp_path: Path, agent: Agent) -> None:
    taken = Agent(tmp_path / "port", ["-dev"], {"ports": {"http": agent.ports["http"]}})
    assert "address already in use" in refused(taken)

    first = durable(tmp_path / "dir")
    first.start()
    first.ready()
    second = Agent(tmp_path / "second", ["-server", "-bootstrap"], {"data_dir": str(tmp_path / "dir" / "data")})
    assert "is in use by another agent" in refused(second)
    first.stop()
    other = Agent(
        tmp_path / "other",
        ["-server", "-bootstrap"],
        {"data_dir": str(tmp_path / "dir" / "data"), "node_id": "11111111-2222-3333-4444-555555555555"},
    )
    assert "belongs to node" in refused(other)

    wal = next((tmp_path / "dir" / "data" / "raft" / "log").glob("*.wal"))
    damaged = bytearray(wal.read_bytes())
    damaged[60] ^= 0xFF
    wal.write_bytes(damaged)
    text = refused(durable(tmp_path / "dir"))
    assert wal.name in text and "damaged at offset" in text


def test_validate_and_bad_files(tmp_path: Path) -> None:
    import os
    import sys

    def validate(text: str, name: str = "a.json") -> subprocess.CompletedProcess[str]:
        (tmp_path / name).write_text(text)
        command = [sys.executable, "-m", "agent.cli.main", "validate", str(tmp_path / name)]
        return subprocess.run(command, capture_output=True, text=True, env=dict(os.environ), timeout=60, check=False)

    assert validate(json.dumps({"datacenter": "dc1", "data_dir": "/tmp/x"})).returncode == 0
    assert "data_dir cannot be empty" in validate("{}", "d.json").stderr
    unknown = validate(json.dumps({"datacentre": "dc1"}))
    assert unknown.returncode == 1 and "did you mean datacenter?" in unknown.stderr
    assert validate("{", "b.json").returncode == 1
    assert validate("a = = 1", "c.hcl").returncode == 1


def test_ports_are_free_again(tmp_path: Path) -> None:
    port = free_ports(1)[0]
    for _ in range(2):
        with dev_agent(tmp_path, ports={"http": port}) as running:
            assert running.request("GET", "/v1/status/leader")[0] == 200
