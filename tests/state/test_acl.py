"""The tables of access control: links, deletions, the bootstrap, what wakes whom, and Consul's own snapshot."""

import io
import json
from typing import Any

import pytest

from model.acl.hashes import policy_hash, role_hash, token_hash
from model.acl.topics import WHO_MAY, who_may
from model.codec import pack, to_wire
from model.commands import CommandType
from model.errors import RpcError
from model.gotime import GoTime
from model.structs.acl import (
    ACLAuthMethod,
    ACLAuthMethodBatchDeleteRequest,
    ACLAuthMethodBatchSetRequest,
    ACLBindingRule,
    ACLBindingRuleBatchDeleteRequest,
    ACLBindingRuleBatchSetRequest,
    ACLPolicy,
    ACLPolicyBatchDeleteRequest,
    ACLPolicyBatchSetRequest,
    ACLRole,
    ACLRoleBatchDeleteRequest,
    ACLRoleBatchSetRequest,
    ACLRolePolicyLink,
    ACLToken,
    ACLTokenBatchDeleteRequest,
    ACLTokenBatchSetRequest,
    ACLTokenBootstrapRequest,
    ACLTokenPolicyLink,
    ACLTokenRoleLink,
)
from model.tables import Topic
from server.fsm import Fsm
from server.snapshot_archive import read_archive
from server.state.acl import Acl, is_expired
from tests.state.helpers import Machine, NotingWatch
from tests.support.tools import need_shared


def uuid(number: int) -> str:
    return f"{number:08x}-0000-4000-8000-000000000000"


class AclMachine(Machine):
    """Applies the commands of access control."""

    @property
    def acl(self) -> Acl:
        return self.store.acl

    def policy(self, number: int, name: str, rules: str = "") -> None:
        row = ACLPolicy(id=uuid(number), name=name, rules=rules)
        self.apply(CommandType.ACL_POLICY, ACLPolicyBatchSetRequest(policies=[row]))

    def role(self, number: int, name: str, *policies: int, **options: Any) -> None:
        row = ACLRole(id=uuid(number), name=name, policies=[ACLRolePolicyLink(id=uuid(one)) for one in policies])
        self.apply(CommandType.ACL_ROLE, ACLRoleBatchSetRequest(roles=[row], **options))

    def token(
        self, number: int, policies: tuple[int, ...] = (), roles: tuple[int, ...] = (), **fields: Any
    ) -> ACLToken:
        names = ("cas", "allow_missing_links", "prohibit_unprivileged")
        options = {key: fields.pop(key) for key in names if key in fields}
        row = ACLToken(
            accessor_id=uuid(number),
            secret_id=fields.pop("secret_id", uuid(number + 0x1000)),
            policies=[ACLTokenPolicyLink(id=uuid(one)) for one in policies],
            roles=[ACLTokenRoleLink(id=uuid(one)) for one in roles],
            **fields,
        )
        self.apply(CommandType.ACL_TOKEN, ACLTokenBatchSetRequest(tokens=[row], **options))
        return row

    def links(self, number: int) -> tuple[list[str], list[str]]:
        """The names that a token's links have today: of policies, of roles."""
        row, _ = self.acl.token(uuid(number))
        assert row is not None
        return [link.name for link in row.policies or ()], [link.name for link in row.roles or ()]

    def noting(self, *topics: Topic) -> NotingWatch:
        watch = NotingWatch()
        watch.note(*topics)
        self.store.watches.add(watch)
        return watch


@pytest.fixture
def machine() -> AclMachine:
    made = AclMachine()
    made.policy(1, "one")
    made.policy(2, "two")
    made.role(0x11, "role", 2)
    return made


def test_links_have_the_names_of_today_and_none_to_what_is_gone(machine: AclMachine) -> None:
    machine.token(0x21, (1, 2), (0x11,))
    assert machine.links(0x21) == (["one", "two"], ["role"])
    machine.policy(1, "renamed")
    machine.role(0x11, "other", 1, 2)
    assert machine.links(0x21) == (["renamed", "two"], ["other"])
    machine.apply(CommandType.ACL_POLICY_DELETE, ACLPolicyBatchDeleteRequest(policy_ids=[uuid(1)]))
    assert machine.links(0x21) == (["two"], ["other"])
    role, _ = machine.acl.role(uuid(0x11))
    assert role is not None and [link.name for link in role.policies or ()] == ["two"]
    machine.apply(CommandType.ACL_ROLE_DELETE, ACLRoleBatchDeleteRequest(role_ids=[uuid(0x11)]))
    assert machine.links(0x21) == (["two"], [])
    known = machine.acl.token_by_secret(uuid(0x1021))
    assert known is not None and known.roles is None


def test_a_link_to_nothing_is_refused_unless_it_may_be_missing(machine: AclMachine) -> None:
    with pytest.raises(RpcError, match=f"^No such policy with ID: {uuid(9)}$"):
        machine.token(0x21, (9,))
    with pytest.raises(RpcError, match=f"^No such role with ID: {uuid(9)}$"):
        machine.token(0x21, (), (9,))
    with pytest.raises(RpcError, match=r"^No such policy"):
        machine.role(0x12, "bad", 9)
    assert machine.acl.token(uuid(0x21))[0] is None
    machine.token(0x21, (9, 1, 1), allow_missing_links=True)
    assert machine.links(0x21) == (["one"], [])
    machine.policy(9, "late")
    assert machine.links(0x21) == (["late", "one"], [])


def test_names_are_taken_whatever_their_case(machine: AclMachine) -> None:
    with pytest.raises(RpcError, match='A policy with name "ONE" already exists'):
        machine.policy(3, "ONE")
    with pytest.raises(RpcError, match='A role with name "Role" already exists'):
        machine.role(0x12, "Role")
    assert machine.acl.policy_by_name("oNe")[0] == machine.acl.policy(uuid(1))[0]
    assert machine.acl.role_by_name("ROLE")[0] == machine.acl.role(uuid(0x11))[0]


def test_tokens_need_ids_of_their_own(machine: AclMachine) -> None:
    machine.token(0x21)
    with pytest.raises(RpcError, match="in use by another"):
        machine.token(0x22, secret_id=uuid(0x1021))
    with pytest.raises(RpcError, match="SecretID"):
        machine.token(0x22, secret_id="")
    with pytest.raises(RpcError, match="no policies, roles or identities"):
        machine.token(0x22, prohibit_unprivileged=True)
    with pytest.raises(RpcError, match='No such ACL auth method with name "none"'):
        machine.token(0x22, auth_method="none")


def test_a_cas_takes_only_what_was_not_changed(machine: AclMachine) -> None:
    machine.token(0x21, cas=True)
    first, _ = machine.acl.token(uuid(0x21))
    assert first is not None
    machine.token(0x21, description="late", cas=True)
    assert machine.acl.token(uuid(0x21))[0] == first
    machine.token(0x21, description="right", cas=True, modify_index=first.modify_index)
    changed, index = machine.acl.token(uuid(0x21))
    assert changed is not None and changed.description == "right"
    assert (changed.create_index, changed.modify_index) == (first.create_index, index)


def test_the_bootstrap_happens_once_or_with_the_index_of_the_last(machine: AclMachine) -> None:
    def bootstrap(number: int, reset: int = 0) -> Any:
        token = ACLToken(accessor_id=uuid(number), secret_id=uuid(number + 0x1000))
        return machine.apply(CommandType.ACL_BOOTSTRAP, ACLTokenBootstrapRequest(token=token, reset_index=reset))

    assert machine.acl.bootstrapped() == 0
    assert bootstrap(0x31).accessor_id == uuid(0x31)
    last = machine.acl.bootstrapped()
    assert last == machine.index
    with pytest.raises(RpcError, match=r"^ACL bootstrap no longer allowed$"):
        bootstrap(0x32)
    with pytest.raises(RpcError, match=r"^Invalid bootstrap reset index$"):
        bootstrap(0x32, last + 1)
    assert machine.acl.token(uuid(0x32))[0] is None
    bootstrap(0x32, last)
    assert machine.acl.bootstrapped() > last
    assert machine.restored().acl.bootstrapped() == machine.acl.bootstrapped()
    with pytest.raises(RpcError, match="Invalid bootstrap reset index"):
        bootstrap(0x33, last)


def test_an_auth_method_takes_its_rules_and_tokens_with_it(machine: AclMachine) -> None:
    for name in ("First", "second"):
        methods = ACLAuthMethodBatchSetRequest(auth_methods=[ACLAuthMethod(name=name, type="jwt")])
        machine.apply(CommandType.ACL_AUTH_METHOD, methods)
    names = enumerate(("First", "second"), 0x40)
    rules = [ACLBindingRule(id=uuid(number), auth_method=name) for number, name in names]
    machine.apply(CommandType.ACL_BINDING_RULE, ACLBindingRuleBatchSetRequest(binding_rules=rules))
    machine.token(0x21, auth_method="first")
    machine.token(0x22, auth_method="second")
    machine.token(0x23)
    gone, stays = machine.noting(who_may(uuid(0x1021))), machine.noting(who_may(uuid(0x1022)))
    both = ACLAuthMethodBatchDeleteRequest(auth_method_names=["FIRST", "none"])
    machine.apply(CommandType.ACL_AUTH_METHOD_DELETE, both)
    assert [row.accessor_id for row in machine.acl.all_tokens()[0]] == [uuid(0x22), uuid(0x23)]
    assert [row.id for row in machine.acl.binding_rules()[0]] == [uuid(0x41)]
    assert [row.name for row in machine.acl.all_methods()[0]] == ["second"]
    assert (gone.count, stays.count) == (1, 0)
    last = ACLBindingRuleBatchDeleteRequest(binding_rule_ids=[uuid(0x41)])
    machine.apply(CommandType.ACL_BINDING_RULE_DELETE, last)
    assert machine.acl.binding_rules("SECOND")[0] == []
    orphan = ACLBindingRule(id=uuid(0x44), auth_method="First")
    with pytest.raises(RpcError, match='auth method "First" not found'):
        machine.apply(CommandType.ACL_BINDING_RULE, ACLBindingRuleBatchSetRequest(binding_rules=[orphan]))


def test_every_change_of_rights_wakes_who_has_them(machine: AclMachine) -> None:
    machine.token(0x21, (1,))
    own, another, anybody = (
        machine.noting(who_may(uuid(0x1021))),
        machine.noting(who_may(uuid(0x1022))),
        machine.noting(WHO_MAY),
    )
    counts = lambda: (own.count, another.count, anybody.count)  # noqa: E731
    machine.token(0x21, (2,))
    assert counts() == (1, 0, 0)
    machine.policy(1, "one", 'acl = "read"')
    machine.role(0x11, "role", 1)
    assert counts() == (1, 0, 2)
    machine.apply(CommandType.ACL_ROLE_DELETE, ACLRoleBatchDeleteRequest(role_ids=[uuid(0x11)]))
    machine.apply(CommandType.ACL_POLICY_DELETE, ACLPolicyBatchDeleteRequest(policy_ids=[uuid(1), uuid(1)]))
    assert counts() == (1, 0, 4)
    machine.apply(CommandType.ACL_TOKEN_DELETE, ACLTokenBatchDeleteRequest(token_ids=[uuid(0x21), uuid(0x99)]))
    assert counts() == (2, 0, 4)
    assert who_may("") == who_may("anonymous")


def test_a_failed_batch_leaves_nothing_behind(machine: AclMachine) -> None:
    version, before = machine.acl.version, machine.acl.all_tokens()
    rows = [
        ACLToken(accessor_id=uuid(0x21), secret_id=uuid(0x1021)),
        ACLToken(accessor_id=uuid(0x22), secret_id=uuid(0x1022), policies=[ACLTokenPolicyLink(id=uuid(9))]),
    ]
    with pytest.raises(RpcError):
        machine.apply(CommandType.ACL_TOKEN, ACLTokenBatchSetRequest(tokens=rows))
    assert machine.acl.all_tokens() == before
    assert machine.acl.token_by_secret(uuid(0x1021)) is None
    assert machine.acl.version >= version


def test_expiry_is_at_the_very_nanosecond() -> None:
    token = ACLToken(expiration_time=GoTime.from_unix_nanoseconds(5_000_000_007))
    assert [is_expired(token, now) for now in (5_000_000_006, 5_000_000_007, 6_000_000_000)] == [False, True, True]
    assert not is_expired(ACLToken(), 1 << 62)
    assert not is_expired(ACLToken(expiration_time=GoTime()), 1 << 62)


def test_all_rows_go_through_a_snapshot(machine: AclMachine) -> None:
    machine.apply(CommandType.ACL_AUTH_METHOD, ACLAuthMethodBatchSetRequest(auth_methods=[ACLAuthMethod(name="m")]))
    rule = ACLBindingRule(id=uuid(0x40), auth_method="m")
    machine.apply(CommandType.ACL_BINDING_RULE, ACLBindingRuleBatchSetRequest(binding_rules=[rule]))
    machine.token(0x21, (1, 2), (0x11,), auth_method="m", expiration_time=GoTime.from_unix_nanoseconds(7))
    other = machine.restored().acl
    for read in ("all_tokens", "all_policies", "all_roles", "all_methods", "binding_rules"):
        assert getattr(other, read)() == getattr(machine.acl, read)(), read
    assert other.token_by_secret(uuid(0x1021)) == machine.acl.token_by_secret(uuid(0x1021))
    assert len(other.expired_tokens(8)) == 1


def _recorded() -> Fsm:
    fsm = Fsm()
    with open(need_shared("protocols/acl.snap"), "rb") as source:
        _, state = read_archive(source)
    with state:
        fsm.restore(state)  # type: ignore[arg-type]
    return fsm


def test_rows_of_consuls_snapshot_are_read_and_written_alike() -> None:
    acl = _recorded().store.acl
    wanted = json.loads(need_shared("protocols/snapshot-acl.json").read_text())["records"]
    for name, rows, key in (
        ("ACLToken", acl.tokens.rows(), "AccessorID"),
        ("ACLPolicy", acl.policies.rows(), "ID"),
        ("ACLRole", acl.roles.rows(), "ID"),
    ):
        recorded = {record["value"][key]: record["value"] for record in wanted if record["name"] == name}
        assert len(recorded) == len(rows) > 0
        for row in rows:
            mine = to_wire(row)
            assert mine.keys() == recorded[mine[key]].keys()
            plain = {field: value for field, value in mine.items() if isinstance(value, str | int | bool | list)}
            assert plain == {field: recorded[mine[key]][field] for field in plain}, name
    first = io.BytesIO()
    _recorded().export()(first)
    again = Fsm()
    again.restore(io.BytesIO(first.getvalue()))
    second = io.BytesIO()
    again.export()(second)
    assert first.getvalue() == second.getvalue()
    assert pack(acl.tokens.rows()[0]) == pack(again.store.acl.tokens.rows()[0])


def test_hashes_are_those_that_consul_recorded() -> None:
    acl = _recorded().store.acl
    assert [policy_hash(row) for row in acl.policies] == [row.hash for row in acl.policies]
    assert [role_hash(row) for row in acl.roles] == [row.hash for row in acl.roles]
    assert [token_hash(row) for row in acl.tokens] == [row.hash for row in acl.tokens]
