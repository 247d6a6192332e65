"""What a restart and a reload leave of what was registered, when services are reaped, when outputs are told."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent import local as local_module
from agent.config.settings import Config, Ports
from agent.definitions import DefinitionError, expand
from agent.local import LocalState
from agent.persisted import Persisted
from agent.registrations import Registrations
from model.codec import Wire
from model.gojson import JsonError, from_json
from model.structs.catalog import CheckType, HealthCheck, Node, NodeService, ServiceDefinition
from rpc.caller import Caller


class Nobody(Caller):
    """A cluster that is never asked."""

    async def call(self, method: str, args: Wire) -> Any:
        raise AssertionError(method)


def an_agent(folder: Path | None, **settings: Any) -> Registrations:
    """The registrations of an agent whose data are in a folder, as after a start."""
    config = msgspec.structs.replace(Config(node_name="node1"), **settings)
    local = LocalState(Nobody(), Node(node="node1"), False, folder, config.check_update_interval)
    made = Registrations(config, local, "an-id", Nobody())
    made.load()
    return made


def register(agent: Registrations, **fields: Any) -> None:
    """Register a service as by the API."""
    definition = from_json(ServiceDefinition, fields, style="agent")
    for part in expand(definition, "node1", False, agent.sidecar_port):
        agent.add_service(part, replace_checks=False)


def contents(folder: Path) -> list[bytes]:
    """What all files below a folder hold."""
    return [path.read_bytes() for path in folder.rglob("*") if path.is_file()]


TTL = {"TTL": "1h"}


async def test_what_a_ttl_check_was_told_holds_after_a_restart_until_its_time_is_over(tmp_path: Path) -> None:
    first = an_agent(tmp_path)
    register(
        first, Name="web", Port=80, Checks=[{**TTL, "CheckID": "a"}, {**TTL, "CheckID": "b"}, {**TTL, "CheckID": "c"}]
    )
    first.told("a", "passing", "fine")
    first.told("b", "warning", "so so")
    second = an_agent(tmp_path)
    assert {key: (one.status, one.output) for key, one in second.local.checks.items()} == {
        "a": ("passing", "fine"),
        "b": ("warning", "so so"),
        "c": ("critical", ""),
    }
    for path in (tmp_path / "checks" / "state").iterdir():
        body = json.loads(path.read_bytes())
        path.write_text(json.dumps({**body, "Expires": time.time() - 1}))
    third = an_agent(tmp_path)
    assert {one.status for one in third.local.checks.values()} == {"critical"}
    assert not list((tmp_path / "checks" / "state").iterdir())
    for agent in (first, second, third):
        await agent.checks.close()


async def test_a_removed_check_leaves_no_state_behind(tmp_path: Path) -> None:
    agent = an_agent(tmp_path)
    register(agent, Name="web", Check={**TTL, "CheckID": "a"})
    agent.told("a", "passing", "")
    agent.remove_service("web")
    assert not contents(tmp_path)
    await agent.checks.close()


async def test_discarded_outputs_do_not_reach_the_disk(tmp_path: Path) -> None:
    agent = an_agent(tmp_path, discard_check_output=True)
    register(agent, Name="web", Check={**TTL, "CheckID": "a"})
    agent.told("a", "passing", "a secret")
    assert agent.local.checks["a"].output == ""
    assert contents(tmp_path)
    assert not any(b"a secret" in one for one in contents(tmp_path))
    await agent.checks.close()


async def test_a_sidecar_goes_with_its_service_after_a_restart_too_but_not_one_of_its_own(tmp_path: Path) -> None:
    first = an_agent(tmp_path)
    register(first, Name="web", Port=80, Connect={"SidecarService": {}})
    proxy = {"DestinationServiceName": "db", "DestinationServiceID": "db"}
    register(first, Name="db", Port=81)
    register(first, Name="db-sidecar-proxy", ID="db-sidecar-proxy", Kind="connect-proxy", Port=82, Proxy=proxy)
    second = an_agent(tmp_path)
    assert set(second.local.services) == {"web", "web-sidecar-proxy", "db", "db-sidecar-proxy"}
    second.remove_service("web")
    second.remove_service("db")
    assert set(second.local.services) == {"db-sidecar-proxy"}
    for agent in (first, second):
        await agent.checks.close()


async def test_ports_of_sidecars_come_from_the_range() -> None:
    agent = an_agent(None, ports=Ports(sidecar_min_port=21100, sidecar_max_port=21101))
    for name in ("a", "b", "a"):
        register(agent, Name=name, Port=80, Connect={"SidecarService": {}})
    assert {one.port for one in agent.local.services.values() if one.kind} == {21100, 21101}
    lacking = "no port provided for sidecar_service and"
    with pytest.raises(DefinitionError) as caught:
        register(agent, Name="c", Port=80, Connect={"SidecarService": {}})
    assert str(caught.value) == f"{lacking} none left in the configured range [21100, 21101]"
    assert caught.value.status == 500
    without = an_agent(None, ports=Ports(sidecar_min_port=0, sidecar_max_port=0))
    with pytest.raises(DefinitionError) as caught:
        register(without, Name="c", Port=80, Connect={"SidecarService": {}})
    assert str(caught.value) == f"{lacking} auto-assignment disabled in config"
    await agent.checks.close()


async def test_a_file_takes_the_place_of_what_was_registered_under_its_id(tmp_path: Path) -> None:
    first = an_agent(tmp_path)
    register(first, Name="web", Port=80, Check={**TTL, "CheckID": "own"})
    row = HealthCheck(node="node1", check_id="extra", name="extra", service_id="web", status="critical")
    first.add_check(row, from_json(CheckType, TTL))
    first.maintenance("web", True, "tired")
    in_file = [{"name": "web", "port": 90, "check": {"id": "own", "ttl": "5m"}}]
    second = an_agent(tmp_path, services=in_file)
    assert second.local.services["web"].port == 90
    assert second.local.definitions["own"].ttl == 300 * 10**9
    assert set(second.local.checks) == {"own", "extra", "_service_maintenance:web"}
    third = an_agent(tmp_path)  # The file is gone, and with it the service.
    assert not third.local.services
    assert not third.local.checks
    for agent in (first, second, third):
        await agent.checks.close()


async def test_a_reload_leaves_what_was_registered_by_api(tmp_path: Path) -> None:
    in_file = [{"name": "web", "port": 90, "checks": [{"id": "own", "ttl": "5m"}, {"id": "gone", "ttl": "5m"}]}]
    agent = an_agent(tmp_path, services=in_file)
    register(agent, Name="api", Port=80)
    row = HealthCheck(node="node1", check_id="extra", name="extra", service_id="web", status="critical")
    agent.add_check(row, from_json(CheckType, TTL))
    agent.told("own", "passing", "fine")
    changed = [{"name": "web", "port": 91, "checks": [{"id": "own", "ttl": "6m"}]}]
    agent.reload(Config(node_name="node1", services=changed, check_output_max_size=3))
    assert agent.local.services["web"].port == 91
    assert set(agent.local.services) == {"web", "api"}
    assert set(agent.local.checks) == {"own", "extra"}
    assert (agent.local.checks["own"].status, agent.local.checks["own"].output) == ("passing", "fine")
    agent.told("own", "passing", "long output")
    assert agent.local.checks["own"].output == "lon ... (captured 3 of 11 bytes)"
    agent.reload(Config(node_name="node1"))
    assert set(agent.local.services) == {"api"}
    assert not agent.local.checks
    await agent.checks.close()


@pytest.mark.parametrize(
    "broken",
    [
        {"services": [{"name": "new", "port": 1}, {"name": "bad", "check": {"http": "http://x"}}]},
        {"services": [{"name": "new", "port": 1}, {"name": "bad", "port": "x"}]},
        {"services": [{"name": "new", "port": 1}], "checks": [{"name": "c", "ttl": "5m", "service_id": "nobody"}]},
        {"services": [{"name": "new", "port": 1}], "checks": [{"name": "c", "ttl": "5m", "service_id": "web"}]},
        {"services": [{"name": "new", "port": 1}], "checks": [{"ttl": "5m"}]},
    ],
)
async def test_a_reload_that_fails_changes_nothing(tmp_path: Path, broken: dict[str, Any]) -> None:
    in_file = [{"name": "web", "port": 90, "check": {"id": "own", "ttl": "5m"}}]
    agent = an_agent(tmp_path, services=in_file)
    with pytest.raises((DefinitionError, JsonError)):
        agent.reload(Config(node_name="node1", check_output_max_size=3, **broken))
    assert {one.id: one.port for one in agent.local.services.values()} == {"web": 90}
    assert set(agent.local.checks) == {"own"}
    agent.told("own", "passing", "long output")
    assert agent.local.checks["own"].output == "long output"
    agent.reload(Config(node_name="node1"))
    assert not agent.local.services and not agent.local.checks
    await agent.checks.close()


async def test_what_a_reload_without_ports_for_sidecars_left_goes_with_the_next(tmp_path: Path) -> None:
    ports = Ports(sidecar_min_port=21100, sidecar_max_port=21100)
    agent = an_agent(tmp_path, services=[{"name": "web", "port": 90}], ports=ports)
    many = [{"name": name, "port": 1, "connect": {"sidecar_service": {}}} for name in ("a", "b")]
    with pytest.raises(DefinitionError, match="none left"):
        agent.reload(Config(node_name="node1", services=many, ports=ports))
    agent.reload(Config(node_name="node1", ports=ports))
    assert not agent.local.services
    await agent.checks.close()


async def test_services_that_stay_critical_are_overdue_after_a_minute_at_least() -> None:
    agent = an_agent(None)
    after = "DeregisterCriticalServiceAfter"
    register(agent, Name="soon", Check={**TTL, "CheckID": "soon", after: "1s"})
    register(agent, Name="late", Check={**TTL, "CheckID": "late", after: "2m"})
    register(agent, Name="never", Check={**TTL, "CheckID": "never"})
    register(agent, Name="well", Check={**TTL, "CheckID": "well", after: "1s"})
    register(agent, Name="new", Check={**TTL, "CheckID": "new", after: "1s"})
    for check_id in ("soon", "late", "never", "well"):
        agent.told(check_id, "critical", "")
    agent.told("well", "warning", "")
    now = time.monotonic()
    assert agent.overdue(now + 50) == set()
    assert agent.overdue(now + 61) == {"soon"}
    assert agent.overdue(now + 121) == {"soon", "late"}
    agent.told("soon", "critical", "again")  # Critical is critical: the time goes on.
    assert agent.overdue(now + 61) == {"soon"}
    agent.remove_service("soon")
    assert agent.overdue(now + 61) == set()
    await agent.checks.close()


def test_damaged_files_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kept = Persisted(tmp_path)
    kept.write_service(NodeService(id="web", service="web"))
    kept.write_check(HealthCheck(check_id="c"), CheckType(ttl=1))
    kept.write_state("c", "passing", "", 60)
    (tmp_path / "services" / "rubbish").write_bytes(b"\xff{")
    (tmp_path / "services" / "empty").write_bytes(b"")
    (tmp_path / "services" / "half.tmp").write_bytes(b"{")
    (tmp_path / "checks" / "list").write_bytes(b"[1]")
    (tmp_path / "checks" / "wrong").write_bytes(b'{"Check": {"CheckID": 7}}')
    assert [one.id for one, _ in kept.services()] == ["web"]
    assert [one.check_id for one, _, _ in kept.checks()] == ["c"]
    assert not (tmp_path / "services" / "half.tmp").exists()
    state = kept.state("c")
    assert state is not None
    assert state.status == "passing"
    for path in (tmp_path / "checks" / "state").iterdir():
        path.write_bytes(b"{}")
    assert kept.state("c") is None
    assert Persisted(None).services() == []


async def test_a_new_output_alone_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_module.random, "random", lambda: 0.5)
    for interval, sooner in ((0.0, True), (0.2, False)):
        local = LocalState(Nobody(), Node(node="n"), False, None, interval)
        local.put_check(HealthCheck(check_id="c", status="passing"), None)
        local._dirty.clear()
        local.update_check("c", "passing", "one")
        assert local._dirty.is_set() == sooner
        local.update_check("c", "passing", "two")
        remote = [HealthCheck(check_id="c", status="passing", output="")]
        waiting = local._waiting_outputs.keys()
        found = local_module.difference(local.node, {}, local.checks, local.node, [], remote, False, waiting)
        assert found.register_checks == (["c"] if sooner else [])
        async with asyncio.timeout(60):
            await local._dirty.wait()
        assert not local._waiting_outputs
        local._dirty.clear()
        local.update_check("c", "passing", "three")
        local.update_check("c", "critical", "three")  # A new status does not wait, and takes the output along.
        assert local._dirty.is_set()
        assert not local._waiting_outputs
