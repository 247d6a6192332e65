"""Alias checks: as healthy as another service or node, here or elsewhere in the datacenter."""

import asyncio
import random
from typing import NamedTuple, Protocol

from agent.checks.probe import Result
from agent.checks.thresholds import CRITICAL, PASSING, WARNING
from model.durations import SECOND
from model.structs.catalog import CheckType, HealthCheck, NodeService
from model.structs.catalog_rpc import NodeSpecificRequest
from rpc.caller import Caller

SETTLE = 0.05
"""Seconds between two looks at this agent's checks."""
WAIT = 300 * SECOND
RETRY_FIRST, RETRY_MOST = 1.0, 60.0


class Local(Protocol):
    """This agent's services and checks."""

    services: dict[str, NodeService]

    def checks_of(self, service_id: str) -> list[HealthCheck]:
        """The checks of a service ("" for the node's own)."""

    async def wait_changed(self, seconds: float) -> None:
        """Return after a change, or when the time has gone by."""


class Surroundings(NamedTuple):
    """Where an alias looks: this agent, its node's names, and the cluster."""

    local: Local
    nodes: tuple[str, ...]
    datacenter: str
    caller: Caller


def judge(check_id: str, others: list[HealthCheck]) -> Result:
    """The worst of what an alias stands for."""
    worst, output, seen = PASSING, "No checks found.", False
    for other in others:
        if other.check_id == check_id:
            continue
        if other.status == CRITICAL:
            return CRITICAL, f'Aliased check "{other.name}" failing: {other.output}'
        if other.status == WARNING:
            worst, output = WARNING, f'Aliased check "{other.name}" failing: {other.output}'
        seen = True
    return worst, "All checks passing." if worst == PASSING and seen else output


def not_found(check: CheckType) -> Result:
    """What an alias of a service that is not there says."""
    return CRITICAL, f"Service {check.alias_service} could not be found on node {check.alias_node}"


def is_local(check: CheckType, around: Surroundings) -> bool:
    """Whether an alias stands for something of this agent."""
    return not check.alias_node or check.alias_node.lower() in (name.lower() for name in around.nodes)


def look(check_id: str, check: CheckType, local: Local) -> Result:
    """The status of an alias of something of this agent."""
    if check.alias_service and check.alias_service not in local.services:
        return not_found(check)
    return judge(check_id, local.checks_of(check.alias_service))


class Remote:
    """An alias of something on another node: one look after the other, each waiting for a change."""

    def __init__(self, check_id: str, check: CheckType, around: Surroundings) -> None:
        self._check_id, self._check, self._around = check_id, check, around
        self._index = 0

    async def next(self) -> Result:
        """The status after the next change. Raises RpcError."""
        check, around = self._check, self._around
        request = NodeSpecificRequest(node=check.alias_node, datacenter=around.datacenter, allow_stale=True)
        checks = await around.caller.call(
            "Health.NodeChecks",
            NodeSpecificRequest(
                node=check.alias_node,
                datacenter=around.datacenter,
                allow_stale=True,
                min_query_index=self._index,
                max_query_time=WAIT,
            ),
        )
        self._index = checks.index if checks.index >= self._index else 0
        found = [one for one in checks.health_checks or () if one.service_id in ("", check.alias_service)]
        held = await around.caller.call("Catalog.NodeServiceList", request)
        if held.node_services.node is None:
            return CRITICAL, f"Node {check.alias_node} could not be found"
        if check.alias_service:
            if all(one.id != check.alias_service for one in held.node_services.services or ()):
                return not_found(check)
            found = [one for one in found if one.service_id]
        return judge(self._check_id, found)


async def wait_before_retry(failures: int) -> None:
    """Sleep longer after each failure in a row, and not all at the same time."""
    await asyncio.sleep(min(RETRY_MOST, RETRY_FIRST * 2 ** min(failures, 6)) * (0.5 + random.random() / 2))
