"""TLS contexts made of a leaf and its roots; keys never touch the disk."""

import os
import ssl
from typing import Any

from mesh.proxy_state import Leaf
from mesh.spiffe import ServiceIdentity, SpiffeError, parse


def _load(context: ssl.SSLContext, leaf: Leaf, roots: list[str]) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False  # Identities are SPIFFE IDs, which the caller compares.
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata="".join(roots))
    load_from_memory(context, leaf.certificate, leaf.private_key)
    return context


def load_from_memory(context: ssl.SSLContext, certificate: str, private_key: str) -> None:
    """Let a context show a certificate that is in no file; both are PEM."""
    descriptor = os.memfd_create("leaf", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, (certificate + private_key).encode())
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def server_context(leaf: Leaf, roots: list[str]) -> ssl.SSLContext:
    """For the public listener: whoever connects must show a certificate of the mesh."""
    return _load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), leaf, roots)


def client_context(leaf: Leaf, roots: list[str]) -> ssl.SSLContext:
    """For calls to upstreams."""
    return _load(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), leaf, roots)


def peer_uris(certificate: dict[str, Any] | None) -> list[str]:
    """The URIs in a verified peer certificate."""
    names = (certificate or {}).get("subjectAltName", ())
    return [value for kind, value in names if kind == "URI"]


def peer_service(certificate: dict[str, Any] | None, trust_domain: str) -> ServiceIdentity | None:
    """The service whose certificate a peer showed; None unless it is one of this trust domain."""
    uris = peer_uris(certificate)
    if len(uris) != 1:
        return None
    try:
        identity = parse(uris[0])
    except SpiffeError:
        return None
    if not isinstance(identity, ServiceIdentity) or identity.trust_domain != trust_domain.lower():
        return None
    return identity
