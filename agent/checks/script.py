"""Script checks: a program's exit code is the status (0 passes, 1 warns, the rest fails), what it prints the output."""

import asyncio
import contextlib
import os
import signal

from agent.checks.probe import Result, Tail, Tools
from agent.checks.thresholds import CRITICAL, PASSING, WARNING
from model.durations import SECOND, format_duration
from model.goerrors import file_text, system_text
from model.structs.catalog import CheckType

SCRIPT_TIMEOUT = 30 * SECOND
STATUS_OF = {0: PASSING, 1: WARNING}


async def probe_script(check: CheckType, tools: Tools) -> Result:
    """Run a script check once. When its time is over, the program and all that it started are killed."""
    arguments = list(check.script_args or ())
    if not arguments[0]:
        return CRITICAL, "exec: no command"
    try:
        process = await asyncio.create_subprocess_exec(
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        return CRITICAL, _not_started(arguments[0], error)
    except ValueError as error:  # A NUL in an argument.
        return CRITICAL, f"exec: {error}"
    limit = check.timeout if check.timeout > 0 else SCRIPT_TIMEOUT
    output = Tail(tools.limit_of(check))
    assert process.stdout is not None
    ended = False
    try:
        async with asyncio.timeout(limit / SECOND):
            while chunk := await process.stdout.read(65536):
                output.write(chunk)
            code = await process.wait()
        ended = True
    except TimeoutError:
        said = f"\n\n{output.captured()}" if output.total else ""
        return CRITICAL, f"Timed out ({format_duration(limit)}) running check{said}"
    finally:
        if not ended:
            await _end(process)
    return STATUS_OF.get(code, CRITICAL), output.captured()


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill what is left of the program's process group: the program may be gone, and others hold its output."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    await asyncio.shield(process.wait())


def _not_started(program: str, error: OSError) -> str:
    if "/" in program:
        return file_text("fork/exec", program, error)
    if isinstance(error, FileNotFoundError):
        return f'exec: "{program}": executable file not found in $PATH'
    return f'exec: "{program}": {system_text(error)}'
