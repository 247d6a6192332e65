"""The agent's cache of answers, for `?cached`.

An answer is kept under its method and arguments. There are two kinds: a *plain* one is what was heard once, and callers
say how old it may be; a *fresh* one is kept up by a blocking read in the background for as long as somebody asks for
it, so its age is the time since contact with the servers was lost.

The token is one of the arguments, so what one may see is not for another. Rights that change do not change an answer's
index; so where access control is on, the servers are asked again after `rights_last` seconds at the latest.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

import msgspec

from agent.config.settings import RateLimit
from agent.token_bucket import TokenBucket
from model.codec import pack
from model.durations import SECOND
from model.errors import ACL_NOT_FOUND, PERMISSION_DENIED, RpcError
from model.metrics import METRICS
from model.structs.base import Query

log = logging.getLogger("lictor.agent.cache")

_FETCHED = METRICS.counter("cache.fetch_success")
_NOT_FETCHED = METRICS.counter("cache.fetch_error")
_EVICTED = METRICS.counter("cache.evict_expired")

MAX_ENTRIES = 4096
"""Entries that are kept; beyond, the one that was not asked for the longest goes."""
KEEP_FRESH = 600.0
"""Seconds for which an entry that nobody asks for is kept up."""
KEEP_PLAIN = 3 * 24 * 3600.0
"""Seconds for which a plain answer is kept that nobody asks for."""
BLOCK = 600_000_000_000
"""Nanoseconds of one background read."""
RETRY = 1.0
MAX_RETRY = 60.0

Call = Callable[[str, Any], Awaitable[Any]]


class Wanted(NamedTuple):
    """What a caller accepts. `max_age` in seconds, None for any; `stale_if_error`: seconds by which an answer may be
    older than that when the servers cannot be asked."""

    max_age: float | None = None
    must_revalidate: bool = False
    stale_if_error: float = 0.0


class Answer(NamedTuple):
    """A reply, whether it was there already, and its age in seconds."""

    reply: Any
    hit: bool
    age: float


class _Entry:
    """One kept answer."""

    def __init__(self, method: str, args: Query, now: float) -> None:
        self.method = method
        self.args = args
        self.reply: Any = None
        self.heard = now
        self.used = now
        self.lost: float | None = None
        """Since when the servers cannot be reached; None while they can."""
        self.task: asyncio.Task[None] | None = None
        self.refused: RpcError | None = None
        """Why it is kept up no more: whoever asks may not see it any longer."""
        self.changed = asyncio.Event()

    @property
    def index(self) -> int:
        return int(getattr(self.reply, "index", 0))

    def hear(self, reply: Any, now: float) -> None:
        self.reply, self.heard, self.lost = reply, now, None
        self.changed.set()
        self.changed = asyncio.Event()

    def refuse(self, error: RpcError) -> None:
        self.refused = error
        self.changed.set()

    def close(self) -> None:
        if self.task is not None:
            self.task.cancel()


class Cache:
    """Answers by what was asked. `call(method, args)` asks the servers; `clock` gives seconds.

    `rights_last`: for how many seconds an answer may be given without asking whether that is still allowed; None: for
    any time, as access control is off.
    """

    def __init__(
        self,
        call: Call,
        clock: Callable[[], float],
        limit: RateLimit = RateLimit(burst=2),
        rights_last: float | None = None,
    ) -> None:
        self._call = call
        self._rights_last = rights_last
        self.limit = limit
        """How often an entry is kept up; entries that are there keep theirs."""
        self._clock = clock
        self._entries: dict[bytes, _Entry] = {}
        self._asking: dict[bytes, tuple[asyncio.Lock, int]] = {}
        """For each question under way, the lock and how many hold it or wait for it."""

    def close(self) -> None:
        """Forget everything and stop asking."""
        for entry in self._entries.values():
            entry.close()
        self._entries.clear()

    def __len__(self) -> int:
        return len(self._entries)

    async def plain(self, method: str, args: Query, wanted: Wanted) -> Answer:
        """An answer that is kept as it was heard. Raises RpcError when there is none that `wanted` accepts."""
        key, bare = _key(method, args)
        async with self._one_at_a_time(key):
            entry = self._live(key, KEEP_PLAIN)
            limit = 0.0 if wanted.must_revalidate else wanted.max_age
            if self._rights_last is not None:
                limit = self._rights_last if limit is None else min(limit, self._rights_last)
            if entry is not None:
                age = self._clock() - entry.heard
                if limit is None or age < limit:
                    return Answer(entry.reply, True, age)
            try:
                reply = await self._call(method, bare)
                _FETCHED.add()
            except (RpcError, OSError) as error:
                _NOT_FETCHED.add()
                if _is_denial(error):
                    self._entries.pop(key, None)
                    raise
                if entry is None or limit is None or self._clock() - entry.heard > limit + wanted.stale_if_error:
                    raise
                return Answer(entry.reply, True, self._clock() - entry.heard)
            if entry is None:
                entry = self._add(key, method, bare)
            entry.hear(reply, self._clock())
            return Answer(reply, False, 0.0)

    async def fresh(self, method: str, args: Query, default_wait: float, max_wait: float) -> Answer:
        """An answer that is kept up in the background. With `min_query_index` it waits for a newer one.

        Times in seconds. Raises RpcError when the servers refuse the first read.
        """
        key, bare = _key(method, args)
        async with self._one_at_a_time(key):
            entry = self._live(key, KEEP_FRESH)
            hit = entry is not None
            if entry is None:
                reply = await self._call(method, bare)
                entry = self._add(key, method, bare)
                entry.hear(reply, self._clock())
                entry.task = asyncio.get_running_loop().create_task(self._keep_up(key, entry))
        if args.min_query_index and entry.index == args.min_query_index:
            hit = False
            seconds = args.max_query_time / 1e9 if args.max_query_time > 0 else default_wait
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(seconds, max_wait)):
                    while entry.index == args.min_query_index and entry.refused is None:
                        await entry.changed.wait()
            if entry.refused is not None:
                raise RpcError(entry.refused.text)
            entry.used = self._clock()
        elif args.min_query_index:
            hit = False
        return Answer(entry.reply, hit, self._clock() - entry.lost if entry.lost is not None else 0.0)

    @contextlib.asynccontextmanager
    async def _one_at_a_time(self, key: bytes) -> AsyncIterator[None]:
        """Callers that want the same wait for the first of them, and then find its answer."""
        lock, count = self._asking.get(key, (asyncio.Lock(), 0))
        self._asking[key] = lock, count + 1
        try:
            async with lock:
                yield
        finally:
            lock, count = self._asking[key]
            if count == 1:
                del self._asking[key]
            else:
                self._asking[key] = lock, count - 1

    def _live(self, key: bytes, keep: float) -> _Entry | None:
        entry = self._entries.pop(key, None)
        if entry is None:
            return None
        now = self._clock()
        if now - entry.used > keep:
            entry.close()
            return None
        entry.used = now
        self._entries[key] = entry  # At the end: the order is that of use.
        return entry

    def _add(self, key: bytes, method: str, args: Query) -> _Entry:
        while len(self._entries) >= MAX_ENTRIES:
            self._entries.pop(next(iter(self._entries))).close()
            _EVICTED.add()
        entry = self._entries[key] = _Entry(method, args, self._clock())
        return entry

    async def _keep_up(self, key: bytes, entry: _Entry) -> None:
        retry = RETRY
        limit = self.limit
        bucket = TokenBucket(limit.rate, limit.burst, self._clock()) if limit.rate > 0 else None
        block = BLOCK
        if self._rights_last is not None:
            block = min(BLOCK, max(round(self._rights_last * SECOND), SECOND))
        while self._clock() - entry.used <= KEEP_FRESH:
            if bucket is not None:
                await asyncio.sleep(bucket.wait(self._clock()))
            asked = msgspec.structs.replace(entry.args, min_query_index=entry.index, max_query_time=block)
            began = self._clock()
            try:
                reply = await self._call(entry.method, asked)
                _FETCHED.add()
            except (RpcError, OSError) as error:
                _NOT_FETCHED.add()
                if isinstance(error, RpcError) and _is_denial(error):
                    self._entries.pop(key, None)  # Whoever asks next is told so, as is who waits.
                    entry.refuse(error)
                    return
                if entry.lost is None:
                    entry.lost = self._clock()
                log.debug("cannot keep %s up: %s", entry.method, error)
                await asyncio.sleep(retry)
                retry = min(retry * 2, MAX_RETRY)
                continue
            retry = RETRY
            same = getattr(reply, "index", 0) == entry.index
            entry.lost = None
            entry.hear(reply, self._clock())  # With the same index, too: other rights may show other rows.
            if same and self._clock() - began < RETRY:
                await asyncio.sleep(RETRY)  # It did not block, so asking again at once would never end.
        if self._entries.get(key) is entry:
            del self._entries[key]


def _is_denial(error: Exception) -> bool:
    """Whether the servers refuse because of who asks."""
    return isinstance(error, RpcError) and (error.has(ACL_NOT_FOUND) or error.has(PERMISSION_DENIED))


def _key(method: str, args: Query) -> tuple[bytes, Query]:
    """Where an answer is kept, and its question without what may differ between those who ask it."""
    bare = msgspec.structs.replace(
        args,
        min_query_index=0,
        max_query_time=0,
        allow_stale=False,
        require_consistent=False,
        use_cache=False,
        max_stale_duration=0,
        max_age=0,
        must_revalidate=False,
        stale_if_error=0,
    )
    return method.encode() + b"\0" + pack(bare), bare
