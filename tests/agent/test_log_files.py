"""Log files that are rotated, and syslog."""

import logging
import socket
from pathlib import Path

import pytest

from agent import log_files
from agent.config.settings import LogFile
from agent.log_files import RotatingFile, Syslog, handlers_of


def _write(handler: logging.Handler, text: str) -> None:
    handler.handle(logging.LogRecord("lictor.x", logging.INFO, "", 0, text, None, None))


@pytest.mark.parametrize(
    ("path", "begin", "end"),
    [("app.log", "app-", ".log"), ("app", "app-", ".log"), ("app.txt", "app-", ".txt"), ("deep/", "consul-", ".log")],
)
def test_names_have_the_time_in_them(tmp_path: Path, path: str, begin: str, end: str) -> None:
    handler = RotatingFile(LogFile(path=f"{tmp_path}/{path}"))
    _write(handler, "hello")
    handler.close()
    (found,) = [one for one in tmp_path.rglob("*") if one.is_file()]
    assert found.name.startswith(begin) and found.name.endswith(end)
    assert found.name[len(begin) : -len(end)].isdigit()
    assert found.read_text() == "hello\n"


@pytest.mark.parametrize(("keep", "left"), [(0, 5), (2, 3), (-1, 1)])
def test_a_full_file_is_followed_by_another_and_old_ones_go(tmp_path: Path, keep: int, left: int) -> None:
    stranger = tmp_path / "app-notes.log"
    stranger.write_text("not ours")
    handler = RotatingFile(LogFile(path=f"{tmp_path}/app.log", rotate_bytes=10, max_files=keep))
    for number in range(5):
        _write(handler, f"line {number}")
    handler.close()
    found = sorted(path for path in tmp_path.glob("app-*.log") if path != stranger)
    assert [path.read_text() for path in found] == [f"line {number}\n" for number in range(5)][-left:]
    assert stranger.exists()


def test_an_old_file_is_followed_by_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(log_files.time, "monotonic", lambda: now[0])
    handler = RotatingFile(LogFile(path=f"{tmp_path}/app.log", rotate_seconds=60.0))
    for text in ("a", "b"):
        _write(handler, text)
    now[0] += 61.0
    _write(handler, "c")
    handler.close()
    assert sorted(path.read_text() for path in tmp_path.glob("*.log")) == ["a\nb\n", "c\n"]


def test_syslog_gets_lines_with_facility_and_level(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(path)
        daemon.settimeout(60)
        monkeypatch.setattr(log_files, "_SYSLOG_PATHS", (path,))
        (handler,) = handlers_of(LogFile(syslog_facility="LOCAL3"))
        _write(handler, "hello")
        said = daemon.recv(1000)
        handler.close()
    assert said.startswith(b"<%d>consul[" % (19 * 8 + 6)) and b"]: hello" in said


def test_without_syslog_the_reason_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(log_files, "_SYSLOG_PATHS", (str(tmp_path / "none"),))
    with pytest.raises(OSError, match="Syslog setup error"):
        Syslog("LOCAL0")
