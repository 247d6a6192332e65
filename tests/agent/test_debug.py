"""`debug`: what is in the bundle, ends early with all it has, refuses before it begins."""

import json
import signal
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.cli import debug
from agent.cli.run import run
from tests.support.process import Agent, dev_agent


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    with dev_agent(tmp_path_factory.mktemp("agent")) as running:
        yield running


def contents(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as file:
        members = [member for member in file.getmembers() if member.isfile()]
        return {Path(member.name).name: file.extractfile(member).read() for member in members}  # type: ignore[union-attr]


def test_a_bundle_holds_everything_and_can_be_made_again(
    agent: Agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(debug, "MIN_DURATION", 0)
    monkeypatch.setattr(debug, "MIN_INTERVAL", 0)
    address = f"-http-addr=127.0.0.1:{agent.ports['http']}"
    words = ["debug", address, "-duration=3s", "-interval=200ms", f"-output={tmp_path}/bundle"]
    assert run(words) == run(words) == 0
    assert f"Saved debug archive: {tmp_path}/bundle.tar.gz" in capsys.readouterr().out
    found = contents(tmp_path / "bundle.tar.gz")
    assert set(found) == {"index.json", "agent.json", "host.json", "members.json", "metrics.json", "consul.log"}
    assert json.loads(found["agent.json"])["Config"]["NodeName"] == "node1"
    assert len([json.loads(line) for line in found["metrics.json"].splitlines()]) > 1
    assert json.loads(found["index.json"])["Targets"] == ["agent", "host", "logs", "members", "metrics"]
    assert [one.name for one in tmp_path.iterdir()] == ["bundle.tar.gz"]
    one = ["debug", address, "-duration=200ms", "-interval=100ms", "-archive=false", "-capture=host", "-capture=pprof"]
    assert run([*one, f"-output={tmp_path}/folder"]) == 0
    assert {file.name for file in (tmp_path / "folder").iterdir()} == {"index.json", "host.json"}
    assert "pprof" in capsys.readouterr().out
    assert run([*one, f"-output={tmp_path}/folder"]) == 1
    assert run([*one, f"-output={tmp_path}/no/such/folder"]) == 1


def test_told_to_stop_it_saves_what_it_has(agent: Agent, tmp_path: Path) -> None:
    with agent.running("debug", "-duration=10m", f"-output={tmp_path}/early") as one:
        agent.until(lambda: list(tmp_path.glob(".early-*/early/metrics.json")))
        one.send_signal(signal.SIGINT)
        assert one.wait(60) == 0
    assert "agent.json" in contents(tmp_path / "early.tar.gz")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("-duration=1s",), "at least 10s"),
        (("-interval=1s",), "at least 5s"),
        (("-duration=10s", "-interval=20s"), "must not be longer"),
        (("-capture=everything",), "invalid target for -capture: everything"),
        (("somewhere",), "Too many arguments"),
        (("-http-addr=127.0.0.1:1",), "connection refused"),
    ],
)
def test_refusals(agent: Agent, tmp_path: Path, words: tuple[str, ...], reason: str) -> None:
    refused = agent.cli("debug", f"-output={tmp_path}/none", *words)
    assert refused.returncode == 1 and reason in refused.stderr and not list(tmp_path.iterdir())
