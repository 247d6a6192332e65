"""HAProxy takes its servers from lictor's DNS: SRV records of a service, followed as instances come, fail and go."""

from __future__ import annotations

import csv
import http.server
import io
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.process import Agent, dev_agent, free_ports
from tests.support.tools import need_program

CONFIG = """
global
    log stderr format short daemon
    stats socket {socket} mode 600 level admin
defaults
    mode http
    timeout connect 1s
    timeout client 5s
    timeout server 5s
    option redispatch
    default-server resolvers lictor resolve-opts allow-dup-ip resolve-prefer ipv4 init-addr none
    retries 3
resolvers lictor
    nameserver own 127.0.0.1:{dns}
    accepted_payload_size 8192
    resolve_retries 3
    timeout resolve 500ms
    timeout retry 200ms
    hold valid 500ms
    hold nx 0s
    hold obsolete 0s
frontend entry
    bind 127.0.0.1:{entry}
    default_backend web
backend web
    balance roundrobin
    server-template web 5 _web._tcp.service.consul
backend tagged
    server-template v2 3 _web._v2.service.consul
"""


@contextmanager
def instance(agent: Agent, name: str, tags: list[str]) -> Iterator[int]:
    """An instance of `web` that answers with its name, registered with a check; gives its port."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(name)))
            self.end_headers()
            self.wfile.write(name.encode())

        def log_message(self, *_: object) -> None:
            pass

    (port,) = free_ports(1)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    check = {"CheckID": name, "TTL": "1h", "Status": "passing"}
    body = {"ID": name, "Name": "web", "Port": port, "Address": "127.0.0.1", "Tags": tags, "Check": check}
    agent.json("PUT", "/v1/agent/service/register", body)
    try:
        yield port
    finally:
        server.shutdown()
        server.server_close()


def up(control: Path, backend: str) -> set[int]:
    """The ports of a backend's servers that HAProxy uses now."""
    with socket.socket(socket.AF_UNIX) as stream:
        stream.settimeout(60)
        stream.connect(str(control))
        stream.sendall(f"show servers state {backend}\n".encode())
        text = b""
        while chunk := stream.recv(65536):
            text += chunk
    lines = text.decode().splitlines()
    names = next(line for line in lines if line.startswith("# ")).removeprefix("# ").split()
    rows = csv.DictReader(
        io.StringIO("\n".join(line for line in lines if line.startswith(tuple("123456789")) and " " in line)),
        names,
        delimiter=" ",
    )
    return {int(row["srv_port"]) for row in rows if row["srv_op_state"] == "2"}


@pytest.mark.slow
def test_servers_follow_the_srv_records(tmp_path: Path) -> None:
    haproxy = need_program("haproxy")
    with (
        dev_agent(tmp_path / "agent", dns_config={"service_ttl": {"*": "1s"}}) as agent,
        instance(agent, "one", ["v1"]) as first,
        instance(agent, "two", ["v2"]) as second,
    ):
        (entry,) = free_ports(1)
        control, log, file = tmp_path / "control", tmp_path / "haproxy.log", tmp_path / "haproxy.cfg"
        file.write_text(CONFIG.format(dns=agent.ports["dns"], entry=entry, socket=control))
        with log.open("wb") as output:
            process = subprocess.Popen([haproxy, "-W", "-db", "-f", str(file)], stdout=output, stderr=subprocess.STDOUT)

        def until(backend: str, wanted: set[int]) -> None:
            deadline = time.monotonic() + 60
            found: object = None
            while time.monotonic() < deadline and process.poll() is None:
                try:
                    found = up(control, backend)
                except OSError as error:
                    found = error
                if found == wanted:
                    return
                time.sleep(0.1)
            raise AssertionError(f"{backend}: {found}, not {wanted}\n{log.read_text()}")

        def answer(*names: str) -> bool:
            """Whether requests are soon answered by these and no others; HAProxy takes up what it knows in its time."""
            found = set()
            for _ in range(8):
                with urllib.request.urlopen(f"http://127.0.0.1:{entry}/", timeout=60) as response:
                    found.add(response.read().decode())
            return found == set(names)

        try:
            until("web", {first, second})
            until("tagged", {second})
            agent.until(lambda: answer("one", "two"))
            agent.json("PUT", "/v1/agent/check/fail/one")
            until("web", {second})
            agent.until(lambda: answer("two"))
            agent.json("PUT", "/v1/agent/check/pass/one")
            until("web", {first, second})
            with instance(agent, "three", ["v2"]) as third:
                until("web", {first, second, third})
                until("tagged", {second, third})
                agent.json("PUT", "/v1/agent/service/deregister/two")
                until("web", {first, third})
                agent.until(lambda: answer("one", "three"))
        finally:
            process.terminate()
            process.wait(60)
