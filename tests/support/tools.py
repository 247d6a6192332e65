"""Skips for tools that a machine may lack; `.ci/run` turns them into failures."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"


def required() -> bool:
    """Whether everything must be in place, as where it is decided that a change lands."""
    return bool(os.environ.get("LICTOR_TOOLS_REQUIRED"))


def lacking(reason: str) -> None:
    """Skip the running test because this machine lacks something; fail where everything must be in place."""
    if required():
        pytest.fail(f"{reason} (LICTOR_TOOLS_REQUIRED is set)")
    pytest.skip(reason)


def need_program(*names: str) -> str:
    """The path of the first of these programs that is installed; without any the test is skipped."""
    for name in names:
        found = shutil.which(name) or next(
            (str(p) for d in ("/usr/sbin", "/sbin") if (p := Path(d) / name).exists()), None
        )
        if found:
            return found
    lacking(f"needs {' or '.join(names)} installed")
    raise AssertionError("unreachable")


def need_root() -> None:
    """Skip unless this process is root (network namespaces need it)."""
    if os.geteuid() != 0:
        lacking("needs root for network namespaces")


def need_shared(path: str) -> Path:
    """A file or folder of the recorded material beside the project; without it the test is skipped."""
    found = SHARED / path
    if not found.exists():
        lacking(f"needs ../shared/{path} beside the project")
    return found
