"""The forms in which metrics leave the agent: Consul's JSON, Prometheus' text, lines of statsd and its kin.

Everything here is pure: intervals and series in, text out.
"""

import math
import re
import time
from collections.abc import Iterable
from typing import Any

from agent.config.settings import Telemetry
from model.metrics import INTERVAL, RECENT, Counter, Interval, Labels, Sample, Shown, Summary, quantiles

QUANTILES = (0.5, 0.9, 0.99)
_FOR_PROMETHEUS = re.compile(r"[^A-Za-z0-9_:]")
_FOR_STATSD = re.compile(r"[:|@\s]")
_FOR_TAGS = re.compile(r"[|,\s#]")


class Naming:
    """Full names of metrics, and which of them are shown at all."""

    def __init__(self, settings: Telemetry, hostname: str) -> None:
        self._settings = settings
        with_sinks = bool(
            settings.prometheus_retention
            or settings.statsd_address
            or settings.statsite_address
            or settings.dogstatsd_address
        )
        self._host = hostname if with_sinks and not settings.disable_hostname else ""

    def full(self, name: str, is_gauge: bool) -> str | None:
        """A name with the prefix, and for a gauge the host's name; None for one that the filter blocks."""
        prefix = self._settings.metrics_prefix
        plain = f"{prefix}.{name}" if prefix else name
        if not self._allows(plain):
            return None
        if is_gauge and self._host:
            return f"{prefix}.{self._host}.{name}" if prefix else f"{self._host}.{name}"
        return plain

    def _allows(self, name: str) -> bool:
        """The longest prefix in the rules decides; of two equal ones the blocking one."""
        allowed = max((len(one) for one in self._settings.allowed if name.startswith(one)), default=-1)
        blocked = max((len(one) for one in self._settings.blocked if name.startswith(one)), default=-1)
        if allowed == blocked == -1:
            return self._settings.filter_default
        return allowed > blocked


def _number(value: float) -> float | int:
    """A number as Go writes it into JSON: whole ones without a point."""
    return int(value) if float(value).is_integer() and abs(value) < 1e15 else value


def as_json(interval: Interval, naming: Naming) -> dict[str, Any]:
    """An interval as /v1/agent/metrics shows it."""
    began = time.gmtime(interval.began - interval.began % INTERVAL)
    gauges = []
    for one in interval.gauges:
        name = naming.full(one.name, True)
        if name is not None and isinstance(one.value, float | int) and math.isfinite(one.value):
            gauges.append({"Name": name, "Value": _number(float(one.value)), "Labels": dict(one.labels)})
    return {
        "Timestamp": time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC", began),
        "Gauges": gauges,
        "Points": [],
        "Counters": _summaries(interval.counters, naming),
        "Samples": _summaries(interval.samples, naming),
    }


def _summaries(shown: Iterable[Shown], naming: Naming) -> list[dict[str, Any]]:
    found = []
    for one in shown:
        name = naming.full(one.name, False)
        summary = one.value
        if name is None or not isinstance(summary, Summary):
            continue
        found.append(
            {
                "Name": name,
                "Count": summary.count,
                "Rate": _number(summary.sum / INTERVAL),
                "Sum": _number(summary.sum),
                "Min": _number(summary.low),
                "Max": _number(summary.high),
                "Mean": _number(summary.mean),
                "Stddev": _number(summary.deviation),
                "Labels": dict(one.labels),
            }
        )
    return found


def as_dump(interval: Interval, naming: Naming) -> str:
    """An interval as lines for people, as Consul writes them on SIGUSR1."""
    stamp = time.strftime("[%Y-%m-%d %H:%M:%S +0000 UTC]", time.gmtime(interval.began - interval.began % INTERVAL))
    lines = []
    for sign, shown in (("G", interval.gauges), ("C", interval.counters), ("S", interval.samples)):
        for one in shown:
            name = naming.full(one.name, sign == "G")
            if name is None:
                continue
            name = ".".join((name, *(value for _, value in one.labels)))
            if isinstance(one.value, Summary):
                summary = one.value
                text = (
                    f"Count: {summary.count} Min: {summary.low:.3f} Mean: {summary.mean:.3f} Max: {summary.high:.3f} "
                    f"Stddev: {summary.deviation:.3f} Sum: {summary.sum:.3f}"
                )
            else:
                text = f"{one.value:.3f}"
            lines.append(f"{stamp}[{sign}] '{name}': {text}")
    return "\n".join(lines)


# Prometheus


def as_prometheus(gauges: Iterable[Shown], series: Iterable[Counter], naming: Naming) -> str:
    """Gauges and series in Prometheus' text format, version 0.0.4.

    Counters keep Consul's names, which do not end with `_total` as client libraries would have it.
    """
    families: dict[tuple[str, str], list[str]] = {}
    for one in gauges:
        name = naming.full(one.name, True)
        if name is not None and not isinstance(one.value, Summary):
            flat = _flat(name)
            families.setdefault((flat, "gauge"), []).append(f"{flat}{_labels(one.labels)} {_value(one.value)}")
    for counter in series:
        name = naming.full(counter.name, False)
        if name is None:
            continue
        flat = _flat(name)
        total, count = counter.total + counter.sum, counter.total_count + counter.count
        if isinstance(counter, Sample):
            lines = families.setdefault((flat, "summary"), [])
            recent = counter.latest(RECENT if counter.count else 0)
            for wanted, value in zip(QUANTILES, quantiles(recent, QUANTILES), strict=True):
                lines.append(f"{flat}{_labels((*counter.labels, ('quantile', f'{wanted:g}')))} {_value(value)}")
            lines.append(f"{flat}_sum{_labels(counter.labels)} {_value(total)}")
            lines.append(f"{flat}_count{_labels(counter.labels)} {count}")
        else:
            families.setdefault((flat, "counter"), []).append(f"{flat}{_labels(counter.labels)} {_value(total)}")
    text = []
    seen: set[str] = set()
    for (flat, kind), lines in sorted(families.items()):
        if flat in seen:
            continue  # One name is of one kind.
        seen.add(flat)
        text += [f"# HELP {flat} {flat}", f"# TYPE {flat} {kind}", *lines]
    return "\n".join(text) + "\n" if text else ""


def _flat(name: str) -> str:
    flat = _FOR_PROMETHEUS.sub("_", name)
    return f"_{flat}" if flat[:1].isdigit() else flat


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    pairs = ",".join(f'{_flat(name)}="{_escaped(value)}"' for name, value in labels)
    return f"{{{pairs}}}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _value(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(_number(float(value)))


# statsd and its kin


def statsd_lines(
    gauges: Iterable[Shown],
    news: Iterable[tuple[Counter, float, list[float], int]],
    naming: Naming,
    tags: tuple[str, ...] | None = None,
) -> list[str]:
    """Lines of statsd: gauges, and of series what is new.

    `news` has for each series what was added to it, and for samples the values that are remembered of the so many that
    came; fewer than came are sent with their rate. With `tags` the lines are dogstatsd's: labels are tags, beside
    these. Without, the labels' values are parts of the name.
    """
    lines = []
    for one in gauges:
        name = naming.full(one.name, True)
        if name is not None and not isinstance(one.value, Summary) and math.isfinite(one.value):
            lines.append(_statsd(name, one.labels, f"{_number(float(one.value))}|g", tags))
    for series, added, values, came in news:
        name = naming.full(series.name, False)
        if name is None:
            continue
        if isinstance(series, Sample):
            rate = f"|@{len(values) / came:.4g}" if came > len(values) else ""
            lines.extend(_statsd(name, series.labels, f"{value:.6f}|ms{rate}", tags) for value in values)
        elif added:
            lines.append(_statsd(name, series.labels, f"{_number(added)}|c", tags))
    return lines


def _statsd(name: str, labels: Labels, value: str, tags: tuple[str, ...] | None) -> str:
    if tags is None:
        name = ".".join((name, *(part for _, part in labels)))
        return f"{_FOR_STATSD.sub('_', name)}:{value}"
    all_tags = [*tags, *(f"{label}:{part}" for label, part in labels)]
    shown = ",".join(_FOR_TAGS.sub("_", one) for one in all_tags)
    return f"{_FOR_STATSD.sub('_', name)}:{value}" + (f"|#{shown}" if shown else "")


class Followed:
    """What one receiver has been sent already, so that it gets what is new."""

    def __init__(self) -> None:
        self._sent: dict[int, tuple[float, int]] = {}

    def news(self, series: Iterable[Counter]) -> list[tuple[Counter, float, list[float], int]]:
        """For each series what came since the last call: the sum, the values (of samples), and their number."""
        found = []
        for one in series:
            total, count = one.total + one.sum, one.total_count + one.count
            before, counted = self._sent.get(id(one), (0.0, 0))
            came = count - counted
            if came:
                values = one.latest(came) if isinstance(one, Sample) else []
                found.append((one, total - before, values, came))
                self._sent[id(one)] = total, count
        return found


def datagrams(lines: Iterable[str], size: int) -> list[bytes]:
    """Lines packed into datagrams of `size` bytes at most; a longer line is left out."""
    found: list[bytes] = []
    current = b""
    for line in lines:
        raw = line.encode("utf-8", "replace") + b"\n"
        if len(raw) > size:
            continue
        if len(current) + len(raw) > size:
            found.append(current)
            current = b""
        current += raw
    return [*found, current] if current else found
