"""`lictor tls`, and commands that speak HTTPS: everything that an operator needs for TLS, without another tool."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from tests.support.process import Agent, dev_agent, free_ports


def lictor(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "agent.cli.main", *words]
    env = {**os.environ, "PYTHONPATH": os.getcwd()}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False)


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def names(path: Path) -> tuple[list[str], list[str]]:
    found = certificate(path).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = [str(one) for one in found.get_values_for_type(x509.IPAddress)]
    return found.get_values_for_type(x509.DNSName), addresses


def test_authority_and_certificates_have_the_names_of_consuls(tmp_path: Path) -> None:
    made = lictor(tmp_path, "tls", "ca", "create")
    assert (made.returncode, made.stdout) == (
        0,
        "==> Saved consul-agent-ca.pem\n==> Saved consul-agent-ca-key.pem\n",
    )
    assert stat.S_IMODE((tmp_path / "consul-agent-ca-key.pem").stat().st_mode) == 0o600
    again = lictor(tmp_path, "tls", "ca", "create")
    assert (again.returncode, again.stderr) == (1, "consul-agent-ca.pem already exists.\n")
    server = lictor(tmp_path, "tls", "cert", "create", "-server", "-node=s1", "-additional-dnsname=a.example")
    assert server.returncode == 0 and server.stdout.startswith("==> WARNING: Server Certificates grants authority")
    assert server.stdout.endswith(
        "==> Using consul-agent-ca.pem and consul-agent-ca-key.pem\n"
        "==> Saved dc1-server-consul-0.pem\n==> Saved dc1-server-consul-0-key.pem\n"
    )
    dns = ["s1.server.dc1.consul", "server.dc1.consul", "a.example", "localhost"]
    assert names(tmp_path / "dc1-server-consul-0.pem") == (dns, ["127.0.0.1"])
    assert lictor(tmp_path, "tls", "cert", "create", "-server").returncode == 0
    assert (tmp_path / "dc1-server-consul-1.pem").exists()
    client = lictor(tmp_path, "tls", "cert", "create", "-client", "-dc=dc2", "-additional-ipaddress=10.0.0.1")
    assert client.stdout.endswith("==> Saved dc2-client-consul-0.pem\n==> Saved dc2-client-consul-0-key.pem\n")
    expected = (["client.dc2.consul", "localhost"], ["10.0.0.1", "127.0.0.1"])
    assert names(tmp_path / "dc2-client-consul-0.pem") == expected
    assert lictor(tmp_path, "tls", "cert", "create", "-cli").returncode == 0
    assert names(tmp_path / "dc1-cli-consul-0.pem") == (["cli.dc1.consul", "localhost"], [])
    issued = certificate(tmp_path / "dc1-cli-consul-0.pem")
    issued.verify_directly_issued_by(certificate(tmp_path / "consul-agent-ca.pem"))
    assert 364 < (issued.not_valid_after_utc - issued.not_valid_before_utc).total_seconds() / 86400 < 366
    if shutil.which("openssl"):
        checked = subprocess.run(
            ["openssl", "verify", "-purpose", "sslserver", "-CAfile", "consul-agent-ca.pem", "dc1-server-consul-0.pem"],
            cwd=tmp_path,
            capture_output=True,
            check=False,
        )
        assert checked.returncode == 0, checked


def test_a_constrained_authority_signs_only_for_its_domains(tmp_path: Path) -> None:
    words = ("-name-constraint", "-domain=example.com", "-additional-name-constraint=b.example", "-days=10")
    assert lictor(tmp_path, "tls", "ca", "create", *words, "-cluster-id=abc", "-common-name=Mine").returncode == 0
    found = certificate(tmp_path / "example.com-agent-ca.pem")
    assert found.subject.rfc4514_string() == "CN=Mine"
    create = ("tls", "cert", "create", "-server", "-domain=example.com")
    assert lictor(tmp_path, *create, "-additional-dnsname=x.b.example").returncode == 0
    refused = lictor(tmp_path, *create, "-additional-dnsname=other.example")
    assert refused.returncode == 1 and "the CA may not sign this certificate" in refused.stderr
    assert not (tmp_path / "dc1-server-example.com-1.pem").exists()


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("cert", "create"), "Please provide either -server, -client, or -cli"),
        (("cert", "create", "-server", "-cli"), "Please provide either -server, -client, or -cli"),
        (("cert", "create", "-client", "-node=a"), "-node requires -server"),
        (("cert", "create", "-server", "-ca=none.pem"), "Error reading CA: "),
        (("cert", "create", "-server", "-dc=../x"), "-dc=../x: it must be"),
        (("cert", "create", "-server", "-additional-ipaddress=x"), "'x' is no IP address"),
        (("cert", "create", "-server", "-days=0"), "days must be between"),
        (("cert", "create", "-server", "-key=consul-agent-ca.pem"), "no PEM-encoded data found"),
        (("ca", "create", "extra"), "Unexpected argument: extra"),
        (("ca", "create", "-additional-name-constraint=a"), "-additional-name-constraint has no effect without"),
    ],
)
def test_wrong_usage_is_told_and_nothing_is_written(tmp_path: Path, words: tuple[str, ...], problem: str) -> None:
    if words[0] == "cert":
        assert lictor(tmp_path, "tls", "ca", "create").returncode == 0
    before = sorted(path.name for path in tmp_path.iterdir())
    result = lictor(tmp_path, "tls", *words)
    assert result.returncode == 1 and problem in result.stderr, result
    assert sorted(path.name for path in tmp_path.iterdir()) == before


class Secured:
    """A dev agent that takes HTTPS only from clients with certificates; all were made by `lictor tls`."""

    def __init__(self, folder: Path, agent: Agent) -> None:
        self.folder = folder
        self.agent = agent
        self.address = f"https://127.0.0.1:{agent.ports['https']}"

    def environment(self, **more: str) -> dict[str, str]:
        return {
            "CONSUL_HTTP_ADDR": self.address,
            "CONSUL_CACERT": str(self.folder / "consul-agent-ca.pem"),
            "CONSUL_CLIENT_CERT": str(self.folder / "dc1-cli-consul-0.pem"),
            "CONSUL_CLIENT_KEY": str(self.folder / "dc1-cli-consul-0-key.pem"),
            **more,
        }

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return self.agent.cli(*words, **self.environment(**environment))


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("tls")
    for words in (("ca", "create"), ("cert", "create", "-server"), ("cert", "create", "-cli")):
        assert lictor(folder, "tls", *words).returncode == 0
    tls = {
        "defaults": {
            "ca_file": str(folder / "consul-agent-ca.pem"),
            "cert_file": str(folder / "dc1-server-consul-0.pem"),
            "key_file": str(folder / "dc1-server-consul-0-key.pem"),
            "verify_incoming": True,
            "verify_outgoing": True,
        },
        "internal_rpc": {"verify_server_hostname": True},
    }
    web = {"name": "web", "port": 1, "connect": {"sidecar_service": {"port": free_ports(1)[0]}}}
    with dev_agent(folder / "agent", tls=tls, ports={"https": free_ports(1)[0]}, service=web) as agent:
        yield Secured(folder, agent)


def test_commands_take_tls_from_the_environment_and_from_flags(secured: Secured) -> None:
    assert secured.run("kv", "put", "a", "1").stdout == "Success! Data written to: a\n"
    folder = secured.folder
    flags = (
        f"-http-addr={secured.address}",
        f"-ca-file={folder / 'consul-agent-ca.pem'}",
        f"-client-cert={folder / 'dc1-cli-consul-0.pem'}",
        f"-client-key={folder / 'dc1-cli-consul-0-key.pem'}",
    )
    assert secured.agent.cli("kv", "get", *flags, "a").stdout == "1\n"
    without = secured.environment(CONSUL_HTTP_ADDR=secured.address.removeprefix("https://"), CONSUL_HTTP_SSL="true")
    assert secured.agent.cli("kv", "get", "a", **without).stdout == "1\n"
    trusted = folder / "trusted"
    trusted.mkdir(exist_ok=True)
    shutil.copy(folder / "consul-agent-ca.pem", trusted / "any-name")
    assert secured.run("kv", "get", "a", CONSUL_CACERT="", CONSUL_CAPATH=str(trusted)).stdout == "1\n"
    assert secured.run("kv", "get", f"-ca-path={trusted}", "a", CONSUL_CACERT="").stdout == "1\n"


def test_the_agents_name_is_verified_and_may_be_said(secured: Secured) -> None:
    assert secured.run("catalog", "nodes", "-tls-server-name=server.dc1.consul").returncode == 0
    assert secured.run("members", CONSUL_TLS_SERVER_NAME="server.dc1.consul").returncode == 0
    wrong = secured.run("members", CONSUL_TLS_SERVER_NAME="server.dc2.consul")
    assert wrong.returncode == 1 and "tls: failed to verify certificate: Hostname mismatch" in wrong.stderr
    assert secured.run("members", "-tls-server-name=server.dc2.consul", CONSUL_HTTP_SSL_VERIFY="false").returncode == 0


def test_what_cannot_work_says_why(secured: Secured) -> None:
    untrusted = secured.run("members", CONSUL_CACERT="")
    assert untrusted.returncode == 1 and "tls: failed to verify certificate: " in untrusted.stderr
    assert secured.run("members", CONSUL_CACERT="", CONSUL_HTTP_SSL_VERIFY="0").returncode == 0
    for environment, problem in (
        ({"CONSUL_CLIENT_KEY": ""}, "both client cert and client key must be provided"),
        ({"CONSUL_CACERT": "/none.pem"}, "Error loading CA File: open /none.pem: no such file or directory"),
        ({"CONSUL_CACERT": __file__}, "holds no PEM certificate"),
        ({"CONSUL_CACERT": "", "CONSUL_CAPATH": "/none"}, "Error loading CA path: open /none: no such file"),
        ({"CONSUL_CLIENT_CERT": __file__}, "Error loading client certificate"),
    ):
        result = secured.run("members", **environment)
        assert result.returncode == 1 and problem in result.stderr, result
    nobody = secured.run("members", CONSUL_CLIENT_CERT="", CONSUL_CLIENT_KEY="")
    assert nobody.returncode == 1 and "Traceback" not in nobody.stderr, nobody
    plain = secured.agent.cli("members", CONSUL_HTTP_ADDR=f"http://127.0.0.1:{secured.agent.ports['https']}")
    assert plain.returncode == 1 and "Traceback" not in plain.stderr, plain


@pytest.mark.parametrize("way", ["https", "unix"])
def test_the_proxy_gets_its_state_over_https_and_unix_sockets(secured: Secured, tmp_path: Path, way: str) -> None:
    if way == "unix":
        path = tmp_path / "http.sock"
        web = {"name": "web", "port": 1, "connect": {"sidecar_service": {"port": free_ports(1)[0]}}}
        with dev_agent(tmp_path / "a", addresses={"http": f"127.0.0.1 unix://{path}"}, service=web) as agent:
            _proxy_listens(agent, {"CONSUL_HTTP_ADDR": f"unix://{path}"})
    else:
        _proxy_listens(secured.agent, secured.environment())


def _proxy_listens(agent: Agent, environment: dict[str, str]) -> None:
    settings = json.loads(agent.config.read_text())
    port = settings["service"]["connect"]["sidecar_service"]["port"]
    command, env = agent.command("connect", "proxy", "-sidecar-for=web", **environment)
    log = agent.folder / "proxy.log"
    with log.open("w") as output:
        process = subprocess.Popen(command, env=env, stdout=output, stderr=subprocess.STDOUT)
    try:
        agent.until(lambda: _connects(port), 30)
    except AssertionError:
        raise AssertionError(log.read_text()) from None
    finally:
        process.terminate()
        process.wait(60)


def _connects(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=60):
        return True
