"""Fetching a pinned client from its registry by the registry's own tool."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.tools import lacking, required

FETCH_SECONDS = 240.0
ATTEMPTS = 4
"""How often a registry is asked where it must be in reach: a connection may break, or a proxy be busy."""


def fetch(command: Sequence[str | Path], folder: Path, **environment: str) -> None:
    """Run a registry tool in a folder; when it fails, the registry is out of reach and the test is skipped."""
    deadline = time.monotonic() + FETCH_SECONDS
    attempts = ATTEMPTS if required() else 1
    while True:
        attempts -= 1
        try:
            done = run(command, folder, environment, max(1.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            lacking(f"needs its registry: {command[0]} {command[1]} took more than {FETCH_SECONDS:.0f} s")
            raise
        if done.returncode == 0 or attempts == 0:
            break
        time.sleep(5)
    if done.returncode:
        lacking(f"needs its registry: {' '.join(map(str, command[:3]))}: {done.stdout.strip()[-300:]}")


def run(
    command: Sequence[str | Path], folder: Path, environment: Mapping[str, str], seconds: float
) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder, with its errors among its output. Raises subprocess.TimeoutExpired."""
    return subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
        check=False,
    )
