"""The scheduler: thresholds, TTLs, aliases, what a removed check leaves behind; and the rules about definitions."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agent.checks import runner as runner_module
from agent.checks.alias import Surroundings, judge
from agent.checks.probe import Result, Tools
from agent.checks.rules import kind_of, problem_with
from agent.checks.runner import CheckRunner
from model.codec import Wire
from model.durations import SECOND
from model.errors import RpcError
from model.gojson import from_json
from model.structs.catalog import CheckType, HealthCheck, Node, NodeService, NodeServiceList
from model.structs.catalog_rpc import IndexedHealthChecks, IndexedNodeServiceList
from rpc.caller import Caller
from tests.agent.checks.counterparts import a_check

Seen = list[tuple[str, str, str]]


class HereAndThere(Caller):
    """This agent's rows, and a cluster that answers from what the test puts there."""

    def __init__(self) -> None:
        self.services: dict[str, NodeService] = {}
        self.checks: list[HealthCheck] = []
        self.changed = asyncio.Event()
        self.remote: IndexedHealthChecks | RpcError = IndexedHealthChecks(index=5)
        self.remote_changed = asyncio.Event()
        self.remote_node: Node | None = Node(node="far")
        self.asked: list[Any] = []

    def checks_of(self, service_id: str) -> list[HealthCheck]:
        return [check for check in self.checks if check.service_id == service_id]

    async def wait_changed(self, seconds: float) -> None:
        await self.changed.wait()
        self.changed.clear()

    async def call(self, method: str, args: Wire) -> Any:
        if method == "Catalog.NodeServiceList":
            rows = NodeServiceList(node=self.remote_node, services=list(self.services.values()))
            return IndexedNodeServiceList(node_services=rows)
        self.asked.append(args)
        if getattr(args, "min_query_index", 0):
            await self.remote_changed.wait()
            self.remote_changed.clear()
        if isinstance(self.remote, RpcError):
            raise self.remote
        return self.remote


@pytest.fixture
async def world() -> Any:
    """A runner, what it saw, and its surroundings."""
    around = HereAndThere()
    seen: Seen = []
    runner = CheckRunner(
        lambda *result: seen.append(result), Surroundings(around, ("Here", "an-id"), "dc1", around), Tools(limit=10)
    )
    yield runner, seen, around
    await runner.close()


async def until(condition: Any) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_ttl_check_expires_unless_it_is_told(world: Any) -> None:
    runner, seen, _ = world
    runner.last_output = lambda check_id: "was fine"
    runner.add("t", a_check(Interval="", TTL="300ms"), "passing")
    assert runner.is_ttl("t")
    assert runner.told("t", "warning", "a longer output") == ("a longer o ... (captured 10 of 15 bytes)", 0.3)
    assert seen == [("t", "warning", "a longer o ... (captured 10 of 15 bytes)")]
    await until(lambda: len(seen) == 2)
    assert seen[1] == ("t", "critical", "TTL expired (last output before timeout follows): was fine")
    runner.remove("t")
    assert not runner.is_ttl("t")


async def test_what_is_left_of_a_ttl_counts(world: Any) -> None:
    runner, seen, _ = world
    runner.add("t", a_check(Interval="", TTL="1h"), "passing", ttl_left=0.05)
    await until(lambda: seen)
    assert seen == [("t", "critical", "TTL expired")]


async def test_results_change_the_status_after_as_many_as_the_thresholds_say(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner, seen, _ = world
    results = ["critical"] * 4 + ["passing"] * 3
    pauses: list[float] = []

    async def probe(check: CheckType, tools: Tools) -> Result:
        return results.pop(0) if results else "passing", "out"

    real_sleep = asyncio.sleep

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        await real_sleep(0 if len(pauses) < 8 else 3600)

    monkeypatch.setitem(runner_module.PROBES, "tcp", probe)
    monkeypatch.setattr(runner_module.asyncio, "sleep", sleep)
    check = a_check(TCP="x:1", Interval="7s", SuccessBeforePassing=2, FailuresBeforeWarning=1, FailuresBeforeCritical=2)
    runner.add("c", check, "passing")
    while len(seen) < 7:
        await real_sleep(0)
    assert [status for _, status, _ in seen] == [
        *("critical",),  # The counters start at their thresholds.
        *("critical", "critical", "critical"),
        *("critical", "critical", "passing"),
    ]
    assert 0 <= pauses[0] <= 7
    assert set(pauses[1:7]) == {7}


async def test_no_check_runs_more_often_than_once_a_second(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    runner, _, _ = world
    pauses: list[float] = []
    real_sleep = asyncio.sleep

    async def probe(check: CheckType, tools: Tools) -> Result:
        raise RuntimeError("a bug")

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        await real_sleep(0 if len(pauses) < 3 else 3600)

    monkeypatch.setitem(runner_module.PROBES, "tcp", probe)
    monkeypatch.setattr(runner_module.asyncio, "sleep", sleep)
    runner.add("c", a_check(TCP="x:1", Interval="10ms"), "critical")
    while len(pauses) < 3:
        await real_sleep(0)
    assert pauses[1:] == [1.0, 1.0]  # And a probe with a bug is not the end of its check.


async def test_an_alias_follows_a_service_here(world: Any) -> None:
    runner, seen, around = world
    runner.add("a", from_json(CheckType, {"AliasService": "web"}), "critical")
    await until(lambda: seen)
    assert seen.pop() == ("a", "critical", "Service web could not be found on node ")
    around.services["web"] = NodeService(id="web")
    around.changed.set()
    await until(lambda: seen)
    assert seen.pop() == ("a", "passing", "No checks found.")
    around.checks = [HealthCheck(check_id="a", service_id="web", status="critical")]
    around.changed.set()
    await until(lambda: seen)
    assert seen.pop() == ("a", "passing", "No checks found.")  # It does not look at itself.
    around.checks.append(HealthCheck(check_id="b", name="disk", service_id="web", status="warning", output="full"))
    around.changed.set()
    await until(lambda: seen)
    assert seen.pop() == ("a", "warning", 'Aliased check "disk" failing: full')


async def test_an_alias_of_this_node_by_name_or_id_looks_here(world: Any) -> None:
    runner, seen, around = world
    around.checks = [HealthCheck(check_id="n", name="mem", status="critical", output="none")]
    runner.add("a", from_json(CheckType, {"AliasNode": "hERE"}), "critical")
    runner.add("b", from_json(CheckType, {"AliasNode": "an-id"}), "critical")
    await until(lambda: len(seen) == 2)
    assert {output for _, _, output in seen} == {'Aliased check "mem" failing: none'}
    assert not around.asked


async def test_an_alias_of_another_node_waits_for_its_changes(world: Any) -> None:
    runner, seen, around = world
    around.services["db"] = NodeService(id="db")
    check = HealthCheck(check_id="x", name="disk", service_id="db", status="critical", output="full")
    around.remote = IndexedHealthChecks(health_checks=[check, HealthCheck(status="warning")], index=7)
    runner.add("a", from_json(CheckType, {"AliasNode": "far", "AliasService": "db"}), "critical")
    await until(lambda: seen)
    assert seen.pop() == ("a", "critical", 'Aliased check "disk" failing: full')
    await until(lambda: len(around.asked) == 2)
    assert (around.asked[1].node, around.asked[1].min_query_index, around.asked[1].allow_stale) == ("far", 7, True)
    around.remote = IndexedHealthChecks(health_checks=[], index=8)
    around.services.clear()
    around.remote_changed.set()
    await until(lambda: seen)
    assert seen.pop() == ("a", "critical", "Service db could not be found on node far")
    around.remote = RpcError("No cluster leader")
    around.remote_changed.set()
    await until(lambda: seen)
    assert seen.pop() == ("a", "critical", "Failed to watch what is aliased: No cluster leader")


async def test_an_alias_of_a_node_that_is_not_there(world: Any) -> None:
    runner, seen, around = world
    around.remote_node = None
    runner.add("a", from_json(CheckType, {"AliasNode": "nowhere"}), "critical")
    await until(lambda: seen)
    assert seen.pop() == ("a", "critical", "Node nowhere could not be found")


def test_the_worst_check_decides() -> None:
    rows = [
        HealthCheck(check_id=str(number), name=str(number), status=status, output="o")
        for number, status in enumerate(("passing", "warning", "critical", "passing"))
    ]
    assert judge("", rows[:1]) == ("passing", "All checks passing.")
    assert judge("", rows[:2]) == ("warning", 'Aliased check "1" failing: o')
    assert judge("", rows) == ("critical", 'Aliased check "2" failing: o')


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"TTL": "1s"}, "ttl"),
        ({"HTTP": "http://x"}, "http"),
        ({"TCP": "x:1"}, "tcp"),
        ({"UDP": "x:1"}, "udp"),
        ({"Args": ["x"]}, "script"),
        ({"Args": ["x"], "DockerContainerID": "c"}, "docker"),
        ({"GRPC": "x:1"}, "grpc"),
        ({"H2PING": "x:1"}, "h2ping"),
        ({"OSService": "x"}, "os_service"),
        ({"AliasService": "x"}, "alias"),
        ({"AliasNode": "x"}, "alias"),
        ({}, ""),
    ],
)
def test_kinds(fields: dict[str, Any], kind: str) -> None:
    check = from_json(CheckType, fields, style="agent")
    assert kind_of(check) == kind
    if kind not in ("ttl", "alias", ""):
        assert problem_with(check).startswith("Interval must be > 0 for ")
        check = from_json(CheckType, {**fields, "Interval": "1s"}, style="agent")
    assert problem_with(check) == ("" if kind else "TTL must be > 0 for TTL checks")


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"Interval": "1s", "TTL": "1s"}, "Interval and TTL cannot both be specified"),
        ({"AliasService": "x", "HTTP": "http://x", "Interval": "1s"}, "Interval cannot be set for Alias checks"),
        ({"AliasService": "x", "TTL": "1s"}, "TTL must be not be set for Alias checks"),
        ({"DockerContainerID": "x", "Interval": "1s"}, "TTL must be > 0 for TTL checks"),
        (
            {"TTL": "1s", "FailuresBeforeWarning": 1},
            "FailuresBeforeWarning can't be higher than FailuresBeforeCritical",
        ),
    ],
)
def test_definitions_that_contradict_themselves(fields: dict[str, Any], problem: str) -> None:
    assert problem_with(from_json(CheckType, fields, style="agent")) == problem


def test_h2ping_uses_tls_unless_told_otherwise() -> None:
    assert from_json(CheckType, {"H2PING": "x:1"}).h2ping_use_tls
    assert not from_json(CheckType, {"H2PING": "x:1", "H2PingUseTLS": False}).h2ping_use_tls
    assert from_json(CheckType, {"Interval": "1s"}).interval == SECOND
