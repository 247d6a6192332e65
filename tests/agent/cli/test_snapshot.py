"""`snapshot …`: a file that is whole or not there, and what is in it."""

import io
import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.cli.snapshot import Keys, count_records, readable
from tests.support.process import Agent, dev_agent


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    with dev_agent(tmp_path_factory.mktemp("agent")) as running:
        for key, size in (("app/web/a", 10), ("app/web/b", 2000), ("app/db", 10), ("top", 5)):
            running.json("PUT", f"/v1/kv/{key}", b"x" * size)
        yield running


@pytest.fixture
def saved(agent: Agent, tmp_path: Path) -> Path:
    path = tmp_path / "backup.snap"
    done = agent.cli("snapshot", "save", str(path))
    assert done.returncode == 0 and re.fullmatch(r"Saved and verified snapshot to index \d+\n", done.stdout)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["backup.snap"]
    return path


def test_nobody_else_can_read_it(saved: Path) -> None:
    assert saved.stat().st_mode & 0o777 == 0o600


def test_what_is_in_it(agent: Agent, saved: Path) -> None:
    shown = json.loads(agent.cli("snapshot", "inspect", "-format=json", str(saved)).stdout)
    rows = {row["Name"]: row for row in shown["Stats"]}
    assert rows["KVS"]["Count"] == 4 and rows["KVS"]["Sum"] > 2025
    assert shown["TotalSize"] == sum(row["Sum"] for row in shown["Stats"])
    assert [row["Sum"] for row in shown["Stats"]] == sorted((row["Sum"] for row in shown["Stats"]), reverse=True)
    assert shown["Meta"]["Index"] > 0 and shown["Meta"]["Version"] == 1 and "StatsKV" not in shown


@pytest.mark.parametrize(
    ("words", "groups"),
    [
        ([], {"app/web": 2, "app/db": 1, "top": 1}),
        (["-kvdepth=1"], {"app": 3, "top": 1}),
        (["-kvdepth=3"], {"app/web/a": 1, "app/web/b": 1, "app/db": 1, "top": 1}),
        (["-kvfilter=app/w"], {"app/web": 2}),
        (["-kvfilter=none"], {}),
    ],
)
def test_how_much_room_keys_take(agent: Agent, saved: Path, words: list[str], groups: dict[str, int]) -> None:
    done = agent.cli("snapshot", "inspect", "-kvdetails", *words, "-format=json", str(saved))
    shown = json.loads(done.stdout)
    assert {row["Name"]: row["Count"] for row in shown["StatsKV"]} == groups
    assert shown["TotalSizeKV"] == sum(row["Sum"] for row in shown["StatsKV"])
    table = agent.cli("snapshot", "inspect", "-kvdetails", *words, str(saved)).stdout
    assert table.count(" Total ") == 2
    for name, count in groups.items():
        assert re.search(rf"^ {name} +{count} +\S+B$", table, re.MULTILINE)


def test_the_raw_state_of_a_data_directory(agent: Agent, saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "snapshots" / "2-12-1"
    folder.mkdir(parents=True)
    with tarfile.open(saved) as archive:
        for name in ("state.bin", "meta.json"):
            member = archive.extractfile(name)
            assert member is not None
            (folder / name).write_bytes(member.read())
    raw = agent.cli("snapshot", "inspect", "-kvdetails", str(folder / "state.bin"))
    assert raw.stdout == agent.cli("snapshot", "inspect", "-kvdetails", str(saved)).stdout
    (folder / "meta.json").write_text('{"Index": "x"}')
    broken = agent.cli("snapshot", "inspect", str(folder / "state.bin"))
    assert broken.returncode == 1 and "meta.json does not describe a snapshot" in broken.stderr
    (folder / "meta.json").unlink()
    missing = agent.cli("snapshot", "inspect", str(folder / "state.bin"))
    assert missing.returncode == 1 and "meta.json: no such file" in missing.stderr


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["inspect"], "Missing FILE argument"),
        (["inspect", "a", "b"], "Too many arguments (expected 1, got 2)"),
        (["inspect", "-format=yaml", "a"], 'Invalid format "yaml"'),
        (["inspect", "-kvfilter=a", "a"], "-kvfilter needs -kvdetails"),
        (["inspect", "-kvdetails", "-kvdepth=0", "a"], "-kvdepth must be at least 1"),
        (["inspect", "/nowhere"], "/nowhere: no such file"),
        (["save", "/nowhere/x.snap"], "/nowhere/x.snap.unverified: no such file"),
        (["save", ""], "is not the name of a file"),
        (["restore", "/nowhere"], "/nowhere: no such file"),
        (["restore", __file__], "gzip: invalid header"),
    ],
)
def test_refusals(agent: Agent, words: list[str], reason: str) -> None:
    done = agent.cli("snapshot", *words)
    assert done.returncode == 1 and done.stdout == "" and reason in done.stderr


def test_a_restore_brings_back_what_was_saved(agent: Agent, saved: Path) -> None:
    assert agent.cli("kv", "delete", "top").returncode == 0
    done = agent.cli("snapshot", "restore", str(saved))
    assert (done.returncode, done.stdout) == (0, "Restored snapshot\n")
    agent.until(lambda: agent.request("GET", "/v1/kv/top?raw") == (200, b"xxxxx"))


def test_states_that_are_none() -> None:
    with pytest.raises(ValueError, match="cut short"):
        count_records(io.BytesIO(b"\x80\x00"))
    with pytest.raises(ValueError, match="no record"):
        count_records(io.BytesIO(b"\x80\xc1"))
    with pytest.raises(ValueError, match="no record"):
        count_records(io.BytesIO(b"\x80\x02\x80"), Keys(1, ""))


def test_sizes_for_people() -> None:
    assert [readable(size) for size in (0, 484, 1024, 3175, 1 << 20, 3 << 40)] == [
        "0B", "484B", "1KB", "3.1KB", "1MB", "3TB",
    ]  # fmt: skip
