"""Whatever the words are, a command ends with an exit code and a text, never with a traceback."""

import io
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.cli import completion
from agent.cli.run import TRACEBACK, run
from agent.cli.tables import COMMANDS, GROUPS
from tests.support.process import Agent, dev_agent, free_ports

CASES = int(os.environ.get("LICTOR_WORDS", "1500"))
"""How many command lines are tried in this process."""
OUTSIDE = ("agent", "connect proxy", "debug", "demo", "exec", "lock", "monitor", "watch")
"""Commands that go on, or run what the words name: tried in processes of their own."""
# fmt: off
WORDS = (
    "", "-", "--", "---", "-=", "=", "a", "a/b", "/a", "é", "\udcff\udc80", "*", "../..", "%00", "%zz", "a b", "a\nb",
    "[", "{", "[]", "null", "[1]", '[{"key":1}]', '[{"key":"a","flags":-1}]', "(", "9" * 30,
    "-1", "0x", "1h", "true", "k=v",
    "@missing", "@file", "@.", "file", ".", "x" * 5000, "127.0.0.1:1", "http://[", "unix://", "\u202e", "json",
    "pretty",
    "state.bin", "00000000-0000-0000-0000-000000000000", "[" * 3000,
)
# fmt: on


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    with dev_agent(tmp_path_factory.mktemp("agent")) as running:
        yield running


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b'{"a": [\xff')
    (tmp_path / "state.bin").write_bytes(b"\xff\xfe")
    (tmp_path / "meta.json").write_text("[]")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(TRACEBACK, "1")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"[\xff")))
    for name in ("stdout", "stderr"):
        stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="surrogateescape")
        monkeypatch.setattr(sys, name, stream)


def words_for(name: str, random_: random.Random) -> list[str]:
    """A command, some of its flags with values that mostly do not fit, and arguments."""
    command = COMMANDS.get(name)
    words = name.split()
    flags = [flag for flag in command.flags + command.shared if flag.name != "http-addr"] if command else []
    for flag in random_.sample(flags, min(len(flags), random_.choice((0, 0, 1, 1, 2, 4)))):
        value = random_.choice((*WORDS, str(flag.default)))
        words += random_.choice(([f"-{flag.name}={value}"], [f"--{flag.name}", value], [f"-{flag.name}"]))
    return words + random_.choices(WORDS, k=random_.choice((0, 0, 1, 1, 1, 2, 3)))


@pytest.mark.parametrize("reachable", [True, False])
def test_no_words_break_a_command(agent: Agent, reachable: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    port = agent.ports["http"] if reachable else free_ports(1)[0]
    monkeypatch.setenv("CONSUL_HTTP_ADDR", f"127.0.0.1:{port}")
    names = [
        name for name in (*COMMANDS, *GROUPS, "nosuch", "-autocomplete-install") if name not in (*OUTSIDE, "leave")
    ]
    for case in range(CASES):
        words = words_for(names[case % len(names)], random.Random(case))
        try:
            code = run(words)
        except Exception as error:
            raise AssertionError(f"case {case}: lictor {words!r}") from error
        assert code in (0, 1, 2, 127), words


def test_no_line_breaks_completion(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSUL_HTTP_ADDR", f"127.0.0.1:{agent.ports['http']}")
    names = [*COMMANDS, *GROUPS, "nosuch"]
    for case in range(CASES // 2):
        random_ = random.Random(case)
        words = words_for(names[case % len(names)], random_)
        line = "lictor " + " ".join(words)
        line = line[: random_.randrange(len(line) + 1)] + random_.choice(("", " ", '"', "'", "\\", "="))
        monkeypatch.setenv("COMP_LINE", line)
        monkeypatch.setenv("COMP_POINT", random_.choice(("", "x", "3", "99999", str(len(line)))))
        try:
            assert completion.answer(random_.choice(([], ["lictor", words[-1], ""]))) == 0
        except Exception as error:
            raise AssertionError(f"case {case}: {line!r}") from error


@pytest.mark.parametrize("name", OUTSIDE)
def test_no_words_break_a_command_that_goes_on(agent: Agent, name: str, tmp_path: Path) -> None:
    env = {
        **os.environ,
        "CONSUL_HTTP_ADDR": f"127.0.0.1:{agent.ports['http']}",
        "PATH": "/nowhere",
        "SHELL": "/nowhere",
    }
    env["PYTHONPATH"] = os.pathsep.join(sys.path)
    for case in range(4):
        words = words_for(name, random.Random(case))
        if name in ("agent", "demo"):
            words.append(WORDS[case])  # Neither takes arguments: it must not begin to run.
        command = [sys.executable, "-m", "agent.cli.main", *words]
        with subprocess.Popen(
            command, env=env, cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            try:
                _, told = process.communicate(timeout=3)
            except subprocess.TimeoutExpired:
                process.terminate()
                _, told = process.communicate(timeout=60)
        assert b"Traceback" not in told and b"Internal error" not in told, (words, told[-2000:])
