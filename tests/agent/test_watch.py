"""`watch`: what each type asks, and handlers that run on every change and only then."""

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.watch_types import WrongWatch, next_index, question
from tests.support.process import Agent, dev_agent


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    with dev_agent(tmp_path_factory.mktemp("agent")) as running:
        yield running


@pytest.mark.parametrize(
    ("kind", "given", "path", "params"),
    [
        ("key", {"key": "/a/b"}, "/v1/kv/a/b", {}),
        ("keyprefix", {"prefix": "a/"}, "/v1/kv/a/", {"recurse": True}),
        ("services", {}, "/v1/catalog/services", {}),
        ("nodes", {}, "/v1/catalog/nodes", {}),
        ("service", {"service": "web", "tag": ["a"]}, "/v1/health/service/web", {"tag": ["a"], "passing": False}),
        ("service", {"service": "web", "passingonly": "T"}, "/v1/health/service/web", {"tag": [], "passing": True}),
        ("checks", {}, "/v1/health/state/any", {}),
        ("checks", {"state": "critical"}, "/v1/health/state/critical", {}),
        ("checks", {"service": "web"}, "/v1/health/checks/web", {}),
        ("event", {"name": "deploy"}, "/v1/event/list", {"name": "deploy"}),
    ],
)
def test_what_each_type_asks(kind: str, given: dict[str, object], path: str, params: dict[str, object]) -> None:
    assert question(kind, given)[:2] == (path, params)


@pytest.mark.parametrize(
    ("kind", "given", "reason"),
    [
        ("", {}, "type must be specified"),
        ("connect_roots", {}, "Unsupported watch type: connect_roots"),
        ("key", {}, "a single key"),
        ("key", {"key": "a", "prefix": "b", "name": "c"}, r"Invalid parameters: \[name prefix\]"),
        ("service", {}, "a single service"),
        ("service", {"service": "a", "passingonly": "x"}, "passingonly"),
        ("checks", {"service": "a", "state": "any"}, "service and state"),
    ],
)
def test_watches_that_cannot_be(kind: str, given: dict[str, object], reason: str) -> None:
    with pytest.raises(WrongWatch, match=reason):
        question(kind, given)


def test_an_index_that_goes_back_begins_anew() -> None:
    assert (next_index(7, 9, True), next_index(9, 7, True), next_index(9, 7, False)) == (9, 0, 7)


def test_without_a_command_the_view_is_shown_once(agent: Agent) -> None:
    agent.json("PUT", "/v1/kv/once", b"x")
    shown = json.loads(agent.cli("watch", "-type=key", "-key=once").stdout)
    assert (shown["Key"], shown["Value"], shown["Session"]) == ("once", "eA==", "")
    refused = agent.cli("watch", "-type=nodes", "-datacenter=nowhere")
    assert refused.returncode == 1 and "No path to datacenter" in refused.stderr


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def test_a_handler_runs_on_every_change_of_what_is_watched(agent: Agent, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    with agent.running(
        "watch", "-type=keyprefix", "-prefix=w/", f"cat >> {seen}; echo $CONSUL_INDEX >> {seen}.i"
    ) as one:
        agent.until(lambda: lines(seen) == ["null"])
        agent.json("PUT", "/v1/kv/elsewhere", b"x")
        agent.json("PUT", "/v1/kv/w/a", b"1")
        agent.until(lambda: len(lines(seen)) == 2)
        agent.json("PUT", "/v1/kv/w/a", b"2")
        agent.until(lambda: len(lines(seen)) == 3)
        agent.json("DELETE", "/v1/kv/w/?recurse")
        agent.until(lambda: len(lines(seen)) == 4)
        one.send_signal(signal.SIGINT)
        assert one.wait(60) == 0
    shown = [json.loads(line) for line in lines(seen)]
    assert [row and row[0]["Value"] for row in shown] == [None, "MQ==", "Mg==", None]
    indexes = [int(line) for line in lines(tmp_path / "seen.i")]
    assert indexes == sorted(set(indexes))


def test_services_checks_and_events_wake_their_handlers(agent: Agent, tmp_path: Path) -> None:
    seen = {kind: tmp_path / kind for kind in ("service", "checks", "event")}
    words = {
        "service": ("-type=service", "-service=watched", "-passingonly=true"),
        "checks": ("-type=checks", "-state=critical"),
        "event": ("-type=event", "-name=deploy"),
    }
    with (
        agent.running("watch", *words["service"], f"cat >> {seen['service']}"),
        agent.running("watch", *words["checks"], f"cat >> {seen['checks']}"),
        agent.running("watch", *words["event"], f"cat >> {seen['event']}"),
    ):
        for path in seen.values():
            agent.until(lambda path=path: lines(path))  # type: ignore[misc]
        definition = {"Name": "watched", "Port": 1, "Check": {"TTL": "1h", "Status": "passing"}}
        agent.json("PUT", "/v1/agent/service/register", definition)
        agent.until(lambda: "watched" in lines(seen["service"])[-1])
        agent.json("PUT", "/v1/agent/check/fail/service:watched")
        agent.until(lambda: lines(seen["service"])[-1] == "[]")
        agent.until(lambda: "service:watched" in lines(seen["checks"])[-1])
        assert agent.cli("event", "-name=deploy", "now").returncode == 0
        agent.until(lambda: "deploy" in lines(seen["event"])[-1])
    check = json.loads(lines(seen["checks"])[-1])[0]
    assert check["Definition"]["Interval"] == "0s" and "Timeout" not in check


def test_words_after_the_flags_are_the_command(agent: Agent, tmp_path: Path) -> None:
    quoted = tmp_path / "a $HOME"
    with agent.running("watch", "-type=nodes", "-shell=false", "cp", "--", "/dev/stdin", str(quoted)) as one:
        agent.until(quoted.exists)
        one.terminate()
        assert one.wait(60) == 0


@pytest.mark.parametrize(
    ("words", "reason"),
    [(("exit 3",), "exit status 3"), (("-shell=false", "/nowhere/command"), "no such file")],
)
def test_a_handler_that_fails_ends_the_watch(agent: Agent, words: tuple[str, ...], reason: str) -> None:
    ended: subprocess.CompletedProcess[str] = agent.cli("watch", "-type=nodes", *words)
    assert ended.returncode == 1 and "Error executing handler" in ended.stderr and reason in ended.stderr
