"""OS service checks: whether systemd runs a unit. A state that cannot be found out warns."""

import asyncio
import contextlib

from agent.checks.probe import Result, Tools, timeout_of
from agent.checks.thresholds import CRITICAL, PASSING, WARNING
from model.goerrors import system_text
from model.structs.catalog import CheckType


async def probe_os_service(check: CheckType, tools: Tools) -> Result:
    """Run an OS service check once."""
    name = check.os_service
    try:
        async with asyncio.timeout(timeout_of(check)):
            code, said, problem = await _ask(name)
    except TimeoutError:
        return WARNING, f'Unable to find the state of OS service "{name}": context deadline exceeded'
    except (OSError, ValueError) as error:
        return WARNING, f'Unable to find the state of OS service "{name}": systemctl: {system_text(error)}'
    if code != 0:
        reason = problem.strip().partition("\n")[0] or f"systemctl: exit status {code}"
        return WARNING, f'Unable to find the state of OS service "{name}": {reason}'
    return judge(name, said)


def judge(name: str, said: str) -> Result:
    """The status of a unit from what `systemctl show` printed of it."""
    state = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
    active = state.get("ActiveState", "")
    if not active:
        return WARNING, f'Unable to find the state of OS service "{name}": systemd does not tell it'
    if active in ("active", "reloading"):
        return PASSING, f'OS service "{name}" is healthy'
    if state.get("LoadState") == "not-found":
        return CRITICAL, f'OS service "{name}" is not known to systemd'
    return CRITICAL, f'OS service "{name}" is unhealthy: {active} ({state.get("SubState", "unknown")})'


async def _ask(name: str) -> tuple[int, str, str]:
    """`systemctl`'s exit code, output and complaints."""
    process = await asyncio.create_subprocess_exec(
        "systemctl",
        *("show", "--property=LoadState,ActiveState,SubState", "--", name),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        said, problem = await process.communicate()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await asyncio.shield(process.wait())
    return process.returncode or 0, said.decode("utf-8", "replace"), problem.decode("utf-8", "replace")
