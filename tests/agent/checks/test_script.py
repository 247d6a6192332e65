"""Script checks with real programs."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from agent.checks.probe import Tail, Tools, shortened
from agent.checks.script import probe_script
from tests.agent.checks.counterparts import a_check


async def test_the_exit_code_is_the_status() -> None:
    for code, status in ((0, "passing"), (1, "warning"), (2, "critical"), (127, "critical")):
        check = a_check(Args=["sh", "-c", f"echo out; echo err >&2; exit {code}"])
        assert await probe_script(check, Tools()) == (status, "out\nerr\n")


async def test_a_program_killed_by_a_signal_is_critical() -> None:
    assert (await probe_script(a_check(Args=["sh", "-c", "kill -9 $$"]), Tools()))[0] == "critical"


async def test_programs_that_are_not_there() -> None:
    for program, output in (
        ("nosuch-program", 'exec: "nosuch-program": executable file not found in $PATH'),
        ("/nosuch/program", "fork/exec /nosuch/program: no such file or directory"),
        ("/etc/passwd", "fork/exec /etc/passwd: permission denied"),
        ("", "exec: no command"),
    ):
        assert await probe_script(a_check(Args=[program]), Tools()) == ("critical", output)


async def test_the_end_of_a_long_output_is_kept() -> None:
    check = a_check(Args=["sh", "-c", "printf 0123456789"], OutputMaxSize=4)
    assert await probe_script(check, Tools()) == ("passing", "Captured 4 of 10 bytes\n...\n6789")
    assert await probe_script(check, Tools(limit=2)) == ("passing", "Captured 2 of 10 bytes\n...\n89")
    many = a_check(Args=["sh", "-c", "head -c 300000 /dev/zero | tr '\\0' x"])
    status, output = await probe_script(many, Tools())
    assert (status, output) == ("passing", "Captured 4096 of 300000 bytes\n...\n" + "x" * 4096)


@pytest.mark.parametrize("last", ["wait", "exit 0"])
async def test_when_the_time_is_over_the_program_and_its_children_die(tmp_path: Path, last: str) -> None:
    pids = tmp_path / "pids"
    script = f"echo started; sleep 600 & echo $! > {pids}; echo $$ >> {pids}; {last}"
    check = a_check(Args=["sh", "-c", script], Timeout="300ms")
    status, output = await probe_script(check, Tools())
    assert status == "critical"
    assert output == "Timed out (300ms) running check\n\nstarted\n"
    child, shell = (int(pid) for pid in pids.read_text().split())
    for pid in (child, shell):
        for _ in range(200):
            if _is_gone(pid):
                break
            await asyncio.sleep(0.05)
        assert _is_gone(pid)


def _is_gone(pid: int) -> bool:
    """Whether a process has ended (an orphan may wait as a zombie for whoever inherited it)."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (ProcessLookupError, FileNotFoundError):
        return True


async def test_a_check_that_is_removed_takes_its_program_along(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    check = a_check(Args=["sh", "-c", f"echo $$ > {path}; exec sleep 600"], Timeout="600s")
    task = asyncio.create_task(probe_script(check, Tools()))
    while not (path.exists() and path.read_text().strip()):
        await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert _is_gone(int(path.read_text()))


def test_limits_of_outputs() -> None:
    tail = Tail(3)
    for piece in (b"ab", b"cd", b""):
        tail.write(piece)
    assert (tail.text(), tail.total) == ("bcd", 4)
    assert shortened("abcd", 4) == "abcd"
    assert shortened("abcdé", 5) == "abcd ... (captured 5 of 6 bytes)"
