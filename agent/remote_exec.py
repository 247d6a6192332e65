"""The agent's side of `lictor exec`: runs jobs that are announced by an event and lie in the KV store.

The event names a prefix and a session. The job is at `<prefix>/<session>/job`; under `<prefix>/<session>/<node>/` the
agent answers with `ack`, then `out/00000` … (empty ones say only that the command still runs), at last `exit`. All
answers are locked by the session, so they go when the session goes. Off unless `disable_remote_exec` is false.
"""

import asyncio
import base64
import contextlib
import json
import logging
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

from model.codec import Wire
from model.errors import RpcError
from model.structs.kv import DirEntry, KeyRequest, KVSRequest

log = logging.getLogger("lictor.agent.exec")

EVENT = "_rexec"
CHUNK = 4096
FLUSH = 0.5
"""Seconds for which output waits for more of it."""
HEARTBEAT = 1.0
MAX_OUTPUT = 1 << 20
MAX_JOBS = 16
JOB_ATTEMPTS = 10
JOB_PAUSE = 0.2


class BadJob(ValueError):
    """An announcement or a job that cannot be understood; the text says why."""


class Announcement(NamedTuple):
    """Where the job is."""

    prefix: str
    session: str


class Job(NamedTuple):
    """What to run: words, or a script's text."""

    words: list[str]
    script: bytes = b""


def parse_announcement(payload: bytes) -> Announcement:
    """The event's payload. Raises BadJob."""
    body = _object(payload)
    prefix, session = body.get("Prefix"), body.get("Session")
    if not isinstance(prefix, str) or not isinstance(session, str) or not prefix or not session:
        raise BadJob("an event without prefix and session")
    return Announcement(prefix.strip("/"), session)


def parse_job(value: bytes) -> Job:
    """A job as it lies in the KV store. Raises BadJob."""
    body = _object(value)
    command, words, script = body.get("Command") or "", body.get("Args") or [], body.get("Script") or ""
    if not isinstance(command, str) or not isinstance(script, str):
        raise BadJob("command and script must be texts")
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise BadJob("args must be a list of texts")
    if any("\0" in word for word in (command, *words)):
        raise BadJob("a command cannot hold a zero byte")
    if script:
        try:
            return Job([], base64.b64decode(script, validate=True))
        except ValueError:
            raise BadJob("the script is not base64") from None
    if words:
        return Job(words)
    if command:
        return Job(["/bin/sh", "-c", command])
    raise BadJob("a job without command, args or script")


def _object(raw: bytes) -> dict[str, Any]:
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        raise BadJob("not JSON") from None
    if not isinstance(body, dict):
        raise BadJob("not a JSON object")
    return body


class RemoteExec:
    """Runs jobs on this node, if that is `allowed`. `call` asks the cluster."""

    def __init__(
        self, call: Callable[[str, Wire], Awaitable[Any]], node: str, datacenter: str, allowed: bool = True
    ) -> None:
        self._allowed = allowed
        self._call = call
        self._node = node
        self._datacenter = datacenter
        self._running = 0

    async def handle(self, payload: bytes) -> None:
        """Carry out what an event announces; every problem is logged and ends there."""
        if not self._allowed:
            log.info("ignoring a remote command, because disable_remote_exec is set")
            return
        if self._running >= MAX_JOBS:
            log.warning("a remote command is refused, because %d are running", MAX_JOBS)
            return
        self._running += 1
        try:
            announced = parse_announcement(payload)
            job = await self._job(announced)
            if await self._answer(announced, "ack", b""):
                code = await self._run(announced, job)
                await self._answer(announced, "exit", str(code).encode())
        except (RpcError, OSError, ValueError) as error:
            log.warning("a remote command failed: %s", error)
        finally:
            self._running -= 1

    async def _job(self, announced: Announcement) -> Job:
        """Fetch the job; gossip may be quicker than the log."""
        key = f"{announced.prefix}/{announced.session}/job"
        for attempt in range(JOB_ATTEMPTS):
            if attempt:
                await asyncio.sleep(JOB_PAUSE)
            reply = await self._call("KVS.Get", KeyRequest(key=key, datacenter=self._datacenter))
            if reply.entries:
                return parse_job(reply.entries[0].value or b"")
        raise BadJob(f"there is no job at {key}")

    async def _answer(self, announced: Announcement, name: str, value: bytes) -> bool:
        """Write one of the answers; False when the session is gone, because then nobody waits for it."""
        key = f"{announced.prefix}/{announced.session}/{self._node}/{name}"
        entry = DirEntry(key=key, value=value or None, session=announced.session)
        return bool(await self._call("KVS.Apply", KVSRequest(op="lock", dir_ent=entry, datacenter=self._datacenter)))

    async def _heard(self, announced: Announcement, name: str, value: bytes) -> bool:
        try:
            return await self._answer(announced, name, value)
        except RpcError as error:
            log.info("nobody waits for a remote command any more: %s", error)
            return False

    async def _run(self, announced: Announcement, job: Job) -> int:
        """Run a job and relay its output; returns its exit code."""
        with contextlib.ExitStack() as stack:
            words = job.words
            if job.script:
                file = stack.enter_context(tempfile.NamedTemporaryFile(prefix="lictor-exec-"))
                file.write(job.script)
                file.flush()
                words = ["/bin/sh", file.name]
            log.info("running a remote command: session=%s", announced.session)
            process = await asyncio.create_subprocess_exec(
                *words,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,  # So that what the command started ends with it.
            )
            try:
                assert process.stdout is not None
                number, heard = 0, True
                async for chunk in chunks(process.stdout):
                    # A command whose caller went away goes on unheard: half of it may be worse than all of it.
                    heard = heard and await self._heard(announced, f"out/{number:05x}", chunk)
                    number += 1
                return await process.wait()
            finally:
                if process.returncode is None:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)


async def chunks(source: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Output in pieces: full ones at once, others after a moment; b"" when there was none for a while.

    After MAX_OUTPUT bytes the rest is dropped, with a word about it.
    """
    loop = asyncio.get_running_loop()
    pending, total, since = b"", 0, loop.time()
    reading = loop.create_task(source.read(CHUNK))
    try:
        while True:
            limit = FLUSH if pending else HEARTBEAT
            await asyncio.wait({reading}, timeout=max(0.0, since + limit - loop.time()))
            if reading.done():
                data = reading.result()
                if not data:
                    break
                reading = loop.create_task(source.read(CHUNK))
                if total < MAX_OUTPUT <= total + len(data):
                    data = data[: MAX_OUTPUT - total] + b"\n(further output was dropped)\n"
                elif total >= MAX_OUTPUT:
                    data = b""
                total += len(data)
                if data and not pending:
                    since = loop.time()
                pending += data
            if len(pending) >= CHUNK or loop.time() >= since + (FLUSH if pending else HEARTBEAT):
                yield pending
                pending, since = b"", loop.time()
        if pending:
            yield pending
    finally:
        reading.cancel()
