"""What the leader does from time to time: end expired sessions, write coordinates, forget old tombstones, set markers.

`Housekeeping` only decides and proposes; it starts anew with every leadership, because timers are not replicated.
"""

import asyncio
import logging
import time
from collections import deque

from model.codec import pack_builtins, to_wire
from model.commands import CommandType
from model.errors import RpcError
from model.metrics import METRICS
from model.structs.kv import TombstoneRequest
from model.structs.operator import AutopilotSetConfigRequest, SystemMetadataEntry, SystemMetadataRequest
from model.structs.session import Session, SessionRequest
from server.endpoints.context import Context, propose
from server.leader.access import remove_expired_tokens
from server.raft.errors import RaftError

log = logging.getLogger("lictor.leader")

_INVALIDATED = METRICS.sample("session_ttl.invalidate")

SESSION_PERIOD = 0.5
COORDINATE_PERIOD = 5.0
COORDINATE_BATCH = 128
TOMBSTONE_AGE = 15 * 60.0
TOMBSTONE_PERIOD = 30.0
MARKERS = {"intention-format": "config-entry", "virtual-ips": "true", "virtual-ips-term-gateway": "true"}


class Housekeeping:
    """The chores of one leadership."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._tombstones: deque[tuple[float, int]] = deque()

    async def run(self) -> None:
        """Do the chores until cancelled. Run it as a task while this server leads."""
        context = self._context
        context.session_timers.reset(context.fsm.store.sessions.rows)
        loop = asyncio.get_running_loop()
        coordinates_at = tombstones_at = loop.time()
        while True:
            await asyncio.sleep(SESSION_PERIOD)
            now = loop.time()
            try:
                await self.expire_sessions()
                await remove_expired_tokens(context)
                if now >= coordinates_at:
                    coordinates_at = now + COORDINATE_PERIOD
                    await self.write_coordinates()
                if now >= tombstones_at:
                    tombstones_at = now + TOMBSTONE_PERIOD
                    await self.reap_tombstones(now)
            except (RaftError, RpcError) as error:
                log.warning("leader's housekeeping was held up: %s", error)

    async def set_markers(self) -> None:
        """Note what this version of the state can do, and autopilot's first settings, unless that was done before."""
        context = self._context
        store = context.fsm.store
        if store.autopilot.config is None:
            initial = AutopilotSetConfigRequest(config=context.autopilot.initial)
            await propose(context, CommandType.AUTOPILOT, initial)
        for key, value in MARKERS.items():
            if store.metadata.value(key) != value:
                entry = SystemMetadataEntry(key=key, value=value)
                await propose(context, CommandType.SYSTEM_METADATA, SystemMetadataRequest(op="upsert", entry=entry))

    async def expire_sessions(self) -> None:
        """End the sessions whose time is over."""
        context = self._context
        for session_id in context.session_timers.expired():
            session = context.fsm.store.sessions.rows.get(session_id)
            if session is None:
                continue
            request = SessionRequest(
                op="destroy", datacenter=context.datacenter, session=Session(id=session_id, node=session.node)
            )
            began = time.perf_counter()
            try:
                await propose(context, CommandType.SESSION, request)
                _INVALIDATED.add((time.perf_counter() - began) * 1000.0)
            except BaseException:
                context.session_timers.retry(session)
                raise
            log.info("session TTL expired: %s", session_id)

    async def write_coordinates(self) -> None:
        """Write the coordinates that nodes have reported since the last time."""
        waiting = self._context.coordinate_updates
        while waiting:
            keys = list(waiting)[:COORDINATE_BATCH]
            rows = [to_wire(waiting.pop(key)) for key in keys]
            await self._context.raft.propose(bytes((CommandType.COORDINATES,)) + pack_builtins(rows))

    async def reap_tombstones(self, now: float) -> None:
        """Forget tombstones that are older than a waiting client can be. `now` is in seconds of any clock."""
        store = self._context.fsm.store
        newest = store.indexes.get("tombstones")
        if len(store.kv.tombstones) and (not self._tombstones or self._tombstones[-1][1] < newest):
            self._tombstones.append((now + TOMBSTONE_AGE, newest))
        while self._tombstones and self._tombstones[0][0] <= now:
            _, index = self._tombstones.popleft()
            request = TombstoneRequest(op="reap", reap_index=index, datacenter=self._context.datacenter)
            await propose(self._context, CommandType.TOMBSTONE, request)
