"""Raw sockets against a real agent: what is no ordinary HTTP gets the right answer or none; others do not notice."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.process import Agent, dev_agent

HOST = b"Host: x\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n1\r\nv\r\n0\r\n\r\n"
LEADER = b"GET /v1/status/leader HTTP/1.1\r\n" + HOST + b"\r\n"


class Answer:
    """One answer as it came over a socket."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


class Raw:
    """A socket to the agent, read answer by answer."""

    def __init__(self, agent: Agent, seconds: float = 60) -> None:
        self.socket = socket.create_connection(("127.0.0.1", agent.ports["http"]), timeout=seconds)
        self._file = self.socket.makefile("rb")

    def send(self, data: bytes) -> Raw:
        self.socket.sendall(data)
        return self

    def answer(self) -> Answer:
        """The next answer. Raises EOFError at the end."""
        first = self._file.readline()
        if not first:
            raise EOFError
        assert first.startswith(b"HTTP/"), first
        headers: dict[str, str] = {}
        while line := self._file.readline().strip():
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        status = int(first.split()[1])
        if status < 200:
            return Answer(status, headers, b"")
        if "content-length" in headers:
            return Answer(status, headers, self._file.read(int(headers["content-length"])))
        return Answer(status, headers, self._file.read())

    def ends(self) -> bool:
        """Whether the connection ends, with whatever else is said before."""
        try:
            with contextlib.suppress(ConnectionError):
                while self._file.read(65536):
                    pass
            return True
        except TimeoutError:
            return False

    def close(self) -> None:
        self._file.close()
        self.socket.close()


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    settings = {"http_config": {"response_headers": {"X-Mine": "yes"}}, "limits": {"http_max_conns_per_client": 400}}
    with dev_agent(tmp_path_factory.mktemp("agent"), **settings) as agent:
        assert agent.request("PUT", "/v1/kv/large", b"x" * 400_000) == (200, b"true")
        yield agent


@pytest.fixture
def connect(agent: Agent) -> Iterator[Callable[[], Raw]]:
    opened: list[Raw] = []

    def one() -> Raw:
        opened.append(Raw(agent))
        return opened[-1]

    yield one
    for raw in opened:
        raw.close()


def memory(agent: Agent) -> int:
    """The agent's resident memory in bytes."""
    assert agent.process is not None
    fields = Path(f"/proc/{agent.process.pid}/statm").read_text().split()
    return int(fields[1]) * 4096


@contextlib.contextmanager
def others_served(agent: Agent) -> Iterator[None]:
    """All the while another client asks and is answered."""
    stop, failures, answered = threading.Event(), [], [0]

    def ask() -> None:
        while not stop.wait(0.02) or not answered[0]:
            try:
                status, _ = agent.request("GET", "/v1/status/leader", seconds=60)
                if status != 200:
                    failures.append(str(status))
                answered[0] += 1
            except Exception as error:
                failures.append(repr(error))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert not failures and answered[0]


# Framing: whoever disagrees with a proxy about where a request ends lets others' requests be forged

SMUGGLED = b"GET /v1/kv/smuggled HTTP/1.1\r\n" + HOST + b"\r\n"


@pytest.mark.parametrize(
    "lines",
    [
        b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        b"Content-Length: 4\r\nContent-Length: 5\r\n",
        b"Content-Length: 4, 5\r\n",
        b"Content-Length: -4\r\n",
        b"Content-Length: +4\r\n",
        b"Content-Length: 0x4\r\n",
        b"Content-Length: 4 4\r\n",
        b"Content-Length : 4\r\n",
        b"Content-Length: 99999999999999999999999\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n",
        b"X: a\r\n folded: b\r\n",
        b"X: a\rContent-Length: 4\r\n",
        b"X: a\x00b\r\n",
        b"no colon\r\n",
        b": no name\r\n",
        b"na me: x\r\n",
        b"Host: y\r\n",
    ],
)
def test_doubtful_framing_is_refused_and_nothing_behind_it_is_answered(
    agent: Agent, connect: Callable[[], Raw], lines: bytes
) -> None:
    raw = connect().send(b"PUT /v1/kv/a HTTP/1.1\r\n" + HOST + lines + b"\r\n0\r\n\r\n" + SMUGGLED)
    assert raw.answer().status == 400
    assert raw.ends()
    assert agent.request("GET", "/v1/kv/a")[0] == 404


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET /v1/status/leader HTTP/2.0\r\n" + HOST + b"\r\n", 505),
        (b"GET /v1/status/leader HTTP/0.9\r\n\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"get /v1/status/leader HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET /v1/kv/\xff\xfe HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET /v1/kv/%ff%fe HTTP/1.1\r\n" + HOST + b"\r\n", 404),
        (b"GET /v1/kv/%zz HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET /v1/kv/a?x=%zz HTTP/1.1\r\n" + HOST + b"\r\n", 500),
        (b"GET /v1/kv/a%00b HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET /v1/status/leader HTTP/1.1\r\n" + HOST + b"X-Consul-Token: \xff\xfe\r\n\r\n", 200),
        (b"GET /v1/kv/" + b"a" * 100_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"PUT /v1/session/create HTTP/1.1\r\n" + HOST + b"Content-Length: 13\r\n\r\n" + b'{"Name":"\xff\xfe"}', 200),
        (b"BREW /v1/status/leader HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    ],
)
def test_odd_words_get_the_right_status(connect: Callable[[], Raw], words: bytes, status: int) -> None:
    assert connect().send(words).answer().status == status


# Size and number


def test_heads_beyond_the_limit_are_refused_and_such_within_it_are_not(connect: Callable[[], Raw]) -> None:
    within = b"X-Long: " + b"a" * 60_000 + b"\r\n"
    assert connect().send(LEADER[:-2] + within + b"\r\n").answer().status == 200
    many = b"".join(b"X-%d: a\r\n" % number for number in range(100))
    assert connect().send(LEADER[:-2] + many + b"\r\n").answer().status == 200
    raw = connect()
    with contextlib.suppress(ConnectionError):
        for _ in range(200):
            raw.send(b"GET / HTTP/1.1\r\n" + b"X: " + b"a" * 16_000 + b"\r\n")
    assert raw.ends()
    for unfinished in (b"", b"\r\n"):
        raw = connect().send(LEADER[:-2] + b"X: a\r\n" * 180_000 + unfinished)
        assert raw.answer().status == 431
        assert raw.ends()


def test_max_header_bytes_holds_for_every_request_of_a_connection(tmp_path: Path) -> None:
    with dev_agent(tmp_path, http_config={"max_header_bytes": 2000}) as agent:
        raw = Raw(agent)
        too_long = b"X: " + b"a" * 6500 + b"\r\n\r\n"  # Consul, too, lets 4096 more bytes through.
        assert raw.send(LEADER).answer().status == 200
        assert raw.send(LEADER[:-2] + b"X: " + b"a" * 5000 + b"\r\n\r\n").answer().status == 200
        assert raw.send(LEADER[:-2] + too_long).answer().status == 431
        assert raw.ends()
        raw = Raw(agent)
        chunked = b"PUT /v1/kv/a HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n"
        assert raw.send(chunked + b"\r\n1\r\nv\r\n0\r\n\r\n").answer().status == 200  # From here on it is aiohttp's.
        assert raw.send(chunked + too_long).answer().status in (400, 431)
        assert raw.ends()


def test_a_chunked_body_without_end_is_cut_off(agent: Agent, connect: Callable[[], Raw]) -> None:
    for method in (b"PUT", b"GET"):
        raw = connect().send(method + b" /v1/kv/large?raw HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n")
        chunk = b"10000\r\n" + b"y" * 0x10000 + b"\r\n"
        with others_served(agent):
            sent = 0
            try:
                while sent < 400:
                    raw.send(chunk)
                    sent += 1
                    time.sleep(0.01)
            except (ConnectionError, TimeoutError):
                pass
            assert sent < 400
    assert agent.request("GET", "/v1/kv/large?raw") == (200, b"x" * 400_000)


def test_pipelined_requests_are_answered_in_their_order(agent: Agent, connect: Callable[[], Raw]) -> None:
    raw = connect()
    count = 3000
    requests = b"".join(b"GET /v1/kv/none-%d?pretty HTTP/1.1\r\n%b\r\n" % (n, HOST) for n in range(count - 1)) + LEADER
    sender = threading.Thread(target=raw.send, args=(requests,))
    with others_served(agent):
        sender.start()
        statuses = [raw.answer().status for _ in range(count)]
        sender.join()
    assert statuses == [404] * (count - 1) + [200]


def test_who_never_reads_costs_little_memory(agent: Agent, connect: Callable[[], Raw]) -> None:
    before = memory(agent)
    plain = b"GET /v1/kv/large HTTP/1.1\r\n" + HOST + b"\r\n"
    handed = plain[:-2] + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    with others_served(agent):
        for request in (plain, handed):
            for _ in range(10):
                raw = connect()
                raw.socket.settimeout(1)
                with contextlib.suppress(TimeoutError):
                    raw.send(request * 100_000)  # Their answers are 40 GB for each connection.
    assert memory(agent) - before < 120 << 20


def test_a_flood_of_connections_is_the_flooders_problem_alone(agent: Agent) -> None:
    address = ("127.0.0.1", agent.ports["http"])
    flood, heard = [], 0
    with others_served(agent):
        for _ in range(1000):  # The limit here is 400.
            try:
                flood.append(socket.create_connection(address, timeout=60, source_address=("127.0.0.2", 0)))
            except OSError:
                break
        for one in flood[400:500]:
            with contextlib.suppress(OSError):
                heard += one.recv(12) == b"HTTP/1.1 429"
        assert heard >= 50
        flood[0].sendall(LEADER)  # Those that it had in time still work.
        assert flood[0].recv(12) == b"HTTP/1.1 200"
    for one in flood:
        one.close()
    agent.until(lambda: _is_served(address))


def _is_served(address: tuple[str, int]) -> bool:
    with socket.create_connection(address, timeout=60, source_address=("127.0.0.2", 0)) as one:
        one.sendall(LEADER)
        return one.recv(12) == b"HTTP/1.1 200"


# Ends and versions


@pytest.mark.parametrize(
    "request_bytes",
    [
        LEADER,
        LEADER + LEADER,
        LEADER.replace(b"1.1", b"1.0"),
        b"PUT /v1/kv/half HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\n\r\nv",
        b"PUT /v1/kv/half HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nv\r\n0\r\n\r\n",
    ],
)
def test_who_closes_its_half_still_gets_its_answers(connect: Callable[[], Raw], request_bytes: bytes) -> None:
    raw = connect().send(request_bytes)
    raw.socket.shutdown(socket.SHUT_WR)
    for _ in range(request_bytes.count(b"HTTP/1")):
        assert raw.answer().status == 200
    assert raw.ends()


@pytest.mark.parametrize("before", [b"", LEADER])
def test_all_that_was_sent_before_closing_ones_half_is_answered(
    agent: Agent, connect: Callable[[], Raw], before: bytes
) -> None:
    agent.json("PUT", "/v1/kv/many", b"x")
    raw = connect().send(before + (b"GET /v1/kv/many HTTP/1.1\r\n" + HOST + b"\r\n") * 100)
    raw.socket.shutdown(socket.SHUT_WR)
    assert [raw.answer().status for _ in range(101 if before else 100)] == [200] * (101 if before else 100)
    with pytest.raises((EOFError, ConnectionError)):
        raw.answer()


def test_a_blocking_read_of_a_half_closed_connection_does_not_stay(agent: Agent, connect: Callable[[], Raw]) -> None:
    for extra in (b"", b"Connection: keep-alive, x\r\n"):
        index = agent.json("GET", "/v1/kv/large")[0]["ModifyIndex"]
        words = b"GET /v1/kv/large?index=%d&wait=5m HTTP/1.1\r\n" % index
        raw = connect().send(words + HOST + extra + b"\r\n")
        time.sleep(0.2)
        raw.socket.shutdown(socket.SHUT_WR)
        assert raw.ends()


def test_http_1_0_is_answered_and_ends(connect: Callable[[], Raw]) -> None:
    raw = connect().send(b"GET /v1/status/leader HTTP/1.0\r\n\r\n")
    answer = raw.answer()
    assert answer.status == 200 and answer.headers["x-mine"] == "yes" and b":" in answer.body
    assert raw.ends()
    kept = connect().send(b"GET /v1/status/leader HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" * 2)
    assert [kept.answer().status for _ in range(2)] == [200, 200]


def test_connection_close_is_heeded_and_nothing_behind_it_is_answered(connect: Callable[[], Raw]) -> None:
    raw = connect().send(LEADER[:-2] + b"Connection: close\r\n\r\n")
    answer = raw.answer()
    assert answer.status == 200 and answer.headers.get("connection", "close") == "close"
    assert raw.ends()


@pytest.mark.parametrize("before", [b"", LEADER, b"PUT /v1/kv/c HTTP/1.1\r\n" + HOST + CHUNKED])
@pytest.mark.parametrize("behind", [LEADER, b"no HTTP\r\n\r\n", b"\r\n\r\n", b"x"])
def test_what_follows_a_last_request_does_not_change_its_answer(
    connect: Callable[[], Raw], before: bytes, behind: bytes
) -> None:
    raw = connect().send(before + LEADER[:-2] + b"Connection: close\r\n\r\n" + behind)
    for _ in range(2 if before else 1):
        assert raw.answer().status == 200
    with pytest.raises((EOFError, ConnectionError)):
        raw.answer()


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (LEADER[:-2] + b"Connection: close\r\n\r\n", 200),
        (b"GET /none HTTP/1.0\r\n\r\n", 404),
        (b"HEAD /v1/status/leader HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n", 405),
        (b"no HTTP\r\n\r\n", 400),
        (LEADER[:-2] + b"Content-Length: x\r\n\r\n", 400),
        (LEADER[:-2] + b"Expect: much\r\n\r\n", 417),
        (b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", 505),
        (b"GET /v1/agent/monitor HTTP/1.0\r\n" + HOST + b"\r\n", 200),
    ],
)
def test_no_answer_names_the_software_that_gives_it(connect: Callable[[], Raw], words: bytes, status: int) -> None:
    raw = connect().send(words)
    first = b""
    while not first.endswith(b"\r\n\r\n"):
        first += raw.socket.recv(1)
    assert first.split()[1] == b"%d" % status
    assert b"\nserver:" not in first.lower()


def test_malformed_requests_are_told_no_more_than_that(connect: Callable[[], Raw]) -> None:
    answer = connect().send(b"no HTTP\r\n\r\n").answer()
    assert (answer.body, answer.headers["content-type"]) == (b"400 Bad Request", "text/plain; charset=utf-8")
    assert answer.headers["connection"] == "close"


def test_compressed_bodies_are_stored_as_they_came(agent: Agent, connect: Callable[[], Raw]) -> None:
    value = gzip.compress(b"a" * 1000)
    words = b"PUT /v1/kv/compressed HTTP/1.1\r\n" + HOST + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
    assert connect().send(words % len(value) + value).answer().status == 200
    assert agent.request("GET", "/v1/kv/compressed?raw") == (200, value)


def test_a_request_may_have_many_headers(connect: Callable[[], Raw]) -> None:
    many = b"".join(b"X-%d: a\r\n" % number for number in range(1000))
    assert connect().send(LEADER[:-2] + many + b"Connection: close\r\n\r\n").answer().status == 200


def test_expect_100_continue(agent: Agent, connect: Callable[[], Raw]) -> None:
    put = b"PUT /v1/kv/expected HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\n"
    raw = connect().send(put + b"Content-Length: 2\r\n\r\n")
    assert raw.answer().status == 100
    assert raw.send(b"hi").answer().status == 200
    assert agent.request("GET", "/v1/kv/expected?raw") == (200, b"hi")
    raw = connect().send(put + b"Content-Length: 5000000\r\n\r\n")
    assert raw.answer().status == 413  # And no 100 before: the body need not be sent.
    raw = connect().send(put.replace(b"100-continue", b"200-ok") + b"Content-Length: 2\r\n\r\nhi" + SMUGGLED)
    assert raw.answer().status == 417
    assert raw.ends()
    old = connect().send(put.replace(b"1.1", b"1.0") + b"Content-Length: 2\r\n\r\nhi")
    assert old.answer().status == 200


# Compression


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (b"gzip", True),
        (b"GZIP", True),
        (b"deflate, gzip;q=0.5", True),
        (b"*", True),
        (b"gzip;q=0", False),
        (b"identity", False),
        (b"deflate, br", False),
        (b"gzip;q=0, *", False),
    ],
)
def test_answers_are_compressed_for_whoever_accepts_it(
    connect: Callable[[], Raw], accept: bytes, expected: bool
) -> None:
    for extra in (b"", b"Connection: keep-alive, x\r\n"):
        raw = connect()
        headers = HOST + extra + b"Accept-Encoding: " + accept + b"\r\n\r\n"
        answer = raw.send(b"GET /v1/agent/self HTTP/1.1\r\n" + headers).answer()
        assert (answer.headers.get("content-encoding") == "gzip") is expected
        assert "accept-encoding" in answer.headers["vary"].lower()
        body = gzip.decompress(answer.body) if expected else answer.body
        assert json.loads(body)["Config"]["NodeName"] == "node1"
        value = raw.send(b"GET /v1/kv/large?raw HTTP/1.1\r\n" + headers).answer()
        assert (gzip.decompress(value.body) if expected else value.body) == b"x" * 400_000
        small = raw.send(b"GET /v1/status/leader HTTP/1.1\r\n" + headers).answer()
        assert "content-encoding" not in small.headers


# Time


@pytest.mark.slow
def test_who_trickles_or_never_reads_is_let_go_while_others_are_served(agent: Agent) -> None:
    put = b"PUT /v1/kv/slow HTTP/1.1\r\n" + HOST

    async def trickle(words: bytes, drip: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", agent.ports["http"])
        writer.write(words)
        answer = asyncio.ensure_future(reader.read())
        try:
            while not answer.done():
                writer.write(drip)
                await asyncio.wait({answer}, timeout=0.5)
            return answer.result()
        except ConnectionError:
            return b""
        finally:
            writer.close()

    async def deaf() -> bytes:
        _reader, writer = await asyncio.open_connection("127.0.0.1", agent.ports["http"], limit=1)
        writer.write(b"GET /v1/kv/large HTTP/1.1\r\n%b\r\n" % HOST * 100)
        with pytest.raises(ConnectionError):
            while True:
                writer.write(b"\r\n")
                await writer.drain()
                await asyncio.sleep(1)
        return b""

    async def all_of_them() -> list[bytes]:
        async with asyncio.timeout(240):
            return await asyncio.gather(
                trickle(b"GET /v1/status/leader HT", b"T"),
                trickle(b"GET /v1/status/leader HTTP/1.1\r\n", b"X: a\r\n"),
                trickle(put + b"Content-Length: 100000\r\n\r\n", b"v"),
                trickle(put + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nv\r\n"),
                deaf(),
            )

    with others_served(agent):
        answers = asyncio.run(all_of_them())
    assert answers[0].startswith(b"HTTP/1.1 408 ") and answers[1].startswith(b"HTTP/1.1 408 ")
    assert answers[3].startswith(b"HTTP/1.1 408 ")
    assert agent.request("GET", "/v1/kv/slow")[0] == 404
