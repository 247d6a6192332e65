"""Keys, tokens and key sets for tests of logins."""

import json
import time
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@cache
def rsa_key(name: str = "") -> rsa.RSAPrivateKey:
    """An RSA key; another one for each name."""
    return rsa.generate_private_key(65537, 2048)


@cache
def ec_key(name: str = "") -> ec.EllipticCurvePrivateKey:
    """A key on P-256."""
    return ec.generate_private_key(ec.SECP256R1())


@cache
def ed_key() -> ed25519.Ed25519PrivateKey:
    """A key on Ed25519."""
    return ed25519.Ed25519PrivateKey.generate()


def pem(key: PrivateKey) -> str:
    """The public key."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def sign(claims: dict[str, Any], key: PrivateKey | None = None, algorithm: str = "RS256", **headers: Any) -> str:
    """A signed token."""
    return jwt.encode(claims, key or rsa_key(), algorithm=algorithm, headers=headers)


def usual(**more: Any) -> dict[str, Any]:
    """Claims that are good now, unless `more` says otherwise; None leaves one out."""
    now = int(time.time())
    claims = {"iss": "corp", "aud": "consul", "sub": "alice", "iat": now, "nbf": now - 10, "exp": now + 3600, **more}
    return {name: value for name, value in claims.items() if value is not None}


def key_set(**keys: PrivateKey) -> bytes:
    """A JSON Web Key Set; names become IDs."""
    rows = []
    for name, key in keys.items():
        kind = {rsa.RSAPrivateKey: RSAAlgorithm, ec.EllipticCurvePrivateKey: ECAlgorithm}
        algorithm = next((one for cls, one in kind.items() if isinstance(key, cls)), OKPAlgorithm)
        rows.append({**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": name, "use": "sig"})
    return json.dumps({"keys": rows}).encode()
