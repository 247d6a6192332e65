"""`lock`: one at a time, or as many as there are slots; a lock that is lost ends its command."""

import contextlib
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.process import Agent, dev_agent


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    with dev_agent(tmp_path_factory.mktemp("agent")) as running:
        yield running


def most_at_once(log: Path) -> int:
    """How many were inside at the same time, by the order of `in` and `out` lines."""
    inside = most = 0
    for line in log.read_text().split():
        inside += 1 if line == "in" else -1
        most = max(most, inside)
    return most


@pytest.mark.parametrize(("slots", "number"), [(1, 3), (2, 4)])
def test_no_more_than_allowed_are_inside(agent: Agent, tmp_path: Path, slots: int, number: int) -> None:
    log = tmp_path / "log"
    work = f"echo in >> {log}; test $CONSUL_LOCK_HELD = true && sleep 0.3; echo out >> {log}"
    with contextlib.ExitStack() as stack:
        words = ("lock", f"-n={slots}", f"exclusive/{slots}", work)
        running = [stack.enter_context(agent.running(*words)) for _ in range(number)]
        for one in running:
            assert one.wait(60) == 0
    assert log.read_text().split().count("out") == number
    assert most_at_once(log) <= slots
    assert agent.request("GET", "/v1/kv/exclusive/?keys")[0] == 404
    assert agent.json("GET", "/v1/session/list") == []


def held(agent: Agent, key: str) -> str:
    """The session that holds a lock."""
    return str(agent.json("GET", f"/v1/kv/{key}/.lock")[0]["Session"])


def test_who_waits_too_long_gives_up(agent: Agent) -> None:
    with agent.running("lock", "busy", "sleep 60") as holder:
        agent.until(lambda: held(agent, "busy"))
        refused = agent.cli("lock", "-try=300ms", "busy", "echo never")
        assert (refused.returncode, refused.stdout) == (1, "") and "not to be had" in refused.stderr
        holder.send_signal(signal.SIGTERM)
        assert holder.wait(60) == 0
    assert agent.request("GET", "/v1/kv/busy/.lock")[0] == 404


def test_a_lost_lock_ends_the_command(agent: Agent, tmp_path: Path) -> None:
    began, ended = tmp_path / "began", tmp_path / "ended"
    work = f"trap 'echo yes > {ended}; exit 0' TERM; touch {began}; while :; do sleep 0.1; done"
    with agent.running("lock", "lost", work) as one:
        agent.until(began.exists)
        agent.json("PUT", f"/v1/session/destroy/{held(agent, 'lost')}")
        assert one.wait(60) == 1
        assert one.stderr is not None and "Lock lost" in one.stderr.read()
    assert ended.read_text() == "yes\n"


@pytest.mark.parametrize(("words", "seen"), [(("-pass-stdin",), b"hello"), ((), b"")])
def test_the_command_gets_our_input_only_when_asked(agent: Agent, words: tuple[str, ...], seen: bytes) -> None:
    command, env = agent.command("lock", *words, "input", "cat")
    done = subprocess.run(command, env=env, input=b"hello", capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, seen)


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (("only-a-prefix",), 1, "must be specified"),
        (("-n=0", "a", "true"), 1, "at least 1"),
        (("-try=0s", "a", "true"), 1, "-try"),
        (("-try=soon", "a", "true"), 1, "invalid duration"),
        (("a", "exit 3"), 0, "exit status 3"),
        (("-child-exit-code", "a", "exit 3"), 2, "exit status 3"),
        (("-child-exit-code", "-shell=false", "a", "/nowhere/command"), 2, "no such file"),
    ],
)
def test_exit_codes(agent: Agent, words: tuple[str, ...], code: int, reason: str) -> None:
    done = agent.cli("lock", *words)
    assert done.returncode == code and reason in done.stderr


def test_a_lock_is_not_taken_from_something_else(agent: Agent) -> None:
    agent.json("PUT", "/v1/kv/data/.lock", b"mine")
    refused = agent.cli("lock", "data", "true")
    assert refused.returncode == 1 and "does not match lock use" in refused.stderr
    assert agent.request("GET", "/v1/kv/data/.lock?raw") == (200, b"mine")
