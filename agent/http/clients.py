"""How many connections each client has, how long it may take, and what it hears when it has too many.

Only numbers and texts; `front` and `server` act on them.
"""

from collections import Counter
from typing import NamedTuple

MAX_CONNECTIONS_PER_CLIENT = 200


class Times(NamedTuple):
    """Seconds in which a client must have done something, or its connection ends.

    `head` and `body` are for a whole head and body, `write` is how long a client may take nothing of an answer, `idle`
    how long it may say nothing between requests, `half_closed` how long a read of a client that will send no more may
    still take (it may only have closed its sending side; or it may be gone), `refused` how long one that is told to go
    may take to do so.
    """

    head: float = 10.0
    body: float = 30.0
    write: float = 60.0
    idle: float = 75.0
    half_closed: float = 1.0
    refused: float = 1.0


class Clients:
    """The open connections of each client address. `limit` may change at any time; 0 is none."""

    def __init__(self, limit: int = MAX_CONNECTIONS_PER_CLIENT) -> None:
        self.limit = limit
        self._open: Counter[str] = Counter()

    def came(self, address: str) -> bool:
        """Count a connection; says whether it is within the limit. Who has no address (unix) is not counted."""
        if not address:
            return True
        self._open[address] += 1
        return self.within(address)

    def within(self, address: str) -> bool:
        """Whether a client has no more connections than it may."""
        return not (self.limit and address) or self._open[address] <= self.limit

    def went(self, address: str) -> None:
        """A connection that was counted has ended."""
        if address:
            self._open[address] -= 1
            if self._open[address] <= 0:
                del self._open[address]

    def count(self, address: str) -> int:
        """How many connections a client has."""
        return self._open[address]

    def flooded(self, address: str) -> bool:
        """Whether a client has so many connections that not even telling it so is worth the effort."""
        return bool(self.limit and address) and self._open[address] > 2 * self.limit


def refusal(status: int, text: str) -> bytes:
    """A whole answer that ends its connection."""
    body = text.encode()
    reason = {408: "Request Timeout", 429: "Too Many Requests", 431: "Request Header Fields Too Large"}[status]
    top = f"HTTP/1.1 {status} {reason}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}"
    return f"{top}\r\nConnection: close\r\n\r\n".encode() + body


TOO_MANY = refusal(429, "Your IP is issuing too many concurrent connections, please rate limit your calls\n")
TOO_LARGE = refusal(431, "431 Request Header Fields Too Large")
TOO_SLOW = refusal(408, "408 Request Timeout: the head of the request did not come in time")


def accepts_gzip(header: str) -> bool:
    """Whether an Accept-Encoding header allows gzip."""
    for part in header.lower().split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        if name in ("gzip", "x-gzip", "*"):
            weights = [one[2:].strip() for one in parameters if one.startswith("q=")]
            if not weights or weights[0].strip("0.") != "":
                return True
            if name != "*":
                return False
    return False
