"""Recorded conversations with a real Consul, played against our command: no scenario may get worse.

`baseline.json` holds the steps that pass for each scenario; raise it with
`python ../shared/conformance/replay.py --bin .venv/bin/lictor --baseline tests/conformance/baseline.json --raise`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.netns import ports_of_its_own
from tests.support.tools import ROOT, need_shared

BASELINE = Path(__file__).with_name("baseline.json")
SCENARIOS: list[str] = sorted(json.loads(BASELINE.read_text()))
FAMILIES = sorted({name.split("/")[0] for name in SCENARIOS})


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("family", FAMILIES)
def test_family_is_no_worse_than_its_baseline(family: str) -> None:
    replay = need_shared("conformance/replay.py")
    lictor = Path(sys.executable).with_name("lictor")
    names = [name for name in SCENARIOS if name.startswith(f"{family}/")]

    def play(part: list[str]) -> str:
        """Play some conversations, one after the other; returns what was said where something got worse."""
        command = [sys.executable, str(replay), "--bin", str(lictor), "--baseline", str(BASELINE), "-j", "1", *part]
        with ports_of_its_own():
            played = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1700, check=False)
        return played.stdout[-6000:] + played.stderr[-2000:] if played.returncode else ""

    with ThreadPoolExecutor(2) as pool:
        complaints = list(pool.map(play, filter(None, (names[::2], names[1::2]))))
    assert not any(complaints), "\n".join(complaints)
