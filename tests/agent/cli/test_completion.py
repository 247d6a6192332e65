"""What is offered at Tab: by the table of commands, by the agent, and in real shells."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.cli import completion
from agent.cli.completion import split
from agent.cli.run import run
from agent.cli.shells import SCRIPTS
from tests.support.process import Agent, dev_agent

HOSTILE = "app/t wo;$(touch owned)"


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    with dev_agent(tmp_path_factory.mktemp("agent")) as running:
        for key in ("app/one", "app/sub/x", HOSTILE, "app/new\nline"):
            running.json("PUT", "/v1/txn", [{"KV": {"Verb": "set", "Key": key, "Value": "MQ=="}}])
        assert running.cli("services", "register", "-name=web", "-id=web-1").returncode == 0
        assert running.cli("event", "-name=deploy").returncode == 0
        (running.folder / "web.hcl").write_text('Kind = "service-defaults"\nName = "web"\n')
        assert running.cli("config", "write", str(running.folder / "web.hcl")).returncode == 0
        running.until(lambda: running.json("GET", "/v1/catalog/service/web"))
        yield running


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes longer than a user would wait is offered all the same: the machine may be busy."""
    monkeypatch.setattr(completion, "PATIENCE", 60)


def offered(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: str, *words: str) -> list[str]:
    monkeypatch.setenv("COMP_LINE", line)
    monkeypatch.setenv("COMP_POINT", str(len(os.fsencode(line))))
    assert completion.answer(list(words)) == 0
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("lictor k", ["keygen", "keyring", "kv"]),
        ("lictor kv e", ["export"]),
        ("lictor operator raft l", ["list-peers"]),
        ("lictor -", ["-help", "-version"]),
        ("lictor kv nosuch ", []),
        ("lictor kv get -k", ["-keys"]),
        ("lictor kv get --dat", ["--datacenter"]),
        ("lictor kv get -keys=", ["-keys=false", "-keys=true"]),
        ("lictor config read -kind service-d", ["service-defaults"]),
        ("lictor config read -kind=mes", ["-kind=mesh"]),
        ("lictor acl set-agent-token a", ["agent"]),
        ("lictor version -format j", ["json"]),
        ("lictor agent -bootstrap", ["-bootstrap", "-bootstrap-expect"]),
        ("lictor kv get one -k", []),
        ("lict", []),
    ],
)
def test_what_the_table_knows(
    line: str, expected: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CONSUL_HTTP_ADDR", "127.0.0.1:1")
    assert offered(monkeypatch, capsys, line) == expected


def test_what_the_agent_knows(
    agent: Agent, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CONSUL_HTTP_ADDR", "127.0.0.1:1")
    where = f"-http-addr=127.0.0.1:{agent.ports['http']}"
    for line, expected in (
        (f"lictor kv get {where} a", ["app/"]),
        (f"lictor kv get {where} app/o", ["app/one"]),
        (f"lictor kv delete {where} app/s", ["app/sub/"]),
        (f"lictor catalog nodes {where} -service=w", ["-service=web"]),
        (f"lictor services deregister {where} -id=", ["-id=web-1"]),
        (f"lictor force-leave {where} ", ["node1"]),
        (f"lictor rtt {where} node1 n", ["node1"]),
        (f"lictor kv get {where} -datacenter ", ["dc1"]),
        (f"lictor watch {where} -type=event -name=d", ["-name=deploy"]),
        (f"lictor config delete {where} -kind=service-defaults -name=", ["-name=web"]),
        ("lictor force-leave ", []),  # Nobody answers at the environment's address.
    ):
        assert offered(monkeypatch, capsys, line) == expected, line


def test_names_are_escaped_for_the_shell(
    agent: Agent, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CONSUL_HTTP_ADDR", f"127.0.0.1:{agent.ports['http']}")
    found = offered(monkeypatch, capsys, "lictor kv get app/")
    assert r"app/t\ wo\;\$\(touch\ owned\)" in found and "app/one" in found
    assert not any("new" in one or one == "line" for one in found)
    monkeypatch.setenv(completion.ESCAPES, "1")
    assert HOSTILE in offered(monkeypatch, capsys, "lictor kv get app/")


def test_only_what_the_shell_replaces_is_offered(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = "lictor config read -kind=service-d"
    assert offered(monkeypatch, capsys, line, "lictor", "service-d", "=") == ["service-defaults"]
    assert offered(monkeypatch, capsys, "lictor version -format=", "lictor", "", "=") == ["json", "pretty"]


def test_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "web.hcl").touch()
    (tmp_path / "work dir").mkdir()
    monkeypatch.chdir(tmp_path)
    assert offered(monkeypatch, capsys, "lictor validate w") == ["web.hcl", r"work\ dir/"]
    assert offered(monkeypatch, capsys, "lictor kv put a @we") == ["@web.hcl"]
    assert offered(monkeypatch, capsys, f"lictor services register {tmp_path}/we") == [f"{tmp_path}/web.hcl"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("lictor kv  get", ["lictor", "kv", "get"]),
        ("lictor kv ", ["lictor", "kv", ""]),
        ('lictor put "a b', ["lictor", "put", "a b"]),
        ("lictor put 'a b' ", ["lictor", "put", "a b", ""]),
        (r"lictor a\ b", ["lictor", "a b"]),
        ("", [""]),
    ],
)
def test_lines_become_words(line: str, words: list[str]) -> None:
    assert split(line) == words


def test_each_shell_has_its_script(capsys: pytest.CaptureFixture[str]) -> None:
    for shell, script in SCRIPTS.items():
        assert run(["completion", shell]) == 0
        assert capsys.readouterr().out == script
    assert run(["completion"]) == run(["completion", "tcsh"]) == 1
    assert "bash, zsh, fish" in capsys.readouterr().err


# Real shells


@pytest.fixture
def shell_environment(agent: Agent, tmp_path: Path) -> dict[str, str]:
    """An environment in which `lictor` is a command."""
    folder = tmp_path / "bin"
    folder.mkdir()
    command = folder / "lictor"
    program = folder / "program.py"
    imports = ("import sys", "from agent.cli import completion, main")
    program.write_text("\n".join((*imports, "completion.PATIENCE = 60", "sys.exit(main.main())")))
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{program}" "$@"\n')
    command.chmod(0o755)
    return {
        **os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "PYTHONPATH": os.getcwd(), "HOME": str(tmp_path),
        "CONSUL_HTTP_ADDR": f"127.0.0.1:{agent.ports['http']}",
    }  # fmt: skip


def shell(name: str, script: str, environment: dict[str, str]) -> str:
    program = shutil.which(name)
    if program is None:
        pytest.skip(f"{name} is not installed")
    plain = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[name]
    done = subprocess.run(
        [program, *plain, "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


def test_in_bash(shell_environment: dict[str, str]) -> None:
    script = """
source <(lictor completion bash)
at() { COMP_LINE=$1; COMP_POINT=${#1}; _lictor lictor "$2" "$3" 2>/dev/null; printf '<%s>' "${COMPREPLY[@]}"; echo; }
at 'lictor kv e' e kv
at 'lictor kv get app/o' app/o get
at 'lictor kv get app/t' app/t get
at 'lictor config read -kind=mes' mes =
complete -p lictor
"""
    lines = shell("bash", script, shell_environment).splitlines()
    assert lines == [
        "<export>", "<app/one>", r"<app/t\ wo\;\$\(touch\ owned\)>", "<mesh>", "complete -F _lictor lictor",
    ]  # fmt: skip


def test_in_fish(shell_environment: dict[str, str]) -> None:
    script = 'lictor completion fish | source; complete -C "lictor kv e"; complete -C "lictor kv get app/o"'
    assert shell("fish", script, shell_environment).split() == ["export", "app/one"]


def test_in_zsh(shell_environment: dict[str, str]) -> None:
    script = r"""
zmodload zsh/zpty
zpty inner zsh -f -i
zpty -w inner 'PS1="ready> "; source <(lictor completion zsh)'
zpty -w inner 'print sou''rced'
zpty -r inner out '*sourced*'
zpty -w -n inner $'lictor kv get app/o\t'
zpty -r inner out '*app/one*'
print -r -- "$out" | grep -o 'app/one' | head -1
zpty -d inner
"""
    assert shell("zsh", script, shell_environment).strip() == "app/one"


def test_install_and_uninstall(shell_environment: dict[str, str], tmp_path: Path) -> None:
    def lictor(*words: str) -> subprocess.CompletedProcess[str]:
        env = {**shell_environment, "XDG_CONFIG_HOME": str(tmp_path / "config")}
        program = str(tmp_path / "bin" / "lictor")
        return subprocess.run([program, *words], env=env, capture_output=True, text=True, timeout=60, check=False)

    nothing = lictor("-autocomplete-install")
    assert nothing.returncode == 1 and "no .bashrc" in nothing.stderr
    (tmp_path / ".bashrc").write_text("alias ll='ls -l'")
    (tmp_path / ".zshrc").write_text("")
    (tmp_path / "config" / "fish").mkdir(parents=True)
    assert lictor("-autocomplete-install").returncode == 0
    first, line = (tmp_path / ".bashrc").read_text().splitlines()
    assert first == "alias ll='ls -l'" and line.startswith("complete -C ") and line.endswith(" lictor")
    assert "bashcompinit" in (tmp_path / ".zshrc").read_text()
    fish = tmp_path / "config" / "fish" / "completions" / "lictor.fish"
    assert fish.read_text() == SCRIPTS["fish"]
    again = lictor("-autocomplete-install")
    assert again.returncode == 1 and "already installed" in again.stderr
    extra = lictor("-autocomplete-install", "x")
    assert extra.returncode == 1 and "'x'" in extra.stderr
    assert lictor("-autocomplete-uninstall").returncode == 0
    assert (tmp_path / ".bashrc").read_text() == "alias ll='ls -l'\n" and not fish.exists()
    assert lictor("-autocomplete-uninstall").returncode == 1
