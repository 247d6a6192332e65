"""Access control in a cluster of three real servers: tokens spread, leaders go, snapshots come back."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cluster import three_servers
from tests.support.process import Agent

pytestmark = pytest.mark.slow
ROOT = "10000000-0000-4000-8000-000000000001"
ACL = {"enabled": True, "default_policy": "deny", "tokens": {"initial_management": ROOT, "agent": ROOT}}


def call(agent: Agent, method: str, path: str, body: Any = None, token: str = ROOT) -> tuple[int, bytes]:
    """A request with a token."""
    return agent.request(method, f"{path}{'&' if '?' in path else '?'}token={token}", body)


def good(agent: Agent, method: str, path: str, body: Any = None, token: str = ROOT) -> Any:
    """A request with a token that has to succeed."""
    status, raw = call(agent, method, path, body, token)
    assert status == 200, (method, path, status, raw)
    return json.loads(raw) if raw.strip() else None


def leader_of(servers: list[Agent]) -> Agent:
    """The server that leads."""
    address = servers[0].json("GET", "/v1/status/leader")
    return next(one for one in servers if address == f"{one.host}:{one.ports['server']}")


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Agent]]:
    settings = {"acl": ACL, "performance": {"raft_multiplier": 1}}
    with three_servers(tmp_path_factory.mktemp("access"), 91, **settings) as started:
        for one in started:
            one.until(lambda one=one: call(one, "GET", "/v1/agent/self")[0] == 200)
        good(started[0], "PUT", "/v1/acl/policy", {"Name": "a", "Rules": 'key_prefix "a" { policy = "write" }'})
        yield started


def _token(agent: Agent) -> dict[str, str]:
    made: dict[str, str] = good(agent, "PUT", "/v1/acl/token", {"Policies": [{"Name": "a"}]})
    return made


def test_a_token_made_anywhere_holds_everywhere(servers: list[Agent]) -> None:
    leader = leader_of(servers)
    follower = next(one for one in servers if one is not leader)
    made = _token(follower)
    secret = made["SecretID"]
    good(leader, "PUT", "/v1/kv/a", b"1", secret)  # What the leader decides holds at once.
    for one in servers:
        good(one, "GET", "/v1/kv/a", token=secret)
        assert call(one, "GET", "/v1/kv/b", token=secret)[0] == 403
        one.until(lambda one=one: call(one, "GET", "/v1/kv/a?stale", token=secret)[0] == 200)
        one.until(lambda one=one: call(one, "GET", "/v1/agent/services", token=secret)[0] == 200)
    good(follower, "DELETE", f"/v1/acl/token/{made['AccessorID']}")
    for one in servers:
        assert call(one, "GET", "/v1/kv/a", token=secret)[0] == 403
        one.until(lambda one=one: call(one, "GET", "/v1/kv/a?stale", token=secret)[0] == 403)
        one.until(lambda one=one: call(one, "GET", "/v1/agent/services", token=secret)[0] == 403)


def test_an_archive_brings_tokens_back(servers: list[Agent]) -> None:
    made = _token(servers[1])
    secret = made["SecretID"]
    assert call(servers[2], "GET", "/v1/snapshot", token=secret)[0] == 403
    status, archive = call(servers[2], "GET", "/v1/snapshot")
    assert status == 200
    good(servers[0], "DELETE", f"/v1/acl/token/{made['AccessorID']}")
    later = _token(servers[0])["SecretID"]
    assert call(servers[0], "PUT", "/v1/kv/a", b"2", secret)[0] == 403
    assert call(servers[1], "PUT", "/v1/snapshot", archive, later)[0] == 403
    good(servers[1], "PUT", "/v1/snapshot", archive)
    for one in servers:
        one.until(lambda one=one: call(one, "GET", "/v1/agent/services", token=secret)[0] == 200)
        one.until(lambda one=one: call(one, "GET", "/v1/agent/services", token=later)[0] == 403)
        one.until(lambda one=one: call(one, "GET", "/v1/kv/a", token=secret)[0] in (200, 404))
        assert call(one, "GET", "/v1/kv/a", token=later)[0] == 403


def test_without_its_leader_the_cluster_knows_its_tokens(servers: list[Agent]) -> None:
    secret = _token(servers[0])["SecretID"]
    leader = leader_of(servers)
    rest = [one for one in servers if one is not leader]
    leader.stop(signal.SIGKILL)
    for one in rest:
        one.until(lambda one=one: call(one, "PUT", "/v1/kv/a", b"3", secret)[0] == 200)
        assert call(one, "PUT", "/v1/kv/b", b"3", secret)[0] == 403
        assert call(one, "GET", "/v1/kv/a?stale", token="deadbeef-0000-4000-8000-000000000001")[0] == 403
        assert call(one, "PUT", "/v1/acl/bootstrap")[0] == 403
    leader.start()
    leader.until(lambda: call(leader, "GET", "/v1/kv/a", token=secret)[0] == 200)


def test_switched_on_where_there_was_none(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "server": True,
        "bootstrap": True,
        "data_dir": str(tmp_path / "data"),
        "performance": {"raft_multiplier": 1},
    }
    before = Agent(tmp_path / "before", [], dict(settings))
    before.start()
    try:
        before.ready()
        before.until(lambda: before.json("PUT", "/v1/kv/a", b"1"))
        before.json("PUT", "/v1/agent/service/register", {"Name": "web", "Port": 80})
        before.until(lambda: before.json("GET", "/v1/catalog/service/web"))
        assert before.request("GET", "/v1/acl/tokens")[0] == 401
    finally:
        before.stop()
    acl = {"enabled": True, "default_policy": "deny", "enable_token_persistence": True}
    after = Agent(tmp_path / "after", [], {**settings, "acl": acl})
    after.start()
    try:
        after.ready()
        after.until(lambda: after.request("GET", "/v1/kv/a")[0] == 403)
        assert after.json("GET", "/v1/catalog/services") == {}
        root = after.until(lambda: after.json("PUT", "/v1/acl/bootstrap"))["SecretID"]
        assert good(after, "GET", "/v1/kv/a?raw", token=root) == 1
        assert list(good(after, "GET", "/v1/catalog/services", token=root)) == ["consul", "web"]
        good(after, "PUT", "/v1/agent/service/register", {"Name": "api", "Port": 81}, root)
        after.until(lambda: good(after, "GET", "/v1/catalog/service/api", token=root))
        # The agent itself may do nothing until it is given a token; then what it was refused goes through.
        assert "blocked by ACLs" in after.log.read_text()
        good(after, "PUT", "/v1/agent/token/agent", {"Token": root}, root)
        good(after, "PUT", "/v1/agent/service/deregister/web", token=root)
        after.until(lambda: not good(after, "GET", "/v1/catalog/service/web", token=root))
        assert root not in after.log.read_text()
    finally:
        after.stop()
