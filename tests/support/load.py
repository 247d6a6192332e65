"""Clients that write, compare-and-set and read keys over HTTP and remember what they were told, for the checker."""

from __future__ import annotations

import base64
import http.client
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.support.linearizable import Cas, Operation, Read, Write
from tests.support.netns import Host

HTTP_PORT: Final = 8500
TIMEOUT: Final = 1.0
"""Seconds after which a client gives a request up."""
FAITHFUL: Final = 0.85
"""How often a client asks its own server, so that a server that hangs holds up its own clients and not all."""


@dataclass
class Record:
    """What the clients did: a history for each key, the keys of `once/` that were acknowledged, and counts."""

    histories: dict[str, list[Operation]] = field(default_factory=dict)
    acknowledged: dict[str, str] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    successes: list[float] = field(default_factory=list)
    """When writes were acknowledged, by the monotonic clock."""

    def summary(self) -> str:
        """One line with the figures."""
        wanted = ("ok", "failed", "unknown")
        return ", ".join(f"{self.counts[word]} operations {word}" for word in wanted)


def ask(address: str, method: str, path: str, body: bytes | None = None, timeout: float = TIMEOUT) -> tuple[int, bytes]:
    """One HTTP request on a connection of its own. Raises ConnectionRefusedError (it was not made), OSError."""
    connection = http.client.HTTPConnection(address, HTTP_PORT, timeout=timeout)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except http.client.HTTPException as error:
        raise ConnectionResetError(f"{type(error).__name__}: {error}") from None
    finally:
        connection.close()


class Clients:
    """Threads on one host that ask servers at random until `stop`; each has a random generator of its own."""

    def __init__(self, host: Host, servers: Sequence[str], keys: Sequence[str], seed: int, count: int) -> None:
        self.record = Record(histories={key: [] for key in keys})
        self._host = host
        self._servers = servers
        self._keys = keys
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._failures: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._run, args=(number, random.Random(f"{seed}/{number}")), name=f"client{number}")
            for number in range(count)
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> Record:
        """End, wait for what is under way, and hand over the record. Raises what went wrong in a client itself."""
        self._stopping.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(30)
        if self._failures:
            raise self._failures[0]
        return self.record

    def _run(self, client: int, chance: random.Random) -> None:
        try:
            with self._host.inside():
                seen: dict[str, int] = {}
                number = 0
                while not self._stopping.is_set():
                    number += 1
                    self._one(f"{client}.{number}", chance, seen)
                    self._stopping.wait(chance.uniform(0.002, 0.03))
        except BaseException as error:
            self._failures.append(error)

    def _one(self, name: str, chance: random.Random, seen: dict[str, int]) -> None:
        own = self._servers[int(name.partition(".")[0]) % len(self._servers)]
        address = own if chance.random() < FAITHFUL else chance.choice(self._servers)
        key = chance.choice(self._keys)
        kind = chance.choices(("read", "write", "cas", "once"), (5, 3, 3, 2))[0]
        if kind == "read":
            self._read(address, key, seen)
        elif kind == "once":
            self._write_once(address, f"once/{name}", name)
        else:
            expected = seen.get(key) if kind == "cas" else None
            self._write(address, key, name, expected)

    def _read(self, address: str, key: str, seen: dict[str, int]) -> None:
        call = time.monotonic()
        try:
            status, body = ask(address, "GET", f"/v1/kv/{key}?consistent")
        except OSError:
            self._count("failed")
            return
        returned = time.monotonic()
        if status == 404 and not body:
            operation = Read(call, returned, None, 0)
        elif status == 200:
            row = json.loads(body)[0]
            operation = Read(call, returned, base64.b64decode(row["Value"]).decode(), row["ModifyIndex"])
        else:
            self._count("failed")
            return
        seen[key] = operation.index
        self._note(key, operation, "ok")

    def _write(self, address: str, key: str, value: str, expected: int | None) -> None:
        path = f"/v1/kv/{key}" if expected is None else f"/v1/kv/{key}?cas={expected}"
        answer, call, returned = self._put(address, path, value)
        if answer == "failed":
            self._count("failed")
            return
        known = returned if answer != "unknown" else None
        operation: Operation
        if expected is None:
            operation = Write(call, known, value)
        else:
            operation = Cas(call, known, expected, value, None if known is None else answer == "true")
        self._note(key, operation, "unknown" if known is None else "ok")

    def _write_once(self, address: str, key: str, value: str) -> None:
        answer, _, _ = self._put(address, f"/v1/kv/{key}", value)
        with self._lock:
            if answer == "true":
                self.record.acknowledged[key] = value
            self.record.counts[answer if answer in ("failed", "unknown") else "ok"] += 1

    def _put(self, address: str, path: str, value: str) -> tuple[str, float, float]:
        """true, false, failed (certainly nothing was done) or unknown; and the times of call and return."""
        call = time.monotonic()
        try:
            status, body = ask(address, "PUT", path, value.encode())
        except ConnectionRefusedError:
            return "failed", call, time.monotonic()
        except OSError:
            return "unknown", call, time.monotonic()
        returned = time.monotonic()
        if status != 200 or body not in (b"true", b"false"):
            return "unknown", call, returned
        with self._lock:
            self.record.successes.append(returned)
        return body.decode(), call, returned

    def _note(self, key: str, operation: Operation, outcome: str) -> None:
        with self._lock:
            self.record.histories[key].append(operation)
            self.record.counts[outcome] += 1

    def _count(self, outcome: str) -> None:
        with self._lock:
            self.record.counts[outcome] += 1


def missing(acknowledged: Mapping[str, str], found: Mapping[str, str]) -> dict[str, str]:
    """The acknowledged writes that are not there, or not as they were written."""
    return {key: value for key, value in acknowledged.items() if found.get(key) != value}
