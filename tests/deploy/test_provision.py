"""The script that provisions machines, run against temporary roots: what it writes must start a real cluster."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.tools import ROOT

SCRIPT = ROOT / "deploy" / "provision.sh"
LICTOR = Path(sys.executable).with_name("lictor")


def provision(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", str(SCRIPT), "--root", str(root), "--no-install", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def vagrant_arguments() -> list[list[str]]:
    """The arguments that the Vagrantfile hands the script for each machine, addresses moved to loopback."""
    text = (ROOT / "Vagrantfile").read_text()
    assert "deploy/provision.sh" in text
    machines = re.findall(r'"(\w+)" => "192\.168\.56\.(\d+)"', text)
    servers = [f"127.0.56.{host}" for name, host in machines if name.startswith("server")]
    assert len(servers) == 3
    assert len(machines) == 4
    return [
        ["--role", "server" if name.startswith("server") else "client", "--node", name, "--bind", f"127.0.56.{host}",
         "--join", ",".join(servers), "--expect", str(len(servers))]
        for name, host in machines
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--role", "king"], "--role must be server or client"),
        (
            ["--role", "server", "--node", 'x"; evil', "--bind", "127.0.0.1", "--join", "127.0.0.1"],
            "--node: unexpected",
        ),
        (["--role", "server", "--node", "a", "--bind", "127.0.0.1"], "--join is missing"),
        (["--role"], "--role needs a value"),
        (["--frobnicate"], "unknown option"),
    ],
)
def test_bad_arguments_are_named_and_write_nothing(tmp_path: Path, arguments: list[str], complaint: str) -> None:
    done = provision(tmp_path, *arguments)
    assert done.returncode == 2
    assert complaint in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Every machine of the Vagrantfile, provisioned below a root of its own and started as its unit says."""
    with ExitStack() as stack:
        started = {}
        for arguments in vagrant_arguments():
            node = arguments[3]
            root = tmp_path / node
            done = provision(root, *arguments)
            assert done.returncode == 0, done.stderr
            unit = (root / "etc/systemd/system/lictor.service").read_text()
            line = re.search(r"^ExecStart=/opt/lictor/\.venv/bin/lictor (.*)$", unit, re.MULTILINE)
            assert line
            words = [word.replace("/etc/lictor.d", f"{root}/etc/lictor.d") for word in shlex.split(line[1])]
            command = [str(LICTOR), *words, f"-data-dir={root}/var/lib/lictor", "-client", arguments[5]]
            log = stack.enter_context((root / "log").open("wb"))
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
            stack.callback(process.wait, 60)
            stack.callback(process.terminate)
            started[node] = process
        yield started


def test_what_it_writes_starts_a_cluster(machines: dict[str, subprocess.Popen[bytes]], tmp_path: Path) -> None:
    deadline = time.monotonic() + 60
    seen = ""
    while time.monotonic() < deadline:
        done = subprocess.run(
            [str(LICTOR), "members", "-http-addr=127.0.56.21:8500"], capture_output=True, text=True, check=False
        )
        seen = done.stdout + done.stderr
        if seen.count(" alive ") == 4 and seen.count(" server ") == 3:
            break
        time.sleep(0.25)
    else:
        logs = "\n".join((tmp_path / node / "log").read_text()[-1500:] for node in machines)
        pytest.fail(f"the cluster did not form:\n{seen}\n{logs}")
    written = subprocess.run(
        [str(LICTOR), "kv", "put", "-http-addr=127.0.56.21:8500", "greeting", "ave"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert written.returncode == 0, written.stderr
