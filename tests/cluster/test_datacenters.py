"""Two datacenters in one WAN pool, of real agents: who sees whom, and calls that go to the other datacenter."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dnslib
import pytest

from tests.support.process import Agent, free_ports

KEY = "pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s="
QUICK = {"gossip_interval": "50ms", "probe_interval": "500ms", "probe_timeout": "400ms"}


class Pair:
    """Datacenter dc1 with a server and a client, dc2 with two servers; one of dc2 joins the server of dc1."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lan, self.wan, self.rpc = free_ports(3)
        self.server = self.agent("one", 1, "dc1", server=True, bootstrap=True)
        self.client = self.agent("leaf", 2, "dc1", retry_join=["127.0.61.1"])
        self.far = self.agent("two", 3, "dc2", server=True, bootstrap_expect=2, retry_join_wan=["127.0.61.1"])
        self.farther = self.agent("three", 4, "dc2", server=True, bootstrap_expect=2, retry_join=["127.0.61.3"])
        self.all = (self.server, self.client, self.far, self.farther)

    def agent(self, name: str, number: int, datacenter: str, **settings: Any) -> Agent:
        base = {
            "node_name": name,
            "datacenter": datacenter,
            "data_dir": str(self.folder / name / "data"),
            "encrypt": KEY,
            "gossip_lan": QUICK,
            "gossip_wan": QUICK,
            "retry_interval": "300ms",
            "retry_interval_wan": "300ms",
            "ports": {"serf_lan": self.lan, "serf_wan": self.wan, "server": self.rpc},
        }
        return Agent(self.folder / name, [], {**base, **settings}, host=f"127.0.61.{number}")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    made = Pair(tmp_path_factory.mktemp("pair"))
    try:
        for agent in made.all:
            agent.start()
        for agent in made.all:
            agent.ready()
        for agent in (made.server, made.far, made.farther):
            agent.until(lambda agent=agent: len(agent.json("GET", "/v1/agent/members?wan=1")) == 3)
        yield made
    finally:
        for agent in made.all:
            if agent.process is not None:
                agent.stop(9)


pytestmark = pytest.mark.slow


def test_servers_of_all_datacenters_see_each_other(pair: Pair) -> None:
    """`three` was never told of dc1, nor dc1 of it: its neighbour brought it in."""
    for agent in (pair.server, pair.far, pair.farther):
        rows = agent.json("GET", "/v1/agent/members?wan=1")
        assert {row["Name"] for row in rows} == {"one.dc1", "two.dc2", "three.dc2"}
        assert {row["Port"] for row in rows} == {pair.wan}
        assert all("wan_join_port" not in row["Tags"] for row in rows)
    assert {row["Name"] for row in pair.server.json("GET", "/v1/agent/members")} == {"one", "leaf"}
    assert pair.client.json("GET", "/v1/agent/members?wan=1") == []
    shown = pair.far.cli("members", "-wan").stdout.splitlines()
    assert [line.split()[0] for line in shown] == ["Node", "one.dc1", "three.dc2", "two.dc2"]
    refused = pair.client.cli("join", "-wan", f"127.0.61.3:{pair.wan}")
    assert refused.returncode == 1 and "Must be a server to join WAN cluster" in refused.stderr
    joined = pair.server.cli("join", "-wan", f"127.0.61.3:{pair.wan}")
    assert joined.stdout == "Successfully joined cluster by contacting 1 nodes.\n"


def test_datacenters_are_listed_nearest_first_everywhere(pair: Pair) -> None:
    assert pair.server.json("GET", "/v1/catalog/datacenters") == ["dc1", "dc2"]
    assert pair.client.json("GET", "/v1/catalog/datacenters") == ["dc1", "dc2"]
    assert pair.far.json("GET", "/v1/catalog/datacenters") == ["dc2", "dc1"]
    assert pair.client.cli("catalog", "datacenters").stdout == "dc1\ndc2\n"
    places = pair.far.until(
        lambda: (rows := pair.far.json("GET", "/v1/coordinate/datacenters")) and len(rows) == 2 and rows
    )
    assert {row["Datacenter"]: {one["Node"] for one in row["Coordinates"]} for row in places}["dc1"] == {"one"}
    pair.far.until(lambda: pair.far.cli("rtt", "-wan", "two.dc2", "one.dc1").returncode == 0)
    shown = pair.far.cli("rtt", "-wan", "two.dc2", "one.dc1").stdout
    assert shown.startswith("Estimated two.dc2 <-> one.dc1 rtt: ") and shown.endswith("(using WAN coordinates)\n")


def test_keys_and_values_of_the_other_datacenter(pair: Pair) -> None:
    assert pair.client.cli("kv", "put", "-datacenter=dc2", "greeting", "ave").returncode == 0
    assert pair.farther.json("GET", "/v1/kv/greeting")[0]["Value"] == base64.b64encode(b"ave").decode()
    assert pair.client.request("GET", "/v1/kv/greeting")[0] == 404
    assert pair.server.request("GET", "/v1/kv/greeting?dc=dc2&raw") == (200, b"ave")
    assert pair.server.request("GET", "/v1/kv/greeting?dc=DC2&raw&consistent") == (200, b"ave")
    assert pair.client.cli("kv", "get", "-datacenter=dc1", "greeting").returncode == 1


def test_a_read_of_the_other_datacenter_waits_for_changes(pair: Pair) -> None:
    pair.far.json("PUT", "/v1/kv/watched", b"1")
    row = pair.client.json("GET", "/v1/kv/watched?dc=dc2")[0]
    found: list[Any] = []
    path = f"/v1/kv/watched?dc=dc2&raw&wait=5m&index={row['ModifyIndex']}"
    ask = lambda: found.append(pair.client.request("GET", path, seconds=400))  # noqa: E731
    waiting = threading.Thread(target=ask, daemon=True)
    waiting.start()
    pair.far.json("PUT", "/v1/kv/watched", b"2")
    waiting.join(60)
    assert found == [(200, b"2")]


def test_services_and_names_of_the_other_datacenter(pair: Pair) -> None:
    pair.far.json("PUT", "/v1/agent/service/register", {"Name": "web", "Port": 80, "Address": "10.1.2.3"})
    pair.client.until(lambda: pair.client.json("GET", "/v1/health/service/web?dc=dc2&passing"))
    assert pair.client.json("GET", "/v1/health/service/web") == []
    question = dnslib.DNSRecord.question("web.service.dc2.consul")
    for agent in (pair.server, pair.client):
        answer = dnslib.DNSRecord.parse(question.send("127.0.0.1", agent.ports["dns"], timeout=60))
        assert [str(one.rdata) for one in answer.rr] == ["10.1.2.3"]
    assert {node["Node"] for node in pair.client.json("GET", "/v1/catalog/nodes?dc=dc2")} == {"two", "three"}
    assert pair.client.cli("catalog", "nodes", "-datacenter=dc2").stdout.count("dc2") == 2


def test_a_query_looks_in_the_other_datacenter(pair: Pair) -> None:
    pair.far.json("PUT", "/v1/agent/service/register", {"Name": "only-there", "Port": 81, "Address": "10.1.2.4"})
    pair.far.until(lambda: pair.far.json("GET", "/v1/health/service/only-there?passing"))
    body = {"Name": "anywhere", "Service": {"Service": "only-there", "Failover": {"NearestN": 2}}}
    pair.server.json("POST", "/v1/query", body)
    found = pair.client.json("GET", "/v1/query/anywhere/execute")
    assert (found["Datacenter"], found["Failovers"]) == ("dc2", 1)
    assert [row["Service"]["Port"] for row in found["Nodes"]] == [81]
    question = dnslib.DNSRecord.question("anywhere.query.consul")
    answer = dnslib.DNSRecord.parse(question.send("127.0.0.1", pair.client.ports["dns"], timeout=60))
    assert [str(one.rdata) for one in answer.rr] == ["10.1.2.4"]


def test_a_snapshot_of_the_other_datacenter(pair: Pair) -> None:
    archive = pair.folder / "far.snap"
    for agent in (pair.client, pair.server):
        saved = agent.cli("snapshot", "save", "-datacenter=dc2", str(archive))
        assert saved.returncode == 0, saved.stderr
        assert "KVS" in agent.cli("snapshot", "inspect", str(archive)).stdout
        archive.unlink()
    refused = pair.client.cli("snapshot", "save", "-datacenter=dc9", str(archive))
    assert refused.returncode == 1 and "No path to datacenter" in refused.stderr


def test_a_datacenter_that_nobody_knows(pair: Pair) -> None:
    for agent in (pair.server, pair.client):
        status, text = agent.request("GET", "/v1/kv/greeting?dc=dc9")
        assert status == 500 and b"No path to datacenter" in text
        question = dnslib.DNSRecord.question("web.service.dc9.consul")
        answer = dnslib.DNSRecord.parse(question.send("127.0.0.1", agent.ports["dns"], timeout=60))
        assert answer.header.rcode == 3


def test_keys_of_all_pools_are_changed_together(pair: Pair) -> None:
    other = "c29tZSBrZXkgdGhhdCBpcyAzMiBieXRlcyBsb25nISE="

    def keys() -> list[tuple[bool, str, dict[str, int], int]]:
        rows = pair.client.json("GET", "/v1/operator/keyring")
        return [(row["WAN"], row["Datacenter"], row["Keys"], row["NumNodes"]) for row in rows]

    assert keys() == [(True, "dc1", {KEY: 3}, 3), (False, "dc1", {KEY: 2}, 2), (False, "dc2", {KEY: 2}, 2)]
    for word, key in (("-install", other), ("-use", other), ("-remove", KEY)):
        done = pair.farther.cli("keyring", f"{word}={key}")
        assert done.returncode == 0, done.stderr
    assert [row[2] for row in keys()] == [{other: 3}, {other: 2}, {other: 2}]
    listed = pair.client.cli("keyring", "-list", "-local-only").stdout
    assert listed == f"==> Gathering installed encryption keys...\n\ndc1 (LAN):\n  {other} [2/2]\n"


def test_a_datacenter_that_is_gone_and_returns(pair: Pair) -> None:
    """The last test: it stops dc2. Its servers find the WAN pool again by what they remember."""
    assert pair.far.json("PUT", "/v1/kv/greeting", b"ave") is True
    for agent in (pair.far, pair.farther):
        agent.stop(9)
    status, text = pair.server.request("GET", "/v1/kv/greeting?dc=dc2")
    assert status == 500, text
    pair.server.until(
        lambda: [row["Status"] for row in pair.server.json("GET", "/v1/agent/members?wan=1")].count(4) == 2, 60
    )
    status, text = pair.client.request("GET", "/v1/kv/greeting?dc=dc2")
    assert status == 500 and b"No path to datacenter" in text
    assert pair.server.json("GET", "/v1/catalog/datacenters") == ["dc1", "dc2"]
    refused = pair.server.cli("force-leave", "-wan", "nobody.dc2")
    assert refused.returncode == 1 and "No node found with name" in refused.stderr
    assert pair.server.cli("force-leave", "-wan", "three.dc2").returncode == 0
    pair.server.until(
        lambda: {r["Name"]: r["Status"] for r in pair.server.json("GET", "/v1/agent/members?wan=1")}["three.dc2"] == 3
    )
    config = json.loads(pair.far.config.read_text())
    del config["retry_join_wan"]
    pair.far.config.write_text(json.dumps(config))
    for agent in (pair.far, pair.farther):
        agent.start()
    pair.client.until(lambda: pair.client.request("GET", "/v1/kv/greeting?dc=dc2&raw") == (200, b"ave"), 60)
