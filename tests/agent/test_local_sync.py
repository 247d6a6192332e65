"""How the agent's rows reach the catalog when the servers refuse some of them, or cannot be reached."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agent import local as local_module
from agent.local import LocalState
from model.codec import Wire
from model.errors import RpcError
from model.structs.catalog import HealthCheck, Node, NodeService, NodeServiceList
from model.structs.catalog_rpc import DeregisterRequest, IndexedHealthChecks, IndexedNodeServiceList, RegisterRequest
from rpc.caller import Caller


class Catalog(Caller):
    """Takes registrations, and refuses what the test says."""

    def __init__(self) -> None:
        self.refused: dict[str, str] = {}
        self.read = 0
        self.taken: list[str] = []
        self.held = [NodeService(id="old", service="old")]

    async def call(self, method: str, args: Wire) -> Any:
        if method == "Catalog.NodeServiceList":
            self.read += 1
            return IndexedNodeServiceList(node_services=NodeServiceList(node=Node(node="n"), services=self.held))
        if method == "Health.NodeChecks":
            return IndexedHealthChecks()
        if isinstance(args, DeregisterRequest):
            return self._take(f"-{args.service_id or args.check_id}")
        assert isinstance(args, RegisterRequest)
        names = [args.service.id] if args.service else []
        return self._take("+".join([*names, *(check.check_id for check in args.checks or ())]))

    def _take(self, what: str) -> None:
        if what in self.refused:
            raise RpcError(self.refused[what])
        self.taken.append(what)


def an_agent(catalog: Catalog) -> LocalState:
    """Three services, the last with a check, and a check of the node."""
    local = LocalState(catalog, Node(node="n"), False, None)
    for name in ("a", "b", "c"):
        local.put_service(NodeService(id=name, service=name))
    local.put_check(HealthCheck(check_id="c1", service_id="c"), None)
    local.put_check(HealthCheck(check_id="n1"), None)
    return local


async def test_what_is_refused_keeps_nothing_else_from_the_catalog() -> None:
    catalog = Catalog()
    catalog.refused = {"b": "no such thing", "-old": "not now"}
    with pytest.raises(RpcError) as caught:
        await an_agent(catalog).sync()
    assert caught.value.text == "not now"  # The first; it is tried again.
    assert catalog.taken == ["a", "c+c1", "n1"]


async def test_without_a_leader_nothing_more_is_tried() -> None:
    catalog = Catalog()
    catalog.refused = {"a": "No cluster leader"}
    with pytest.raises(RpcError):
        await an_agent(catalog).sync()
    assert catalog.taken == ["-old", "b", "c+c1"]  # Those were under way; the check of the node was not.


async def test_what_is_held_back_waits_with_its_checks() -> None:
    catalog = Catalog()
    local = an_agent(catalog)
    local.hold("c")
    await local.sync()
    assert catalog.taken == ["-old", "a", "b", "n1"]


async def test_changes_are_told_without_reading_the_catalog() -> None:
    catalog = Catalog()
    local = an_agent(catalog)
    await local.sync()
    catalog.taken.clear()
    await local.sync_changes()
    assert catalog.taken == []
    local.put_service(NodeService(id="a", service="a", port=1))
    local.put_service(NodeService(id="b", service="b"))  # As it was.
    local.update_check("c1", "critical", "")
    local.update_check("n1", "passing", "")
    await local.sync_changes()
    assert sorted(catalog.taken) == ["a", "c1", "n1"]
    catalog.taken.clear()
    local.remove_check("c1")
    local.remove_service("c")
    local.remove_check("n1")
    local.put_service(NodeService(id="d", service="d"))
    local.put_check(HealthCheck(check_id="d1", service_id="d"), None)
    await local.sync_changes()
    assert catalog.taken == ["-c", "-n1", "d+d1"]  # A service's checks go with it.
    assert catalog.read == 1


async def test_what_is_released_is_told_with_its_checks() -> None:
    catalog = Catalog()
    local = an_agent(catalog)
    local.hold("c")
    await local.sync()
    catalog.taken.clear()
    local.update_check("c1", "warning", "")
    await local.sync_changes()
    assert catalog.taken == []
    local.release("c")
    await local.sync_changes()
    assert catalog.taken == ["c+c1"]


async def test_tags_that_are_the_catalogs_are_read_there() -> None:
    catalog = Catalog()
    catalog.held = [NodeService(id="a", service="a", tags=["theirs"])]
    local = an_agent(catalog)
    await local.sync()
    local.put_service(NodeService(id="a", service="a", tags=["mine"], port=5, enable_tag_override=True))
    await local.sync_changes()
    assert catalog.read == 2
    assert local.services["a"].tags == ["theirs"]


async def test_a_failure_is_followed_by_a_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_module, "RETRY_INTERVAL", 0.01)
    catalog = Catalog()
    local = an_agent(catalog)
    local.start()
    async with asyncio.timeout(60):
        await local.synced.wait()
        catalog.taken.clear()
        local.synced.clear()
        catalog.refused = {"e": "not now"}
        local.put_service(NodeService(id="e", service="e"))
        while catalog.read < 2:
            await asyncio.sleep(0.01)
        catalog.refused = {}
        while "e" not in catalog.taken:
            await asyncio.sleep(0.01)
    await local.stop()


async def test_who_changed_something_can_wait_until_the_catalog_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_module, "RETRY_INTERVAL", 3600)
    catalog = Catalog()
    local = an_agent(catalog)
    await local.told()  # It has not begun; there is nothing to wait for.
    local.start()
    async with asyncio.timeout(60):
        await local.told()
        assert catalog.taken == ["-old", "a", "b", "c+c1", "n1"]
        catalog.refused = {"e": "not now", "a": "not now"}
        local.put_service(NodeService(id="e", service="e"))
        await local.told()
        assert not local.synced.is_set() or "e" not in catalog.taken
        # A failure is followed by a pause, but not for those who wait.
        catalog.refused = {}
        catalog.taken.clear()
        local.put_service(NodeService(id="f", service="f"))
        await local.told()
        assert {"e", "f"} <= set(catalog.taken)
        local.hold("f")
        local.put_service(NodeService(id="f", service="f", port=2))
        waiting = asyncio.ensure_future(local.told())
        await asyncio.sleep(0.1)
        assert not waiting.done()
        catalog.taken.clear()
        local.release("f")
        await waiting
        assert "f" in catalog.taken
    waiting = asyncio.ensure_future(local.told())
    local.put_service(NodeService(id="g", service="g"))
    await local.stop()
    async with asyncio.timeout(60):
        await waiting
        await local.told()
