"""Keyring operations without encryption, and distances between nodes, over HTTP and on the command line."""

import math
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip.key_answers import KeyReport
from model.errors import RpcError
from model.structs.coordinate import CoordinateVector, distance
from tests.endpoints.fake import FakeServer
from tests.support.process import Agent, dev_agent, free_ports

KEY = "pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s="


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    with dev_agent(tmp_path_factory.mktemp("agent"), ports={"serf_wan": free_ports(1)[0]}) as running:
        yield running


def test_every_member_says_that_there_is_no_keyring(agent: Agent) -> None:
    status, text = agent.request("GET", "/v1/operator/keyring")
    assert status == 500 and text.startswith(b"4 errors occurred:\n\t* WAN error: 1/1 nodes reported failure\n")
    assert b"\t* node1: Keyring is empty (encryption not enabled)\n\n" in text
    status, text = agent.request("GET", "/v1/operator/keyring?local-only=true")
    assert status == 500 and text.startswith(b"2 errors occurred:\n\t* dc1 (LAN) error")
    for method in ("POST", "PUT", "DELETE"):
        status, text = agent.request(method, "/v1/operator/keyring", {"Key": KEY})
        assert status == 500 and b"No keyring to modify" in text


@pytest.mark.parametrize(
    ("method", "query", "text"),
    [
        ("GET", "?relay-factor=6", b"must be in range: [0, 5]"),
        ("GET", "?relay-factor=-1", b"must be in range: [0, 5]"),
        ("GET", "?relay-factor=x", b"Error parsing relay factor"),
        ("GET", "?local-only=perhaps", b"Error parsing local-only"),
        ("PUT", "?local-only=1", b"can only be used with GET"),
    ],
)
def test_parameters_of_keyring_requests(agent: Agent, method: str, query: str, text: bytes) -> None:
    status, answer = agent.request(method, f"/v1/operator/keyring{query}", None if method == "GET" else {"Key": "x"})
    assert status == 400 and text in answer


KEYS = {KEY: 3}


def report(failed: int = 0, **messages: str) -> KeyReport:
    return KeyReport(3, 3, failed, dict(messages), dict(KEYS), dict(KEYS))


async def test_both_pools_and_all_datacenters_are_asked_the_wan_first() -> None:
    here, there = FakeServer(), FakeServer()
    there.datacenter = "dc2"
    here.forward_to, here.elsewhere = there, {"dc2": ["127.0.0.1:8300"]}
    for server in (here, there):
        server.key_reports = {False: report(), True: report()}
    reply = await here.call("Internal.KeyringOperation", operation="list")
    assert [(row.wan, row.datacenter) for row in reply.responses] == [(True, "dc1"), (False, "dc1"), (False, "dc2")]
    assert {row.num_nodes for row in reply.responses} == {3} and reply.responses[0].keys == KEYS
    assert [wide for _, _, wide in there.key_operations] == [False]  # The WAN pool is everybody's: it is asked once.
    reply = await here.call("Internal.KeyringOperation", operation="list", local_only=True)
    assert [(row.wan, row.datacenter) for row in reply.responses] == [(False, "dc1")]
    with pytest.raises(RpcError, match="LocalOnly"):
        await here.call("Internal.KeyringOperation", operation="use", key=KEY, local_only=True)
    here.forward_to = None
    reply = await here.call("Internal.KeyringOperation", operation="install", key=KEY)
    assert reply.responses[2].error == "connection refused"
    assert here.key_operations[-1][0] == "_serf_install-key" and len(here.key_operations[-1][1]) == 32


async def test_what_went_wrong_is_told_by_member() -> None:
    server = FakeServer()
    server.key_reports = {False: report(1, node2="disk full")}
    reply = await server.call("Internal.KeyringOperation", operation="remove", key=KEY)
    assert [(row.wan, row.error) for row in reply.responses] == [(False, "1/3 nodes reported failure")]
    assert reply.responses[0].messages == {"node2": "disk full"}
    reply = await server.call("Internal.KeyringOperation", operation="install", key="short")
    assert reply.responses[0].error == "illegal base64 data at input byte 4"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("-list",), "Keyring is empty"),
        ((f"-install={KEY}",), "No keyring to modify"),
        ((), "Exactly one of"),
        (("-list", "-use=x"), "Exactly one of"),
        (("-list", "-relay-factor=6"), "Relay factor"),
        (("-use=x", "-local-only"), "-local-only"),
    ],
)
def test_keyring_commands(agent: Agent, words: tuple[str, ...], reason: str) -> None:
    refused = agent.cli("keyring", *words)
    assert refused.returncode == 1 and reason in refused.stderr


VECTORS = st.builds(
    CoordinateVector,
    adjustment=st.floats(-0.001, 0.001),
    height=st.floats(1e-5, 1),
    vec=st.lists(st.floats(-5, 5), min_size=8, max_size=8),
)


@given(VECTORS, VECTORS)
def test_distances_are_positive_and_the_same_both_ways(a: CoordinateVector, b: CoordinateVector) -> None:
    assert distance(a, b) > 0 and math.isclose(distance(a, b), distance(b, a))


def test_the_time_between_two_nodes(agent: Agent) -> None:
    for name, x in (("east", 0.1), ("west", 0.25)):
        agent.json("PUT", "/v1/catalog/register", {"Node": name, "Address": "10.0.0.1"})
        coordinate = {"Vec": [x, 0, 0, 0, 0, 0, 0, 0], "Error": 1.5, "Height": 1e-5}
        agent.json("PUT", "/v1/coordinate/update", {"Node": name, "Coord": coordinate})
    for name in ("east", "west"):
        agent.until(lambda name=name: agent.json("GET", f"/v1/coordinate/node/{name}"))  # type: ignore[misc]
    shown = agent.cli("rtt", "east", "west")
    assert shown.stdout == "Estimated east <-> west rtt: 150.020 ms (using LAN coordinates)\n"
    shown = agent.cli("rtt", "-wan", "node1.dc1")
    assert shown.stdout.startswith("Estimated node1.dc1 <-> node1.dc1 rtt: 0.020 ms (using WAN")
    for words, reason in (
        ((), "One or two node names"),
        (("east", "nobody"), "Could not find a coordinate for node 'nobody'"),
        (("-wan", "east"), "<node>.<datacenter>"),
        (("-wan", "east.dc9"), "Could not find a coordinate"),
    ):
        refused = agent.cli("rtt", *words)
        assert refused.returncode == 1 and reason in refused.stderr
