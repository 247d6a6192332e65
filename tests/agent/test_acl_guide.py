"""Every command of docs/acl.md, in its order and in one shell, against a server configured as the page shows."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.process import Agent

GUIDE = Path(__file__).parents[2] / "docs" / "acl.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE.read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.timeout(600)
def test_the_guide(tmp_path: Path) -> None:
    (tmp_path / "acl.hcl").write_text("\n".join(blocks("hcl")))
    data = tmp_path / "data"
    settings = {"server": True, "bootstrap": True, "data_dir": str(data)}
    agent = Agent(tmp_path / "agent", [f"-config-file={tmp_path / 'acl.hcl'}"], settings)
    # `env` knows no functions of the shell.
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "lictor").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m agent.cli.main "$@"\n')
    (tmp_path / "bin" / "lictor").chmod(0o755)
    work = tmp_path / "work"
    work.mkdir()
    env = {key: value for key, value in os.environ.items() if not key.startswith("CONSUL_")}
    env |= {
        "PATH": f"{tmp_path / 'bin'}:{env['PATH']}",
        "PYTHONPATH": os.getcwd(),
        "CONSUL_HTTP_ADDR": f"127.0.0.1:{agent.ports['http']}",
        "DATA_DIR": str(data),
    }
    agent.start()
    try:
        agent.ready()
        script = "set -ex\n" + "\n".join(blocks("sh"))
        done = subprocess.run(
            ["/bin/sh", "-c", script], cwd=work, env=env, capture_output=True, text=True, timeout=500, check=False
        )
        assert done.returncode == 0, (done.stdout[-3000:], done.stderr[-3000:])
        shown = blocks("console")
        assert "billing" in done.stdout and "node1" in done.stdout and shown
        # What the guide says is refused, is.
        secret = re.search(r"^SecretID: *(\S+)", (work / "billing2.txt").read_text(), re.MULTILINE)
        assert secret is not None
        for block in shown:
            command, answer = block.strip().split("\n")
            told = subprocess.run(
                ["/bin/sh", "-c", command.removeprefix("$ ")], cwd=work, env={**env, "BILLING": secret[1]},
                capture_output=True, text=True, timeout=60, check=False,
            )  # fmt: skip
            assert told.returncode == 1
            assert re.fullmatch(re.escape(answer).replace("…", "[0-9a-f-]{36}"), told.stderr.strip()), told.stderr
        # The token of before is gone, the new one holds.
        old = re.search(r"^SecretID: *(\S+)", (work / "bootstrap.txt").read_text(), re.MULTILINE)
        assert old is not None
        for secret_file, code in ((work / "management.token", 0), (work / "old.token", 1)):
            (work / "old.token").write_text(old[1])
            words = ["lictor", "acl", "token", "read", "-self", f"-token-file={secret_file}"]
            assert subprocess.run(words, env=env, capture_output=True, timeout=60, check=False).returncode == code
    finally:
        agent.stop()
