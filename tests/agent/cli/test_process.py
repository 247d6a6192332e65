"""`lictor` as a process: what it imports, and streams that are closed, full or of another alphabet."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("aiohttp", "asyncio", "cryptography", "http.client", "json", "msgspec", "pyhcl", "socket", "ssl", "uvloop")
ROOT = Path(__file__).parents[3]


def run(command: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """A line of a shell in which $LICTOR is the command."""
    env = {**os.environ, "LICTOR": f"{sys.executable} -m agent.cli.main", "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(["/bin/sh", "-c", command], env=env, capture_output=True, timeout=60, check=False)


@pytest.mark.parametrize("words", [["version"], ["kv", "get", "-h"], ["kv"], ["nosuch"]])
def test_what_asks_no_agent_imports_little(words: list[str]) -> None:
    script = (
        "import sys; sys.argv[1:] = sys.argv[2:]; from agent.cli.main import main; main();"
        f"print(sorted(set(sys.modules) & set({HEAVY!r})), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "lictor", *words], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr.splitlines()[-1] == "[]"


def test_completion_of_commands_imports_little() -> None:
    done = run(
        f"{sys.executable} -X importtime -m agent.cli.main lictor k lictor", COMP_LINE="lictor k", COMP_POINT="8"
    )
    assert done.stdout == b"keygen\nkeyring\nkv\n"
    imported = {line.rpartition(b"|")[2].strip().decode() for line in done.stderr.splitlines()}
    assert not imported & set(HEAVY)


def test_a_full_disk_below_the_output() -> None:
    # The command itself meets the error, or the end of the process does.
    for line in ("$LICTOR keygen > /dev/full", "$LICTOR openapi > /dev/full", "$LICTOR -h > /dev/full"):
        done = run(line)
        assert done.returncode == 1 and done.stderr.count(b"\n") == 1, line
        assert done.stderr.startswith(b"Error") and b"no space left on device" in done.stderr.lower(), line


@pytest.mark.parametrize(
    ("line", "code"),
    [("$LICTOR version >&-", 0), ("$LICTOR nosuch 2>&-", 127), ("$LICTOR kv put -http-addr=127.0.0.1:1 a - <&-", 1)],
)
def test_streams_that_are_closed(line: str, code: int) -> None:
    done = run(line)
    assert done.returncode == code and b"Traceback" not in done.stderr and b"Internal error" not in done.stderr


def test_names_that_are_no_text() -> None:
    done = run("$LICTOR kv get -http-addr=127.0.0.1:1 \"$(printf 'a\\377')\"", LC_ALL="C")
    assert done.returncode == 1 and b'Get "http://127.0.0.1:1/v1/kv/a%FF"' in done.stderr


def test_internal_errors_are_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from agent.cli import misc
    from agent.cli.run import TRACEBACK
    from agent.cli.run import run as run_here

    def broken(flags: object) -> int:
        raise KeyError("gone")

    monkeypatch.setattr(misc, "keygen", broken)
    monkeypatch.delenv(TRACEBACK, raising=False)
    assert run_here(["keygen"]) == 1
    assert capsys.readouterr().err.startswith("Internal error (KeyError: 'gone'; with LICTOR_TRACEBACK=1 ")
    monkeypatch.setenv(TRACEBACK, "1")
    with pytest.raises(KeyError):
        run_here(["keygen"])
