"""What the bearer of a token may do with this agent, whether it is a server or asks one."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from agent.config.settings import AclConfig
from agent.tokens import AgentTokens
from model.acl.rules import merge, no_rules
from model.errors import ACL_NOT_FOUND, RpcError
from model.structs.acl import ACLTokenGetRequest, ACLTokenResponse
from rpc.caller import Caller
from server.acl.identities import ANONYMOUS_ID, ANONYMOUS_SECRET, recovery_rules
from server.acl.resolver import Managed, Resolver, TokenAuthorizer, rules_of
from server.acl.settings import AclSettings
from server.endpoints.authorizer import ALLOW_ALL, Authorizer

log = logging.getLogger("lictor.agent")

_REMEMBERED = 1024
"""Tokens whose rights a client remembers."""


def acl_settings(config: AclConfig, folder: Path | None) -> AclSettings:
    """Access control as servers need to know of it."""
    return AclSettings(
        enabled=config.enabled,
        default_allow=config.default_policy == "allow",
        down_policy=config.down_policy,
        key_list_policy=config.enable_key_list_policy,
        initial_management=config.tokens.initial_management,
        token_replication=config.enable_token_replication,
        reset_file=folder / "acl-bootstrap-reset" if folder is not None else None,
    )


def recovery_token(tokens: AgentTokens, node: str) -> dict[str, Managed]:
    """The recovery token, if there is one, as the resolvers take it."""
    if not tokens.recovery:
        return {}
    return {tokens.recovery: Managed(f"agent-recovery:{node}", recovery_rules(node))}


class Known(NamedTuple):
    """What a client was told of a token: None when no server knows it; and when, in seconds of a monotonic clock."""

    authorizer: TokenAuthorizer | None
    at: float


class RemoteResolver:
    """Resolves tokens on a client agent, which asks the servers and remembers their answers for `token_ttl`."""

    def __init__(
        self,
        config: AclConfig,
        datacenter: str,
        caller: Caller,
        agent_token: Callable[[], str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._datacenter = datacenter
        self._caller = caller
        self._agent_token = agent_token
        self._clock = clock
        self._known: dict[str, Known] = {}
        self.managed: dict[str, Managed] = {}

    def forget(self) -> None:
        """Ask again for every token."""
        self._known.clear()

    async def authorizer(self, secret: str) -> TokenAuthorizer:
        """What the bearer of a secret may do. Raises RpcError."""
        allow = self._config.default_policy == "allow"
        managed = self.managed.get(secret)
        if managed is not None:
            return TokenAuthorizer(managed.accessor, managed.rules, allow)
        known = self._known.get(secret)
        if known is None or self._clock() - known.at >= self._config.token_ttl:
            known = await self._ask(secret, known)
        if known.authorizer is None:
            raise RpcError(ACL_NOT_FOUND)
        return known.authorizer

    async def _ask(self, secret: str, before: Known | None) -> Known:
        request = ACLTokenGetRequest(
            token_id=secret or ANONYMOUS_SECRET,
            token_id_type="secret",
            datacenter=self._datacenter,
            expanded=True,
            token=secret or self._agent_token(),
            allow_stale=True,
        )
        try:
            reply = await self._caller.call("ACL.TokenRead", request)
            assert isinstance(reply, ACLTokenResponse)
        except RpcError as error:
            if not error.has(ACL_NOT_FOUND):
                return self._without_servers(secret, before, error)
            reply = ACLTokenResponse()
        allow = self._config.default_policy == "allow"
        if reply.token is not None:
            rules = merge(rules_of(reply.expanded_policies or (), self._datacenter))
            known = Known(TokenAuthorizer(reply.token.accessor_id, rules, allow), self._clock())
        elif secret in ("", ANONYMOUS_SECRET):
            known = Known(TokenAuthorizer(ANONYMOUS_ID, no_rules(), allow), self._clock())
        else:
            known = Known(None, self._clock())
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[secret] = known
        return known

    def _without_servers(self, secret: str, before: Known | None, error: RpcError) -> Known:
        """What holds while no server answers, as `acl.down_policy` says. Raises RpcError."""
        policy = self._config.down_policy
        log.warning("a token cannot be resolved, down_policy %s decides: %s", policy, error.text)
        if policy in ("extend-cache", "async-cache") and before is not None:
            return before
        accessor = ANONYMOUS_ID if secret in ("", ANONYMOUS_SECRET) else "unknown"
        return Known(TokenAuthorizer(accessor, no_rules(), policy == "allow"), self._clock())


class Access:
    """Resolves tokens for the agent's own API."""

    def __init__(
        self, config: AclConfig, node: str, tokens: AgentTokens, server: Resolver | None, remote: RemoteResolver
    ) -> None:
        self._enabled = config.enabled
        self._node = node
        self._tokens = tokens
        self._server = server
        self._remote = remote
        tokens.on_change.append(self._tokens_changed)
        self._tokens_changed()

    def _tokens_changed(self) -> None:
        self._remote.managed = recovery_token(self._tokens, self._node)
        if self._server is not None:
            self._server.managed = self._remote.managed

    @property
    def enabled(self) -> bool:
        """Whether access control is on."""
        return self._enabled

    async def authorizer(self, secret: str) -> Authorizer:
        """What the bearer of a secret may do. Raises RpcError when no token has it."""
        if not self._enabled:
            return ALLOW_ALL
        if self._server is not None:
            return self._server.authorizer(secret)
        return await self._remote.authorizer(secret)
