"""Servers are restarted and replaced one after the other under load, and clients notice a pause at most.

Every client writes its key and reads it back consistently; a request that fails is made again on another server. Every
operation has to succeed in the end, and every read has to return what the client wrote last. Printed: how many requests
failed on the way, and the longest time that one operation took with its repetitions.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.load import ask
from tests.support.netns import Host, Network
from tests.support.servers import Cluster, ServerInNamespace

CLIENTS = 4
PATIENCE = 40.0
"""Seconds for which a client repeats one operation before it counts as failed."""
ROUNDS_BETWEEN = 20
"""Operations of every client that must succeed between two steps of a change."""


class PersistentClients:
    """Threads that write and read back, each its own key, through the servers in `addresses` (which may change)."""

    def __init__(self, host: Host, addresses: list[str]) -> None:
        self.addresses = addresses
        self.requests = 0
        self.failed_requests: list[str] = []
        self.longest = 0.0
        self.rounds = [0] * CLIENTS
        self._host = host
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._failures: list[BaseException] = []
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(CLIENTS)]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(2 * PATIENCE)

    def check(self) -> None:
        """Raise what a client has to complain about."""
        if self._failures:
            raise self._failures[0]

    def wait_for_rounds(self, count: int = ROUNDS_BETWEEN) -> None:
        """Wait until every client has done that many more rounds."""
        wanted = [done + count for done in self.rounds]
        deadline = time.monotonic() + 4 * PATIENCE
        while any(done < aim for done, aim in zip(self.rounds, wanted, strict=True)):
            self.check()
            assert time.monotonic() < deadline, f"the clients do not get on: {self.rounds}, wanted {wanted}"
            time.sleep(0.02)

    def summary(self) -> str:
        """One line with the figures."""
        return (
            f"{self.requests} requests, {len(self.failed_requests)} of them failed and were repeated with success; "
            f"longest pause of one operation {self.longest:.2f} s"
        )

    def _run(self, client: int) -> None:
        try:
            with self._host.inside():
                while not self._stopping.is_set():
                    self._round(client)
                    self.rounds[client] += 1
                    self._stopping.wait(0.01)
        except BaseException as error:
            self._failures.append(error)

    def _round(self, client: int) -> None:
        key, value = f"/v1/kv/client/{client}", b"%d" % self.rounds[client]
        self._persist(client, lambda address: ask(address, "PUT", key, value, 10) == (200, b"true"))
        read = f"{key}?raw&consistent"

        def same(address: str) -> bool:
            status, body = ask(address, "GET", read, None, 10)
            assert status != 200 or body == value, f"client {client} wrote {value!r} and then read {body!r}"
            assert status != 404, f"client {client} wrote {value!r} and then found nothing"
            return status == 200

        self._persist(client, same)

    def _persist(self, client: int, attempt: Callable[[str], bool]) -> None:
        began = time.monotonic()
        tries = 0
        while True:
            addresses = list(self.addresses)
            address = addresses[(client + self.rounds[client] + tries) % len(addresses)]
            tries += 1
            try:
                problem = "" if attempt(address) else "status"
            except OSError as error:
                problem = type(error).__name__
            took = time.monotonic() - began
            with self._lock:
                self.requests += 1
                if problem:
                    self.failed_requests.append(problem)
                else:
                    self.longest = max(self.longest, took)
                    return
            assert took < PATIENCE, f"no success in {took:.0f} s and {tries} requests, last at {address}: {problem}"
            time.sleep(0.01)


@contextmanager
def cluster_under_load(folder: Path) -> Iterator[tuple[Cluster, PersistentClients]]:
    with Network() as network:
        cluster = Cluster(network, folder, 3, autopilot={"server_stabilization_time": "1s"})
        clients = PersistentClients(cluster.clients, [server.host for server in cluster.servers])
        try:
            cluster.start()
            clients.start()
            clients.wait_for_rounds()
            yield cluster, clients
        except AssertionError as error:
            raise AssertionError(f"{error}\n{cluster.logs()}") from error
        finally:
            clients.stop()
            cluster.stop()


def voters(server: ServerInNamespace) -> set[str]:
    """The names of the voters, as one server knows them."""
    found = server.json("GET", "/v1/operator/raft/configuration?stale")
    return {row["Node"] for row in found["Servers"] if row["Voter"]}


@pytest.mark.slow
@pytest.mark.timeout(500)
@pytest.mark.xdist_group("netns")
def test_a_rolling_restart_costs_a_pause_at_most(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with cluster_under_load(tmp_path) as (cluster, clients):
        leader = cluster.known_leader()
        for server in sorted(cluster.servers, key=lambda server: server is leader):
            assert server.stop() == 0
            clients.wait_for_rounds()
            server.start()
            server.ready()
            applied = int(cluster_index(cluster))
            server.until(lambda server=server, applied=applied: own_index(server) >= applied)
            clients.wait_for_rounds()
        clients.stop()
        clients.check()
        assert all(voters(server) == {"s0", "s1", "s2"} for server in cluster.servers)
    with capsys.disabled():
        print(f"\nrolling restart of 3 servers: {clients.summary()}")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.xdist_group("netns")
def test_a_rolling_replacement_costs_a_pause_at_most(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with cluster_under_load(tmp_path) as (cluster, clients):
        first = list(cluster.servers)
        for number, old in enumerate(first):
            name = f"n{number}"
            host = cluster.network.host(name)
            new = ServerInNamespace(tmp_path / name, host, [server.on for server in cluster.servers])
            new.start()
            new.ready()
            cluster.servers.append(new)
            wanted = {server.on.name for server in cluster.servers}
            for server in cluster.servers:
                server.until(lambda server=server, wanted=wanted: voters(server) == wanted, 60)
            clients.addresses.append(new.host)
            clients.wait_for_rounds()

            clients.addresses.remove(old.host)
            status, said = old.request("PUT", "/v1/agent/leave", seconds=60)
            assert status == 200, said
            assert old.process is not None
            assert old.process.wait(60) == 0
            cluster.servers.remove(old)
            wanted.discard(old.on.name)
            for server in cluster.servers:
                server.until(lambda server=server, wanted=wanted: voters(server) == wanted, 60)
            clients.wait_for_rounds()
        clients.stop()
        clients.check()
        # The new ones are a cluster without the old ones, also after all were gone at once.
        held = [cluster.servers[0].request("GET", f"/v1/kv/client/{number}?raw") for number in range(CLIENTS)]
        assert all(status == 200 for status, _ in held)
        for server in cluster.servers:
            server.stop(9)
        for server in cluster.servers:
            server.start()
        cluster.until_writable(60)
        for server in cluster.servers:
            # By name they are known once gossip has met them again.
            server.until(lambda server=server: voters(server) == {"n0", "n1", "n2"}, 60)
            again = [server.request("GET", f"/v1/kv/client/{number}?raw&consistent") for number in range(CLIENTS)]
            assert again == held
    with capsys.disabled():
        print(f"\nrolling replacement of 3 servers: {clients.summary()}")


def own_index(server: ServerInNamespace) -> int:
    """How far a server has applied the log, by its own account."""
    return int(server.json("GET", "/v1/agent/self")["Stats"]["raft"]["applied_index"])


def cluster_index(cluster: Cluster) -> int:
    """How far any server has applied the log."""
    found = []
    for server in cluster.servers:
        try:
            found.append(own_index(server))
        except (OSError, json.JSONDecodeError):
            continue
    return max(found)
