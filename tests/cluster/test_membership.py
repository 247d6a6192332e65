"""Members come, leave, fail, are forgotten and come back: real agents, with the settings that say how."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.process import Agent, free_ports

pytestmark = pytest.mark.slow
QUICK = {"gossip_interval": "50ms", "probe_interval": "500ms", "probe_timeout": "400ms", "suspicion_mult": 4}
ALIVE, LEFT, FAILED = 1, 3, 4


class Group:
    """A server and whatever clients a test starts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lan, self.rpc = free_ports(2)
        self.agents: list[Agent] = []
        self.server = self.start("server", 1, server=True, bootstrap=True, retry_join=[])
        self.server.ready()

    def start(self, name: str, number: int, **settings: Any) -> Agent:
        """Start an agent; a client joins the server unless it is told otherwise."""
        base = {
            "node_name": name,
            "data_dir": str(self.folder / name / "data"),
            "retry_join": ["127.0.62.1"],
            "retry_interval": "300ms",
            "gossip_lan": QUICK,
            "performance": {"raft_multiplier": 1},
            "ports": {"serf_lan": self.lan, "server": self.rpc},
        }
        agent = Agent(self.folder / name, [], {**base, **settings}, host=f"127.0.62.{number}")
        self.agents.append(agent)
        agent.start()
        return agent

    def statuses(self) -> dict[str, int]:
        """The members as the server sees them."""
        return {row["Name"]: row["Status"] for row in self.server.json("GET", "/v1/agent/members")}

    def wait_for(self, name: str, status: int | None) -> None:
        """Wait until the server sees a member so; None: not at all."""
        self.server.until(lambda: self.statuses().get(name) == status, 60)


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Group]:
    made = Group(tmp_path_factory.mktemp("group"))
    yield made
    for agent in made.agents:
        agent.stop(9)


def test_who_left_stays_away_unless_it_is_to_rejoin(group: Group) -> None:
    client = group.start("leaver", 2)
    group.wait_for("leaver", ALIVE)
    assert client.cli("leave").stdout == "Graceful leave complete\n"
    group.wait_for("leaver", LEFT)
    assert client.stop() == 0

    alone = group.start("leaver", 2, retry_join=[])
    alone.until(lambda: alone.json("GET", "/v1/agent/self"))
    assert [row["Name"] for row in alone.json("GET", "/v1/agent/members")] == ["leaver"]
    alone.stop(9)
    # It was alone in between: what it remembered of the pool is still there, and so is that it left.
    back = group.start("leaver", 2, retry_join=[], rejoin_after_leave=True)
    group.wait_for("leaver", ALIVE)
    back.until(lambda: len(back.json("GET", "/v1/agent/members")) >= 2)
    back.stop(9)


def test_who_failed_comes_back_by_itself(group: Group) -> None:
    client = group.start("sturdy", 3)
    group.wait_for("sturdy", ALIVE)
    client.until(lambda: len(client.json("GET", "/v1/agent/members")) >= 2)
    client.until(lambda: "alive: server" in (group.folder / "sturdy/data/serf/local.snapshot").read_text())
    client.stop(9)
    group.wait_for("sturdy", FAILED)
    again = group.start("sturdy", 3, retry_join=[])
    group.wait_for("sturdy", ALIVE)
    again.stop(9)


def test_who_failed_is_declared_gone_or_forgotten(group: Group) -> None:
    for number, name in ((4, "dead"), (5, "pruned")):
        client = group.start(name, number)
        group.wait_for(name, ALIVE)
        group.server.until(lambda name=name: group.server.json("GET", f"/v1/catalog/node/{name}"))
        client.stop(9)
        group.wait_for(name, FAILED)
    listed = group.server.cli("members", "-status=^failed$").stdout
    assert "dead " in listed and "pruned" in listed and "server " not in listed
    assert group.server.cli("force-leave", "dead").returncode == 0
    group.wait_for("dead", LEFT)
    assert group.server.cli("force-leave", "-prune", "pruned").returncode == 0
    group.wait_for("pruned", None)
    assert group.server.cli("force-leave", "-prune", "dead").returncode == 0
    group.wait_for("dead", None)
    for name in ("dead", "pruned"):
        group.server.until(lambda name=name: group.server.json("GET", f"/v1/catalog/node/{name}") is None)
    refused = group.server.cli("force-leave", "nobody")
    assert refused.returncode == 1 and "No node found with name 'nobody'" in refused.stderr


def test_a_client_says_when_it_is_to_be_forgotten_and_where_it_listens(group: Group) -> None:
    group.start("fleeting", 6, advertise_reconnect_timeout="15m", serf_lan="127.0.62.66", advertise_addr="127.0.62.66")
    group.wait_for("fleeting", ALIVE)
    row = next(row for row in group.server.json("GET", "/v1/agent/members") if row["Name"] == "fleeting")
    assert row["Tags"]["rc_tm"] == "15m" and row["Addr"] == "127.0.62.66"
    assert "rc_tm=15m" in group.server.cli("members", "-detailed").stdout


def test_who_is_not_in_the_allowed_networks_stays_out(group: Group) -> None:
    picky = group.start("picky", 7, retry_join=[], serf_lan_allowed_cidrs=["127.0.62.7/32", "127.0.62.8/32"])
    picky.until(lambda: picky.json("GET", "/v1/agent/self"))
    stranger = group.start("stranger", 9, retry_join=[])
    stranger.until(lambda: stranger.json("GET", "/v1/agent/self"))
    refused = stranger.cli("join", "127.0.62.7")
    assert refused.returncode == 1
    picky.until(lambda: "failed to receive: its address is not in the allowed CIDRs" in picky.log.read_text())
    friend = group.start("friend", 8, retry_join=["127.0.62.7"])
    friend.until(lambda: len(friend.json("GET", "/v1/agent/members")) == 2)
    assert {row["Name"] for row in picky.json("GET", "/v1/agent/members")} == {"picky", "friend"}


def test_a_damaged_keyring_keeps_an_agent_from_starting(group: Group) -> None:
    keyring = group.folder / "torn" / "data" / "serf" / "local.keyring"
    keyring.parent.mkdir(parents=True)
    keyring.write_text('["c29tZSBrZXkgdGhhdCBpcyAzMiBieXRlcyBsb25nISE=", "c2hvcnQ="]')
    agent = group.start("torn", 10)
    assert agent.process is not None and agent.process.wait(60) == 1
    said = agent.log.read_text()
    assert f"the keyring {keyring} is damaged: key 1: key size must be 16, 24 or 32 bytes" in said
    assert "c29tZS" not in said and "Traceback" not in said
