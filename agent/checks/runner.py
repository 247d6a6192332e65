"""Runs the agent's checks: one task for each that asks something, a deadline for each that waits to be told."""

import asyncio
import logging
import random
from collections.abc import Callable

from agent.checks import alias
from agent.checks.alias import Surroundings
from agent.checks.docker import probe_docker
from agent.checks.grpc import probe_grpc
from agent.checks.h2ping import probe_h2ping
from agent.checks.http import probe_http
from agent.checks.os_service import probe_os_service
from agent.checks.probe import Probe, Result, Tools, shortened
from agent.checks.rules import MIN_INTERVAL, is_alias, kind_of
from agent.checks.script import probe_script
from agent.checks.tcp import probe_tcp
from agent.checks.thresholds import CRITICAL, PASSING, Thresholds
from agent.checks.udp import probe_udp
from model.durations import SECOND
from model.errors import RpcError
from model.structs.catalog import CheckType

log = logging.getLogger("lictor.agent.checks")

Update = Callable[[str, str, str], None]
"""Called with a check's ID, its status and its output."""

PROBES: dict[str, Probe] = {
    "http": probe_http,
    "tcp": probe_tcp,
    "udp": probe_udp,
    "docker": probe_docker,
    "script": probe_script,
    "grpc": probe_grpc,
    "h2ping": probe_h2ping,
    "os_service": probe_os_service,
}
"""What runs a check of each kind once."""


class CheckRunner:
    """`update` is told of results; `around` is where aliases look; `tools` are what probes are given."""

    def __init__(self, update: Update, around: Surroundings, tools: Tools) -> None:
        self._update = update
        self._around = around
        self.tools = tools
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._definitions: dict[str, CheckType] = {}
        self._status: dict[str, str] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def add(self, check_id: str, check: CheckType, status: str, ttl_left: float | None = None) -> None:
        """Begin to run a check; an earlier one under the ID is replaced.

        `ttl_left` are the seconds that a TTL check has before it expires, when that is not its whole TTL.
        """
        self.remove(check_id)
        self._definitions[check_id] = check
        self._status[check_id] = status
        loop = asyncio.get_running_loop()
        if check.ttl > 0:
            self._arm(check_id, check.ttl / SECOND if ttl_left is None else ttl_left)
        elif is_alias(check):
            self._tasks[check_id] = loop.create_task(self._follow(check_id, check))
        else:
            self._tasks[check_id] = loop.create_task(self._run(check_id, check))

    def remove(self, check_id: str) -> None:
        """Stop a check."""
        task = self._tasks.pop(check_id, None)
        if task is not None:
            task.cancel()
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        timer = self._timers.pop(check_id, None)
        if timer is not None:
            timer.cancel()
        self._definitions.pop(check_id, None)
        self._status.pop(check_id, None)

    async def close(self) -> None:
        """Stop all checks, and wait until what they started has ended."""
        for check_id in list(self._definitions):
            self.remove(check_id)
        await asyncio.gather(*self._closing, return_exceptions=True)

    def counts(self) -> tuple[int, int]:
        """How many checks ask something, and how many wait to be told."""
        return len(self._tasks), len(self._timers)

    def is_ttl(self, check_id: str) -> bool:
        """Whether a check waits to be told."""
        check = self._definitions.get(check_id)
        return check is not None and check.ttl > 0

    def told(self, check_id: str, status: str, output: str) -> tuple[str, float]:
        """A TTL check was told its status: its time begins anew. Gives the output as kept, and its TTL in seconds."""
        check = self._definitions[check_id]
        seconds = check.ttl / SECOND
        self._arm(check_id, seconds)
        kept = shortened(output, self.tools.limit_of(check))
        self._update(check_id, status, kept)
        return kept, seconds

    def _arm(self, check_id: str, seconds: float) -> None:
        timer = self._timers.pop(check_id, None)
        if timer is not None:
            timer.cancel()
        self._timers[check_id] = asyncio.get_running_loop().call_later(seconds, self._expired, check_id)

    def _expired(self, check_id: str) -> None:
        log.warning("Check missed TTL, is now critical: check=%s", check_id)
        self._update(check_id, CRITICAL, expired_output(self.last_output(check_id)))

    def last_output(self, check_id: str) -> str:
        """What a check said last; the owner replaces this."""
        return ""

    async def _follow(self, check_id: str, check: CheckType) -> None:
        """An alias: of something here it is brought up to date after every change here."""
        if not alias.is_local(check, self._around):
            await self._follow_remote(check_id, check)
            return
        local = self._around.local
        while True:
            self._update(check_id, *alias.look(check_id, check, local))
            await local.wait_changed(alias.WAIT / SECOND)
            await asyncio.sleep(alias.SETTLE)

    async def _follow_remote(self, check_id: str, check: CheckType) -> None:
        remote = alias.Remote(check_id, check, self._around)
        failures = 0
        while True:
            try:
                result = await remote.next()
            except RpcError as error:
                self._update(check_id, CRITICAL, f"Failed to watch what is aliased: {error.text}")
                await alias.wait_before_retry(failures)
                failures += 1
                continue
            failures = 0
            self._update(check_id, *result)

    async def _run(self, check_id: str, check: CheckType) -> None:
        probe = PROBES[kind_of(check)]
        nanoseconds = check.interval
        if nanoseconds < MIN_INTERVAL:
            log.warning("Check has an interval below the minimum of 1s, which it gets: check=%s", check_id)
            nanoseconds = MIN_INTERVAL
        interval = nanoseconds / SECOND
        thresholds = Thresholds(
            check.success_before_passing,
            check.failures_before_warning or check.failures_before_critical,
            check.failures_before_critical,
        )
        # Checks that are registered together are not to run together for ever.
        await asyncio.sleep(random.random() * interval)
        while True:
            result, output = await self._result(probe, check_id, check)
            before = self._status.get(check_id, CRITICAL)
            status = thresholds.status_for(result, before)
            if status != before:
                level = logging.INFO if status == PASSING else logging.WARNING
                log.log(level, "Check is now %s: check=%s", status, check_id)
            self._status[check_id] = status
            self._update(check_id, status, output)
            await asyncio.sleep(interval)

    async def _result(self, probe: Probe, check_id: str, check: CheckType) -> Result:
        try:
            return await probe(check, self.tools)
        except Exception as error:
            log.exception("check %s failed", check_id)
            return CRITICAL, f"the check itself failed: {error}"


def expired_output(last: str) -> str:
    """What a TTL check says when its time ran out; `last` is what it said before."""
    return f"TTL expired (last output before timeout follows): {last}" if last else "TTL expired"
