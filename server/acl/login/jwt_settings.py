"""The `Config` of an auth method of type `jwt`: which keys sign, and what claims have to say.

Source: the public documentation of the JWT auth method; error texts as recorded from Consul 1.14.
"""

from typing import Annotated, Any, NamedTuple, TypeGuard

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cryptography.x509 import load_pem_x509_certificate

from model.codec import Name, Wire
from model.weak_decode import WeakError, decode_settings
from server.acl.login.authorities import check_authorities
from server.acl.login.identity import JwtFields, Shape
from server.acl.login.problems import SettingsProblem

JWT = "jwt"
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
NAMED_ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512")
"""The algorithms that `JWTSupportedAlgs` may name."""
MAX_RSA_BITS = 16384
"""Larger keys would make a login expensive; OpenSSL takes no larger ones either."""
DEFAULT_LEEWAY = 150
DEFAULT_CLOCK_SKEW = 60
_SECOND = 1_000_000_000


class JwtConfig(Wire, frozen=True):
    """The settings as they are written; leeways in nanoseconds."""

    jwt_validation_pub_keys: list[str] | None = None
    jwks_url: Annotated[str, Name("JWKSURL")] = ""
    jwks_ca_cert: Annotated[str, Name("JWKSCACert")] = ""
    oidc_discovery_url: Annotated[str, Name("OIDCDiscoveryURL")] = ""
    oidc_discovery_ca_cert: Annotated[str, Name("OIDCDiscoveryCACert")] = ""
    jwt_supported_algs: list[str] | None = None
    bound_audiences: list[str] | None = None
    bound_issuer: str = ""
    claim_mappings: dict[str, str] | None = None
    list_claim_mappings: dict[str, str] | None = None
    expiration_leeway: int = 0
    not_before_leeway: int = 0
    clock_skew_leeway: int = 0


class JwtSettings(NamedTuple):
    """The settings of an auth method, checked; leeways in seconds."""

    keys: tuple[PublicKey, ...]
    jwks_url: str
    discovery_url: str
    authorities: str
    """PEM certificates that the server of the keys is verified by; "": the system's."""
    algorithms: frozenset[str] | None
    """The only algorithms that may sign; None: whatever fits the keys."""
    audiences: tuple[str, ...]
    issuer: str
    claims: dict[str, str]
    list_claims: dict[str, str]
    expiration_leeway: int
    not_before_leeway: int
    clock_skew: int

    @property
    def shape(self) -> Shape:
        """What identities look like."""
        return Shape(JwtFields, frozenset(f"value.{name}" for name in self.claims.values()))


def read_settings(config: dict[str, Any] | None) -> JwtSettings:
    """The settings of an auth method. Raises SettingsProblem."""
    try:
        given = decode_settings(JwtConfig, config)
    except WeakError as error:
        raise SettingsProblem(f"error decoding config: {error}") from None
    sources = [bool(given.jwt_validation_pub_keys), bool(given.jwks_url), bool(given.oidc_discovery_url)]
    if sources.count(True) != 1:
        raise SettingsProblem(
            "exactly one of 'JWTValidationPubKeys', 'JWKSURL', or 'OIDCDiscoveryURL' must be set for type \"jwt\""
        )
    if given.jwks_ca_cert and not given.jwks_url:
        raise SettingsProblem("'JWKSCACert' should not be set unless 'JWKSURL' is set")
    if given.oidc_discovery_ca_cert and not given.oidc_discovery_url:
        raise SettingsProblem("'OIDCDiscoveryCACert' should not be set unless 'OIDCDiscoveryURL' is set")
    check_authorities("JWKSCACert", given.jwks_ca_cert)
    check_authorities("OIDCDiscoveryCACert", given.oidc_discovery_ca_cert)
    keys = tuple(_key(number, text) for number, text in enumerate(given.jwt_validation_pub_keys or ()))
    for algorithm in given.jwt_supported_algs or ():
        if algorithm not in NAMED_ALGORITHMS:
            raise SettingsProblem(f"Invalid supported algorithm: {algorithm}")
    for name, mappings in (("ClaimMappings", given.claim_mappings), ("ListClaimMappings", given.list_claim_mappings)):
        seen: set[str] = set()
        for target in (mappings or {}).values():
            if target in seen:
                raise SettingsProblem(f'{name} contains multiple mappings for key "{target}"')
            seen.add(target)
    return JwtSettings(
        keys=keys,
        jwks_url=given.jwks_url,
        discovery_url=given.oidc_discovery_url,
        authorities=given.jwks_ca_cert or given.oidc_discovery_ca_cert,
        algorithms=frozenset(given.jwt_supported_algs) if given.jwt_supported_algs else None,
        audiences=tuple(given.bound_audiences or ()),
        issuer=given.bound_issuer,
        claims=given.claim_mappings or {},
        list_claims=given.list_claim_mappings or {},
        expiration_leeway=_leeway(given.expiration_leeway, DEFAULT_LEEWAY),
        not_before_leeway=_leeway(given.not_before_leeway, DEFAULT_LEEWAY),
        clock_skew=_leeway(given.clock_skew_leeway, DEFAULT_CLOCK_SKEW),
    )


def _leeway(nanoseconds: int, default: int) -> int:
    """Seconds of leeway; a negative number means none."""
    return default if nanoseconds == 0 else max(0, nanoseconds // _SECOND)


def _key(number: int, text: str) -> PublicKey:
    key = None
    raw = text.encode("utf-8", "replace")
    for load in (load_pem_public_key, lambda pem: load_pem_x509_certificate(pem).public_key()):
        try:
            key = load(raw)
            break
        except (ValueError, TypeError, UnsupportedAlgorithm):
            continue
    if not is_usable(key):
        raise SettingsProblem(
            f"error parsing public key JWTValidationPubKeys[{number}]: "
            "data does not contain any valid RSA, ECDSA, or ED25519 public keys"
        )
    return key


def is_usable(key: object) -> TypeGuard[PublicKey]:
    """Whether something is a public key of a kind and a size that can be used."""
    if isinstance(key, rsa.RSAPublicKey):
        return key.key_size <= MAX_RSA_BITS
    return isinstance(key, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey)
