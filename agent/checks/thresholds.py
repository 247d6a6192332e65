"""How many results of one kind in a row change a check's status. Pure.

The counters start at their thresholds, so that the first result of a new check counts at once.
"""

PASSING, WARNING, CRITICAL = "passing", "warning", "critical"


class Thresholds:
    """`passing`, `warning`, `critical`: further results that are needed before the status changes."""

    def __init__(self, passing: int, warning: int, critical: int) -> None:
        self._passing = passing
        self._warning = warning
        self._critical = critical
        self._successes = passing
        self._failures = max(warning, critical)

    def status_for(self, result: str, present: str) -> str:
        """The status after a result."""
        if result in (PASSING, WARNING):
            self._successes += 1
            self._failures = 0
            return result if self._successes > self._passing else present
        self._failures += 1
        self._successes = 0
        if self._failures > self._critical:
            return CRITICAL
        if self._failures > self._warning:
            return WARNING
        return present
