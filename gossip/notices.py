"""What operators should read about strangers at the door, without letting strangers fill the log."""

from collections.abc import Callable

from gossip.interface import Notice

QUIET = 30.0
"""Seconds for which a notice about the same is not repeated."""
MAX_SUBJECTS = 64


class Notices:
    """Passes notices on to `warn`, each subject once in a while, and few subjects at a time."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._said: dict[str, float] = {}

    def say(self, notice: Notice, now: float) -> None:
        """Pass a notice on, unless its subject was on lately or there are too many."""
        for subject, when in list(self._said.items()):
            if now - when >= QUIET:
                del self._said[subject]
        if notice.about not in self._said and len(self._said) < MAX_SUBJECTS:
            self._said[notice.about] = now
            self._warn(f"memberlist: {notice.text}")
