"""Metrics in all the forms in which they leave the agent, and from a running one."""

import json
import math
import os
import signal
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from agent.config.settings import Telemetry
from agent.http.measured import MeasuredRoutes, shown_path
from agent.metrics import Followed, Naming, as_dump, as_json, as_prometheus, datagrams, statsd_lines
from model.metrics import RECENT, Metrics
from tests.support.process import Agent


def _filled() -> Metrics:
    metrics = Metrics()
    metrics.begin(1_700_000_003.0)
    metrics.counter("raft.apply").add(3)
    metrics.sample("api.http", method="GET", path="v1_kv__").add(1.5)
    metrics.sample("api.http", method="GET", path="v1_kv__").add(2.5)
    metrics.gauge("raft.peers", 3.0)
    metrics.gauge("autopilot.healthy", math.nan)
    return metrics


def test_json_is_as_consuls() -> None:
    shown = as_json(_filled().roll(1_700_000_010.0), Naming(Telemetry(), "host1"))
    assert shown == {
        "Timestamp": "2023-11-14 22:13:20 +0000 UTC",
        "Gauges": [{"Name": "consul.raft.peers", "Value": 3, "Labels": {}}],
        "Points": [],
        "Counters": [
            {
                "Name": "consul.raft.apply",
                "Count": 1,
                "Rate": 0.3,
                "Sum": 3,
                "Min": 3,
                "Max": 3,
                "Mean": 3,
                "Stddev": 0,
                "Labels": {},
            }
        ],
        "Samples": [
            {
                "Name": "consul.api.http",
                "Count": 2,
                "Rate": 0.4,
                "Sum": 4,
                "Min": 1.5,
                "Max": 2.5,
                "Mean": 2,
                "Stddev": math.sqrt(0.5),
                "Labels": {"method": "GET", "path": "v1_kv__"},
            }
        ],
    }


def test_prometheus_can_read_what_is_meant_for_it() -> None:
    metrics = _filled()
    naming = Naming(Telemetry(prometheus_retention=60.0, metrics_prefix="my.own-prefix"), "host.1")
    text = as_prometheus(metrics.gauges_now(), metrics.series(), naming)
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert families["my_own_prefix_host_1_raft_peers"].samples[0].value == 3
    assert math.isnan(families["my_own_prefix_host_1_autopilot_healthy"].samples[0].value)
    assert "# TYPE my_own_prefix_raft_apply counter\nmy_own_prefix_raft_apply 3\n" in text
    times = families["my_own_prefix_api_http"]
    assert times.type == "summary"
    found = {(sample.name, sample.labels.get("quantile", "")): sample.value for sample in times.samples}
    assert found["my_own_prefix_api_http_sum", ""] == 4 and found["my_own_prefix_api_http_count", ""] == 2
    assert found["my_own_prefix_api_http", "0.5"] == 1.5 and found["my_own_prefix_api_http", "0.99"] == 2.5


def test_labels_cannot_break_the_format() -> None:
    metrics = Metrics()
    metrics.counter("serf.events.a b\nc", who='x"y\\z\n').add()
    text = as_prometheus([], metrics.series(), Naming(Telemetry(), ""))
    (family,) = text_string_to_metric_families(text)
    assert family.samples[0].labels == {"who": 'x"y\\z\n'}
    (line,) = statsd_lines([], Followed().news(metrics.series()), Naming(Telemetry(), ""))
    assert line.count("\n") == 0 and line.endswith(":1|c")


@pytest.mark.parametrize(
    ("settings", "name", "shown"),
    [
        (Telemetry(), "raft.apply", True),
        (Telemetry(filter_default=False), "raft.apply", False),
        (Telemetry(filter_default=False, allowed=("consul.raft",)), "raft.apply", True),
        (Telemetry(blocked=("consul.raft",)), "raft.apply", False),
        (Telemetry(blocked=("consul.http",), allowed=("consul.http.GET",)), "http.GET.v1", True),
        (Telemetry(blocked=("consul.http",), allowed=("consul.http",)), "http.GET", False),
        (Telemetry(blocked=("consul.http.GET",), allowed=("consul.http",)), "http.GET", False),
    ],
)
def test_the_most_specific_rule_decides(settings: Telemetry, name: str, shown: bool) -> None:
    assert (Naming(settings, "").full(name, False) is not None) is shown


def test_the_host_is_in_the_names_of_gauges_when_they_are_sent_away() -> None:
    assert Naming(Telemetry(), "h").full("a", True) == "consul.a"
    sent = Telemetry(statsd_address="127.0.0.1:1")
    assert Naming(sent, "h").full("a", True) == "consul.h.a"
    assert Naming(sent, "h").full("a", False) == "consul.a"
    assert Naming(Telemetry(statsd_address="127.0.0.1:1", disable_hostname=True), "h").full("a", True) == "consul.a"


def test_statsd_gets_what_is_new() -> None:
    metrics, followed, naming = _filled(), Followed(), Naming(Telemetry(), "")
    lines = statsd_lines(metrics.gauges_now(), followed.news(metrics.series()), naming)
    assert lines == [
        "consul.raft.peers:3|g",
        "consul.raft.apply:3|c",
        "consul.api.http.GET.v1_kv__:1.500000|ms",
        "consul.api.http.GET.v1_kv__:2.500000|ms",
    ]
    assert statsd_lines([], followed.news(metrics.series()), naming) == []
    metrics.roll(20.0)
    metrics.counter("raft.apply").add(2)
    tags = ("env:a b",)
    assert statsd_lines([], followed.news(metrics.series()), naming, tags) == ["consul.raft.apply:2|c|#env:a_b"]
    metrics.sample("api.http", method="GET", path="v1_kv__").add(9.0)
    assert statsd_lines([], followed.news(metrics.series()), naming, ()) == [
        "consul.api.http:9.000000|ms|#method:GET,path:v1_kv__"
    ]


def test_more_values_than_are_remembered_are_sent_with_their_rate() -> None:
    metrics, naming = Metrics(), Naming(Telemetry(), "")
    for value in range(RECENT * 4):
        metrics.sample("a").add(float(value))
    lines = statsd_lines([], Followed().news(metrics.series()), naming)
    assert len(lines) == RECENT and all(line.endswith("|ms|@0.25") for line in lines)


def test_datagrams_hold_whole_lines() -> None:
    packets = datagrams(["a" * 10, "b" * 10, "c" * 100, "d"], 23)
    assert packets == [b"a" * 10 + b"\n" + b"b" * 10 + b"\n", b"d\n"]


def test_a_dump_for_people() -> None:
    text = as_dump(_filled().roll(1_700_000_010.0), Naming(Telemetry(), ""))
    assert "[2023-11-14 22:13:20 +0000 UTC][G] 'consul.raft.peers': 3.000" in text
    assert "[S] 'consul.api.http.GET.v1_kv__': Count: 2 Min: 1.500 Mean: 2.000" in text


def test_names_of_routes() -> None:
    assert shown_path("/v1/kv/") == "v1_kv__" and shown_path("/v1/agent/metrics") == "v1_agent_metrics"
    metrics = Metrics()
    routes = MeasuredRoutes("n1", metrics)
    route = routes.of("/v1/catalog/nodes", "GET")
    assert routes.of("/v1/catalog/nodes", "GET") is route
    route.succeeded()
    route.took(0.5)
    route.refused()
    route.took(0.5)
    shown = {one.name: one.value for one in metrics.roll(0.0).counters}
    assert {name: value.sum for name, value in shown.items()} == {  # type: ignore[union-attr]
        "client.api.catalog_nodes": 2,
        "client.api.success.catalog_nodes": 1,
        "client.rpc.error.catalog_nodes": 1,
    }


# A running agent


def _named(shown: dict[str, Any], kind: str) -> dict[str, Any]:
    return {one["Name"]: one for one in shown[kind]}


def test_a_running_agent_counts_and_sends(tmp_path: Path) -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as statsd,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as dogstatsd,
        socket.create_server(("127.0.0.1", 0)) as statsite,
    ):
        for one in (statsd, dogstatsd):
            one.bind(("127.0.0.1", 0))
        for one in (statsd, dogstatsd, statsite):
            one.settimeout(60)
        telemetry = {
            "statsd_address": f"127.0.0.1:{statsd.getsockname()[1]}",
            "dogstatsd_addr": f"127.0.0.1:{dogstatsd.getsockname()[1]}",
            "dogstatsd_tags": ["env:test"],
            "statsite_address": f"127.0.0.1:{statsite.getsockname()[1]}",
            "prometheus_retention_time": "60s",
            "disable_hostname": True,
            "metrics_prefix": "mine",
            "prefix_filter": ["-mine.runtime"],
        }
        agent = Agent(tmp_path, ["-dev"], {"telemetry": telemetry})
        agent.start()
        try:
            agent.ready()
            connection, _ = statsite.accept()
            connection.settimeout(60)
            for number in range(5):
                agent.json("PUT", f"/v1/kv/key{number}", b"x")
            agent.json("GET", "/v1/catalog/nodes")
            _heard_by(lambda: statsd.recv(65536), b"mine.api.http.PUT.v1_kv__:")
            _heard_by(lambda: dogstatsd.recv(65536), b"mine.api.http:", b"|ms|#env:test,method:")
            _heard_by(lambda: connection.recv(65536), b"mine.kvs.apply:")
            shown = agent.json("GET", "/v1/agent/metrics")
            assert _named(shown, "Gauges")["mine.server.isLeader"]["Value"] == 1
            assert "mine.runtime.sys_bytes" not in _named(shown, "Gauges")
            status, text = agent.request("GET", "/v1/agent/metrics?format=prometheus")
            families = {one.name: one for one in text_string_to_metric_families(text.decode())}
            assert status == 200
            assert {"mine_raft_apply", "mine_client_rpc", "mine_serf_member_join", "mine_rpc_query"} <= set(families)
            count = [one.value for one in families["mine_kvs_apply"].samples if one.name.endswith("_count")]
            assert count == [5.0]
            assert families["mine_autopilot_failure_tolerance"].samples[0].value == 0
            reload = {**json.loads(agent.config.read_text())}
            reload["telemetry"]["prefix_filter"] = ["-mine.kvs"]
            agent.config.write_text(json.dumps(reload))
            assert agent.request("PUT", "/v1/agent/reload")[0] == 200
            text = agent.request("GET", "/v1/agent/metrics?format=prometheus")[1]
            assert b"mine_runtime_sys_bytes" in text and b"mine_kvs_apply" not in text
        finally:
            agent.stop()


def _heard_by(receive: Any, *parts: bytes) -> None:
    """Receive until all parts stood in what came together."""
    for _ in range(200):
        data = receive()
        if all(part in data for part in parts):
            return
        assert data, "the connection is closed"
    raise AssertionError(f"{parts} never came")


def test_without_a_retention_time_prometheus_gets_nothing(tmp_path: Path) -> None:
    import http.client

    agent = Agent(tmp_path, ["-dev"], {})
    agent.start()
    try:
        agent.ready()
        connection = http.client.HTTPConnection("127.0.0.1", agent.ports["http"], timeout=60)
        connection.request("GET", "/v1/agent/metrics?format=prometheus")
        response = connection.getresponse()
        assert (response.status, response.read()) == (200, b"")
        assert "retention" in (response.getheader("X-Consul-Reason") or "")
        connection.close()
        # A stream gives each interval as it ends.
        lines: list[bytes] = []
        stream = http.client.HTTPConnection("127.0.0.1", agent.ports["http"], timeout=60)
        stream.request("GET", "/v1/agent/metrics/stream")
        thread = threading.Thread(target=lambda: lines.append(stream.getresponse().readline()))
        thread.start()
        thread.join(60)
        assert {"Timestamp", "Gauges", "Points", "Counters", "Samples"} == set(json.loads(lines[0]))
        stream.close()
        assert agent.process is not None
        os.kill(agent.process.pid, signal.SIGUSR1)
        agent.until(lambda: "[G] 'consul.raft.peers': 1.000" in agent.log.read_text())
    finally:
        agent.stop()


def test_a_receiver_that_must_be_there_and_is_not(tmp_path: Path) -> None:
    telemetry = {"statsite_address": "127.0.0.1:1", "retry_failed_connection": False}
    agent = Agent(tmp_path, ["-dev"], {"telemetry": telemetry})
    agent.start()
    assert agent.process is not None and agent.process.wait(60) == 1
    assert "telemetry: cannot reach 127.0.0.1:1" in agent.log.read_text()
