"""The demo's tour works from beginning to end."""

import subprocess
import sys

import pytest

from tests.support.process import free_ports


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.xdist_group("demo")
def test_the_tour_ends_well() -> None:
    command = [sys.executable, "-m", "agent.cli.main", "demo", "-once", f"-http-port={free_ports(1)[0]}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for words in ("the leader is", "api answers: 'api got: hello from web'", "refused", "is dead", "The UI is at"):
        assert words in done.stdout, done.stdout
