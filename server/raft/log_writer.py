"""The log's storage, written by a thread of its own; a disk that is full is waited for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, TypeVar

from server.raft.disk_thread import DiskThread
from server.raft.errors import DiskFull
from server.raft.log import Storage
from server.raft.messages import Entry, HardState

log = logging.getLogger("lictor.raft")
T = TypeVar("T")

RETRY = 1.0
"""Seconds between attempts to write to a disk that is full."""


class LogWriter:
    """Writes in the order in which it is asked. `on_full` hears of every attempt that found the disk full."""

    def __init__(self, storage: Storage, on_full: Callable[[DiskFull], None]) -> None:
        self.storage = storage
        self.full = False
        """Whether the last attempt found the disk full."""
        self._on_full = on_full
        self._thread = DiskThread("raft-disk")

    def run(self, call: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        """What `call(*args)` returns or raises in the disk's thread."""
        return self._thread.run(call, *args)

    async def save(self, state: HardState | None, entries: list[Entry]) -> None:
        """Make state and entries durable, however long that takes. Raises OSError but for a disk that is full."""
        if not self.storage.blocking:
            self.storage.save(state, entries)
            return
        await self._until_space(self.storage.save, state, entries)

    async def begin_anew(self, state: HardState, index: int, term: int) -> None:
        """Make a log durable that begins behind `index`. Raises as `save`."""
        await self._until_space(self.storage.reset, state, index, term)

    async def compact(self, keep: int) -> None:
        """Drop the entries up to `keep`. Raises OSError."""
        await self._thread.run(self.storage.compact, keep)

    async def close(self) -> None:
        """Close the storage and end the thread."""
        await self._thread.run(self.storage.close)
        self._thread.close()

    async def _until_space(self, write: Callable[..., None], *args: Any) -> None:
        while True:
            try:
                await self._thread.run(write, *args)
            except DiskFull as error:
                if not self.full:
                    log.error("%s: no writes until space returns", error)
                self.full = True
                self._on_full(error)
                await asyncio.sleep(RETRY)
                continue
            if self.full:
                self.full = False
                log.warning("the raft log's disk has space again")
            return
