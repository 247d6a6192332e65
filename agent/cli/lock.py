"""`lock`: runs a command while it holds a lock, or one of several slots, and ends it when that is lost."""

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, Process

from agent.cli.async_kv import HttpKv
from agent.cli.child import command_of, environment
from agent.cli.client import Api
from agent.cli.flags import Flags, fail
from kv.client import Lock, LockError, Semaphore
from model.durations import SECOND
from model.goerrors import go_text

KILL_AFTER = 5.0
"""Seconds between SIGTERM and SIGKILL for a child whose lock is gone."""
CHILD_FAILED = 2


def lock(flags: Flags) -> int:
    """Run the command that follows the prefix. Returns 1 when the lock was not to be had, or was lost."""
    if len(flags.arguments) < 2:
        return fail("Key prefix and child command must be specified")
    if flags["n"] < 1:
        return fail("-n must be at least 1")
    if flags["try"] is not None and flags["try"] <= 0:
        return fail("-try must be longer than nothing")
    if flags["timeout"] < 0:
        return fail("-timeout cannot be negative")
    if flags["try"] is not None and flags["timeout"]:
        return fail("Only one of -timeout and -try can be given: they mean the same")
    try:
        return asyncio.run(_Run(flags).run())
    except LockError as error:
        return fail(f"Lock error: {error}")
    except OSError as error:
        return fail(f"Lock error: {go_text(error)}")


class _Run:
    """One use of the lock."""

    def __init__(self, flags: Flags) -> None:
        self._flags = flags
        prefix, *self._words = flags.arguments
        prefix = prefix.strip("/")
        shown = " ".join(self._words)
        name = flags["name"] or f"Consul lock for '{shown}' at '{prefix}'"
        api = HttpKv(Api(flags), flags["monitor-retry"])
        self._lock: Lock | Semaphore
        if flags["n"] == 1:
            self._lock = Lock(api, f"{prefix}/.lock", name=name)
        else:
            self._lock = Semaphore(api, prefix, flags["n"], name=name)
        self._stop = asyncio.Event()

    def _say(self, text: str) -> None:
        if self._flags["verbose"]:
            print(text, file=sys.stderr, flush=True)

    async def run(self) -> int:
        """Take the lock, run the command, give the lock back. Raises LockError, OSError."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop.set)
        self._say("Attempting lock acquisition")
        limit = (self._flags["try"] or self._flags["timeout"]) / SECOND or None
        taking = loop.create_task(self._lock.acquire(limit))
        await self._first(taking)
        if not taking.done():
            taking.cancel()
            await asyncio.wait({taking})
            return fail("Lock acquisition was broken off")
        if not taking.result():
            return fail("Lock acquisition failed: it was not to be had in time")
        try:
            return await self._hold()
        finally:
            await self._give_back()

    async def _first(self, task: "asyncio.Task[bool]") -> None:
        """Wait for a task, or to be told to stop."""
        stopping = asyncio.get_running_loop().create_task(self._stop.wait())
        try:
            await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()

    async def _hold(self) -> int:
        flags = self._flags
        self._say("Starting handler")
        try:
            child = await asyncio.create_subprocess_exec(
                *command_of(self._words, flags["shell"]),
                stdin=None if flags["pass-stdin"] else DEVNULL,
                env=environment({"CONSUL_LOCK_HELD": "true"}),
                # A group of its own, so that what the command started ends with it. One that reads the terminal
                # must stay in ours, or the terminal would stop it.
                process_group=None if flags["pass-stdin"] else 0,
            )
        except OSError as error:
            print(f"Error starting the command: {go_text(error, 'fork/exec')}", file=sys.stderr)
            return CHILD_FAILED if flags["child-exit-code"] else 0
        loop = asyncio.get_running_loop()
        ended = loop.create_task(child.wait())
        others = [loop.create_task(event.wait()) for event in (self._lock.lost, self._stop)]
        await asyncio.wait({ended, *others}, return_when=asyncio.FIRST_COMPLETED)
        for task in others:
            task.cancel()
        if ended.done():
            return self._outcome(child)
        if self._lock.lost.is_set():
            print("Lock lost, killing child", file=sys.stderr)
        else:
            self._say("Told to stop, killing child")
        await _end(child, ended, group=not flags["pass-stdin"])
        return 1 if self._lock.lost.is_set() else 0

    def _outcome(self, child: Process) -> int:
        code = child.returncode or 0
        if code:
            print(f"Error running the command: exit status {code}", file=sys.stderr)
        return CHILD_FAILED if code and self._flags["child-exit-code"] else 0

    async def _give_back(self) -> None:
        """Release, and tidy the keys away unless somebody else uses them."""
        try:
            await self._lock.release()
            await self._lock.destroy()
        except LockError as error:
            self._say(f"Cleanup aborted: {error}")
        except OSError as error:
            print(f"Lock release failed: {go_text(error)}", file=sys.stderr)


async def _end(child: Process, ended: "asyncio.Task[int]", group: bool) -> None:
    """Ask the child (with `group`, all that it started) to end; insist after a while."""

    def send(number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if group else os.kill)(child.pid, number)

    send(signal.SIGTERM)
    done, _ = await asyncio.wait({ended}, timeout=KILL_AFTER)
    if not done:
        send(signal.SIGKILL)
        await ended
