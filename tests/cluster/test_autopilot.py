"""Real servers: a newcomer listens before it votes, one that is killed is taken out, leadership is handed over."""

import signal
from pathlib import Path
from typing import Any

import pytest

from tests.support.process import Agent, free_ports


@pytest.mark.slow
def test_newcomers_wait_dead_servers_go_and_leadership_moves(tmp_path: Path) -> None:
    hosts = [f"127.0.41.{number}" for number in (1, 2, 3, 4)]
    lan, server_port = free_ports(2)
    agents = [
        Agent(
            tmp_path / f"s{number}",
            [],
            {
                "node_name": f"s{number}",
                "server": True,
                **({"bootstrap_expect": 3} if number < 3 else {}),
                "data_dir": str(tmp_path / f"s{number}" / "data"),
                "retry_join": [f"{hosts[0]}:{lan}", f"{hosts[1]}:{lan}"],
                "retry_interval": "200ms",
                "autopilot": {"server_stabilization_time": "3s", "last_contact_threshold": "2s"},
                "ports": {"serf_lan": lan, "server": server_port},
            },
            host=host,
        )
        for number, host in enumerate(hosts)
    ]

    def peers(agent: Agent) -> dict[str, Any]:
        rows = agent.json("GET", "/v1/operator/raft/configuration")["Servers"]
        return {row["Node"]: row for row in rows}

    try:
        first = agents[0]
        for agent in agents[:3]:
            agent.start()
        for agent in agents[:3]:
            agent.ready()
        assert {name: row["Voter"] for name, row in peers(first).items()} == {"s0": True, "s1": True, "s2": True}

        agents[3].start()
        first.until(lambda: peers(first)["s3"]["Voter"] is False)
        first.until(lambda: peers(first)["s3"]["Voter"] is True)

        target = peers(first)["s3"]["ID"]
        moved = first.cli("operator", "raft", "transfer-leader", f"-id={target}")
        assert (moved.returncode, moved.stdout) == (0, "Success\n"), moved.stderr
        first.until(lambda: peers(first)["s3"]["Leader"])

        agents[2].stop(signal.SIGKILL)
        first.until(lambda: "s2" not in peers(first), 60)
        assert all(row["Voter"] for row in peers(first).values())
        first.until(lambda: {node["Node"] for node in first.json("GET", "/v1/catalog/nodes")} == {"s0", "s1", "s3"})
        first.until(lambda: first.request("GET", "/v1/operator/autopilot/health")[0] == 200)
        assert first.json("PUT", "/v1/kv/after", b"the loss") is True

        agents[2].start()
        first.until(lambda: peers(first)["s2"]["Voter"] is False)
        first.until(lambda: peers(first)["s2"]["Voter"] is True, 60)
        agents[2].until(lambda: agents[2].request("GET", "/v1/kv/after?raw&stale") == (200, b"the loss"))
    finally:
        for agent in agents:
            if agent.process is not None:
                agent.stop(signal.SIGKILL)
