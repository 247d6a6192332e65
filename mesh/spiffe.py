"""SPIFFE identities as Consul writes them into certificates.

    spiffe://<trust domain>/ns/<namespace>/dc/<datacenter>/svc/<service>
    spiffe://<trust domain>/agent/client/dc/<datacenter>/id/<node>
    spiffe://<trust domain>/agent/server/dc/<datacenter>
    spiffe://<trust domain>/gateway/mesh/dc/<datacenter>
    spiffe://<trust domain>                                       the CA itself
"""

import re
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

MAX_URI = 2048


class SpiffeError(ValueError):
    """A URI that names no identity that is known here."""


def _quoted(part: str, safe: str = "/") -> str:
    """A name as a part of a path; bytes that are no UTF-8 stay as they are."""
    return quote(part, safe=safe, errors="surrogateescape")


class ServiceIdentity(NamedTuple):
    """A service in a datacenter of a trust domain."""

    trust_domain: str
    namespace: str
    datacenter: str
    service: str

    @property
    def uri(self) -> str:
        """The identity as it stands in a certificate."""
        namespace, datacenter, service = (_quoted(part, "") for part in self[1:])
        return f"spiffe://{self.trust_domain}/ns/{namespace}/dc/{datacenter}/svc/{service}"


class AgentIdentity(NamedTuple):
    """A client agent."""

    trust_domain: str
    datacenter: str
    node: str

    @property
    def uri(self) -> str:
        """The identity as it stands in a certificate."""
        return f"spiffe://{self.trust_domain}/agent/client/dc/{_quoted(self.datacenter)}/id/{_quoted(self.node)}"


class CaIdentity(NamedTuple):
    """The authority of a trust domain."""

    trust_domain: str

    @property
    def uri(self) -> str:
        """The identity as it stands in a certificate."""
        return f"spiffe://{self.trust_domain}"


Identity = ServiceIdentity | AgentIdentity | CaIdentity

_SERVICE = re.compile(r"(?:/ap/[^/]+)?/ns/([^/]+)/dc/([^/]+)/svc/([^/]+)")
_AGENT = re.compile(r"(?:/ap/[^/]+)?/agent/client/dc/([^/]+)/id/([^/]+)")


def parse(uri: str) -> Identity:
    """The identity that a URI names. Raises SpiffeError."""
    if len(uri) > MAX_URI:
        raise SpiffeError("SPIFFE ID is too long")
    try:
        parts = urlsplit(uri)
    except ValueError as error:
        raise SpiffeError(f"SPIFFE ID is no URI: {error}") from None
    if parts.scheme != "spiffe":
        raise SpiffeError("SPIFFE ID must have 'spiffe' scheme")
    domain = parts.netloc.lower()
    if not domain or parts.query or parts.fragment:
        raise SpiffeError(f"SPIFFE ID is not in the expected format: {uri}")
    if parts.path in ("", "/"):
        return CaIdentity(domain)
    if match := _SERVICE.fullmatch(parts.path):
        return ServiceIdentity(domain, *(unquote(part, errors="surrogateescape") for part in match.groups()))
    if match := _AGENT.fullmatch(parts.path):
        return AgentIdentity(domain, *(unquote(part, errors="surrogateescape") for part in match.groups()))
    raise SpiffeError(f"SPIFFE ID is not in the expected format: {uri}")


def service_sni(service: str, datacenter: str, trust_domain: str, namespace: str = "default", subset: str = "") -> str:
    """The server name that a proxy asks for when it calls a service."""
    name = f"{subset}.{service}" if subset else service
    return f"{name}.{namespace}.{datacenter}.internal.{trust_domain}"
