"""`operator …` against a real agent: settings from its file, changed one by one, and refusals with a reason."""

import json
from collections.abc import Iterator

import pytest

from tests.support.process import Agent, dev_agent


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    settings = {"cleanup_dead_servers": False, "last_contact_threshold": "400ms", "min_quorum": 2}
    with dev_agent(tmp_path_factory.mktemp("agent"), autopilot=settings) as running:
        yield running


def test_settings_come_from_the_file_and_change_one_by_one(agent: Agent) -> None:
    shown = agent.cli("operator", "autopilot", "get-config").stdout.splitlines()
    assert "CleanupDeadServers = false" in shown and "LastContactThreshold = 400ms" in shown
    changed = agent.cli("operator", "autopilot", "set-config", "-max-trailing-logs=9", "-server-stabilization-time=1m")
    assert (changed.returncode, changed.stdout) == (0, "Configuration updated!\n")
    shown = agent.cli("operator", "autopilot", "get-config").stdout.splitlines()
    assert {"MaxTrailingLogs = 9", "ServerStabilizationTime = 1m0s", "MinQuorum = 2"} <= set(shown)


def test_the_state_as_text_and_as_json(agent: Agent) -> None:
    agent.until(lambda: agent.json("GET", "/v1/operator/autopilot/health"))
    state = json.loads(agent.cli("operator", "autopilot", "state", "-format=json").stdout)
    text = agent.cli("operator", "autopilot", "state").stdout
    assert f"Leader:                       {state['Leader']}" in text and "Status:          leader" in text
    wrong = agent.cli("operator", "autopilot", "state", "-format=xml")
    assert wrong.returncode == 1 and "must be pretty or json" in wrong.stderr


def test_raft_commands(agent: Agent) -> None:
    peers = agent.cli("operator", "raft", "list-peers").stdout
    assert "leader" in peers and peers.startswith("Node")
    for words, reason in (
        (("remove-peer",), "an address or an ID is required"),
        (("remove-peer", "-id=a", "-address=b"), "cannot remove both"),
        (("remove-peer", "-id=a"), 'id "a" was not found'),
        (("transfer-leader",), "no other voter"),
        (("transfer-leader", "-id=a"), 'id "a" was not found'),
        (("transfer-leader", "a"), "Too many arguments"),
    ):
        refused = agent.cli("operator", "raft", *words)
        assert refused.returncode == 1 and reason in refused.stderr, words


def test_help_of_a_group_within_a_group(agent: Agent) -> None:
    help_text = agent.cli("operator", "autopilot", "-h")
    assert help_text.returncode == 0
    assert "set-config" in help_text.stdout and "raft" not in help_text.stdout
    assert agent.cli("operator", "raft").returncode == 1
