"""consul-template writes files from what lictor knows, and writes them anew when that changes."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.clients.fetch import fetch, run
from tests.support.process import Agent, dev_agent
from tests.support.tools import need_program

PROGRAM = Path(__file__).with_name("consul_template")
MODULE = "github.com/hashicorp/consul-template"
TEMPLATE = """\
key={{ key "app/limit" }} default={{ keyOrDefault "app/none" "7" }} exists={{ keyExists "app/limit" }}
{{ range ls "app/flags" }}flag {{ .Key }}={{ .Value }}
{{ end }}{{ range tree "app" }}tree {{ .Key }}
{{ end }}{{ range service "web" -}}
web {{ .ID }} {{ .Address }}:{{ .Port }} {{ .Tags | join "," }} {{ .ServiceMeta.team }}
{{ end }}{{ range service "v2.web|any" }}any {{ .ID }} {{ .Status }}
{{ end }}{{ range services }}service {{ .Name }}
{{ end }}{{ range nodes }}node {{ .Node }}
{{ end }}{{ with node }}here {{ .Node.Node }}
{{ end }}{{ range datacenters }}dc {{ . }}
{{ end }}{{ range caRoots }}root {{ .Active }}
{{ end }}"""
DEDUPLICATED = """{{ range service "web" }}{{ .ID }} {{ end }}"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """consul-template, built from its module."""
    go = need_program("go")
    fixed = {"GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly -buildvcs=false", "CGO_ENABLED": "0"}
    fetch((go, "list", "-deps", MODULE), PROGRAM, **fixed)
    binary = tmp_path_factory.mktemp("built") / "consul-template"
    built = run([go, "build", "-o", binary, MODULE], PROGRAM, fixed, 500)
    assert built.returncode == 0, built.stdout[-3000:]
    return binary


def stop(process: subprocess.Popen[bytes]) -> None:
    """End consul-template by the signal that it ends by."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def register(agent: Agent, identity: str, port: int, tags: list[str]) -> None:
    """Register an instance of `web` that is well."""
    check = {"CheckID": identity, "TTL": "1h", "Status": "passing"}
    body = {"ID": identity, "Name": "web", "Port": port, "Address": "127.0.0.1", "Tags": tags, "Check": check}
    agent.json("PUT", "/v1/agent/service/register", {**body, "Meta": {"team": "green"}})


@pytest.mark.slow
@pytest.mark.timeout(1000)
def test_files_follow_what_changes(tmp_path: Path, program: Path) -> None:
    with dev_agent(tmp_path / "agent") as agent:
        for key, value in (("limit", b"10"), ("flags/a", b"on"), ("flags/b", b"off"), ("deep/er/c", b"")):
            agent.json("PUT", f"/v1/kv/app/{key}", value)
        register(agent, "web-1", 81, ["v1", "x"])
        register(agent, "web-2", 82, ["v2"])
        agent.until(lambda: len(agent.json("GET", "/v1/health/service/web?passing")) == 2)
        source, target = tmp_path / "in.tpl", tmp_path / "out.txt"
        source.write_text(TEMPLATE)
        config = {
            "consul": {"address": f"127.0.0.1:{agent.ports['http']}"},
            "wait": {"min": "0s", "max": "1s"},
            "template": [{"source": str(source), "destination": str(target)}],
        }
        file, log = tmp_path / "config.json", tmp_path / "log.txt"
        file.write_text(json.dumps(config))
        with log.open("wb") as output:
            process = subprocess.Popen([program, f"-config={file}"], stdout=output, stderr=subprocess.STDOUT)

        def until(*lines: str, without: str = "\0") -> None:
            deadline = time.monotonic() + 60
            text = ""
            while time.monotonic() < deadline and process.poll() is None:
                text = target.read_text() if target.exists() else ""
                if set(lines) <= set(text.splitlines()) and without not in text:
                    return
                time.sleep(0.1)
            raise AssertionError(f"waited for {lines} without {without!r}:\n{text}\n{log.read_text()[-3000:]}")

        try:
            until("key=10 default=7 exists=true", "flag a=on", "flag b=off", "tree flags/a", "tree deep/er/c")
            until("web web-1 127.0.0.1:81 v1,x green", "web web-2 127.0.0.1:82 v2 green", "any web-2 passing")
            until("service web", "service consul", "node node1", "here node1", "dc dc1", "root true")
            agent.json("PUT", "/v1/kv/app/limit", b"11")
            agent.json("DELETE", "/v1/kv/app/flags/b")
            until("key=11 default=7 exists=true", without="flag b=")
            agent.json("PUT", "/v1/agent/check/fail/web-2")
            until("any web-2 critical", without="web web-2 127")
            agent.json("PUT", "/v1/kv/app/none", b"8")
            agent.json("PUT", "/v1/agent/service/deregister/web-1")
            until("key=11 default=8 exists=true", without="web web-1")
            register(agent, "web-3", 83, ["v3"])
            until("web web-3 127.0.0.1:83 v3 green")
        finally:
            stop(process)


@pytest.mark.slow
@pytest.mark.timeout(1000)
def test_many_of_them_share_one_reader(tmp_path: Path, program: Path) -> None:
    """With `deduplicate` the one that holds a lock in the key-value store reads, and the others take its results."""
    with dev_agent(tmp_path / "agent") as agent:
        register(agent, "web-1", 81, [])
        source = tmp_path / "in.tpl"
        source.write_text(DEDUPLICATED)
        processes, targets = [], []
        try:
            for number in range(2):
                targets.append(tmp_path / f"out{number}.txt")
                config = {
                    "consul": {"address": f"127.0.0.1:{agent.ports['http']}"},
                    "deduplicate": {"enabled": True},
                    "template": [{"source": str(source), "destination": str(targets[-1])}],
                }
                file = tmp_path / f"config{number}.json"
                file.write_text(json.dumps(config))
                with (tmp_path / f"log{number}.txt").open("wb") as output:
                    processes.append(subprocess.Popen([program, f"-config={file}"], stdout=output, stderr=output))
            agent.until(lambda: all(target.read_text() == "web-1 " for target in targets))

            def shared() -> bool:
                (row,) = agent.json("GET", "/v1/kv/consul-template/dedup/?recurse")
                sessions = {one["ID"] for one in agent.json("GET", "/v1/session/list")}
                return row["Key"].endswith("/data") and row["Session"] in sessions and len(sessions) == 2

            agent.until(shared)
            register(agent, "web-2", 82, [])
            agent.until(lambda: all(target.read_text() == "web-1 web-2 " for target in targets), 60)
        finally:
            for process in processes:
                stop(process)
