"""Log lines in Consul's manner: time, level, part, text; and subscriptions to them, with a level of their own.

What others sent may be part of a line, so a line stays one line, is bounded, and can always be written. Exceptions that
nothing in the code expects are "internal errors": they say so, and are counted.
"""

import asyncio
import contextlib
import json
import logging
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator

from agent.config.settings import LogFile
from agent.log_files import handlers_of

_LEVELS = {5: "TRACE", 10: "DEBUG", 20: "INFO", 30: "WARN", 40: "ERROR", 50: "ERROR"}
LEVELS = {"TRACE": 5, "DEBUG": 10, "INFO": 20, "WARN": 30, "WARNING": 30, "ERR": 40, "ERROR": 40}


MAX_TEXT = 8 << 10
"""Characters of a line that are shown."""
_ONE_LINE = {number: f"\\x{number:02x}" for number in (*range(32), *range(127, 160), 0x2028, 0x2029) if number != 9}


def _text(record: logging.LogRecord) -> str:
    """The text of a record without line breaks and what else could play tricks on a terminal."""
    text = record.getMessage().translate(_ONE_LINE).encode("utf-8", "backslashreplace").decode("utf-8")
    if len(text) > MAX_TEXT:
        text = f"{text[:MAX_TEXT]}... ({len(text) - MAX_TEXT} more characters)"
    if left_out := getattr(record, "left_out", 0):
        text += f" ({left_out} more like this were left out)"
    return f"internal error: {text}" if record.exc_info else text


class InternalErrors(logging.Filter):
    """Counts the records that carry an exception; those are of the kind that should never happen."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Let everything through."""
        if record.exc_info:
            self.count += 1
        return True


class Floods(logging.Filter):
    """Leaves out what is said too often, so that nobody can fill the disk: so many records of one kind in a while.

    A kind is the text before its arguments are filled in. The first record of the next while says how many were left
    out.
    """

    def __init__(self, most: int = 1000, seconds: float = 10.0, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._most = most
        self._seconds = seconds
        self._clock = clock
        self._since = 0.0
        self._counts: Counter[tuple[str, str]] = Counter()
        self._left_out: Counter[tuple[str, str]] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is to be written."""
        now = self._clock()
        if now - self._since >= self._seconds:
            self._since = now
            self._left_out = Counter({key: count - self._most for key, count in self._counts.items()})
            self._counts.clear()
        key = (record.name, str(record.msg))
        self._counts[key] += 1
        left_out = self._left_out.pop(key, 0)
        if left_out > 0:
            record.left_out = left_out
        return self._counts[key] <= self._most


internal_errors = InternalErrors()
"""Of this process, since it began."""


def _clock(record: logging.LogRecord) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"


class Lines(logging.Formatter):
    """`2026-11-24T08:00:00.000Z [INFO]  agent.server: text`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line (and a traceback, if there is one)."""
        level = f"[{_LEVELS.get(record.levelno, record.levelname)}]"
        name = record.name.removeprefix("lictor.")
        text = _text(record)
        if record.exc_info:
            trace = self.formatException(record.exc_info)[-MAX_TEXT:]
            text += "\n" + trace.encode("utf-8", "backslashreplace").decode("utf-8")
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
            "@message": _text(record),
        }
        if record.exc_info:
            body["stacktrace"] = self.formatException(record.exc_info)[-MAX_TEXT:]
        return json.dumps(body)


def set_up(level: str, as_json: bool = False, where: LogFile = LogFile()) -> None:
    """Log to standard output, and to the files and syslog that are named.

    Raises ValueError for an unknown level, OSError for what cannot be opened.
    """
    if level.upper() not in LEVELS:
        raise ValueError(f"Invalid log level: {level}. Valid log levels are: TRACE, DEBUG, INFO, WARN, ERROR")
    formatter = Json() if as_json else Lines()
    handlers = [logging.StreamHandler(sys.stdout), *handlers_of(where)]
    root = logging.getLogger("lictor")
    loop = logging.getLogger("asyncio")  # Says what tasks died of that nobody waited for.
    for logger in (root, loop):
        logger.handlers.clear()
        logger.propagate = False
    for handler in handlers:
        handler.setFormatter(formatter)
        root.addHandler(handler)
        loop.addHandler(handler)
    # At the first handler only: a filter at a logger does not see what loggers below it say.
    handlers[0].addFilter(internal_errors)
    for handler in handlers:
        handler.addFilter(Floods())
    set_level(level)


def set_level(level: str) -> None:
    """Log from a level on. Raises KeyError for an unknown one."""
    root = logging.getLogger("lictor")
    for handler in root.handlers:
        if not isinstance(handler, Subscription):
            handler.setLevel(LEVELS[level.upper()])
    _let_through(root)


def _let_through(root: logging.Logger) -> None:
    """The logger passes what any of its handlers wants; each of them then takes its own."""
    root.setLevel(min((handler.level for handler in root.handlers), default=logging.INFO))


class Subscription(logging.Handler):
    """The lines of a level and above, kept for one reader; what it does not fetch in time is dropped and counted."""

    def __init__(self, level: str, as_json: bool, capacity: int = 512) -> None:
        super().__init__(LEVELS[level.upper()])
        self.setFormatter(Json() if as_json else Lines())
        self._lines: deque[str] = deque()
        self._capacity = capacity
        self._dropped = 0
        self._loop = asyncio.get_running_loop()
        self._arrived = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        """Called by the logger, from any thread."""
        try:
            line = self.format(record)
        except Exception:
            self.handleError(record)
            return
        with contextlib.suppress(RuntimeError):  # The loop is closed: nobody reads any more.
            self._loop.call_soon_threadsafe(self._keep, line)

    def _keep(self, line: str) -> None:
        if len(self._lines) < self._capacity:
            self._lines.append(line)
        else:
            self._dropped += 1
        self._arrived.set()

    async def lines(self, seconds: float) -> list[str]:
        """What has arrived; waits for at most so long for something, and says how many lines were dropped."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._arrived.wait()
        self._arrived.clear()
        found = list(self._lines)
        self._lines.clear()
        if self._dropped:
            found.append(f"... {self._dropped} lines were dropped, because they were not read in time")
            self._dropped = 0
        return found


@contextlib.contextmanager
def subscribed(level: str, as_json: bool) -> Iterator[Subscription]:
    """A subscription for as long as the block runs. Raises KeyError for an unknown level."""
    root = logging.getLogger("lictor")
    subscription = Subscription(level, as_json)
    root.addHandler(subscription)
    _let_through(root)
    try:
        yield subscription
    finally:
        root.removeHandler(subscription)
        _let_through(root)
