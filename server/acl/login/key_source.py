"""Keys of one auth method's issuer: fetched when needed, kept for a while, one question under way at a time.

A token that no kept key has signed makes us look whether there are new keys; how often that may happen is bounded,
since anybody can send tokens. The question itself is `asking.ask`, the clock is handed in.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from model.gojson import JsonError, parse_json
from server.acl.login import jwt
from server.acl.login.asking import Answer, Question
from server.acl.login.jwt_settings import JwtSettings
from server.acl.login.problems import Refused

Ask = Callable[[Question], Awaitable[Answer]]
KEPT = 30.0
"""Seconds for which keys count that came without `Cache-Control: max-age`."""
KEPT_AT_MOST = 3600.0
BETWEEN = 1.0
"""Seconds between two questions, at least."""


class Found(NamedTuple):
    """Keys, and their issuer when it was found by discovery."""

    keys: tuple[jwt.Key, ...]
    issuer: str


class KeySource:
    """The keys at `JWKSURL`, or of the issuer at `OIDCDiscoveryURL`."""

    def __init__(self, settings: JwtSettings, ask: Ask, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._ask = ask
        self._clock = clock
        self._found: Found | None = None
        self._asked = float("-inf")
        self._until = float("-inf")
        self._under_way: asyncio.Task[Found] | None = None

    async def current(self) -> tuple[Found, float]:
        """The keys, fetched if those that are kept have become too old, and when they were asked for.

        Raises Refused when they cannot be had.
        """
        if self._found is None or self._clock() >= self._until:
            await self._fetch()
        assert self._found is not None
        return self._found, self._asked

    async def newer(self, asked: float) -> Found:
        """Keys that were asked for later than at `asked`. Raises Refused when they cannot be had."""
        if self._found is None or self._asked <= asked:
            await self._fetch()
        assert self._found is not None
        return self._found

    async def close(self) -> None:
        """End the question that is under way."""
        if self._under_way is not None:
            self._under_way.cancel()
            await asyncio.wait((self._under_way,))

    async def _fetch(self) -> None:
        """Fetch the keys, or wait for it when somebody does already."""
        if self._under_way is None:
            self._under_way = asyncio.create_task(self._fetch_now())
            self._under_way.add_done_callback(self._done)
        # Whoever stops waiting does not end the question for the others.
        await asyncio.shield(self._under_way)

    def _done(self, task: "asyncio.Task[Found]") -> None:
        self._under_way = None
        if not task.cancelled():
            task.exception()  # It is raised for those who wait; when nobody does any more, it need not be told.

    async def _fetch_now(self) -> Found:
        wait = self._asked + BETWEEN - self._clock()
        if wait > 0:
            await asyncio.sleep(wait)
        self._asked = self._clock()
        url, issuer = self._settings.jwks_url, ""
        if not url:
            url, issuer = await self._discover()
        answer = await self._ask(_get(url, self._settings.authorities))
        if answer.status != 200:
            raise Refused(f"oidc: get keys failed: the server answered with status {answer.status}")
        try:
            self._found = Found(jwt.parse_key_set(answer.body), issuer)
        except ValueError as error:
            raise Refused(f"oidc: failed to decode keys: {error}") from None
        self._until = self._clock() + _kept_for(answer)
        return self._found

    async def _discover(self) -> tuple[str, str]:
        """URL of the keys, and the issuer."""
        base = self._settings.discovery_url
        answer = await self._ask(
            _get(base.rstrip("/") + "/.well-known/openid-configuration", self._settings.authorities)
        )
        if answer.status != 200:
            raise Refused(f"the server answered with status {answer.status}")
        try:
            document: Any = parse_json(answer.body)
        except JsonError as error:
            raise Refused(f"oidc: failed to decode provider discovery object: {error}") from None
        issuer = document.get("issuer") if isinstance(document, dict) else None
        url = document.get("jwks_uri") if isinstance(document, dict) else None
        if not isinstance(issuer, str) or not isinstance(url, str):
            raise Refused("oidc: failed to decode provider discovery object: issuer or jwks_uri is missing")
        if issuer != base:
            raise Refused(
                f'oidc: issuer did not match the issuer returned by provider, expected "{base}" got "{issuer[:300]}"'
            )
        return url, issuer


def _get(url: str, authorities: str) -> Question:
    return Question("GET", url, (("Accept", "application/json"),), authorities=authorities, follow=True)


def _kept_for(answer: Answer) -> float:
    """Seconds for which keys may be kept."""
    control = answer.headers.get("cache-control", "").lower()
    if "no-store" in control or "no-cache" in control:
        return 0.0
    age = re.search(r"max-age=(\d{1,9})", control)
    return min(float(age[1]), KEPT_AT_MOST) if age else KEPT
