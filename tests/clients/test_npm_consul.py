"""The npm package `consul` against a lictor agent: what `npm/client.test.mjs` says."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.clients.fetch import fetch, run
from tests.support.process import dev_agent
from tests.support.tools import need_program

PROGRAM = Path(__file__).with_name("npm")


@pytest.mark.slow
@pytest.mark.timeout(1000)
def test_the_npm_client(tmp_path: Path) -> None:
    npm = need_program("npm")
    node = need_program("node", "nodejs")
    folder = tmp_path / "program"
    shutil.copytree(PROGRAM, folder, ignore=shutil.ignore_patterns("node_modules"))
    fetch((npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"), folder)
    with dev_agent(tmp_path / "agent") as agent:
        address = {"CONSUL_HTTP_PORT": str(agent.ports["http"])}
        done = run([node, "--test", "client.test.mjs"], folder, address, 250)
        assert done.returncode == 0, f"{done.stdout[-6000:]}\nthe agent said:\n{agent.log.read_text()[-3000:]}"
        assert "pass 8\n" in done.stdout, done.stdout
