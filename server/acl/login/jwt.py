"""JSON Web Tokens: whether one is signed by a key that counts, for us, and at this time.

Nothing here asks the network or a clock: keys and the time (seconds since the Unix epoch) are handed in. Only
asymmetric signatures count, whatever the token's header says, so that no public key can serve as a shared secret.
"""

import re
import warnings
from collections.abc import Iterable
from typing import Any, NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from jwt.api_jws import PyJWS
from jwt.exceptions import PyJWTError
from jwt.utils import base64url_decode
from jwt.warnings import InsecureKeyLengthWarning

from model.gojson import JsonError, parse_json
from server.acl.login.jwt_settings import JwtSettings, PublicKey, is_usable
from server.acl.login.problems import Refused

MAX_TOKEN = 64 << 10
"""Characters of a token."""
MAX_KEYS = 256
"""Keys in one key set."""
_RSA = frozenset(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"))
_CURVES = {"secp256r1": frozenset(("ES256",)), "secp384r1": frozenset(("ES384",)), "secp521r1": frozenset(("ES512",))}
_EDWARDS = frozenset(("EdDSA",))
_PUBLIC_MEMBERS = frozenset(("kty", "n", "e", "crv", "x", "y"))
_DISCOVERY_ALGORITHMS = frozenset(("RS256",))
"""What an issuer found by discovery signs with, unless the settings say otherwise."""
_DISCOVERY_LEEWAY = 60
"""Seconds by which "not before" may be ahead when the issuer was found by discovery."""
_VERIFIER = PyJWS()
_NOT_BASE64 = re.compile(r"[^A-Za-z0-9_-]")
_MALFORMED = "square/go-jose: compact JWS format must have three parts"
_FAILED = "square/go-jose/jwt: validation"
# How long keys have to be is for whoever configured them to judge.
warnings.filterwarnings("ignore", category=InsecureKeyLengthWarning)


class Key(NamedTuple):
    """A key of a key set; `id` is "" when it has none, `algorithm` when it is for any that fits."""

    id: str
    algorithm: str
    public: PublicKey


class Token(NamedTuple):
    """A token that was taken apart; nothing of it is verified."""

    text: str
    algorithm: str
    key_id: str


def parse_key_set(raw: bytes) -> tuple[Key, ...]:
    """The keys of a JSON Web Key Set that can verify signatures; others are passed over. Raises ValueError."""
    try:
        document = parse_json(raw)
    except JsonError as error:
        raise ValueError(str(error)) from None
    rows = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(rows, list):
        raise ValueError("the key set has no list of keys")
    if len(rows) > MAX_KEYS:
        raise ValueError(f"the key set has more than {MAX_KEYS} keys")
    found = []
    for row in rows:
        key = _key(row) if isinstance(row, dict) and row.get("use", "sig") == "sig" else None
        if key is not None:
            found.append(Key(_text(row.get("kid")), _text(row.get("alg")), key))
    return tuple(found)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _key(row: dict[str, Any]) -> PublicKey | None:
    public = {name: value for name, value in row.items() if name in _PUBLIC_MEMBERS}
    kinds = {"RSA": RSAAlgorithm.from_jwk, "EC": ECAlgorithm.from_jwk, "OKP": OKPAlgorithm.from_jwk}
    read = kinds.get(_text(row.get("kty")))
    if read is None or not all(isinstance(value, str) for value in public.values()):
        return None
    try:
        key = read(public)
    except (PyJWTError, ValueError, TypeError, KeyError, UnsupportedAlgorithm):
        return None
    return key if is_usable(key) else None


def parse_token(text: str) -> Token:
    """Take a token apart. Raises Refused."""
    if not text:
        raise Refused("missing jwt")
    if len(text) > MAX_TOKEN:
        raise Refused(f"the token is longer than {MAX_TOKEN} characters")
    if text.count(".") != 2 or not text.isascii():
        raise Refused(_MALFORMED)
    for part in text.split("."):
        wrong = _NOT_BASE64.search(part)
        if wrong or len(part) % 4 == 1:
            raise Refused(f"illegal base64 data at input byte {wrong.start() if wrong else len(part) - 1}")
    try:
        parse_json(base64url_decode(text.partition(".")[0]))
        header = _VERIFIER.decode_complete(text, options={"verify_signature": False})["header"]
    except (JsonError, PyJWTError) as error:
        reason = str(error)[:200]
        raise Refused("unexpected end of JSON input" if reason in ("EOF", "unexpected EOF") else reason) from None
    if header.get("crit") is not None or "b64" in header:
        raise Refused("square/go-jose: unsupported crit header")
    return Token(text, _text(header.get("alg")), _text(header.get("kid")))


def _fitting(key: PublicKey) -> frozenset[str]:
    """The algorithms that a key can sign with."""
    if isinstance(key, rsa.RSAPublicKey):
        return _RSA
    if isinstance(key, ed25519.Ed25519PublicKey):
        return _EDWARDS
    return _CURVES.get(key.curve.name, frozenset()) if isinstance(key, ec.EllipticCurvePublicKey) else frozenset()


def _payload(token: Token, keys: Iterable[PublicKey], algorithms: frozenset[str] | None) -> bytes | None:
    """The signed content of a token when one of the keys has signed it."""
    if algorithms is not None and token.algorithm not in algorithms:
        return None
    for key in keys:
        if token.algorithm not in _fitting(key):
            continue
        try:
            verified = _VERIFIER.decode_complete(token.text, key, algorithms=[token.algorithm])
        except (PyJWTError, ValueError, TypeError, UnsupportedAlgorithm):
            continue
        return bytes(verified["payload"])
    return None


def verify_by_keys(settings: JwtSettings, text: str, now: float) -> dict[str, Any]:
    """The claims of a token that one of the configured keys has signed. Raises Refused."""
    try:
        token = parse_token(text)
    except Refused as error:
        raise error if not text else Refused(f"error parsing token: {error}") from None
    payload = _payload(token, settings.keys, settings.algorithms)
    if payload is None:
        raise Refused("no known key successfully validated the token signature")
    return _checked(settings, _claims(payload), now)


def parse_remote(text: str) -> Token:
    """Take apart a token that keys of a server are to verify. Raises Refused."""
    try:
        return parse_token(text)
    except Refused as error:
        raise error if not text else Refused(f"error verifying token: oidc: malformed jwt: {error}") from None


def candidates(token: Token, keys: Iterable[Key]) -> list[PublicKey]:
    """The keys of a key set that may have signed a token."""
    return [
        key.public
        for key in keys
        if (not token.key_id or key.id == token.key_id) and key.algorithm in ("", token.algorithm)
    ]


def verify_by_set(settings: JwtSettings, token: Token, keys: Iterable[Key], now: float) -> dict[str, Any] | None:
    """The claims of a token that a key of `JWKSURL` has signed; None when no key has. Raises Refused."""
    payload = _payload(token, candidates(token, keys), settings.algorithms)
    return None if payload is None else _checked(settings, _claims(payload), now)


def verify_discovered(
    settings: JwtSettings, issuer: str, token: Token, keys: Iterable[Key], now: float
) -> dict[str, Any] | None:
    """The claims of an ID token of an issuer found by discovery; None when no key of it has signed. Raises Refused."""
    algorithms = settings.algorithms or _DISCOVERY_ALGORITHMS
    if token.algorithm not in algorithms:
        raise Refused(
            f"error verifying token: oidc: id token signed with unsupported algorithm, "
            f'expected {_listed(algorithms)} got "{token.algorithm[:20]}"'
        )
    payload = _payload(token, candidates(token, keys), algorithms)
    if payload is None:
        return None
    claims = _claims(payload)
    problem = "error verifying token: oidc: "
    issued_by = claims.get("iss")
    if issued_by != issuer or (settings.issuer and issued_by != settings.issuer):
        raise Refused(f'{problem}id token issued by a different provider, expected "{settings.issuer or issuer}"')
    expiry, not_before = _moment(claims, "exp"), _moment(claims, "nbf")
    if expiry <= now:
        raise Refused(f"{problem}token is expired")
    if not_before and now + _DISCOVERY_LEEWAY < not_before:
        raise Refused(f"{problem}current time is before the nbf (not before) time")
    _check_audience(settings, _audiences(claims), strict=False)
    return claims


def _listed(names: Iterable[str]) -> str:
    return "[" + " ".join(f'"{name}"' for name in sorted(names)) + "]"


def _claims(payload: bytes) -> dict[str, Any]:
    try:
        claims = parse_json(payload)
    except JsonError as error:
        raise Refused(f"failed to unmarshal claims: {error}") from None
    if not isinstance(claims, dict):
        raise Refused("failed to unmarshal claims: the payload is not an object")
    for name in ("iss", "sub", "jti"):
        if not isinstance(claims.get(name), str | None):
            raise Refused(f"failed to unmarshal claims: {name} is not a string")
    return claims


def _moment(claims: dict[str, Any], name: str) -> int:
    """A time of the claims, in seconds since the Unix epoch; 0 when there is none."""
    value = claims.get(name)
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1 << 62:
        raise Refused("failed to unmarshal claims: square/go-jose/jwt: expected number value to unmarshal NumericDate")
    return int(value)


def _audiences(claims: dict[str, Any]) -> list[str]:
    value = claims.get("aud")
    if value is None:
        return []
    names = value if isinstance(value, list) else [value]
    if not all(isinstance(name, str) for name in names):
        raise Refused(
            "failed to unmarshal claims: square/go-jose/jwt: expected string or array value to unmarshal to Audience"
        )
    return names


def _checked(settings: JwtSettings, claims: dict[str, Any], now: float) -> dict[str, Any]:
    """Claims of a signed token that is for us, from whom we expect, and valid at this time. Raises Refused."""
    issued, expires, begins = (_moment(claims, name) for name in ("iat", "exp", "nbf"))
    if not (issued or expires or begins):
        raise Refused("no issue time, notbefore, or expiration time encoded in token")
    # A token that does not say when it ends (or begins) gets an end (or a beginning) from what it does say.
    expires = expires or max(issued, begins) + settings.expiration_leeway
    begins = begins or issued or expires - settings.not_before_leeway
    audiences = _audiences(claims)
    problem = "error validating claims: "
    if settings.issuer and claims.get("iss") != settings.issuer:
        raise Refused(f"{problem}{_FAILED} failed, invalid issuer claim (iss)")
    if now + settings.clock_skew < begins:
        raise Refused(f"{problem}{_FAILED} failed, token not valid yet (nbf)")
    if now - settings.clock_skew > expires:
        raise Refused(f"{problem}{_FAILED} failed, token is expired (exp)")
    if issued and now + settings.clock_skew < issued:
        raise Refused(f"{problem}{_FAILED} field, token issued in the future (iat)")
    _check_audience(settings, audiences, strict=True)
    return claims


def _check_audience(settings: JwtSettings, audiences: list[str], strict: bool) -> None:
    problem = "error validating claims: "
    if settings.audiences:
        if not set(settings.audiences).intersection(audiences):
            raise Refused(f"{problem}aud claim does not match any bound audience")
    elif strict and audiences:
        raise Refused(f"{problem}audience claim found in JWT but no audiences are bound")
