"""The thread that waits for the disk, so that the event loop need not.

A pool's way there and back costs 20 us of CPU, and more when the machine is busy; a write of one client is little else.
This one takes less than half of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
_Job = tuple[Callable[..., Any], tuple[Any, ...], "asyncio.Future[Any]"]


class DiskThread:
    """One thread that makes calls in the order in which they are asked for. It starts with the first of them."""

    def __init__(self, name: str) -> None:
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._begun = False
        self._closed = False

    def run(self, call: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        """What `call(*args)` returns or raises. If the future is cancelled before its turn, it is not made.

        Raises RuntimeError after `close`.
        """
        if self._closed:
            raise RuntimeError("the disk's thread has ended")
        if not self._begun:
            self._begun = True
            self._thread.start()
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._jobs.put((call, args, future))
        return future

    def close(self) -> None:
        """End the thread once everything that was asked for is done."""
        self._closed = True
        self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            call, args, future = job
            if future.cancelled():
                continue
            result, error = None, None
            try:
                result = call(*args)
            except BaseException as raised:
                error = raised
            with contextlib.suppress(RuntimeError):  # The loop has ended: nobody waits any more.
                future.get_loop().call_soon_threadsafe(_tell, future, result, error)
            del job, call, args, future, result, error  # Nothing is kept alive until the next one comes.


def _tell(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)
