"""/v1/operator: settings over defaults, refusals that say why, health as a status code, handing over leadership."""

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.http.operator import parse_autopilot, shown_health
from model.errors import RpcError
from model.gojson import JsonError
from model.structs.operator import DEFAULT_AUTOPILOT, AutopilotHealthReply, AutopilotServerHealth
from server.raft.driver import Server
from tests.endpoints.fake import FakeServer
from tests.support.process import Agent, dev_agent

CONFIGURATION = "/v1/operator/autopilot/configuration"


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    with dev_agent(tmp_path_factory.mktemp("agent")) as running:
        yield running


def test_settings_are_merged_over_the_defaults_in_either_spelling() -> None:
    assert parse_autopilot(b"{}") == parse_autopilot(b"null") == DEFAULT_AUTOPILOT
    snake = parse_autopilot(b'{"cleanup_dead_servers": false, "last_contact_threshold": "1s", "min_quorum": 3}')
    camel = parse_autopilot(b'{"CleanupDeadServers": false, "LastContactThreshold": 1000000000, "MinQuorum": 3}')
    assert snake == camel
    assert (camel.cleanup_dead_servers, camel.max_trailing_logs, camel.min_quorum) == (False, 250, 3)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "EOF"),
        (b"{bad", "invalid character 'b' looking for beginning of object key string"),
        (b"[]", "cannot unmarshal array"),
        (b'{"Nonsense": 1}', 'unknown field "Nonsense"'),
        (
            b'{"MaxTrailingLogs": -1}',
            "number -1 into Go struct field AutopilotConfiguration.MaxTrailingLogs of type uint64",
        ),
        (b'{"min_quorum": 18446744073709551616}', "AutopilotConfiguration.MinQuorum"),
        (b'{"LastContactThreshold": "soon"}', 'invalid duration "soon"'),
        (b'{"CleanupDeadServers": "yes"}', "cannot unmarshal string"),
    ],
)
def test_what_is_wrong_with_settings_is_named(body: bytes, reason: str) -> None:
    with pytest.raises(JsonError) as caught:
        parse_autopilot(body)
    assert reason in str(caught.value)


@given(
    st.binary(max_size=64)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["MinQuorum", "min_quorum", "x", "LastContactThreshold"]), inner, max_size=3
            )
        ),
        max_leaves=5,
    ).map(lambda value: json.dumps(value).encode())
)
def test_no_body_does_more_than_be_refused(body: bytes) -> None:
    try:
        config = parse_autopilot(body)
    except JsonError:
        return
    assert config.min_quorum >= 0 and config.max_trailing_logs >= 0


def test_a_put_over_http_starts_from_the_defaults(agent: Agent) -> None:
    assert agent.json("PUT", CONFIGURATION, {"max_trailing_logs": 7}) is True
    assert agent.json("PUT", CONFIGURATION, {"MinQuorum": 3}) is True
    held = agent.json("GET", CONFIGURATION)
    assert (held["MaxTrailingLogs"], held["MinQuorum"], held["CleanupDeadServers"]) == (250, 3, True)
    status, text = agent.request("PUT", CONFIGURATION, b'{"MinQuorum": "x"}')
    assert status == 400 and text.startswith(b"Error parsing autopilot config: ")
    assert agent.json("PUT", f"{CONFIGURATION}?cas={held['ModifyIndex'] + 1}", {}) is False
    assert agent.json("GET", CONFIGURATION) == held
    assert agent.request("PUT", f"{CONFIGURATION}?cas=99999999999999999999", {})[0] == 400


def test_health_and_state_of_one_server(agent: Agent) -> None:
    health = agent.until(lambda: agent.json("GET", "/v1/operator/autopilot/health"))
    assert health["Servers"][0]["SerfStatus"] == "alive" and health["Servers"][0]["LastContact"] == "0s"
    state = agent.json("GET", "/v1/operator/autopilot/state")
    assert state["Servers"][state["Leader"]]["Status"] == "leader"


def test_health_is_shown_by_name() -> None:
    shown = shown_health(AutopilotHealthReply(servers=[AutopilotServerHealth(serf_status=4, name="a")]))
    assert shown["Healthy"] is False and shown["Servers"][0]["SerfStatus"] == "failed"
    assert (
        shown_health(AutopilotHealthReply(servers=[AutopilotServerHealth(serf_status=77)]))["Servers"][0]["SerfStatus"]
        == "unknown"
    )


def test_a_lone_server_has_nobody_to_hand_over_to(agent: Agent) -> None:
    status, text = agent.request("PUT", "/v1/operator/raft/transfer-leader")
    assert (status, text) == (500, b"leadership was not transferred: there is no other voter to hand leadership to")
    status, text = agent.request("PUT", "/v1/operator/raft/transfer-leader?id=nobody")
    assert (status, text) == (500, b'id "nobody" was not found in the Raft configuration')
    assert agent.request("GET", "/v1/operator/raft/transfer-leader")[0] == 405


async def test_leadership_goes_to_who_is_named() -> None:
    server = FakeServer()
    server.raft.servers += [Server("id-2", "127.0.0.2:8300"), Server("id-3", "127.0.0.3:8300", voter=False)]
    assert (await server.call("Operator.TransferLeader", id="id-2")).success
    assert (await server.call("Operator.TransferLeader")).success
    assert server.raft.transfers == ["id-2", None]
    for wrong, reason in (("id-1", "is the leader already"), ("id-3", "does not vote"), ("x", "was not found")):
        with pytest.raises(RpcError, match=reason):
            await server.call("Operator.TransferLeader", id=wrong)
