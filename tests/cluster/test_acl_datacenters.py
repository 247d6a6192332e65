"""Access control over datacenters, of real servers: dc1 has authority, dc2 copies its tokens, dc3 asks it for them."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.process import Agent, free_ports

ROOT = "10000000-0000-4000-8000-000000000001"
READER = "20000000-0000-4000-8000-000000000002"
QUICK = {"gossip_interval": "50ms", "probe_interval": "500ms", "probe_timeout": "400ms"}


class Three:
    """A server in each of three datacenters."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lan, self.wan, self.rpc = free_ports(3)
        tokens = {"agent": ROOT, "replication": ROOT}
        self.primary = self.agent(1, "dc1", {"tokens": {"initial_management": ROOT, "agent": ROOT}})
        self.copying = self.agent(2, "dc2", {"tokens": tokens, "enable_token_replication": True})
        self.asking = self.agent(3, "dc3", {"tokens": {**tokens, "replication": ""}, "token_ttl": "1s"})
        self.all = (self.primary, self.copying, self.asking)

    def agent(self, number: int, datacenter: str, acl: dict[str, Any]) -> Agent:
        settings = {
            "node_name": f"s{number}",
            "datacenter": datacenter,
            "primary_datacenter": "dc1",
            "server": True,
            "bootstrap": True,
            "data_dir": str(self.folder / datacenter / "data"),
            "acl": {"enabled": True, "default_policy": "deny", **acl},
            "gossip_lan": QUICK,
            "gossip_wan": QUICK,
            "retry_join_wan": ["127.0.62.1"] if number > 1 else [],
            "retry_interval_wan": "300ms",
            "ports": {"serf_lan": self.lan, "serf_wan": self.wan, "server": self.rpc},
        }
        return Agent(self.folder / datacenter, [], settings, host=f"127.0.62.{number}")


def asked(agent: Agent, method: str, path: str, token: str, body: Any = None) -> tuple[int, bytes]:
    return agent.request(method, f"{path}{'&' if '?' in path else '?'}token={token}", body)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Three]:
    made = Three(tmp_path_factory.mktemp("three"))
    try:
        for agent in made.all:
            agent.start()
        for agent in made.all:
            agent.until(lambda agent=agent: asked(agent, "GET", "/v1/kv/none?dc=dc1", ROOT)[0] == 404)
        made.primary.json(
            "PUT", f"/v1/acl/policy?token={ROOT}", {"Name": "reader", "Rules": 'key_prefix "a" { policy = "read" }'}
        )
        token = {"SecretID": READER, "Policies": [{"Name": "reader"}]}
        made.primary.json("PUT", f"/v1/acl/token?token={ROOT}", token)
        yield made
    finally:
        for agent in made.all:
            if agent.process is not None:
                agent.stop(signal.SIGKILL)


pytestmark = pytest.mark.slow


def test_tokens_are_copied_and_hold_here_by_themselves(three: Three) -> None:
    here = three.copying
    here.until(lambda: len(here.json("GET", f"/v1/acl/tokens?token={ROOT}")) == 3)
    # Tokens and policies are copied by two tasks, neither of which waits for the other.
    here.until(
        lambda: (
            [row["Name"] for row in here.json("GET", f"/v1/acl/policies?token={ROOT}")]
            == ["global-management", "reader"]
        )
    )
    assert asked(here, "PUT", "/v1/kv/a", ROOT, b"1") == (200, b"true")
    assert asked(here, "GET", "/v1/kv/a?raw", READER) == (200, b"1")
    assert asked(here, "GET", "/v1/kv/b", READER)[0] == 403
    assert asked(here, "GET", "/v1/kv/a", "")[0] == 403
    status = here.json("GET", "/v1/acl/replication")
    assert (status["Enabled"], status["Running"], status["SourceDatacenter"]) == (True, True, "dc1")
    assert status["ReplicationType"] == "tokens" and status["ReplicatedTokenIndex"] > 0


def test_what_is_written_anywhere_is_written_in_the_primary_datacenter(three: Three) -> None:
    body = {"Name": "made-in-dc2", "Rules": ""}
    assert three.copying.json("PUT", f"/v1/acl/policy?token={ROOT}", body)["Name"] == "made-in-dc2"
    made = three.copying.json("PUT", f"/v1/acl/token?token={ROOT}", {"Policies": [{"Name": "made-in-dc2"}]})
    accessor = made["AccessorID"]
    assert asked(three.primary, "GET", f"/v1/acl/token/{accessor}", ROOT)[0] == 200
    three.copying.until(lambda: asked(three.copying, "GET", f"/v1/acl/token/{accessor}", ROOT)[0] == 200)
    assert asked(three.copying, "DELETE", f"/v1/acl/token/{accessor}", ROOT) == (200, b"true")
    assert asked(three.primary, "GET", f"/v1/acl/token/{accessor}", ROOT)[0] == 403
    three.copying.until(lambda: asked(three.copying, "GET", f"/v1/acl/token/{accessor}", ROOT)[0] == 403)


def test_a_local_token_is_known_in_its_datacenter_only(three: Three) -> None:
    here = three.copying
    here.until(lambda: len(here.json("GET", f"/v1/acl/policies?token={ROOT}")) >= 2)
    made = here.json("PUT", f"/v1/acl/token?token={ROOT}", {"Local": True, "Policies": [{"Name": "reader"}]})
    assert asked(here, "GET", "/v1/kv/ax", made["SecretID"])[0] == 404
    assert asked(three.primary, "GET", "/v1/kv/ax", made["SecretID"])[0] == 403
    assert asked(here, "DELETE", f"/v1/acl/token/{made['AccessorID']}", ROOT) == (200, b"true")
    assert asked(here, "GET", "/v1/kv/ax", made["SecretID"])[0] == 403


def test_who_copies_nothing_asks(three: Three) -> None:
    here = three.asking
    assert asked(here, "PUT", "/v1/kv/a", ROOT, b"3") == (200, b"true")
    for _ in range(3):
        assert asked(here, "GET", "/v1/kv/a?raw", READER) == (200, b"3")
        assert asked(here, "GET", "/v1/kv/b", READER)[0] == 403
        assert asked(here, "GET", "/v1/kv/a", "nobody")[0] == 403
        assert asked(here, "GET", "/v1/agent/self", READER)[0] == 403
    assert here.json("GET", "/v1/acl/replication")["ReplicationType"] == "policies"


def test_what_was_taken_away_there_is_gone_here(three: Three) -> None:
    token = {"SecretID": "30000000-0000-4000-8000-000000000003", "Policies": [{"Name": "reader"}]}
    made = three.primary.json("PUT", f"/v1/acl/token?token={ROOT}", token)
    for agent in (three.copying, three.asking):
        agent.until(lambda agent=agent: asked(agent, "GET", "/v1/kv/a", made["SecretID"])[0] == 200)
    assert asked(three.primary, "DELETE", f"/v1/acl/token/{made['AccessorID']}", ROOT) == (200, b"true")
    for agent in (three.copying, three.asking):
        agent.until(lambda agent=agent: asked(agent, "GET", "/v1/kv/a", made["SecretID"])[0] == 403)
