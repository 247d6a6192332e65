"""Auth methods, binding rules, login and logout, against the real state and a verifier with made-up servers."""

import asyncio
import logging
from typing import Any

import pytest

from model.codec import pack_builtins, unpack
from model.durations import SECOND
from model.errors import RpcError
from model.structs.acl import (
    ACLAuthMethod,
    ACLBindingRule,
    ACLLoginParams,
    ACLPolicy,
    ACLRole,
    ACLRolePolicyLink,
    ACLToken,
    ACLTokenPolicyLink,
)
from model.tables import Watch
from server.acl.login.asking import Answer, NoAnswer, Question
from server.acl.login.verifying import Verifier
from server.acl.resolver import Resolver
from server.acl.settings import AclSettings
from server.leader.access import establish
from tests.endpoints.fake import FakeServer
from tests.login.tokens import key_set, pem, rsa_key, sign, usual

ROOT = "10000000-0000-4000-8000-000000000001"
CONFIG = {
    "BoundIssuer": "corp",
    "BoundAudiences": ["consul"],
    "JWTValidationPubKeys": [pem(rsa_key())],
    "ClaimMappings": {"sub": "name", "svc": "svc"},
    "ListClaimMappings": {"groups": "groups"},
}
JWKS = {
    "BoundAudiences": ["consul"],
    "JWKSURL": "https://127.0.0.1/keys",
    "ClaimMappings": {"sub": "name", "svc": "svc"},
}


class AclServer(FakeServer):
    """A server with access control on; `keys` is what the server of keys answers, None that it does not."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.now = 1_700_000_000.0
        chosen = {"enabled": True, "default_allow": False, "initial_management": ROOT, **settings}
        self.acl = Resolver(AclSettings(**chosen), "dc1", lambda: self.fsm.store, self.now_nanoseconds)
        self.keys: bytes | None = key_set(a=rsa_key())
        self.gate: asyncio.Event | None = None
        self.asked = asyncio.Event()
        self.credentials = Verifier(self._ask, lambda: self.now, lambda: self.now)

    async def _ask(self, question: Question) -> Answer:
        self.asked.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.keys is None:
            raise NoAnswer("connection refused")
        return Answer(200, {}, self.keys)

    def token_of(self, **claims: Any) -> str:
        """A JWT that is good now."""
        now = int(self.now)
        return sign(usual(**{"iat": now, "nbf": now, "exp": now + 3600, "svc": "web", "groups": ["dev"], **claims}))

    async def method(self, name: str = "jwt1", **more: Any) -> ACLAuthMethod:
        """Write an auth method."""
        method = ACLAuthMethod(**{"name": name, "type": "jwt", "config": CONFIG, **more})
        written = await self.call("ACL.AuthMethodSet", auth_method=method, token=ROOT)
        assert isinstance(written, ACLAuthMethod)
        return written

    async def rule(self, bind_name: str = "${value.svc}", **more: Any) -> ACLBindingRule:
        """Write a binding rule."""
        rule = ACLBindingRule(**{"auth_method": "jwt1", "bind_type": "service", "bind_name": bind_name, **more})
        written = await self.call("ACL.BindingRuleSet", binding_rule=rule, token=ROOT)
        assert isinstance(written, ACLBindingRule)
        return written

    async def login(self, bearer: str | None = None, method: str = "jwt1", **more: Any) -> ACLToken:
        """Log in."""
        auth = ACLLoginParams(auth_method=method, bearer_token=self.token_of() if bearer is None else bearer, **more)
        made = await self.call("ACL.Login", auth=auth)
        assert isinstance(made, ACLToken)
        return made


async def started(**settings: Any) -> AclServer:
    server = AclServer(**settings)
    await establish(server)
    return server


async def refusal(call: Any) -> str:
    with pytest.raises(RpcError) as caught:
        await call
    return caught.value.text


# Login


async def test_a_login_gives_what_the_rules_bind() -> None:
    server = await started()
    await server.call(
        "ACL.PolicySet", policy=ACLPolicy(name="p", rules='key_prefix "pay/" { policy = "read" }'), token=ROOT
    )
    await server.call(
        "ACL.RoleSet", role=ACLRole(name="role-alice", policies=[ACLRolePolicyLink(name="p")]), token=ROOT
    )
    await server.method(max_token_ttl=600 * SECOND)
    await server.rule()
    await server.rule("role-${value.name}", bind_type="role")
    await server.rule("no-such-role", bind_type="role")
    await server.rule("${value.svc}-node", bind_type="node", selector="dev in list.groups")
    await server.rule("never", selector="ops in list.groups")
    token = await server.login(server.token_of(sub="Alice"), meta={"pod": "<x>", "host": "n1"})
    assert token.description == 'token created via login: {"host":"n1","pod":"\\u003cx\\u003e"}'
    assert token.local and token.auth_method == "jwt1"
    assert [one.name for one in token.roles or ()] == ["role-alice"]
    assert [one.service_name for one in token.service_identities or ()] == ["web"]
    assert [(one.node_name, one.datacenter) for one in token.node_identities or ()] == [("web-node", "dc1")]
    assert token.expiration_time is not None and token.expiration_time.unix == server.now + 600
    authorizer = server.acl.authorizer(token.secret_id)
    assert authorizer.allowed("key", "read", "pay/a") and not authorizer.allowed("key", "write", "pay/a")
    assert authorizer.allowed("service", "write", "web") and not authorizer.allowed("service", "write", "db")
    assert authorizer.allowed("node", "write", "web-node")
    server.now += 601
    assert await refusal(server.call("ACL.Logout", token=token.secret_id)) == "ACL not found"


async def test_tokens_can_be_global_and_last_for_ever() -> None:
    server = await started()
    await server.method(token_locality="global")
    await server.rule("web")
    token = await server.login()
    assert not token.local and token.expiration_time is None and token.description == "token created via login"


async def test_a_login_without_any_binding_is_denied() -> None:
    server = await started()
    await server.method()
    assert await refusal(server.login()) == "Permission denied"
    await server.rule("no-such-role", bind_type="role")
    await server.rule("web", selector="value.name==bob")
    assert await refusal(server.login()) == "Permission denied"


async def test_bad_logins_are_refused() -> None:
    server = await started()
    await server.method()
    await server.rule()
    before = len(server.raft.commands)
    bearer = server.token_of()
    assert await refusal(server.call("ACL.Login")) == "Invalid Login request: Missing auth parameters"
    given = server.call("ACL.Login", auth=ACLLoginParams(auth_method="jwt1", bearer_token=bearer), token=ROOT)
    assert await refusal(given) == "do not provide a token when logging in"
    assert await refusal(server.login(method='no"pe')) == 'ACL not found: auth method "no\\"pe" not found'
    assert await refusal(server.login("")) == "missing jwt"
    assert "no known key" in await refusal(server.login(sign(usual(), rsa_key("other"))))
    assert "expired" in await refusal(server.login(server.token_of(exp=int(server.now) - 100)))
    bad = await refusal(server.login(server.token_of(svc="Not Valid")))
    assert bad == 'computed "service" bind name for bind target is invalid: "not valid"'
    assert "longer than" in await refusal(server.login(meta={"a": "x" * 100_000}))
    assert len(server.raft.commands) == before


async def test_a_login_writes_and_logs_no_credential(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server = await started()
    await server.method()
    await server.rule()
    bearer = server.token_of()
    token = await server.login(bearer)
    parts = (bearer, *bearer.split("."))
    assert not any(part.encode() in command for part in parts for _, command in server.raft.commands)
    assert token.accessor_id in caplog.text
    assert not any(part in caplog.text for part in (*parts, token.secret_id))


async def test_names_of_methods_ignore_case_at_login() -> None:
    server = await started()
    await server.method("Jwt1")
    await server.rule("web", auth_method="Jwt1")
    assert (await server.login(method="JWT1")).auth_method == "Jwt1"


@pytest.mark.parametrize("change", ["settings", "delete", "recreate", "rules"])
async def test_what_changes_during_a_login_counts(change: str) -> None:
    server = await started()
    await server.method(config=JWKS)
    await server.rule("web")
    server.gate, server.asked = asyncio.Event(), asyncio.Event()
    now = int(server.now)
    bearer = sign(usual(iat=now, nbf=now, exp=now + 60), kid="a")
    login = asyncio.create_task(server.login(bearer))
    await server.asked.wait()
    if change == "settings":
        await server.method(config=CONFIG)
    if change in ("delete", "recreate"):
        await server.call("ACL.AuthMethodDelete", auth_method_name="jwt1", token=ROOT)
    if change == "recreate":
        await server.method(config=CONFIG)
        await server.rule("web")
    if change == "rules":
        await server.rule("db")
    server.gate.set()
    if change == "rules":
        assert [one.service_name for one in (await login).service_identities or ()] == ["db", "web"]
    elif change == "delete":
        assert await refusal(login) == 'ACL not found: auth method "jwt1" not found'
    else:
        assert "has changed during the login" in await refusal(login)


async def test_a_follower_passes_a_login_on() -> None:
    leader = await started()
    await leader.method()
    await leader.rule()
    follower = AclServer()
    follower.raft.is_leader = False
    follower.forward_to = leader
    token = await follower.login(leader.token_of())
    assert leader.acl.token(token.secret_id).auth_method == "jwt1"


# Logout


async def test_a_logout_ends_the_token_of_a_login_alone() -> None:
    server = await started()
    await server.method()
    await server.rule()
    token = await server.login()
    assert await refusal(server.call("ACL.Logout")) == "ACL not found"
    assert await refusal(server.call("ACL.Logout", token="20000000-0000-4000-8000-000000000001")) == "ACL not found"
    denied = "Permission denied: token wasn't created via login"
    assert await refusal(server.call("ACL.Logout", token=ROOT)) == denied
    assert await refusal(server.call("ACL.Logout", token="anonymous")) == denied
    assert await server.call("ACL.Logout", token=token.secret_id) is True
    assert await refusal(server.call("ACL.Logout", token=token.secret_id)) == "ACL not found"


# Auth methods


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"name": ""}, "Invalid Auth Method: no Name is set"),
        ({"name": "bad name"}, "Invalid Auth Method: invalid Name. Only alphanumeric characters, '-' and '_' are"),
        ({"name": "x" * 129}, "Invalid Auth Method: invalid Name."),
        ({"type": ""}, "Invalid Auth Method: Type should be one of: [aws-iam jwt kubernetes]"),
        ({"max_token_ttl": 30 * SECOND}, "MaxTokenTTL 30s cannot be less than 1m0s"),
        ({"max_token_ttl": -SECOND}, "MaxTokenTTL -1s cannot be less than 1m0s"),
        ({"max_token_ttl": 90000 * SECOND}, "MaxTokenTTL 25h0m0s cannot be more than 24h0m0s"),
        ({"token_locality": "galactic"}, "Invalid Auth Method: TokenLocality should be one of 'local' or 'global'"),
        ({"config": {"Nope": 1}}, "Invalid Auth Method: error decoding config: 1 error(s) decoding:"),
        ({"config": None}, "Invalid Auth Method: exactly one of"),
    ],
)
async def test_bad_methods_are_refused(more: dict[str, Any], text: str) -> None:
    server = await started()
    assert (await refusal(server.method(**more))).startswith(text)


async def test_the_type_of_a_method_stays() -> None:
    server = await started()
    await server.method()
    assert await refusal(server.method(type="kubernetes")) == "the Type field of an Auth Method is immutable"
    assert (await server.method(type="", description="changed")).type == "jwt"


async def test_keys_have_to_be_there_when_a_method_is_written() -> None:
    server = await started()
    server.keys = None
    text = await refusal(server.method(config=JWKS))
    assert text == "Invalid Auth Method: error checking JWKSURL: connection refused"
    assert (await server.call("ACL.AuthMethodRead", auth_method_name="jwt1", token=ROOT)).auth_method is None


async def test_a_method_that_appears_while_keys_are_asked_for_keeps_its_type() -> None:
    server = await started()
    server.gate = asyncio.Event()
    writing = asyncio.create_task(server.method(config=JWKS))
    await server.asked.wait()
    await server.method(type="aws-iam", config={"BoundIAMPrincipalARNs": ["arn:aws:iam::1:role/a"]})
    server.gate.set()
    assert await refusal(writing) == "the Type field of an Auth Method is immutable"
    assert server.store.acl.method("jwt1")[0].type == "aws-iam"


async def test_deleting_a_method_deletes_its_rules_and_tokens() -> None:
    server = await started()
    for name in ("jwt1", "jwt2"):
        await server.method(name)
        await server.rule("web", auth_method=name)
    gone, stays = await server.login(), await server.login(method="jwt2")
    watch = Watch()
    server.store.acl.binding_rules("", watch)
    waiting = asyncio.create_task(watch.wait(server.store.watches, 10.0))
    await asyncio.sleep(0)
    assert await server.call("ACL.AuthMethodDelete", auth_method_name="jwt1", token=ROOT) is True
    assert await waiting
    assert await server.call("ACL.AuthMethodDelete", auth_method_name="jwt1", token=ROOT) is False
    assert server.acl.token(stays.secret_id)
    with pytest.raises(RpcError, match="ACL not found"):
        server.acl.authorizer(gone.secret_id)
    rules = await server.call("ACL.BindingRuleList", token=ROOT)
    assert [one.auth_method for one in rules.binding_rules] == ["jwt2"]
    methods = await server.call("ACL.AuthMethodList", token=ROOT)
    assert [one.name for one in methods.auth_methods] == ["jwt2"]


async def test_settings_survive_the_log_and_a_snapshot() -> None:
    server = await started()
    written = await server.method()
    assert unpack(ACLAuthMethod, pack_builtins({"Name": "a", "Config": CONFIG})).config == CONFIG
    assert written.config == CONFIG
    restored = FakeServer()
    for record in server.store.acl.records():
        for row in record.rows():
            next(one for one in restored.store.acl.records() if one.kind is record.kind).load(row)
    assert restored.store.acl.method("jwt1")[0] == written


# Binding rules


async def test_rules_are_judged_by_their_method() -> None:
    server = await started()
    assert await refusal(server.rule(auth_method="")) == "Invalid Binding Rule: no AuthMethod is set"
    assert await refusal(server.rule()) == 'cannot find auth method with name "jwt1"'
    await server.method()
    rule = await server.rule(selector="value.svc==web", description="d")
    assert await refusal(server.rule("${value.nope}")) == (
        "Invalid Binding Rule: invalid BindName: 1:3: unknown variable accessed: value.nope"
    )
    assert (await refusal(server.rule(selector="foo==bar"))).startswith("invalid Binding Rule: Selector is invalid")
    assert await refusal(server.rule(id="junk")) == "Binding Rule ID invalid UUID"
    other = "20000000-0000-4000-8000-000000000001"
    assert await refusal(server.rule(id=other)) == f"cannot find binding rule {other}"
    await server.method("jwt2")
    text = await refusal(server.rule(id=rule.id, auth_method="jwt2"))
    assert text == "the AuthMethod field of an Binding Rule is immutable"
    changed = await server.rule("db", id=rule.id, auth_method="")
    assert (changed.auth_method, changed.bind_name, changed.selector) == ("jwt1", "db", "")
    assert changed.create_index == rule.create_index and changed.modify_index > rule.modify_index
    read = await server.call("ACL.BindingRuleRead", binding_rule_id=rule.id, token=ROOT)
    assert read.binding_rule == changed and read.index == changed.modify_index
    assert await server.call("ACL.BindingRuleDelete", binding_rule_id=rule.id, token=ROOT) is True
    assert await server.call("ACL.BindingRuleDelete", binding_rule_id=rule.id, token=ROOT) is False
    for call in ("ACL.BindingRuleRead", "ACL.BindingRuleDelete"):
        text = await refusal(server.call(call, binding_rule_id="junk", token=ROOT))
        assert text == "failed acl binding rule lookup: index error: UUID must be 36 characters"


# Rights

READS: list[tuple[str, dict[str, Any]]] = [
    ("ACL.AuthMethodRead", {"auth_method_name": "jwt1"}),
    ("ACL.AuthMethodList", {}),
    ("ACL.BindingRuleRead", {"binding_rule_id": "20000000-0000-4000-8000-000000000001"}),
    ("ACL.BindingRuleList", {}),
]
WRITES: list[tuple[str, dict[str, Any]]] = [
    ("ACL.AuthMethodSet", {"auth_method": ACLAuthMethod(name="x", type="jwt", config=CONFIG)}),
    ("ACL.AuthMethodDelete", {"auth_method_name": "jwt1"}),
    ("ACL.BindingRuleSet", {"binding_rule": ACLBindingRule(auth_method="jwt1", bind_type="role", bind_name="r")}),
    ("ACL.BindingRuleDelete", {"binding_rule_id": "20000000-0000-4000-8000-000000000001"}),
]


@pytest.mark.parametrize(("call", "args"), [*READS, *WRITES])
async def test_rights_to_acls_are_needed(call: str, args: dict[str, Any]) -> None:
    server = await started()
    await server.method()
    needed = "read" if (call, args) in READS else "write"
    text = await refusal(server.call(call, **args))
    assert text.startswith("Permission denied: ") and f"lacks permission 'acl:{needed}'" in text
    assert await refusal(server.call(call, **args, token="20000000-0000-4000-8000-0000000000ff")) == "ACL not found"
    reader = await _reader(server)
    if needed == "write":
        assert "lacks permission 'acl:write'" in await refusal(server.call(call, **args, token=reader))
    await server.call(call, **args, token=reader if needed == "read" else ROOT)


async def _reader(server: AclServer) -> str:
    """The secret of a token that may read ACLs."""
    await server.call("ACL.PolicySet", policy=ACLPolicy(name="r", rules='acl = "read"'), token=ROOT)
    token = ACLToken(policies=[ACLTokenPolicyLink(name="r")])
    made = await server.call("ACL.TokenSet", acl_token=token, create=True, token=ROOT)
    return str(made.secret_id)


@pytest.mark.parametrize("call", ["ACL.Login", "ACL.Logout", *(call for call, _ in (*READS, *WRITES))])
async def test_nothing_works_while_access_control_is_off(call: str) -> None:
    server = AclServer(enabled=False)
    assert await refusal(server.call(call)) == "ACL support disabled"
