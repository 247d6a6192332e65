"""OS service checks: the rules, and a stand-in for `systemctl`, which test machines often cannot run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.checks.os_service import judge, probe_os_service
from agent.checks.probe import Tools
from tests.agent.checks.counterparts import a_check

SYSTEMCTL = """#!/bin/sh
[ "$1 $2 $3" = "show --property=LoadState,ActiveState,SubState --" ] || exit 9
case "$4" in
nginx) printf 'LoadState=loaded\\nActiveState=active\\nSubState=running\\n' ;;
cron) printf 'LoadState=loaded\\nActiveState=failed\\nSubState=failed\\n' ;;
--help) printf 'LoadState=not-found\\nActiveState=inactive\\nSubState=dead\\n' ;;
slow) exec sleep 60 ;;
*) echo "Failed to connect to bus: Host is down" >&2; exit 1 ;;
esac
"""


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `systemctl` that comes first in PATH."""
    path = tmp_path / "systemctl"
    path.write_text(SYSTEMCTL)
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


@pytest.mark.usefixtures("systemctl")
async def test_states() -> None:
    for name, result in (
        ("nginx", ("passing", 'OS service "nginx" is healthy')),
        ("cron", ("critical", 'OS service "cron" is unhealthy: failed (failed)')),
        ("--help", ("critical", 'OS service "--help" is not known to systemd')),
        ("x", ("warning", 'Unable to find the state of OS service "x": Failed to connect to bus: Host is down')),
    ):
        assert await probe_os_service(a_check(OSService=name), Tools()) == result
    slow = await probe_os_service(a_check(OSService="slow", Timeout="100ms"), Tools())
    assert slow == ("warning", 'Unable to find the state of OS service "slow": context deadline exceeded')


async def test_without_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    status, output = await probe_os_service(a_check(OSService="nginx"), Tools())
    assert status == "warning"
    assert output.endswith("systemctl: no such file or directory")


def test_units_that_are_on_their_way_do_not_run() -> None:
    assert judge("a", "ActiveState=activating\nSubState=start\n")[0] == "critical"
    assert judge("a", "ActiveState=deactivating\n")[0] == "critical"
    assert judge("a", "ActiveState=reloading\n")[0] == "passing"
    assert judge("a", "")[0] == "warning"
