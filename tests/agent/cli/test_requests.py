"""What commands ask the agent, flag by flag, against an API that notes it."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from agent.cli.expose import add
from agent.cli.problem import Problem
from agent.cli.run import run

asked: list[tuple[str, Any]] = []
answers: dict[str, Any] = {}


class Handler(BaseHTTPRequestHandler):
    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        asked.append((f"{self.command} {self.path}", json.loads(body) if body[:1] in (b"{", b"[") else body))
        found = answers.get(f"{self.command} {self.path.partition('?')[0]}", "404")
        raw = b"not here" if found == "404" else json.dumps(found).encode()
        self.send_response(404 if found == "404" else 200)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    do_GET = do_PUT = do_POST = do_DELETE = answer

    def log_message(self, *arguments: object) -> None:
        """Quiet."""


@pytest.fixture(autouse=True)
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    asked.clear()
    answers.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("CONSUL_HTTP_ADDR", f"127.0.0.1:{server.server_address[1]}")
    yield
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("line", "question"),
    [
        ("kv get -stale -datacenter=dc2 a/é", "GET /v1/kv/a/%C3%A9?dc=dc2&stale="),
        ("kv get -keys -separator=- a", "GET /v1/kv/a?keys=&separator=-"),
        ("kv put -cas -modify-index=0 -flags=3 a b", "PUT /v1/kv/a?flags=3&cas=0"),
        ("kv put -release -session=s a", "PUT /v1/kv/a?release=s"),
        ("kv put -acquire -session=s a", "PUT /v1/kv/a?acquire=s"),
        ("kv delete -recurse -namespace=n -partition=p a", "DELETE /v1/kv/a?recurse=&ns=n&partition=p"),
        ("kv delete -cas -modify-index=9 a", "DELETE /v1/kv/a?cas=9"),
        ("join -wan 10.0.0.1", "PUT /v1/agent/join/10.0.0.1?wan=1"),
        ("force-leave -prune -wan n1.dc1", "PUT /v1/agent/force-leave/n1.dc1?prune=&wan=1"),
        ("members -wan", "GET /v1/agent/members?wan=1&segment=_all"),
        (
            "catalog nodes -near=_agent -node-meta=a=b -node-meta=c=d=e -filter=x==y",
            "GET /v1/catalog/nodes?near=_agent&node-meta=a%3Ab&node-meta=c%3Ad%3De&filter=x%3D%3Dy",
        ),
        ("catalog nodes -service=web", "GET /v1/catalog/service/web"),
        ("catalog services -node=n1", "GET /v1/catalog/node/n1"),
        ("catalog services -node-meta=a=b", "GET /v1/catalog/services?node-meta=a%3Ab"),
        ("event -name=x -service=web -tag=a -node=n", "PUT /v1/event/fire/x?node=n&service=web&tag=a"),
        ("maint -enable -service=web -reason=r", "PUT /v1/agent/service/maintenance/web?enable=true&reason=r"),
        ("maint -disable", "PUT /v1/agent/maintenance?enable=false"),
        ("monitor -log-level=debug -log-json", "GET /v1/agent/monitor?loglevel=debug&logjson="),
        ("operator raft remove-peer -id=x", "DELETE /v1/operator/raft/peer?id=x"),
        ("operator raft list-peers -stale", "GET /v1/operator/raft/configuration?stale="),
        ("keyring -list -local-only -relay-factor=3", "GET /v1/operator/keyring?relay-factor=3&local-only=true"),
        ("config read -kind=mesh -name=mesh", "GET /v1/config/mesh/mesh"),
        ("config delete -kind=mesh -name=mesh -cas -modify-index=4", "DELETE /v1/config/mesh/mesh?cas=4"),
        ("intention check default/a b", "GET /v1/connect/intentions/check?source=a&destination=b"),
        ("intention match -source a", "GET /v1/connect/intentions/match?by=source&name=a"),
        ("snapshot save -stale x.snap", "GET /v1/snapshot?stale="),
        ("watch -type=checks -state=warning", "GET /v1/health/state/warning"),
        (
            "watch -type=service -service=w -tag=a -tag=b -passingonly=true",
            "GET /v1/health/service/w?tag=a&tag=b&passing=",
        ),
        ("watch -type=keyprefix -prefix=/a", "GET /v1/kv/a?recurse="),
    ],
)
def test_what_is_asked(line: str, question: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run(line.split())
    assert question in [one for one, _ in asked]


def test_services_from_flags(capsys: pytest.CaptureFixture[str]) -> None:
    answers["PUT /v1/agent/service/register"] = None
    line = "services register -name=web -id=w1 -port=80 -address=10.0.0.1 -tag=a -tag=b -meta=k=v=w"
    addresses = ["-tagged-address=lan=[::1]:80", "-tagged-address=wan=example.com", "-tagged-address=v6=fe80::1"]
    assert run([*line.split(), *addresses]) == 0
    assert asked[-1][1] == {
        "Name": "web", "ID": "w1", "Port": 80, "Address": "10.0.0.1", "Tags": ["a", "b"], "Meta": {"k": "v=w"},
        "TaggedAddresses": {
            "lan": {"Address": "::1", "Port": 80}, "wan": {"Address": "example.com", "Port": 0},
            "v6": {"Address": "fe80::1", "Port": 0},
        },
    }  # fmt: skip
    for wrong in ("lan=", "lan=:80", "lan=a:b", "lan=a:70000"):
        assert run(["services", "register", "-name=web", f"-tagged-address={wrong}"]) == 1
        assert f"-tagged-address={wrong}" in capsys.readouterr().err


def test_intentions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers["POST /v1/connect/intentions"] = {"ID": "i"}
    exact = "/v1/connect/intentions/exact"
    (tmp_path / "one.json").write_text('{"SourceName": "f", "DestinationName": "db", "Description": "why"}')
    assert run(["intention", "create", "-file", str(tmp_path / "one.json")]) == 0
    assert asked == [(
        "POST /v1/connect/intentions",
        {"SourceType": "consul", "Action": "allow", "SourceName": "f", "DestinationName": "db", "Description": "why"},
    )]  # fmt: skip
    # Nothing to replace; then one that has an ID; then one that has none.
    assert run(["intention", "create", "-replace", "-deny", "-meta=a=b", "x", "y"]) == 0
    assert capsys.readouterr().out == "Created: f => db (allow)\nCreated: x => y (deny)\n"
    answers[f"GET {exact}"] = {"ID": "i"}
    answers["PUT /v1/connect/intentions/i"] = {}
    assert run(["intention", "create", "-replace", "-deny", "x", "y"]) == 0
    assert asked[-1][0] == "PUT /v1/connect/intentions/i" and asked[-1][1]["Action"] == "deny"
    answers[f"GET {exact}"] = {}
    answers[f"PUT {exact}"] = True
    assert run(["intention", "create", "-replace", "-deny", "x", "y"]) == 0
    assert asked[-1] == (f"PUT {exact}?source=x&destination=y", {"Action": "deny"})
    assert capsys.readouterr().out == ""
    for text in ("[]", '{"SourceName": "a"}', "{"):
        (tmp_path / "bad.json").write_text(text)
        assert run(["intention", "create", "-file", str(tmp_path / "bad.json")]) == 1
        assert "bad.json" in capsys.readouterr().err


def test_a_service_is_put_behind_a_gateway() -> None:
    entry: dict[str, Any] = {"Kind": "ingress-gateway", "Name": "edge"}
    assert not add(entry, 80, "tcp", "db", [])
    assert not add(entry, 81, "http", "web", ["a.example"])
    assert not add(entry, 81, "http", "api", ["b.example"])
    assert add(entry, 81, "http", "web", ["c.example"])
    assert entry["Listeners"] == [
        {"Port": 80, "Protocol": "tcp", "Services": [{"Name": "db"}]},
        {"Port": 81, "Protocol": "http", "Services": [
            {"Name": "web", "Hosts": ["c.example"]}, {"Name": "api", "Hosts": ["b.example"]},
        ]},
    ]  # fmt: skip
    with pytest.raises(Problem, match="port 80 is conflicting"):
        add(entry, 80, "http", "web", [])


def test_a_gateway_is_not_overwritten(capsys: pytest.CaptureFixture[str]) -> None:
    answers["GET /v1/config/ingress-gateway/edge"] = {
        "Kind": "ingress-gateway", "Name": "edge", "Listeners": [], "CreateIndex": 5, "ModifyIndex": 7,
    }  # fmt: skip
    answers["PUT /v1/config"] = False
    words = ["connect", "expose", "-service=web", "-ingress-gateway=edge", "-port=80"]
    assert run(words) == 1
    assert "changed meanwhile" in capsys.readouterr().err
    question, body = asked[-1]
    assert question == "PUT /v1/config?cas=7" and body["Listeners"][0]["Services"] == [{"Name": "web"}]
    assert "ModifyIndex" not in body
    answers["PUT /v1/config"] = True
    answers["GET /v1/connect/intentions/exact"] = {"Action": "allow"}
    assert run(words) == 0
    assert 'Intention already exists for "edge" -> "web"' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ("{}", "must be a list"),
        ("[1]", "entry 0 is no object"),
        ('[{"key": "a"}, {"key": ""}]', "entry 1: key must be"),
        ('[{"key": "a", "flags": -1}]', "entry 0 (a): flags must be"),
        ('[{"key": "a", "flags": true}]', "entry 0 (a): flags must be"),
        ('[{"key": "a", "value": 1}]', "entry 0 (a): value must be"),
        ('[{"key": "a", "value": "!!"}]', "entry 0 (a): value is no base64"),
        ("[" * 100_000, "Cannot unmarshal data"),
        (" ", "Cannot unmarshal data: EOF"),
        ("bogus", "Cannot unmarshal data: invalid character 'b' looking for beginning of value"),
    ],
)
def test_an_import_is_checked_before_it_begins(document: str, reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["kv", "import", document]) == 1
    assert reason in capsys.readouterr().err and asked == []


def test_keys_are_listed_byte_for_byte(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    answers["GET /v1/kv/"] = [{"Key": "é", "Value": "/w==", "Flags": 0}, {"Key": "empty", "Value": None, "Flags": 0}]
    assert run(["kv", "get", "-recurse"]) == 0
    assert capfdbinary.readouterr().out == "é:".encode() + b"\xff\nempty:\n"
    assert run(["kv", "get", "-recurse", "-base64"]) == 0
    assert capfdbinary.readouterr().out == "é:/w==\nempty:\n".encode()
