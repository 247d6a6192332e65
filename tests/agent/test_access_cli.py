"""`acl`, `login`, `logout` and `peering` against an API that answers as a cluster with these features does."""

import json
import os
import stat
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from agent.cli.run import run

POLICY = {"ID": "b" * 36, "Name": "p1", "Description": "first", "Datacenters": ["dc1", "dc2"], "Rules": 'key "" {}'}
TOKEN = {
    "AccessorID": "a" * 36, "SecretID": "s" * 36, "Description": "mine", "Local": False,
    "CreateTime": "2026-01-02T03:04:05Z", "Policies": [{"ID": "b" * 36, "Name": "p1"}],
}
ROLE = {"ID": "c" * 36, "Name": "r1", "Description": "", "ServiceIdentities": [{"ServiceName": "web"}]}
PEER = {
    "ID": "d" * 36, "Name": "east", "State": "PENDING", "Meta": {"env": "prod"}, "CreateIndex": 5,
    "ModifyIndex": 6, "StreamStatus": {"ImportedServices": ["a"], "ExportedServices": None},
}
ANSWERS: dict[str, Any] = {
    "PUT /v1/acl/bootstrap": TOKEN,
    "GET /v1/acl/tokens": [TOKEN],
    f"GET /v1/acl/token/{'a' * 36}": TOKEN,
    "GET /v1/acl/token/self": TOKEN,
    "GET /v1/acl/policies": [POLICY],
    f"GET /v1/acl/policy/{'b' * 36}": POLICY,
    "GET /v1/acl/policy/name/p1": POLICY,
    f"DELETE /v1/acl/policy/{'b' * 36}": True,
    "GET /v1/acl/roles": [ROLE],
    "POST /v1/acl/login": TOKEN,
    "POST /v1/acl/logout": None,
    "GET /v1/peerings": [PEER],
    "GET /v1/peering/east": PEER,
    "DELETE /v1/peering/east": None,
    "POST /v1/peering/token": {"PeeringToken": "e30="},
    "POST /v1/peering/establish": {},
}
asked: list[tuple[str, Any]] = []


class Handler(BaseHTTPRequestHandler):
    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        question = f"{self.command} {self.path}"
        asked.append((question, json.loads(body) if body else None))
        known = question in ANSWERS
        raw = json.dumps(ANSWERS[question]).encode() if known else b"ACL not found"
        self.send_response(200 if known else 403)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    do_GET = do_PUT = do_POST = do_DELETE = answer

    def log_message(self, *arguments: object) -> None:
        """Quiet."""


@pytest.fixture(autouse=True)
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("CONSUL_HTTP_ADDR", f"127.0.0.1:{server.server_address[1]}")
    monkeypatch.delenv("CONSUL_HTTP_TOKEN", raising=False)
    yield
    server.shutdown()
    server.server_close()


def test_the_first_token(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["acl", "bootstrap"]) == 0
    shown = capsys.readouterr().out
    assert f"SecretID:         {'s' * 36}" in shown and f"   {'b' * 36} - p1" in shown
    assert run(["acl", "bootstrap", "-format=json"]) == 0
    assert json.loads(capsys.readouterr().out) == {**TOKEN, "Hash": None, "CreateIndex": 0, "ModifyIndex": 0}


def test_objects_are_found_by_name_and_by_the_beginning_of_their_id(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["-name=p1"], ["-id=bb"], [f"-id={'b' * 36}"]):
        assert run(["acl", "policy", "read", *words]) == 0
        assert "Datacenters:  dc1, dc2" in capsys.readouterr().out
    assert run(["acl", "policy", "delete", "-id=bbb"]) == 0
    assert capsys.readouterr().out == f'Policy "{"b" * 36}" deleted successfully\n'
    assert run(["acl", "token", "read", "-accessor-id=aaaa"]) == run(["acl", "token", "read", "-self"]) == 0
    assert run(["acl", "policy", "read", "-id=zz"]) == 1
    assert "No such policy ID with prefix: zz" in capsys.readouterr().err


def test_lists(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["acl", "policy", "list"]) == run(["acl", "role", "list"]) == run(["acl", "token", "list"]) == 0
    shown = capsys.readouterr().out
    assert "p1:\n   ID:" in shown and "      web (Datacenters: all)" in shown and "AccessorID:" in shown


def test_a_login_leaves_a_token_that_only_its_owner_reads(tmp_path: Path) -> None:
    credential, sink = tmp_path / "jwt", tmp_path / "sink"
    credential.write_text("proof\n")
    words = [f"-bearer-token-file={credential}", f"-token-sink-file={sink}", "-meta=host=h1"]
    assert run(["login", "-method=m", *words]) == 0
    assert asked == [("POST /v1/acl/login", {"AuthMethod": "m", "BearerToken": "proof", "Meta": {"host": "h1"}})]
    assert sink.read_text() == "s" * 36 and stat.S_IMODE(os.stat(sink).st_mode) == 0o600
    assert run(["logout", f"-token-file={sink}"]) == 0
    assert sorted(one.name for one in tmp_path.iterdir()) == ["jwt", "sink"]
    credential.write_text("")
    assert run(["login", "-method=m", *words]) == 1


def test_peers(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["peering", "list"]) == run(["peering", "read", "-name=east"]) == 0
    shown = capsys.readouterr().out
    assert "east  PENDING  1              0              env=prod" in shown and "Imported Services: 1" in shown
    assert run(["peering", "generate-token", "-name=w", "-server-external-addresses=1.2.3.4:1,b:2"]) == 0
    assert capsys.readouterr().out == "e30=\n"
    assert asked[-1][1]["ServerExternalAddresses"] == ["1.2.3.4:1", "b:2"]
    assert run(["peering", "establish", "-name=w", "-peering-token=e30="]) == 0
    assert run(["peering", "delete", "-name=east"]) == 0
    assert run(["peering", "read", "-name=none"]) == 1
    assert "ACL not found" in capsys.readouterr().err
