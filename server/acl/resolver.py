"""From a token's secret to what its bearer may do, on a server: everything is read from the replicated state."""

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple, Protocol

from model.acl.decisions import Decisions
from model.acl.rules import NAMED, Rules, RulesError, merge, parse_rules
from model.errors import ACL_NOT_FOUND, PERMISSION_DENIED, RpcError
from model.gotext import go_quoted
from model.structs.acl import ACLPolicy, ACLReplicationStatus, ACLRole, ACLToken
from server.acl.identities import ANONYMOUS_ID, ANONYMOUS_SECRET, MANAGEMENT_RULES, node_policy, service_policy
from server.acl.settings import AclSettings
from server.state.acl import Acl, is_expired
from server.state.store import Store

_REMEMBERED = 4096
"""Tokens whose rights are remembered between two changes."""
_PARSED = 512
"""Policies whose parsed rules are remembered."""

MANAGEMENT_SECRET = "server-management-token"
"""Where the state's markers hold the secret with which servers make calls of their own."""
MANAGEMENT = parse_rules(MANAGEMENT_RULES)

_SEEN_BY_ROWS = ("keyring", "operator", "mesh", "peering")
"""The rights to the whole cluster that can decide about rows; that to tokens themselves is always asked for."""

_parse = lru_cache(_PARSED)(parse_rules)


class Managed(NamedTuple):
    """A token that is in no table but in this agent's configuration: how errors name it, and what it may."""

    accessor: str
    rules: Rules

    def authorizer(self, default_allow: bool) -> "TokenAuthorizer":
        """What its bearer may do."""
        return TokenAuthorizer(self.accessor, self.rules, default_allow)


class TokenAuthorizer:
    """What the bearer of one token may do; the face is `server.endpoints.authorizer.Authorizer`."""

    __slots__ = ("_allow", "_decisions", "accessor", "allows_all")

    def __init__(self, accessor: str, rules: Rules, default_allow: bool) -> None:
        self.accessor = accessor
        self._allow = default_allow
        self._decisions = Decisions(rules)
        named = all(self.allowed_every(kind, "write") for kind in (*NAMED, "intention"))
        self.allows_all = named and all(self.allowed(kind, "write") for kind in _SEEN_BY_ROWS)

    @property
    def intention_default(self) -> bool:
        """What the default policy says of connections; no token changes that."""
        return self._allow

    def allowed(self, resource: str, access: str, name: str = "") -> bool:
        """Whether an access is allowed; what no rule decides, the default does, but for rights themselves."""
        decided = self._decisions.decide(resource, access, name)
        if decided is None:
            return self._allow and resource != "acl"
        return decided

    def allowed_every(self, resource: str, access: str) -> bool:
        """Whether an access to all things of a kind is allowed."""
        decided = self._decisions.every(resource, access)
        return self._allow if decided is None else decided

    def allowed_some(self, resource: str, access: str) -> bool:
        """Whether an access to anything of a kind is allowed."""
        decided = self._decisions.some(resource, access)
        return self._allow if decided is None else decided

    def key_read(self, key: str) -> bool:
        """Whether a key may be read."""
        return self.allowed("key", "read", key)

    def node_read(self, node: str) -> bool:
        """Whether a node may be seen."""
        return self.allowed("node", "read", node)

    def service_read(self, service: str) -> bool:
        """Whether a service may be seen."""
        return self.allowed("service", "read", service)

    def session_read(self, node: str) -> bool:
        """Whether the sessions of a node may be seen."""
        return self.allowed("session", "read", node)

    def require(self, resource: str, access: str, name: str = "") -> None:
        """Raise RpcError with Consul's text unless an access is allowed."""
        if not self.allowed(resource, access, name):
            raise self.denied(resource, access, name)

    def require_every(self, resource: str, access: str) -> None:
        """Raise RpcError unless an access to all things of a kind is allowed."""
        if not self.allowed_every(resource, access):
            raise self.denied(resource, access, f"all {resource}s")

    def denied(self, resource: str, access: str, name: str) -> RpcError:
        """The error that says what is lacking."""
        what = f"{resource}:{access.removesuffix('-prefix')}"
        where = f" on {go_quoted(name)}" if name else ""
        return RpcError(
            f"{PERMISSION_DENIED}: token with AccessorID '{self.accessor}' lacks permission '{what}'{where}"
        )


class Elsewhere(Protocol):
    """What `server.acl.remote.RemoteTokens` does."""

    async def learn(self, secret: str) -> None:
        """Know what the bearer of a secret may do."""

    def authorizer(self, secret: str) -> TokenAuthorizer:
        """What the bearer of a secret may do, as was learnt last. Raises RpcError."""


class Resolver:
    """Resolves tokens against the state that `store` returns; `now` gives nanoseconds since the epoch."""

    def __init__(
        self, settings: AclSettings, datacenter: str, store: Callable[[], Store], now: Callable[[], int]
    ) -> None:
        self.settings = settings
        self._datacenter = datacenter
        self._store = store
        self._now = now
        self.managed: dict[str, Managed] = {}
        """The tokens of this agent's configuration, by secret."""
        self.replication_secret: Callable[[], str] = lambda: ""
        """With which this server asks the primary datacenter for policies, roles and tokens."""
        self.replication = ACLReplicationStatus()
        """How far this server, while it leads, has copied them."""
        self.elsewhere: Elsewhere | None = None
        """Where tokens are known that the state lacks, in a datacenter that is not the primary one."""
        self._made: dict[str, tuple[ACLToken, TokenAuthorizer]] = {}
        self._made_of: tuple[Acl | None, int] = (None, -1)

    @property
    def ready(self) -> bool:
        """Whether the tokens are there that every cluster has (or access control is off)."""
        return not self.settings.enabled or self.is_secondary or ANONYMOUS_ID in self._acl().tokens

    @property
    def expiration_limits(self) -> tuple[float, float]:
        """Seconds that a token may last at least and at most, if it does not last for ever."""
        return self.settings.min_expiration, self.settings.max_expiration

    def _acl(self) -> Acl:
        return self._store().acl

    @property
    def enabled(self) -> bool:
        """Whether access control is on."""
        return self.settings.enabled

    def token(self, secret: str) -> ACLToken:
        """The token that a secret proves; without a secret the anonymous one. Raises RpcError when there is none."""
        token = self._acl().token_by_secret(secret or ANONYMOUS_SECRET)
        if token is None:
            if not secret or secret == ANONYMOUS_SECRET:
                return ACLToken(accessor_id=ANONYMOUS_ID, secret_id=ANONYMOUS_SECRET)
            raise RpcError(ACL_NOT_FOUND)
        if is_expired(token, self._now()):
            raise RpcError(ACL_NOT_FOUND)
        return token

    def authorizer(self, secret: str) -> TokenAuthorizer:
        """What the bearer of a secret may do. Raises RpcError when no token has it, or its time is over."""
        managed = self.managed.get(secret)
        if managed is not None:
            return managed.authorizer(self.settings.default_allow)
        store = self._store()
        if secret and secret == store.metadata.value(MANAGEMENT_SECRET):
            return TokenAuthorizer("server-management", MANAGEMENT, self.settings.default_allow)
        acl = store.acl
        if self._made_of != (acl, acl.version):
            self._made.clear()
            self._made_of = (acl, acl.version)
        made = self._made.get(secret)
        if made is not None and not is_expired(made[0], self._now()):
            return made[1]
        if self._is_elsewhere(secret):
            assert self.elsewhere is not None
            return self.elsewhere.authorizer(secret)
        token = self.token(secret)
        authorizer = TokenAuthorizer(token.accessor_id, merge(self._rules(token)), self.settings.default_allow)
        if len(self._made) >= _REMEMBERED:
            self._made.clear()
        self._made[secret] = (token, authorizer)
        return authorizer

    def _is_elsewhere(self, secret: str) -> bool:
        """Whether a token has to be asked for in the primary datacenter."""
        if self.elsewhere is None or secret in self.managed:
            return False
        store = self._store()
        if secret and secret == store.metadata.value(MANAGEMENT_SECRET):
            return False
        return not store.acl.tokens.any_by("secret", secret or ANONYMOUS_SECRET)

    def is_here(self, secret: str) -> bool:
        """Whether a token's rights can be told from the state alone."""
        return self.elsewhere is None or not self._is_elsewhere(secret)

    async def prepare(self, secret: str) -> None:
        """Before `authorizer` is asked: learn of the token what only the primary datacenter knows."""
        if self.elsewhere is not None and self._is_elsewhere(secret):
            await self.elsewhere.learn(secret)

    @property
    def is_secondary(self) -> bool:
        """Whether another datacenter has authority over policies, roles and most tokens."""
        primary = self.settings.primary_datacenter
        return self.settings.enabled and bool(primary) and primary != self._datacenter

    def lasts(self, secret: str) -> bool:
        """Whether a token's rights hold until a row changes: they do not end by themselves at some time."""
        if not self.settings.enabled:
            return True
        if self._is_elsewhere(secret):
            return False
        token = self._acl().token_by_secret(secret or ANONYMOUS_SECRET)
        return token is None or token.expiration_time is None

    def _rules(self, token: ACLToken) -> Iterator[Rules]:
        yield from rules_of(self.policies(token), self._datacenter)

    def policies(self, token: ACLToken) -> list[ACLPolicy]:
        """The policies of a token and its roles and those that their identities stand for, each once.

        Those that hold in other datacenters only are among them.
        """
        acl = self._acl()
        roles = self.roles(token)
        holders: list[ACLToken | ACLRole] = [token, *roles]
        links = [link.id for holder in holders for link in holder.policies or ()]
        found = [acl.policies.get(policy_id) for policy_id in dict.fromkeys(links)]
        policies = [policy for policy in found if policy is not None]
        for holder in holders:
            policies += map(service_policy, holder.service_identities or ())
        for holder in holders:
            policies += map(node_policy, holder.node_identities or ())
        return list({policy.id: policy for policy in policies}.values())

    def roles(self, token: ACLToken) -> list[ACLRole]:
        """The roles of a token."""
        found = (self._acl().role(link.id)[0] for link in token.roles or ())
        return [role for role in found if role is not None]


def rules_of(policies: Iterable[ACLPolicy], datacenter: str) -> Iterator[Rules]:
    """The rules of those policies that hold in a datacenter. Raises RpcError."""
    for policy in policies:
        if policy.datacenters and datacenter not in policy.datacenters:
            continue
        try:
            yield _parse(policy.rules)
        except RulesError as error:  # Written by a version that let it through.
            raise RpcError(f"failed to parse the rules of policy {go_quoted(policy.name)}: {error}") from None
