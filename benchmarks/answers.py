"""What one answer of the agent, and one request through the proxies, costs in CPU time.

Each row starts the processes that it needs, warms up, then counts the CPU time (user and system, from /proc) that those
processes spent while a client made so many requests. Wall time says little on a shared machine and is not printed.
"""

import asyncio
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from dnslib import DNSRecord

from benchmarks.measure import Figure, cpu_seconds, free_ports

CONNECTIONS = 16


async def _worker(port: int, request: bytes, count: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(count):
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(head.decode(errors="replace"))
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        await reader.readexactly(length)
    writer.close()


async def http_load(port: int, request: bytes, total: int, connections: int = CONNECTIONS) -> None:
    """So many requests over keep-alive connections."""
    await asyncio.gather(*(_worker(port, request, total // connections) for _ in range(connections)))


async def _fresh(port: int, request: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await reader.read(64)
    if not answer.startswith(b"HTTP/1."):
        raise RuntimeError(repr(answer))
    writer.close()


async def dns_load(port: int, name: str, total: int) -> None:
    """So many questions, one after another on 16 sockets."""
    packet = DNSRecord.question(name).pack()
    loop = asyncio.get_running_loop()

    async def worker() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.connect(("127.0.0.1", port))
            for _ in range(total // CONNECTIONS):
                await loop.sock_sendall(sock, packet)
                async with asyncio.timeout(5):
                    await loop.sock_recv(sock, 4096)

    await asyncio.gather(*(worker() for _ in range(CONNECTIONS)))


async def measure(pids: list[int], load: Callable[[int], Awaitable[None]], total: int) -> float:
    """CPU microseconds of these processes for each operation."""
    await load(max(CONNECTIONS, total // 10))
    before = cpu_seconds(pids)
    await load(total)
    return (cpu_seconds(pids) - before) / total * 1e6


class Bench:
    """Processes of one run, ended with it."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="lictor-bench-"))
        self.processes: list[subprocess.Popen[bytes]] = []
        self.http, self.dns, lan, server = free_ports(4)
        self.config = {
            "ports": {"http": self.http, "dns": self.dns, "serf_lan": lan, "server": server, "grpc_tls": -1},
            "bind_addr": "127.0.0.1",
            "node_name": "bench",
            "data_dir": str(self.folder / "data"),
            "server": True,
            "bootstrap": True,
            "log_level": "warn",
        }

    def spawn(self, *words: str) -> subprocess.Popen[bytes]:
        """Start a process."""
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.processes.append(process)
        return process

    def lictor(self, *words: str) -> subprocess.Popen[bytes]:
        """Start one of lictor's commands."""
        return self.spawn(sys.executable, "-m", "agent.cli.main", *words)

    def api(self, method: str, path: str, body: object = None) -> object:
        """One request to the agent."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http, timeout=30)
        connection.request(method, path, json.dumps(body).encode() if body is not None else None)
        response = connection.getresponse()
        data = response.read()
        connection.close()
        if response.status != 200:
            raise RuntimeError(f"{method} {path}: {response.status} {data[:200]!r}")
        return json.loads(data) if data.strip() else None

    def ready(self) -> None:
        """Wait for the agent."""
        for _ in range(200):
            try:
                if self.api("GET", "/v1/status/leader"):
                    return
            except (OSError, RuntimeError, http.client.HTTPException):
                pass
            time.sleep(0.1)
        raise RuntimeError("the agent does not come up")

    def close(self) -> None:
        """End everything."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(10)
        shutil.rmtree(self.folder, ignore_errors=True)


def get(path: str) -> bytes:
    """A GET request's bytes."""
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


async def agent_rows(bench: Bench, pid: int) -> list[Figure]:
    """What the agent itself costs."""
    rows = []
    bench.api("PUT", "/v1/kv/bench", "x" * 100)
    cost = await measure([pid], lambda n: http_load(bench.http, get("/v1/kv/bench"), n), 4000)
    rows.append(Figure("KV get (HTTP, 100 bytes)", cost, "us", 54.0, "Consul 1.14 elsewhere"))
    put = b"PUT /v1/kv/bench HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n" + b"x" * 100
    puts = iter(range(10**9))

    async def write(count: int) -> None:
        async def one(number: int) -> None:
            body = f"{number:0100d}".encode()
            await _worker(bench.http, put[:-100] + body, 1)

        for start in range(0, count, CONNECTIONS):
            await asyncio.gather(*(one(next(puts)) for _ in range(min(CONNECTIONS, count - start))))

    cost = await measure([pid], write, 1600)
    rows.append(Figure("KV put (HTTP, 100 bytes, flushed to disk)", cost, "us", 112.0, "Consul 1.14 elsewhere"))
    for number in range(100):
        node = {"Node": f"n{number}", "Address": f"10.0.0.{number}"}
        service = {"ID": f"web{number}", "Service": "web", "Port": 80, "Tags": ["a"]}
        check = {"CheckID": "c", "Name": "c", "Status": "passing", "ServiceID": f"web{number}"}
        bench.api("PUT", "/v1/catalog/register", {**node, "Service": service, "Check": check})
    cost = await measure([pid], lambda n: http_load(bench.http, get("/v1/health/service/web"), n), 640)
    rows.append(Figure("health read of 100 instances (HTTP)", cost, "us", 1170.0, "Consul 1.14 elsewhere"))
    cost = await measure([pid], lambda n: dns_load(bench.dns, "web.service.consul", n), 1600)
    rows.append(Figure("DNS A answer (service of 100 instances)", cost, "us"))
    cost = await measure([pid], lambda n: dns_load(bench.dns, "n1.node.consul", n), 3200)
    rows.append(Figure("DNS A answer (node)", cost, "us"))
    return rows


async def proxy_rows(bench: Bench) -> list[Figure]:
    """What an HTTP request through the pair of proxies costs, beside the server alone."""
    nginx = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    web, upstream = free_ports(2)
    if nginx:
        config = bench.folder / "nginx.conf"
        config.write_text(
            f"daemon off; pid {bench.folder}/nginx.pid; error_log stderr; worker_processes 1; events {{}} "
            f"http {{ access_log off; keepalive_requests 1000000; client_body_temp_path {bench.folder}/t1; "
            f"proxy_temp_path {bench.folder}/t2; fastcgi_temp_path {bench.folder}/t3; uwsgi_temp_path "
            f"{bench.folder}/t4; scgi_temp_path {bench.folder}/t5; "
            f"server {{ listen 127.0.0.1:{web}; location / {{ return 200 hello; }} }} }}"
        )
        bench.spawn(nginx, "-e", "stderr", "-c", str(config))
        label = "nginx alone"
    else:
        print("nginx is not installed: the row about the proxies is left out")
        return []
    await asyncio.sleep(1.0)
    for name, port, proxy in (
        ("web", web, {}),
        ("api", 1, {"Upstreams": [{"DestinationName": "web", "LocalBindPort": upstream}]}),
    ):
        sidecar = {"Proxy": proxy, "Check": {"TTL": "60m", "Status": "passing"}}
        definition = {"Name": name, "Port": port, "Connect": {"SidecarService": sidecar}}
        bench.api("PUT", "/v1/agent/service/register", definition)
    address = f"-http-addr=127.0.0.1:{bench.http}"
    proxies = [bench.lictor("connect", "proxy", address, f"-sidecar-for={name}") for name in ("web", "api")]
    for _ in range(200):
        try:
            await _fresh(upstream, get("/index.html"))
            break
        except (OSError, RuntimeError):
            await asyncio.sleep(0.1)
    server_pids = [int(pid) for pid in _children(bench.processes[-3].pid)] or [bench.processes[-3].pid]
    alone = await measure(server_pids, lambda n: http_load(web, get("/index.html"), n), 8000)
    pids = [process.pid for process in proxies]
    both = await measure(pids, lambda n: http_load(upstream, get("/index.html"), n), 8000)
    return [Figure("HTTP request through both proxies (keep-alive, mutual TLS)", both, "us", alone, label)]


def _children(pid: int) -> list[str]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return path.read_text().split() if path.exists() else []


async def run(full: bool) -> list[Figure]:
    """The table; `full` makes no difference here."""
    bench = Bench()
    try:
        (bench.folder / "agent.json").write_text(json.dumps(bench.config))
        agent = bench.lictor("agent", f"-config-file={bench.folder / 'agent.json'}")
        bench.ready()
        return [*await agent_rows(bench, agent.pid), *await proxy_rows(bench)]
    finally:
        bench.close()
