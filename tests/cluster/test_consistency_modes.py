"""What servers that do not lead, and client agents, say of their answers."""

import http.client
import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.process import Agent


class Three(list[Agent]):
    """Three servers and a client agent on loopback; `leader` and `follower` are two of the servers."""

    leader: Agent
    follower: Agent
    client: Agent


def _head(agent: Agent, path: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", agent.ports["http"], timeout=60)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, body
    finally:
        connection.close()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Three]:
    folder: Path = tmp_path_factory.mktemp("modes")
    common: dict[str, Any] = {"retry_interval": "300ms"}
    servers = Three()
    with ExitStack() as stack:
        for number in range(3):
            join = [f"127.0.0.1:{servers[0].ports['serf_lan']}"] if servers else []
            settings = {**common, "server": True, "bootstrap_expect": 3, "retry_join": join}
            settings |= {"node_name": f"s{number}", "data_dir": str(folder / f"s{number}" / "data")}
            servers.append(Agent(folder / f"s{number}", [], settings))
        join = [f"127.0.0.1:{servers[0].ports['serf_lan']}"]
        settings = {**common, "node_name": "c", "data_dir": str(folder / "c" / "data"), "retry_join": join}
        servers.client = Agent(folder / "c", [], settings)
        for agent in (*servers, servers.client):
            agent.start()
            stack.callback(agent.stop)
        for agent in (*servers, servers.client):
            agent.ready()
            agent.until(lambda agent=agent: len(agent.json("GET", "/v1/catalog/nodes")) == 4, 60)
        address = servers[0].json("GET", "/v1/status/leader")
        servers.leader = next(one for one in servers if address.endswith(f":{one.ports['server']}"))
        servers.follower = next(one for one in servers if one is not servers.leader)
        servers.leader.json("PUT", "/v1/kv/mode", b"x")
        servers.follower.until(lambda: servers.follower.json("GET", "/v1/kv/mode?stale"))
        yield servers


@pytest.mark.parametrize("path", ["/v1/catalog/nodes", "/v1/kv/mode", "/v1/health/service/consul", "/v1/session/list"])
def test_the_leader_answers_unless_a_stale_answer_will_do(cluster: Three, path: str) -> None:
    for agent in (cluster.leader, cluster.follower, cluster.client):
        for query, mode in (("", "leader"), ("?stale", "stale"), ("?consistent", "consistent")):
            status, headers, _ = _head(agent, path + query)
            assert status == 200
            assert headers["x-consul-knownleader"] == "true"
            assert int(headers["x-consul-index"]) > 0
            assert headers["x-consul-lastcontact"].isdigit()
            if mode != "stale":
                assert headers["x-consul-lastcontact"] == "0"
            assert headers.get("x-consul-effective-consistency", mode) == mode


def test_an_answer_that_is_too_old_is_asked_of_the_leader(cluster: Three) -> None:
    _, headers, _ = _head(cluster.follower, "/v1/catalog/nodes?max_stale=0s")
    assert (headers["x-consul-effective-consistency"], headers["x-consul-lastcontact"]) == ("leader", "0")
    _, headers, _ = _head(cluster.follower, "/v1/catalog/nodes?max_stale=10m")
    assert headers["x-consul-effective-consistency"] == "stale"
    _, headers, _ = _head(cluster.leader, "/v1/catalog/nodes?max_stale=0s")
    assert headers["x-consul-effective-consistency"] == "stale"


def test_a_follower_blocks_for_a_stale_read(cluster: Three) -> None:
    _, headers, _ = _head(cluster.follower, "/v1/kv/mode?stale")
    index = headers["x-consul-index"]
    status, after, _ = _head(cluster.follower, f"/v1/kv/mode?stale&index={index}&wait=200ms")
    assert (status, after["x-consul-index"]) == (200, index)
    cluster.client.json("PUT", "/v1/kv/mode", b"y")
    status, after, body = _head(cluster.follower, f"/v1/kv/mode?stale&index={index}&wait=5m")
    assert status == 200
    assert int(after["x-consul-index"]) > int(index)
    assert json.loads(body)[0]["Value"] == "eQ=="


def test_operators_see_the_same_from_everywhere(cluster: Three) -> None:
    seen = [agent.json("GET", "/v1/operator/raft/configuration")["Servers"] for agent in (*cluster, cluster.client)]
    assert len(seen[0]) == 3
    assert sum(server["Leader"] for server in seen[0]) == 1
    assert all(sorted(one["ID"] for one in rows) == sorted(one["ID"] for one in seen[0]) for rows in seen)
    for agent in (*cluster, cluster.client):
        agent.until(lambda agent=agent: agent.json("GET", "/v1/operator/autopilot/health")["Healthy"], 60)
        state = agent.json("GET", "/v1/operator/autopilot/state")
        assert (state["FailureTolerance"], len(state["Voters"])) == (1, 3)
        assert len(agent.json("GET", "/v1/status/peers")) == 3
    status, text = cluster.client.request("DELETE", "/v1/operator/raft/peer?id=nobody")
    assert (status, b"was not found in the Raft configuration" in text) == (500, True)
