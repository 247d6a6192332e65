"""What a committed write costs three servers together, at one client and at many, beside etcd in the same run.

CPU time is that of all three server processes (user and system, from /proc), the load generator not counted. Both write
values of 100 bytes to 10,000 keys in turn, with their data on the same disk and their default durability. Turns of the
two alternate, so that what else the machine does meanwhile falls on both.
"""

import itertools
from typing import NamedTuple

from benchmarks.clusters import Cluster, EtcdCluster, LictorCluster, running, value_of
from benchmarks.http_load import load
from benchmarks.measure import Figure, cpu_seconds, percentile

KEYS = 10_000
MANY = 64


class _Cost(NamedTuple):
    """Of one write: CPU microseconds and flushes of all members; writes per second; the 99th percentile in ms."""

    cpu: float
    rate: float
    flushes: float
    p99: float


class _Writer:
    """Makes writes to one cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._numbers = itertools.count()

    def next_request(self) -> bytes:
        number = next(self._numbers)
        return self.cluster.put(f"bench/{number % KEYS}", value_of(number))

    async def measure(self, total: int, clients: int, spread: bool) -> _Cost:
        cluster = self.cluster
        ports = cluster.http if spread else [cluster.http[cluster.leader()]]
        members = range(len(cluster.processes))
        flushes = sum(cluster.flushes(member) for member in members)
        before = cpu_seconds(cluster.pids)
        result = await load(ports, self.next_request, total, clients)
        cpu = cpu_seconds(cluster.pids) - before
        flushes = sum(cluster.flushes(member) for member in members) - flushes
        return _Cost(
            cpu / total * 1e6, total / result.seconds, flushes / total, percentile(result.latencies, 0.99) * 1e3
        )


async def _rounds(writers: list[_Writer], total: int, clients: int, spread: bool, rounds: int) -> list[_Cost]:
    """The middle of several turns for each writer, figure by figure."""
    turns: list[list[_Cost]] = [[] for _ in writers]
    for _ in range(rounds):
        for number, writer in enumerate(writers):
            turns[number].append(await writer.measure(total, clients, spread))
    return [_Cost(*(percentile(column, 0.5) for column in zip(*costs, strict=True))) for costs in turns]


async def run(full: bool) -> list[Figure]:
    """Start the clusters, write, and tell what it cost."""
    rounds, scale = (5, 4) if full else (3, 1)
    figures: list[Figure] = []
    etcd = EtcdCluster() if EtcdCluster.installed() else None
    if etcd is None:
        print("etcd is not installed (Debian: apt install etcd-server): lictor alone is measured")
    with running(LictorCluster()) as lictor:
        writers = [_Writer(lictor)]
        try:
            if etcd is not None:
                for member in range(3):
                    etcd.start(member)
                writers.append(_Writer(etcd))
            for writer in writers:
                await writer.measure(2000, MANY, spread=True)  # Warm up.
            for clients, total, spread in ((1, 300, False), (MANY, 6000, False), (MANY, 6000, True)):
                costs = await _rounds(writers, total * scale, clients, spread, rounds)
                figures += _figures(costs, clients, spread)
        finally:
            if etcd is not None:
                etcd.close()
    return figures


def _figures(costs: list[_Cost], clients: int, spread: bool) -> list[Figure]:
    ours, theirs = costs[0], costs[1] if len(costs) > 1 else None
    where = "on all members" if spread else "on the leader"
    who = f"{clients} client{'s' if clients > 1 else ''} {where}"
    goal = clients == MANY and not spread
    rows = (
        ("CPU per write", "cpu", "us", "no more than etcd" if goal else ""),
        ("writes per second", "rate", "/s", "no fewer than etcd" if goal else ""),
        ("log flushes per write, all members", "flushes", "", ""),
        ("99th percentile of a write", "p99", "ms", ""),
    )
    return [
        Figure(
            f"{name}, {who}", getattr(ours, field), unit, getattr(theirs, field) if theirs else None, "etcd", target
        )
        for name, field, unit, target in rows
    ]
