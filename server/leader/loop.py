"""The leader's loop: started when this server becomes leader, ended when it no longer is."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable

from gossip.core import EventKind, Member, MemberEvent
from model.errors import RpcError
from model.metrics import METRICS
from server.endpoints.context import Context
from server.leader import access
from server.leader.acl_replication import AclReplication
from server.leader.housekeeping import Housekeeping
from server.leader.reconcile import Reconciler
from server.leader.tending import Tending
from server.raft.driver import RaftNode
from server.raft.errors import RaftError

log = logging.getLogger("lictor.leader")

_RECONCILED = METRICS.sample("leader.reconcile")
_BARRIERS = METRICS.sample("leader.barrier")
RECONCILE_INTERVAL = 60.0
RETRY = 1.0


class LeaderLoop:
    """Owns the tasks of leadership. `members` lists the gossip pool."""

    def __init__(self, context: Context, raft: RaftNode, members: Callable[[], list[Member]]) -> None:
        self._context = context
        self._raft = raft
        self._members = members
        self._task: asyncio.Task[None] | None = None
        self._events: asyncio.Queue[MemberEvent] = asyncio.Queue()
        self._established = asyncio.Event()
        self._tried = asyncio.Event()
        """Set once this leadership has brought the members into the catalog, and once it has tried to."""

    async def again(self, seconds: float = 30.0) -> None:
        """Take up the duties anew, because the state was replaced; returns once the members are in it.

        Does nothing on a server that does not lead. Raises TimeoutError.
        """
        if self._task is not None:
            self.leadership(True)
            async with asyncio.timeout(seconds):
                await self._established.wait()

    async def settled(self, seconds: float) -> None:
        """Wait until this leader has tried to bring the members into the catalog, or for so many seconds."""
        if self._task is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._tried.wait()

    def leadership(self, leads: bool) -> None:
        """Called by Raft."""
        self.stop()
        if leads:
            log.info("cluster leadership acquired")
            self._events = asyncio.Queue()
            self._established, self._tried = asyncio.Event(), asyncio.Event()
            self._task = asyncio.get_running_loop().create_task(self._run())

    def stop(self) -> None:
        """End the tasks."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def gossip(self, event: MemberEvent) -> None:
        """Called for each event of the pool."""
        if self._task is not None:
            self._events.put_nowait(event)

    async def _run(self) -> None:
        reconciler = Reconciler(self._context, self._raft)
        chores: list[asyncio.Task[None]] = []
        try:
            await self._until_done(self._establish)
            loop = asyncio.get_running_loop()
            chores = [loop.create_task(work(self._context).run()) for work in (Housekeeping, Tending, AclReplication)]
            while True:
                delay = RECONCILE_INTERVAL
                try:
                    began = time.perf_counter()
                    await reconciler.all(self._members())
                    _RECONCILED.add((time.perf_counter() - began) * 1000.0)
                    self._established.set()
                except (RaftError, RpcError) as error:
                    log.warning("failed to reconcile: %s", error)
                    delay = RETRY
                self._tried.set()
                await self._follow_events(reconciler, delay)
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("the leader's loop failed")
        finally:
            for chore in chores:
                chore.cancel()

    async def _establish(self) -> None:
        began = time.perf_counter()
        await self._raft.barrier()
        _BARRIERS.add((time.perf_counter() - began) * 1000.0)
        # Before the first registration: whether a service gets a virtual address hangs on these.
        await Housekeeping(self._context).set_markers()
        await access.establish(self._context)
        if self._context.connect_enabled:
            await self._context.ca.initialize()

    async def _until_done(self, work: Callable[[], object]) -> None:
        while True:
            try:
                await work()  # type: ignore[misc]
                return
            except (RaftError, RpcError) as error:
                log.warning("failed to establish leadership: %s", error)
                await asyncio.sleep(RETRY)

    async def _follow_events(self, reconciler: Reconciler, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    event = await self._events.get()
                    try:
                        if event.kind in (EventKind.LEAVE, EventKind.REAP):
                            await reconciler.gone(event.member)
                        else:
                            await reconciler.member(event.member)
                    except (RaftError, RpcError) as error:
                        log.warning("failed to reconcile member %s: %s", event.member.name, error)
                        return
