"""`exec`: jobs are understood or refused, output comes in bounded pieces, and nothing is left behind."""

import asyncio
import base64
import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import remote_exec
from agent.remote_exec import BadJob, Job, RemoteExec, chunks, parse_announcement, parse_job
from model.errors import RpcError
from model.structs.kv import DirEntry, IndexedDirEntries
from tests.support.process import Agent, dev_agent


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    with dev_agent(tmp_path_factory.mktemp("agent"), disable_remote_exec=False) as running:
        yield running


@pytest.mark.parametrize(
    ("body", "job"),
    [
        ({"Command": "uptime", "Args": None, "Wait": 5}, Job(["/bin/sh", "-c", "uptime"])),
        ({"Command": "", "Args": ["ls", "-l"]}, Job(["ls", "-l"])),
        ({"Script": base64.b64encode(b"echo 1\n").decode()}, Job([], b"echo 1\n")),
    ],
)
def test_jobs(body: dict[str, Any], job: Job) -> None:
    assert parse_job(json.dumps(body).encode()) == job


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"{}", b'{"Args": "ls"}', b'{"Args": [1]}', b'{"Script": "?"}', b'{"Command": "a\\u0000b"}']
)
def test_jobs_that_make_no_sense(raw: bytes) -> None:
    with pytest.raises(BadJob):
        parse_job(raw)


@given(st.binary(max_size=80))
def test_hostile_events_and_jobs_are_only_refused(raw: bytes) -> None:
    for parse in (parse_job, parse_announcement):
        try:
            parse(raw)
        except BadJob:
            continue


async def collected(*pieces: bytes) -> list[bytes]:
    source = asyncio.StreamReader(limit=1 << 22)
    for piece in pieces:
        source.feed_data(piece)
    source.feed_eof()
    return [chunk async for chunk in chunks(source)]


async def test_output_comes_in_pieces_and_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await collected() == []
    assert await collected(b"hello\n") == [b"hello\n"]
    assert b"".join(await collected(b"x" * 10_000)) == b"x" * 10_000
    monkeypatch.setattr(remote_exec, "MAX_OUTPUT", 10_000)
    pieces = await collected(b"x" * 50_000)
    assert b"".join(pieces) == b"x" * 10_000 + b"\n(further output was dropped)\n"
    assert all(len(piece) < 2 * remote_exec.CHUNK for piece in pieces)


async def test_a_silent_command_shows_that_it_still_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_exec, "HEARTBEAT", 0.01)
    source = asyncio.StreamReader()
    stream = chunks(source)
    assert await anext(stream) == b""
    source.feed_data(b"late")
    source.feed_eof()
    assert [chunk async for chunk in stream if chunk] == [b"late"]


class Cluster:
    """A KV store of one job; its session ends after some answers."""

    def __init__(self, job: dict[str, Any], answers: int = 100) -> None:
        self.job = json.dumps(job).encode()
        self.answers = answers
        self.kept: dict[str, bytes] = {}

    async def call(self, method: str, args: Any) -> Any:
        if method == "KVS.Get":
            return IndexedDirEntries(entries=[DirEntry(key=args.key, value=self.job)])
        if len(self.kept) >= self.answers:
            raise RpcError("invalid session")
        self.kept[args.dir_ent.key] = args.dir_ent.value or b""
        return True


async def test_the_answers_of_a_node() -> None:
    cluster = Cluster({"Script": base64.b64encode(b"echo $0 | grep -c lictor\nexit 4\n").decode()})
    await RemoteExec(cluster.call, "n1", "dc1").handle(b'{"Prefix": "p", "Session": "s"}')
    assert cluster.kept == {"p/s/n1/ack": b"", "p/s/n1/out/00000": b"1\n", "p/s/n1/exit": b"4"}


async def test_a_command_whose_caller_is_gone_runs_to_its_end(tmp_path: Any) -> None:
    done = tmp_path / "done"
    cluster = Cluster({"Command": f"echo first; touch {done}"}, answers=1)
    await RemoteExec(cluster.call, "n1", "dc1").handle(b'{"Prefix": "p", "Session": "s"}')
    assert list(cluster.kept) == ["p/s/n1/ack"] and done.exists()


def tidy(agent: Agent) -> bool:
    return agent.request("GET", "/v1/kv/_rexec?keys")[0] == 404 and agent.json("GET", "/v1/session/list") == []


def test_a_command_runs_on_the_nodes_and_leaves_nothing_behind(agent: Agent) -> None:
    done = agent.cli("exec", "-wait=4s", "-verbose", "echo one; echo two >&2; exit 3")
    assert done.returncode == 2, done.stderr
    lines = done.stdout.splitlines()
    for line in ("==> node1: acknowledged", "    node1: one", "    node1: two", "==> node1: finished with exit code 3"):
        assert line in lines
    assert "1 / 1 node(s) completed / acknowledged" in lines and tidy(agent)
    assert not [event for event in agent.json("GET", "/v1/event/list") if event["Name"] == "_rexec"]


def test_words_and_scripts(agent: Agent) -> None:
    done = agent.cli("exec", "-wait=4s", "-shell=false", "echo", "-n", "a  b", "$HOME")
    assert done.returncode == 0 and "    node1: a  b $HOME\n" in done.stdout
    command, env = agent.command("exec", "-wait=4s", "-")
    script = subprocess.run(
        command, env=env, input=b"for i in 1 2; do\n echo n$i\ndone\n", capture_output=True, timeout=60, check=False
    )
    assert script.returncode == 0 and b"    node1: n1\n    node1: n2\n" in script.stdout


def test_only_the_nodes_that_are_meant(agent: Agent) -> None:
    done = agent.cli("exec", "-wait=500ms", "-node=^other$", "true")
    assert (done.returncode, done.stdout) == (0, "0 / 0 node(s) completed / acknowledged\n")
    for words, reason in (
        ((), "Must specify a command"),
        (("-service=(", "true"), "service filter regexp"),
        (("-tag=a", "true"), "without a service filter"),
    ):
        refused = agent.cli("exec", *words)
        assert refused.returncode == 1 and reason in refused.stderr


def test_an_agent_that_does_not_allow_it_runs_nothing(tmp_path: Any) -> None:
    with dev_agent(tmp_path) as closed:
        done = closed.cli("exec", "-wait=500ms", f"touch {tmp_path}/ran")
        assert (done.returncode, done.stdout) == (0, "0 / 0 node(s) completed / acknowledged\n")
        closed.until(lambda: "ignoring a remote command" in closed.log.read_text())
        assert not (tmp_path / "ran").exists() and tidy(closed)
