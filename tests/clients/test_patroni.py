"""Patroni keeps PostgreSQL by lictor: bootstrap, a replica, all of lictor restarted, a switchover, a fail-over."""

from __future__ import annotations

import http.client
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import dnslib
import pytest

from tests.support.cluster import start_all, three_servers
from tests.support.process import Agent, free_ports
from tests.support.tools import lacking, need_program

SCOPE = "orders"
TTL = 10
"""Patroni's leader lease in seconds; its session in lictor has half of that."""


def _postgres_binaries() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    return found[-1].parent if found else Path(need_program("postgres")).parent


def _account() -> str | None:
    """Whom PostgreSQL runs as: it refuses root."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        lacking("needs the account postgres")
        raise


class Member:
    """One Patroni with its PostgreSQL."""

    def __init__(self, name: str, folder: Path, agent: Agent, account: str | None) -> None:
        self.name = name
        self.rest, self.port = free_ports(2)
        self.data = folder / name / "data"
        self._account = account
        self._folder = folder / name
        self._folder.mkdir()
        self.log = self._folder / "patroni.log"
        self._process: subprocess.Popen[bytes] | None = None
        config = {
            "scope": SCOPE,
            "name": name,
            "restapi": {"listen": f"127.0.0.1:{self.rest}", "connect_address": f"127.0.0.1:{self.rest}"},
            "consul": {
                "host": f"127.0.0.1:{agent.ports['http']}",
                "register_service": True,
                "service_check_interval": "1s",
                "service_tags": ["demo"],
            },
            "bootstrap": {
                "dcs": {"ttl": TTL, "loop_wait": 1, "retry_timeout": 3, "postgresql": {"use_pg_rewind": True}},
                "initdb": [{"encoding": "UTF8"}, "data-checksums", {"locale": "C"}],
            },
            "postgresql": {
                "listen": f"127.0.0.1:{self.port}",
                "connect_address": f"127.0.0.1:{self.port}",
                "data_dir": str(self.data),
                "bin_dir": str(_postgres_binaries()),
                "pgpass": str(self._folder / "pgpass"),
                "authentication": {
                    "superuser": {"username": "postgres", "password": "for-tests"},
                    "replication": {"username": "replicator", "password": "for-tests"},
                },
                "parameters": {"unix_socket_directories": str(self._folder), "fsync": "off", "shared_buffers": "16MB"},
                "pg_hba": [
                    "local all all trust",
                    "host all all 127.0.0.1/32 md5",
                    "host replication all 127.0.0.1/32 md5",
                ],
            },
        }
        (self._folder / "patroni.yml").write_text(json.dumps(config))  # JSON is YAML.
        if account is not None:
            shutil.chown(self._folder, account)

    def start(self) -> None:
        """Start Patroni, which starts PostgreSQL."""
        command = [need_program("patroni"), str(self._folder / "patroni.yml")]
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                start_new_session=True,
                user=self._account,
                group=self._account,
                extra_groups=[] if self._account else None,
                env={**os.environ, "HOME": str(self._folder)},
            )

    def kill(self) -> None:
        """End Patroni and PostgreSQL at once, as a power cut would."""
        with suppress(OSError, ValueError, IndexError):
            postmaster = int((self.data / "postmaster.pid").read_text().splitlines()[0])
            command = Path("/proc", str(postmaster), "cmdline").read_bytes()
            if self._process is not None and self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)
            if str(self.data).encode() in command:
                os.kill(postmaster, signal.SIGKILL)
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def status(self, path: str) -> int:
        """The status of Patroni's own API at a path such as `/leader`; 0 when it does not answer."""
        try:
            return self._rest("GET", path)[0]
        except OSError:
            return 0

    def switch_to(self, other: Member) -> tuple[int, bytes]:
        """Ask for a switchover."""
        return self._rest("POST", "/switchover", {"leader": self.name, "candidate": other.name})

    def _rest(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.rest, timeout=60)
        try:
            connection.request(method, path, json.dumps(body) if body else None)
            response = connection.getresponse()
            return response.status, response.read()
        except http.client.HTTPException as error:
            raise OSError(str(error)) from None
        finally:
            connection.close()

    def sql(self, statement: str) -> str:
        """What a statement answers. Raises OSError."""
        done = subprocess.run(
            [
                *(str(_postgres_binaries() / "psql"), "-XAtq", "-h", "127.0.0.1", "-p", str(self.port)),
                *("-U", "postgres", "-d", "postgres", "-c", statement),
            ],
            env={**os.environ, "PGPASSWORD": "for-tests", "PGCONNECT_TIMEOUT": "5"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode:
            raise OSError(done.stderr)
        return done.stdout.strip()


@contextmanager
def members(servers: list[Agent], count: int) -> Iterator[list[Member]]:
    """Members whose processes end with the block. Their folder is none of pytest's, which only root may enter."""
    account = _account()
    folder = Path(tempfile.mkdtemp(prefix="lictor-patroni-"))
    folder.chmod(0o755)
    made = [Member(f"m{number}", folder, servers[number % len(servers)], account) for number in range(count)]
    try:
        yield made
    finally:
        for member in made:
            member.kill()
        shutil.rmtree(folder, ignore_errors=True)


def until(what: str, condition: Callable[[], Any], made: list[Member], seconds: float = 120) -> Any:
    """Wait until a condition holds, and return it; the logs are part of the failure."""
    deadline = time.monotonic() + seconds
    said: object = None
    while time.monotonic() < deadline:
        try:
            if found := condition():
                return found
        except (OSError, AssertionError, KeyError, IndexError, subprocess.TimeoutExpired) as error:
            said = error
        time.sleep(0.1)
    logs = "\n".join(f"--- {one.name}\n{one.log.read_text()[-2500:]}" for one in made if one.log.exists())
    raise AssertionError(f"waited in vain: {what} ({said})\n{logs}")


def primary_by_dns(agent: Agent) -> set[int]:
    """The ports that DNS gives for the healthy primary."""
    question = dnslib.DNSRecord.question(f"primary.{SCOPE}.service.consul", "SRV").pack()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.settimeout(5)
        one.sendto(question, ("127.0.0.1", agent.ports["dns"]))
        return {int(row.rdata.port) for row in dnslib.DNSRecord.parse(one.recv(4096)).rr if row.rtype == 33}


@pytest.mark.slow
@pytest.mark.timeout(1000)
def test_a_postgresql_cluster_lives_by_it(tmp_path: Path) -> None:
    need_program("patroni")
    _postgres_binaries()
    with three_servers(tmp_path, 41, session_ttl_min="1s") as servers, members(servers, 2) as made:
        first, second = made
        first.start()
        until("the first becomes primary", lambda: first.status("/primary") == 200, made)
        table = "create table if not exists orders (number int primary key)"
        insert = "insert into orders values (1) on conflict do nothing; select number from orders"
        until("it takes writes", lambda: first.sql(f"{table}; {insert}") == "1", made)
        second.start()
        until("the second follows", lambda: second.sql("select number from orders") == "1", made)
        until("the first is found by DNS", lambda: primary_by_dns(servers[2]) == {first.port}, made)
        wanted = {f"{SCOPE}/m0": ["demo", "master", "primary"], f"{SCOPE}/m1": ["demo", "replica"]}

        def registered() -> bool:
            rows = servers[1].json("GET", f"/v1/catalog/service/{SCOPE}")
            return {row["ServiceID"]: row["ServiceTags"] for row in rows} == wanted

        until("both are registered", registered, made)
        expected = {f"service/{SCOPE}/{name}" for name in ("config", "initialize", "leader", "members/m0")}
        kept = lambda: expected <= set(servers[2].json("GET", f"/v1/kv/service/{SCOPE}/?keys"))  # noqa: E731
        until("its keys are there", kept, made)

        # The whole of lictor goes and comes back: the cluster goes on with the data that it had.
        for server in servers:
            server.stop(signal.SIGKILL)
        start_all(servers)
        until("somebody is primary again", lambda: any(one.status("/primary") == 200 for one in made), made)
        first, second = made if made[0].status("/primary") == 200 else (made[1], made[0])
        until(
            "it takes writes",
            lambda: first.sql("insert into orders values (2) on conflict do nothing; select 2") == "2",
            made,
        )
        until("the other follows", lambda: second.sql("select max(number) from orders") == "2", made)

        until("the other may take over", lambda: second.status("/replica") == 200, made)
        asked = lambda: first.switch_to(second)[0] == 200  # noqa: E731
        until("the other is primary", lambda: second.status("/primary") == 200 or (asked() and False), made)
        until("the first follows", lambda: first.status("/replica") == 200, made)
        first, second = second, first
        until(
            "it takes writes",
            lambda: first.sql("insert into orders values (3) on conflict do nothing; select 3") == "3",
            made,
        )
        until("all is copied", lambda: second.sql("select max(number) from orders") == "3", made)

        first.kill()
        until("the survivor is primary", lambda: second.status("/primary") == 200, made)
        last = "insert into orders values (4) on conflict do nothing; select count(*) from orders"
        until("it takes writes", lambda: second.sql(last) == "4", made)
        until("only the survivor is found", lambda: primary_by_dns(servers[0]) == {second.port}, made)

        def holds() -> bool:
            session = servers[0].json("GET", f"/v1/kv/service/{SCOPE}/leader")[0]["Session"]
            name = servers[0].json("GET", f"/v1/session/info/{session}")[0]["Name"]
            return bool(name == f"{SCOPE}-{second.name}")

        until("the survivor holds the key of the leader", holds, made)
