"""Archives of a whole cluster: saved from one server, restored through another, the same on all, also after kill -9."""

import json
import signal
import threading
from pathlib import Path

import pytest

from tests.support.process import Agent, free_ports

LARGE = {f"large/{number}": bytes([97 + number]) * 400_000 for number in range(15)}
"""Together larger than one entry of the log."""


def start_servers(folder: Path, hosts: list[str]) -> list[Agent]:
    lan, server_port = free_ports(2)
    agents = []
    for number, host in enumerate(hosts):
        settings = {
            "node_name": f"s{number}",
            "server": True,
            "bootstrap_expect": len(hosts),
            "data_dir": str(folder / f"s{number}" / "data"),
            "retry_join": [f"{hosts[0]}:{lan}"],
            "retry_interval": "200ms",
            "ports": {"serf_lan": lan, "server": server_port},
        }
        agents.append(Agent(folder / f"s{number}", [], settings, host=host))
    for agent in agents:
        agent.start()
    for agent in agents:
        agent.ready()
        agent.until(lambda agent=agent: len(agent.json("GET", "/v1/catalog/nodes")) == len(hosts))
    return agents


def followers_first(agents: list[Agent]) -> list[Agent]:
    """The servers, the leader last."""
    leader = agents[0].json("GET", "/v1/status/leader").rpartition(":")[0]
    return sorted(agents, key=lambda agent: agent.host == leader)


@pytest.mark.slow
def test_a_cluster_goes_back_to_an_archive_on_all_servers(tmp_path: Path) -> None:
    agents = start_servers(tmp_path, [f"127.0.41.{number}" for number in (1, 2, 3)])
    try:
        one, two, _leader = followers_first(agents)
        for key, value in LARGE.items():
            assert one.request("PUT", f"/v1/kv/{key}", value) == (200, b"true")
        session = one.json("PUT", "/v1/session/create", {"LockDelay": "0s"})["ID"]
        assert one.request("PUT", f"/v1/kv/lock?acquire={session}", b"held") == (200, b"true")
        one.json("PUT", "/v1/catalog/register", {"Node": "ext", "Address": "10.0.0.9", "Service": {"Service": "db"}})
        archive = tmp_path / "one.snap"
        saved = one.cli("snapshot", "save", str(archive))
        assert saved.returncode == 0 and saved.stdout.startswith("Saved and verified snapshot to index "), saved
        shown = one.cli("snapshot", "inspect", "-format=json", str(archive))
        stats = {row["Name"]: row["Count"] for row in json.loads(shown.stdout)["Stats"]}
        assert stats["KVS"] == 16 and stats["Session"] == 1

        assert one.request("DELETE", "/v1/kv/large/?recurse") == (200, b"true")
        one.json("PUT", "/v1/catalog/deregister", {"Node": "ext"})
        assert one.request("PUT", "/v1/kv/later", b"x") == (200, b"true")
        highest = one.json("GET", "/v1/kv/later")[0]["ModifyIndex"]
        woken = threading.Event()

        def watch() -> None:
            two.request("GET", f"/v1/kv/later?index={highest}&wait=5m", seconds=400)
            woken.set()

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()

        bad = bytearray(archive.read_bytes())
        bad[len(bad) // 2] ^= 0xFF
        status, text = two.request("PUT", "/v1/snapshot", bytes(bad))
        assert status == 500 and text
        assert one.request("GET", "/v1/kv/later?raw") == (200, b"x")

        restored = two.cli("snapshot", "restore", str(archive))
        assert (restored.returncode, restored.stdout) == (0, "Restored snapshot\n"), restored
        watcher.join(60)
        assert woken.is_set()

        def is_back(agent: Agent) -> bool:
            for key, value in LARGE.items():
                assert agent.request("GET", f"/v1/kv/{key}?raw&stale") == (200, value)
            assert agent.request("GET", "/v1/kv/later?stale")[0] == 404
            assert agent.json("GET", "/v1/kv/lock?stale")[0]["Session"] == session
            return [row["ServiceName"] for row in agent.json("GET", "/v1/catalog/service/db?stale")] == ["db"]

        for agent in agents:
            agent.until(lambda agent=agent: is_back(agent))
        assert one.request("PUT", "/v1/kv/after", b"y") == (200, b"true")
        assert one.json("GET", "/v1/kv/after")[0]["ModifyIndex"] > highest

        for agent in agents:
            agent.stop(signal.SIGKILL)
        for agent in agents:
            agent.start()
        for agent in agents:
            agent.ready()
            agent.until(lambda agent=agent: is_back(agent))
            assert agent.request("GET", "/v1/kv/after?raw") == (200, b"y")
    finally:
        for agent in agents:
            agent.stop(signal.SIGKILL)


@pytest.mark.slow
def test_a_server_that_was_away_gets_the_restored_state(tmp_path: Path) -> None:
    agents = start_servers(tmp_path, [f"127.0.42.{number}" for number in (1, 2, 3)])
    try:
        away, other, _ = followers_first(agents)
        assert other.request("PUT", "/v1/kv/a", b"1") == (200, b"true")
        status, archive = other.request("GET", "/v1/snapshot?stale")
        assert status == 200
        assert other.request("PUT", "/v1/kv/b", b"2") == (200, b"true")
        away.stop(signal.SIGKILL)
        assert other.request("PUT", "/v1/snapshot", archive, seconds=60) == (200, b"")
        away.start()
        away.ready()
        away.until(lambda: away.request("GET", "/v1/kv/b?stale")[0] == 404)
        assert away.request("GET", "/v1/kv/a?raw&stale") == (200, b"1")
    finally:
        for agent in agents:
            agent.stop(signal.SIGKILL)
