"""Real lictor processes for tests: a dev agent on free ports, ended when the test is over."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_PORTS = (*range(12_000, 21_000), *range(22_000, 32_000))
_given: set[int] = set()


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody uses now, for TCP or UDP, and that no other test was given.

    They lie below those that the system gives to outgoing connections, none of them is one that an agent gives to a
    proxy by itself (from 21000 on), and each worker of a parallel run has a part of its own: a port must still be free
    when the process that it is for starts, also after a restart.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 4
    found: list[int] = []
    while len(found) < count:
        port = random.choice(_PORTS[worker::4])
        if port not in _given and _is_free(port):
            _given.add(port)
            found.append(port)
    return found


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as one:
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True


class Agent:
    """A running agent."""

    def __init__(self, folder: Path, words: list[str], settings: dict[str, Any], host: str = "127.0.0.1") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.host = host
        ports = free_ports(4)
        names = ("http", "dns", "serf_lan", "server")
        self.ports = {**dict(zip(names, ports, strict=True)), **settings.pop("ports", {})}
        unused = {"grpc": -1, "grpc_tls": -1, "https": -1, "serf_wan": -1}
        config = {"ports": {**unused, **self.ports}, "bind_addr": host, "node_name": "node1", **settings}
        self.config = folder / "agent.json"
        self.config.write_text(json.dumps(config))
        self.log = folder / "agent.log"
        self._words = words
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process."""
        command = [sys.executable, "-m", "agent.cli.main", "agent", *self._words, f"-config-file={self.config}"]
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)

    def stop(self, number: int = signal.SIGTERM, seconds: float = 60) -> int:
        """Send a signal and wait for the end; returns the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def request(self, method: str, path: str, body: Any = None, seconds: float = 60) -> tuple[int, bytes]:
        """One HTTP request: status and body."""
        raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.ports["http"], timeout=seconds)
        try:
            connection.request(method, path, raw)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def json(self, method: str, path: str, body: Any = None) -> Any:
        """One HTTP request that must succeed, with its JSON answer."""
        status, data = self.request(method, path, body)
        assert status == 200, (method, path, status, data)
        return json.loads(data) if data.strip() else None

    def until(self, condition: Any, seconds: float = 60) -> Any:
        """Wait until a condition holds and return it; the log is part of the failure."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process is not None and self.process.poll() is not None:
                break
            try:
                found = condition()
                if found:
                    return found
            except (OSError, AssertionError, KeyError, IndexError, http.client.HTTPException):
                pass
            time.sleep(0.05)
        raise AssertionError(f"waited in vain; the agent said:\n{self.log.read_text()[-3000:]}")

    def ready(self) -> None:
        """Wait for a leader."""
        self.until(lambda: self.json("GET", "/v1/status/leader"))

    def cli(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command against this agent."""
        command, env = self.command(*words, **environment)
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)

    @contextmanager
    def running(self, *words: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
        """A command against this agent that goes on by itself; it ends with the block at the latest."""
        command, env = self.command(*words, **environment)
        process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate()

    def command(self, *words: str, **environment: str) -> tuple[list[str], dict[str, str]]:
        """What to execute, and in what environment, to run a command against this agent."""
        env = {**os.environ, "CONSUL_HTTP_ADDR": f"127.0.0.1:{self.ports['http']}", **environment}
        return [sys.executable, "-m", "agent.cli.main", *words], env


@contextmanager
def dev_agent(folder: Path, *words: str, **settings: Any) -> Iterator[Agent]:
    """A dev agent that is ready; it ends with the block."""
    agent = Agent(folder, ["-dev", *words], settings)
    agent.start()
    try:
        agent.ready()
        agent.until(lambda: agent.json("GET", "/v1/catalog/nodes"))
        yield agent
    finally:
        agent.stop()
