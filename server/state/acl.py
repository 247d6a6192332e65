"""The tables of access control: tokens, policies, roles, auth methods and binding rules.

Links are stored by ID; what a reader gets has the names of today, and no links to what is gone. Every change of what a
token may do touches `who_may(secret)` or, when it can concern many tokens, `WHO_MAY`.
"""

import re
from typing import Any, TypeVar

import msgspec

from model.acl.topics import WHO_MAY, who_may
from model.commands import Command, CommandType, Record
from model.errors import RpcError
from model.gotext import go_quoted
from model.structs.acl import (
    ACLAuthMethod,
    ACLAuthMethodBatchDeleteRequest,
    ACLAuthMethodBatchSetRequest,
    ACLBindingRule,
    ACLBindingRuleBatchDeleteRequest,
    ACLBindingRuleBatchSetRequest,
    ACLBootstrapRecord,
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
from model.tables import Indexes, Journal, Table, Watch

TOKENS = "acl-tokens"
POLICIES = "acl-policies"
ROLES = "acl-roles"
METHODS = "acl-auth-methods"
RULES = "acl-binding-rules"
BOOTSTRAP = "acl-token-bootstrap"
"""Names of the parts' indexes, as Consul's snapshots have them."""

UUID_LENGTH = 36
UUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}", re.ASCII)

BOOTSTRAP_NOT_ALLOWED = "ACL bootstrap no longer allowed"
WRONG_RESET_INDEX = "Invalid bootstrap reset index"

Link = TypeVar("Link", ACLTokenPolicyLink, ACLTokenRoleLink, ACLRolePolicyLink)
Named = TypeVar("Named", ACLPolicy, ACLRole)


class Acl:
    """Who may do what. `version` grows with every change, for those who remember what they made of these rows."""

    def __init__(self, journal: Journal, indexes: Indexes) -> None:
        self._journal = journal
        self._indexes = indexes
        self.version = 0
        self.tokens: Table[ACLToken] = Table(
            journal,
            lambda row: row.accessor_id,
            secret=lambda row: (row.secret_id,),
            method=lambda row: (row.auth_method.lower(),) if row.auth_method else (),
            policy=lambda row: {link.id for link in row.policies or ()},
            role=lambda row: {link.id for link in row.roles or ()},
            expiring=lambda row: ("",) if row.expiration_time is not None else (),
        )
        self.policies: Table[ACLPolicy] = Table(journal, lambda row: row.id, name=lambda row: (row.name.lower(),))
        self.roles: Table[ACLRole] = Table(
            journal,
            lambda row: row.id,
            name=lambda row: (row.name.lower(),),
            policy=lambda row: {link.id for link in row.policies or ()},
        )
        self.methods: Table[ACLAuthMethod] = Table(journal, lambda row: row.name.lower())
        self.rules: Table[ACLBindingRule] = Table(
            journal, lambda row: row.id, method=lambda row: (row.auth_method.lower(),)
        )

    def commands(self) -> list[Command]:
        """Writing and removing of each table's rows, and the bootstrap."""
        return [
            Command(CommandType.ACL_TOKEN, ACLTokenBatchSetRequest, self.put_tokens),
            Command(CommandType.ACL_TOKEN_DELETE, ACLTokenBatchDeleteRequest, self.delete_tokens),
            Command(CommandType.ACL_BOOTSTRAP, ACLTokenBootstrapRequest, self.bootstrap),
            Command(CommandType.ACL_POLICY, ACLPolicyBatchSetRequest, self.put_policies),
            Command(CommandType.ACL_POLICY_DELETE, ACLPolicyBatchDeleteRequest, self.delete_policies),
            Command(CommandType.ACL_ROLE, ACLRoleBatchSetRequest, self.put_roles),
            Command(CommandType.ACL_ROLE_DELETE, ACLRoleBatchDeleteRequest, self.delete_roles),
            Command(CommandType.ACL_AUTH_METHOD, ACLAuthMethodBatchSetRequest, self.put_methods),
            Command(CommandType.ACL_AUTH_METHOD_DELETE, ACLAuthMethodBatchDeleteRequest, self.delete_methods),
            Command(CommandType.ACL_BINDING_RULE, ACLBindingRuleBatchSetRequest, self.put_rules),
            Command(CommandType.ACL_BINDING_RULE_DELETE, ACLBindingRuleBatchDeleteRequest, self.delete_rules),
        ]

    def records(self) -> list[Record]:
        """The rows of each table."""

        def record(kind: CommandType, cls: Any, table: Table[Any], name: str) -> Record:
            def load(row: Any) -> None:
                table.put(row)
                self.version += 1
                self._indexes.raise_to(row.modify_index, name)

            return Record(kind, cls, table.captured, load)

        def load_bootstrap(row: ACLBootstrapRecord) -> None:
            self._indexes.raise_to(row.modify_index, BOOTSTRAP)

        return [
            Record(CommandType.ACL_BOOTSTRAP, ACLBootstrapRecord, list, load_bootstrap),
            record(CommandType.ACL_TOKEN, ACLToken, self.tokens, TOKENS),
            record(CommandType.ACL_POLICY, ACLPolicy, self.policies, POLICIES),
            record(CommandType.ACL_ROLE, ACLRole, self.roles, ROLES),
            record(CommandType.ACL_AUTH_METHOD, ACLAuthMethod, self.methods, METHODS),
            record(CommandType.ACL_BINDING_RULE, ACLBindingRule, self.rules, RULES),
        ]

    def _changed(self, index: int, *names: str) -> None:
        self.version += 1
        self._indexes.set(index, *names)
        self._journal.touch(*((name,) for name in names))

    # Tokens

    def put_tokens(self, index: int, request: ACLTokenBatchSetRequest) -> None:
        """Write tokens; `cas` only those whose modify index is still the same. Raises RpcError."""
        for token in request.tokens or ():
            old = self.tokens.get(token.accessor_id)
            if request.cas and (old.modify_index if old else 0) != token.modify_index:
                continue
            if request.prohibit_unprivileged and not _has_privileges(token):
                raise RpcError("failed to apply token: the token has no policies, roles or identities")
            self._put_token(index, token, request.allow_missing_links, request.from_replication)

    def _put_token(
        self, index: int, token: ACLToken, allow_missing_links: bool, from_replication: bool = False
    ) -> None:
        if not token.secret_id:
            raise RpcError("missing value for field SecretID")
        if not token.accessor_id:
            raise RpcError("missing value for field AccessorID")
        if any(row.accessor_id != token.accessor_id for row in self.tokens.by("secret", token.secret_id)):
            raise RpcError("the token's SecretID is in use by another one")
        if token.auth_method and not from_replication and token.auth_method.lower() not in self.methods:
            raise RpcError(f"No such ACL auth method with name {go_quoted(token.auth_method)}")
        old = self.tokens.get(token.accessor_id)
        policies = _linked(token.policies, self.policies, "policy", allow_missing_links)
        roles = _linked(token.roles, self.roles, "role", allow_missing_links)
        if old is not None:
            self._journal.touch(who_may(old.secret_id))
        self.tokens.put(
            msgspec.structs.replace(
                token,
                policies=policies,
                roles=roles,
                create_index=old.create_index if old else index,
                modify_index=index,
            )
        )
        self._journal.touch(who_may(token.secret_id), ("acl-token", token.accessor_id))
        self._changed(index, TOKENS)

    def delete_tokens(self, index: int, request: ACLTokenBatchDeleteRequest) -> None:
        """Remove tokens, those that are there."""
        for accessor in request.token_ids or ():
            self._delete_token(index, accessor)

    def _delete_token(self, index: int, accessor: str) -> None:
        old = self.tokens.delete(accessor)
        if old is not None:
            self._journal.touch(who_may(old.secret_id), ("acl-token", accessor))
            self._changed(index, TOKENS)

    def bootstrap(self, index: int, request: ACLTokenBootstrapRequest) -> ACLToken:
        """Write the first management token, once; again only with the index of the last time. Raises RpcError."""
        last = self.bootstrapped()
        if last and not request.reset_index:
            raise RpcError(BOOTSTRAP_NOT_ALLOWED)
        if last and request.reset_index != last:
            raise RpcError(WRONG_RESET_INDEX)
        self._put_token(index, request.token, False)
        self._indexes.set(index, BOOTSTRAP)
        token = self.tokens.get(request.token.accessor_id)
        assert token is not None
        return token

    def bootstrapped(self) -> int:
        """The index at which the first management token was made last; 0 when it never was."""
        return self._indexes.get(BOOTSTRAP)

    def token_by_secret(self, secret: str) -> ACLToken | None:
        """The token that a secret proves, with the links of today."""
        found = self.tokens.by("secret", secret)
        return self._of_today(found[0]) if found else None

    def token(self, accessor: str, watch: Watch | None = None) -> tuple[ACLToken | None, int]:
        """A token by its accessor."""
        if watch is not None:
            watch.note(("acl-token", accessor), (POLICIES,), (ROLES,))
        row = self.tokens.get(accessor)
        return (self._of_today(row) if row else None), self._indexes.get(TOKENS)

    def all_tokens(self, watch: Watch | None = None) -> tuple[list[ACLToken], int]:
        """All tokens, in the order of their accessors."""
        if watch is not None:
            watch.note((TOKENS,), (POLICIES,), (ROLES,))
        return [self._of_today(row) for row in self.tokens], self._indexes.get(TOKENS)

    def expired_tokens(self, now: int) -> list[ACLToken]:
        """The tokens whose time is over at `now` (nanoseconds since the epoch)."""
        return [row for row in self.tokens.by("expiring", "") if is_expired(row, now)]

    def _of_today(self, token: ACLToken) -> ACLToken:
        policies = _today(token.policies, self.policies)
        roles = _today(token.roles, self.roles)
        if policies is token.policies and roles is token.roles:
            return token
        return msgspec.structs.replace(token, policies=policies, roles=roles)

    # Policies

    def put_policies(self, index: int, request: ACLPolicyBatchSetRequest) -> None:
        """Write policies. Raises RpcError."""
        for policy in request.policies or ():
            _name_is_free(policy, self.policies, "policy")
            old = self.policies.get(policy.id)
            created = old.create_index if old else index
            self.policies.put(msgspec.structs.replace(policy, create_index=created, modify_index=index))
            self._journal.touch(WHO_MAY)
            self._changed(index, POLICIES)

    def delete_policies(self, index: int, request: ACLPolicyBatchDeleteRequest) -> None:
        """Remove policies, those that are there."""
        for policy_id in request.policy_ids or ():
            if self.policies.delete(policy_id) is not None:
                self._journal.touch(WHO_MAY)
                self._changed(index, POLICIES)

    def policy(self, policy_id: str, watch: Watch | None = None) -> tuple[ACLPolicy | None, int]:
        """A policy by its ID."""
        if watch is not None:
            watch.note((POLICIES,))
        return self.policies.get(policy_id), self._indexes.get(POLICIES)

    def policy_by_name(self, name: str, watch: Watch | None = None) -> tuple[ACLPolicy | None, int]:
        """A policy by its name, which ignores case."""
        if watch is not None:
            watch.note((POLICIES,))
        found = self.policies.by("name", name.lower())
        return (found[0] if found else None), self._indexes.get(POLICIES)

    def all_policies(self, watch: Watch | None = None) -> tuple[list[ACLPolicy], int]:
        """All policies, in the order of their IDs."""
        if watch is not None:
            watch.note((POLICIES,))
        return self.policies.rows(), self._indexes.get(POLICIES)

    # Roles

    def put_roles(self, index: int, request: ACLRoleBatchSetRequest) -> None:
        """Write roles. Raises RpcError."""
        for role in request.roles or ():
            _name_is_free(role, self.roles, "role")
            old = self.roles.get(role.id)
            policies = _linked(role.policies, self.policies, "policy", request.allow_missing_links)
            created = old.create_index if old else index
            self.roles.put(
                msgspec.structs.replace(role, policies=policies, create_index=created, modify_index=index)
            )
            self._journal.touch(WHO_MAY)
            self._changed(index, ROLES)

    def delete_roles(self, index: int, request: ACLRoleBatchDeleteRequest) -> None:
        """Remove roles, those that are there."""
        for role_id in request.role_ids or ():
            if self.roles.delete(role_id) is not None:
                self._journal.touch(WHO_MAY)
                self._changed(index, ROLES)

    def role(self, role_id: str, watch: Watch | None = None) -> tuple[ACLRole | None, int]:
        """A role by its ID."""
        if watch is not None:
            watch.note((ROLES,), (POLICIES,))
        row = self.roles.get(role_id)
        return (self._role_of_today(row) if row else None), self._indexes.get(ROLES)

    def role_by_name(self, name: str, watch: Watch | None = None) -> tuple[ACLRole | None, int]:
        """A role by its name, which ignores case."""
        if watch is not None:
            watch.note((ROLES,), (POLICIES,))
        found = self.roles.by("name", name.lower())
        return (self._role_of_today(found[0]) if found else None), self._indexes.get(ROLES)

    def all_roles(self, watch: Watch | None = None) -> tuple[list[ACLRole], int]:
        """All roles, in the order of their IDs."""
        if watch is not None:
            watch.note((ROLES,), (POLICIES,))
        return [self._role_of_today(row) for row in self.roles], self._indexes.get(ROLES)

    def _role_of_today(self, role: ACLRole) -> ACLRole:
        policies = _today(role.policies, self.policies)
        return role if policies is role.policies else msgspec.structs.replace(role, policies=policies)

    # Auth methods and binding rules

    def put_methods(self, index: int, request: ACLAuthMethodBatchSetRequest) -> None:
        """Write auth methods."""
        for method in request.auth_methods or ():
            old = self.methods.get(method.name.lower())
            created = old.create_index if old else index
            self.methods.put(msgspec.structs.replace(method, create_index=created, modify_index=index))
            self._changed(index, METHODS)

    def delete_methods(self, index: int, request: ACLAuthMethodBatchDeleteRequest) -> None:
        """Remove auth methods, and with each its binding rules and the tokens that came of it."""
        for name in request.auth_method_names or ():
            if self.methods.delete(name.lower()) is None:
                continue
            for token in self.tokens.by("method", name.lower()):
                self._delete_token(index, token.accessor_id)
            for rule in self.rules.by("method", name.lower()):
                self._delete_rule(index, rule.id)
            self._changed(index, METHODS)

    def method(self, name: str, watch: Watch | None = None) -> tuple[ACLAuthMethod | None, int]:
        """An auth method by its name, which ignores case."""
        if watch is not None:
            watch.note((METHODS,))
        return self.methods.get(name.lower()), self._indexes.get(METHODS)

    def all_methods(self, watch: Watch | None = None) -> tuple[list[ACLAuthMethod], int]:
        """All auth methods, in the order of their names."""
        if watch is not None:
            watch.note((METHODS,))
        return self.methods.rows(), self._indexes.get(METHODS)

    def put_rules(self, index: int, request: ACLBindingRuleBatchSetRequest) -> None:
        """Write binding rules. Raises RpcError when a rule's auth method is not there."""
        for rule in request.binding_rules or ():
            if rule.auth_method.lower() not in self.methods:
                missing = go_quoted(rule.auth_method)
                raise RpcError(f"failed inserting acl binding rule: auth method {missing} not found")
            old = self.rules.get(rule.id)
            created = old.create_index if old else index
            self.rules.put(msgspec.structs.replace(rule, create_index=created, modify_index=index))
            self._changed(index, RULES)

    def delete_rules(self, index: int, request: ACLBindingRuleBatchDeleteRequest) -> None:
        """Remove binding rules, those that are there."""
        for rule_id in request.binding_rule_ids or ():
            self._delete_rule(index, rule_id)

    def _delete_rule(self, index: int, rule_id: str) -> None:
        if self.rules.delete(rule_id) is not None:
            self._changed(index, RULES)

    def binding_rule(self, rule_id: str, watch: Watch | None = None) -> tuple[ACLBindingRule | None, int]:
        """A binding rule by its ID."""
        if watch is not None:
            watch.note((RULES,))
        return self.rules.get(rule_id), self._indexes.get(RULES)

    def binding_rules(self, method: str = "", watch: Watch | None = None) -> tuple[list[ACLBindingRule], int]:
        """The binding rules of an auth method, or all, in the order of their IDs."""
        if watch is not None:
            watch.note((RULES,))
        found = self.rules.by("method", method.lower()) if method else self.rules.rows()
        return found, self._indexes.get(RULES)


def check_uuid(identifier: str, what: str) -> None:
    """Raise RpcError in the words of Consul's tables unless a text can be an ID."""
    if len(identifier) != UUID_LENGTH:
        raise RpcError(f"failed acl {what} lookup: index error: UUID must be {UUID_LENGTH} characters")
    if not UUID.fullmatch(identifier):
        raise RpcError(f"failed acl {what} lookup: index error: invalid UUID {go_quoted(identifier)}")


def is_expired(token: ACLToken, now: int) -> bool:
    """Whether a token's time is over at `now` (nanoseconds since the epoch)."""
    end = token.expiration_time
    return end is not None and not end.is_zero and (end.seconds, end.nanoseconds) <= divmod(now, 1_000_000_000)


def _has_privileges(token: ACLToken) -> bool:
    return any((token.policies, token.roles, token.service_identities, token.node_identities))


def _linked(links: list[Link] | None, table: Table[Named], what: str, allow_missing: bool) -> list[Link] | None:
    """Links as they are stored: each to a row that is there, once. Raises RpcError."""
    found: dict[str, Link] = {}
    for link in links or ():
        row = table.get(link.id)
        if row is not None:
            found[link.id] = msgspec.structs.replace(link, name=row.name)
        elif allow_missing:
            found[link.id] = link
        else:
            check_uuid(link.id, what)
            raise RpcError(f"No such {what} with ID: {link.id}")
    return list(found.values()) or None


def _today(links: list[Link] | None, table: Table[Named]) -> list[Link] | None:
    """Links with the names of today, without those to what is gone; the same list when nothing differs."""
    if not links:
        return links
    rows = [(link, table.get(link.id)) for link in links]
    if all(row is not None and row.name == link.name for link, row in rows):
        return links
    kept = [msgspec.structs.replace(link, name=row.name) for link, row in rows if row is not None]
    return kept or None


def _name_is_free(row: Named, table: Table[Named], what: str) -> None:
    if any(other.id != row.id for other in table.by("name", row.name.lower())):
        raise RpcError(f"Invalid {what.title()}: A {what} with name {go_quoted(row.name)} already exists")
