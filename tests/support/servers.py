"""Servers of one cluster, each a process in a network namespace of its own."""

from __future__ import annotations

import base64
import contextlib
import json
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.load import HTTP_PORT, ask
from tests.support.netns import Host, Network
from tests.support.process import Agent

PORTS = {"http": HTTP_PORT, "dns": -1, "serf_lan": 8301, "server": 8300}


class ServerInNamespace(Agent):
    """A server on a host of its own. What the test itself asks goes over the host's loopback, past all faults."""

    def __init__(self, folder: Path, host: Host, join: Sequence[Host], expect: int = 0, **more: Any) -> None:
        settings: dict[str, Any] = {
            "node_name": host.name,
            "server": True,
            "data_dir": str(folder / "data"),
            "addresses": {"http": "0.0.0.0"},
            "retry_join": [other.address for other in join],
            "retry_interval": "300ms",
            "performance": {"raft_multiplier": 1, "leave_drain_time": "1s"},
            # A server that is cut off for long would be taken out; what is tried here is how it comes back as it was.
            "autopilot": {"cleanup_dead_servers": False},
            "ports": dict(PORTS),
            **more,
        }
        if expect:
            settings["bootstrap_expect"] = expect
        super().__init__(folder, [], settings, host=host.address)
        self.on = host

    def start(self) -> None:
        """Start the process on its host."""
        with self.on.inside():
            super().start()

    def request(self, method: str, path: str, body: Any = None, seconds: float = 60) -> tuple[int, bytes]:
        """One HTTP request from the server's own host."""
        with self.on.inside():
            return super().request(method, path, body, seconds)

    @property
    def runs(self) -> bool:
        """Whether the process is there."""
        return self.process is not None and self.process.poll() is None

    def signal(self, number: int) -> None:
        """Send a signal to the process."""
        assert self.process is not None
        self.process.send_signal(number)

    def once_keys(self) -> dict[str, str]:
        """What this server itself holds below `once/`."""
        status, body = self.request("GET", "/v1/kv/once/?recurse&stale")
        if status == 404:
            return {}
        assert status == 200, (status, body)
        return {row["Key"]: base64.b64decode(row["Value"]).decode() for row in json.loads(body)}


class Cluster:
    """Servers and a host for clients; `stop` ends all processes."""

    def __init__(self, network: Network, folder: Path, count: int, **more: Any) -> None:
        self.network = network
        self.folder = folder
        self.hosts = [network.host(f"s{number}") for number in range(count)]
        self.clients = network.host("clients")
        self.servers = [
            ServerInNamespace(folder / host.name, host, self.hosts[:2], expect=count, **more) for host in self.hosts
        ]
        self._probes = 0

    def start(self) -> None:
        """Start all servers and wait until each knows a leader."""
        for server in self.servers:
            server.start()
        for server in self.servers:
            server.ready()
        self.until_writable(60)

    def stop(self) -> None:
        """Kill what still runs."""
        for server in self.servers:
            if server.runs:
                server.stop(signal.SIGKILL)

    def others(self, server: ServerInNamespace) -> list[Host]:
        """The hosts of the other servers."""
        return [other.on for other in self.servers if other is not server]

    def leader(self) -> ServerInNamespace | None:
        """The server that most servers hold to be the leader."""
        found: dict[str, int] = {}
        for server in self.servers:
            with contextlib.suppress(OSError, AssertionError):
                if server.runs:
                    status, body = server.request("GET", "/v1/status/leader", seconds=1)
                    address = json.loads(body) if status == 200 else ""
                    found[address] = found.get(address, 0) + 1
        for server in self.servers:
            if found.get(f"{server.host}:8300", 0) > len(self.servers) // 2:
                return server
        return None

    def known_leader(self) -> ServerInNamespace:
        """The server that leads, once there is one that most servers know. Raises AssertionError."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if found := self.leader():
                return found
            time.sleep(0.05)
        raise AssertionError(f"no leader\n{self.logs()}")

    def until_writable(self, seconds: float) -> float:
        """Wait until a write through every server succeeds; returns after how many seconds. Raises AssertionError."""
        began = time.monotonic()
        for server in self.servers:
            said = ""
            while True:
                self._probes += 1
                try:
                    with self.clients.inside():
                        status, body = ask(server.host, "PUT", f"/v1/kv/probe/{server.on.name}", b"%d" % self._probes)
                    if (status, body) == (200, b"true"):
                        break
                    said = f"{status} {body!r}"
                except OSError as error:
                    said = f"{type(error).__name__}: {error}"
                waited = time.monotonic() - began
                if waited > seconds:
                    raise AssertionError(
                        f"no write through {server.on.name} for {waited:.1f} s, last: {said}\n{self.logs()}"
                    )
                time.sleep(0.02)
        return time.monotonic() - began

    def logs(self) -> str:
        """The end of what every server said."""
        parts = []
        for server in self.servers:
            state = "runs" if server.runs else "does not run"
            with contextlib.suppress(OSError, AssertionError):
                if server.runs:
                    state += f", raft: {server.json('GET', '/v1/agent/self')['Stats']['raft']}"
            parts.append(f"--- {server.on.name} ({server.host}, {state})\n{server.log.read_text()[-3000:]}")
        return "\n".join(parts)
