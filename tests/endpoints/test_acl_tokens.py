"""Tokens and the bootstrap: what is refused and in which words, what is kept, and who sees secrets."""

import json
import logging
from pathlib import Path
from typing import Any

import msgspec
import pytest

from model.durations import SECOND
from model.gotime import GoTime
from model.structs.acl import (
    ACLNodeIdentity,
    ACLServiceIdentity,
    ACLToken,
    ACLTokenPolicyLink,
    ACLTokenRoleLink,
)
from server.leader.access import remove_expired_tokens
from tests.endpoints.acl_server import ROOT, AclServer, acl_server, refusal

FREE = "22222222-2222-4222-8222-222222222222"
HOUR = 3600 * SECOND


async def set_token(server: AclServer, create: bool = True, **fields: Any) -> Any:
    return await server.call("ACL.TokenSet", acl_token=ACLToken(**fields), create=create, token=ROOT)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"accessor_id": "x"}, "Invalid Token: AccessorID is not a valid UUID"),
        ({"secret_id": "x"}, "Invalid Token: SecretID is not a valid UUID"),
        ({"accessor_id": "00000000-0000-0000-0000-000000000009"}, "Invalid Token: AccessorID is reserved"),
        ({"secret_id": "00000000-0000-0000-0000-000000000009"}, "Invalid Token: SecretID is reserved"),
        ({"secret_id": ROOT}, "Invalid Token: SecretID is already in use"),
        ({"accessor_id": ROOT}, "Invalid Token: AccessorID is already in use"),
        ({"auth_method": "m"}, "AuthMethod field is disallowed outside of Login"),
        ({"expiration_ttl": -SECOND}, "Token Expiration TTL '-1s' should be > 0"),
        ({"expiration_ttl": SECOND}, "ExpirationTime cannot be less than 1m0s in the future (was 1s)"),
        ({"expiration_ttl": 25 * HOUR}, "ExpirationTime cannot be more than 24h0m0s in the future (was 25h0m0s)"),
        (
            {"expiration_time": GoTime.from_unix_nanoseconds(10**18)},
            "ExpirationTime cannot be before CreateTime",
        ),
        (
            {"expiration_ttl": HOUR, "expiration_time": GoTime.from_unix_nanoseconds(1_700_000_100 * 10**9)},
            "Token Expiration TTL and Expiration Time cannot both be set",
        ),
        ({"policies": [ACLTokenPolicyLink(name="none")]}, 'No such ACL policy with name "none"'),
        ({"roles": [ACLTokenRoleLink(name="none")]}, 'No such ACL role with name "none"'),
        (
            {"policies": [ACLTokenPolicyLink(id=FREE)]},
            f"Failed to apply token write request: No such policy with ID: {FREE}",
        ),
        (
            {"service_identities": [ACLServiceIdentity()]},
            "Service identity is missing the service name field on this token",
        ),
        (
            {"service_identities": [ACLServiceIdentity(service_name="Web")]},
            'Service identity "Web" has an invalid name. '
            "Only lowercase alphanumeric characters, '-' and '_' are allowed",
        ),
        (
            {"local": True, "service_identities": [ACLServiceIdentity(service_name="w", datacenters=["dc1"])]},
            'Service identity "w" cannot specify a list of datacenters on a local token',
        ),
        ({"node_identities": [ACLNodeIdentity()]}, "Node identity is missing the node name field on this token"),
        (
            {"node_identities": [ACLNodeIdentity(node_name="n")]},
            "Node identity is missing the datacenter field on this token",
        ),
        (
            {"node_identities": [ACLNodeIdentity(node_name='n" { policy = "write" }', datacenter="dc1")]},
            "Node identity has an invalid name. Only lowercase alphanumeric characters, '-' and '_' are allowed",
        ),
    ],
)
async def test_what_no_token_may_be(fields: dict[str, Any], text: str) -> None:
    server = await acl_server()
    index = server.raft.index
    assert await refusal(set_token(server, **fields)) == text
    assert len(server.store.acl.all_tokens()[0]) == 2 and server.raft.index - index <= 1


async def test_a_new_token_gets_what_it_does_not_bring() -> None:
    server = await acl_server()
    made = await set_token(server, description="d", expiration_ttl=HOUR)
    assert made.accessor_id != made.secret_id and made.expiration_ttl == 0
    assert made.create_time.unix == server.now
    assert made.expiration_time.unix == server.now + 3600
    given = await set_token(server, accessor_id=FREE, secret_id=FREE.replace("2", "3"))
    assert (given.accessor_id, given.secret_id) == (FREE, FREE.replace("2", "3"))
    assert given.expiration_time is None


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"accessor_id": "x"}, "AccessorID is not a valid UUID"),
        ({"accessor_id": FREE}, f'Cannot find token "{FREE}"'),
        ({"secret_id": FREE}, "Changing a token's SecretID is not permitted"),
        ({"local": True}, "Cannot toggle local mode of {accessor}"),
        ({"auth_method": "m"}, "Cannot change AuthMethod of {accessor}"),
        ({"expiration_ttl": HOUR}, "Cannot change expiration time of {accessor}"),
        ({"expiration_time": GoTime.from_unix_nanoseconds(10**18)}, "Cannot change expiration time of {accessor}"),
    ],
)
async def test_what_an_update_cannot_change(fields: dict[str, Any], text: str) -> None:
    server = await acl_server()
    made = await set_token(server)
    wanted = {"accessor_id": made.accessor_id, **fields}
    assert await refusal(set_token(server, False, **wanted)) == text.format(accessor=made.accessor_id)
    assert server.store.acl.token(made.accessor_id)[0] == made


async def test_an_update_keeps_the_secret_and_replaces_the_rest() -> None:
    server = await acl_server()
    await server.policy("a", 'key "a" { policy = "read" }')
    made = await server.token("a", description="d", expiration_ttl=HOUR)
    changed = await set_token(server, False, accessor_id=made.accessor_id, description="e")
    assert (changed.description, changed.policies) == ("e", None)
    for name in ("secret_id", "create_time", "expiration_time", "create_index"):
        assert getattr(changed, name) == getattr(made, name)
    assert changed.hash != made.hash


async def test_a_clone_may_do_the_same_under_ids_of_its_own() -> None:
    server = await acl_server()
    await server.policy("a", 'key "a" { policy = "read" }')
    made = await server.token("a", description="d")
    clone = await server.call("ACL.TokenClone", acl_token=ACLToken(accessor_id=made.accessor_id), token=ROOT)
    assert clone.accessor_id != made.accessor_id and clone.secret_id != made.secret_id
    assert (clone.policies, clone.description) == (made.policies, "d")
    named = ACLToken(accessor_id=made.accessor_id, description="other")
    assert (await server.call("ACL.TokenClone", acl_token=named, token=ROOT)).description == "other"
    anonymous = ACLToken(accessor_id="00000000-0000-0000-0000-000000000002")
    refused = await refusal(server.call("ACL.TokenClone", acl_token=anonymous, token=ROOT))
    assert refused == "The anonymous token may not be cloned"
    gone = ACLToken(accessor_id=FREE)
    assert await refusal(server.call("ACL.TokenClone", acl_token=gone, token=ROOT)) == "ACL not found"


async def test_what_cannot_be_deleted() -> None:
    server = await acl_server()
    root = server.store.acl.token_by_secret(ROOT)
    assert root is not None
    anonymous = "00000000-0000-0000-0000-000000000002"
    for accessor, text in (
        (anonymous, "Delete operation not permitted on the anonymous token"),
        (root.accessor_id, "Deletion of the request's authorization token is not permitted"),
        ("x", "failed acl token lookup: index error: UUID must be 36 characters"),
    ):
        assert await refusal(server.call("ACL.TokenDelete", token_id=accessor, token=ROOT)) == text
    assert await server.call("ACL.TokenDelete", token_id=FREE, token=ROOT) == ""


async def test_secrets_are_for_those_who_may_write_tokens() -> None:
    server = await acl_server()
    await server.policy("reader", 'acl = "read"')
    reader = (await server.token("reader")).secret_id
    made = await set_token(server, description="shown")
    for secret, shown in ((ROOT, made.secret_id), (reader, "<hidden>")):
        one = await server.call("ACL.TokenRead", token_id=made.accessor_id, token=secret)
        assert one.token.secret_id == shown and one.redacted is (shown == "<hidden>")
        several = await server.call("ACL.TokenBatchRead", accessor_ids=[made.accessor_id], token=secret)
        assert [row.secret_id for row in several.tokens] == [shown]
        listed = await server.call("ACL.TokenList", include_local=True, include_global=True, token=secret)
        assert {row.accessor_id: row.secret_id for row in listed.tokens}[made.accessor_id] == shown
    own = await server.call("ACL.TokenRead", token_id=reader, token_id_type="secret")
    assert own.token.secret_id == reader


async def test_expired_tokens_are_gone_for_everybody_and_then_removed() -> None:
    server = await acl_server()
    made = await set_token(server, expiration_ttl=60 * SECOND)
    server.now += 60
    for fields in ({"token_id": made.accessor_id}, {"token_id": made.secret_id, "token_id_type": "secret"}):
        assert (await server.call("ACL.TokenRead", **fields, token=ROOT)).token is None
    listed = await server.call("ACL.TokenList", include_local=True, include_global=True, token=ROOT)
    assert made.accessor_id not in [row.accessor_id for row in listed.tokens]
    batch = await server.call("ACL.TokenBatchRead", accessor_ids=[made.accessor_id], token=ROOT)
    assert not batch.tokens
    for method in ("ACL.TokenSet", "ACL.TokenClone"):
        assert await refusal(server.call(method, acl_token=ACLToken(accessor_id=made.accessor_id), token=ROOT))
    await remove_expired_tokens(server)
    assert server.store.acl.token(made.accessor_id)[0] is None


async def test_the_bootstrap_is_repeated_by_the_file_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "acl-bootstrap-reset"
    server = await acl_server(initial_management="", reset_file=file)
    with caplog.at_level(logging.DEBUG):
        first = await server.call("ACL.BootstrapTokens")
        assert server.acl.authorizer(first.secret_id).allowed("acl", "write")
        last = server.store.acl.bootstrapped()
        refused = f"ACL bootstrap no longer allowed (reset index: {last})"
        assert await refusal(server.call("ACL.BootstrapTokens")) == refused
        for text in ("", "no number", "\0" * 5000, "-1", "١"):
            file.write_text(text)
            assert await refusal(server.call("ACL.BootstrapTokens")) == refused
        file.write_text(str(last + 1))
        assert await refusal(server.call("ACL.BootstrapTokens")) == "Invalid bootstrap reset index"
        file.write_text(f" {last}\n")
        second = await server.call("ACL.BootstrapTokens")
        assert second.secret_id != first.secret_id and not file.exists()
        assert await refusal(server.call("ACL.BootstrapTokens"))
    assert first.secret_id not in caplog.text and second.secret_id not in caplog.text


async def test_policies_that_every_cluster_has_stay() -> None:
    server = await acl_server()
    known, _ = server.store.acl.policy_by_name("global-management")
    assert known is not None
    refused = await refusal(server.call("ACL.PolicyDelete", policy_id=known.id, token=ROOT))
    assert refused == "Delete operation not permitted on the builtin global-management policy"
    for changed in (msgspec.structs.replace(known, rules=""), msgspec.structs.replace(known, datacenters=["dc1"])):
        assert "is not permitted" in await refusal(server.call("ACL.PolicySet", policy=changed, token=ROOT))
    renamed = msgspec.structs.replace(known, name="other")
    assert (await server.call("ACL.PolicySet", policy=renamed, token=ROOT)).name == "other"
    assert server.acl.authorizer(ROOT).allows_all


async def test_secrets_of_queries_are_for_those_who_manage_tokens() -> None:
    from model.structs.queries import PreparedQuery, ServiceQuery

    server = await acl_server(default_allow=True)
    query = PreparedQuery(name="q", token=ROOT, service=ServiceQuery(service="web"))
    identifier = await server.call("PreparedQuery.Apply", op="create", query=query, token=ROOT)
    for secret, shown in (("", "<hidden>"), (ROOT, ROOT)):
        got = await server.call("PreparedQuery.Get", query_id=identifier, token=secret)
        listed = await server.call("PreparedQuery.List", token=secret)
        explained = await server.call("PreparedQuery.Explain", query_id_or_name="q", token=secret)
        assert [got.queries[0].token, listed.queries[0].token, explained.query.token] == [shown] * 3


async def test_names_in_rules_of_identities_cannot_break_out() -> None:
    server = await acl_server()
    for name in ('a"', "a\n", "${x}", "a/b", "", "x" * 257):
        fields = {"service_identities": [ACLServiceIdentity(service_name=name)]}
        assert "Service identity" in await refusal(set_token(server, **fields))
    assert json.dumps([row.description for row in server.store.acl.all_tokens()[0]]).count("Token") == 2
