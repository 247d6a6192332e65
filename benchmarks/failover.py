"""How long writes stand still when the leader is killed, from SIGKILL to the next committed write.

A client tries a write on each survivor in turn, every 10 ms, as a client behind a load balancer would. Each cluster
loses its leader several times; the killed member comes back before the next round.
"""

import asyncio
import time

from benchmarks.clusters import Cluster, EtcdCluster, LictorCluster, running, value_of
from benchmarks.measure import Figure, percentile

RETRY_SECONDS = 0.01
ANSWER_SECONDS = 0.25
"""For how long a survivor may think about a write before the other one is asked."""
MOST_SECONDS = 30.0


async def _write_once(port: int, request: bytes) -> bool:
    """Whether a write was acknowledged in time."""
    writer = None
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request)
            return (await reader.readline()).startswith(b"HTTP/1.1 200")
    except (OSError, TimeoutError):
        return False
    finally:
        if writer is not None:
            writer.close()


async def outage(cluster: Cluster, number: int) -> float:
    """Kill the leader; seconds until a survivor has acknowledged a write. The member is started again afterwards."""
    leader = cluster.leader()
    survivors = [member for member in range(len(cluster.processes)) if member != leader]
    begin = time.perf_counter()
    cluster.kill(leader)
    attempts = 0
    while not await _write_once(cluster.http[survivors[attempts % 2]], cluster.put("failover", value_of(number))):
        attempts += 1
        if time.perf_counter() - begin > MOST_SECONDS:
            raise RuntimeError(f"no write within {MOST_SECONDS:.0f} s of the leader's end:\n{cluster.log_tail()}")
        await asyncio.sleep(RETRY_SECONDS)
    seconds = time.perf_counter() - begin
    cluster.start(leader)
    await asyncio.sleep(2.0)  # Long enough for the member to have caught up and heard of the leader.
    return seconds


async def _outages(cluster: Cluster, rounds: int) -> list[float]:
    with running(cluster):
        await asyncio.sleep(1.0)
        return [await outage(cluster, number) for number in range(rounds)]


async def run(full: bool) -> list[Figure]:
    """Kill leaders of clusters with the default settings, with the fastest ones, and of etcd."""
    rounds = 20 if full else 5
    theirs = await _outages(EtcdCluster(), rounds) if EtcdCluster.installed() else None
    figures = []
    for multiplier, goal in ((5, 2000), (1, 500)):
        times = await _outages(LictorCluster(performance={"raft_multiplier": multiplier}), rounds)
        name = "default settings" if multiplier == 5 else f"raft_multiplier {multiplier}"
        for share, what in ((0.5, "middle"), (1.0, "worst")):
            figures.append(
                Figure(
                    f"leader killed to next committed write, {name}, {what} of {rounds}",
                    percentile(times, share) * 1e3,
                    "ms",
                    percentile(theirs, share) * 1e3 if theirs else None,
                    "etcd",
                    f"less than {goal} ms",
                )
            )
    return figures
