"""Keeps the central defaults of the agent's own proxies merged into what the agent shows of them."""

import asyncio
import logging
from typing import NamedTuple

from agent.local import LocalState
from mesh.central import PROXY_KINDS, defaults_name, upstreams_of, with_defaults
from model.durations import SECOND
from model.errors import RpcError
from model.structs.catalog import NodeService, ServiceID
from model.structs.config_rpc import ServiceConfigRequest, ServiceConfigResponse
from rpc.caller import Caller

log = logging.getLogger("lictor.agent.central")

WAIT = 300 * SECOND
FIRST_ANSWER = 3.0
"""Seconds that a new proxy is held back from the catalog while nobody says what its defaults are."""


class _Watched(NamedTuple):
    registered: NodeService
    task: asyncio.Task[None]


class CentralDefaults:
    """One blocking query for each proxy. Follows `LocalState` by its `on_change`."""

    def __init__(self, caller: Caller, local: LocalState, datacenter: str) -> None:
        self._caller = caller
        self._local = local
        self._datacenter = datacenter
        self._watched: dict[str, _Watched] = {}
        local.on_change.append(self._changed)

    def _changed(self, service_id: str) -> None:
        registered = self._local.registered.get(service_id)
        watched = self._watched.get(service_id)
        if watched is not None and registered is watched.registered:
            return
        if watched is not None:
            watched.task.cancel()
            del self._watched[service_id]
        if registered is not None and registered.kind in PROXY_KINDS:
            self._local.hold(service_id)
            task = asyncio.get_running_loop().create_task(self._follow(registered))
            self._watched[service_id] = _Watched(registered, task)

    async def _follow(self, registered: NodeService) -> None:
        """Ask for the defaults for ever; errors are retried with a growing pause."""
        index, pause, answered = 0, 0.2, False
        while True:
            request = ServiceConfigRequest(
                name=defaults_name(registered),
                upstream_ids=[ServiceID(id=name) for name in upstreams_of(registered)] or None,
                datacenter=self._datacenter,
                token=self._local.service_token(registered.id),
                min_query_index=index,
                max_query_time=WAIT,
            )
            try:
                async with asyncio.timeout(None if answered else FIRST_ANSWER):
                    reply = await self._caller.call("ConfigEntry.ResolveServiceConfig", request)
            except (RpcError, TimeoutError) as error:
                log.warning("asking for the central defaults of %s failed: %s", registered.id, error)
                self._local.release(registered.id)
                answered, index = True, 0
                await asyncio.sleep(pause)
                pause = min(pause * 2, 10.0)
                continue
            assert isinstance(reply, ServiceConfigResponse)
            pause, answered = 0.2, True
            self._local.show(with_defaults(registered, reply))
            self._local.release(registered.id)
            index = reply.index if reply.index >= index else 0

    async def stop(self) -> None:
        """Stop asking."""
        tasks = [watched.task for watched in self._watched.values()]
        self._watched.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
