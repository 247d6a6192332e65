"""Joining at start, and telling the cluster where this agent is."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from agent import coordinates
from agent.joining import Plan, join_pool
from gossip.driver import JoinError
from model.errors import RpcError
from model.structs.coordinate import CoordinateVector
from tests.support.process import Agent


class Joins:
    """Fails so often, then works."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.asked: list[list[str]] = []

    async def __call__(self, addresses: list[str]) -> int:
        self.asked.append(addresses)
        if len(self.asked) <= self.failures:
            raise JoinError("nobody there")
        return len(addresses)


async def test_addresses_to_join_are_tried_once_and_those_to_retry_until_it_works() -> None:
    joins = Joins(2)
    assert await join_pool(Plan("LAN", [], ["b", "c"], 0.001, 0), joins)
    assert joins.asked == [["b", "c"], ["b", "c"], ["b", "c"]]
    both = Joins(0)
    assert await join_pool(Plan("LAN", ["a"], ["b"], 0.001, 0), both)
    assert both.asked == [["a"], ["b"]]
    nothing = Joins(0)
    assert await join_pool(Plan("LAN", [], [], 0.001, 0), nothing)
    assert nothing.asked == []


async def test_after_the_last_attempt_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    joins = Joins(99)
    assert not await join_pool(Plan("WAN", [], ["b"], 0.001, 2), joins)
    assert len(joins.asked) == 2
    assert "max join retry exhausted, exiting: cluster=WAN" in caplog.text and "nobody there" in caplog.text


async def test_who_is_to_join_and_cannot_tries_no_further() -> None:
    joins = Joins(1)
    assert not await join_pool(Plan("LAN", ["a"], ["b"], 0.001, 0), joins)
    assert joins.asked == [["a"]]


@pytest.mark.parametrize("settings", [{"retry_join": ["127.0.0.1:1"], "retry_max": 1}, {"start_join": ["127.0.0.1:1"]}])
def test_an_agent_that_cannot_join_exits_with_1(tmp_path: Path, settings: dict[str, Any]) -> None:
    agent = Agent(tmp_path, ["-dev"], settings)
    agent.start()
    assert agent.process is not None
    try:
        assert agent.process.wait(60) == 1
    finally:
        agent.stop()
    assert "127.0.0.1:1" in agent.log.read_text() or "max join retry exhausted" in agent.log.read_text()


class Caller:
    """Takes calls down; the first is refused."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []

    async def call(self, method: str, args: Any) -> Any:
        self.calls.append((method, args))
        if len(self.calls) == 1:
            raise RpcError("No cluster leader")


async def test_the_place_is_reported_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coordinates, "LEAST_INTERVAL", 0.001)
    caller = Caller()
    places: list[CoordinateVector | None] = [None, CoordinateVector(error=1.0), CoordinateVector(error=0.5)]

    def place() -> CoordinateVector | None:
        return places.pop(0) if len(places) > 1 else places[0]

    work = asyncio.create_task(coordinates.report_places(caller, "dc1", "node1", place, lambda: 0))
    async with asyncio.timeout(60):
        while len(caller.calls) < 3:
            await asyncio.sleep(0.005)
    work.cancel()
    assert {method for method, _ in caller.calls} == {"Coordinate.Update"}
    assert [args.coord.error for _, args in caller.calls[:3]] == [1.0, 0.5, 0.5]
    assert (caller.calls[0][1].node, caller.calls[0][1].datacenter) == ("node1", "dc1")
