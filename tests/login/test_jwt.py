"""JWTs: which count, and which do not, however they are made up."""

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jwt.api_jws import PyJWS

from server.acl.login import jwt
from server.acl.login.jwt_settings import JwtSettings, read_settings
from server.acl.login.problems import Refused
from tests.login.tokens import ec_key, ed_key, key_set, pem, rsa_key, sign, usual

NOW = 1_700_000_000


def settings(**more: Any) -> JwtSettings:
    return read_settings(
        {"BoundIssuer": "corp", "BoundAudiences": ["consul"], "JWTValidationPubKeys": [pem(rsa_key())], **more}
    )


def at(**more: Any) -> dict[str, Any]:
    """Claims with times around `NOW`."""
    return usual(**{"iat": NOW, "nbf": NOW, "exp": NOW + 600, **more})


def refusal(token: str, now: float = NOW, **more: Any) -> str:
    with pytest.raises(Refused) as caught:
        jwt.verify_by_keys(settings(**more), token, now)
    return str(caught.value)


def raw(header: Any, payload: Any, signature: bytes = b"x") -> str:
    """A token put together by hand."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, payload)]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (*parts, signature))


def test_a_good_token_gives_its_claims() -> None:
    claims = jwt.verify_by_keys(settings(), sign(at(team={"name": "payments"})), NOW)
    assert claims["sub"] == "alice" and claims["team"] == {"name": "payments"}


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        *((rsa_key(), name) for name in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")),
        (ec_key(), "ES256"),
        (ed_key(), "EdDSA"),
    ],
)
def test_every_kind_of_key_verifies(key: Any, algorithm: str) -> None:
    chosen = settings(JWTValidationPubKeys=[pem(rsa_key("another")), pem(key)])
    assert jwt.verify_by_keys(chosen, sign(at(), key, algorithm), NOW)["sub"] == "alice"


UNKNOWN = "no known key successfully validated the token signature"


def test_unsigned_and_wrongly_signed_tokens_are_refused() -> None:
    good = sign(at())
    header, payload, signature = good.split(".")
    assert refusal(sign(at(), rsa_key("another"))) == UNKNOWN
    assert refusal(raw({"alg": "none", "typ": "JWT"}, at(), b"")) == UNKNOWN
    assert refusal(raw({"alg": "none"}, at())) == UNKNOWN
    assert refusal(raw({"alg": ""}, at())) == UNKNOWN
    assert refusal(raw({"typ": "JWT"}, at())) == UNKNOWN
    assert refusal(raw({"alg": ["RS256"]}, at())) == UNKNOWN
    forged = base64.urlsafe_b64encode(json.dumps(at(sub="root")).encode()).rstrip(b"=").decode()
    assert refusal(f"{header}.{forged}.{signature}") == UNKNOWN
    assert refusal(f"{header}.{payload}.{signature[:-8]}AAAAAAAA") == UNKNOWN


@pytest.mark.parametrize("secret", [pem(rsa_key()), pem(rsa_key()).strip(), ""], ids=["pem", "stripped", "none"])
def test_a_public_key_is_no_shared_secret(secret: str) -> None:
    head, body, _ = raw({"alg": "HS256", "typ": "JWT"}, at()).split(".")
    digest = hmac.new(secret.encode(), f"{head}.{body}".encode(), hashlib.sha256).digest()
    signature = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    assert refusal(f"{head}.{body}.{signature}") == UNKNOWN


def test_an_algorithm_has_to_fit_the_key_and_the_settings() -> None:
    assert refusal(sign(at(), ec_key(), "ES256")) == UNKNOWN
    assert refusal(sign(at()), JWTSupportedAlgs=["RS512"]) == UNKNOWN
    assert jwt.verify_by_keys(settings(JWTSupportedAlgs=["RS512"]), sign(at(), algorithm="RS512"), NOW)


THREE_PARTS = "square/go-jose: compact JWS format must have three parts"


@pytest.mark.parametrize(
    ("token", "text"),
    [
        ("x", THREE_PARTS),
        ("a.b", THREE_PARTS),
        ("a.b.c.d", THREE_PARTS),
        ("ÿ.ÿ.ÿ", THREE_PARTS),
        ("..", "unexpected end of JSON input"),
        ("a.b.c", "illegal base64 data at input byte 0"),
        ("e30.e30.eA==", "illegal base64 data at input byte 2"),
        ("e30.e!0.eA", "illegal base64 data at input byte 1"),
        ("YQ.e30.eA", "invalid character 'a' looking for beginning of value"),
        (raw(b"[]", {}), "must be a json object"),
        (raw(b"{", {}), "unexpected end of JSON input"),
        (raw(b"\xff\xfe", {}), "invalid character"),
        (raw(b"[" * 20_000, {}), ""),
        (raw({"alg": "RS256", "crit": ["exp"]}, {}), "crit"),
        (raw({"alg": "RS256", "b64": False, "crit": ["b64"]}, b""), "b64"),
        (raw({"alg": "RS256", "kid": 7}, {}), "Key ID"),
    ],
)
def test_what_is_no_token_is_refused(token: str, text: str) -> None:
    refused = refusal(token)
    assert refused.startswith("error parsing token: ") and text in refused and len(refused) < 300


def test_an_empty_and_a_huge_token_are_refused() -> None:
    assert refusal("") == "missing jwt"
    assert "longer than" in refusal("a" * jwt.MAX_TOKEN + ".b.c")
    assert "longer than" in refusal(sign(at(filler="x" * jwt.MAX_TOKEN)))


@given(st.text(max_size=300) | st.binary(max_size=200).map(lambda data: raw(data, data, data)))
def test_whatever_comes_is_refused_in_words(token: str) -> None:
    assert refusal(token)


@pytest.mark.parametrize("payload", [b"[" * 5000, b"null", b"[]", b"3", b"{", b'{"exp":1e400}', b"\xff", b""])
def test_a_signed_payload_that_is_no_claims_is_refused(payload: bytes) -> None:
    assert refusal(PyJWS().encode(payload, rsa_key(), "RS256"))


@pytest.mark.parametrize(
    ("claims", "now", "text"),
    [
        ({"exp": NOW - 61}, NOW, "token is expired (exp)"),
        ({"exp": NOW - 59}, NOW, ""),
        ({"nbf": NOW + 61}, NOW, "token not valid yet (nbf)"),
        ({"nbf": NOW + 59}, NOW, ""),
        ({"iat": NOW + 61}, NOW, "token issued in the future (iat)"),
        ({"iss": "mallory"}, NOW, "invalid issuer claim (iss)"),
        ({"iss": None}, NOW, "invalid issuer claim (iss)"),
        ({"aud": "vault"}, NOW, "aud claim does not match any bound audience"),
        ({"aud": ["vault", "nomad"]}, NOW, "aud claim does not match any bound audience"),
        ({"aud": []}, NOW, "aud claim does not match any bound audience"),
        ({"aud": None}, NOW, "aud claim does not match any bound audience"),
        ({"aud": ["vault", "consul"]}, NOW, ""),
        ({"aud": ["consul", 7]}, NOW, "expected string or array value to unmarshal to Audience"),
        ({"aud": {"consul": True}}, NOW, "expected string or array value to unmarshal to Audience"),
        ({"exp": "tomorrow"}, NOW, "expected number value to unmarshal NumericDate"),
        ({"exp": True}, NOW, "expected number value to unmarshal NumericDate"),
        ({"exp": 1 << 63}, NOW, "expected number value to unmarshal NumericDate"),
        ({"iss": ["corp"]}, NOW, "iss is not a string"),
        ({"exp": None, "iat": None, "nbf": None}, NOW, "no issue time, notbefore, or expiration time"),
        # Without an end a token ends 150 s after its beginning, and without a beginning it began 150 s before its end.
        ({"exp": None}, NOW + 150 + 60, ""),
        ({"exp": None}, NOW + 150 + 61, "token is expired (exp)"),
        ({"iat": None, "nbf": None, "exp": NOW + 150 + 60}, NOW, ""),
        ({"iat": None, "nbf": None, "exp": NOW + 150 + 61}, NOW, "token not valid yet (nbf)"),
        ({"exp": NOW + 0.5}, NOW, ""),
    ],
)
def test_claims_have_to_fit(claims: dict[str, Any], now: float, text: str) -> None:
    # Put together by hand: the library that signs judges some of these claims itself.
    token = PyJWS().encode(json.dumps(at(**claims)).encode(), rsa_key(), "RS256")
    if text:
        assert text in refusal(token, now)
    else:
        assert jwt.verify_by_keys(settings(), token, now)


def test_leeways_can_be_set_and_taken_away() -> None:
    late = sign(at(exp=NOW - 100))
    assert jwt.verify_by_keys(settings(ClockSkewLeeway=120_000_000_000), late, NOW)
    assert "expired" in refusal(sign(at(exp=NOW - 1)), ClockSkewLeeway=-1)
    no_end = sign({name: value for name, value in at().items() if name != "exp"})
    assert "expired" in refusal(no_end, NOW + 1, ClockSkewLeeway=-1, ExpirationLeeway=-1)
    assert jwt.verify_by_keys(settings(ClockSkewLeeway=-1, ExpirationLeeway=10_000_000_000), no_end, NOW + 10)


def test_an_audience_that_nobody_expects_is_refused() -> None:
    assert "no audiences are bound" in refusal(sign(at()), BoundAudiences=[])


# Key sets


def test_key_sets_hold_usable_keys_and_others_are_passed_over() -> None:
    document = json.loads(key_set(a=rsa_key(), b=ec_key(), c=ed_key()))
    document["keys"] += [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "d"},
        {"kty": "RSA", "n": "AQAB", "e": 3, "kid": "e"},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
        {**document["keys"][0], "use": "enc", "kid": "f"},
        {"kty": "RSA"},
        "a text",
        None,
    ]
    keys = jwt.parse_key_set(json.dumps(document).encode())
    assert [key.id for key in keys] == ["a", "b", "c"]


@pytest.mark.parametrize(
    "document", [b"", b"[]", b"{}", b'{"keys":{}}', b'{"keys":[' + b"1," * 300 + b"1]}", b"[" * 100_000, b"\xff"]
)
def test_what_is_no_key_set_is_refused(document: bytes) -> None:
    with pytest.raises(ValueError):
        jwt.parse_key_set(document)


def remote(**more: Any) -> JwtSettings:
    return read_settings({"JWKSURL": "https://127.0.0.1/", "BoundIssuer": "corp", "BoundAudiences": ["consul"], **more})


def test_a_key_set_verifies_by_key_id() -> None:
    keys = jwt.parse_key_set(key_set(a=rsa_key(), b=rsa_key("b")))

    def verified(token: str) -> dict[str, Any] | None:
        return jwt.verify_by_set(remote(), jwt.parse_remote(token), keys, NOW)

    assert verified(sign(at(), kid="a")) and verified(sign(at())) and verified(sign(at(), rsa_key("b"), kid="b"))
    assert verified(sign(at(), kid="b")) is None
    assert verified(sign(at(), kid="unknown")) is None
    assert verified(raw({"alg": "none", "kid": "a"}, at(), b"")) is None
    with pytest.raises(Refused, match="expired"):
        verified(sign(at(exp=NOW - 3600), kid="a"))
    with pytest.raises(Refused, match="malformed jwt: square/go-jose: compact JWS"):
        jwt.parse_remote("x")


def test_a_key_of_a_set_signs_only_with_its_own_algorithm() -> None:
    document = json.loads(key_set(a=rsa_key()))
    document["keys"][0]["alg"] = "RS512"
    keys = jwt.parse_key_set(json.dumps(document).encode())
    assert jwt.verify_by_set(remote(), jwt.parse_remote(sign(at(), kid="a")), keys, NOW) is None
    token = jwt.parse_remote(sign(at(), algorithm="RS512", kid="a"))
    assert jwt.verify_by_set(remote(), token, keys, NOW)


def test_an_issuer_found_by_discovery_is_held_to_its_name() -> None:
    keys = jwt.parse_key_set(key_set(a=rsa_key(), e=ec_key()))
    chosen = read_settings({"OIDCDiscoveryURL": "https://issuer/", "BoundAudiences": ["consul"]})

    def verified(token: str, more: JwtSettings = chosen) -> dict[str, Any] | None:
        return jwt.verify_discovered(more, "https://issuer/", jwt.parse_remote(token), keys, NOW)

    good = at(iss="https://issuer/")
    assert verified(sign(good, kid="a"))
    for claims, text in (
        ({"iss": "corp"}, "issued by a different provider"),
        ({"exp": NOW - 1}, "token is expired"),
        ({"nbf": NOW + 61}, "nbf"),
        ({"aud": "vault"}, "aud claim"),
    ):
        with pytest.raises(Refused, match=text):
            verified(sign({**good, **claims}, kid="a"))
    without_end = {name: value for name, value in good.items() if name != "exp"}
    with pytest.raises(Refused, match="token is expired"):
        verified(sign(without_end, kid="a"))
    with pytest.raises(Refused, match="unsupported algorithm"):
        verified(sign(good, ec_key(), "ES256", kid="e"))
    assert verified(sign(good, ec_key(), "ES256", kid="e"), chosen._replace(algorithms=frozenset(("ES256",))))
    with pytest.raises(Refused, match="issued by a different provider"):
        verified(sign(good, kid="a"), chosen._replace(issuer="https://other/"))
    assert verified(sign(good, rsa_key("other"), kid="a")) is None
