"""Recorded conversations with a real Consul, played against our command: no scenario may get worse.

`baseline.json` holds the steps that pass for each scenario; raise it with
`python ../shared/conformance/replay.py --bin .venv/bin/lictor --baseline tests/conformance/baseline.json --raise`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.tools import ROOT, need_shared

BASELINE = Path(__file__).with_name("baseline.json")
SCENARIOS: list[str] = sorted(json.loads(BASELINE.read_text()))
FAMILIES = sorted({name.split("/")[0] for name in SCENARIOS})


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("family", FAMILIES)
def test_family_is_no_worse_than_its_baseline(family: str) -> None:
    replay = need_shared("conformance/replay.py")
    lictor = Path(sys.executable).with_name("lictor")
    names = [name for name in SCENARIOS if name.startswith(f"{family}/")]
    command = [sys.executable, str(replay), "--bin", str(lictor), "--baseline", str(BASELINE), "-j", "2", *names]
    played = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=880, check=False)
    assert played.returncode == 0, played.stdout[-6000:] + played.stderr[-2000:]
