"""Prometheus finds what it scrapes through lictor (`consul_sd_configs`), and scrapes the agent itself."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.clients.fetch import fetch, run
from tests.support.process import Agent, dev_agent, free_ports
from tests.support.tools import need_program

PROGRAM = Path(__file__).with_name("prometheus")
SERIES = 'count({job="lictor",__name__=~"consul_.+"})'


def until(what: str, log: Path, condition: Callable[[], Any], seconds: float = 60) -> Any:
    """Wait until a condition holds, and return it; the log is part of the failure."""
    deadline = time.monotonic() + seconds
    said: object = None
    while time.monotonic() < deadline:
        try:
            said = condition()
            if said:
                return said
        except (OSError, KeyError, IndexError) as error:
            said = error
        time.sleep(0.1)
    raise AssertionError(f"waited in vain: {what}; last: {said}\n{log.read_text()[-4000:]}")


@contextmanager
def process(log: Path, *command: str | Path) -> Iterator[None]:
    """A process that ends with the block."""
    with log.open("wb") as output:
        started = subprocess.Popen([str(word) for word in command], stdout=output, stderr=subprocess.STDOUT)
    try:
        yield
    finally:
        started.terminate()
        try:
            started.wait(60)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


class Discovery:
    """Prometheus' discovery, under way; see `prometheus/main.go`."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "discovery.log"
        self._found = folder / "found.json"

    def targets(self, job: str) -> dict[str, dict[str, str]]:
        """The labels of a job's targets, by address. Raises OSError, KeyError."""
        found: dict[str, dict[str, str]] = json.loads(self._found.read_text())[job]
        return found

    def until(self, job: str, wanted: Callable[[dict[str, dict[str, str]]], Any]) -> None:
        """Wait until a job's targets are as wanted."""
        until(job, self.log, lambda: wanted(self.targets(job)))


@contextmanager
def discovery(folder: Path, jobs: list[dict[str, Any]]) -> Iterator[Discovery]:
    """Discovery for some jobs; it ends with the block."""
    go = need_program("go")
    fixed = {"GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly -buildvcs=false", "CGO_ENABLED": "0"}
    folder.mkdir()
    binary = folder / "discovery"
    # What is not there yet comes from the module proxy while it builds: all that go.mod names would be far more.
    fetch((go, "list", "-deps", "."), PROGRAM, **fixed)
    built = run([go, "build", "-o", binary, "."], PROGRAM, fixed, 500)
    assert built.returncode == 0, built.stdout[-3000:]
    config = folder / "config.yml"
    config.write_text(json.dumps({"scrape_configs": jobs}))  # JSON is YAML.
    found = Discovery(folder)
    with process(found.log, binary, config, folder / "found.json"):
        yield found


def discover(job: str, agent: Agent, **more: Any) -> dict[str, Any]:
    """A job that asks the agent for its targets."""
    address = f"127.0.0.1:{agent.ports['http']}"
    return {"job_name": job, "consul_sd_configs": [{"server": address, "refresh_interval": "1s", **more}]}


def register(agent: Agent, identity: str, name: str, port: int, tags: list[str], **more: Any) -> None:
    """Register a service on the agent."""
    body = {"ID": identity, "Name": name, "Port": port, "Tags": tags, "Address": "127.0.0.1", **more}
    agent.json("PUT", "/v1/agent/service/register", body)


@pytest.mark.slow
@pytest.mark.timeout(1000)
def test_it_discovers(tmp_path: Path) -> None:
    need_program("go")
    settings: dict[str, Any] = {
        "server": True,
        "bootstrap": True,
        "data_dir": str(tmp_path / "data"),
        "node_meta": {"rack": "r1"},
        "performance": {"raft_multiplier": 1},
    }
    agent = Agent(tmp_path / "agent", [], settings)
    agent.start()
    try:
        agent.ready()
        agent.until(lambda: agent.json("GET", "/v1/catalog/nodes"))
        check = {"CheckID": "web-1", "TTL": "1h", "Status": "passing"}
        register(agent, "web-1", "web", 1001, ["v1", "http"], Meta={"team": "green", "sh-ard": "7"}, Check=check)
        register(agent, "web-2", "web", 1002, ["v2"])
        register(agent, "db-1", "db", 1003, [])
        jobs = [
            discover("all", agent),
            discover("named", agent, services=["web"]),
            discover("tagged", agent, services=["web"], tags=["v1", "http"]),
            discover("strict", agent, services=["web"], allow_stale=False),
            discover("rack", agent, services=["db"], node_meta={"rack": "r1"}),
            discover("elsewhere", agent, node_meta={"rack": "r2"}),
            discover("here", agent, datacenter="dc1", services=["db"]),
        ]
        with discovery(tmp_path / "discovery", jobs) as found:
            first, second, third = (f"127.0.0.1:{port}" for port in (1001, 1002, 1003))
            # The service `consul` has the server's own port.
            every = {first, second, third, f"127.0.0.1:{agent.ports['server']}"}
            found.until("all", lambda targets: targets.keys() == every)
            found.until("named", lambda targets: targets.keys() == {first, second})
            found.until("tagged", lambda targets: targets.keys() == {first})
            found.until("strict", lambda targets: targets.keys() == {first, second})
            found.until("rack", lambda targets: targets.keys() == {third})
            found.until("here", lambda targets: targets.keys() == {third})
            found.until("elsewhere", lambda targets: not targets)
            labels = found.targets("named")[first]
            assert labels == {
                "__address__": first,
                "__meta_consul_address": "127.0.0.1",
                "__meta_consul_dc": "dc1",
                "__meta_consul_health": "passing",
                "__meta_consul_metadata_consul_network_segment": "",
                "__meta_consul_metadata_rack": "r1",
                "__meta_consul_namespace": "",
                "__meta_consul_node": "node1",
                "__meta_consul_partition": "",
                "__meta_consul_service": "web",
                "__meta_consul_service_address": "127.0.0.1",
                "__meta_consul_service_id": "web-1",
                "__meta_consul_service_metadata_sh_ard": "7",
                "__meta_consul_service_metadata_team": "green",
                "__meta_consul_service_port": "1001",
                "__meta_consul_tagged_address_lan": "127.0.0.1",
                "__meta_consul_tagged_address_lan_ipv4": "127.0.0.1",
                "__meta_consul_tagged_address_wan": "127.0.0.1",
                "__meta_consul_tagged_address_wan_ipv4": "127.0.0.1",
                "__meta_consul_tags": ",v1,http,",
            }

            # What changes is seen.
            agent.json("PUT", "/v1/agent/check/fail/web-1")
            found.until("named", lambda targets: targets[first]["__meta_consul_health"] == "critical")
            agent.json("PUT", "/v1/agent/service/deregister/web-2")
            found.until("named", lambda targets: targets.keys() == {first})
            register(agent, "new-1", "new", 1004, [])
            found.until("all", lambda targets: "127.0.0.1:1004" in targets)

            # After a restart of the agent everything is still there, and changes are seen again.
            agent.stop()
            agent.start()
            agent.ready()
            register(agent, "web-3", "web", 1005, ["v3"])
            found.until("named", lambda targets: targets.keys() == {first, "127.0.0.1:1005"})
            assert {third, "127.0.0.1:1004"} <= found.targets("all").keys()
    finally:
        agent.stop()


@pytest.mark.slow
@pytest.mark.timeout(1000)
def test_without_a_datacenter_it_asks_the_agent_for_its_own(tmp_path: Path) -> None:
    need_program("go")
    with dev_agent(tmp_path / "agent", datacenter="east") as agent:
        register(agent, "web-1", "web", 1001, [])
        with discovery(tmp_path / "discovery", [discover("all", agent)]) as found:
            found.until("all", lambda targets: targets["127.0.0.1:1001"]["__meta_consul_dc"] == "east")


@pytest.mark.slow
def test_it_scrapes_the_agent(tmp_path: Path) -> None:
    program = need_program("prometheus")
    telemetry = {"prometheus_retention_time": "1h", "disable_hostname": True}
    with dev_agent(tmp_path / "agent", telemetry=telemetry) as agent:
        job = {
            "job_name": "lictor",
            "metrics_path": "/v1/agent/metrics",
            "params": {"format": ["prometheus"]},
            "static_configs": [{"targets": [f"127.0.0.1:{agent.ports['http']}"]}],
        }
        config = {"global": {"scrape_interval": "2s", "scrape_timeout": "2s"}, "scrape_configs": [job]}
        file, log = tmp_path / "prometheus.yml", tmp_path / "prometheus.log"
        file.write_text(json.dumps(config))
        (port,) = free_ports(1)
        options = (f"--storage.tsdb.path={tmp_path / 'data'}", f"--web.listen-address=127.0.0.1:{port}")

        def asked(query: str) -> float:
            """The only value that a query gives."""
            text = urllib.parse.urlencode({"query": query})
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query?{text}", timeout=60) as response:
                return float(json.loads(response.read())["data"]["result"][0]["value"][1])

        with process(log, program, f"--config.file={file}", *options):
            until("the agent is up", log, lambda: asked('up{job="lictor"}') == 1)
            until("its figures are there", log, lambda: asked(SERIES) >= 3)
