"""Commands that others run for us: `watch` hands them JSON, `lock` keeps them while it holds the lock."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

LAST_WORDS = 5.0
"""Seconds for a child to end by itself once we are told to stop."""


class Stopped(BaseException):
    """The user told us to stop; like KeyboardInterrupt, no handler of errors swallows it."""


@contextmanager
def told_to_stop(notice: Callable[[int], None] | None = None) -> Iterator[None]:
    """Within the block SIGINT and SIGTERM raise Stopped; or call `notice` with their number."""

    def on_signal(number: int, frame: FrameType | None) -> None:
        if notice is not None:
            notice(number)
        else:
            raise Stopped

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def start(
    words: list[str], shell: bool, extra: Mapping[str, str], stdin: int | None = None
) -> subprocess.Popen[bytes]:
    """Start a command: its words as one line of a shell, or as they are. Raises OSError when it is not there."""
    command = ["/bin/sh", "-c", " ".join(words)] if shell else words
    return subprocess.Popen(command, stdin=stdin, env={**os.environ, **extra})


def feed(words: list[str], shell: bool, extra: Mapping[str, str], data: bytes) -> int:
    """Run a command to its end with `data` on its standard input; returns its exit code.

    When we are told to stop meanwhile, it gets a moment to finish. Raises OSError, Stopped.
    """
    process = start(words, shell, extra, subprocess.PIPE)
    try:
        process.communicate(data)
    except Stopped:
        try:
            process.wait(LAST_WORDS)
        except subprocess.TimeoutExpired:
            process.terminate()
        raise
    return process.returncode
