"""How commands reach an agent: addresses, environment, and what they say when nobody answers well."""

import base64
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.cli.client import Api, ApiError, Problem
from agent.cli.command import HTTP_FLAGS
from agent.cli.flags import Flags, defaults
from agent.cli.run import run
from tests.support.process import free_ports

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@contextmanager
def listener(answer: Callable[[bytes], bytes], family: int = socket.AF_INET, address: Any = None) -> Iterator[Any]:
    """A socket that answers every request with bytes, and the requests that came."""
    with socket.socket(family, socket.SOCK_STREAM) as server:
        server.bind(address or ("127.0.0.1", 0))
        server.listen()
        asked: list[bytes] = []

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(60)
                    data = b""
                    while b"\r\n\r\n" not in data and (more := connection.recv(65536)):
                        data += more
                    asked.append(data)
                    connection.sendall(answer(data))

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield server.getsockname(), asked
        finally:
            server.shutdown(socket.SHUT_RDWR)


def api(environment: dict[str, str], **given: Any) -> Api:
    values = defaults(HTTP_FLAGS) | {name.replace("_", "-"): value for name, value in given.items()}
    return Api(Flags(values, [], []), environment, timeout=60)


def test_addresses_of_all_forms() -> None:
    with listener(lambda data: OK) as ((host, port), asked):
        for form in (f"{host}:{port}", f"http://{host}:{port}", f"http://{host}:{port}/"):
            assert api({"CONSUL_HTTP_ADDR": form}).get("/v1/status/leader") == {}
            assert api({"CONSUL_HTTP_ADDR": "127.0.0.1:1"}, http_addr=form).get("/v1/status/leader") == {}
        assert api({}, http_addr=f"http://{host}:{port}/consul/").get("/v1/status/leader") == {}
    lines = [one.split(b"\r\n")[0] for one in asked]
    assert lines == [b"GET /v1/status/leader HTTP/1.1"] * 6 + [b"GET /consul/v1/status/leader HTTP/1.1"]


def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    with listener(lambda data: OK, socket.AF_UNIX, str(path)) as (_, asked):
        assert api({"CONSUL_HTTP_ADDR": f"unix://{path}"}).get("/v1/kv/a b") == {}
    assert asked[0].startswith(b"GET /v1/kv/a%20b HTTP/1.1")
    with pytest.raises(ApiError, match=r"dial unix .*agent\.sock"):
        api({"CONSUL_HTTP_ADDR": f"unix://{path}x"}).get("/v1/kv/a")


def test_what_goes_with_a_request(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(" from-file \n")
    everything = {
        "CONSUL_HTTP_TOKEN": "secret",
        "CONSUL_HTTP_AUTH": "user:pass",
        "CONSUL_NAMESPACE": "n",
        "CONSUL_PARTITION": "p",
    }
    with listener(lambda data: OK) as ((host, port), asked):
        where = {"CONSUL_HTTP_ADDR": f"{host}:{port}"}
        api(where | everything).get("/v1/kv/a")
        api(where | everything, token="flag", namespace="other", datacenter="dc2", stale=True).get(
            "/v1/kv/a", keys=True
        )
        api(where | everything | {"CONSUL_HTTP_TOKEN_FILE": str(tmp_path / "token")}).get("/v1/kv/a")
        api(where, token_file=str(tmp_path / "token")).get("/v1/kv/a")
        api(where).get("/v1/kv/a")
    first, second, third, fourth, last = asked
    assert first.startswith(b"GET /v1/kv/a?ns=n&partition=p HTTP/1.1") and b"X-Consul-Token: secret\r\n" in first
    assert b"Authorization: Basic " + base64.b64encode(b"user:pass") in first
    assert second.startswith(b"GET /v1/kv/a?keys=&dc=dc2&stale=&ns=other&partition=p ")
    assert b"X-Consul-Token: flag\r\n" in second
    assert b"X-Consul-Token: from-file\r\n" in third and b"X-Consul-Token: from-file\r\n" in fourth
    assert b"X-Consul-Token" not in last and b"Authorization" not in last


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("ftp://host:1", "Unknown protocol scheme: ftp"),
        ("127.0.0.1:99999", "is no address"),
        ("127.0.0.1:x", "is no address"),
        (":8500", "is no address"),
        ("http://", "is no address"),
        ("http://[::1", "is no address"),
        ("127.0.0.1:0", "is no address"),
    ],
)
def test_addresses_that_are_none(address: str, reason: str) -> None:
    with pytest.raises(Problem, match=reason):
        api({}, http_addr=address)


def test_a_token_file_that_is_not_there() -> None:
    with pytest.raises(Problem, match="token file: open /nowhere"):
        api({}, token_file="/nowhere")


def test_what_is_said_when_nobody_answers_well() -> None:
    port = free_ports(1)[0]
    with pytest.raises(ApiError) as caught:
        api({}, http_addr=f"127.0.0.1:{port}").get("/v1/kv/a")
    assert str(caught.value) == (
        f'Get "http://127.0.0.1:{port}/v1/kv/a": dial tcp 127.0.0.1:{port}: connect: connection refused'
    )
    with pytest.raises(ApiError, match="no such host"):
        api({}, http_addr="nohost.invalid:8500").get("/v1/kv/a")
    for answer, reason in (
        (b"", "EOF"),
        (b"\x15\x03\x01nonsense\r\n\r\n", "malformed HTTP response"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", "EOF"),
        (
            b"HTTP/1.1 403 Forbidden\r\nContent-Length: 8\r\n\r\nno entry",
            r"^Unexpected response code: 403 \(no entry\)$",
        ),
        (b"HTTP/1.1 500 E\r\nContent-Length: 2\r\n\r\n\xff\xfe", "Unexpected response code: 500"),
    ):
        with listener(lambda data, answer=answer: answer) as ((host, port), _), pytest.raises(ApiError, match=reason):  # type: ignore[misc]
            api({}, http_addr=f"{host}:{port}").get("/v1/kv/a")
    with pytest.raises(ApiError, match="header value"):
        api({}, http_addr="127.0.0.1:1", token="a\nb").get("/v1/kv/a")


def test_commands_begin_their_errors_as_consuls_do(capsys: pytest.CaptureFixture[str]) -> None:
    where = f"-http-addr=127.0.0.1:{free_ports(1)[0]}"
    for words, beginning in (
        (["members", where], "Error retrieving members: Get "),
        (["kv", "get", where, "a"], "Error querying Consul agent: Get "),
        (["kv", "put", where, "a", "1"], "Error! Failed writing data: Put "),
        (["catalog", "nodes", where], "Error listing nodes: Get "),
        (["reload", where], "Error reloading: Put "),
        (["leave", where], "Error leaving: Put "),
        (["snapshot", "save", where, "x.snap"], "Error saving snapshot: Get "),
        (["event", where, "-name=x"], "Error firing event: Put "),
    ):
        assert run(words) == 1
        shown = capsys.readouterr()
        assert shown.out == "" and shown.err.startswith(beginning) and "connection refused" in shown.err, words
    assert not Path("x.snap.unverified").exists()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"<html>", "answers as no Consul agent does"),
        (b"[" * 100_000, "answers as no Consul agent does"),
        (b'[{"Node": 1}]', "the agent's answer has not the form that it should have"),
    ],
)
def test_something_else_than_an_agent(answer: bytes, reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(answer), answer)
    with listener(lambda data: raw) as ((host, port), _):
        assert run(["catalog", "nodes", f"-http-addr={host}:{port}"]) == 1
    shown = capsys.readouterr()
    assert shown.err.startswith("Error listing nodes: ") and reason in shown.err and shown.err.count("\n") == 1
