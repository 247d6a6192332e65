"""Tells the cluster where this agent is in the network, now and then."""

import asyncio
import logging
import random
from collections.abc import Callable

from model.errors import RpcError
from model.structs.coordinate import CoordinateUpdateRequest, CoordinateVector
from rpc.caller import Caller

log = logging.getLogger("lictor.agent")

LEAST_INTERVAL = 15.0
UPDATES_PER_SECOND = 64.0
"""What the agents of a cluster send together, at most."""


async def report_places(
    caller: Caller, datacenter: str, node: str, place: Callable[[], CoordinateVector | None], members: Callable[[], int]
) -> None:
    """Report this agent's coordinate for ever; an agent of a large cluster does it less often."""
    while True:
        interval = max(LEAST_INTERVAL, members() / UPDATES_PER_SECOND)
        await asyncio.sleep(interval * (1 + random.random()))
        found = place()
        if found is None:
            continue
        try:
            await caller.call(
                "Coordinate.Update", CoordinateUpdateRequest(datacenter=datacenter, node=node, coord=found)
            )
        except RpcError as error:
            log.warning("Coordinate update error: error=%s", error)
