"""Certificates of authorities in the settings of auth methods."""

import ssl

from cryptography.x509 import load_pem_x509_certificates

from server.acl.login.problems import SettingsProblem

MAX_CERTIFICATES = 1 << 18
"""Characters of certificates in one setting."""


def check_authorities(setting: str, pem: str) -> None:
    """Raise SettingsProblem naming the setting unless a text, when there is one, holds certificates."""
    if not pem:
        return
    problem = f"error checking {setting}: could not parse CA PEM value successfully"
    if len(pem) > MAX_CERTIFICATES:
        raise SettingsProblem(problem)
    try:
        load_pem_x509_certificates(pem.encode("utf-8", "replace"))
        context(pem)
    except (ValueError, ssl.SSLError):
        raise SettingsProblem(problem) from None


def context(pem: str) -> ssl.SSLContext:
    """A TLS context that trusts these authorities, or those of the system when there are none.

    Raises ValueError or ssl.SSLError.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if pem:
        made.load_verify_locations(cadata=pem)
    else:
        made.load_default_certs()
    return made
