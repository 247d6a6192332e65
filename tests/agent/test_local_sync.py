"""How the agent's rows reach the catalog when the servers refuse some of them, or cannot be reached."""

from __future__ import annotations

from typing import Any

import pytest

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
        self.taken: list[str] = []
        self.held = [NodeService(id="old", service="old")]

    async def call(self, method: str, args: Wire) -> Any:
        if method == "Catalog.NodeServiceList":
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
    assert catalog.taken == ["-old"]


async def test_what_is_held_back_waits_with_its_checks() -> None:
    catalog = Catalog()
    local = an_agent(catalog)
    local.hold("c")
    await local.sync()
    assert catalog.taken == ["-old", "a", "b", "n1"]
