"""Three servers on addresses of the loopback, each a real process: what a client with a cluster of its own talks to."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.process import Agent, free_ports


def start_all(agents: list[Agent]) -> None:
    """Start servers and wait until each knows a leader."""
    for agent in agents:
        agent.start()
    for agent in agents:
        agent.ready()


@contextmanager
def three_servers(folder: Path, network: int, **settings: Any) -> Iterator[list[Agent]]:
    """A cluster at 127.0.NETWORK.1 to 3, whose HTTP is at 127.0.0.1; its servers are killed when the block ends."""
    hosts = [f"127.0.{network}.{number}" for number in (1, 2, 3)]
    lan, server_port = free_ports(2)
    agents = [
        Agent(
            folder / f"s{number}",
            [],
            {
                "node_name": f"s{number}",
                "server": True,
                "bootstrap_expect": 3,
                "data_dir": str(folder / f"s{number}" / "data"),
                "retry_join": [f"{other}:{lan}" for other in hosts],
                "retry_interval": "200ms",
                "ports": {"serf_lan": lan, "server": server_port},
                **settings,
            },
            host=host,
        )
        for number, host in enumerate(hosts)
    ]
    try:
        start_all(agents)
        yield agents
    finally:
        for agent in agents:
            if agent.process is not None:
                agent.stop(signal.SIGKILL)
