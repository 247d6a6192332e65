"""Where log lines go besides standard output: files that are rotated by size and age, and syslog."""

import logging
import logging.handlers
import os
import socket
import time
from pathlib import Path

from agent.config.settings import LogFile

_SYSLOG_PATHS = ("/dev/log", "/var/run/syslog")


class RotatingFile(logging.Handler):
    """A file `NAME-TIME.EXTENSION`; a new one is begun when it is full or old, and the oldest are removed."""

    def __init__(self, where: LogFile) -> None:
        """Open the first file. Raises OSError."""
        super().__init__()
        folder, name = os.path.split(where.path)
        self._folder = Path(folder or ".")
        if not name and not folder:
            raise ValueError("log_file: the name is empty")
        if not name or Path(where.path).is_dir():
            self._folder, name = Path(where.path), "consul-"
        stem, extension = os.path.splitext(name)
        self._stem = stem if stem.endswith("-") else f"{stem}-"
        self._extension = extension or ".log"
        self._where = where
        self._folder.mkdir(parents=True, exist_ok=True)
        self._begin()

    def _begin(self) -> None:
        self.path = self._folder / f"{self._stem}{time.time_ns()}{self._extension}"
        self._file = open(self.path, "a", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115 (closed by close)
        self._written = 0
        self._opened = time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line; called by the logger, from any thread, one at a time."""
        try:
            line = self.format(record) + "\n"
            size = len(line.encode("utf-8", "backslashreplace"))
            limit = self._where.rotate_bytes
            full = bool(limit) and self._written > 0 and self._written + size > limit
            if full or time.monotonic() - self._opened >= self._where.rotate_seconds:
                self._rotate()
            self._file.write(line)
            self._file.flush()
            self._written += size
        except Exception:
            self.handleError(record)

    def _rotate(self) -> None:
        self._file.close()
        self._begin()
        keep = self._where.max_files
        if keep == 0:
            return
        named = self._folder.glob(f"{_literal(self._stem)}*{_literal(self._extension)}")
        older = sorted(path for path in named if path != self.path and self._is_ours(path))
        for path in older[: len(older) - max(keep, 0)]:
            path.unlink(missing_ok=True)

    def _is_ours(self, path: Path) -> bool:
        return path.name[len(self._stem) : len(path.name) - len(self._extension)].isdigit()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


def _literal(text: str) -> str:
    return "".join(f"[{sign}]" if sign in "*?[" else sign for sign in text)


class Syslog(logging.handlers.SysLogHandler):
    """Lines to the local syslog, as `consul[PID]: text`."""

    def __init__(self, facility: str) -> None:
        """Connect. Raises OSError when the machine has no syslog."""
        path = next((one for one in _SYSLOG_PATHS if Path(one).exists()), None)
        if path is None:
            raise OSError(f"Syslog setup error: there is no syslog at {' or '.join(_SYSLOG_PATHS)}")
        super().__init__(path, self.facility_names[facility.lower()], socket.SOCK_DGRAM)
        self.ident = f"consul[{os.getpid()}]: "

    def mapPriority(self, levelName: str) -> str:
        """Syslog's name of a level."""
        return {"CRITICAL": "crit", "ERROR": "err", "WARNING": "warning", "INFO": "info"}.get(levelName, "debug")


def handlers_of(where: LogFile) -> list[logging.Handler]:
    """The handlers besides standard output. Raises OSError."""
    found: list[logging.Handler] = []
    if where.path:
        found.append(RotatingFile(where))
    if where.syslog_facility:
        found.append(Syslog(where.syslog_facility))
    return found
