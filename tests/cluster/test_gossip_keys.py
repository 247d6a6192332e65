"""Encrypted gossip between real agents: keys change while clients write; strangers stay out and learn why."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.process import Agent, free_ports

OLD, NEW = "pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s=", "c29tZSBrZXkgdGhhdCBpcyAzMiBieXRlcyBsb25nISE="
OTHER = "AAECAwQFBgcICQoLDA0ODw=="
NO_KEY_FITS = "No installed keys could decrypt the message"


class Cluster:
    """Three servers and a client, each on an address of its own."""

    def __init__(self, folder: Path, net: int, **settings: Any) -> None:
        self.folder, self.net = folder, net
        self.lan, self.wan, self.server = free_ports(3)
        self.agents = [self.agent(f"n{number}", number, **settings) for number in (1, 2, 3, 4)]

    def agent(self, name: str, number: int, **settings: Any) -> Agent:
        """An agent that is not started yet; numbers up to 3 are servers."""
        base: dict[str, Any] = {
            "node_name": name,
            "data_dir": str(self.folder / name / "data"),
            "retry_join": [f"127.0.{self.net}.{one}:{self.lan}" for one in (1, 2)],
            "retry_interval": "300ms",
            "gossip_lan": {"gossip_interval": "50ms", "probe_interval": "500ms", "probe_timeout": "400ms"},
            "gossip_wan": {"gossip_interval": "50ms", "probe_interval": "500ms", "probe_timeout": "400ms"},
            "leave_on_terminate": False,
            "ports": {"serf_lan": self.lan, "server": self.server, "serf_wan": self.wan},
            **({"server": True, "bootstrap_expect": 3} if number <= 3 else {}),
            **settings,
        }
        return Agent(self.folder / name, [], base, host=f"127.0.{self.net}.{number}")

    def start(self) -> None:
        """Start all and wait until all see each other."""
        for agent in self.agents:
            agent.start()
        for agent in self.agents:
            agent.ready()
            agent.until(lambda agent=agent: self.alive(agent) == {"n1", "n2", "n3", "n4"})
        first = self.agents[0]
        first.until(lambda: len(alive(first, "?wan=1")) == 3)

    def alive(self, agent: Agent) -> set[str]:
        """Whom an agent sees alive."""
        return alive(agent)

    def replace(self, number: int, **settings: Any) -> None:
        """Restart an agent with other settings and the same data."""
        was = self.agents[number]
        was.stop()
        now = self.agents[number] = self.agent(f"n{number + 1}", number + 1, **settings)
        now.ports.update(was.ports)
        config = json.loads(now.config.read_text())
        config["ports"].update(was.ports)
        now.config.write_text(json.dumps(config))
        now.start()
        now.ready()
        for agent in self.agents:
            agent.until(lambda agent=agent: self.alive(agent) == {"n1", "n2", "n3", "n4"}, 60)


def alive(agent: Agent, query: str = "") -> set[str]:
    return {one["Name"] for one in agent.json("GET", f"/v1/agent/members{query}") if one["Status"] == 1}


@contextmanager
def running(cluster: Cluster) -> Iterator[Cluster]:
    try:
        cluster.start()
        yield cluster
    finally:
        for agent in cluster.agents:
            if agent.process is not None:
                agent.stop(9)


class Writer:
    """Writes and reads back through every agent in turn; what fails is tried on the next one for a while."""

    def __init__(self, cluster: Cluster) -> None:
        self.rounds, self.repeated = 0, 0
        self._cluster = cluster
        self._stopping = threading.Event()
        self._problem: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(60)

    def wait_for(self, rounds: int = 10) -> None:
        """Wait for that many more rounds. Raises what went wrong."""
        wanted, deadline = self.rounds + rounds, time.monotonic() + 60
        while self.rounds < wanted:
            if self._problem is not None:
                raise self._problem
            assert time.monotonic() < deadline, "the clients do not get on"
            time.sleep(0.02)

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                value = b"%d" % self.rounds
                self._until_done("PUT", "/v1/kv/steady", value, b"true")
                self._until_done("GET", "/v1/kv/steady?raw&consistent", None, value)
                self.rounds += 1
                time.sleep(0.01)
        except BaseException as error:
            self._problem = error

    def _until_done(self, method: str, path: str, body: bytes | None, wanted: bytes) -> None:
        deadline, tries = time.monotonic() + 60, 0
        while True:
            agents = self._cluster.agents
            try:
                status, answer = agents[(self.rounds + tries) % len(agents)].request(method, path, body)
                if status == 200:
                    assert answer == wanted, (method, answer, wanted)
                    return
            except OSError:
                pass
            tries += 1
            self.repeated += 1
            assert time.monotonic() < deadline, f"{method} {path} failed for too long"
            time.sleep(0.05)


def keys(agent: Agent) -> dict[str, tuple[dict[str, int], dict[str, int], int]]:
    """Of each pool: on how many members each key is, and each primary key, and how many members there are."""
    rows = agent.json("GET", "/v1/operator/keyring")
    return {
        "wan" if row["WAN"] else row["Datacenter"]: (row["Keys"], row["PrimaryKeys"], row["NumNodes"]) for row in rows
    }


@pytest.mark.slow
def test_keys_rotate_while_clients_write_and_survive_restarts(tmp_path: Path) -> None:
    with running(Cluster(tmp_path, 51, encrypt=OLD)) as cluster, Writer(cluster) as writer:
        first, second, third, client = cluster.agents
        assert keys(first) == {"wan": ({OLD: 3}, {OLD: 3}, 3), "dc1": ({OLD: 4}, {OLD: 4}, 4)}
        for agent, word, key, said in (
            (client, "-install", NEW, "==> Installing new gossip encryption key...\n"),
            (first, "-use", NEW, "==> Changing primary gossip encryption key...\n"),
            (second, "-remove", OLD, "==> Removing gossip encryption key...\n"),
        ):
            writer.wait_for()
            done = agent.cli("keyring", f"{word}={key}", "-relay-factor=1")
            assert (done.returncode, done.stdout) == (0, said), done.stderr
            writer.wait_for()
        assert keys(third) == {"wan": ({NEW: 3}, {NEW: 3}, 3), "dc1": ({NEW: 4}, {NEW: 4}, 4)}
        listed = first.cli("keyring", "-list")
        assert listed.stdout == (
            f"==> Gathering installed encryption keys...\n\nWAN:\n  {NEW} [3/3]\n\ndc1 (LAN):\n  {NEW} [4/4]\n"
        )
        refused = first.cli("keyring", f"-remove={NEW}")
        assert refused.returncode == 1 and refused.stderr.count("Removing the primary key is not allowed") == 7
        assert "dc1 (LAN) error: 4/4 nodes reported failure" in refused.stderr

        for name in ("local.keyring", "remote.keyring"):
            file = tmp_path / "n1" / "data" / "serf" / name
            assert json.loads(file.read_text()) == [NEW] and file.stat().st_mode & 0o777 == 0o600
        # The key of the configuration is out of date now: the file wins, and the log says so.
        cluster.replace(0, encrypt=OLD)
        cluster.replace(3, encrypt=OLD)
        writer.wait_for()
        assert keys(cluster.agents[0])["dc1"] == ({NEW: 4}, {NEW: 4}, 4)
        for pool in ("LAN", "WAN"):
            said_once = f"WARNING: {pool} keyring exists but -encrypt given, using keyring"
            assert said_once in cluster.agents[0].log.read_text()
        assert "WAN keyring" not in cluster.agents[3].log.read_text()
        stats = cluster.agents[0].json("GET", "/v1/agent/self")["Stats"]
        assert stats["serf_lan"]["encrypted"] == stats["serf_wan"]["encrypted"] == "true"
        for agent in cluster.agents:
            assert NEW not in agent.log.read_text() and OLD not in agent.log.read_text()


@pytest.mark.slow
def test_strangers_cannot_join_and_learn_why(tmp_path: Path) -> None:
    with running(Cluster(tmp_path, 52, encrypt=OLD)) as cluster:
        first = cluster.agents[0]
        at = f"127.0.52.1:{cluster.lan}"
        for name, number, settings, theirs, ours in (
            ("wrong", 5, {"encrypt": OTHER}, NO_KEY_FITS, NO_KEY_FITS),
            ("plain", 6, {}, "encryption is not configured", "remote state is not encrypted"),
        ):
            stranger = cluster.agent(name, number, **settings)
            stranger.start()
            try:
                stranger.until(lambda s=stranger, t=theirs: t in s.log.read_text())
                refused = stranger.cli("join", at)
                assert refused.returncode == 1 and theirs in refused.stderr, refused.stderr
                assert "Failed to join any nodes." in refused.stderr
                first.until(
                    lambda o=ours: (
                        "memberlist: failed to receive: " in first.log.read_text() and o in first.log.read_text()
                    )
                )
                assert alive(stranger) == {name}
            finally:
                stranger.stop(9)
        assert alive(first) == {"n1", "n2", "n3", "n4"}
        assert {one["Name"] for one in first.json("GET", "/v1/agent/members")} == {"n1", "n2", "n3", "n4"}


@pytest.mark.slow
def test_encryption_is_switched_on_in_a_running_cluster(tmp_path: Path) -> None:
    """Three rounds of restarts, as Consul's documentation says; before, between and after them clients write."""
    rounds: tuple[dict[str, Any], ...] = (
        {"encrypt": OLD, "encrypt_verify_incoming": False, "encrypt_verify_outgoing": False},
        {"encrypt": OLD, "encrypt_verify_incoming": False, "encrypt_verify_outgoing": True},
        {"encrypt": OLD},
    )
    with running(Cluster(tmp_path, 53)) as cluster, Writer(cluster) as writer:
        status, text = cluster.agents[0].request("GET", "/v1/operator/keyring")
        assert status == 500 and b"n4: Keyring is empty (encryption not enabled)" in text
        for settings in rounds:
            for number in range(4):
                cluster.replace(number, **settings)
                writer.wait_for(3)
        assert keys(cluster.agents[1]) == {"wan": ({OLD: 3}, {OLD: 3}, 3), "dc1": ({OLD: 4}, {OLD: 4}, 4)}
        stranger = cluster.agent("plain", 5)
        stranger.start()
        try:
            stranger.until(lambda: "encryption is not configured" in stranger.log.read_text())
        finally:
            stranger.stop(9)
