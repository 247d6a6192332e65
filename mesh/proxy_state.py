"""The proxy-state document: all that one proxy needs to know, composed by its agent, read by the data plane.

It is JSON. `version` changes whenever anything else does; a reader polls with the version that it has.
"""

import hashlib

import msgspec


class Leaf(msgspec.Struct, frozen=True):
    """The proxy's identity: certificate chain and key as PEM, and until when (seconds since the epoch) it is valid."""

    certificate: str
    private_key: str
    valid_before: float
    uri: str = ""


class Endpoint(msgspec.Struct, frozen=True):
    """A place where a service can be reached in the mesh."""

    address: str
    port: int
    weight: int = 1


class Upstream(msgspec.Struct, frozen=True):
    """A service that the proxy's owner calls.

    `identities` are the SPIFFE IDs that may answer; `connect_timeout` is in seconds.
    """

    name: str
    bind_address: str
    bind_port: int
    sni: str
    identities: list[str]
    endpoints: list[Endpoint] = []
    protocol: str = "tcp"
    connect_timeout: float = 5.0


class PublicListener(msgspec.Struct, frozen=True):
    """Where the proxy takes mesh connections, and where its owner listens."""

    bind_address: str
    bind_port: int
    local_address: str
    local_port: int
    local_socket: str = ""
    protocol: str = "tcp"
    connect_timeout: float = 5.0


class Rule(msgspec.Struct, frozen=True):
    """An intention about this destination; `source` is a service's name or `*`."""

    source: str
    allow: bool


class ProxyState(msgspec.Struct, frozen=True):
    """One proxy's world."""

    proxy_id: str
    service: str
    datacenter: str
    trust_domain: str
    leaf: Leaf
    roots: list[str]
    public: PublicListener | None
    rules: list[Rule]
    default_allow: bool
    upstreams: list[Upstream]
    version: str = ""


def versioned(state: ProxyState) -> ProxyState:
    """The document with its version filled in."""
    body = msgspec.json.encode(msgspec.structs.replace(state, version=""))
    return msgspec.structs.replace(state, version=hashlib.sha256(body).hexdigest()[:16])


def may_connect(state: ProxyState, source: str) -> bool:
    """Whether a service may open a connection; the first rule that matches decides."""
    for rule in state.rules:
        if rule.source in (source, "*"):
            return rule.allow
    return state.default_allow
