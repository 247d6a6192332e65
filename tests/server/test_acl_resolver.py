"""From a secret to what its bearer may do: on a server, and on a client that asks the servers."""


import msgspec
import pytest

from agent.access import Access, recovery_token
from agent.config.settings import AclConfig, AclTokens
from agent.tokens import AgentTokens
from model.errors import NO_SERVERS, RpcError
from model.structs.acl import (
    ACLNodeIdentity,
    ACLRole,
    ACLRolePolicyLink,
    ACLServiceIdentity,
    ACLToken,
    ACLTokenGetRequest,
    ACLTokenResponse,
    ACLTokenRoleLink,
)
from server.acl.remote import RemoteTokens
from server.acl.resolver import MANAGEMENT_SECRET
from server.acl.settings import AclSettings
from server.endpoints.dispatch import dispatch
from tests.endpoints.acl_server import ROOT, AclServer, acl_server

UNKNOWN = "deadbeef-0000-4000-8000-000000000001"
READ_A = 'key "a" { policy = "read" }'
HOUR = 3_600_000_000_000


def may(server: AclServer, secret: str, resource: str, access: str, name: str = "") -> bool:
    return server.acl.authorizer(secret).allowed(resource, access, name)


async def test_policies_of_tokens_and_roles_are_merged() -> None:
    server = await acl_server()
    await server.policy("a", READ_A)
    second = await server.policy("b", 'key "b" { policy = "write" } key "a" { policy = "deny" }')
    role = ACLRole(name="r", policies=[ACLRolePolicyLink(id=second.id)])
    await server.call("ACL.RoleSet", role=role, token=ROOT)
    plain = await server.token("a")
    both = await server.token("a", roles=[ACLTokenRoleLink(name="r")])
    assert may(server, plain.secret_id, "key", "read", "a")
    assert not may(server, plain.secret_id, "key", "write", "b")
    assert not may(server, both.secret_id, "key", "read", "a"), "a denial wins"
    assert may(server, both.secret_id, "key", "write", "b")


async def test_what_changes_holds_at_once() -> None:
    server = await acl_server()
    policy = await server.policy("a", READ_A)
    token = await server.token("a")
    assert may(server, token.secret_id, "key", "read", "a")
    changed = msgspec.structs.replace(policy, rules='key "a" { policy = "deny" }')
    await server.call("ACL.PolicySet", policy=changed, token=ROOT)
    assert not may(server, token.secret_id, "key", "read", "a")
    await server.call("ACL.PolicySet", policy=msgspec.structs.replace(changed, rules=READ_A), token=ROOT)
    assert may(server, token.secret_id, "key", "read", "a")
    await server.call("ACL.PolicyDelete", policy_id=policy.id, token=ROOT)
    assert not may(server, token.secret_id, "key", "read", "a")
    await server.call("ACL.TokenDelete", token_id=token.accessor_id, token=ROOT)
    with pytest.raises(RpcError, match="ACL not found"):
        server.acl.authorizer(token.secret_id)


async def test_identities() -> None:
    server = await acl_server()
    token = await server.token(
        service_identities=[
            ACLServiceIdentity(service_name="web"),
            ACLServiceIdentity(service_name="far", datacenters=["dc2"]),
        ],
        node_identities=[
            ACLNodeIdentity(node_name="n1", datacenter="dc1"),
            ACLNodeIdentity(node_name="n2", datacenter="dc2"),
        ],
    )
    secret = token.secret_id
    granted = [
        *(("service", "write", "web"), ("service", "write", "web-sidecar-proxy"), ("service", "read", "any")),
        *(("node", "write", "n1"), ("node", "read", "any"), ("intention", "read", "web")),
    ]
    refused = [
        *(("service", "write", "far"), ("service", "write", "webx"), ("node", "write", "n2"), ("node", "write", "any")),
        *(("intention", "write", "web"), ("key", "read", "web"), ("agent", "read", "n1"), ("acl", "read", "")),
    ]
    assert [one for one in granted if not may(server, secret, *one)] == []
    assert [one for one in refused if may(server, secret, *one)] == []


async def test_policies_of_other_datacenters_grant_nothing() -> None:
    server = await acl_server()
    await server.policy("here", READ_A, datacenters=["dc1", "dc2"])
    await server.policy("there", 'key "b" { policy = "read" }', datacenters=["dc2"])
    token = await server.token("here", "there")
    assert may(server, token.secret_id, "key", "read", "a")
    assert not may(server, token.secret_id, "key", "read", "b")


async def test_a_token_ends_at_its_time_even_if_its_rights_are_remembered() -> None:
    server = await acl_server()
    await server.policy("a", READ_A)
    token = await server.token("a", expiration_ttl=HOUR)
    assert not server.acl.lasts(token.secret_id)
    assert may(server, token.secret_id, "key", "read", "a")
    server.now += 3599
    assert may(server, token.secret_id, "key", "read", "a")
    server.now += 1
    for _ in range(2):
        with pytest.raises(RpcError, match="ACL not found"):
            server.acl.authorizer(token.secret_id)
    assert server.store.acl.token(token.accessor_id)[0] is not None, "refused before anybody removes it"


async def test_who_has_no_token_and_who_has_an_unknown_one() -> None:
    for allow in (False, True):
        server = await acl_server(default_allow=allow)
        assert may(server, "", "key", "read", "a") is allow
        assert not may(server, "", "acl", "read"), "no default grants rights over tokens"
        assert server.acl.authorizer("").accessor.endswith("0002")
        assert server.acl.authorizer("anonymous").accessor.endswith("0002")
        assert server.acl.lasts("") and server.acl.lasts(UNKNOWN)
        with pytest.raises(RpcError, match="ACL not found"):
            server.acl.authorizer(UNKNOWN)


async def test_allows_all_means_every_kind() -> None:
    server = await acl_server()
    assert server.acl.authorizer(ROOT).allows_all
    kinds = ("agent", "event", "key", "node", "query", "service", "session")
    wide = "".join(f'{kind}_prefix "" {{ policy = "write" }}\n' for kind in kinds)
    await server.policy("named", wide)
    token = await server.token("named")
    assert not server.acl.authorizer(token.secret_id).allows_all, "the intentions and the mesh are not among it"
    allowing = await acl_server(default_allow=True)
    assert allowing.acl.authorizer("").allows_all
    await allowing.policy("but", 'mesh = "deny"')
    denied = await allowing.token("but")
    assert not allowing.acl.authorizer(denied.secret_id).allows_all


async def test_the_tokens_of_the_configuration_and_of_the_servers() -> None:
    server = await acl_server()
    secret = "20000000-0000-4000-8000-000000000001"
    tokens = AgentTokens(AclConfig(tokens=AclTokens(agent_recovery=secret)), None)
    server.acl.managed = recovery_token(tokens, "node1")
    granted = [("agent", "write", "node1"), ("node", "read", "any")]
    refused = [("agent", "write", "node2"), ("agent", "read", "x"), ("node", "write", "node1"), ("key", "read", "a")]
    assert [one for one in granted if not may(server, secret, *one)] == []
    assert [one for one in refused if may(server, secret, *one)] == []
    own = server.store.metadata.value(MANAGEMENT_SECRET)
    assert own and server.acl.authorizer(own).allows_all and may(server, own, "acl", "write")
    assert server.store.acl.token_by_secret(own) is None
    tokens.set("agent_recovery", "")
    assert recovery_token(tokens, "node1") == {}


async def test_the_first_leader_writes_the_rows_that_every_cluster_has_once() -> None:
    server = await acl_server()
    before = (server.raft.index, server.store.metadata.value(MANAGEMENT_SECRET))
    from server.leader.access import establish

    await establish(server)
    assert (server.raft.index, server.store.metadata.value(MANAGEMENT_SECRET)) == before
    assert server.acl.ready
    off = AclServer(enabled=False)
    await establish(off)
    assert off.raft.index == 10 and off.acl.ready and off.acl.lasts(UNKNOWN)


class Asking:
    """A client agent's way to the servers; `down` cuts it."""

    def __init__(self, server: AclServer) -> None:
        self.server = server
        self.down = False
        self.calls = 0

    async def token(self, args: ACLTokenGetRequest) -> ACLTokenResponse:
        self.calls += 1
        if self.down:
            raise RpcError(NO_SERVERS)
        reply = await dispatch(self.server, "ACL.TokenRead", args)
        assert isinstance(reply, ACLTokenResponse)
        return reply


class Client:
    """What a client agent knows of tokens, with a clock of its own."""

    def __init__(self, server: AclServer, down_policy: str = "extend-cache", recovery: str = "") -> None:
        self.now = 0.0
        self.asking = Asking(server)
        settings = AclSettings(enabled=True, default_allow=False, down_policy=down_policy, token_ttl=30.0)
        self.remote = RemoteTokens(settings, "dc1", "dc1", self.asking.token, self.clock)
        tokens = AgentTokens(AclConfig(tokens=AclTokens(agent_recovery=recovery)), None)
        self.access = Access(settings, "c1", tokens, None, self.remote)

    def clock(self) -> float:
        return self.now

    async def may(self, secret: str, name: str = "a") -> bool:
        return (await self.access.authorizer(secret)).allowed("key", "read", name)


async def known_token(server: AclServer) -> ACLToken:
    await server.policy("a", READ_A)
    return await server.token("a")


async def test_a_client_remembers_for_its_ttl() -> None:
    server = await acl_server()
    token = await known_token(server)
    client = Client(server)
    assert await client.may(token.secret_id) and await client.may(token.secret_id)
    assert not await client.may(token.secret_id, "b")
    assert client.asking.calls == 1
    await server.call("ACL.TokenDelete", token_id=token.accessor_id, token=ROOT)
    client.now = 29.9
    assert await client.may(token.secret_id)
    client.now = 30.0
    for _ in range(2):
        with pytest.raises(RpcError, match="ACL not found"):
            await client.may(token.secret_id)
    assert client.asking.calls == 2, "that there is none is remembered, too"
    assert not await client.may("")
    client.remote.forget()
    with pytest.raises(RpcError, match="ACL not found"):
        await client.may(token.secret_id)
    assert client.asking.calls == 4


@pytest.mark.parametrize(
    ("down_policy", "known", "unknown"),
    [("extend-cache", True, False), ("async-cache", True, False), ("deny", False, False), ("allow", True, True)],
)
async def test_a_client_without_servers_does_as_it_is_told(down_policy: str, known: bool, unknown: bool) -> None:
    server = await acl_server()
    token = await known_token(server)
    client = Client(server, down_policy)
    assert await client.may(token.secret_id)
    client.asking.down = True
    assert await client.may(token.secret_id), "within its time nobody is asked"
    client.now = 31.0
    assert await client.may(token.secret_id) is known
    assert await client.may(UNKNOWN) is unknown
    assert not (await client.access.authorizer(UNKNOWN)).allowed("acl", "read")
    client.asking.down = False
    assert await client.may(token.secret_id)
    with pytest.raises(RpcError, match="ACL not found"):
        await client.may(UNKNOWN)


async def test_a_token_that_was_not_there_stays_so_without_servers() -> None:
    client = Client(await acl_server())
    with pytest.raises(RpcError):
        await client.may(UNKNOWN)
    client.asking.down = True
    client.now = 31.0
    with pytest.raises(RpcError):
        await client.may(UNKNOWN)


async def test_the_recovery_token_needs_no_server() -> None:
    client = Client(await acl_server(), recovery=UNKNOWN)
    client.asking.down = True
    authorizer = await client.access.authorizer(UNKNOWN)
    assert authorizer.allowed("agent", "write", "c1") and not authorizer.allowed("agent", "write", "c2")
    assert client.asking.calls == 0


async def test_what_a_client_remembers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.acl.remote._REMEMBERED", 8)
    client = Client(await acl_server())
    for number in range(50):
        with pytest.raises(RpcError):
            await client.may(f"deadbeef-0000-4000-8000-{number:012d}")
    assert len(client.remote._known) <= 8
