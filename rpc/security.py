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
    (None: they are plain), `insecure` for client agents that ask for their first certificate. With `verify_incoming`
    only TLS is accepted. `server_name` is what servers' certificates are valid for, if `verify_server_hostname`; then
    only servers may speak Raft.
    """

    accept: ssl.SSLContext | None = None
    insecure: ssl.SSLContext | None = None
    dial: ssl.SSLContext | None = None
    verify_incoming: bool = False
    verify_server_hostname: bool = False
    server_name: str = ""

    def name_in(self, datacenter: str) -> str:
        """What the certificates of servers of another datacenter are valid for; of this agent's own without a name."""
        first, dot, rest = self.server_name.partition(".")
        if not datacenter or not dot:
            return self.server_name
        return f"{first}.{datacenter}.{rest.partition('.')[2]}"


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


    def may_call(self, tls: TlsProtocol | None) -> bool:
        """Whether who is at the other end of an accepted connection may be an agent.

        Servers that issue certificates to agents trust the mesh's authority, but a service of the mesh is no agent.
        """
        if tls is None or not self.rules.verify_incoming:
            return True
        certificate = tls.tls.object.getpeercert() or {}
        return not any(kind == "URI" and "/svc/" in value for kind, value in _names(certificate))


def _names(certificate: object) -> list[tuple[str, str]]:
    return list(certificate.get("subjectAltName", ())) if isinstance(certificate, dict) else []
