"""A token bucket: so many a second, and so many at once after a rest. The clock is handed in."""


class TokenBucket:
    """`rate` tokens a second flow in, `burst` at most are held; times are seconds of one clock."""

    def __init__(self, rate: float, burst: int, now: float) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._tokens = float(burst)
        self._at = now

    def _fill(self, now: float) -> None:
        self._tokens = min(self._burst, self._tokens + max(0.0, now - self._at) * self._rate)
        self._at = now

    def take(self, now: float) -> bool:
        """Take a token if there is one."""
        self._fill(now)
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def wait(self, now: float) -> float:
        """Take a token, a future one if need be; returns the seconds until it is there."""
        self._fill(now)
        self._tokens -= 1.0
        return max(0.0, -self._tokens / self._rate)
