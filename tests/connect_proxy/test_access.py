"""Sidecars of a real agent that denies by default: who may call whom, and who may be a proxy at all."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.process import Agent, free_ports

pytestmark = pytest.mark.slow
ROOT = "10000000-0000-4000-8000-000000000001"
DB = "30000000-0000-4000-8000-000000000003"
WEB = "40000000-0000-4000-8000-000000000004"


@contextmanager
def echoing(port: int) -> Iterator[None]:
    """Something behind the sidecar that answers with what it gets."""
    listener = socket.create_server(("127.0.0.1", port))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                while data := connection.recv(4096):
                    connection.sendall(data)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield
    finally:
        listener.close()


def answers(port: int) -> bool:
    """Whether the upstream at a port answers; a proxy that may not call just closes the connection."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.sendall(b"hello")
            return connection.recv(16) == b"hello"
    except OSError:
        return False


def _until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_no_intention_no_connection_and_no_token_no_proxy(tmp_path: Path) -> None:
    behind, upstream, first, second = free_ports(4)
    acl = {"enabled": True, "default_policy": "deny", "tokens": {"initial_management": ROOT, "agent": ROOT}}
    agent = Agent(tmp_path, ["-dev"], {"acl": acl})
    agent.start()

    def good(method: str, path: str, body: Any = None, token: str = ROOT) -> Any:
        return agent.json(method, f"{path}{'&' if '?' in path else '?'}token={token}", body)

    try:
        agent.until(lambda: good("GET", "/v1/agent/self"))
        for secret, name in ((DB, "db"), (WEB, "web")):
            identity = {"ServiceIdentities": [{"ServiceName": name}]}
            agent.until(lambda secret=secret, body=identity: good("PUT", "/v1/acl/token", {"SecretID": secret, **body}))
        db = {"Name": "db", "Port": behind, "Connect": {"SidecarService": {"Port": first}}}
        ups = [{"DestinationName": "db", "LocalBindPort": upstream}]
        web = {"Name": "web", "Port": 1, "Connect": {"SidecarService": {"Port": second, "Proxy": {"Upstreams": ups}}}}
        good("PUT", "/v1/agent/service/register", db, DB)
        good("PUT", "/v1/agent/service/register", web, WEB)
        with (
            echoing(behind),
            agent.running("connect", "proxy", "-sidecar-for=db", f"-token={DB}"),
            agent.running("connect", "proxy", "-sidecar-for=web", f"-token={WEB}"),
        ):
            _until(lambda: _listens(upstream) and _listens(first))
            agent.until(lambda: good("GET", "/v1/health/connect/db?passing"))
            assert not answers(upstream)
            allow = "/v1/connect/intentions/exact?source=web&destination=db"
            good("PUT", allow, {"Action": "allow"})
            _until(lambda: answers(upstream))
            good("DELETE", allow)
            _until(lambda: not answers(upstream))
        assert agent.cli("connect", "proxy", "-sidecar-for=db").returncode == 1
        with agent.running("connect", "proxy", "-sidecar-for=db", f"-token={WEB}") as refused:
            said: list[str] = []
            for stream in (refused.stdout, refused.stderr):
                threading.Thread(target=lambda stream=stream: said.extend(stream), daemon=True).start()
            _until(lambda: any("Permission denied" in line for line in said))
            assert not _listens(first)
            refused.kill()
    finally:
        agent.stop()


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False
