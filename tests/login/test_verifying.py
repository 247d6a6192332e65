"""Auth methods at work, against servers of keys, of discovery, of Kubernetes and of AWS on loopback."""

import asyncio
import itertools
import json
import time
from pathlib import Path
from typing import Any

import pytest

from model.structs.acl import ACLAuthMethod
from server.acl.login import key_source, verifying
from server.acl.login.asking import Answer, NoAnswer, Question
from server.acl.login.identity import KubernetesFields, ServiceAccount
from server.acl.login.problems import Refused, SettingsProblem
from server.acl.login.verifying import MAX_SOURCES, Verifier
from tests.login.counterparts import counterpart
from tests.login.kubernetes_api import KubernetesApi
from tests.login.test_aws import ENTITY, HEADERS, SESSION, bearer, caller_answer, role_answer
from tests.login.tokens import key_set, rsa_key, sign, usual


def method(kind: str = "jwt", name: str = "m", **config: Any) -> ACLAuthMethod:
    if kind == "jwt":
        config = {"BoundAudiences": ["consul"], "ClaimMappings": {"sub": "sub"}, **config}
    return ACLAuthMethod(name=name, type=kind, config=config)


class Watched:
    """Answers from a table, counts questions, and has a clock of its own."""

    def __init__(self, **answers: bytes) -> None:
        self.answers = answers
        self.asked: list[str] = []
        self.now = 100.0
        self.gate: asyncio.Event | None = None
        self.headers: dict[str, str] = {}
        self.verifier = Verifier(self.ask, clock=lambda: self.now)

    async def ask(self, question: Question) -> Answer:
        self.asked.append(question.url)
        if self.gate is not None:
            await self.gate.wait()
        name = question.url.rpartition("/")[2]
        if name not in self.answers:
            raise NoAnswer("connection refused")
        return Answer(200, self.headers, self.answers[name])


async def refused(verifier: Verifier, auth_method: ACLAuthMethod, token: str) -> str:
    with pytest.raises(Refused) as caught:
        await verifier.verify(auth_method, token)
    return str(caught.value)


async def test_keys_come_from_the_url_by_its_authority(tmp_path: Path) -> None:
    async with counterpart(tmp_path) as here:
        here.says("/keys", key_set(a=rsa_key()))
        keys = method(JWKSURL=f"{here.url}/keys", JWKSCACert=here.ca)
        verifier = Verifier()
        await verifier.check_reachable("jwt", keys.config)
        made = await verifier.verify(keys, sign(usual(), kid="a"))
        assert made.variables == {"value.sub": "alice"}
        assert "failed to verify id token signature" in await refused(
            verifier, keys, sign(usual(), rsa_key("b"), kid="a")
        )
        without = method(JWKSURL=f"{here.url}/keys")
        with pytest.raises(SettingsProblem, match=r"error checking JWKSURL: Get .* unknown authority"):
            await verifier.check_reachable("jwt", without.config)
        assert "unknown authority" in await refused(Verifier(), without, sign(usual(), kid="a"))
        here.says("/keys", b"<html>", 500)
        with pytest.raises(SettingsProblem, match="answered with status 500"):
            await verifier.check_reachable("jwt", keys.config)
        here.says("/keys", b"<html>")
        with pytest.raises(SettingsProblem, match="failed to decode keys"):
            await verifier.check_reachable("jwt", keys.config)


async def test_an_issuer_is_found_by_discovery(tmp_path: Path) -> None:
    async with counterpart(tmp_path) as here:

        def document(**more: Any) -> bytes:
            return json.dumps({"issuer": here.url, "jwks_uri": f"{here.url}/keys", **more}).encode()

        well_known = "/.well-known/openid-configuration"
        here.says(well_known, document())
        here.says("/keys", key_set(a=rsa_key()))
        found = method(OIDCDiscoveryURL=here.url, OIDCDiscoveryCACert=here.ca)
        verifier = Verifier()
        await verifier.check_reachable("jwt", found.config)
        assert (await verifier.verify(found, sign(usual(iss=here.url), kid="a"))).variables["value.sub"] == "alice"
        text = await refused(verifier, found, sign(usual(iss=here.url), rsa_key("b"), kid="a"))
        assert text == "error verifying token: failed to verify signature: failed to verify id token signature"
        assert "different provider" in await refused(verifier, found, sign(usual(iss="corp"), kid="a"))
        for bad, text in (
            (document(issuer="https://other"), "issuer did not match"),
            (document(jwks_uri=7), "is missing"),
            (b"[]", "is missing"),
            (b"{", "failed to decode provider discovery object"),
        ):
            here.says(well_known, bad)
            with pytest.raises(SettingsProblem, match=f"error checking OIDCDiscoveryURL: .*{text}"):
                await verifier.check_reachable("jwt", found.config)


KEYS = "https://127.0.0.1/keys"


async def test_keys_are_kept_and_fetched_anew_for_an_unknown_one() -> None:
    watched = Watched(keys=key_set(a=rsa_key()))
    keys = method(JWKSURL=KEYS)
    await watched.verifier.verify(keys, sign(usual(), kid="a"))
    watched.now += 5
    await watched.verifier.verify(keys, sign(usual(), kid="a"))
    assert len(watched.asked) == 1
    watched.answers["keys"] = key_set(a=rsa_key(), b=rsa_key("b"))
    await watched.verifier.verify(keys, sign(usual(), rsa_key("b"), kid="b"))
    assert len(watched.asked) == 2
    watched.now += 31
    await watched.verifier.verify(keys, sign(usual(), kid="a"))
    assert len(watched.asked) == 3
    # A key that was taken back counts no more once what is kept has become too old.
    watched.answers["keys"] = key_set(b=rsa_key("b"))
    watched.now += 31
    assert "failed to verify" in await refused(watched.verifier, keys, sign(usual(), kid="a"))


async def test_the_server_says_how_long_keys_may_be_kept() -> None:
    watched = Watched(keys=key_set(a=rsa_key()))
    keys, token = method(JWKSURL=KEYS), sign(usual(), kid="a")
    watched.headers = {"cache-control": "public, max-age=300"}
    for _ in range(3):
        await watched.verifier.verify(keys, token)
        watched.now += 140
    assert len(watched.asked) == 1
    watched.headers = {"cache-control": "no-store"}
    watched.now += 140
    for _ in range(3):
        await watched.verifier.verify(keys, token)
        watched.now += 2
    assert len(watched.asked) == 4


async def test_many_logins_ask_once() -> None:
    watched = Watched(keys=key_set(a=rsa_key()))
    keys = method(JWKSURL=KEYS)
    watched.gate = asyncio.Event()
    unknown = sign(usual(), rsa_key("b"), kid="b")
    logins = [asyncio.create_task(watched.verifier.verify(keys, sign(usual(), kid="a"))) for _ in range(20)]
    logins += [asyncio.create_task(watched.verifier.verify(keys, unknown)) for _ in range(20)]
    given_up = asyncio.create_task(watched.verifier.verify(keys, unknown))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    given_up.cancel()
    watched.gate.set()
    results = await asyncio.gather(*logins, return_exceptions=True)
    assert sum(isinstance(one, Refused) for one in results) == 20
    assert len(watched.asked) == 1


async def test_there_is_time_between_two_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_source, "BETWEEN", 0.2)
    asked: list[float] = []

    async def ask(question: Question) -> Answer:
        asked.append(time.monotonic())
        return Answer(200, {}, key_set(a=rsa_key()))

    verifier, keys = Verifier(ask), method(JWKSURL=KEYS)
    for number in range(3):
        await refused(verifier, keys, sign(usual(), rsa_key("b"), kid=f"b{number}"))
    assert len(asked) == 3
    assert all(later - earlier > 0.19 for earlier, later in itertools.pairwise(asked))


async def test_keys_that_cannot_be_had_fail_the_login_and_are_asked_for_again() -> None:
    watched = Watched()
    keys, token = method(JWKSURL=KEYS), sign(usual(), kid="a")
    text = await refused(watched.verifier, keys, token)
    assert text == "error verifying token: fetching keys connection refused"
    watched.answers["keys"] = key_set(a=rsa_key())
    watched.now += 2
    assert await watched.verifier.verify(keys, token)


async def test_other_settings_mean_other_keys_and_what_is_kept_is_bounded() -> None:
    watched = Watched(keys=key_set(a=rsa_key()), others=key_set(a=rsa_key("b")))
    assert await watched.verifier.verify(method(JWKSURL=KEYS), sign(usual(), kid="a"))
    changed = method(JWKSURL="https://127.0.0.1/others")
    assert "failed to verify" in await refused(watched.verifier, changed, sign(usual(), kid="a"))
    assert await watched.verifier.verify(changed, sign(usual(), rsa_key("b"), kid="a"))
    for number in range(MAX_SOURCES + 5):
        await watched.verifier.verify(method(name=f"m{number}", JWKSURL=KEYS), sign(usual(), kid="a"))
    assert len(watched.verifier._sources) == MAX_SOURCES


async def test_a_login_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifying, "MAX_SECONDS", 0.05)
    watched = Watched()
    watched.gate = asyncio.Event()
    text = await refused(watched.verifier, method(JWKSURL=KEYS), sign(usual(), kid="a"))
    assert "has not answered in" in text
    watched.gate.set()
    await watched.verifier.close()


# Kubernetes


async def test_kubernetes_vouches_for_service_accounts(tmp_path: Path) -> None:
    reviewer, web_token, db_token = (sign(usual(sub=name)) for name in ("reviewer", "web", "db"))
    async with counterpart(tmp_path) as here:
        api = KubernetesApi(here, reviewer)
        api.has("default", "web", web_token)
        api.has("default", "db", db_token, **{"consul.hashicorp.com/service-name": "database"})
        config = {"Host": here.url, "CACert": here.ca, "ServiceAccountJWT": reviewer}
        kubernetes, verifier = method("kubernetes", **config), Verifier()
        await verifier.check_reachable("kubernetes", config)
        made = await verifier.verify(kubernetes, web_token)
        assert made.fields == KubernetesFields(service_account=ServiceAccount("default", "web", "uid-web"))
        made = await verifier.verify(kubernetes, db_token)
        assert made.variables == {
            "serviceaccount.namespace": "default",
            "serviceaccount.name": "database",
            "serviceaccount.uid": "uid-db",
        }
        assert await refused(verifier, kubernetes, sign(usual())) == "lookup failed: token has expired"
        assert "failed to parse and validate JWT" in await refused(verifier, kubernetes, "junk")
        other = method("kubernetes", **{**config, "ServiceAccountJWT": sign(usual(sub="other"))})
        assert await refused(verifier, other, web_token) == "lookup failed: Unauthorized"
        # The account is gone, although the token still counts.
        del here.answers["/api/v1/namespaces/default/serviceaccounts/web"]
        assert "annotation lookup failed" in await refused(verifier, kubernetes, web_token)
    text = await refused(verifier, kubernetes, web_token)
    assert "lookup failed: Post" in text and "connection refused" in text and reviewer not in text


@pytest.mark.parametrize(
    ("user", "text"),
    [
        ({"username": "alice", "uid": "x"}, "unexpected username format"),
        ({"username": "system:node:a:b", "uid": "x"}, "unexpected username format"),
        ({"username": "system:serviceaccount:../..:x", "uid": "x"}, "unexpected username format"),
        ({"username": "system:serviceaccount:a:b/../c", "uid": "x"}, "unexpected username format"),
        ({"username": "system:serviceaccount:a:b?x", "uid": "x"}, "unexpected username format"),
        ({"username": ["system"], "uid": "x"}, "unexpected username format"),
        ({"username": "system:serviceaccount:a:b"}, "the user has no uid"),
        (None, "unexpected username format"),
        ([], "unexpected username format"),
    ],
)
async def test_odd_users_of_kubernetes_are_refused(tmp_path: Path, user: Any, text: str) -> None:
    async with counterpart(tmp_path) as here:
        answer = json.dumps({"status": {"authenticated": True, "user": user}}).encode()
        here.says("/apis/authentication.k8s.io/v1/tokenreviews", answer, 201)
        config = {"Host": here.url, "CACert": here.ca, "ServiceAccountJWT": sign(usual())}
        assert text in await refused(Verifier(), method("kubernetes", **config), sign(usual()))
        assert len(here.asked) == 1


@pytest.mark.parametrize("status", [{}, None, {"authenticated": "true"}, {"authenticated": False}, []])
async def test_unauthenticated_tokens_are_refused(tmp_path: Path, status: Any) -> None:
    async with counterpart(tmp_path) as here:
        here.says("/apis/authentication.k8s.io/v1/tokenreviews", json.dumps({"status": status}).encode(), 201)
        config = {"Host": here.url, "CACert": here.ca, "ServiceAccountJWT": sign(usual())}
        text = await refused(Verifier(), method("kubernetes", **config), sign(usual()))
        assert text == "lookup failed: service account jwt not valid"


# AWS


async def test_aws_vouches_for_roles(tmp_path: Path) -> None:
    async with counterpart(tmp_path, secure=False) as here:
        here.says("/sts/", caller_answer(SESSION).body)
        here.says("/iam/", role_answer().body)
        config = {
            "BoundIAMPrincipalARNs": ["arn:aws:iam::123456789012:role/team/*"],
            "EnableIAMEntityDetails": True,
            "STSEndpoint": f"{here.url}/sts/",
            "IAMEndpoint": f"{here.url}/iam/",
        }
        token = bearer(headers={**HEADERS, **ENTITY})
        made = await Verifier().verify(method("aws-iam", **config), token)
        assert made.variables["entity_path"] == "/team/"
        here.says("/sts/", b"<ErrorResponse/>", 403)
        assert await refused(Verifier(), method("aws-iam", **config), token) == "received error code 403 from STS"
        assert here.asked == ["/sts/", "/iam/", "/sts/"]


async def test_aws_is_asked_again_when_it_cannot_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifying, "_PAUSE", 0.0)
    answers: list[Answer | None] = [None, Answer(503, {}, b""), caller_answer(SESSION)]

    async def ask(question: Question) -> Answer:
        answer = answers.pop(0)
        if answer is None:
            raise NoAnswer("connection refused")
        return answer

    config = {"BoundIAMPrincipalARNs": ["arn:aws:iam::123456789012:role/web"], "MaxRetries": 2}
    made = await Verifier(ask).verify(method("aws-iam", **config), bearer())
    assert made.variables["entity_name"] == "web" and answers == []
    answers += [None, Answer(503, {}, b""), Answer(503, {}, b"")]
    assert "error code 503" in await refused(Verifier(ask), method("aws-iam", **config), bearer())
    answers += [None] * 3
    assert "connection refused" in await refused(Verifier(ask), method("aws-iam", **config), bearer())
