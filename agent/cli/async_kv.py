"""The KV and session API as `kv.client` wants it: coroutines over the command line's plain HTTP client."""

import asyncio
import contextlib
import json
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from agent.cli.client import Api, ApiError
from kv.client import LockError
from model.gojson import from_json
from model.structs.kv import DirEntry

T = TypeVar("T")
RETRY = 1.0
"""Seconds before a watch is tried again on an agent that answered with an error."""


async def in_thread(work: Callable[[], T]) -> T:
    """Run a blocking call aside. When cancelled, its thread is left alone and does not hold up the end."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if not future.done():
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except BaseException as caught:
            error = caught
        with contextlib.suppress(RuntimeError):  # The loop is closed: nobody waits any more.
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, daemon=True).start()
    return await future


class HttpKv:
    """`kv.client.KvApi` over HTTP. A watch that fails is repeated `retries` times before it counts as failed."""

    def __init__(self, api: Api, retries: int = 0) -> None:
        self._api = api
        self._retries = retries

    async def _call(
        self, method: str, path: str, params: dict[str, Any], body: bytes | None = None, missing: bool = False
    ) -> tuple[Any, int]:
        """The answer and its index. Raises OSError when nobody answers well, LockError when the agent refuses."""
        try:
            status, raw, headers = await in_thread(lambda: self._api.request(method, path, params, body))
        except ApiError as error:
            raise ConnectionError(str(error)) from None
        text = raw.decode("utf-8", "replace").strip()
        if status == 404 and missing:
            raw = b"null"
        elif status >= 500:
            raise OSError(f"Unexpected response code: {status} ({text})")
        elif status != 200:
            raise LockError(f"Unexpected response code: {status} ({text})")
        index = headers.get("X-Consul-Index", "")
        return json.loads(raw) if raw.strip() else None, int(index) if index.isdigit() else 0

    async def _watch(self, path: str, params: dict[str, Any], index: int, wait: float) -> tuple[list[DirEntry], int]:
        if index:
            params = {**params, "index": index, "wait": f"{max(1, int(wait * 1000))}ms"}
        failures = 0
        while True:
            try:
                rows, now = await self._call("GET", path, params, missing=True)
                break
            except OSError:
                failures += 1
                if not index or failures > self._retries:
                    raise
                await asyncio.sleep(RETRY)
        return [from_json(DirEntry, row, unknown="ignore") for row in rows or ()], now if now >= index else 0

    async def create_session(self, name: str, ttl: str) -> str:
        """Make a session and return its ID."""
        body = json.dumps({"Name": name, "TTL": ttl}).encode()
        return str((await self._call("PUT", "/v1/session/create", {}, body))[0]["ID"])

    async def renew_session(self, session: str) -> bool:
        """Renew a session's TTL; False when it is gone."""
        return (await self._call("PUT", f"/v1/session/renew/{session}", {}, missing=True))[0] is not None

    async def destroy_session(self, session: str) -> None:
        """End a session."""
        await self._call("PUT", f"/v1/session/destroy/{session}", {})

    async def get(self, key: str, index: int = 0, wait: float = 0.0) -> tuple[DirEntry | None, int]:
        """A key and its index; with an `index`, wait up to `wait` seconds for a change."""
        rows, now = await self._watch(f"/v1/kv/{key}", {"consistent": True}, index, wait)
        return (rows[0] if rows else None), now

    async def list(self, prefix: str, index: int = 0, wait: float = 0.0) -> tuple[list[DirEntry], int]:
        """All keys under a prefix, likewise."""
        return await self._watch(f"/v1/kv/{prefix}", {"consistent": True, "recurse": True}, index, wait)

    async def _write(self, method: str, key: str, params: dict[str, Any], value: bytes | None) -> bool:
        return bool((await self._call(method, f"/v1/kv/{key}", params, value))[0])

    async def acquire(self, key: str, value: bytes, flags: int, session: str) -> bool:
        """Lock a key; False when another session has it or it must rest."""
        return await self._write("PUT", key, {"acquire": session, "flags": flags}, value)

    async def release(self, key: str, value: bytes, flags: int, session: str) -> bool:
        """Unlock a key; False when the session does not have it."""
        return await self._write("PUT", key, {"release": session, "flags": flags}, value)

    async def cas(self, key: str, value: bytes, flags: int, index: int) -> bool:
        """Write a key if its modify index is `index`, 0 meaning that it must not exist."""
        return await self._write("PUT", key, {"cas": str(index), "flags": flags}, value)

    async def delete_cas(self, key: str, index: int) -> bool:
        """Remove a key if its modify index is `index`."""
        return await self._write("DELETE", key, {"cas": str(index)}, None)
