"""Where the proxy-state document comes from: the local agent, by long polling."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator

import aiohttp
import msgspec

from mesh.proxy_state import ProxyState

log = logging.getLogger("lictor.connect.proxy")

UNIX = "unix://"
WAIT = 60
MAX_DOCUMENT = 16 << 20


class SourceError(Exception):
    """The agent refuses: the text says why."""


class AgentSource:
    """The document of one proxy from an agent's HTTP API at `base` (http(s)://host:port or unix:///path).

    `tls` is for https, `server_name` the name to expect in the agent's certificate if not the host's.
    """

    def __init__(
        self, base: str, proxy_id: str, token: str = "", tls: ssl.SSLContext | None = None, server_name: str = ""
    ) -> None:
        self._unix = base[len(UNIX) :] if base.startswith(UNIX) else ""
        self._base = "http://localhost" if self._unix else base.rstrip("/")
        self._tls = tls
        self._server_name = server_name or None
        self._proxy_id = proxy_id
        self._headers = {"X-Consul-Token": token} if token else {}

    async def states(self) -> AsyncIterator[ProxyState]:
        """Every new version, for ever; while the agent is away it is asked again and again.

        Raises SourceError when the agent does not know the proxy at the first question.
        """
        version, delay, seen = "", 0.25, False
        timeout = aiohttp.ClientTimeout(total=WAIT * 2)
        connector = aiohttp.UnixConnector(self._unix) if self._unix else aiohttp.TCPConnector(ssl=self._tls or True)
        async with aiohttp.ClientSession(headers=self._headers, timeout=timeout, connector=connector) as session:
            while True:
                url = f"{self._base}/v1/agent/connect/proxy-state/{self._proxy_id}"
                try:
                    params = {"hash": version, "wait": f"{WAIT}s"}
                    async with session.get(url, params=params, server_hostname=self._server_name) as response:
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
