"""What all kinds of checks share: results, time limits, what is kept of an output, whom a TLS connection believes."""

import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from agent.authorities import AuthorityError, trust
from model.durations import SECOND
from model.structs.catalog import CheckType

Result = tuple[str, str]
"""A status and an output."""
DEFAULT_TIMEOUT = 10.0
OUTPUT_LIMIT = 4096
"""Bytes of an output that are kept unless the agent or the check says otherwise."""


@dataclass(frozen=True)
class AgentTls:
    """The agent's own certificate and authorities, for checks of services that ask for a client's certificate."""

    ca_file: str = ""
    ca_path: str = ""
    cert_file: str = ""
    key_file: str = ""
    server_name: str = ""


@dataclass
class Tools:
    """What probes are given: `limit` bytes of output to keep at most, and the agent's TLS where checks may use it."""

    limit: int = OUTPUT_LIMIT
    tls: AgentTls | None = None
    _contexts: dict[tuple[bool, str], ssl.SSLContext] = field(default_factory=dict)

    def limit_of(self, check: CheckType) -> int:
        """Bytes of output that a check may keep: its own limit, but never more than the agent's."""
        return min(check.output_max_size or self.limit, self.limit)

    def server_name(self, check: CheckType, host: str) -> str:
        """The name that a server's certificate must have."""
        return check.tls_server_name or (self.tls.server_name if self.tls else "") or host

    def tls_context(self, check: CheckType, protocol: str = "") -> ssl.SSLContext:
        """What a check believes of a certificate, and shows of its own; `protocol` is offered by ALPN.

        Raises OSError when a file cannot be read.
        """
        key = (check.tls_skip_verify, protocol)
        context = self._contexts.get(key)
        if context is None:
            context = self._contexts[key] = self._make(*key)
        return context

    def _make(self, skip_verify: bool, protocol: str) -> ssl.SSLContext:
        own = self.tls or AgentTls()
        if own.ca_file or own.ca_path:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            try:
                trust(context, own.ca_file, own.ca_path)
            except AuthorityError as error:
                raise OSError(f"{error.key}: {error}") from None
        else:
            context = ssl.create_default_context()
        if skip_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if own.cert_file:
            context.load_cert_chain(own.cert_file, own.key_file or None)
        if protocol:
            context.set_alpn_protocols([protocol])
        return context


Probe = Callable[[CheckType, Tools], Awaitable[Result]]
"""Runs a check once."""


def timeout_of(check: CheckType, default: float = DEFAULT_TIMEOUT) -> float:
    """Seconds that a probe may take: what the check says, or `default`, but then not longer than its interval."""
    if check.timeout > 0:
        return check.timeout / SECOND
    interval = check.interval / SECOND
    return min(default, interval) if interval > 0 else default


class Tail:
    """The last `limit` bytes of what was written, and how many there were in all."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept = bytearray()
        self.total = 0

    def write(self, data: bytes) -> None:
        """Take more; the earliest bytes go."""
        self.total += len(data)
        self._kept += data
        if len(self._kept) > self._limit:
            del self._kept[: len(self._kept) - self._limit]

    def text(self) -> str:
        """What is left."""
        return self._kept.decode("utf-8", "replace")

    def captured(self) -> str:
        """What is left, after a line that says how much of the whole it is when something is missing."""
        if self.total <= self._limit:
            return self.text()
        return f"Captured {self._limit} of {self.total} bytes\n...\n{self.text()}"


def shortened(output: str, limit: int) -> str:
    """The first `limit` bytes of what a check was told, with a note when that is not all."""
    raw = output.encode("utf-8", "replace")
    if len(raw) <= limit:
        return output
    return f"{raw[:limit].decode('utf-8', 'ignore')} ... (captured {limit} of {len(raw)} bytes)"
