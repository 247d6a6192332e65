"""Tokens whose rights others know: a client agent asks its servers, a server of another datacenter the primary one.

What was heard is remembered for `token_ttl`. While nobody answers, `down_policy` says what holds.
"""

import logging
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from model.acl.rules import merge, no_rules
from model.errors import ACL_NOT_FOUND, RpcError
from model.structs.acl import ACLTokenGetRequest, ACLTokenResponse
from server.acl.identities import ANONYMOUS_ID, ANONYMOUS_SECRET
from server.acl.resolver import TokenAuthorizer, rules_of
from server.acl.settings import AclSettings

log = logging.getLogger("lictor.acl")

GRACE = 15.0
"""Seconds from learning of a token to the end of the call that this was for, at most."""
_REMEMBERED = 1024
"""Tokens whose rights are remembered."""
Ask = Callable[[ACLTokenGetRequest], Awaitable[ACLTokenResponse]]
"""Carries out `ACL.TokenRead` elsewhere; raises RpcError."""


class Known(NamedTuple):
    """What was heard of a token: None when nobody knows it; and when, in seconds of a monotonic clock."""

    authorizer: TokenAuthorizer | None
    at: float


class RemoteTokens:
    """The rights of tokens, as heard from `ask`."""

    def __init__(
        self,
        settings: AclSettings,
        datacenter: str,
        asked: str,
        ask: Ask,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._datacenter = datacenter
        self._asked = asked
        """The datacenter whose servers are asked."""
        self._ask = ask
        self._clock = clock
        self._known: dict[str, Known] = {}

    def forget(self) -> None:
        """Ask again for every token."""
        self._known.clear()

    async def learn(self, secret: str) -> None:
        """Know what the bearer of a secret may do: ask, unless that was done within `token_ttl`."""
        known = self._known.get(secret)
        if known is None or self._clock() - known.at >= self._settings.token_ttl:
            self._remember(secret, await self._hear(secret, known))

    def authorizer(self, secret: str) -> TokenAuthorizer:
        """What the bearer of a secret may do, as was learnt just before. Raises RpcError.

        What was learnt long ago counts for nothing: whoever forgets to ask again is refused.
        """
        known = self._known.get(secret)
        if known is None or known.authorizer is None or self._clock() - known.at > self._settings.token_ttl + GRACE:
            raise RpcError(ACL_NOT_FOUND)
        return known.authorizer

    async def _hear(self, secret: str, before: Known | None) -> Known:
        request = ACLTokenGetRequest(
            token_id=secret or ANONYMOUS_SECRET,
            token_id_type="secret",
            datacenter=self._asked,
            expanded=True,
            token=secret,
            allow_stale=True,
        )
        try:
            reply = await self._ask(request)
        except RpcError as error:
            if not error.has(ACL_NOT_FOUND):
                return self._unheard(secret, before, error)
            reply = ACLTokenResponse()
        allow = self._settings.default_allow
        if reply.token is not None:
            rules = merge(rules_of(reply.expanded_policies or (), self._datacenter))
            return Known(TokenAuthorizer(reply.token.accessor_id, rules, allow), self._clock())
        if secret in ("", ANONYMOUS_SECRET):
            return Known(TokenAuthorizer(ANONYMOUS_ID, no_rules(), allow), self._clock())
        return Known(None, self._clock())

    def _unheard(self, secret: str, before: Known | None, error: RpcError) -> Known:
        """What holds while nobody answers."""
        policy = self._settings.down_policy
        log.warning("a token cannot be resolved, acl.down_policy %r decides: %s", policy, error.text)
        # It holds for this call only: the next one asks again.
        now = self._clock() - self._settings.token_ttl
        if policy in ("extend-cache", "async-cache") and before is not None:
            return before._replace(at=now)
        accessor = ANONYMOUS_ID if secret in ("", ANONYMOUS_SECRET) else "unknown"
        return Known(TokenAuthorizer(accessor, no_rules(), policy == "allow"), now)

    def _remember(self, secret: str, known: Known) -> None:
        if len(self._known) >= _REMEMBERED and secret not in self._known:
            self._known.clear()
        self._known[secret] = known
