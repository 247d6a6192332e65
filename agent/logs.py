"""Log lines in Consul's manner: time, level, part, text."""

import json
import logging
import sys
import time
from pathlib import Path

_LEVELS = {5: "TRACE", 10: "DEBUG", 20: "INFO", 30: "WARN", 40: "ERROR", 50: "ERROR"}
LEVELS = {"TRACE": 5, "DEBUG": 10, "INFO": 20, "WARN": 30, "WARNING": 30, "ERR": 40, "ERROR": 40}


def _clock(record: logging.LogRecord) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"


class Lines(logging.Formatter):
    """`2026-11-24T08:00:00.000Z [INFO]  agent.server: text`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line (and a traceback, if there is one)."""
        level = f"[{_LEVELS.get(record.levelno, record.levelname)}]"
        name = record.name.removeprefix("lictor.")
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return f"{_clock(record)} {level:<7} {name if name.startswith('agent') else 'agent.' + name}: {text}"


class Json(logging.Formatter):
    """One JSON object on each line."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        level = _LEVELS.get(record.levelno, record.levelname).lower()
        body = {
            "@timestamp": _clock(record),
            "@level": level,
            "@module": record.name.removeprefix("lictor."),
            "@message": record.getMessage(),
        }
        return json.dumps(body)


def set_up(level: str, as_json: bool = False, file: str = "") -> None:
    """Log to standard output, and to a file if one is named. Raises ValueError for an unknown level."""
    if level.upper() not in LEVELS:
        raise ValueError(f"Invalid log level: {level}. Valid log levels are: TRACE, DEBUG, INFO, WARN, ERROR")
    formatter = Json() if as_json else Lines()
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stdout)]
    if file:
        path = Path(file)
        if file.endswith("/") or path.is_dir():
            path = path / "lictor.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(path))
    root = logging.getLogger("lictor")
    root.handlers.clear()
    root.propagate = False
    root.setLevel(LEVELS[level.upper()])
    for handler in handlers:
        handler.setFormatter(formatter)
        root.addHandler(handler)
