"""Where the proxy-state document comes from: the local agent, by long polling."""

import asyncio
import logging
from collections.abc import AsyncIterator

import aiohttp
import msgspec

from mesh.proxy_state import ProxyState

log = logging.getLogger("lictor.connect.proxy")

WAIT = 60
MAX_DOCUMENT = 16 << 20


class SourceError(Exception):
    """The agent refuses: the text says why."""


class AgentSource:
    """The document of one proxy from an agent's HTTP API at `base` (http://host:port)."""

    def __init__(self, base: str, proxy_id: str, token: str = "") -> None:
        self._base = base.rstrip("/")
        self._proxy_id = proxy_id
        self._headers = {"X-Consul-Token": token} if token else {}

    async def states(self) -> AsyncIterator[ProxyState]:
        """Every new version, for ever; while the agent is away it is asked again and again.

        Raises SourceError when the agent does not know the proxy at the first question.
        """
        version, delay, seen = "", 0.25, False
        timeout = aiohttp.ClientTimeout(total=WAIT * 2)
        async with aiohttp.ClientSession(headers=self._headers, timeout=timeout) as session:
            while True:
                url = f"{self._base}/v1/agent/connect/proxy-state/{self._proxy_id}"
                try:
                    async with session.get(url, params={"hash": version, "wait": f"{WAIT}s"}) as response:
                        body = await response.content.read(MAX_DOCUMENT)
                        while chunk := await response.content.read(MAX_DOCUMENT - len(body) or 1):
                            body += chunk
                            if len(body) > MAX_DOCUMENT:
                                raise SourceError("the agent's answer is too large")
                    if response.status == 404 and not seen:
                        raise SourceError(body.decode("utf-8", "replace"))
                    if response.status != 200:
                        raise ConnectionError(f"{response.status}: {body[:200].decode('utf-8', 'replace')}")
                    state = msgspec.json.decode(body, type=ProxyState)
                except (aiohttp.ClientError, TimeoutError, OSError, msgspec.DecodeError) as error:
                    log.warning("cannot get the proxy's state from the agent: %s", error)
                    await asyncio.sleep(delay)
                    delay = min(delay * 2, 5.0)
                    continue
                delay, seen = 0.25, True
                if state.version != version:
                    version = state.version
                    yield state
