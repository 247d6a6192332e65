"""What every table is made of: figures beside a counterpart and a goal, and what a process has used so far."""

import os
import random
import socket
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

TICKS = os.sysconf("SC_CLK_TCK")


class Figure(NamedTuple):
    """One line of a table.

    `other` is the counterpart's figure in the same unit and run, `goal` what we want in words; either may be missing.
    `elsewhere` is what Consul 1.14 was measured at on a machine like ours, by others and at another time.
    """

    name: str
    value: float
    unit: str
    other: float | None = None
    counterpart: str = ""
    goal: str = ""
    elsewhere: float | None = None


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time that these processes have used so far."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def precise_cpu_seconds(pid: int) -> float:
    """Time that the threads of a process have been running so far, to the nanosecond."""
    total = 0
    for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        total += int(path.read_text().split()[0])
    return total / 1e9


def resident_bytes(pid: int) -> int:
    """Memory of a process that is in RAM now."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` (0 to 1) of all values do not exceed. Raises ValueError when there is none."""
    if not values:
        raise ValueError("nothing was measured")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


_given: set[int] = set()


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody uses now, for TCP or UDP, and that were not given before.

    They lie below those that the system gives to outgoing connections: one of those could otherwise take the port of a
    member that is down for a moment.
    """
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(10_000, 32_768)
        if port not in _given and _is_free(port):
            _given.add(port)
            found.append(port)
    return found


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as one:
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True


def print_table(figures: Sequence[Figure]) -> None:
    """Figure, counterpart, ratio and goal, a line each; and Consul's figure where some line has one."""
    if not figures:
        return
    width = max(len(figure.name) for figure in figures)
    elsewhere = any(figure.elsewhere is not None for figure in figures)
    consul = f"{'Consul, elsewhere':>18}  {'ratio':>6}  " if elsewhere else ""
    print(f"{'figure':<{width}}  {'lictor':>16}  {consul}{'counterpart':>24}  {'ratio':>6}  goal")
    for figure in figures:
        consul = f"{_shown(figure.elsewhere):>18}  {_ratio(figure.value, figure.elsewhere):>6}  " if elsewhere else ""
        other = f"{_shown(figure.other)} {figure.counterpart}".strip()
        ratio = _ratio(figure.value, figure.other)
        value = f"{_shown(figure.value)} {figure.unit}"
        line = f"{figure.name:<{width}}  {value:>16}  {consul}{other:>24}  {ratio:>6}  {figure.goal}"
        print(line.rstrip(), flush=True)


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:,.{_digits(value)}f}"


def _ratio(value: float, other: float | None) -> str:
    return f"{value / other:.2f}" if other else ""


def _digits(value: float) -> int:
    return 0 if abs(value) >= 1000 else 1 if abs(value) >= 10 else 2
