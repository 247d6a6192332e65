"""The client's side of locks and semaphores, over anything that speaks the KV and session API.

Source: the public descriptions of leader election (a key acquired by a session) and of the semaphore (contenders under
a prefix, and a `.lock` key with the limit and the holders, written by check-and-set). Flags mark the keys, so that a
lock and a semaphore never take each other's.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from typing import NamedTuple, Protocol

from model.structs.kv import DirEntry

log = logging.getLogger("lictor.lock")

LOCK_FLAG = 0x2DDCCBC058A50C18
SEMAPHORE_FLAG = 0xE0F69A2BAA414DE0
SEMAPHORE_KEY = ".lock"


class LockError(Exception):
    """The lock or semaphore cannot be used as asked; the text says why."""


class KvApi(Protocol):
    """What locks need of a client. Calls raise ConnectionError or OSError when nobody answers."""

    async def create_session(self, name: str, ttl: str) -> str:
        """Make a session and return its ID."""

    async def renew_session(self, session: str) -> bool:
        """Renew a session's TTL; False when it is gone."""

    async def destroy_session(self, session: str) -> None:
        """End a session."""

    async def get(self, key: str, index: int = 0, wait: float = 0.0) -> tuple[DirEntry | None, int]:
        """A key and its index; with an `index`, wait up to `wait` seconds for a change."""

    async def list(self, prefix: str, index: int = 0, wait: float = 0.0) -> tuple[list[DirEntry], int]:
        """All keys under a prefix, likewise."""

    async def acquire(self, key: str, value: bytes, flags: int, session: str) -> bool:
        """Lock a key; False when another session has it or it must rest."""

    async def release(self, key: str, value: bytes, flags: int, session: str) -> bool:
        """Unlock a key; False when the session does not have it."""

    async def cas(self, key: str, value: bytes, flags: int, index: int) -> bool:
        """Write a key if its modify index is `index`, 0 meaning that it must not exist."""

    async def delete_cas(self, key: str, index: int) -> bool:
        """Remove a key if its modify index is `index`."""


class Timing(NamedTuple):
    """Times in seconds: for how long one wait asks, and the pause before a key that must rest is tried again."""

    wait: float = 15.0
    retry: float = 5.0
    renew: float = 7.5


class _Held:
    """What locks and semaphores share: a session that is kept alive, and the news that it, or the lock, is lost."""

    def __init__(self, api: KvApi, name: str, ttl: str, timing: Timing) -> None:
        self._api = api
        self._name = name
        self._ttl = ttl
        self._timing = timing
        self._session = ""
        self._tasks: list[asyncio.Task[None]] = []
        self.lost = asyncio.Event()
        """Set when the lock is lost while it was held."""

    async def _begin(self) -> None:
        if self._session:
            raise LockError("the lock is held already")
        self._session = await self._api.create_session(self._name, self._ttl)
        self.lost = asyncio.Event()
        self._tasks.append(asyncio.get_running_loop().create_task(self._keep_alive(self._session)))

    def _watch(self, watching: AsyncIterator[bool]) -> None:
        self._tasks.append(asyncio.get_running_loop().create_task(self._until_lost(watching)))

    async def _keep_alive(self, session: str) -> None:
        while True:
            await asyncio.sleep(self._timing.renew)
            try:
                if not await self._api.renew_session(session):
                    self.lost.set()
                    return
            except (OSError, LockError) as error:
                log.warning("cannot renew session %s: %s", session, error)

    async def _until_lost(self, watching: AsyncIterator[bool]) -> None:
        try:
            async for held in watching:
                if not held:
                    break
        except (OSError, LockError) as error:
            log.warning("lost sight of the lock: %s", error)
        self.lost.set()

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._tasks.clear()
        session, self._session = self._session, ""
        if session:
            with contextlib.suppress(OSError, LockError):
                await self._api.destroy_session(session)

    @property
    def held(self) -> bool:
        """Whether the lock is held, as far as is known."""
        return bool(self._session) and not self.lost.is_set()


class Lock(_Held):
    """Mutual exclusion by one key. Use `acquire` and `release`; `lost` tells when it is lost in between."""

    def __init__(
        self, api: KvApi, key: str, value: bytes = b"", name: str = "", ttl: str = "15s", timing: Timing = Timing()
    ) -> None:
        super().__init__(api, name or "Consul API Lock", ttl, timing)
        self.key = key
        self._value = value

    async def acquire(self, timeout: float | None = None) -> bool:
        """Wait for the lock, for at most `timeout` seconds; False when it was not to be had.

        Raises LockError when the key is used for something else.
        """
        await self._begin()
        try:
            async with asyncio.timeout(timeout):
                await self._contend()
        except TimeoutError:
            await self._end()
            return False
        except BaseException:
            await self._end()
            raise
        self._watch(self._watching())
        return True

    async def _contend(self) -> None:
        index = 0
        while True:
            entry, index = await self._api.get(self.key, index, self._timing.wait)
            if entry is not None and entry.flags != LOCK_FLAG:
                raise LockError("Existing key does not match lock use")
            if entry is not None and entry.session and entry.session != self._session:
                continue
            if await self._api.acquire(self.key, self._value, LOCK_FLAG, self._session):
                return
            # Nobody has it, so it must rest after somebody lost it; or somebody was quicker, which the next read shows.
            entry, index = await self._api.get(self.key)
            if entry is None or not entry.session:
                await asyncio.sleep(self._timing.retry)
                index = 0

    async def _watching(self) -> AsyncIterator[bool]:
        index = 0
        while True:
            entry, index = await self._api.get(self.key, index, self._timing.wait)
            yield entry is not None and entry.session == self._session

    async def release(self) -> None:
        """Give the lock back. Raises LockError when it is not held."""
        if not self._session:
            raise LockError("Lock not held")
        for task in self._tasks:
            task.cancel()
        await self._api.release(self.key, self._value, LOCK_FLAG, self._session)
        await self._end()

    async def destroy(self) -> None:
        """Remove the key if nobody holds it. Raises LockError when it is held or used for something else."""
        entry, _ = await self._api.get(self.key)
        if entry is None:
            return
        if entry.flags != LOCK_FLAG:
            raise LockError("Existing key does not match lock use")
        if entry.session or not await self._api.delete_cas(self.key, entry.modify_index):
            raise LockError("Lock in use")


class Semaphore(_Held):
    """At most `limit` holders under one prefix; all who use it must agree on the limit."""

    def __init__(
        self,
        api: KvApi,
        prefix: str,
        limit: int,
        value: bytes = b"",
        name: str = "",
        ttl: str = "15s",
        timing: Timing = Timing(),
    ) -> None:
        super().__init__(api, name or "Consul API Semaphore", ttl, timing)
        if limit < 1:
            raise LockError("semaphore limit must be positive")
        self.prefix = prefix.rstrip("/")
        self.key = f"{self.prefix}/{SEMAPHORE_KEY}"
        self._limit = limit
        self._value = value

    async def acquire(self, timeout: float | None = None) -> bool:
        """Wait for a slot, for at most `timeout` seconds; False when there was none.

        Raises LockError when the key is used for something else, or by others with another limit.
        """
        await self._begin()
        try:
            async with asyncio.timeout(timeout):
                await self._contend()
        except TimeoutError:
            await self._leave()
            return False
        except BaseException:
            await self._leave()
            raise
        self._watch(self._watching())
        return True

    async def _contend(self) -> None:
        contender = f"{self.prefix}/{self._session}"
        if not await self._api.acquire(contender, self._value, SEMAPHORE_FLAG, self._session):
            raise LockError("failed to make contender entry")
        index = 0
        while True:
            entries, index = await self._api.list(f"{self.prefix}/", index, self._timing.wait)
            holders, at = self._holders(entries)
            if len(holders) >= self._limit:
                continue
            holders = sorted({*holders, self._session})
            if await self._api.cas(self.key, self._described(holders), SEMAPHORE_FLAG, at):
                return
            index = 0

    def _holders(self, entries: list[DirEntry]) -> tuple[list[str], int]:
        """The living holders, and the modify index of the key that lists them."""
        lock = next((entry for entry in entries if entry.key == self.key), None)
        if lock is None:
            return [], 0
        if lock.flags != SEMAPHORE_FLAG:
            raise LockError("Existing key does not match semaphore use")
        limit, holders = parse_holders(lock.value or b"")
        if limit != self._limit:
            raise LockError(f"semaphore limit conflict (lock: {limit}, local: {self._limit})")
        alive = {entry.session for entry in entries if entry.session}
        return [holder for holder in holders if holder in alive], lock.modify_index

    def _described(self, holders: list[str]) -> bytes:
        return json.dumps({"Limit": self._limit, "Holders": dict.fromkeys(holders, True)}).encode()

    async def _watching(self) -> AsyncIterator[bool]:
        index = 0
        while True:
            entries, index = await self._api.list(f"{self.prefix}/", index, self._timing.wait)
            yield self._session in self._holders(entries)[0]

    async def release(self) -> None:
        """Give the slot back. Raises LockError when none is held."""
        if not self._session:
            raise LockError("Semaphore not held")
        await self._leave()

    async def _leave(self) -> None:
        session = self._session
        for task in self._tasks:
            task.cancel()
        try:
            while True:
                entries, _ = await self._api.list(f"{self.prefix}/")
                holders, at = self._holders(entries)
                if session not in holders:
                    break
                left = [holder for holder in holders if holder != session]
                if await self._api.cas(self.key, self._described(left), SEMAPHORE_FLAG, at):
                    break
            own = next((entry for entry in entries if entry.key == f"{self.prefix}/{session}"), None)
            if own is not None:
                await self._api.delete_cas(own.key, own.modify_index)
        except LockError as error:
            log.warning("cannot give the slot back: %s", error)
        finally:
            await self._end()

    async def destroy(self) -> None:
        """Remove the `.lock` key if nobody holds a slot. Raises LockError when somebody does."""
        entries, _ = await self._api.list(f"{self.prefix}/")
        if not any(entry.key == self.key for entry in entries):
            return
        holders, at = self._holders(entries)
        if holders or not await self._api.delete_cas(self.key, at):
            raise LockError("Semaphore in use")


def parse_holders(value: bytes) -> tuple[int, list[str]]:
    """The limit and the holders that a `.lock` key names. Raises LockError when it is not one."""
    try:
        found = json.loads(value)
        limit, holders = found["Limit"], found["Holders"] or {}
        if not isinstance(limit, int) or not isinstance(holders, dict):
            raise TypeError("not a limit and holders")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise LockError(f"failed to parse semaphore lock: {error}") from None
    return limit, list(holders)
