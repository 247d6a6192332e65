"""The tokens that this agent uses by itself: from its configuration, set over HTTP, kept on disk if that is wanted."""

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from agent.config.settings import AclConfig
from model.codec import Wire
from rpc.caller import Caller

log = logging.getLogger("lictor.agent")

KINDS = {
    "default": "default",
    "acl_token": "default",
    "agent": "agent",
    "acl_agent_token": "agent",
    "agent_recovery": "agent_recovery",
    "agent_master": "agent_recovery",
    "acl_agent_master_token": "agent_recovery",
    "replication": "replication",
    "acl_replication_token": "replication",
}
"""The tokens that can be set, by the names that `/v1/agent/token/` takes."""
_FILE = "acl-tokens.json"
_MAX_FILE = 64 << 10


class Bearing:
    """Makes calls through another caller; those that bring no token bear the one that `token` returns."""

    def __init__(self, caller: Caller, token: Callable[[], str]) -> None:
        self._caller = caller
        self._token = token

    async def call(self, method: str, args: Wire) -> Any:
        """Make a call of `model.methods.METHODS` and return its reply. Raises RpcError."""
        if getattr(args, "token", None) == "" and (token := self._token()):
            args = msgspec.structs.replace(args, token=token)
        return await self._caller.call(method, args)


class AgentTokens:
    """The tokens in use. `on_change` is called after every change."""

    def __init__(self, config: AclConfig, folder: Path | None) -> None:
        self._configured = config.tokens
        self._path = folder / _FILE if folder is not None and config.enable_token_persistence else None
        self._set: dict[str, str] = {}
        """What was set over HTTP, by kind; it goes before what is configured."""
        self.on_change: list[Callable[[], None]] = []
        self._read()

    def _value(self, kind: str) -> str:
        found = self._set.get(kind)
        configured: str = getattr(self._configured, kind)
        return configured if found is None else found

    @property
    def default(self) -> str:
        """Stands in where a request brings none."""
        return self._value("default")

    @property
    def agent(self) -> str:
        """With which the agent keeps its node and what no other token was given for in the catalog."""
        return self._value("agent") or self.default

    @property
    def recovery(self) -> str:
        """Whose bearer may manage this agent, even when no server can be asked; "" for none."""
        return self._value("agent_recovery")

    @property
    def replication(self) -> str:
        """With which a server of another datacenter asks the primary one for tokens."""
        return self._value("replication")

    def set(self, kind: str, secret: str) -> None:
        """Use another token of a kind (a value of `KINDS`). Raises OSError when it cannot be kept."""
        self._set[kind] = secret
        self._write()
        self._changed()

    def configure(self, config: AclConfig) -> None:
        """Take over what the configuration says now; what was set over HTTP goes before it as long as it is kept."""
        self._configured = config.tokens
        if self._path is None:
            self._set.clear()
        self._changed()

    def _changed(self) -> None:
        for callback in self.on_change:
            callback()

    def _read(self) -> None:
        if self._path is None or not self._path.exists():
            return
        try:
            with open(self._path, "rb") as file:
                kept = msgspec.json.decode(file.read(_MAX_FILE), type=dict[str, str])
        except (OSError, msgspec.DecodeError):  # Its text might hold a secret.
            log.error("the tokens in %s cannot be read: those of the configuration are used", self._path)
            return
        self._set = {KINDS[name]: secret for name, secret in kept.items() if name in KINDS and secret}
        for kind in self._set:
            if getattr(self._configured, kind):
                log.warning('"%s" token present in both the configuration and persisted token store', kind)

    def _write(self) -> None:
        if self._path is None:
            return
        fresh = self._path.with_name(_FILE + ".tmp")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            json.dump({kind: secret for kind, secret in self._set.items() if secret}, file)
            file.flush()
            os.fsync(descriptor)
        fresh.replace(self._path)
