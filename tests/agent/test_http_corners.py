"""Corners of the HTTP API that clients meet: empty parameters, numbers that are too large, rubbish in bodies."""

import http.client
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.process import Agent, dev_agent


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    folder: Path = tmp_path_factory.mktemp("corners")
    with dev_agent(folder, limits={"kv_max_value_size": 100, "txn_max_req_len": 200}) as running:
        yield running


def test_empty_parameters_count_as_missing(agent: Agent) -> None:
    agent.json("PUT", "/v1/kv/corner", b"x")
    for query in ("index=", "wait=", "max_stale=", "index=&wait=&dc="):
        assert agent.request("GET", f"/v1/kv/corner?{query}")[0] == 200, query
    assert agent.request("GET", "/v1/kv/corner?index=x") == (400, b"Invalid index")
    assert agent.request("GET", "/v1/kv/corner?wait=1") == (400, b"Invalid wait time")


def test_ids_of_queries_ignore_case(agent: Agent) -> None:
    query_id = agent.json("POST", "/v1/query", {"Name": "corner", "Service": {"Service": "consul"}})["ID"]
    assert agent.json("GET", f"/v1/query/{query_id.upper()}")[0]["ID"] == query_id
    assert agent.json("GET", f"/v1/query/{query_id.upper()}/execute")["Service"] == "consul"


@pytest.mark.parametrize(
    ("query", "status", "text"),
    [
        (
            "limit=99999999999999999999",
            500,
            'Bad limit: strconv.Atoi: parsing "99999999999999999999": value out of range',
        ),
        ("limit=1.5", 500, 'Bad limit: strconv.Atoi: parsing "1.5": invalid syntax'),
        ("limit=%C2%B2", 500, 'Bad limit: strconv.Atoi: parsing "²": invalid syntax'),
        ("connect=yes", 500, "Error parsing 'connect' value: strconv.ParseBool: parsing \"yes\": invalid syntax"),
    ],
)
def test_parameters_of_queries(agent: Agent, query: str, status: int, text: str) -> None:
    agent.request("POST", "/v1/query", {"Name": "limited", "Service": {"Service": "consul"}})
    assert agent.request("GET", f"/v1/query/limited/execute?{query}") == (status, text.encode())
    assert agent.request("GET", "/v1/query/limited/execute?limit=")[0] == 200


@pytest.mark.parametrize("number", ["99999999999999999999", "1e30", "9223372036854775808", "80.5"])
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/v1/catalog/register", '{"Node": "n", "Address": "x", "Service": {"Service": "s", "Port": %s}}'),
        ("POST", "/v1/query", '{"Name": "n", "Service": {"Service": "s", "Failover": {"NearestN": %s}}}'),
        ("PUT", "/v1/agent/service/register", '{"Name": "n", "Port": %s}'),
    ],
)
def test_numbers_that_do_not_fit(agent: Agent, method: str, path: str, body: str, number: str) -> None:
    status, text = agent.request(method, path, (body % number).encode())
    assert status == 400 and b"cannot unmarshal number" in text and b"of type int" in text


def test_numbers_in_entries(agent: Agent) -> None:
    body = b'{"Kind": "service-defaults", "Name": "x", "MaxInboundConnections": 99999999999999999999}'
    status, text = agent.request("PUT", "/v1/config", body)
    assert status == 400 and b"MaxInboundConnections" in text


@pytest.mark.parametrize(
    ("delay", "kept"),
    [("true", 15_000_000_000), ("[1]", 15_000_000_000), ("null", 15_000_000_000), ('"7s"', 7_000_000_000)],
)
def test_lock_delays_of_other_kinds_are_passed_over(agent: Agent, delay: str, kept: int) -> None:
    session = agent.json("PUT", "/v1/session/create", f'{{"LockDelay": {delay}}}'.encode())["ID"]
    assert agent.json("GET", f"/v1/session/info/{session}")[0]["LockDelay"] == kept


def test_text_that_is_no_utf8(agent: Agent) -> None:
    agent.json("PUT", "/v1/catalog/register", b'{"Node": "bad-\xff\\ud800", "Address": "10.9.9.9"}')
    assert "bad-\ufffd\ufffd" in [node["Node"] for node in agent.json("GET", "/v1/catalog/nodes")]


def test_large_transactions_name_their_setting(agent: Agent) -> None:
    status, text = agent.request("PUT", "/v1/txn", b" " * 201)
    assert status == 413 and text.endswith(b"#txn_max_req_len.")
    status, text = agent.request("PUT", "/v1/kv/large", b" " * 101)
    assert status == 413 and text.endswith(b"#kv_max_value_size.")


def test_reads_refused_before_they_look_know_no_index(agent: Agent) -> None:
    status, body = agent.request("PUT", "/v1/txn", [{"KV": {"Verb": "get"}}])
    assert status == 409
    assert b'"Index":0' in body and b'"KnownLeader":false' in body
    status, body = agent.request("PUT", "/v1/txn", [{"KV": {"Verb": "get", "Key": "nothing-there"}}])
    assert status == 409
    assert b'"KnownLeader":true' in body


def test_transactions_show_lists_that_were_never_set_as_null(agent: Agent) -> None:
    service: dict[str, Any] = {"Node": "bare", "Address": "10.9.9.8", "Service": {"Service": "bare"}}
    agent.json("PUT", "/v1/catalog/register", service)
    get = [{"Service": {"Verb": "get", "Node": "bare", "Service": {"ID": "bare"}}}]
    assert agent.json("PUT", "/v1/txn", get)["Results"][0]["Service"]["Tags"] is None
    assert agent.json("GET", "/v1/catalog/service/bare")[0]["ServiceTags"] == []


def test_the_configuration_of_the_ca_changes_when_it_has_a_root(agent: Agent) -> None:
    config = agent.json("GET", "/v1/connect/ca/configuration")
    assert config["CreateIndex"] < config["ModifyIndex"]


def test_what_a_provider_keeps_is_shown_and_can_only_be_read(agent: Agent) -> None:
    path = "/v1/connect/ca/configuration"
    before = agent.json("GET", path)
    assert before["State"] is None
    settings = {"Provider": "consul", "Config": {**before["Config"], "test_state": {"foo": "bar", "n": 1}}}
    assert agent.request("PUT", path, settings) == (200, b"")
    shown = agent.json("GET", path)
    assert shown["State"] == {"foo": "bar"}
    # A client that changes what it read gives the state back.
    assert agent.request("PUT", path, shown) == (200, b"")
    assert agent.request("PUT", path, {**shown, "State": {"foo": "other"}})[0] == 400
    assert agent.request("PUT", path, {"Provider": "consul", "Config": before["Config"]}) == (200, b"")
    assert agent.json("GET", path)["State"] is None


def test_a_deregistration_may_name_the_address(agent: Agent) -> None:
    node = {"Node": "leaver", "Address": "10.9.9.7"}
    agent.json("PUT", "/v1/catalog/register", node)
    assert agent.request("PUT", "/v1/catalog/deregister", {**node, "Adress": ""})[0] == 400
    assert agent.json("PUT", "/v1/catalog/deregister", node) is True
    assert "leaver" not in [one["Node"] for one in agent.json("GET", "/v1/catalog/nodes")]


def test_roots_as_pem_come_with_what_was_signed_for_them(agent: Agent) -> None:
    settings = {"Provider": "consul", "Config": {"PrivateKeyType": "ec", "PrivateKeyBits": 384}}
    assert agent.request("PUT", "/v1/connect/ca/configuration", settings) == (200, b"")
    roots = agent.json("GET", "/v1/connect/ca/roots")["Roots"]
    status, pem = agent.request("GET", "/v1/connect/ca/roots?pem=true")
    expected = "".join(one["RootCert"] + "".join(one["IntermediateCerts"] or ()) for one in roots)
    assert (status, pem.decode()) == (200, expected)
    assert pem.count(b"BEGIN CERTIFICATE") == 3


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("PUT", "/v1/kv/a?cas=1&acquire=%ff", b"x", 400),
        ("PUT", "/v1/event/fire/x%ff?node=%ff", b"x", 200),
        ("GET", "/v1/agent/connect/ca/leaf/x%ff", None, 200),
        ("GET", "/v1/agent/connect/ca/leaf/", None, 500),
        ("GET", "/v1/internal/ui/metrics-proxy/%ff?x=%ff", None, 404),
        ("GET", "/v1/catalog/service/%ff", None, 200),
        ("GET", "/v1/health/service/x?tag=%ff&node-meta=%ff:%ff&near=%ff", None, 200),
        ("GET", "/v1/query/%ff/execute", None, 404),
        ("PUT", "/v1/session/renew/%ff", None, 404),
    ],
)
def test_bytes_that_are_no_text(agent: Agent, method: str, path: str, body: bytes | None, status: int) -> None:
    assert agent.request(method, path, body)[0] == status


@pytest.mark.parametrize("bits", ["x", [1], {"a": 1}, 1e400])
def test_key_lengths_that_are_no_numbers(agent: Agent, bits: Any) -> None:
    settings = {"Provider": "consul", "Config": {"PrivateKeyType": "ec", "PrivateKeyBits": bits}}
    status, text = agent.request("PUT", "/v1/connect/ca/configuration", settings)
    assert status in (400, 500)
    assert text != b"internal error"


def test_the_list_of_events_is_no_read_of_the_cluster(agent: Agent) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", agent.ports["http"], timeout=60)
    try:
        connection.request("GET", "/v1/event/list?name=none")
        headers = connection.getresponse().headers
    finally:
        connection.close()
    assert headers["X-Consul-Index"] == "1"
    assert not {"X-Consul-KnownLeader", "X-Consul-LastContact"} & set(headers)
