"""Composes the proxy-state document of a registered proxy and keeps it fresh by blocking queries."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from agent.leaf import LeafCertificates
from agent.local import LocalState
from agent.tokens import Bearing
from mesh.proxy_state import Endpoint, Leaf, ProxyState, PublicListener, Rule, Upstream, versioned
from mesh.spiffe import ServiceIdentity, service_sni
from model.durations import SECOND
from model.errors import RpcError
from model.structs.base import Meta
from model.structs.catalog import NodeService
from model.structs.catalog_rpc import DCSpecificRequest, ServiceSpecificRequest
from model.structs.intentions import IntentionMatchEntry, IntentionQueryMatch, IntentionQueryRequest
from rpc.caller import Caller

log = logging.getLogger("lictor.agent.proxy")

MOST_TIMEOUT = 3600_000
"""Milliseconds that opening a connection to an upstream may take at most."""
IDLE = 180.0
WAIT = 300 * SECOND


def number_of(settings: Mapping[str, Any], name: str, least: float, most: float, default: float) -> float:
    """A number in a proxy's free-form settings, which may be written as text; the default for anything else."""
    value = settings.get(name)
    if value is None:
        return default
    try:
        if isinstance(value, int | float | str) and not isinstance(value, bool) and least <= float(value) <= most:
            return float(value)
    except (ValueError, OverflowError):
        pass  # No number, or one that nothing can hold.
    log.warning("a proxy's %s is no number from %g to %g: it is left out", name, least, most)
    return default


class ProxyWatcher:
    """One proxy's document; runs from the first question until nobody has asked for a while."""

    def __init__(
        self,
        proxy_id: str,
        caller: Caller,
        local: LocalState,
        leafs: LeafCertificates,
        dc: str,
        default_allow: bool,
    ) -> None:
        self._proxy_id = proxy_id
        self._default_allow = default_allow
        self._caller = Bearing(caller, lambda: local.service_token(proxy_id))
        self._local = local
        self._leafs = leafs
        self._datacenter = dc
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._parts: dict[str, Any] = {}
        self._changed = asyncio.Event()
        self._proxy: NodeService | None = None
        self.asked = time.monotonic()
        self.state: ProxyState | None = None

    def close(self) -> None:
        """Stop watching."""
        for task in self._tasks.values():
            task.cancel()
        self._tasks.clear()

    def refresh(self) -> None:
        """The agent's own services changed: watch what the proxy needs now."""
        proxy = self._local.services.get(self._proxy_id)
        if proxy == self._proxy:
            return
        self._proxy = proxy
        if proxy is None:
            self.close()
            self._notify()
            return
        service = proxy.proxy.destination_service_name
        wanted: dict[str, Callable[[], Awaitable[None]]] = {
            "roots": self._watch_roots,
            f"intentions:{service}": lambda: self._watch_intentions(service),
        }
        for upstream in proxy.proxy.upstreams or ():
            if upstream.destination_type in ("", "service"):
                name = upstream.destination_name
                wanted[f"upstream:{name}"] = lambda name=name: self._watch_upstream(name)  # type: ignore[misc]
        for key in [key for key in self._tasks if key not in wanted]:
            self._tasks.pop(key).cancel()
        loop = asyncio.get_running_loop()
        for key, watch in wanted.items():
            if key not in self._tasks:
                self._tasks[key] = loop.create_task(watch())  # type: ignore[arg-type]
        self._compose()

    async def _follow(self, what: str, method: str, make: Callable[[int], Any], take: Callable[[Any], Any]) -> None:
        """Repeat a blocking query for ever; errors are retried with a growing pause."""
        index, pause = 0, 0.2
        while True:
            try:
                reply: Meta = await self._caller.call(method, make(index))
            except RpcError as error:
                log.warning("watching %s for proxy %s failed: %s", what, self._proxy_id, error.text)
                await asyncio.sleep(pause)
                pause = min(pause * 2, 10.0)
                index = 0
                continue
            pause = 0.2
            if reply.index != index or what not in self._parts:
                self._parts[what] = await take(reply)
                self._compose()
            index = reply.index if reply.index >= index else 0

    async def _watch_intentions(self, service: str) -> None:
        entry = IntentionMatchEntry(name=service, namespace="default")
        wanted = IntentionQueryMatch(type="destination", entries=[entry])

        async def take(reply: Any) -> list[Rule]:
            found = reply.matches[0] if reply.matches else []
            return [
                Rule(one.source_name, one.action == "allow" and not one.permissions)
                for one in found
                if not one.source_peer
            ]

        await self._follow(
            "intentions",
            "Intention.Match",
            lambda index: IntentionQueryRequest(
                match=wanted, datacenter=self._datacenter, min_query_index=index, max_query_time=WAIT
            ),
            take,
        )

    async def _watch_upstream(self, name: str) -> None:
        async def take(reply: Any) -> list[Endpoint]:
            found = []
            for one in reply.nodes or ():
                statuses = {check.status for check in one.checks or ()}
                if "critical" in statuses or one.service is None or one.node is None:
                    continue
                weights = one.service.weights
                weight = 1 if weights is None else weights.warning if "warning" in statuses else weights.passing
                if weight > 0:
                    found.append(Endpoint(one.service.address or one.node.address, one.service.port, weight))
            return sorted(found, key=lambda endpoint: (endpoint.address, endpoint.port))

        await self._follow(
            f"upstream:{name}",
            "Health.ServiceNodes",
            lambda index: ServiceSpecificRequest(
                service_name=name,
                connect=True,
                datacenter=self._datacenter,
                min_query_index=index,
                max_query_time=WAIT,
            ),
            take,
        )

    async def _watch_roots(self) -> None:
        """Roots and leaf together: the leaf follows the active root, and its own age."""
        index, pause = 0, 0.2
        while True:
            try:
                roots = await self._caller.call(
                    "ConnectCA.Roots",
                    DCSpecificRequest(datacenter=self._datacenter, min_query_index=index, max_query_time=60 * SECOND),
                )
                assert self._proxy is not None
                leaf = await self._leafs.get(
                    self._proxy.proxy.destination_service_name, roots, self._local.service_token(self._proxy_id)
                )
            except RpcError as error:
                log.warning("getting the identity of proxy %s failed: %s", self._proxy_id, error.text)
                await asyncio.sleep(pause)
                pause = min(pause * 2, 10.0)
                index = 0
                continue
            pause = 0.2
            index = roots.index
            pems = [pem for root in roots.roots or () for pem in (root.root_cert, *(root.intermediate_certs or ()))]
            new = (
                roots.trust_domain,
                pems,
                Leaf(leaf.cert_pem, leaf.private_key_pem, leaf.valid_before.unix, leaf.service_uri),
            )
            if self._parts.get("identity") != new:
                self._parts["identity"] = new
                self._compose()

    def _compose(self) -> None:
        proxy, identity, rules = self._proxy, self._parts.get("identity"), self._parts.get("intentions")
        if proxy is None or identity is None or rules is None:
            return
        trust_domain, roots, leaf = identity
        config = proxy.proxy
        settings = config.config or {}
        given = settings.get("bind_address")
        bind = (given if isinstance(given, str) else "") or proxy.address or self._local.node.address
        port = int(number_of(settings, "bind_port", 0, 65535, 0) or proxy.port)
        upstreams = []
        for upstream in config.upstreams or ():
            name = upstream.destination_name
            if upstream.destination_type not in ("", "service"):
                continue
            endpoints = self._parts.get(f"upstream:{name}")
            if endpoints is None:
                return  # Not known yet: an incomplete document would refuse calls that are fine.
            timeout = number_of(upstream.config or {}, "connect_timeout_ms", 1, MOST_TIMEOUT, 5000) / 1000
            upstreams.append(
                Upstream(
                    name=name,
                    bind_address=upstream.local_bind_address or "127.0.0.1",
                    bind_port=upstream.local_bind_port,
                    sni=service_sni(name, self._datacenter, trust_domain),
                    identities=[ServiceIdentity(trust_domain, "default", self._datacenter, name).uri],
                    endpoints=endpoints,
                    connect_timeout=max(0.1, timeout),
                )
            )
        state = versioned(
            ProxyState(
                proxy_id=self._proxy_id,
                service=config.destination_service_name,
                datacenter=self._datacenter,
                trust_domain=trust_domain,
                leaf=leaf,
                roots=roots,
                public=PublicListener(
                    bind_address=bind,
                    bind_port=port,
                    local_address=config.local_service_address or "127.0.0.1",
                    local_port=config.local_service_port,
                    local_socket=config.local_service_socket_path,
                ),
                rules=rules,
                default_allow=self._default_allow,
                upstreams=upstreams,
            )
        )
        if self.state is None or state.version != self.state.version:
            self.state = state
            self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait(self, version: str, seconds: float) -> ProxyState | None:
        """The document once its version is another than `version`, or the present one after `seconds`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while self._proxy is not None and (self.state is None or self.state.version == version):
            self.asked = time.monotonic()
            try:
                async with asyncio.timeout(max(0.0, deadline - loop.time())):
                    await self._changed.wait()
            except TimeoutError:
                break
        self.asked = time.monotonic()
        return self.state if self._proxy is not None else None


class ProxyStates:
    """Watchers by proxy ID. `default_allow`: whether services may connect where no intention says anything."""

    def __init__(
        self,
        caller: Caller,
        local: LocalState,
        leafs: LeafCertificates,
        datacenter: str,
        default_allow: bool = True,
    ) -> None:
        self._default_allow = default_allow
        self._caller = caller
        self._leafs = leafs
        self._datacenter = datacenter
        self._local = local
        self._watchers: dict[str, ProxyWatcher] = {}
        local.on_change.append(self._service_changed)

    def _service_changed(self, service_id: str) -> None:
        watcher = self._watchers.get(service_id)
        if watcher is not None:
            watcher.refresh()

    async def get(self, proxy_id: str, version: str, seconds: float) -> ProxyState | None:
        """A proxy's document, see `ProxyWatcher.wait`; None when there is no such proxy."""
        proxy = self._local.services.get(proxy_id)
        if proxy is None or proxy.kind != "connect-proxy":
            return None
        self._forget_idle()
        watcher = self._watchers.get(proxy_id)
        if watcher is None:
            watcher = ProxyWatcher(
                proxy_id, self._caller, self._local, self._leafs, self._datacenter, self._default_allow
            )
            self._watchers[proxy_id] = watcher
            watcher.refresh()
        return await watcher.wait(version, seconds)

    def _forget_idle(self) -> None:
        now = time.monotonic()
        for proxy_id, watcher in list(self._watchers.items()):
            if now - watcher.asked > IDLE:
                watcher.close()
                del self._watchers[proxy_id]

    def close(self) -> None:
        """Stop all watchers."""
        for watcher in self._watchers.values():
            watcher.close()
        self._watchers.clear()
