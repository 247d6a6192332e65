"""Watches of configuration files, run by the agent: each asks its question again and again and tells its handler."""

import asyncio
import contextlib
import json
import logging
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp

from agent.urls import bare_url
from agent.watch_definitions import HttpHandler, Script, WatchDefinition, parse
from agent.watch_types import next_index

log = logging.getLogger("lictor.agent.watch")

RETRY = 5.0
MAX_RETRY = 180.0
NO_INDEX = 1.0
"""Seconds between questions whose answers carry no index to wait by."""
MAX_OUTPUT = 4096
"""Bytes of a handler's output that are logged."""
LAST_WORDS = 1.0
"""Seconds for a handler to end once its watch is over."""

Ask = Callable[[str, str], Awaitable[tuple[int, bytes, int]]]
"""`(path with query, token) -> (status, body, index)`: a GET at this agent."""


class Watches:
    """The running watches of an agent. `ask` makes a request of its API."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._tasks: set[asyncio.Task[None]] = set()

    def reload(self, definitions: list[dict[str, Any]]) -> None:
        """End the watches that run and begin these. Raises WrongWatch for a definition that is none."""
        parsed = [parse(raw) for raw in definitions]
        self.close()
        loop = asyncio.get_running_loop()
        for one in parsed:
            task = loop.create_task(self._follow(one))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """End all watches, and the handlers under way."""
        for task in list(self._tasks):
            task.cancel()

    async def stop(self) -> None:
        """End all watches and wait until they have ended."""
        tasks = list(self._tasks)
        self.close()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self, watch: WatchDefinition) -> None:
        index, failures = 0, 0
        last: Any = self  # Nothing that an answer can be.
        while True:
            try:
                status, body, answered = await self._ask(target(watch, index), watch.token)
                if status not in (200, 404):
                    text = body.decode("utf-8", "replace").strip()
                    raise ValueError(f"Unexpected response code: {status} ({text[:200]})")
                shown = watch.question.show(json.loads(body) if status == 200 else None)
            except (ValueError, LookupError, TypeError) as error:
                failures += 1
                pause = min(RETRY * failures**2, MAX_RETRY)
                log.error("Watch errored: type=%s error=%s retry=%gs", watch.kind, error, pause)
                await asyncio.sleep(pause)
                index = 0
                continue
            failures = 0
            index = next_index(index, answered, watch.question.resets)
            if not answered:
                await asyncio.sleep(NO_INDEX)
            if shown == last:
                continue
            last = shown
            data = json.dumps(shown, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace") + b"\n"
            await tell(watch, data, answered)


def target(watch: WatchDefinition, index: int) -> str:
    """The path and query of a watch's next request."""
    params: list[tuple[str, str]] = []
    for name, value in watch.question.params.items():
        if value is True:
            params.append((name, ""))
        elif value not in (None, False):
            params.extend((name, one) for one in (value if isinstance(value, list) else [str(value)]))
    if watch.datacenter:
        params.append(("dc", watch.datacenter))
    if index:
        params.append(("index", str(index)))
    return quote(watch.question.path) + (f"?{urlencode(params)}" if params else "")


async def tell(watch: WatchDefinition, data: bytes, index: int) -> None:
    """Hand an answer to a watch's handler; what goes wrong is logged."""
    handler = watch.handler
    try:
        if isinstance(handler, HttpHandler):
            await _post(handler, data, index)
        else:
            await _run(handler, data, index)
    except (OSError, aiohttp.ClientError, ValueError) as error:
        log.error("Failed to run watch handler: type=%s error=%s", watch.kind, error)


async def _run(handler: Script, data: bytes, index: int) -> None:
    words = ["/bin/sh", "-c", handler.words[0]] if handler.shell else list(handler.words)
    process = await asyncio.create_subprocess_exec(
        *words,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "CONSUL_INDEX": str(index)},
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    feeding = asyncio.get_running_loop().create_task(_feed(process.stdin, data))
    try:
        output, dropped = bytearray(), 0
        while chunk := await process.stdout.read(65536):
            room = MAX_OUTPUT - len(output)
            output += chunk[:room]
            dropped += max(0, len(chunk) - max(room, 0))
        code = await process.wait()
    finally:
        feeding.cancel()
        if process.returncode is None:
            await _end(process)
    if output:
        more = f" ... {dropped} bytes more" if dropped else ""
        log.debug("watch handler output: %s%s", output.decode("utf-8", "replace").rstrip(), more)
    if code:
        log.error("Failed to run watch handler: error=exit status %d", code)


async def _feed(stdin: asyncio.StreamWriter, data: bytes) -> None:
    try:
        stdin.write(data)
        await stdin.drain()
    except OSError:
        pass  # The handler does not want to know.
    finally:
        stdin.close()


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a handler and what it has started: they are a group of their own."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, TimeoutError):
            os.killpg(process.pid, number)
            async with asyncio.timeout(LAST_WORDS):
                await process.wait()
                return


async def _post(handler: HttpHandler, data: bytes, index: int) -> None:
    headers = [*handler.headers, ("X-Consul-Index", str(index))]
    if not any(name.lower() == "content-type" for name, _ in handler.headers):
        headers.append(("Content-Type", "application/json"))
    timeout = aiohttp.ClientTimeout(total=handler.timeout)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.request(
            handler.method, handler.url, data=data, headers=headers, ssl=handler.verify, allow_redirects=False
        ) as response,
    ):
        body = await response.content.read(MAX_OUTPUT)
        if not 200 <= response.status < 300:
            where, said = bare_url(handler.url).partition("?")[0], body.decode("utf-8", "replace").strip()
            raise ValueError(f"{where} answered {response.status}: {said}")
        log.debug("http watch handler output: %s", body.decode("utf-8", "replace").rstrip())
