"""`-h` of everything, and docs/cli.md, which is made from the same words."""

import importlib
import re
from pathlib import Path

import pytest

from agent.cli import reference
from agent.cli.help import of_command
from agent.cli.run import find, run
from agent.cli.tables import COMMANDS, GROUPS, subcommands

DOCUMENT = Path(__file__).parents[3] / "docs" / "cli.md"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = COMMANDS[name]
    texts = set()
    for word in ("-h", "--help", "-help"):
        assert run([*name.split(), word]) == 0
        texts.add(capsys.readouterr().out)
    (shown,) = texts
    assert shown.startswith(f"Usage: lictor {name}")
    for flag in command.flags + command.shared:
        assert re.search(rf"^  -{flag.name}(=<\S+>)?$", shown, re.MULTILINE), flag.name
        assert len(flag.help) > 10 and flag.help.endswith("."), flag.name
    if not command.raw:
        assert ("HTTP API Options" in shown) == bool(command.http)
    assert callable(getattr(importlib.import_module(f"agent.cli.{command.module}"), command.function))
    assert all(len(line) <= 80 or line.startswith("      ") for line in shown.splitlines()), shown
    names = [flag.name for flag in command.flags + command.shared]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", sorted(GROUPS))
def test_every_group_lists_its_subcommands(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*name.split(), "-h"]) == 0
    asked = capsys.readouterr()
    assert run(name.split()) == run([*name.split(), "nonsense"]) == 1
    refused = capsys.readouterr()
    assert refused.out == "" and asked.out in refused.err
    assert subcommands(name)
    for sub, summary in subcommands(name).items():
        assert re.search(rf"^    {re.escape(sub)} +{re.escape(summary)}$", asked.out, re.MULTILINE)


def test_every_subcommand_has_a_group() -> None:
    for name in COMMANDS:
        words = name.split()
        assert all(" ".join(words[:length]) in GROUPS for length in range(1, len(words))), name


def test_alone_it_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["help"], ["nosuch"], ["license"], ["namespace", "list"]):
        assert run(words) == 127
        shown = capsys.readouterr()
        assert shown.out == "" and "Available commands are:" in shown.err and "\n    kv " in shown.err
    for words in (["-h"], ["--help"]):
        assert run(words) == 0
        assert "Available commands are:" in capsys.readouterr().out
    for words in (["-v"], ["--version"], ["-version"]):
        assert run(words) == 0
        assert capsys.readouterr().out.startswith("Consul v1.14")


def test_defaults_are_told() -> None:
    shown = of_command("kv get", COMMANDS["kv get"])
    assert 'The default is "/".' in shown and "The default is false." in shown
    assert "The default is 2m0s." in of_command("debug", COMMANDS["debug"])
    assert "May be given several times." in " ".join(of_command("event", COMMANDS["services register"]).split())


def test_wrong_words_show_the_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["members", "-datacenter=dc1"]) == 1
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.startswith(
        "flag provided but not defined: -datacenter\n\nUsage: lictor members"
    )


def test_the_enterprise_command_is_named_as_such(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["snapshot", "agent"]) == 1
    assert "Consul Enterprise" in capsys.readouterr().err


def test_the_longest_name_wins() -> None:
    assert find(["operator", "raft", "list-peers", "x"]) == ("operator raft list-peers", ["x"])
    assert find(["operator", "raft", "x"]) == ("operator raft", ["x"])
    assert find(["x"]) == ("", ["x"])


def test_the_document_is_up_to_date() -> None:
    assert DOCUMENT.read_text() == reference.rendered(), "run: python -m agent.cli.reference > docs/cli.md"
