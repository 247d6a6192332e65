"""Consensus under faults: what clients saw is linearizable and no acknowledged write is lost.

Real servers in network namespaces; clients write, compare-and-set and read a handful of keys through all of them while
one fault after the other is made and healed. The order of faults, their victims and their times come from a seed.

    LICTOR_FAULTS=100 .venv/bin/python -m pytest -s tests/cluster/test_faults.py

is the long run, with five servers. LICTOR_FAULT_SEED repeats a run's choices (not its timing); LICTOR_FAULT_SERVERS
sets the number of servers; LICTOR_FAULT_KINDS=pause,kill restricts the faults.
"""

import base64
import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path

import pytest

from tests.support.linearizable import check_keys
from tests.support.load import Clients, Record, missing
from tests.support.netns import Network, SmallDisk
from tests.support.servers import Cluster, ServerInNamespace
from tests.support.tools import required

SHORT = 10
FAULTS = int(os.environ.get("LICTOR_FAULTS", SHORT))
LONG = FAULTS > SHORT
SEED = int(os.environ.get("LICTOR_FAULT_SEED", "0")) or (1 if required() else random.randrange(1, 1 << 32))
"""Where it is decided that a change lands, the faults are the same as for the change before."""
SERVERS = int(os.environ.get("LICTOR_FAULT_SERVERS", "5" if LONG else "3"))
RECOVERY = 60.0
"""Seconds within which the healed cluster must take writes through every server."""
DISK_BYTES = 12 << 20
"""Less than the log reserves ahead, so that a full disk shows at the next write."""
MAJORITY_GOES_ON = ("partition", "moving", "one-way", "delay", "pause", "lonely-pause", "disk-full")
"""Faults during which most servers reach each other, so that writes go on."""
FULL = "no writes until space returns"
SPACE = "disk has space again"


class Faults:
    """Makes one fault at a time and heals it. Each method is one kind: it makes the fault, waits, and heals."""

    def __init__(self, cluster: Cluster, disk: SmallDisk, chance: random.Random) -> None:
        self.cluster = cluster
        self.disk = disk
        self.chance = chance
        self.kinds: dict[str, Callable[[], str]] = {
            "partition": self.partition,
            "moving": self.moving_partition,
            "one-way": self.one_way,
            "loss": self.loss,
            "delay": self.delay,
            "pause": self.pause,
            "lonely-pause": self.lonely_pause,
            "kill": self.kill,
            "kill-all": self.kill_all,
            "disk-full": self.disk_full,
        }
        wanted = os.environ.get("LICTOR_FAULT_KINDS")
        if wanted:
            self.kinds = {kind: self.kinds[kind] for kind in wanted.split(",")}

    def order(self, count: int) -> list[str]:
        """That many kinds: each once before one comes again."""
        found: list[str] = []
        while len(found) < count:
            found += self.chance.sample(list(self.kinds), len(self.kinds))
        return found[:count]

    def victim(self) -> ServerInNamespace:
        """A server; half of the time the leader, because its faults hurt most."""
        chosen = self.chance.choice(self.cluster.servers)
        leads = self.chance.random() < 0.5
        return (self.cluster.leader() or chosen) if leads else chosen

    def minority(self) -> list[ServerInNamespace]:
        """Servers that the others can do without."""
        first = self.victim()
        rest = [server for server in self.cluster.servers if server is not first]
        return [first, *self.chance.sample(rest, (len(self.cluster.servers) - 1) // 2 - 1)]

    def wait(self, least: float = 1.0, most: float = 3.5) -> None:
        """Let the fault last."""
        time.sleep(self.chance.uniform(least, most))

    def partition(self) -> str:
        """A minority is cut off from the others (clients still reach it)."""
        alone = self.minority()
        others = [server.on for server in self.cluster.servers if server not in alone]
        for server in alone:
            server.on.cut(others)
        self.wait()
        self.cluster.network.heal()
        return names(alone)

    def moving_partition(self) -> str:
        """One minority after the other is cut off, without peace between: a majority needs who was away just before."""
        trail = []
        for _ in range(3):
            away = self.minority()
            others = [server.on for server in self.cluster.servers if server not in away]
            self.cluster.network.heal()
            for server in away:
                server.on.cut(others)
            trail.append(names(away))
            self.wait(0.7, 1.5)
        self.cluster.network.heal()
        return ", then ".join(trail)

    def one_way(self) -> str:
        """One server is heard but hears nobody, or the other way round."""
        server = self.victim()
        deaf = self.chance.random() < 0.5
        server.on.cut(self.cluster.others(server), incoming=deaf, outgoing=not deaf)
        self.wait()
        self.cluster.network.heal()
        return f"{server.on.name} {'deaf' if deaf else 'mute'}"

    def loss(self) -> str:
        """30 % of the packets between all servers are lost."""
        for server in self.cluster.servers:
            server.on.lose(self.cluster.others(server), 30)
        self.wait()
        self.cluster.network.heal()
        return "all"

    def delay(self) -> str:
        """What one server sends takes 200 ms."""
        server = self.victim()
        means = server.on.delay(0.2)
        self.wait()
        self.cluster.network.heal()
        return f"{server.on.name} by {means}"

    def pause(self) -> str:
        """One server stands still for a while and then goes on as if nothing had happened."""
        server = self.victim()
        server.signal(signal.SIGSTOP)
        try:
            self.wait()
        finally:
            server.signal(signal.SIGCONT)
        return server.on.name

    def lonely_pause(self) -> str:
        """The leader is cut off and paused, and goes on before it can hear that there is another: may it answer?"""
        server = self.cluster.leader() or self.victim()
        others = self.cluster.others(server)
        server.signal(signal.SIGSTOP)
        try:
            server.on.cut(others)
            self.wait()
        finally:
            server.signal(signal.SIGCONT)
        self.wait(0.3, 0.6)
        self.cluster.network.heal()
        return server.on.name

    def kill(self) -> str:
        """A minority is killed and started again."""
        victims = self.minority()
        for server in victims:
            server.stop(signal.SIGKILL)
        self.wait(0.0, 2.0)
        for server in victims:
            server.start()
        return names(victims)

    def kill_all(self) -> str:
        """All servers are killed, one right after the other, and started again."""
        for server in self.chance.sample(self.cluster.servers, len(self.cluster.servers)):
            server.stop(signal.SIGKILL)
        for server in self.cluster.servers:
            server.start()
        return "all"

    def disk_full(self) -> str:
        """The first server's disk has no space for a while."""
        server = self.cluster.servers[0]
        complaints, recoveries = (server.log.read_text().count(words) for words in (FULL, SPACE))
        led = self.cluster.leader() is server
        self.disk.fill()
        try:
            server.until(lambda: server.log.read_text().count(FULL) > complaints)
            self.wait(0.5, 2.5)
        except AssertionError:
            raise AssertionError(f"the full disk was not noticed; {self.cluster.logs()}") from None
        finally:
            self.disk.free()
        server.until(lambda: server.log.read_text().count(SPACE) > recoveries)
        return f"{server.on.name}{' (leader)' if led else ''}"


def names(servers: list[ServerInNamespace]) -> str:
    return "+".join(server.on.name for server in servers)


@contextmanager
def cluster_with_small_disk(folder: Path) -> Iterator[tuple[Cluster, SmallDisk]]:
    with ExitStack() as stack:
        network = stack.enter_context(Network())
        disk = stack.enter_context(SmallDisk(folder / "s0" / "data", DISK_BYTES))
        cluster = Cluster(network, folder, SERVERS)
        stack.callback(cluster.stop)
        yield cluster, disk


def agreed(cluster: Cluster, record: Record) -> None:
    """Every server comes to hold every acknowledged write of `once/`."""
    for server in cluster.servers:
        deadline = time.monotonic() + RECOVERY
        while (lost := missing(record.acknowledged, server.once_keys())) and time.monotonic() < deadline:
            time.sleep(0.1)
        if lost:
            raise AssertionError(f"{server.on.name} lacks acknowledged writes: {lost}\n{cluster.logs()}")


def complaints(server: ServerInNamespace) -> list[str]:
    """What a server's log has of errors that nobody foresaw, with a few lines around."""
    lines = server.log.read_text().splitlines()
    found: list[str] = []
    for number, line in enumerate(lines):
        if any(word in line for word in ("raft stops", "Traceback", "never retrieved")):
            found += [f"--- {server.on.name} said:", *lines[max(0, number - 2) : number + 30]]
    return found[:200]


def same_everywhere(cluster: Cluster) -> bool:
    """Whether all servers hold the same rows."""
    found = set()
    for server in cluster.servers:
        rows = server.json("GET", "/v1/kv/?recurse&stale")
        found.add(json.dumps([(row["Key"], base64.b64decode(row["Value"] or "").decode()) for row in rows]))
    return len(found) == 1


@pytest.mark.slow
@pytest.mark.timeout(300 + FAULTS * 90)
@pytest.mark.xdist_group("netns")
def test_what_clients_see_under_faults_is_linearizable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def say(text: str) -> None:
        with capsys.disabled() if LONG else nullcontext():
            print(text, flush=True)

    chance = random.Random(SEED)
    began = time.monotonic()
    with cluster_with_small_disk(tmp_path) as (cluster, disk):
        cluster.start()
        keys = [f"reg/{number}" for number in range(4)]
        clients = Clients(cluster.clients, [server.host for server in cluster.servers], keys, SEED, 4 * SERVERS)
        faults = Faults(cluster, disk, chance)
        made: Counter[str] = Counter()
        written: Counter[str] = Counter()
        recoveries: list[float] = []
        say(f"\nfaults: seed {SEED}, {FAULTS} faults, {SERVERS} servers, started in {time.monotonic() - began:.1f} s")
        clients.start()
        try:
            time.sleep(0.5)
            for kind in faults.order(FAULTS):
                at = time.monotonic() - began
                before = len(clients.record.successes)
                what = faults.kinds[kind]()
                during = len(clients.record.successes) - before
                made[kind] += 1
                written[kind] += during
                recoveries.append(cluster.until_writable(RECOVERY))
                say(
                    f"  {at:6.1f} s  {kind} of {what}: {during} writes meanwhile, "
                    f"through all servers {recoveries[-1]:.2f} s after healing"
                )
            time.sleep(0.5)
        finally:
            cluster.network.heal()
            record = clients.stop()
        agreed(cluster, record)
        cluster.servers[0].until(lambda: same_everywhere(cluster))
        said = [line for server in cluster.servers for line in complaints(server)]
    checked = time.monotonic()
    tried = check_keys(record.histories)
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(made.items()))
    summary = (
        f"faults: {sum(made.values())} ({kinds}); {record.summary()}; {len(record.acknowledged)} single writes all "
        f"there; longest recovery {max(recoveries):.2f} s; linearizable ({tried} configurations, "
        f"{time.monotonic() - checked:.1f} s); {time.monotonic() - began:.0f} s in all"
    )
    with capsys.disabled():
        print(f"\n{summary}")
    if LONG:  # A single short fault may pass while every client waits for the server that it hits.
        idle = [kind for kind in made if kind in MAJORITY_GOES_ON and not written[kind]]
        assert not idle, f"no write at all was acknowledged during {idle}"
    assert not said, "\n".join(said)
    assert record.counts["ok"] > 20 * FAULTS
