"""What the bearer of a token may do with this agent, whether it is a server or asks one."""

from pathlib import Path

from agent.config.settings import AclConfig
from agent.tokens import AgentTokens
from server.acl.identities import recovery_rules
from server.acl.remote import RemoteTokens
from server.acl.resolver import Managed, Resolver
from server.acl.settings import AclSettings
from server.endpoints.authorizer import ALLOW_ALL, Authorizer


def acl_settings(config: AclConfig, primary_datacenter: str = "", folder: Path | None = None) -> AclSettings:
    """Access control as servers need to know of it; `folder` is the data directory."""
    return AclSettings(
        enabled=config.enabled,
        default_allow=config.default_policy == "allow",
        down_policy=config.down_policy,
        key_list_policy=config.enable_key_list_policy,
        initial_management=config.tokens.initial_management,
        token_replication=config.enable_token_replication,
        token_ttl=config.token_ttl,
        primary_datacenter=primary_datacenter,
        reset_file=folder / "acl-bootstrap-reset" if folder is not None else None,
    )


def recovery_token(tokens: AgentTokens, node: str) -> dict[str, Managed]:
    """The recovery token, if there is one, as the resolvers take it."""
    if not tokens.recovery:
        return {}
    return {tokens.recovery: Managed(f"agent-recovery:{node}", recovery_rules(node))}


class Access:
    """Resolves tokens for the agent's own API: on a server by its `resolver`, elsewhere by what servers tell."""

    def __init__(
        self, settings: AclSettings, node: str, tokens: AgentTokens, resolver: Resolver | None, remote: RemoteTokens
    ) -> None:
        self._settings = settings
        self._node = node
        self._tokens = tokens
        self._resolver = resolver
        self._remote = remote
        self._managed: dict[str, Managed] = {}
        tokens.on_change.append(self._tokens_changed)
        self._tokens_changed()

    def _tokens_changed(self) -> None:
        self._managed = recovery_token(self._tokens, self._node)
        if self._resolver is not None:
            self._resolver.managed = self._managed

    @property
    def enabled(self) -> bool:
        """Whether access control is on."""
        return self._settings.enabled

    async def authorizer(self, secret: str) -> Authorizer:
        """What the bearer of a secret may do. Raises RpcError when no token has it."""
        if not self._settings.enabled:
            return ALLOW_ALL
        if self._resolver is not None:
            await self._resolver.prepare(secret)
            return self._resolver.authorizer(secret)
        managed = self._managed.get(secret)
        if managed is not None:  # Also when no server can be asked.
            return managed.authorizer(self._settings.default_allow)
        await self._remote.learn(secret)
        return self._remote.authorizer(secret)
