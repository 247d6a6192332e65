"""Every method of a server's RPC port while access control denies by default: what those without a right get."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec
import pytest

from agent.events import Event
from mesh import certificates
from mesh.agent_ca import Wanted
from mesh.spiffe import AgentIdentity, ServiceIdentity
from model.codec import Wire, pack
from model.errors import RpcError
from model.methods import METHODS
from model.structs.acl import (
    ACLAuthMethod,
    ACLAuthorizationRequest,
    ACLBindingRule,
    ACLLoginParams,
    ACLPolicy,
    ACLRole,
    ACLToken,
    ACLTokenPolicyLink,
)
from model.structs.catalog import HealthCheck, Node, NodeService
from model.structs.config_entries import ServiceConfigEntry
from model.structs.connect import CAConfiguration
from model.structs.coordinate import CoordinateVector
from model.structs.intentions import (
    Intention,
    IntentionMatchEntry,
    IntentionQueryCheck,
    IntentionQueryExact,
    IntentionQueryMatch,
)
from model.structs.kv import DirEntry
from model.structs.operator import SnapshotRequest
from model.structs.queries import PreparedQuery, ServiceQuery
from model.structs.session import Session
from model.structs.txn import TxnCheckOp, TxnKVOp, TxnNodeOp, TxnOp, TxnServiceOp, TxnSessionOp
from rpc.pool import Pool
from rpc.snapshot_stream import RESTORE, SAVE, ask
from server.acl.identities import GLOBAL_MANAGEMENT_ID
from server.endpoints import dispatch  # noqa: F401  (registers all methods)
from server.endpoints.context import LOCAL, READS, WRITES
from tests.support.certificates import Authority
from tests.support.veiled import NODE, OTHER, ROOT, SHOWN, UNKNOWN, Veiled, veiled_agent

REFUSED = "is refused"
NOTHING = "is told nothing that is hidden"
NO_RESULT = "is told of each operation that it is refused"


class Open(NamedTuple):
    """Answered for everybody, on purpose."""

    why: str


class Case(NamedTuple):
    """Arguments by their Python names (`{name}` in texts is an ID), and what is expected of the reply."""

    expected: str | Open
    fields: Mapping[str, Any] = MappingProxyType({})
    unknown: str | Open = REFUSED


ALL = [ACLTokenPolicyLink(id=GLOBAL_MANAGEMENT_ID)]
SERVICE = NodeService(id="veiled-1", service="veiled", port=9)
MINE = NodeService(id="veiled-1", service="mine", port=9)
CHECK = HealthCheck(node=OTHER, check_id="veiled-check", name="x", status="critical", service_id="veiled-1")
AS_MINE = msgspec.structs.replace(CHECK, service_id="mine", service_name="mine")
MATCH = IntentionQueryMatch(type="destination", entries=[IntentionMatchEntry(name="veiled", namespace="default")])
GATEWAY = IntentionQueryMatch(type="destination", entries=[IntentionMatchEntry(name="veiled-gateway")])
INTENTION = Intention(source_name="veiled-caller", destination_name="veiled", action="deny")
EVENT = Event("11111111-1111-1111-1111-111111111111", "veiled-event", b"x").encode()
PUBLIC = Open("the certificates of the authority are public")
DISCOVERY = Open("says which servers or datacenters there are; the same as Consul")
SELF = Open("a token's own secret is proof enough")
ASKED = ServiceQuery(service="veiled")
SECRET = {"token_id_type": "secret"}


def _request_of(identity: ServiceIdentity | AgentIdentity) -> str:
    return certificates.make_request(certificates.generate_key(), identity)


def _txn(*ops: TxnOp) -> dict[str, Any]:
    return {"ops": list(ops)}


READ_TXN = _txn(
    TxnOp(kv=TxnKVOp(verb="get", dir_ent=DirEntry(key="veiled/key"))),
    TxnOp(kv=TxnKVOp(verb="get-tree", dir_ent=DirEntry(key="veiled"))),
    TxnOp(node=TxnNodeOp(verb="get", node=Node(node=OTHER))),
    TxnOp(service=TxnServiceOp(verb="get", node=OTHER, service=NodeService(id="veiled-1"))),
    TxnOp(check=TxnCheckOp(verb="get", check=HealthCheck(node=OTHER, check_id="veiled-check"))),
)
CHANGES = (
    TxnOp(kv=TxnKVOp(verb="set", dir_ent=DirEntry(key="veiled/key", value=b"x"))),
    TxnOp(kv=TxnKVOp(verb="delete", dir_ent=DirEntry(key="veiled/key"))),
    TxnOp(kv=TxnKVOp(verb="delete-tree", dir_ent=DirEntry(key=""))),
    TxnOp(kv=TxnKVOp(verb="lock", dir_ent=DirEntry(key="veiled/key", session="{session}"))),
    TxnOp(node=TxnNodeOp(verb="set", node=Node(node=OTHER, address="10.0.0.9"))),
    TxnOp(node=TxnNodeOp(verb="delete", node=Node(node=OTHER))),
    TxnOp(service=TxnServiceOp(verb="set", node=OTHER, service=SERVICE)),
    TxnOp(service=TxnServiceOp(verb="set", node=OTHER, service=MINE)),
    TxnOp(service=TxnServiceOp(verb="delete", node=OTHER, service=MINE)),
    TxnOp(check=TxnCheckOp(verb="set", check=CHECK)),
    TxnOp(check=TxnCheckOp(verb="delete", check=AS_MINE)),
    TxnOp(session=TxnSessionOp(verb="delete", session=Session(id="{session}"))),
)

CASES: dict[str, list[Case]] = {
    "ACL.AuthMethodDelete": [Case(REFUSED, {"auth_method_name": "veiled-method"})],
    "ACL.AuthMethodList": [Case(REFUSED)],
    "ACL.AuthMethodRead": [Case(REFUSED, {"auth_method_name": "veiled-method"})],
    "ACL.AuthMethodSet": [Case(REFUSED, {"auth_method": ACLAuthMethod(name="mine", type="jwt")})],
    "ACL.Authorize": [
        Case(
            Open("says no of each access that the token does not have"),
            {"requests": [ACLAuthorizationRequest(resource="key", access="read", segment="x")]},
        )
    ],
    "ACL.BindingRuleDelete": [Case(REFUSED, {"binding_rule_id": "{rule}"})],
    "ACL.BindingRuleList": [Case(REFUSED)],
    "ACL.BindingRuleRead": [Case(REFUSED, {"binding_rule_id": "{rule}"})],
    "ACL.BindingRuleSet": [
        Case(
            REFUSED,
            {"binding_rule": ACLBindingRule(auth_method="veiled-method", bind_type="service", bind_name="x")},
        )
    ],
    "ACL.BootstrapTokens": [Case("is told that it is done", {}, unknown="is told that it is done")],
    "ACL.Login": [
        Case(
            REFUSED,
            {"auth": ACLLoginParams(auth_method="none", bearer_token="x")},
            unknown=Open("a login with a token is refused for that"),
        )
    ],
    "ACL.Logout": [Case(REFUSED)],
    "ACL.PolicyBatchRead": [Case(REFUSED, {"policy_ids": ["{policy}"]})],
    "ACL.PolicyDelete": [Case(REFUSED, {"policy_id": "{policy}"})],
    "ACL.PolicyList": [Case(REFUSED)],
    "ACL.PolicyRead": [Case(REFUSED, {"policy_id": "{policy}"}), Case(REFUSED, {"policy_name": "veiled-policy"})],
    "ACL.PolicyResolve": [Case(NOTHING, {"policy_ids": ["{policy}"]})],
    "ACL.PolicySet": [Case(REFUSED, {"policy": ACLPolicy(name="mine", rules='acl = "write"')})],
    "ACL.ReplicationStatus": [Case(Open("says how far a copy is"), unknown=Open("as for all"))],
    "ACL.RoleBatchRead": [Case(REFUSED, {"role_ids": ["{role}"]})],
    "ACL.RoleDelete": [Case(REFUSED, {"role_id": "{role}"})],
    "ACL.RoleList": [Case(REFUSED)],
    "ACL.RoleRead": [Case(REFUSED, {"role_id": "{role}"}), Case(REFUSED, {"role_name": "veiled-role"})],
    "ACL.RoleResolve": [Case(NOTHING, {"role_ids": ["{role}"]})],
    "ACL.RoleSet": [Case(REFUSED, {"role": ACLRole(name="mine")})],
    "ACL.TokenBatchRead": [Case(REFUSED, {"accessor_ids": ["{accessor}"]})],
    "ACL.TokenClone": [Case(REFUSED, {"acl_token": ACLToken(accessor_id="{accessor}")})],
    "ACL.TokenDelete": [Case(REFUSED, {"token_id": "{accessor}"})],
    "ACL.TokenList": [Case(REFUSED, {"include_local": True, "include_global": True})],
    "ACL.TokenRead": [
        Case(REFUSED, {"token_id": "{accessor}"}),
        Case(REFUSED, {"token_id": "{accessor}", "expanded": True}),
        Case(SELF, {"token_id": "{secret}", **SECRET}, unknown=SELF),
        Case(NOTHING, {"token_id": UNKNOWN, **SECRET}, unknown=NOTHING),
    ],
    "ACL.TokenSet": [
        Case(REFUSED, {"acl_token": ACLToken(policies=ALL)}),
        Case(REFUSED, {"acl_token": ACLToken(policies=ALL), "create": True}),
        Case(REFUSED, {"acl_token": ACLToken(accessor_id="{accessor}", policies=ALL)}),
    ],
    "AutoEncrypt.Sign": [Case(REFUSED, {"csr": "{agent_csr}"})],
    "Catalog.Deregister": [
        Case(REFUSED, {"node": OTHER}),
        Case(REFUSED, {"node": OTHER, "service_id": "veiled-1"}),
        Case(REFUSED, {"node": OTHER, "check_id": "veiled-check"}),
    ],
    "Catalog.GatewayServices": [Case(REFUSED, {"service_name": "veiled-gateway"})],
    "Catalog.ListDatacenters": [Case(DISCOVERY, unknown=DISCOVERY)],
    "Catalog.ListNodes": [Case(NOTHING)],
    "Catalog.ListServices": [Case(NOTHING), Case(NOTHING, {"filter": "ServiceName != x"})],
    "Catalog.NodeServiceList": [Case(NOTHING, {"node": OTHER})],
    "Catalog.NodeServices": [Case(NOTHING, {"node": OTHER})],
    "Catalog.Register": [
        Case(REFUSED, {"node": OTHER, "address": "10.0.0.9"}),
        Case(REFUSED, {"node": OTHER, "skip_node_update": True, "service": SERVICE}),
        Case(REFUSED, {"node": OTHER, "skip_node_update": True, "service": MINE}),
        Case(REFUSED, {"node": OTHER, "skip_node_update": True, "check": CHECK}),
        Case(REFUSED, {"node": OTHER, "skip_node_update": True, "checks": [AS_MINE]}),
    ],
    "Catalog.ServiceList": [Case(NOTHING)],
    "Catalog.ServiceNodes": [
        Case(NOTHING, {"service_name": "veiled"}),
        Case(NOTHING, {"service_name": "veiled", "connect": True}),
        Case(NOTHING, {"service_address": "10.0.0.1"}),
    ],
    "Catalog.VirtualIPForService": [Case(REFUSED, {"service_name": "veiled"})],
    "ConfigEntry.Apply": [Case(REFUSED, {"entry": ServiceConfigEntry(kind="service-defaults", name="veiled")})],
    "ConfigEntry.Delete": [Case(REFUSED, {"entry": ServiceConfigEntry(kind="service-defaults", name="veiled")})],
    "ConfigEntry.Get": [Case(REFUSED, {"kind": "service-defaults", "name": "veiled"})],
    "ConfigEntry.List": [Case(NOTHING, {"kind": "service-defaults"}), Case(NOTHING, {"kind": "ingress-gateway"})],
    "ConfigEntry.ListAll": [Case(NOTHING), Case(NOTHING, {"kinds": ["service-intentions"]})],
    "ConfigEntry.ResolveServiceConfig": [Case(REFUSED, {"name": "veiled"})],
    "ConnectCA.ConfigurationGet": [Case(REFUSED)],
    "ConnectCA.ConfigurationSet": [Case(REFUSED, {"config": CAConfiguration(provider="consul")})],
    "ConnectCA.Roots": [Case(PUBLIC, unknown=PUBLIC)],
    "ConnectCA.Sign": [Case(REFUSED, {"csr": "{service_csr}"}), Case(REFUSED, {"csr": "{agent_csr}"})],
    "Coordinate.ListDatacenters": [Case(DISCOVERY, unknown=DISCOVERY)],
    "Coordinate.ListNodes": [Case(NOTHING)],
    "Coordinate.Node": [Case(REFUSED, {"node": OTHER})],
    "Coordinate.Update": [Case(REFUSED, {"node": OTHER, "coord": CoordinateVector(vec=[0.0] * 8)})],
    "DiscoveryChain.Get": [Case(REFUSED, {"name": "veiled"})],
    "Health.ChecksInState": [Case(NOTHING, {"state": "any"})],
    "Health.NodeChecks": [Case(NOTHING, {"node": OTHER})],
    "Health.ServiceChecks": [Case(NOTHING, {"service_name": "veiled"})],
    "Health.ServiceNodes": [
        Case(NOTHING, {"service_name": "veiled"}),
        Case(NOTHING, {"service_name": "veiled", "connect": True}),
        Case(NOTHING, {"service_name": "veiled", "ingress": True}),
    ],
    "Intention.Apply": [
        Case(REFUSED, {"op": "upsert", "intention": INTENTION}),
        Case(REFUSED, {"op": "create", "intention": INTENTION}),
        Case(REFUSED, {"op": "delete", "intention": Intention(id="{intention}")}),
        Case(REFUSED, {"op": "update", "intention": msgspec.structs.replace(INTENTION, id="{intention}")}),
    ],
    "Intention.Check": [
        Case(REFUSED, {"check": IntentionQueryCheck(source_name="veiled-caller", destination_name="veiled")})
    ],
    "Intention.Get": [
        Case(REFUSED, {"intention_id": "{intention}"}),
        Case(REFUSED, {"exact": IntentionQueryExact(source_name="veiled-caller", destination_name="veiled")}),
    ],
    "Intention.List": [Case(NOTHING)],
    "Intention.Match": [Case(REFUSED, {"match": MATCH})],
    "Internal.CatalogOverview": [Case(REFUSED)],
    "Internal.EventFire": [
        Case(REFUSED, {"name": "veiled-event", "payload": EVENT}),
        Case(REFUSED, {"name": "_rexec", "payload": EVENT}),
    ],
    "Internal.ExportedServicesForPeer": [Case(NOTHING, {"peer_name": "x"})],
    "Internal.GatewayIntentions": [Case(REFUSED, {"match": GATEWAY})],
    "Internal.GatewayServiceDump": [Case(REFUSED, {"service_name": "veiled-gateway"})],
    "Internal.IntentionUpstreams": [Case(REFUSED, {"service_name": "veiled"})],
    "Internal.KeyringOperation": [
        Case(REFUSED, {"operation": operation, "forwarded": forwarded, "key": "MTIzNDU2Nzg5MDEyMzQ1Ng=="})
        for operation in ("list", "install", "use", "remove")
        for forwarded in (False, True)
    ],
    "Internal.NodeDump": [Case(NOTHING)],
    "Internal.NodeInfo": [Case(NOTHING, {"node": OTHER})],
    "Internal.ServiceDump": [
        Case(NOTHING),
        Case(NOTHING, {"use_service_kind": True, "service_kind": "ingress-gateway"}),
    ],
    "Internal.ServiceGateways": [Case(NOTHING, {"service_name": "veiled", "service_kind": "ingress-gateway"})],
    "Internal.ServiceTopology": [Case(REFUSED, {"service_name": "veiled"})],
    "KVS.Apply": [
        Case(REFUSED, {"op": op, "dir_ent": DirEntry(key="veiled/key", value=b"x", session="{session}")})
        for op in ("set", "cas", "lock", "unlock", "delete", "delete-cas", "delete-tree", "other")
    ],
    "KVS.Get": [Case(REFUSED, {"key": "veiled/key"})],
    "KVS.List": [Case(NOTHING, {"key": ""}), Case(NOTHING, {"key": "veiled"})],
    "KVS.ListKeys": [Case(NOTHING, {"prefix": ""}), Case(NOTHING, {"prefix": "v", "seperator": "/"})],
    "Operator.AutopilotGetConfiguration": [Case(REFUSED)],
    "Operator.AutopilotSetConfiguration": [Case(REFUSED)],
    "Operator.AutopilotState": [Case(REFUSED)],
    "Operator.RaftGetConfiguration": [Case(REFUSED)],
    "Operator.RaftRemovePeerByAddress": [Case(REFUSED, {"address": "127.0.0.1:1"})],
    "Operator.RaftRemovePeerByID": [Case(REFUSED, {"id": "x"})],
    "Operator.ServerHealth": [Case(REFUSED)],
    "Operator.TransferLeader": [Case(REFUSED)],
    "PreparedQuery.Apply": [
        Case(REFUSED, {"op": op, "query": PreparedQuery(id=identifier, name="veiled-q", service=ASKED)})
        for op, identifier in (("create", ""), ("update", "{query}"), ("delete", "{query}"))
    ],
    "PreparedQuery.Execute": [
        Case(Open("names the service that it asks for, and no instance"), {"query_id_or_name": "veiled-query"})
    ],
    "PreparedQuery.ExecuteRemote": [
        Case(
            Open("names the service that it asks for, and no instance"),
            {"query": PreparedQuery(service=ASKED)},
        )
    ],
    "PreparedQuery.Explain": [Case(REFUSED, {"query_id_or_name": "veiled-query"})],
    "PreparedQuery.Get": [Case(REFUSED, {"query_id": "{query}"})],
    "PreparedQuery.List": [Case(NOTHING)],
    "Session.Apply": [
        Case(REFUSED, {"op": "create", "session": Session(node=OTHER)}),
        Case(REFUSED, {"op": "destroy", "session": Session(id="{session}", node="other")}),
        Case(Open("an unknown operation is an error for all"), {"op": "x", "session": Session(id="{session}")}),
    ],
    "Session.Get": [Case(NOTHING, {"session_id": "{session}"})],
    "Session.List": [Case(NOTHING)],
    "Session.NodeSessions": [Case(NOTHING, {"node": OTHER})],
    "Session.Renew": [Case(REFUSED, {"session_id": "{session}"})],
    "Status.Leader": [Case(DISCOVERY, unknown=DISCOVERY)],
    "Status.Peers": [Case(DISCOVERY, unknown=DISCOVERY)],
    "Status.Ping": [Case(DISCOVERY, unknown=DISCOVERY)],
    "Status.RaftStats": [Case(DISCOVERY, unknown=DISCOVERY)],
    "Txn.Apply": [Case(NO_RESULT, _txn(op)) for op in CHANGES] + [Case(NOTHING, READ_TXN)],
    "Txn.Read": [Case(NOTHING, READ_TXN)],
}


@pytest.fixture(scope="module")
def veiled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Veiled]:
    folder = tmp_path_factory.mktemp("veiled")
    tls = {"internal_rpc": Authority(folder / "certificates").files("server", Wanted("server"))}
    with veiled_agent(folder / "agent", auto_encrypt={"allow_tls": True}, tls=tls) as running:
        domain = str(running.json("GET", "/v1/connect/ca/roots")["TrustDomain"])
        running.ids["agent_csr"] = _request_of(AgentIdentity(domain, "dc1", NODE))
        running.ids["service_csr"] = _request_of(ServiceIdentity(domain, "default", "dc1", "veiled"))
        yield running


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    made = Pool()
    yield made
    await made.close()


def test_every_method_is_in_the_table() -> None:
    assert set(CASES) == {*READS, *WRITES, *LOCAL}, "say in CASES what those without a right get of it"


def _filled(value: Any, ids: dict[str, str]) -> Any:
    """Arguments with the IDs that there are."""
    if isinstance(value, str):
        return ids.get(value[1:-1], value) if value.startswith("{") else value
    if isinstance(value, list):
        return [_filled(one, ids) for one in value]
    if isinstance(value, Mapping):
        return {key: _filled(one, ids) for key, one in value.items()}
    if isinstance(value, Wire):
        changed = {name: _filled(getattr(value, name), ids) for name in value.__struct_fields__}
        return msgspec.structs.replace(value, **changed)
    return value


async def _call(veiled: Veiled, pool: Pool, method: str, fields: Mapping[str, Any], token: str) -> str:
    """What is said to a call: the reply's or the error's text."""
    cls = METHODS[method].args
    given = _filled(fields, veiled.ids)
    if "token" in cls.__struct_fields__:
        given["token"] = token
    try:
        reply = await pool.call(f"127.0.0.1:{veiled.agent.ports['server']}", method, cls(**given))
    except RpcError as error:
        return f"error: {error.text}"
    return repr(pack(reply)) if isinstance(reply, Wire) else repr(reply)


def _judge(expected: str | Open, said: str, where: str) -> None:
    where = f"{where}: {said[:500]}"
    refused = "Permission denied" in said or "ACL not found" in said
    if isinstance(expected, Open):
        assert OTHER not in said, where
    elif expected == REFUSED:
        assert said.startswith("error: ") and refused, where
    elif expected == NO_RESULT:
        assert refused, where
    elif expected == NOTHING:
        assert not said.startswith("error: ") or refused, where
        assert SHOWN not in said, where
    else:
        assert "bootstrap no longer allowed" in said, where


@pytest.mark.parametrize("method", sorted(CASES))
async def test_without_a_right(veiled: Veiled, pool: Pool, method: str) -> None:
    before = veiled.state() if method in WRITES else None
    for case in CASES[method]:
        for what, token, expected in (
            ("no token", "", case.expected),
            ("another token", veiled.unrelated, case.expected),
            ("an unknown token", UNKNOWN, case.unknown),
        ):
            if method == "ACL.Login" and token:
                expected = case.unknown
            said = await _call(veiled, pool, method, case.fields, token)
            _judge(expected, said, f"{method} {case.fields} with {what}")
        if case.expected == NOTHING and method not in _EMPTY:
            said = await _call(veiled, pool, method, case.fields, ROOT)
            assert SHOWN in said, f"{method} hides nothing: {said}"
    if before is not None:
        assert veiled.state() == before


_EMPTY = ("ACL.PolicyResolve", "ACL.RoleResolve", "ACL.TokenRead", "Internal.ExportedServicesForPeer")
"""These show nothing hidden to the management token, either."""


async def test_a_delete_by_id_needs_the_right_to_that_intention(veiled: Veiled, pool: Pool) -> None:
    rules = 'service "mine" { policy = "write" intentions = "write" }'
    veiled.json("PUT", "/v1/acl/policy", {"Name": "mine", "Rules": rules})
    token = veiled.json("PUT", "/v1/acl/token", {"Policies": [{"Name": "mine"}]})["SecretID"]
    fields = {"op": "delete", "intention": Intention(id="{intention}", destination_name="mine")}
    assert "Permission denied" in await _call(veiled, pool, "Intention.Apply", fields, token)
    taken_over = {"node": OTHER, "skip_node_update": True, "service": MINE}
    assert "Permission denied" in await _call(veiled, pool, "Catalog.Register", taken_over, token)
    for verb in ("set", "delete"):
        op = TxnOp(service=TxnServiceOp(verb=verb, node=OTHER, service=MINE))
        assert "Permission denied" in await _call(veiled, pool, "Txn.Apply", _txn(op), token)
        check = msgspec.structs.replace(CHECK, service_id="", service_name="mine")
        op = TxnOp(check=TxnCheckOp(verb=verb, check=check))
        assert "Permission denied" in await _call(veiled, pool, "Txn.Apply", _txn(op), token)
    assert veiled.json("GET", f"/v1/connect/intentions/{veiled.ids['intention']}")["DestinationName"] == "veiled"


async def test_an_event_cannot_go_under_another_name(veiled: Veiled, pool: Pool) -> None:
    rules = 'event "mine" { policy = "write" }'
    veiled.json("PUT", "/v1/acl/policy", {"Name": "events", "Rules": rules})
    token = veiled.json("PUT", "/v1/acl/token", {"Policies": [{"Name": "events"}]})["SecretID"]
    forged = Event("22222222-2222-2222-2222-222222222222", "veiled-event", b"forged").encode()
    await _call(veiled, pool, "Internal.EventFire", {"name": "mine", "payload": forged}, token)
    honest = Event("33333333-3333-3333-3333-333333333333", "mine", b"honest").encode()
    await _call(veiled, pool, "Internal.EventFire", {"name": "mine", "payload": honest}, token)
    veiled.agent.until(lambda: veiled.json("GET", "/v1/event/list?name=mine"))
    assert len(veiled.json("GET", "/v1/event/list?name=veiled-event")) == 1


async def test_snapshots(veiled: Veiled) -> None:
    address = f"127.0.0.1:{veiled.agent.ports['server']}"
    for token in ("", veiled.unrelated, UNKNOWN):
        for op, stale in ((SAVE, False), (SAVE, True), (RESTORE, False), (99, False)):
            with pytest.raises(RpcError, match=r"Permission denied|ACL not found"):
                request = SnapshotRequest(datacenter="dc1", op=op, allow_stale=stale, token=token)
                await ask(address, request, io.BytesIO(b"x" if op == RESTORE else b""))
    _, archive = await ask(address, SnapshotRequest(datacenter="dc1", op=SAVE, token=ROOT), io.BytesIO())
    assert archive.read(2) == b"\x1f\x8b"
