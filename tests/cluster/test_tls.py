"""Three real servers and a client that go from plain to mutual TLS while they run; who has no certificate stays out."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from mesh.agent_ca import Wanted
from tests.support.certificates import Authority
from tests.support.process import Agent, free_ports

PLAIN: dict[str, Any] = {}
OUTGOING = {"verify_outgoing": True}
MUTUAL = {"verify_outgoing": True, "verify_incoming": True, "verify_server_hostname": True}


class TlsCluster:
    """Servers s0, s1, s2 and a client c, each with a certificate for its role."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority(folder / "certificates")
        self._lan, self._rpc = free_ports(2)
        self.servers = [self.agent(f"s{n}", f"127.0.43.{n + 1}", "server") for n in range(3)]
        self.client = self.agent("c", "127.0.43.9", "client")
        self.all = [*self.servers, self.client]

    def agent(self, name: str, host: str, role: Any, authority: Authority | None = None) -> Agent:
        files = (authority or self.authority).files(name, Wanted(role))
        settings: dict[str, Any] = {
            "node_name": name,
            "data_dir": str(self.folder / name / "data"),
            "retry_join": [f"127.0.43.1:{self._lan}", f"127.0.43.2:{self._lan}"],
            "retry_interval": "200ms",
            "autopilot": {"cleanup_dead_servers": False},
            "ports": {"serf_lan": self._lan, "server": self._rpc},
            "tls": {"internal_rpc": files},
        }
        if role == "server":
            settings |= {"server": True, "bootstrap_expect": 3}
        return Agent(self.folder / name, [], settings, host=host)

    def set_rules(self, rules: dict[str, Any], *agents: Agent) -> None:
        for agent in agents or self.all:
            settings = json.loads(agent.config.read_text())
            kept = {key: settings["tls"]["internal_rpc"][key] for key in ("ca_file", "cert_file", "key_file")}
            settings["tls"]["internal_rpc"] = {**kept, **rules}
            agent.config.write_text(json.dumps(settings))
            if agent.process is not None:
                assert agent.request("PUT", "/v1/agent/reload") == (200, b""), agent.log.read_text()[-2000:]

    def start(self) -> None:
        for agent in self.all:
            agent.start()
        for agent in self.all:
            agent.ready()

    def stop(self) -> None:
        for agent in self.all:
            if agent.process is not None:
                agent.stop(signal.SIGKILL)

    def works(self, value: str, *agents: Agent) -> None:
        """A write through each agent is soon seen through each."""
        agents = agents or tuple(self.all)
        for agent in agents:
            key = f"/v1/kv/{value}/{agent.folder.name}"
            agent.until(lambda agent=agent, key=key: agent.request("PUT", key, value.encode()) == (200, b"true"), 60)
            for other in agents:
                other.until(lambda other=other, key=key: other.request("GET", f"{key}?raw")[1] == value.encode())

    def hears(self, agent: Agent, words: bytes) -> bytes:
        """What the server port says to words in clear: nothing, in the end."""
        with socket.create_connection((agent.host, self._rpc), timeout=60) as one:
            try:
                one.sendall(words)
                return one.recv(100)
            except ConnectionError:
                return b""

    def kill_leader(self) -> Agent:
        leader = self.client.json("GET", "/v1/status/leader").rpartition(":")[0]
        victim = next(server for server in self.servers if server.host == leader)
        victim.stop(signal.SIGKILL)
        return victim


# A yamux session that opens a stream; a server that takes it answers with an acknowledgement.
OPEN_STREAM = b"\x04" + bytes((0, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0))


@pytest.mark.slow
def test_a_cluster_turns_tls_on_step_by_step_and_keeps_strangers_out(tmp_path: Path) -> None:
    cluster = TlsCluster(tmp_path)
    try:
        cluster.set_rules(PLAIN)
        cluster.start()
        cluster.works("plain")
        cluster.set_rules(OUTGOING)
        cluster.works("outgoing")
        assert cluster.hears(cluster.servers[0], OPEN_STREAM) != b""  # Clients that are not ready yet are still served.
        cluster.set_rules(MUTUAL)
        victim = cluster.kill_leader()  # The others need new connections now, Raft's among them.
        rest = [agent for agent in cluster.all if agent is not victim]
        cluster.works("mutual", *rest)
        victim.start()
        victim.ready()
        cluster.works("again")
        for words in (OPEN_STREAM, b"\x01LICTRAFT", b"\x00", b"\x05\x80", b"\x07"):
            for server in cluster.servers:
                assert cluster.hears(server, words) == b""
        _archives_go_through(cluster)
        _strangers_stay_out(cluster)
    finally:
        cluster.stop()


def _archives_go_through(cluster: TlsCluster) -> None:
    """A snapshot request ends one direction of its connection, which TLS must carry, too."""
    archive = cluster.folder / "state.snap"
    saved = cluster.client.cli("snapshot", "save", str(archive))
    assert saved.returncode == 0, saved
    assert cluster.client.request("PUT", "/v1/kv/after", b"1") == (200, b"true")
    restored = cluster.client.cli("snapshot", "restore", str(archive))
    assert restored.returncode == 0, restored
    cluster.client.until(lambda: cluster.client.request("GET", "/v1/kv/after")[0] == 404)
    cluster.works("restored")


def _strangers_stay_out(cluster: TlsCluster) -> None:
    stranger = cluster.agent("x", "127.0.43.8", "client", Authority(cluster.folder / "other"))
    cluster.all.append(stranger)
    settings = json.loads(stranger.config.read_text())
    settings["tls"]["internal_rpc"] |= {"ca_file": cluster.authority.ca, "verify_outgoing": True}
    stranger.config.write_text(json.dumps(settings))
    stranger.start()
    stranger.until(lambda: len(stranger.json("GET", "/v1/agent/members")) == 5)  # Gossip is another matter.
    status, text = stranger.request("GET", "/v1/catalog/nodes", seconds=60)
    assert status == 500, text
    # A certificate of a client does not make a server.
    pretender = cluster.agent("p", "127.0.43.7", "client")
    cluster.all.append(pretender)
    settings = json.loads(pretender.config.read_text())
    settings |= {"server": True}
    settings["tls"]["internal_rpc"] |= MUTUAL
    pretender.config.write_text(json.dumps(settings))
    pretender.start()
    leader = next(
        one for one in cluster.servers if one.host == cluster.client.json("GET", "/v1/status/leader").rpartition(":")[0]
    )
    leader.until(lambda: any(row["Name"] == "p" for row in leader.json("GET", "/v1/agent/members")))
    cluster.works("unimpressed", *cluster.servers, cluster.client)
    assert pretender.request("GET", "/v1/kv/unimpressed/s0?stale")[0] != 200
