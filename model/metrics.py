"""Counts, timings and gauges of this process, kept for a while and shown by the agent.

As with logging, a process has one `METRICS`. Who wants to count something binds a series once, `APPLIED =
METRICS.counter("raft.apply")`, and then calls `APPLIED.add()`, which costs a few additions: no look-up, no clock, no
lock. Every `INTERVAL` whoever drives the process calls `roll`, which closes the current interval; finished ones are
kept for a minute. Gauges are asked for then (`on_roll`), not pushed.

Names have dots and no prefix; prefix, host name and filters are the business of who shows them. Everything here is
called from one thread.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

INTERVAL = 10.0
"""Seconds of an interval."""
KEPT = 6
"""Finished intervals that are kept."""
MAX_SERIES = 4096
"""Series of a process; names made from what users send stop adding up here."""
RECENT = 128
"""Timings of a series that are remembered one by one."""

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """What came together in an interval."""

    count: int
    sum: float
    low: float
    high: float
    squares: float

    @property
    def mean(self) -> float:
        """The mean."""
        return self.sum / self.count if self.count else 0.0

    @property
    def deviation(self) -> float:
        """The standard deviation of the sample."""
        if self.count < 2:
            return 0.0
        variance = (self.count * self.squares - self.sum * self.sum) / (self.count * (self.count - 1))
        return math.sqrt(variance) if variance > 0 else 0.0


class Counter:
    """Adds up. The attributes are the current interval's, `total_count` and `total` those of all finished ones."""

    __slots__ = ("count", "high", "labels", "low", "name", "squares", "sum", "total", "total_count", "used")
    kind = "counter"

    def __init__(self, name: str, labels: Labels) -> None:
        self.name = name
        self.labels = labels
        self.count = 0
        self.sum = self.squares = 0.0
        self.low, self.high = math.inf, -math.inf
        self.total_count = 0
        self.total = 0.0
        self.used = False
        """Whether it ever counted."""

    def add(self, value: float = 1.0) -> None:
        """Count."""
        self.count += 1
        self.sum += value
        self.squares += value * value
        if value < self.low:
            self.low = value
        if value > self.high:
            self.high = value

    def close(self) -> Summary | None:
        """End the interval; None when nothing came."""
        if not self.count:
            return None
        found = self.so_far()
        self.used = True
        self.total_count += self.count
        self.total += self.sum
        self.count = 0
        self.sum = self.squares = 0.0
        self.low, self.high = math.inf, -math.inf
        return found

    def so_far(self) -> Summary:
        """The current interval."""
        return Summary(self.count, self.sum, self.low, self.high, self.squares)


class Sample(Counter):
    """Takes values, milliseconds mostly; the latest are remembered one by one."""

    __slots__ = ("_recent", "taken")
    kind = "sample"

    def __init__(self, name: str, labels: Labels) -> None:
        super().__init__(name, labels)
        self._recent: list[float] = []
        self.taken = 0
        """Values that ever came."""

    def add(self, value: float = 1.0) -> None:
        """Take a value."""
        self.count += 1
        self.sum += value
        self.squares += value * value
        if value < self.low:
            self.low = value
        if value > self.high:
            self.high = value
        recent = self._recent
        if len(recent) < RECENT:
            recent.append(value)
        else:
            recent[self.taken % RECENT] = value
        self.taken += 1

    def latest(self, count: int) -> list[float]:
        """The last so many values, `RECENT` at most, in no particular order."""
        count = min(count, len(self._recent))
        begin = self.taken - count
        return [self._recent[number % RECENT] for number in range(begin, self.taken)]


class Shown(NamedTuple):
    """A series or gauge in an interval: `value` is a number for a gauge."""

    name: str
    labels: Labels
    value: Summary | float


class Interval(NamedTuple):
    """An interval: when it began (seconds since 1970), and what it saw, in order of names."""

    began: float
    gauges: list[Shown]
    counters: list[Shown]
    samples: list[Shown]


class Metrics:
    """The series of a process."""

    def __init__(self) -> None:
        self._series: dict[tuple[str, str, Labels], Counter] = {}
        self._gauges: dict[tuple[str, Labels], float] = {}
        self._intervals: deque[Interval] = deque(maxlen=KEPT)
        self._pollers: list[Callable[[Metrics], None]] = []
        self._began = 0.0
        self._dropped = Sample("dropped", ())

    def counter(self, name: str, **labels: str) -> Counter:
        """The counter of this name and these labels."""
        return self._bound(Counter, name, labels)

    def sample(self, name: str, **labels: str) -> Sample:
        """The series of values of this name and these labels."""
        found = self._bound(Sample, name, labels)
        assert isinstance(found, Sample)
        return found

    def _bound(self, cls: type[Counter], name: str, labels: dict[str, str]) -> Counter:
        pairs = tuple(sorted(labels.items()))
        found = self._series.get((cls.kind, name, pairs))
        if found is None:
            if len(self._series) >= MAX_SERIES:
                return self._dropped
            found = self._series[cls.kind, name, pairs] = cls(name, pairs)
        return found

    def gauge(self, name: str, value: float, **labels: str) -> None:
        """Say what something is now; forgotten with the interval."""
        key = (name, tuple(sorted(labels.items())))
        if key in self._gauges or len(self._gauges) < MAX_SERIES:
            self._gauges[key] = value

    def on_roll(self, poll: Callable[["Metrics"], None]) -> Callable[[], None]:
        """Call `poll` before every end of an interval, to say gauges; the function returned ends that."""
        self._pollers.append(poll)
        return lambda: self._pollers.remove(poll) if poll in self._pollers else None

    def begin(self, now: float) -> None:
        """The first interval begins."""
        self._began = now

    def roll(self, now: float) -> Interval:
        """End the current interval and begin the next at `now` (seconds since 1970)."""
        interval = self._present(close=True)
        self._intervals.append(interval)
        self._gauges = {}
        self._began = now
        return interval

    def last(self) -> Interval:
        """The newest finished interval, or the current one where none is finished yet."""
        return self._intervals[-1] if self._intervals else self._present(close=False)

    def _present(self, close: bool) -> Interval:
        for poll in list(self._pollers):
            poll(self)
        found: dict[str, list[Shown]] = {"counter": [], "sample": []}
        for key in sorted(self._series):
            one = self._series[key]
            summary = one.close() if close else one.so_far() if one.count else None
            if summary is not None:
                found[one.kind].append(Shown(one.name, one.labels, summary))
        gauges = [Shown(name, labels, self._gauges[name, labels]) for name, labels in sorted(self._gauges)]
        return Interval(self._began, gauges, found["counter"], found["sample"])

    def gauges_now(self) -> list[Shown]:
        """All gauges, asked for now."""
        for poll in list(self._pollers):
            poll(self)
        return [Shown(name, labels, self._gauges[name, labels]) for name, labels in sorted(self._gauges)]

    def series(self) -> Iterator[Counter]:
        """All series that ever counted, by name."""
        for key in sorted(self._series):
            one = self._series[key]
            if one.used or one.count:
                yield one


METRICS = Metrics()
"""This process's."""


def quantiles(values: Iterable[float], wanted: Iterable[float]) -> list[float]:
    """Quantiles of some values; NaN where there are none."""
    ordered = sorted(values)
    if not ordered:
        return [math.nan for _ in wanted]
    return [ordered[min(len(ordered) - 1, max(0, math.ceil(one * len(ordered)) - 1))] for one in wanted]
