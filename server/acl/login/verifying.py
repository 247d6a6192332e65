"""Auth methods at work: their settings checked, and credentials verified by asking whoever knows about them.

A thin driver: it asks what the pure modules say (`jwt`, `kubernetes`, `aws_iam`) and hands them the answers. What it
keeps are the keys of JWT issuers, by method, for as long as the method is as it was.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from model.structs.acl import ACLAuthMethod
from server.acl.login import asking, aws_iam, aws_settings, claims, jwt, jwt_settings, kubernetes
from server.acl.login.asking import Answer, Question
from server.acl.login.aws_settings import AWS_IAM
from server.acl.login.identity import Identity, Shape
from server.acl.login.jwt_settings import JWT, JwtSettings
from server.acl.login.key_source import Found, KeySource
from server.acl.login.kubernetes import KUBERNETES
from server.acl.login.problems import Refused, SettingsProblem

T = TypeVar("T")
TYPES = (AWS_IAM, JWT, KUBERNETES)
MAX_SOURCES = 128
"""Auth methods whose keys are kept."""
MAX_SECONDS = 30.0
"""Seconds that a login may take, whatever it has to ask and how often."""
MAX_QUESTIONS = 32
"""Questions under way at a time."""
_PAUSE = 0.2
"""Seconds before AWS is asked anew; each time twice as many."""


def check_settings(kind: str, config: dict[str, Any] | None) -> Shape:
    """What identities of an auth method look like. Raises SettingsProblem for a bad type or bad settings."""
    if kind == JWT:
        return jwt_settings.read_settings(config).shape
    if kind == KUBERNETES:
        kubernetes.read_settings(config)
        return kubernetes.SHAPE
    if kind == AWS_IAM:
        return aws_settings.read_settings(config).shape
    raise SettingsProblem(f"Type should be one of: [{' '.join(TYPES)}]")


class Verifier:
    """Verifies credentials. `ask` and the clocks (seconds; of the day, and one that only goes on) are for tests."""

    def __init__(
        self,
        ask: Callable[[Question], Any] = asking.ask,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask_freely = ask
        self._now = now
        self._clock = clock
        self._slots = asyncio.Semaphore(MAX_QUESTIONS)
        self._sources: OrderedDict[str, tuple[JwtSettings, KeySource]] = OrderedDict()

    async def _ask(self, question: Question) -> Answer:
        async with self._slots:
            answer: Answer = await self._ask_freely(question)
            return answer

    async def check_reachable(self, kind: str, config: dict[str, Any] | None) -> None:
        """Ask for the keys of an issuer whose URL the settings name. Raises SettingsProblem when there are none."""
        if kind != JWT:
            return
        settings = jwt_settings.read_settings(config)
        if settings.keys:
            return
        try:
            await KeySource(settings, self._ask, self._clock).current()
        except Refused as error:
            name = "JWKSURL" if settings.jwks_url else "OIDCDiscoveryURL"
            raise SettingsProblem(f"error checking {name}: {error}") from None

    async def close(self) -> None:
        """End what is under way."""
        for _, source in self._sources.values():
            await source.close()

    async def verify(self, method: ACLAuthMethod, bearer_token: str) -> Identity:
        """Whose credential it is. Raises Refused, or SettingsProblem when the auth method cannot be used."""
        try:
            async with asyncio.timeout(MAX_SECONDS):
                return await self._verify(method, bearer_token)
        except TimeoutError:
            raise Refused(f"whoever knows about the credential has not answered in {MAX_SECONDS:.0f} seconds") from None

    async def _verify(self, method: ACLAuthMethod, bearer_token: str) -> Identity:
        if method.type == JWT:
            settings = jwt_settings.read_settings(method.config)
            return claims.identity_of(settings, await self._claims(method.name, settings, bearer_token))
        if method.type == KUBERNETES:
            return await self._kubernetes(kubernetes.read_settings(method.config), bearer_token)
        if method.type == AWS_IAM:
            return await self._aws(aws_settings.read_settings(method.config), bearer_token)
        raise SettingsProblem(f'auth method type "{method.type}" is not supported')

    async def _claims(self, name: str, settings: JwtSettings, bearer_token: str) -> dict[str, Any]:
        if settings.keys:
            return jwt.verify_by_keys(settings, bearer_token, self._now())
        token = jwt.parse_remote(bearer_token)
        source = self._source(name, settings)
        began = self._clock()
        found, asked = await _keys(settings, source.current())
        verified = self._signed(settings, token, found)
        if verified is None and asked < began:
            verified = self._signed(settings, token, await _keys(settings, source.newer(asked)))
        if verified is None:
            raise Refused(f"{_unverified(settings)}failed to verify id token signature")
        return verified

    def _signed(self, settings: JwtSettings, token: jwt.Token, found: Found) -> dict[str, Any] | None:
        if settings.jwks_url:
            return jwt.verify_by_set(settings, token, found.keys, self._now())
        return jwt.verify_discovered(settings, found.issuer, token, found.keys, self._now())

    def _source(self, name: str, settings: JwtSettings) -> KeySource:
        """The keys of an auth method; those of the one that was used longest ago make room."""
        known = self._sources.get(name)
        if known is None or known[0] != settings:
            known = self._sources[name] = settings, KeySource(settings, self._ask, self._clock)
            while len(self._sources) > MAX_SOURCES:
                self._sources.popitem(last=False)
        self._sources.move_to_end(name)
        return known[1]

    async def _kubernetes(self, settings: kubernetes.KubernetesSettings, bearer_token: str) -> Identity:
        try:
            answer = await self._ask(kubernetes.review(settings, bearer_token))
        except asking.NoAnswer as error:
            raise Refused(f"lookup failed: {error}") from None
        whose = kubernetes.reviewed(answer)
        try:
            answer = await self._ask(kubernetes.account(settings, whose))
        except asking.NoAnswer as error:
            raise Refused(f"annotation lookup failed: {error}") from None
        return kubernetes.identity_of(whose, answer)

    async def _aws(self, settings: aws_settings.AwsSettings, bearer_token: str) -> Identity:
        requests = aws_iam.signed_requests(settings, bearer_token)
        caller = aws_iam.caller_of(await self._ask_aws(settings, requests.caller))
        entity = None
        if requests.entity is not None:
            entity = aws_iam.entity_of(await self._ask_aws(settings, requests.entity))
        return aws_iam.identity_of(settings, caller, entity)

    async def _ask_aws(self, settings: aws_settings.AwsSettings, question: Question) -> Answer:
        """Ask AWS, again when it cannot answer now, as often as the settings want."""
        retry = 0
        while True:
            try:
                answer = await self._ask(question)
                if answer.status < 500 or retry == settings.retries:
                    return answer
            except asking.NoAnswer:
                if retry == settings.retries:
                    raise
            await asyncio.sleep(_PAUSE * 2**retry)
            retry += 1


def _unverified(settings: JwtSettings) -> str:
    """How the text begins when a token's signature is not known to be good."""
    return "error verifying token: " + ("failed to verify signature: " if settings.discovery_url else "")


async def _keys(settings: JwtSettings, keys: Awaitable[T]) -> T:
    """Keys, or Refused with a text for who wants to log in."""
    try:
        return await keys
    except Refused as error:
        raise Refused(f"{_unverified(settings)}fetching keys {error}") from None
