"""`connect.ca_config`: the certificate authority's settings, under the names by which the API knows them."""

from collections.abc import Mapping
from typing import Any

_NAMES = {
    name.lower(): name
    for name in (
        *("LeafCertTTL", "IntermediateCertTTL", "RootCertTTL", "RotationPeriod", "CSRMaxPerSecond"),
        *("CSRMaxConcurrent", "PrivateKey", "PrivateKeyType", "PrivateKeyBits", "RootCert", "ExistingARN"),
        *("DeleteOnExit", "Address", "Token", "RootPKIPath", "IntermediatePKIPath", "CAFile", "CAPath", "CertFile"),
        *("KeyFile", "TLSServerName", "TLSSkipVerify", "Namespace", "AuthMethod"),
    )
}


def ca_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings from a file, `leaf_cert_ttl` as `LeafCertTTL`; what has no such name is kept as it is."""
    return {_NAMES.get(key.replace("_", "").lower(), key): value for key, value in given.items()}
