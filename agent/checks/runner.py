"""Runs the agent's checks: one task for each that asks something, a deadline for each that waits to be told."""

import asyncio
import logging
import random
from collections.abc import Callable

import aiohttp

from agent.checks import probes
from agent.checks.thresholds import CRITICAL, PASSING, WARNING, Thresholds
from model.durations import SECOND, format_duration
from model.structs.catalog import CheckType, HealthCheck

log = logging.getLogger("lictor.agent.checks")

Update = Callable[[str, str, str], None]
"""Called with a check's ID, its status and its output."""


class CheckRunner:
    """`update` is told of results; `aliased(check)` lists the checks of what an alias stands for, or gives
    None when there is no such service."""

    def __init__(
        self, update: Update, aliased: Callable[[CheckType], list[HealthCheck] | None], output_limit: int = 4096
    ) -> None:
        self._update = update
        self._aliased = aliased
        self._limit = output_limit
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._definitions: dict[str, CheckType] = {}
        self._status: dict[str, str] = {}
        self._session: aiohttp.ClientSession | None = None

    def add(self, check_id: str, check: CheckType, status: str) -> None:
        """Begin to run a check; an earlier one under the ID is replaced."""
        self.remove(check_id)
        self._definitions[check_id] = check
        self._status[check_id] = status
        if check.ttl > 0:
            self._arm(check_id, check)
        elif check.alias_node or check.alias_service:
            self._tasks[check_id] = asyncio.get_running_loop().create_task(self._follow(check_id, check))
        else:
            self._tasks[check_id] = asyncio.get_running_loop().create_task(self._run(check_id, check))

    def remove(self, check_id: str) -> None:
        """Stop a check."""
        task = self._tasks.pop(check_id, None)
        if task is not None:
            task.cancel()
        timer = self._timers.pop(check_id, None)
        if timer is not None:
            timer.cancel()
        self._definitions.pop(check_id, None)

    async def close(self) -> None:
        """Stop all checks."""
        tasks = list(self._tasks.values())
        for check_id in list(self._definitions):
            self.remove(check_id)
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def is_ttl(self, check_id: str) -> bool:
        """Whether a check waits to be told."""
        check = self._definitions.get(check_id)
        return check is not None and check.ttl > 0

    def told(self, check_id: str, status: str, output: str) -> None:
        """A TTL check was told its status: its time begins anew."""
        self._arm(check_id, self._definitions[check_id])
        self._update(check_id, status, self._cut(output, self._definitions[check_id]))

    def _cut(self, output: str, check: CheckType) -> str:
        limit = check.output_max_size or self._limit
        if len(output) <= limit:
            return output
        return f"Captured {limit} of {len(output)} bytes\n...\n{output[-limit:]}"

    def _arm(self, check_id: str, check: CheckType) -> None:
        timer = self._timers.pop(check_id, None)
        if timer is not None:
            timer.cancel()
        loop = asyncio.get_running_loop()
        self._timers[check_id] = loop.call_later(check.ttl / SECOND, self._expired, check_id)

    def _expired(self, check_id: str) -> None:
        log.warning("Check missed TTL, is now critical: check=%s", check_id)
        self._update(check_id, CRITICAL, expired_output(self._last(check_id)))

    def _last(self, check_id: str) -> str:
        return self.last_output(check_id)

    def last_output(self, check_id: str) -> str:
        """What a check said last; the owner replaces this."""
        return ""

    async def _follow(self, check_id: str, check: CheckType) -> None:
        while True:
            worst, output = PASSING, "No checks found."
            others = self._aliased(check)
            if others is None:
                worst = CRITICAL
                output = f"Service {check.alias_service} could not be found on node {check.alias_node}"
            for other in others or ():
                if other.check_id == check_id:
                    continue
                if other.status == CRITICAL:
                    worst, output = CRITICAL, f'Aliased check "{other.name}" failing: {other.output}'
                    break
                if other.status == WARNING:
                    worst, output = WARNING, f'Aliased check "{other.name}" failing: {other.output}'
                elif worst == PASSING:
                    output = "All checks passing."
            self._update(check_id, worst, output)
            await asyncio.sleep(1.0)

    async def _run(self, check_id: str, check: CheckType) -> None:
        interval = max(check.interval / SECOND, 0.05)
        thresholds = Thresholds(
            check.success_before_passing,
            check.failures_before_warning or check.failures_before_critical,
            check.failures_before_critical,
        )
        await asyncio.sleep(min(random.random() * interval, interval))
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            try:
                result, output = await self._probe(check)
            except asyncio.CancelledError:
                raise
            except Exception as error:
                log.exception("check %s failed", check_id)
                result, output = CRITICAL, f"the check itself failed: {error}"
            before = self._status.get(check_id, CRITICAL)
            status = thresholds.status_for(result, before)
            if status != before:
                log.log(
                    logging.INFO if status == PASSING else logging.WARNING,
                    "Check is now %s: check=%s",
                    status,
                    check_id,
                )
            self._status[check_id] = status
            self._update(check_id, status, self._cut(output, check))
            await asyncio.sleep(max(0.05, interval - (loop.time() - started)))

    async def _probe(self, check: CheckType) -> probes.Result:
        limit = check.output_max_size or self._limit
        if check.http:
            if self._session is None:
                self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True))
            return await probes.probe_http(self._session, check, limit)
        if check.tcp:
            return await probes.probe_tcp(check)
        if check.udp:
            return await probes.probe_udp(check)
        return await probes.probe_script(check, limit)


def expired_output(last: str) -> str:
    """What a TTL check says when its time ran out; `last` is what it said before."""
    return f"TTL expired (last output before timeout follows): {last}" if last else "TTL expired"


def kind_of(check: CheckType) -> str:
    """A check's type as the catalog shows it."""
    for kind, value in (
        ("ttl", check.ttl),
        ("http", check.http),
        ("tcp", check.tcp),
        ("udp", check.udp),
        ("docker", check.docker_container_id),
        ("script", check.script_args),
        ("grpc", check.grpc),
        ("h2ping", check.h2ping),
        ("os_service", check.os_service),
        ("alias", check.alias_node or check.alias_service),
    ):
        if value:
            return kind
    return ""


def problem_with(check: CheckType) -> str:
    """Why a definition cannot be run; "" when it can."""
    kind = kind_of(check)
    interval_kinds = bool(
        check.script_args or check.http or check.tcp or check.udp or check.grpc or check.h2ping or check.os_service
    )
    if kind in ("grpc", "h2ping", "os_service", "docker"):
        return f"{kind} checks are not supported by this version of lictor"
    if kind == "alias":
        return ""
    if interval_kinds and check.ttl:
        return "Interval and TTL cannot both be specified"
    if interval_kinds and check.interval <= 0:
        return "Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks"
    if not interval_kinds and check.ttl <= 0:
        return "TTL must be > 0 for TTL checks"
    if check.output_max_size < 0:
        return "MaxOutputMaxSize must be positive"
    if check.failures_before_warning > check.failures_before_critical > 0:
        return "FailuresBeforeWarning can't be higher than FailuresBeforeCritical"
    return ""


def shown_interval(check: CheckType, own: bool) -> tuple[str, str]:
    """Interval and time-out as the catalog shows them; `own` marks one defined by itself, not inside a service."""
    if own:
        return format_duration(check.interval), format_duration(check.timeout)
    interval = format_duration(check.interval) if check.interval else ""
    return interval, format_duration(check.timeout) if check.timeout else ""
