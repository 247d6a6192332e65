"""Clusters of real processes on loopback: lictor's servers and etcd's, under one face.

What is started here is ended here, by its process ID; the data lies in one temporary folder that goes with it.
"""

import base64
import contextlib
import http.client
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.measure import free_ports

START_SECONDS = 60.0


def request(port: int, method: str, path: str, body: bytes | None = None, seconds: float = 30.0) -> tuple[int, bytes]:
    """One HTTP request to 127.0.0.1: status and body. Raises OSError or http.client.HTTPException."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def eventually(condition: Callable[[], Any], what: str, seconds: float = START_SECONDS) -> Any:
    """Wait until `condition` gives something true and return it. Raises RuntimeError when it does not in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError, KeyError):
            if found := condition():
                return found
        time.sleep(0.05)
    raise RuntimeError(f"waited {seconds:.0f} s in vain for {what}")


class Cluster:
    """Members that are processes; `http[i]` is the port on which member i answers clients."""

    name = ""

    def __init__(self, members: int) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"lictor-bench-{self.name}-"))
        self.processes: list[subprocess.Popen[bytes] | None] = [None] * members
        self.http: list[int] = free_ports(members)

    def command(self, member: int) -> list[str]:
        """The words that start a member."""
        raise NotImplementedError

    def put(self, key: str, value: bytes) -> bytes:
        """The bytes of the request that writes a key."""
        raise NotImplementedError

    def leader(self) -> int:
        """The member that leads. Raises RuntimeError when there is none in time."""
        raise NotImplementedError

    def flushes(self, member: int) -> float:
        """How often a member has flushed its log to disk since its start."""
        raise NotImplementedError

    def start(self, member: int) -> None:
        """Start a member's process."""
        with (self.folder / f"{member}.log").open("ab") as output:
            self.processes[member] = subprocess.Popen(
                self.command(member), stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )

    def kill(self, member: int) -> None:
        """End a member at once (SIGKILL)."""
        process, self.processes[member] = self.processes[member], None
        if process is not None:
            process.kill()
            process.wait()

    def stop(self, member: int) -> None:
        """End a member as an operator does (SIGTERM)."""
        process, self.processes[member] = self.processes[member], None
        if process is not None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    @property
    def pids(self) -> list[int]:
        """The IDs of the processes that run."""
        return [process.pid for process in self.processes if process is not None]

    def pid(self, member: int) -> int:
        """The ID of a member's process, which must run."""
        process = self.processes[member]
        assert process is not None
        return process.pid

    def close(self) -> None:
        """End every process of this cluster and remove its data."""
        for member in range(len(self.processes)):
            self.kill(member)
        shutil.rmtree(self.folder, ignore_errors=True)

    def log_tail(self) -> str:
        """What the members said last, for an error."""
        return "\n".join(path.read_text(errors="replace")[-1500:] for path in sorted(self.folder.glob("*.log")))


class LictorCluster(Cluster):
    """Servers of lictor; `settings` go into every member's configuration."""

    name = "lictor"

    def __init__(self, members: int = 3, **settings: Any) -> None:
        super().__init__(members)
        ports = free_ports(3 * members)
        self.serf, self.server, dns = ports[:members], ports[members : 2 * members], ports[2 * members :]
        for member in range(members):
            config = {
                "node_name": f"s{member}",
                "bind_addr": "127.0.0.1",
                "server": True,
                "data_dir": str(self.folder / f"data{member}"),
                "log_level": "warn",
                "retry_join": [f"127.0.0.1:{port}" for port in self.serf],
                "retry_interval": "200ms",
                "ports": {
                    "http": self.http[member],
                    "serf_lan": self.serf[member],
                    "server": self.server[member],
                    "dns": dns[member],
                    **dict.fromkeys(("grpc", "grpc_tls", "https", "serf_wan"), -1),
                },
                **({"bootstrap": True} if members == 1 else {"bootstrap_expect": members}),
                **settings,
            }
            (self.folder / f"{member}.json").write_text(json.dumps(config))

    def command(self, member: int) -> list[str]:
        """The agent with its file."""
        return [sys.executable, "-m", "agent.cli.main", "agent", f"-config-file={self.folder / f'{member}.json'}"]

    def data(self, member: int) -> Path:
        """A member's data directory."""
        return self.folder / f"data{member}"

    def put(self, key: str, value: bytes) -> bytes:
        """`PUT /v1/kv/…`."""
        return b"PUT /v1/kv/%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (key.encode(), len(value), value)

    def json(self, member: int, path: str) -> Any:
        """What a member answers to a GET. Raises OSError when it refuses."""
        status, body = request(self.http[member], "GET", path)
        if status != 200:
            raise OSError(f"{path}: {status} {body[:200]!r}")
        return json.loads(body)

    def leader(self) -> int:
        """The member whose RPC address the living agree on."""
        living = [member for member, process in enumerate(self.processes) if process is not None]

        def agreed() -> int | None:
            named = {str(self.json(member, "/v1/status/leader")) for member in living}
            ports = [self.server.index(int(address.rpartition(":")[2])) for address in named if address]
            return ports[0] + 1 if len(named) == 1 and ports and ports[0] in living else None

        try:
            found: int = eventually(agreed, "a leader of lictor")
        except RuntimeError as error:
            raise RuntimeError(f"{error}\n{self._views()}\n{self.log_tail()}") from None
        return found - 1

    def _views(self) -> str:
        """Whom each member takes for the leader, for an error."""
        views = []
        for member, process in enumerate(self.processes):
            try:
                view = repr(self.json(member, "/v1/status/leader")) if process is not None else "is not running"
            except (OSError, http.client.HTTPException, ValueError) as error:
                view = f"does not answer: {error}"
            views.append(f"s{member} (port {self.server[member]}): {view}")
        return "\n".join(views)

    def flushes(self, member: int) -> float:
        """The counter in the `raft` section of `lictor info`."""
        return float(self.json(member, "/v1/agent/self")["Stats"]["raft"]["log_flushes"])


class EtcdCluster(Cluster):
    """etcd with its defaults, written to through its JSON gateway."""

    name = "etcd"

    def __init__(self, members: int = 3) -> None:
        super().__init__(members)
        self.peers = free_ports(members)

    @staticmethod
    def installed() -> bool:
        """Whether etcd is there (Debian: apt install etcd-server)."""
        return shutil.which("etcd") is not None

    def command(self, member: int) -> list[str]:
        """The words of a static cluster."""
        client, peer = (f"http://127.0.0.1:{port}" for port in (self.http[member], self.peers[member]))
        cluster = ",".join(f"s{number}=http://127.0.0.1:{port}" for number, port in enumerate(self.peers))
        return [
            *("etcd", "--name", f"s{member}", "--data-dir", str(self.folder / f"data{member}")),
            *("--listen-client-urls", client, "--advertise-client-urls", client),
            *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
            *("--initial-cluster", cluster, "--initial-cluster-state", "new", "--logger", "zap"),
            *("--log-level", "error"),
        ]

    def put(self, key: str, value: bytes) -> bytes:
        """`POST /v3/kv/put`."""
        pair = {"key": base64.b64encode(key.encode()).decode(), "value": base64.b64encode(value).decode()}
        body = json.dumps(pair).encode()
        return b"POST /v3/kv/put HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)

    def leader(self) -> int:
        """The member that says of itself that it leads."""

        def found() -> int | None:
            for member, process in enumerate(self.processes):
                if process is None:
                    continue
                status = json.loads(request(self.http[member], "POST", "/v3/maintenance/status", b"{}")[1])
                if status.get("leader") == status["header"]["member_id"]:
                    return member + 1
            return None

        leader: int = eventually(found, f"a leader of etcd; the members said:\n{self.log_tail()}")
        return leader - 1

    def flushes(self, member: int) -> float:
        """etcd's own counter."""
        _, body = request(self.http[member], "GET", "/metrics")
        name = b"etcd_disk_wal_fsync_duration_seconds_count "
        return next(float(line[len(name) :]) for line in body.splitlines() if line.startswith(name))


@contextlib.contextmanager
def running(cluster: Cluster) -> Iterator[Cluster]:
    """A cluster that is up; it ends with the block."""
    try:
        for member in range(len(cluster.processes)):
            cluster.start(member)
        cluster.leader()
        yield cluster
    finally:
        cluster.close()


def value_of(number: int) -> bytes:
    """A value of 100 bytes that no other write has."""
    return b"%0100d" % number
