"""Thousands of hostile schedules; see `tests.raft.simulated_cluster` for what happens in them and what must hold.

`LICTOR_RAFT_SCHEDULES=N` runs so many (a night: 1000000), `LICTOR_RAFT_SEED=N` one of them again.
"""

import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from typing import Any

import pytest

from tests.raft.simulated_cluster import CALM, Cluster, Faults

SCHEDULES = int(os.environ.get("LICTOR_RAFT_SCHEDULES", "2000"))
STEPS = 600
BATCH = 100

MIXED = Faults()
PROFILES = {
    "mixed": MIXED,
    "members": replace(MIXED, change=0.04, transfer=0.02, crash=0.004),
    "disks": replace(MIXED, cut_at_sync=0.03, disk_error=0.006, disk_full=0.01, restart=0.1),
    "mild": replace(MIXED, crash=0.002, cut=0.004, pause=0.002, heal=0.05),
    "bounce": replace(CALM, bounce=0.15, cut=0.02, loss=0.1),
    "isolate": replace(CALM, cut=0.03, heal=0.02),
    "isolate-members": replace(CALM, cut=0.03, heal=0.03, change=0.1, delays=(1, 1, 2)),
    "slow-disks": replace(CALM, slow_disk=0.05, crash=0.02, bounce=0.04),
    "patient": replace(CALM, cut=0.02, heal=0.02, bounce=0.01, delays=(1,), flush=(0,), election_ticks=20),
}
"""What goes wrong in a schedule; some rules of the protocol only matter under one kind of trouble."""


def build(seed: int, profile: str = "", **options: Any) -> Cluster:
    """The schedule of a seed, by default with the seed's profile; leases are used in every second."""
    names = list(PROFILES)
    faults = PROFILES[profile or names[seed % len(names)]]
    return Cluster(seed, faults, leases=bool(seed // len(names) % 2) or profile == "patient", **options)


def run_batch(first: int, count: int) -> tuple[int, int, int, int]:
    """Run schedules; returns how much happened in them. Raises AssertionError that names the seed."""
    applied = elections = snapshots = changes = 0
    for seed in range(first, first + count):
        try:
            cluster = build(seed).run(STEPS)
        except Exception as error:
            raise AssertionError(f"LICTOR_RAFT_SEED={seed}: {type(error).__name__}: {error}") from error
        applied += cluster.applied_up_to
        elections += cluster.elections
        snapshots += cluster.snapshots_sent
        changes += cluster.changes
    return applied, elections, snapshots, changes


@pytest.mark.timeout(900)
def test_schedules_keep_every_promise() -> None:
    if "LICTOR_RAFT_SEED" in os.environ:
        run_batch(int(os.environ["LICTOR_RAFT_SEED"]), 1)
        return
    batches = range(0, SCHEDULES, BATCH)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        totals = [sum(column) for column in zip(*pool.map(run_batch, batches, [BATCH] * len(batches)), strict=True)]
    applied, elections, snapshots, changes = (total / SCHEDULES for total in totals)
    # The schedules are worth something only while much happens in them.
    assert applied > 30 and elections > 2 and snapshots > 1 and changes > 1


@pytest.mark.parametrize("seed", range(90))
def test_a_healed_cluster_goes_on(seed: int) -> None:
    cluster = build(seed).run(STEPS)
    before = cluster.applied_up_to
    cluster.heal()
    assert cluster.applied_up_to > before + 5
    leader = cluster.some_leader()
    assert leader is not None
    members = [cluster.servers[name] for name in leader.core.configuration.members()]
    assert {server.core.term for server in members if server.up} == {leader.core.term}
    assert all(server.core.applied > before for server in members if server.up)


def test_bit_rot_is_refused_and_never_served() -> None:
    refused = 0
    for seed in range(150):
        cluster = Cluster(seed, Faults(rot=0.5, change=0.0)).run(STEPS)
        refused += sum(bool(server.broken) for server in cluster.servers.values())
    assert refused > 20
