"""Logins over HTTP and from the command line: a real agent, and real servers of keys, discovery and Kubernetes."""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.login.counterparts import Counterpart, counterpart
from tests.login.kubernetes_api import KubernetesApi
from tests.login.tokens import key_set, pem, rsa_key, sign, usual
from tests.support.mutate import wrong_bytes, wrong_json
from tests.support.process import Agent, dev_agent
from tests.support.usage import unexpected

REQUESTS = int(os.environ.get("LICTOR_FUZZ_REQUESTS", "300"))
SEED = int(os.environ.get("LICTOR_FUZZ_SEED", "1"))
ROOT = "10000000-0000-4000-8000-000000000001"
ACL = {"enabled": True, "default_policy": "deny", "tokens": {"initial_management": ROOT}}


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    acl = {**ACL, "tokens": {**ACL["tokens"], "default": ROOT}}  # type: ignore[dict-item]
    with dev_agent(tmp_path_factory.mktemp("agent"), acl=acl, log_level="trace") as running:
        running.until(lambda: running.request("GET", f"/v1/acl/token/self?token={ROOT}")[0] == 200)
        yield running


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Counterpart]:
    async with counterpart(tmp_path / "counterpart") as running:
        yield running


def call(agent: Agent, method: str, path: str, body: Any = None, token: str = ROOT) -> tuple[int, Any]:
    """A request with a token: status, and the answer, parsed if it is JSON."""
    status, raw = agent.request(method, f"{path}?{urlencode({'token': token})}", body)
    try:
        return status, json.loads(raw)
    except ValueError:
        return status, raw.decode()


def login(agent: Agent, method: str, bearer: str, **more: Any) -> tuple[int, Any]:
    status, raw = agent.request("POST", "/v1/acl/login", {"AuthMethod": method, "BearerToken": bearer, **more})
    return status, json.loads(raw) if status == 200 else raw.decode()


def set_up(agent: Agent, name: str, kind: str, config: dict[str, Any], bind_name: str) -> None:
    """An auth method with one rule."""
    body = {"Name": name, "Type": kind, "Config": config}
    assert call(agent, "PUT", "/v1/acl/auth-method", body)[0] == 200
    rule = {"AuthMethod": name, "BindType": "service", "BindName": bind_name}
    assert call(agent, "PUT", "/v1/acl/binding-rule", rule)[0] == 200


def services_of(token: dict[str, Any]) -> list[str]:
    return [one["ServiceName"] for one in token["ServiceIdentities"]]


async def aside(function: Callable[..., Any], *args: Any, **more: Any) -> Any:
    """Ask the agent in a thread, so that the servers that it asks in turn can answer here."""
    return await asyncio.to_thread(function, *args, **more)


def test_a_jwt_buys_a_token_that_a_logout_ends(agent: Agent) -> None:
    config = {
        "BoundAudiences": ["consul"],
        "BoundIssuer": "corp",
        "JWTValidationPubKeys": [pem(rsa_key())],
        "ClaimMappings": {"sub": "sub"},
    }
    set_up(agent, "static", "jwt", config, "svc-${value.sub}")
    bearer = sign(usual())
    status, token = login(agent, "static", bearer, Meta={"host": "h1"})
    assert status == 200 and services_of(token) == ["svc-alice"] and token["AuthMethod"] == "static"
    assert token["Description"] == 'token created via login: {"host":"h1"}'
    secret = token["SecretID"]
    status, own = call(agent, "GET", "/v1/acl/token/self", token=secret)
    assert status == 200 and own["AccessorID"] == token["AccessorID"]
    assert call(agent, "GET", "/v1/kv/x", token=secret)[0] == 403
    assert call(agent, "POST", "/v1/acl/logout", token=secret) == (200, True)
    assert call(agent, "POST", "/v1/acl/logout", token=secret) == (403, "ACL not found")
    assert call(agent, "POST", "/v1/acl/logout") == (403, "Permission denied: token wasn't created via login")
    for token_text in (sign(usual(exp=1)), sign(usual(), rsa_key("other")), "junk"):
        status, text = login(agent, "static", token_text)
        assert status == 500 and token_text not in text
    for method in ("GET", "PUT", "DELETE"):
        for path in ("/v1/acl/login", "/v1/acl/logout"):
            assert agent.request(method, path)[0] == 405
    assert agent.request("POST", "/v1/acl/login", b"{") == (400, b"Failed to decode request body: unexpected EOF")
    assert agent.request("POST", "/v1/acl/login", {"Nope": 1})[0] == 400
    assert bearer not in agent.log.read_text()


def test_deleting_a_method_ends_its_tokens(agent: Agent) -> None:
    set_up(agent, "brief", "jwt", {"BoundAudiences": ["consul"], "JWTValidationPubKeys": pem(rsa_key())}, "web")
    status, token = login(agent, "brief", sign(usual()))
    assert status == 200
    assert call(agent, "GET", "/v1/acl/token/self", token=token["SecretID"])[0] == 200
    assert call(agent, "DELETE", "/v1/acl/auth-method/brief") == (200, True)
    assert call(agent, "GET", "/v1/acl/token/self", token=token["SecretID"])[0] == 403
    status, rules = call(agent, "GET", "/v1/acl/binding-rules")
    assert "brief" not in {rule["AuthMethod"] for rule in rules}
    assert login(agent, "brief", sign(usual())) == (403, 'ACL not found: auth method "brief" not found')


async def test_keys_come_from_a_url(agent: Agent, here: Counterpart) -> None:
    here.says("/keys", key_set(a=rsa_key("a")))
    config = {
        "BoundAudiences": ["consul"],
        "JWKSURL": f"{here.url}/keys",
        "JWKSCACert": here.ca,
        "ListClaimMappings": {"groups": "groups"},
    }
    await aside(set_up, agent, "jwks", "jwt", config, "web")
    good = sign(usual(groups=["dev"]), rsa_key("a"), kid="a")
    status, token = await aside(login, agent, "jwks", good)
    assert status == 200 and services_of(token) == ["web"]
    # The issuer changes its keys.
    here.says("/keys", key_set(b=rsa_key("b")))
    status, _ = await aside(login, agent, "jwks", sign(usual(), rsa_key("b"), kid="b"))
    assert status == 200
    status, text = await aside(login, agent, "jwks", good)
    assert (status, text) == (500, "error verifying token: failed to verify id token signature")
    # A certificate of somebody else: the method is not even written.
    bad = {"Name": "jwks2", "Type": "jwt", "Config": {"JWKSURL": f"{here.url}/keys"}}
    status, text = await aside(call, agent, "PUT", "/v1/acl/auth-method", bad)
    assert status == 500 and "error checking JWKSURL" in text and "unknown authority" in text


async def test_an_issuer_is_found_by_discovery(agent: Agent, here: Counterpart) -> None:
    document = {"issuer": here.url, "jwks_uri": f"{here.url}/keys"}
    here.says("/.well-known/openid-configuration", json.dumps(document).encode())
    here.says("/keys", key_set(a=rsa_key()))
    config = {"BoundAudiences": ["consul"], "OIDCDiscoveryURL": here.url, "OIDCDiscoveryCACert": here.ca}
    await aside(set_up, agent, "oidc", "jwt", config, "web")
    status, token = await aside(login, agent, "oidc", sign(usual(iss=here.url), kid="a"))
    assert status == 200 and services_of(token) == ["web"]
    status, text = await aside(login, agent, "oidc", sign(usual(iss="https://other"), kid="a"))
    assert status == 500 and "issued by a different provider" in text


async def test_kubernetes_vouches_for_pods(agent: Agent, here: Counterpart) -> None:
    reviewer, pod = sign(usual(sub="reviewer")), sign(usual(sub="pod"))
    api = KubernetesApi(here, reviewer)
    api.has("default", "web", pod, **{"consul.hashicorp.com/service-name": "Shop"})
    config = {"Host": here.url, "CACert": here.ca, "ServiceAccountJWT": reviewer}
    await aside(set_up, agent, "k8s", "kubernetes", config, "k-${serviceaccount.name}")
    status, token = await aside(login, agent, "k8s", pod)
    assert status == 200 and services_of(token) == ["k-shop"]
    status, text = await aside(login, agent, "k8s", sign(usual(sub="nobody")))
    assert (status, text) == (500, "lookup failed: token has expired")
    log = agent.log.read_text()
    assert reviewer not in log and pod not in log
    status, listed = await aside(call, agent, "GET", "/v1/acl/auth-methods")
    assert status == 200 and reviewer not in json.dumps(listed)


async def test_the_command_line_logs_in_and_out(agent: Agent, here: Counterpart, tmp_path: Path) -> None:
    here.says("/keys", key_set(a=rsa_key()))
    config = {"BoundAudiences": ["consul"], "JWKSURL": f"{here.url}/keys", "JWKSCACert": here.ca}
    await aside(set_up, agent, "cli", "jwt", config, "web")
    (tmp_path / "jwt").write_text(sign(usual(), kid="a") + "\n")
    sink = tmp_path / "sink"
    words = ("login", "-method=cli", f"-bearer-token-file={tmp_path / 'jwt'}", f"-token-sink-file={sink}", "-meta=a=b")
    done = await aside(agent.cli, *words)
    assert done.returncode == 0 and done.stdout == "", done.stderr
    secret = sink.read_text()
    status, own = await aside(call, agent, "GET", "/v1/acl/token/self", token=secret)
    assert status == 200 and own["Description"] == 'token created via login: {"a":"b"}'
    done = await aside(agent.cli, "logout", f"-token-file={sink}")
    assert done.returncode == 0, done.stderr
    assert (await aside(call, agent, "GET", "/v1/acl/token/self", token=secret))[0] == 403


def test_a_login_through_a_client_agent_reaches_the_leader(tmp_path: Path) -> None:
    server = Agent(
        tmp_path / "server",
        [],
        {"server": True, "bootstrap": True, "data_dir": str(tmp_path / "server-data"), "acl": ACL},
    )
    client = Agent(
        tmp_path / "client",
        [],
        {
            "node_name": "node2",
            "data_dir": str(tmp_path / "client-data"),
            "retry_join": [f"127.0.0.1:{server.ports['serf_lan']}"],
            "acl": {"enabled": True, "default_policy": "deny", "tokens": {"agent": ROOT}},
        },
    )
    try:
        server.start()
        client.start()
        for agent in (server, client):
            agent.until(lambda agent=agent: call(agent, "GET", "/v1/acl/token/self")[0] == 200, 60)
        config = {"BoundAudiences": ["consul"], "JWTValidationPubKeys": [pem(rsa_key())]}
        set_up(client, "m", "jwt", config, "web")
        status, token = login(client, "m", sign(usual()))
        assert status == 200 and services_of(token) == ["web"]
        assert call(server, "GET", "/v1/acl/token/self", token=token["SecretID"])[0] == 200
        status, text = login(client, "m", "junk")
        assert status == 500 and text.endswith(
            "error parsing token: square/go-jose: compact JWS format must have three parts"
        )
        assert login(client, "none", sign(usual()))[0] == 403
        assert call(client, "POST", "/v1/acl/logout", token=token["SecretID"]) == (200, True)
        assert call(server, "GET", "/v1/acl/token/self", token=token["SecretID"])[0] == 403
    finally:
        for agent in (client, server):
            if agent.process is not None:
                agent.stop()


BODIES: list[tuple[str, str, dict[str, Any]]] = [
    (
        "PUT",
        "/v1/acl/auth-method",
        {
            "Name": "fuzz",
            "Type": "jwt",
            "MaxTokenTTL": "5m",
            "TokenLocality": "local",
            "Config": {
                "BoundIssuer": "corp",
                "BoundAudiences": ["consul"],
                "JWTValidationPubKeys": [pem(rsa_key())],
                "JWTSupportedAlgs": ["RS256"],
                "ClaimMappings": {"sub": "sub", "/a/b": "c"},
                "ListClaimMappings": {"groups": "groups"},
                "ClockSkewLeeway": 30_000_000_000,
            },
        },
    ),
    (
        "PUT",
        "/v1/acl/auth-method",
        {
            "Name": "fuzz2",
            "Type": "aws-iam",
            "Config": {"BoundIAMPrincipalARNs": ["arn:aws:iam::1:role/a"], "EnableIAMEntityDetails": True},
        },
    ),
    (
        "PUT",
        "/v1/acl/binding-rule",
        {
            "AuthMethod": "static",
            "BindType": "service",
            "BindName": "${value.sub}",
            "Selector": "value.sub==alice",
            "Description": "d",
        },
    ),
    ("POST", "/v1/acl/login", {"AuthMethod": "static", "BearerToken": sign(usual()), "Meta": {"a": "b"}}),
]


def test_hostile_bodies_are_refused_in_words(agent: Agent) -> None:
    chance = random.Random(SEED)
    for _ in range(REQUESTS):
        method, path, body = chance.choice(BODIES)
        raw = wrong_json(chance, body) if chance.random() < 0.8 else wrong_bytes(chance, json.dumps(body).encode())
        status, _ = agent.request(method, f"{path}?token={ROOT}", raw)
        assert status in (200, 400, 403, 413, 500), (method, path, raw)
    log = agent.log.read_text(errors="replace")
    assert "internal error" not in log and "Traceback" not in log, unexpected(log)
