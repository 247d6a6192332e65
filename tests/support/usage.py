"""What an agent's process uses: memory, tasks, descriptors."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import NamedTuple

from tests.support.process import Agent


class Usage(NamedTuple):
    """Bytes in memory, asyncio tasks, and open descriptors."""

    resident: int
    tasks: int
    descriptors: int


def usage(agent: Agent) -> Usage:
    """What an agent uses now."""
    assert agent.process is not None
    process = Path("/proc", str(agent.process.pid))
    status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    tasks = int(agent.json("GET", "/v1/agent/self")["Stats"]["runtime"]["goroutines"])
    return Usage(int(status["VmRSS"].split()[0]) << 10, tasks, len(list((process / "fd").iterdir())))


def unexpected(log: str) -> str:
    """What a log says of exceptions that nothing expected: each kind once, by the line of code and the exception."""
    found: dict[str, str] = {}
    lines = log.splitlines()
    for number, line in enumerate(lines):
        if "internal error" not in line and not line.startswith("Traceback"):
            continue
        trace = list(itertools.takewhile(lambda text: "Z [" not in text, lines[number + 1 : number + 120]))
        where = [text for text in trace if text.startswith('  File "')][-1:]
        found.setdefault(f"{where} {trace[-1:]}", "\n".join([line, *trace]))
    return f"{len(found)} kinds of internal errors:\n\n" + "\n\n".join(found.values())
