"""A client agent that has nothing but the servers' authority gets its certificate from them, and keeps it up."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import re
import signal
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest

from mesh import certificates
from mesh.agent_ca import Wanted
from mesh.spiffe import ServiceIdentity
from model.errors import RpcError
from model.structs.base import Empty
from model.structs.connect import CASignRequest
from rpc.dialing import Dialer
from rpc.insecure import call_insecure
from rpc.pool import Pool
from rpc.security import Rules, Security
from tests.support.certificates import Authority
from tests.support.process import Agent, free_ports


class Pair:
    """A server that gives certificates, and a client that wants one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority(folder / "certificates")
        lan, self.rpc = free_ports(2)
        common: dict[str, Any] = {"performance": {"raft_multiplier": 1}}
        ports = {"serf_lan": lan, "server": self.rpc}
        self.server = Agent(
            folder / "s",
            [],
            {
                **common,
                "ports": dict(ports),
                "node_name": "s",
                "server": True,
                "bootstrap_expect": 1,
                "data_dir": str(folder / "s" / "data"),
                "tls": {
                    "internal_rpc": {
                        **self.authority.files("server", Wanted("server")),
                        "verify_incoming": True,
                        "verify_outgoing": True,
                        "verify_server_hostname": True,
                    }
                },
                "auto_encrypt": {"allow_tls": True},
            },
            host="127.0.44.1",
        )
        self.client = Agent(
            folder / "c",
            [],
            {
                **common,
                "ports": {**ports, "https": free_ports(1)[0]},
                "node_name": "c",
                "data_dir": str(folder / "c" / "data"),
                "retry_join": [f"127.0.44.1:{lan}"],
                "retry_interval": "200ms",
                "tls": {"defaults": {"ca_file": self.authority.ca, "verify_outgoing": True}},
                "auto_encrypt": {"tls": True, "dns_san": ["c.example"], "ip_san": ["127.0.44.2"]},
            },
            host="127.0.44.2",
        )

    @property
    def address(self) -> str:
        return f"127.0.44.1:{self.rpc}"

    def first_context(self) -> ssl.SSLContext:
        return self.authority.context({"ca_file": self.authority.ca}, False)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    found = Pair(tmp_path_factory.mktemp("auto"))
    try:
        found.client.start()  # It asks until there is a server.
        found.server.start()
        found.server.ready()
        found.client.ready()
        yield found
    finally:
        for agent in (found.server, found.client):
            if agent.process is not None:
                agent.stop(signal.SIGKILL)


def shown(pair: Pair) -> dict[str, Any]:
    """The certificate that the client agent shows on HTTPS, verified against the mesh's roots."""
    roots = pair.server.json("GET", "/v1/agent/connect/ca/roots")["Roots"]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata="".join(root["RootCert"] for root in roots))
    connection = http.client.HTTPSConnection("localhost", pair.client.ports["https"], timeout=60, context=context)
    try:
        connection.connect()
        assert isinstance(connection.sock, ssl.SSLSocket)
        connection.request("GET", "/v1/status/leader")
        assert connection.getresponse().status == 200
        return dict(connection.sock.getpeercert() or {})
    finally:
        connection.close()


@pytest.mark.slow
def test_a_client_works_with_the_certificate_that_it_was_given(pair: Pair) -> None:
    assert pair.client.request("PUT", "/v1/kv/a", b"1") == (200, b"true")
    assert pair.server.request("GET", "/v1/kv/a?raw") == (200, b"1")
    names = shown(pair)["subjectAltName"]
    assert ("DNS", "localhost") in names and ("DNS", "c.example") in names and ("IP Address", "127.0.44.2") in names
    uris = [value for kind, value in names if kind == "URI"]
    assert len(uris) == 1 and re.fullmatch(r"spiffe://[^/]+/agent/client/dc/dc1/id/c", uris[0])
    archive = pair.folder / "state.snap"
    assert pair.client.cli("snapshot", "save", str(archive)).returncode == 0


@pytest.mark.slow
def test_it_gets_another_when_the_authority_has_another_root(pair: Pair) -> None:
    before = shown(pair)["serialNumber"]
    key = certificates.key_pem(certificates.generate_key())
    new = {"Provider": "consul", "Config": {"PrivateKey": key, "LeafCertTTL": "72h", "IntermediateCertTTL": "8760h"}}
    assert pair.server.request("PUT", "/v1/connect/ca/configuration", new)[0] == 200
    pair.client.until(lambda: shown(pair)["serialNumber"] != before, 60)
    assert pair.client.request("PUT", "/v1/kv/b", b"1") == (200, b"true")
    pair.server.stop()  # New connections now: the server must believe the new root after its restart, too.
    pair.server.start()
    pair.server.ready()
    pair.client.until(lambda: pair.client.request("PUT", "/v1/kv/c", b"1") == (200, b"true"), 60)


@pytest.mark.slow
async def test_strangers_can_ask_for_a_certificate_and_for_nothing_else(pair: Pair) -> None:
    dialer, context = Dialer(), pair.first_context()
    with pytest.raises(RpcError, match="can't find method Status"):
        await call_insecure(dialer, pair.address, context, "Status.Ping", Empty(), 60)
    key = certificates.generate_key()
    service = certificates.make_request(key, ServiceIdentity("x.consul", "default", "dc1", "web"))
    for request, problem in ((service, "must be an agent ID"), ("nonsense", "no PEM-encoded data"), ("", "no PEM")):
        with pytest.raises(RpcError, match=problem):
            args = CASignRequest(csr=request, datacenter="dc1")
            await call_insecure(dialer, pair.address, context, "AutoEncrypt.Sign", args, 60)
    reader, writer = await dialer.dial_insecure(pair.address, context, 60)
    writer.write(msgpack.packb({"Seq": 1, "ServiceMethod": "AutoEncrypt.Sign"}) + msgpack.packb("x" * 200_000))
    with contextlib.suppress(ConnectionError):
        assert await asyncio.wait_for(reader.read(), 60) == b""
    writer.close()
    with pytest.raises(ConnectionError):
        await Pool(Dialer("", Security(Rules(dial=context)))).call(pair.address, "Status.Ping", Empty())


@pytest.mark.slow
async def test_a_service_of_the_mesh_is_no_agent(pair: Pair) -> None:
    pair.server.json("PUT", "/v1/agent/service/register", {"Name": "web", "Port": 1})
    leaf = pair.server.json("GET", "/v1/agent/connect/ca/leaf/web")
    folder = pair.folder / "leaf"
    folder.mkdir(exist_ok=True)
    (folder / "leaf.pem").write_text(leaf["CertPEM"])
    (folder / "leaf-key.pem").write_text(leaf["PrivateKeyPEM"])
    files = {
        "ca_file": pair.authority.ca,
        "cert_file": str(folder / "leaf.pem"),
        "key_file": str(folder / "leaf-key.pem"),
    }
    pool = Pool(Dialer("", Security(Rules(dial=pair.authority.context(files, False)))))
    with pytest.raises(ConnectionError):
        await pool.call(pair.address, "Status.Ping", Empty())
    await pool.close()
    pair.server.until(lambda: "its certificate is that of a service" in pair.server.log.read_text())


@pytest.mark.slow
def test_settings_that_contradict_each_other_are_named(tmp_path: Path) -> None:
    for number, (settings, problem) in enumerate(
        (
            ({"auto_encrypt": {"tls": True}, "server": True}, "auto_encrypt.tls: a server has certificates"),
            ({"auto_encrypt": {"allow_tls": True}}, "auto_encrypt.allow_tls: only servers"),
            ({"auto_encrypt": {"allow_tls": True}, "server": True}, "auto_encrypt.allow_tls: clients trust"),
            ({"auto_encrypt": {"tls": True, "ip_san": ["x"]}}, "auto_encrypt.ip_san: 'x' is no IP address"),
        )
    ):
        folder = tmp_path / str(number)
        agent = Agent(folder, [], {"data_dir": str(folder / "data"), **settings})
        agent.start()
        assert agent.process is not None and agent.process.wait(60) == 1
        assert problem in agent.log.read_text()
