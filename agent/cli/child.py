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


def command_of(words: list[str], shell: bool) -> list[str]:
    """What to execute: the words as one line of the user's shell, or as they are."""
    return [os.environ.get("SHELL") or "/bin/sh", "-c", " ".join(words)] if shell else words


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Our own environment and more."""
    return {**os.environ, **extra}


def feed(words: list[str], shell: bool, extra: Mapping[str, str], data: bytes) -> int:
    """Run a command to its end with `data` on its standard input; returns its exit code.

    When we are told to stop meanwhile, it gets a moment to finish. Raises OSError, Stopped.
    """
    process = subprocess.Popen(command_of(words, shell), stdin=subprocess.PIPE, env=environment(extra))
    try:
        process.communicate(data)
    except Stopped:
        try:
            process.wait(LAST_WORDS)
        except subprocess.TimeoutExpired:
            process.terminate()
        raise
    return process.returncode
