"""`lictor demo`: a whole cluster on this machine, with real processes, sockets, certificates.

Three servers on 127.0.0.11 to .13, a client agent on 127.0.0.1, two services with their sidecar proxies. The tour shows
members, discovery, mutual TLS, an intention, and a leader that dies; then everything stays up until Ctrl-C.
"""

import asyncio
import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dnslib import DNSRecord

SERVERS = ("127.0.0.11", "127.0.0.12", "127.0.0.13")
CLIENT = "127.0.0.1"
SERVER_HTTP = 8500
UPSTREAM_PORT = 9191


class DemoError(Exception):
    """The tour cannot go on; the text says why."""


def _service_program() -> str:
    """The demo's two services, as one small program: `web` greets, `api` asks `web` through its upstream."""
    return (
        "import http.server, sys, urllib.request\n"
        "name, port, upstream = sys.argv[1], int(sys.argv[2]), sys.argv[3]\n"
        "class Handler(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        try:\n"
        "            if self.path == '/health' or not upstream:\n"
        "                body, code = f'hello from {name}'.encode(), 200\n"
        "            else:\n"
        "                with urllib.request.urlopen(upstream, timeout=3) as answer:\n"
        "                    body, code = b'api got: ' + answer.read(), 200\n"
        "        except Exception as error:\n"
        "            body, code = f'api could not call web: {error}'.encode(), 502\n"
        "        self.send_response(code)\n"
        "        self.send_header('Content-Length', str(len(body)))\n"
        "        self.end_headers()\n"
        "        self.wfile.write(body)\n"
        "    def log_message(self, *args):\n"
        "        pass\n"
        "http.server.ThreadingHTTPServer(('127.0.0.1', port), Handler).serve_forever()\n"
    )


class Screen:
    """What a person reads: steps, facts, and colour on a terminal."""

    def __init__(self) -> None:
        self._colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self._step = 0

    def _paint(self, code: str, text: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self._colour else text

    def step(self, text: str) -> None:
        """A new step of the tour."""
        self._step += 1
        print(f"\n{self._paint('1;36', f'{self._step}. {text}')}", flush=True)

    def fact(self, text: str) -> None:
        """Something to see."""
        for line in text.rstrip().split("\n"):
            print(f"   {line}", flush=True)

    def good(self, text: str) -> None:
        """Something that worked."""
        print(f"   {self._paint('32', 'ok')} {text}", flush=True)

    def bad(self, text: str) -> None:
        """Something that did not."""
        print(f"   {self._paint('31', 'failed')} {text}", flush=True)


class Demo:
    """The processes of the demo and the tour through them."""

    def __init__(self, folder: Path, http_port: int) -> None:
        self.folder = folder
        self.http_port = http_port
        self.screen = Screen()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.ports = _free_ports(4)

    # Processes

    def spawn(self, name: str, words: list[str]) -> None:
        """Start a process whose output goes to a log file."""
        log = (self.folder / f"{name}.log").open("ab")
        self.processes[name] = subprocess.Popen(
            words, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True
        )
        log.close()

    def lictor(self, name: str, *words: str) -> None:
        """Start one of lictor's own commands."""
        self.spawn(name, [sys.executable, "-m", "agent.cli.main", *words])

    def check_alive(self) -> None:
        """Raise DemoError when a process has ended."""
        for name, process in self.processes.items():
            if process.poll() is not None:
                tail = (self.folder / f"{name}.log").read_text(errors="replace").strip().split("\n")[-5:]
                raise DemoError(f"{name} ended with code {process.returncode}:\n" + "\n".join(tail))

    def stop(self) -> None:
        """End every process: politely first."""
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 5
        for process in self.processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, deadline - time.monotonic()))
            if process.poll() is None:
                process.kill()
                process.wait()

    # Asking

    def api(self, method: str, path: str, body: Any = None, host: str = CLIENT) -> Any:
        """A request to an agent's HTTP API. Raises OSError, DemoError."""
        port = self.http_port if host == CLIENT else SERVER_HTTP
        connection = http.client.HTTPConnection(host, port, timeout=15)
        try:
            connection.request(method, path, json.dumps(body).encode() if body is not None else None)
            response = connection.getresponse()
            data = response.read()
        except http.client.HTTPException as error:
            raise OSError(str(error)) from None
        finally:
            connection.close()
        if response.status != 200:
            raise DemoError(f"{method} {path}: {response.status} {data.decode(errors='replace')}")
        return json.loads(data) if data.strip() else None

    def call_api_service(self) -> tuple[int, str]:
        """One request to the demo's `api` service, which calls `web` through the mesh."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[1], timeout=5)
        try:
            connection.request("GET", "/")
            response = connection.getresponse()
            return response.status, response.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            return 0, str(error)
        finally:
            connection.close()

    def _answer_of_api(self) -> str:
        """What the demo's `api` service answers; nothing, unless its call of `web` went well."""
        status, text = self.call_api_service()
        return text if status == 200 else ""

    async def until(self, what: str, condition: Any, seconds: float = 60.0) -> Any:
        """Wait for something to be so; raises DemoError when it does not come."""
        deadline = time.monotonic() + seconds
        while True:
            self.check_alive()
            with contextlib.suppress(OSError, DemoError, KeyError, IndexError):
                found = condition()
                if found:
                    return found
            if time.monotonic() > deadline:
                raise DemoError(f"waited {seconds:g} seconds in vain for {what}")
            await asyncio.sleep(0.05)

    # The tour

    async def run(self) -> None:
        """The whole tour. Raises DemoError."""
        await self._cluster()
        await self._services()
        await self._discovery()
        await self._mesh()
        await self._failover()

    async def _cluster(self) -> None:
        self.screen.step("Three servers and a client agent start, find each other and elect a leader")
        dns_port = self.ports[2]
        for number, address in enumerate(SERVERS, 1):
            self.lictor(
                f"server-{number}",
                *("agent", "-server", "-bootstrap-expect=3", f"-node=server-{number}", f"-bind={address}"),
                *(f"-client={address}", f"-data-dir={self.folder / f'server-{number}'}", f"-retry-join={SERVERS[0]}"),
                *(f"-http-port={SERVER_HTTP}", "-dns-port=-1", "-serf-wan-port=-1", "-grpc-tls-port=-1", "-ui"),
                *("-hcl", "performance { raft_multiplier = 2 }"),
            )
        self.lictor(
            "client",
            *("agent", "-node=laptop", "-bind=127.0.0.10", f"-client={CLIENT}", f"-http-port={self.http_port}"),
            *(f"-data-dir={self.folder / 'client'}", f"-dns-port={dns_port}", f"-retry-join={SERVERS[0]}", "-ui"),
            *("-grpc-tls-port=-1",),
        )
        leader = await self.until("a leader", lambda: self.api("GET", "/v1/status/leader"))
        await self.until("four members", lambda: len(self.api("GET", "/v1/agent/members")) == 4)
        self.screen.good(f"the leader is {leader}")
        listed = [["NODE", "ADDRESS", "ROLE"]]
        for member in sorted(self.api("GET", "/v1/agent/members"), key=lambda one: str(one["Name"])):
            role = "server" if member["Tags"].get("role") == "consul" else "client"
            listed.append([member["Name"], f"{member['Addr']}:{member['Port']}", role])
        self._table(listed)

    def _table(self, rows: list[list[str]]) -> None:
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        for row in rows:
            self.screen.fact("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))

    async def _services(self) -> None:
        self.screen.step("Two services register, each with a health check and a sidecar proxy")
        web_port, api_port = self.ports[0], self.ports[1]
        program = self.folder / "service.py"
        program.write_text(_service_program())
        self.spawn("web", [sys.executable, str(program), "web", str(web_port), ""])
        upstream = f"http://127.0.0.1:{UPSTREAM_PORT}/"
        self.spawn("api", [sys.executable, str(program), "api", str(api_port), upstream])
        for name, port in (("web", web_port), ("api", api_port)):
            proxy: dict[str, Any] = {}
            if name == "api":
                proxy = {"Upstreams": [{"DestinationName": "web", "LocalBindPort": UPSTREAM_PORT}]}
            definition = {
                "Name": name,
                "Port": port,
                "Address": "127.0.0.1",
                "Check": {"HTTP": f"http://127.0.0.1:{port}/health", "Interval": "1s", "Timeout": "2s"},
                "Connect": {"SidecarService": {"Proxy": proxy}},
            }
            self.api("PUT", "/v1/agent/service/register", definition)
        address = f"{CLIENT}:{self.http_port}"
        for name in ("web", "api"):
            self.lictor(f"{name}-proxy", "connect", "proxy", f"-http-addr={address}", f"-sidecar-for={name}")
        for name in ("web", "api"):
            path = f"/v1/health/service/{name}?passing"
            await self.until(f"{name} to pass its check", lambda path=path: self.api("GET", path))
            self.screen.good(f"{name} passes its HTTP check")
        self.screen.fact("its proxies run: lictor connect proxy -sidecar-for web, … -sidecar-for api")

    async def _discovery(self) -> None:
        self.screen.step("Anybody finds them by DNS and by HTTP")
        question = DNSRecord.question("web.service.consul", "SRV")

        def asked() -> DNSRecord | None:
            found = DNSRecord.parse(question.send(CLIENT, self.ports[2], timeout=5))
            return found if found.rr else None

        answer = await self.until("an answer for web by DNS", asked)
        self.screen.fact(f"dig @{CLIENT} -p {self.ports[2]} web.service.consul SRV")
        for record in [*answer.rr, *answer.ar[:1]]:
            self.screen.fact(f"  {record.toZone()}")
        found = self.api("GET", "/v1/catalog/service/web")[0]
        shown = {key: found[key] for key in ("Node", "ServiceName", "ServiceAddress", "ServicePort")}
        self.screen.fact(f"GET /v1/catalog/service/web\n  {json.dumps(shown)}")

    async def _mesh(self) -> None:
        self.screen.step("api calls web through the mesh: mutual TLS, certificates of the cluster's own CA")
        text = await self.until("the call through the mesh", self._answer_of_api)
        self.screen.good(f"api answers: {text!r}")
        leaf = self.api("GET", "/v1/agent/connect/ca/leaf/web")
        self.screen.fact(f"web's identity: {leaf['ServiceURI']}")
        self.screen.step("A deny intention stops the call at once; removing it lets it through again")
        exact = "/v1/connect/intentions/exact?source=api&destination=web"
        self.api("PUT", exact, {"Action": "deny"})
        began = time.monotonic()
        await self.until("the call to be refused", lambda: not self._answer_of_api())
        self.screen.good(f"refused {time.monotonic() - began:.2f} s after: lictor intention create -deny api web")
        self.api("DELETE", exact)
        await self.until("the call to work again", self._answer_of_api)
        self.screen.good("and it works again after: lictor intention delete api web")

    async def _failover(self) -> None:
        self.screen.step("The leader is killed (SIGKILL); everything goes on")
        self.api("PUT", "/v1/kv/demo/before", "written before")
        leader = (await self.until("a leader", lambda: self.api("GET", "/v1/status/leader"))).rpartition(":")[0]
        name = f"server-{SERVERS.index(leader) + 1}"
        self.processes[name].kill()
        self.processes.pop(name).wait()
        began = time.monotonic()

        def written() -> bool:
            return bool(self.api("PUT", f"/v1/kv/{quote('demo/after')}", "written after"))

        await self.until("a write after the leader's death", written)
        self.screen.good(f"{name} is dead; the next write was committed {time.monotonic() - began:.2f} s later")
        if self.api("GET", "/v1/kv/demo/before")[0]["Key"] != "demo/before":
            raise DemoError("a key that was written before is gone")
        text = await self.until(f"the mesh to work without {name}", self._answer_of_api)
        self.screen.good(f"api still answers: {text!r}")
        leader = await self.until("a new leader", lambda: self.api("GET", "/v1/status/leader"))
        self.screen.good(f"the new leader is {leader}")


def _free_ports(count: int) -> list[int]:
    """Ports that are free now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def _in_use(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return True
    return False


async def run_demo(once: bool, http_port: int) -> int:
    """Run the tour; returns the exit code."""
    for host, port in ((CLIENT, http_port), (CLIENT, UPSTREAM_PORT), *((address, SERVER_HTTP) for address in SERVERS)):
        if _in_use(host, port):
            print(f"{host}:{port} is in use; stop what listens there, or give another -http-port", file=sys.stderr)
            return 1
    folder = Path(tempfile.mkdtemp(prefix="lictor-demo-"))
    demo = Demo(folder, http_port)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    touring = loop.create_task(demo.run())
    stopping = loop.create_task(stop.wait())
    try:
        await asyncio.wait({touring, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not touring.done():
            return 130
        error = touring.exception()
        if error is not None:
            demo.screen.bad(str(error) or type(error).__name__)
            if not isinstance(error, DemoError | OSError):
                raise error
            return 1
        print(f"\nThe UI is at http://{CLIENT}:{http_port}/ui/ (logs in {folder})", flush=True)
        if not once:
            print("Everything stays up until Ctrl-C.", flush=True)
            await stop.wait()
        return 0
    finally:
        touring.cancel()
        stopping.cancel()
        demo.stop()
        failed = touring.done() and not touring.cancelled() and touring.exception() is not None
        if not failed:
            shutil.rmtree(folder, ignore_errors=True)
