"""How an agent finds its pools at start: where it is to join it has to, where it is to retry it has time."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from gossip.driver import JoinError

log = logging.getLogger("lictor.agent")

Join = Callable[[list[str]], Awaitable[int]]


class Plan(NamedTuple):
    """Where to join a pool. `attempts` 0 is for ever; `interval` is in seconds; `pool` is its name in logs."""

    pool: str
    once: list[str]
    retry: list[str]
    interval: float
    attempts: int


async def join_pool(plan: Plan, join: Join) -> bool:
    """Join a pool as planned; False when that was in vain: the agent is not to go on without its pool."""
    if plan.once:
        try:
            joined = await join(plan.once)
            log.info("(%s) joined: number_of_nodes=%d", plan.pool, joined)
        except JoinError as error:
            log.error("(%s) couldn't join: %s", plan.pool, error)
            return False
    attempt = 0
    while plan.retry:
        try:
            joined = await join(plan.retry)
            log.info("Join cluster completed. Synced with initial agents: cluster=%s num_agents=%d", plan.pool, joined)
            return True
        except JoinError as error:
            attempt += 1
            if plan.attempts and attempt >= plan.attempts:
                log.error("max join retry exhausted, exiting: cluster=%s", plan.pool)
                return False
            log.warning("Join cluster failed, will retry: cluster=%s error=%s", plan.pool, error)
            # The first attempts come soon: agents that start together are often not all there yet.
            await asyncio.sleep(min(plan.interval, 1.0 * attempt))
    return True
