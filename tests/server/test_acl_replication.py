"""Copying policies, roles and tokens from the primary datacenter, against the state of both."""

import asyncio
from typing import Any

import pytest

from model.errors import RpcError
from model.structs.acl import ACLRole, ACLRolePolicyLink, ACLToken, ACLTokenSetRequest
from server.acl.settings import AclSettings
from server.endpoints.dispatch import dispatch
from server.leader.acl_replication import POLICIES, ROLES, TOKENS, AclReplication, Kind, difference
from tests.endpoints.acl_server import ROOT, AclServer, acl_server
from tests.endpoints.fake import FakeServer


class Secondary(FakeServer):
    """A server of dc2, whose calls in dc1 the primary's answers."""

    def __init__(self, primary: AclServer, secret: str = ROOT) -> None:
        super().__init__()
        self.datacenter = "dc2"
        self.primary = primary
        settings = AclSettings(enabled=True, default_allow=False, primary_datacenter="dc1", token_replication=True)
        self.acl = type(self.acl)(settings, "dc2", lambda: self.fsm.store, self.now_nanoseconds)
        self.acl.replication_secret = lambda: secret
        self.copying = AclReplication(self)

    async def call(self, method: str, args: Any) -> Any:  # type: ignore[override]
        assert args.datacenter == "dc1"
        return await dispatch(self.primary, method, args)

    async def copy(self, *kinds: Kind) -> None:
        for kind in kinds or (POLICIES, ROLES, TOKENS):
            await self.copying._round(kind, 0)


def test_what_differs_is_fetched_and_what_is_gone_removed() -> None:
    own = {"same": b"1", "changed": b"1", "gone": b"1"}
    theirs = {"same": b"1", "changed": b"2", "new": b"1"}
    assert difference(own, theirs) == (["changed", "new"], ["gone"])
    assert difference({}, {}) == ([], [])


async def test_rows_are_the_same_afterwards_and_changes_follow() -> None:
    primary = await acl_server()
    policy = await primary.policy("p", 'key "a" { policy = "read" }')
    wanted = ACLRole(name="r", policies=[ACLRolePolicyLink(id=policy.id)])
    role = await primary.call("ACL.RoleSet", role=wanted, token=ROOT)
    token = await primary.token("p")
    secondary = Secondary(primary)
    await secondary.copy()
    theirs, ours = primary.store.acl, secondary.store.acl
    assert [row.name for row in ours.policies] == [row.name for row in theirs.policies]
    assert [row.hash for row in ours.tokens] == [row.hash for row in theirs.tokens]
    assert ours.role(role.id)[0] is not None and ours.token(token.accessor_id)[0] is not None
    assert secondary.acl.authorizer(token.secret_id).allowed("key", "read", "a")
    await primary.call("ACL.PolicyDelete", policy_id=policy.id, token=ROOT)
    await primary.call("ACL.TokenDelete", token_id=token.accessor_id, token=ROOT)
    await secondary.copy()
    assert ours.policy(policy.id)[0] is None and ours.token(token.accessor_id)[0] is None
    assert ours.role(role.id)[0].policies is None  # type: ignore[union-attr]


async def test_tokens_that_come_before_what_they_link_to_work_once_that_is_there() -> None:
    primary = await acl_server()
    await primary.policy("p", 'key "a" { policy = "read" }')
    token = await primary.token("p")
    secondary = Secondary(primary)
    await secondary.copy(TOKENS)
    assert not secondary.acl.authorizer(token.secret_id).allowed("key", "read", "a")
    await secondary.copy(POLICIES)
    assert secondary.acl.authorizer(token.secret_id).allowed("key", "read", "a")


async def test_local_tokens_stay_where_they_are() -> None:
    primary = await acl_server()
    local = await primary.call("ACL.TokenSet", acl_token=ACLToken(local=True), create=True, token=ROOT)
    secondary = Secondary(primary)
    await secondary.copy()
    assert secondary.store.acl.token(local.accessor_id)[0] is None
    request = ACLTokenSetRequest(acl_token=ACLToken(local=True), create=True, token=ROOT)
    own = await dispatch(secondary, "ACL.TokenSet", request)
    await secondary.copy()
    assert secondary.store.acl.token(own.accessor_id)[0] is not None


async def test_a_token_that_may_not_see_secrets_copies_none() -> None:
    primary = await acl_server()
    await primary.policy("reader", 'acl = "read"')
    weak = await primary.token("reader")
    secondary = Secondary(primary, weak.secret_id)
    await secondary.copy(POLICIES)
    with pytest.raises(RpcError, match="lacks permission 'acl:write'"):
        await secondary.copy(TOKENS)
    assert not len(secondary.store.acl.tokens)


async def test_a_failure_is_told_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.leader.acl_replication.PAUSE", 0.001)
    primary = await acl_server()
    secondary = Secondary(primary, "nobody")
    task = asyncio.get_running_loop().create_task(secondary.copying.run())
    try:
        async with asyncio.timeout(30):
            while not secondary.acl.replication.last_error_message:
                await asyncio.sleep(0.001)
            assert "ACL not found" in secondary.acl.replication.last_error_message
            secondary.acl.replication_secret = lambda: ROOT
            while not secondary.acl.replication.replicated_token_index:
                await asyncio.sleep(0.001)
        assert secondary.acl.replication.running and not secondary.acl.replication.last_success.is_zero
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert not secondary.acl.replication.running
