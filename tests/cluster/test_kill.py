"""Three real servers: each is killed in turn while a client writes; no acknowledged write is lost."""

import contextlib
import http.client
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from tests.support.process import Agent, free_ports


def votes(agent: Agent) -> bool:
    """Whether an agent's server has a vote."""
    rows = agent.json("GET", "/v1/operator/raft/configuration")["Servers"]
    own = agent.json("GET", "/v1/agent/self")["Config"]["NodeID"]
    return any(row["ID"] == own and row["Voter"] for row in rows)


@pytest.mark.slow
def test_kill_9_of_each_server_in_turn_loses_no_acknowledged_write(tmp_path: Path) -> None:
    hosts = ["127.0.40.1", "127.0.40.2", "127.0.40.3"]
    lan, server_port = free_ports(2)
    agents = []
    for number, host in enumerate(hosts):
        agents.append(
            Agent(
                tmp_path / f"s{number}",
                [],
                {
                    "node_name": f"s{number}",
                    "server": True,
                    "bootstrap_expect": 3,
                    "data_dir": str(tmp_path / f"s{number}" / "data"),
                    "retry_join": [f"{hosts[0]}:{lan}", f"{hosts[1]}:{lan}"],
                    "retry_interval": "200ms",
                    "autopilot": {"server_stabilization_time": "0s", "last_contact_threshold": "2s"},
                    "ports": {"serf_lan": lan, "server": server_port},
                },
                host=host,
            )
        )
    for agent in agents:
        agent.start()
    try:
        for agent in agents:
            agent.ready()
        acknowledged: dict[str, bytes] = {}
        number = 0
        for victim in agents:
            survivors = [agent for agent in agents if agent is not victim]
            for phase in ("before", "during"):
                if phase == "during":
                    victim.stop(signal.SIGKILL)
                done, deadline = 0, time.monotonic() + 60
                while done < 20 and time.monotonic() < deadline:
                    number += 1
                    key, value = f"k/{number}", f"v{number}".encode()
                    with contextlib.suppress(OSError, http.client.HTTPException):
                        status, body = survivors[number % 2].request("PUT", f"/v1/kv/{key}", value)
                        if status == 200 and body == b"true":
                            acknowledged[key] = value
                            done += 1
                assert done == 20, survivors[0].log.read_text()[-3000:]
            victim.start()
            victim.ready()
            victim.until(partial(votes, victim))  # Autopilot may have taken it out in the meantime.
        for agent in agents:

            def caught_up(agent: Agent = agent) -> bool:
                found = agent.json("GET", "/v1/kv/k/?keys&stale")
                return set(acknowledged) <= set(found)

            agent.until(caught_up)
        for key, value in acknowledged.items():
            assert agents[0].request("GET", f"/v1/kv/{key}?raw&consistent") == (200, value)
        assert len(acknowledged) == 120
    finally:
        for agent in agents:
            agent.stop(signal.SIGKILL)
