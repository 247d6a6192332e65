"""What TLS does on the servers' port: which connections are accepted, how others are made.

Source: the public protocol of Consul's server port.
"""

import ssl
from dataclasses import dataclass

from rpc.tls import TlsProtocol


@dataclass(frozen=True)
class Rules:
    """The settings in force; a reload puts others in their place.

    `accept` is for connections that announce TLS (None: they are refused), `dial` for those that this agent makes
    (None: they are plain). With `verify_incoming` only TLS is accepted. `server_name` is what servers' certificates
    are valid for, if `verify_server_hostname`; then only servers may speak Raft.
    """

    accept: ssl.SSLContext | None = None
    dial: ssl.SSLContext | None = None
    verify_incoming: bool = False
    verify_server_hostname: bool = False
    server_name: str = ""


class Security:
    """The rules of one agent, shared by all who accept or make connections."""

    def __init__(self, rules: Rules = Rules()) -> None:
        self.rules = rules
        self.handshake_timeout = 5.0
        """Seconds for a connection's first byte, and again for a handshake."""

    def may_speak_raft(self, tls: TlsProtocol | None) -> bool:
        """Whether who is at the other end of an accepted connection may be a server."""
        rules = self.rules
        if not rules.verify_incoming or not rules.verify_server_hostname:
            return True
        if tls is None:
            return False
        certificate = tls.tls.object.getpeercert() or {}
        names = [str(value).lower() for kind, value in _names(certificate) if kind == "DNS"]
        return rules.server_name.lower() in names


def _names(certificate: object) -> list[tuple[str, str]]:
    return list(certificate.get("subjectAltName", ())) if isinstance(certificate, dict) else []
