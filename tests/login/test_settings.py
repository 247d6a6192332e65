"""Settings of auth methods: what can be used, and the words for what cannot."""

from pathlib import Path
from typing import Any

import pytest

from model.weak_decode import WeakError, decode_settings
from server.acl.login import aws_settings, kubernetes
from server.acl.login.jwt_settings import JwtConfig, read_settings
from server.acl.login.problems import SettingsProblem
from server.acl.login.verifying import check_settings
from tests.login.tokens import ec_key, ed_key, pem, rsa_key, sign, usual
from tests.support.certificates import Authority

KEY = pem(rsa_key())
SOURCES = "exactly one of 'JWTValidationPubKeys', 'JWKSURL', or 'OIDCDiscoveryURL' must be set for type \"jwt\""
NO_PEM = "could not parse CA PEM value successfully"


def problem(kind: str, config: Any) -> str:
    with pytest.raises(SettingsProblem) as caught:
        check_settings(kind, config)
    return str(caught.value)


@pytest.mark.parametrize(
    ("config", "text"),
    [
        (None, SOURCES),
        ({}, SOURCES),
        ({"JWTValidationPubKeys": [KEY], "JWKSURL": "http://127.0.0.1:1/"}, SOURCES),
        ({"JWTValidationPubKeys": []}, SOURCES),
        ({"JWTValidationPubKeys": [KEY], "Nope": 1, "Also": 2}, "* '' has invalid keys: Also, Nope"),
        ({"JWTValidationPubKeys": [KEY], "jwks_url": "x"}, "* '' has invalid keys: jwks_url"),
        (
            {"JWTValidationPubKeys": [KEY], "ExpirationLeeway": "10s", "Nope": 1},
            "error decoding config: 2 error(s) decoding:\n\n* '' has invalid keys: Nope\n* cannot parse "
            "'ExpirationLeeway' as int: strconv.ParseInt: parsing \"10s\": invalid syntax",
        ),
        ({"JWTValidationPubKeys": [KEY], "ClaimMappings": 3}, "'ClaimMappings' expected a map, got 'float64'"),
        ({"JWTValidationPubKeys": ["junk"]}, "error parsing public key JWTValidationPubKeys[0]: data does not"),
        ({"JWTValidationPubKeys": [KEY, ""]}, "error parsing public key JWTValidationPubKeys[1]: data does not"),
        ({"JWTValidationPubKeys": [KEY], "JWTSupportedAlgs": ["HS256"]}, "Invalid supported algorithm: HS256"),
        ({"JWTValidationPubKeys": [KEY], "JWTSupportedAlgs": ["none"]}, "Invalid supported algorithm: none"),
        (
            {"JWTValidationPubKeys": [KEY], "ClaimMappings": {"a": "x", "b": "x"}},
            'ClaimMappings contains multiple mappings for key "x"',
        ),
        (
            {"JWTValidationPubKeys": [KEY], "ListClaimMappings": {"a": "x", "b": "x"}},
            'ListClaimMappings contains multiple mappings for key "x"',
        ),
        ({"JWTValidationPubKeys": [KEY], "JWKSCACert": "x"}, "'JWKSCACert' should not be set unless 'JWKSURL' is set"),
        (
            {"JWTValidationPubKeys": [KEY], "OIDCDiscoveryCACert": "x"},
            "'OIDCDiscoveryCACert' should not be set unless 'OIDCDiscoveryURL' is set",
        ),
        ({"JWKSURL": "https://127.0.0.1/", "JWKSCACert": "junk"}, f"error checking JWKSCACert: {NO_PEM}"),
        ({"JWKSURL": "https://127.0.0.1/", "JWKSCACert": KEY}, f"error checking JWKSCACert: {NO_PEM}"),
    ],
)
def test_bad_settings_of_jwt_are_named(config: Any, text: str) -> None:
    assert text in problem("jwt", config)


def test_settings_of_jwt_are_read_weakly() -> None:
    chosen = read_settings({"jwtvalidationpubkeys": KEY, "BOUNDAUDIENCES": "consul", "ClaimMappings": {"n": 7}})
    assert len(chosen.keys) == 1 and chosen.audiences == ("consul",) and chosen.claims == {"n": "7"}
    assert (chosen.expiration_leeway, chosen.not_before_leeway, chosen.clock_skew) == (150, 150, 60)
    chosen = read_settings(
        {"JWTValidationPubKeys": [pem(ec_key()), pem(ed_key())], "ClockSkewLeeway": 30_000_000_000.0}
    )
    assert len(chosen.keys) == 2 and chosen.clock_skew == 30


def test_a_certificate_is_a_key_too(tmp_path: Path) -> None:
    certificate = Path(Authority(tmp_path).ca).read_text()
    assert len(read_settings({"JWTValidationPubKeys": [certificate]}).keys) == 1


def test_free_form_settings_may_be_none() -> None:
    assert decode_settings(JwtConfig, None) == JwtConfig()
    with pytest.raises(WeakError, match=r"has invalid keys: a\.b"):
        decode_settings(JwtConfig, {"a.b": 1})


def test_only_known_types_are_taken() -> None:
    for kind in ("", "oidc", "bogus", "JWT"):
        assert problem(kind, {}) == "Type should be one of: [aws-iam jwt kubernetes]"


def kubernetes_config(folder: Path, **more: Any) -> dict[str, Any]:
    token = sign(usual(), rsa_key())
    config = {"Host": "127.0.0.1:1", "CACert": Path(Authority(folder).ca).read_text(), "ServiceAccountJWT": token}
    return {**config, **more}


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"Host": ""}, "Config.Host is required"),
        ({"Host": "ftp://x"}, "Config.Host is invalid: unsupported protocol scheme"),
        ({"Host": "http://x:99999"}, "Config.Host is invalid: invalid URL"),
        ({"Host": "https://user:password@x/"}, "Config.Host is invalid: it has a user"),
        ({"CACert": ""}, "Config.CACert is required"),
        ({"CACert": "junk"}, "error parsing kubernetes ca cert"),
        ({"ServiceAccountJWT": ""}, "Config.ServiceAccountJWT is required"),
        ({"ServiceAccountJWT": "junk"}, "Config.ServiceAccountJWT is not a valid JWT: square/go-jose: compact JWS"),
        ({"MapNamespaces": True}, "'' has invalid keys: MapNamespaces"),
    ],
)
def test_bad_settings_of_kubernetes_are_named(tmp_path: Path, more: dict[str, Any], text: str) -> None:
    assert text in problem("kubernetes", kubernetes_config(tmp_path, **more))


def test_settings_of_kubernetes_give_a_url_and_hide_the_token(tmp_path: Path) -> None:
    config = kubernetes_config(tmp_path)
    chosen = kubernetes.read_settings(config)
    assert chosen.url == "https://127.0.0.1:1"
    assert config["ServiceAccountJWT"] not in repr(chosen)
    assert kubernetes.read_settings({**config, "Host": "http://x:8001/k/"}).url == "http://x:8001/k"


ARN = "arn:aws:iam::123456789012:role/web"


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({}, "BoundIAMPrincipalARNs is required and must have at least 1 entry"),
        ({"BoundIAMPrincipalARNs": ["web"]}, "is not the ARN of an IAM role or user"),
        ({"BoundIAMPrincipalARNs": ["arn:aws:s3::1:role/web"]}, "is not the ARN of an IAM role or user"),
        ({"BoundIAMPrincipalARNs": ["arn:aws:iam::1:group/web"]}, "is not the ARN of an IAM role or user"),
        ({"BoundIAMPrincipalARNs": ["arn:aws:iam::1:*"]}, "Must set EnableIAMEntityDetails=true to use wildcards"),
        ({"BoundIAMPrincipalARNs": ["arn:aws:iam::1:role/a/b"]}, "has a path"),
        (
            {"BoundIAMPrincipalARNs": ["arn:aws:iam::1:*/x*"], "EnableIAMEntityDetails": True},
            "may have one wildcard, at its end",
        ),
        ({"BoundIAMPrincipalARNs": [ARN], "IAMEntityTags": ["a"]}, "Must set EnableIAMEntityDetails=true to use IAM"),
        (
            {"BoundIAMPrincipalARNs": [ARN], "EnableIAMEntityDetails": True, "IAMEntityTags": ["a", "a"]},
            "IAMEntityTags names a tag twice",
        ),
        ({"BoundIAMPrincipalARNs": [ARN], "STSEndpoint": "ftp://x/"}, "STSEndpoint is invalid"),
        ({"BoundIAMPrincipalARNs": [ARN], "IAMEndpoint": "x"}, "IAMEndpoint is invalid"),
        ({"BoundIAMPrincipalARNs": [ARN], "MaxRetries": -1}, "MaxRetries must be"),
        ({"BoundIAMPrincipalARNs": [ARN], "Nope": 1}, "'' has invalid keys: Nope"),
    ],
)
def test_bad_settings_of_aws_are_named(config: Any, text: str) -> None:
    assert text in problem("aws-iam", config)


def test_settings_of_aws_say_what_can_be_named() -> None:
    chosen = aws_settings.read_settings({"BoundIAMPrincipalARNs": ARN, "MaxRetries": "1000"})
    assert chosen.shape.variables == {"entity_name", "entity_id", "account_id"}
    assert chosen.retries == aws_settings.MAX_RETRIES
    config = {"BoundIAMPrincipalARNs": ["arn:aws:iam::1:*"], "EnableIAMEntityDetails": True, "IAMEntityTags": ["team"]}
    assert {"entity_path", "entity_tags.team"} < aws_settings.read_settings(config).shape.variables
