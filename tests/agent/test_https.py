"""HTTPS and unix sockets: real agents, real clients, certificates that change under open connections."""

from __future__ import annotations

import http.client
import http.server
import json
import os
import signal
import socket
import ssl
import stat
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mesh.agent_ca import Wanted
from tests.support.certificates import Authority
from tests.support.process import Agent, dev_agent, free_ports


class Secured:
    """A dev agent with HTTPS, and connections to it."""

    def __init__(self, agent: Agent, authority: Authority, files: dict[str, str]) -> None:
        self.agent = agent
        self.authority = authority
        self.port = agent.ports["https"]
        self.client = authority.context(files, False)

    def connect(self, context: ssl.SSLContext | None = None) -> http.client.HTTPSConnection:
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=60, context=context or self.client)
        connection.connect()
        return connection

    def shown(self) -> str:
        """The name in the certificate that a new connection is shown."""
        connection = self.connect()
        try:
            assert isinstance(connection.sock, ssl.SSLSocket)
            certificate = connection.sock.getpeercert() or {}
            return str(dict(pair[0] for pair in certificate["subject"])["commonName"])  # type: ignore[misc]
        finally:
            connection.close()


def ask(connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    connection.request(method, path, body)
    response = connection.getresponse()
    return response.status, response.read()


def _settings(files: dict[str, str], **https: Any) -> dict[str, Any]:
    return {"tls": {"defaults": files, "https": https}, "ports": {"https": free_ports(1)[0]}}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "certificates")


@pytest.fixture
def secured(tmp_path: Path, authority: Authority) -> Iterator[Secured]:
    files = authority.files("server", Wanted("server"))
    settings = _settings(files, verify_incoming=True)
    settings["http_config"] = {"response_headers": {"X-Mine": "yes"}, "block_endpoints": ["/v1/event"]}
    settings["limits"] = {"https_handshake_timeout": "3s", "http_max_conns_per_client": 8}
    with dev_agent(tmp_path / "agent", **settings) as agent:
        yield Secured(agent, authority, authority.files("cli", Wanted("cli")))


def test_https_answers_as_http_does(secured: Secured) -> None:
    connection = secured.connect()
    large = os.urandom(300_000)
    assert ask(connection, "PUT", "/v1/kv/large", large) == (200, b"true")
    assert ask(connection, "GET", "/v1/kv/large?raw") == (200, large)
    assert ask(connection, "GET", "/v1/event/list") == (403, b"Endpoint is blocked by agent configuration")
    connection.request("GET", "/v1/status/leader", headers={"Connection": "close"})
    response = connection.getresponse()
    assert response.status == 200 and response.headers["X-Mine"] == "yes"
    assert response.read() == secured.agent.request("GET", "/v1/status/leader")[1]


def test_a_client_without_a_certificate_is_refused(secured: Secured) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
        ask(secured.connect(secured.authority.context({"ca_file": secured.authority.ca}, False)), "GET", "/v1/kv/a")
    with pytest.raises(ConnectionError):
        plain = http.client.HTTPConnection("127.0.0.1", secured.port, timeout=60)
        ask(plain, "GET", "/v1/status/leader")
    assert ask(secured.connect(), "GET", "/v1/status/leader")[0] == 200


@pytest.mark.parametrize("way", ["signal", "api"])
def test_a_new_certificate_is_shown_and_open_connections_go_on(secured: Secured, way: str) -> None:
    held = secured.connect()
    assert ask(held, "GET", "/v1/status/leader")[0] == 200
    waiting = secured.connect()
    index = ask_index(held)
    waiting.request("GET", f"/v1/kv/woken?index={index}&wait=5m")
    assert secured.shown() == "server.dc1.consul"
    secured.authority.files("server", Wanted("server", datacenter="dc9"))
    _reload(secured.agent, way)
    secured.agent.until(lambda: secured.shown() == "server.dc9.consul")
    assert ask(held, "PUT", "/v1/kv/woken", b"1") == (200, b"true")
    response = waiting.getresponse()
    assert response.status == 200 and json.loads(response.read())[0]["Value"] == "MQ=="


def ask_index(connection: http.client.HTTPConnection) -> str:
    connection.request("GET", "/v1/kv/woken")
    response = connection.getresponse()
    response.read()
    return response.headers["X-Consul-Index"]


def _reload(agent: Agent, way: str) -> None:
    if way == "api":
        assert agent.request("PUT", "/v1/agent/reload")[0] == 200
    else:
        assert agent.process is not None
        agent.process.send_signal(signal.SIGHUP)


def test_a_reload_with_a_bad_certificate_changes_nothing_and_says_why(secured: Secured) -> None:
    Path(secured.authority.folder / "server.pem").write_text("no certificate")
    status, text = secured.agent.request("PUT", "/v1/agent/reload")
    assert status == 500 and b"tls." in text and b"cert_file" in text and b"server.pem" in text
    assert secured.shown() == "server.dc1.consul"


def test_a_port_without_a_certificate_opens_with_a_reload(tmp_path: Path, authority: Authority) -> None:
    with dev_agent(tmp_path / "agent", ports={"https": free_ports(1)[0]}) as agent:
        assert "nobody can connect before tls.https.cert_file" in agent.log.read_text()
        files = authority.files("server", Wanted("server"))
        secured = Secured(agent, authority, {"ca_file": authority.ca})
        with pytest.raises((ssl.SSLError, ConnectionError)):
            secured.connect()
        settings = json.loads(agent.config.read_text())
        agent.config.write_text(json.dumps({**settings, "tls": {"https": files}}))
        assert agent.request("PUT", "/v1/agent/reload")[0] == 200
        assert ask(secured.connect(), "GET", "/v1/status/leader")[0] == 200


def test_a_handshake_that_does_not_come_ends(secured: Secured) -> None:
    with socket.create_connection(("127.0.0.1", secured.port), timeout=60) as silent:
        silent.sendall(b"\x16\x03\x01")
        with pytest.raises(ConnectionError):
            while True:
                assert silent.recv(100) or _reset()
    secured.agent.until(lambda: "TLS handshake timed out" in secured.agent.log.read_text())


def _reset() -> bytes:
    raise ConnectionResetError


def test_too_many_connections_hear_429_also_over_https(secured: Secured) -> None:
    held = [secured.connect() for _ in range(8)]
    over = secured.connect()
    response_status, text = ask(over, "GET", "/v1/status/leader")
    assert response_status == 429
    assert text == b"Your IP is issuing too many concurrent connections, please rate limit your calls\n"
    assert secured.agent.cli("info", CONSUL_HTTP_ADDR=f"127.0.0.1:{secured.agent.ports['http']}").returncode == 1
    for connection in held:
        assert ask(connection, "GET", "/v1/status/leader")[0] == 200
        connection.close()
    secured.agent.until(lambda: ask(secured.connect(), "GET", "/v1/status/leader")[0] == 200)


def test_limits_change_with_a_reload(secured: Secured) -> None:
    settings = json.loads(secured.agent.config.read_text())
    settings["limits"]["http_max_conns_per_client"] = 2
    secured.agent.config.write_text(json.dumps(settings))
    assert secured.agent.request("PUT", "/v1/agent/reload")[0] == 200
    held = [secured.connect() for _ in range(2)]
    assert ask(secured.connect(), "GET", "/v1/status/leader")[0] == 429
    assert ask(held[0], "GET", "/v1/status/leader")[0] == 200


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (
            {"tls": {"https": {"cert_file": "/none.pem", "key_file": "/none"}}, "ports": {"https": 1}},
            "tls.https.cert_file: open /none.pem: no such file",
        ),
        ({"tls": {"internal_rpc": {"verify_outgoing": True}}}, "tls.internal_rpc.verify_outgoing: there is no CA"),
        ({"tls": {"internal_rpc": {"verify_incoming": True}}}, "tls.internal_rpc.verify_incoming"),
        ({"verify_outgoing": True, "ca_file": "/none.pem"}, "ca_file: open /none.pem: no such file"),
        ({"verify_outgoing": True, "ca_path": "/proc/none"}, "ca_path: open /proc/none: no such file"),
        ({"verify_outgoing": True, "ca_file": __file__}, "holds no PEM certificate"),
    ],
)
def test_an_agent_that_cannot_use_its_settings_says_which(tmp_path: Path, settings: Any, problem: str) -> None:
    agent = Agent(tmp_path, ["-dev"], settings)
    agent.start()
    assert agent.process is not None and agent.process.wait(60) == 1
    assert problem in agent.log.read_text()


def test_a_folder_of_authorities_is_trusted_file_by_file(tmp_path: Path) -> None:
    folder = tmp_path / "trusted"
    one, other = Authority(folder, "one"), Authority(tmp_path / "b", "two")
    (folder / "two.pem").write_text(Path(other.ca).read_text())
    files = one.files("server", Wanted("server"))
    (folder / "server-key.pem").rename(tmp_path / "server-key.pem")
    (folder / "one-key.pem").unlink()
    settings = _settings({"cert_file": files["cert_file"], "key_file": str(tmp_path / "server-key.pem")})
    settings["tls"]["https"] = {"ca_path": str(folder), "verify_incoming": True}
    with dev_agent(tmp_path / "agent", **settings) as agent:
        theirs = other.context({**other.files("cli", Wanted("cli")), "ca_file": one.ca}, False)
        connection = http.client.HTTPSConnection("127.0.0.1", agent.ports["https"], timeout=60, context=theirs)
        assert ask(connection, "GET", "/v1/status/leader")[0] == 200


def test_versions_and_cipher_suites_bound_what_is_spoken(tmp_path: Path, authority: Authority) -> None:
    files = authority.files("server", Wanted("server"))
    suite = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"
    settings = _settings(files, tls_cipher_suites=suite)
    with dev_agent(tmp_path / "agent", **settings) as agent:
        client = authority.context({"ca_file": authority.ca}, False)
        client.maximum_version = ssl.TLSVersion.TLSv1_2
        connection = http.client.HTTPSConnection("127.0.0.1", agent.ports["https"], timeout=60, context=client)
        connection.connect()
        assert isinstance(connection.sock, ssl.SSLSocket)
        assert (connection.sock.cipher() or ("",))[0] == "ECDHE-ECDSA-AES256-GCM-SHA384"
        client.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            http.client.HTTPSConnection("127.0.0.1", agent.ports["https"], timeout=60, context=client).connect()


@pytest.mark.parametrize("own", [True, False])
def test_checks_show_the_agents_certificate_where_they_may(tmp_path: Path, authority: Authority, own: bool) -> None:
    service = authority.context(authority.files("service", Wanted("client")), True)
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    server.socket = service.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    settings: dict[str, Any] = {
        "tls": {"defaults": authority.files("server", Wanted("server"))},
        "enable_agent_tls_for_checks": own,
        "server_name": "client.dc1.consul",
        "check": {"id": "c", "name": "c", "http": f"https://127.0.0.1:{server.server_port}/", "interval": "200ms"},
    }
    try:
        with dev_agent(tmp_path / "agent", **settings) as agent:
            row = agent.until(lambda: (one := agent.json("GET", "/v1/agent/checks")["c"])["Output"] and one)
            assert (row["Status"] == "passing") is own, row
            assert own or "certificate" in row["Output"]
    finally:
        server.shutdown()
        server.server_close()


# Unix sockets


def _over_unix(path: Path, method: str, target: str, body: bytes = b"") -> tuple[int, bytes]:
    with socket.socket(socket.AF_UNIX) as one:
        one.settimeout(60)
        one.connect(str(path))
        connection = http.client.HTTPConnection("localhost")
        connection.sock = one
        return ask(connection, method, target, body or None)


def test_unix_sockets_beside_an_address_with_owner_and_mode(tmp_path: Path) -> None:
    first, second = tmp_path / "one.sock", tmp_path / "two.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(first))  # Closed without being removed, as by a process that was killed.
    settings: dict[str, Any] = {
        "addresses": {"http": f"127.0.0.1 unix://{first} unix://{second}"},
        "unix_sockets": {"mode": "0640", "user": str(os.getuid()), "group": str(os.getgid())},
        "limits": {"http_max_conns_per_client": 2},
    }
    with dev_agent(tmp_path / "agent", **settings) as agent:
        assert stat.S_IMODE(first.stat().st_mode) == 0o640
        assert _over_unix(first, "PUT", "/v1/kv/a", b"1") == (200, b"true")
        assert _over_unix(second, "GET", "/v1/kv/a?raw") == (200, b"1")
        assert agent.request("GET", "/v1/kv/a?raw") == (200, b"1")
        shown = agent.cli("kv", "get", "a", CONSUL_HTTP_ADDR=f"unix://{second}")
        assert (shown.returncode, shown.stdout) == (0, "1\n")
        held = []
        for _ in range(6):  # Who has no address cannot be told from others, so there is no limit.
            one = socket.socket(socket.AF_UNIX)
            one.connect(str(first))
            held.append(one)
        assert _over_unix(first, "GET", "/v1/kv/a?raw") == (200, b"1")
        for one in held:
            one.close()
    assert not first.exists() and not second.exists()


def test_a_socket_in_use_and_a_file_that_is_none_are_left_alone(tmp_path: Path) -> None:
    taken, plain = tmp_path / "taken.sock", tmp_path / "plain"
    plain.write_text("precious")
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(taken))
        other.listen()
        for path, problem in ((taken, "address already in use"), (plain, "the file exists and is no socket")):
            agent = Agent(tmp_path / f"agent-{path.name}", ["-dev"], {"addresses": {"http": f"unix://{path}"}})
            agent.start()
            assert agent.process is not None and agent.process.wait(60) == 1
            assert problem in agent.log.read_text() and str(path) in agent.log.read_text()
    assert taken.exists() and plain.read_text() == "precious"


def test_watch_follows_over_a_unix_socket_and_https(tmp_path: Path, authority: Authority) -> None:
    path, seen = tmp_path / "http.sock", tmp_path / "seen"
    settings = _settings(authority.files("server", Wanted("server")))
    with dev_agent(tmp_path / "agent", addresses={"http": f"127.0.0.1 unix://{path}"}, **settings) as agent:
        for number, environment in enumerate(
            (
                {"CONSUL_HTTP_ADDR": f"unix://{path}"},
                {"CONSUL_HTTP_ADDR": f"https://localhost:{agent.ports['https']}", "CONSUL_CACERT": authority.ca},
            )
        ):
            words = ("watch", "-type=key", f"-key=k{number}", f"cat >> {seen}")
            command, env = agent.command(*words, **environment)
            process = subprocess.Popen(command, env=env)
            try:
                agent.until(seen.exists)
                agent.request("PUT", f"/v1/kv/k{number}", b"v")
                wanted = f'"Key":"k{number}"'
                agent.until(lambda wanted=wanted: wanted in seen.read_text())
            finally:
                process.terminate()
                process.wait(60)
