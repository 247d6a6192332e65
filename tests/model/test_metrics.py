"""Counts and timings over intervals."""

import math

from model.metrics import INTERVAL, KEPT, MAX_SERIES, RECENT, Metrics, Sample, Summary, quantiles


def test_what_comes_in_an_interval_is_summed_up() -> None:
    metrics = Metrics()
    metrics.begin(100.0)
    sample = metrics.sample("raft.commitTime", op="x")
    for value in (2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0):
        sample.add(value)
    counter = metrics.counter("raft.apply")
    counter.add()
    counter.add(2)
    interval = metrics.roll(110.0)
    assert interval.began == 100.0
    (shown,) = interval.samples
    summary = shown.value
    assert isinstance(summary, Summary)
    assert (shown.name, shown.labels) == ("raft.commitTime", (("op", "x"),))
    assert (summary.count, summary.sum, summary.low, summary.high, summary.mean) == (8, 40.0, 2.0, 9.0, 5.0)
    assert math.isclose(summary.deviation, math.sqrt(32 / 7))
    (counted,) = interval.counters
    assert isinstance(counted.value, Summary) and (counted.value.count, counted.value.sum) == (2, 3.0)


def test_an_interval_begins_empty_and_totals_go_on() -> None:
    metrics = Metrics()
    counter = metrics.counter("a")
    counter.add(5)
    metrics.roll(10.0)
    assert metrics.roll(20.0).counters == []
    counter.add(1)
    assert (counter.total + counter.sum, counter.total_count + counter.count) == (6.0, 2)
    assert [one.name for one in metrics.series()] == ["a"]


def test_the_newest_finished_interval_is_shown_and_old_ones_go() -> None:
    metrics = Metrics()
    metrics.begin(0.0)
    counter = metrics.counter("a")
    counter.add(1)
    (current,) = metrics.last().counters
    assert isinstance(current.value, Summary) and current.value.sum == 1
    for turn in range(KEPT + 3):
        metrics.roll((turn + 1) * INTERVAL)
        counter.add(turn)
    assert metrics.last().began == (KEPT + 2) * INTERVAL
    assert len(metrics._intervals) == KEPT


def test_gauges_are_asked_for_at_the_end_of_an_interval() -> None:
    metrics = Metrics()
    values = iter((1.0, 2.0, 3.0))
    end = metrics.on_roll(lambda registry: registry.gauge("members", next(values), datacenter="dc1"))
    assert [(one.name, one.labels, one.value) for one in metrics.roll(10.0).gauges] == [
        ("members", (("datacenter", "dc1"),), 1.0)
    ]
    assert metrics.gauges_now()[0].value == 2.0
    end()
    end()
    assert metrics.roll(20.0).gauges[0].value == 2.0
    assert metrics.roll(30.0).gauges == []


def test_a_series_is_bound_once_and_their_number_is_bounded() -> None:
    metrics = Metrics()
    assert metrics.counter("a", x="1", y="2") is metrics.counter("a", y="2", x="1")
    assert metrics.counter("a") is not metrics.sample("a")
    for number in range(MAX_SERIES + 100):
        metrics.sample(f"name.{number}").add(1.0)
    assert sum(1 for _ in metrics.series()) <= MAX_SERIES


def test_the_latest_values_are_remembered() -> None:
    sample = Sample("a", ())
    for value in range(RECENT + 10):
        sample.add(float(value))
    assert sample.latest(3) == [RECENT + 7.0, RECENT + 8.0, RECENT + 9.0]
    assert sorted(sample.latest(10_000)) == [float(value) for value in range(10, RECENT + 10)]


def test_quantiles() -> None:
    assert quantiles(range(1, 101), (0.5, 0.9, 0.99)) == [50, 90, 99]
    assert quantiles([7.0], (0.5, 0.99)) == [7.0, 7.0]
    assert all(math.isnan(one) for one in quantiles([], (0.5,)))
