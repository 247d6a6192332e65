"""Which server a client asks, and when it asks again. Decisions only; `agent.client` makes the calls.

The list is shuffled once; its first server is used for everything until a call to it fails, then it moves to the end.
Now and then the list is shuffled anew, so that load spreads over servers that came later.
"""

from collections.abc import Iterable
from random import Random

from model.errors import NO_LEADER, RpcError

REBALANCE_AFTER = 120.0
_ENDS_OF_STREAM = ("EOF", "stream closed", "session shutdown", "stream reset")


class Router:
    """The servers that a client knows, by `ip:port`."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._servers: list[str] = []
        self._rebalance_at = 0.0

    @property
    def servers(self) -> list[str]:
        """All servers, the one in use first."""
        return list(self._servers)

    def update(self, addresses: Iterable[str]) -> None:
        """These are the servers now: those that stay keep their places, new ones enter anywhere behind the first."""
        wanted = set(addresses)
        self._servers = [address for address in self._servers if address in wanted]
        for address in sorted(wanted - set(self._servers)):
            start = 1 if self._servers else 0
            self._servers.insert(self._random.randint(start, len(self._servers)), address)

    def pick(self, now: float) -> str | None:
        """The server to ask; None when none is known."""
        if not self._servers:
            return None
        if now >= self._rebalance_at:
            if self._rebalance_at:
                self._random.shuffle(self._servers)
            self._rebalance_at = now + REBALANCE_AFTER * (1 + self._random.random() / 2)
        return self._servers[0]

    def failed(self, address: str) -> None:
        """A call to this server failed: others come first."""
        if address in self._servers and len(self._servers) > 1:
            self._servers.remove(address)
            self._servers.append(address)


def may_repeat(error: Exception, is_read: bool) -> bool:
    """Whether a failed call may be made again: while there is no leader, and reads whose connection broke."""
    if isinstance(error, RpcError):
        if error.has(NO_LEADER):
            return True
        return is_read and error.text.endswith(_ENDS_OF_STREAM)
    if isinstance(error, ConnectionRefusedError):
        return True  # Nothing was sent.
    return is_read and isinstance(error, ConnectionError)
