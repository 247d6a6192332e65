"""Locks and semaphores against the real endpoints: exclusion, hand-over, loss, and keys of other uses."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from kv.client import LOCK_FLAG, Lock, LockError, Semaphore, Timing, parse_holders
from model.structs.kv import DirEntry
from model.structs.session import Session
from tests.endpoints.fake import FakeServer

FAST = Timing(wait=10.0, retry=0.01, renew=0.01)


class Api:
    """The KV API of a server in this process."""

    def __init__(self, server: FakeServer) -> None:
        self.server = server

    async def create_session(self, name: str, ttl: str) -> str:
        made: str = await self.server.call("Session.Apply", op="create", session=Session(node="n1", name=name, ttl=ttl))
        return made

    async def renew_session(self, session: str) -> bool:
        return bool((await self.server.call("Session.Renew", session_id=session)).sessions)

    async def destroy_session(self, session: str) -> None:
        await self.server.call("Session.Apply", op="destroy", session=Session(id=session))

    async def get(self, key: str, index: int = 0, wait: float = 0.0) -> tuple[DirEntry | None, int]:
        reply = await self._read("KVS.Get", key, index, wait)
        return (reply.entries[0] if reply.entries else None), reply.index

    async def list(self, prefix: str, index: int = 0, wait: float = 0.0) -> tuple[list[DirEntry], int]:
        reply = await self._read("KVS.List", prefix, index, wait)
        return reply.entries or [], reply.index

    async def _read(self, method: str, key: str, index: int, wait: float) -> Any:
        return await self.server.call(method, key=key, min_query_index=index, max_query_time=int(wait * 1e9))

    async def _write(self, op: str, key: str, value: bytes, **fields: Any) -> bool:
        entry = DirEntry(key=key, value=value or None, **fields)
        done: bool = await self.server.call("KVS.Apply", op=op, dir_ent=entry)
        return done

    async def acquire(self, key: str, value: bytes, flags: int, session: str) -> bool:
        return await self._write("lock", key, value, flags=flags, session=session)

    async def release(self, key: str, value: bytes, flags: int, session: str) -> bool:
        return await self._write("unlock", key, value, flags=flags, session=session)

    async def cas(self, key: str, value: bytes, flags: int, index: int) -> bool:
        return await self._write("cas", key, value, flags=flags, modify_index=index)

    async def delete_cas(self, key: str, index: int) -> bool:
        return await self._write("delete-cas", key, b"", modify_index=index)


@pytest.fixture
async def api() -> Api:
    server = FakeServer()
    await server.call("Catalog.Register", node="n1", address="10.0.0.1")
    return Api(server)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.001)


async def test_a_lock_is_handed_over(api: Api) -> None:
    first, second = Lock(api, "l", b"1", timing=FAST), Lock(api, "l", b"2", timing=FAST)
    assert await first.acquire() and first.held
    waiting = asyncio.create_task(second.acquire())
    await until(lambda: api.server.store.watches.waiting >= 2)
    assert not waiting.done()
    await first.release()
    assert await asyncio.wait_for(waiting, 60)
    entry, _ = await api.get("l")
    assert entry is not None and (entry.value, entry.flags) == (b"2", LOCK_FLAG)
    with pytest.raises(LockError, match="Lock in use"):
        await first.destroy()
    await second.release()
    await second.destroy()
    assert (await api.get("l"))[0] is None
    assert len(api.server.store.sessions.rows) == 0


async def test_waiting_for_a_lock_can_end(api: Api) -> None:
    first, second = Lock(api, "l", timing=FAST), Lock(api, "l", timing=FAST)
    assert await first.acquire()
    assert not await second.acquire(timeout=0.05)
    assert not second.held and len(api.server.store.sessions.rows) == 1
    await first.release()


@pytest.mark.parametrize("cause", ["session", "key"])
async def test_a_lost_lock_is_noticed(api: Api, cause: str) -> None:
    lock = Lock(api, "l", timing=FAST)
    assert await lock.acquire()
    if cause == "session":
        session = api.server.store.sessions.rows.rows()[0].id
        await api.server.call("Session.Apply", op="destroy", session=Session(id=session))
    else:
        await api.server.call("KVS.Apply", op="delete", dir_ent=DirEntry(key="l"))
    await asyncio.wait_for(lock.lost.wait(), 60)
    assert not lock.held
    await lock.release()


@pytest.mark.parametrize("kind", [Lock, Semaphore])
@pytest.mark.parametrize("error", [LockError("Permission denied"), ConnectionResetError("EOF")])
async def test_who_may_no_longer_look_at_its_lock_has_lost_it(
    api: Api, kind: type[Lock] | type[Semaphore], error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = Lock(api, "l", timing=FAST) if kind is Lock else Semaphore(api, "l", 2, timing=FAST)
    assert await lock.acquire()

    async def refused(*_: object) -> Any:
        raise error

    for call in ("get", "list", "renew_session", "destroy_session"):
        monkeypatch.setattr(api, call, refused)
    await api.server.call("KVS.Apply", op="delete-tree", dir_ent=DirEntry(key="l"))  # Wakes whoever watches.
    await asyncio.wait_for(lock.lost.wait(), 60)
    assert not lock.held
    monkeypatch.undo()
    await lock.release()


async def test_a_key_of_another_use_is_left_alone(api: Api) -> None:
    await api.cas("l", b"mine", 7, 0)
    with pytest.raises(LockError, match="Existing key does not match lock use"):
        await Lock(api, "l", timing=FAST).acquire()
    assert len(api.server.store.sessions.rows) == 0
    with pytest.raises(LockError, match="Lock not held"):
        await Lock(api, "l").release()


async def test_a_semaphore_lets_as_many_in_as_its_limit(api: Api) -> None:
    users = [Semaphore(api, "s/", 2, timing=FAST) for _ in range(3)]
    assert await users[0].acquire() and await users[1].acquire()
    waiting = asyncio.create_task(users[2].acquire())
    await until(lambda: api.server.store.watches.waiting >= 3)
    assert not waiting.done()
    await users[0].release()
    assert await asyncio.wait_for(waiting, 60)
    entry, _ = await api.get("s/.lock")
    assert entry is not None and len(parse_holders(entry.value or b"")[1]) == 2
    with pytest.raises(LockError, match="Semaphore in use"):
        await users[0].destroy()
    await users[1].release()
    await users[2].release()
    await users[0].destroy()
    assert (await api.list("s/"))[0] == []


async def test_a_dead_holder_makes_room(api: Api) -> None:
    first, second = Semaphore(api, "s", 1, timing=FAST), Semaphore(api, "s", 1, timing=FAST)
    assert await first.acquire()
    waiting = asyncio.create_task(second.acquire())
    await until(lambda: api.server.store.watches.waiting >= 2)
    holder = parse_holders((await api.get("s/.lock"))[0].value)[1][0]  # type: ignore[union-attr,arg-type]
    await api.server.call("Session.Apply", op="destroy", session=Session(id=holder))
    assert await asyncio.wait_for(waiting, 60)
    await asyncio.wait_for(first.lost.wait(), 60)
    await first.release()
    await second.release()


async def test_semaphores_must_agree(api: Api) -> None:
    first = Semaphore(api, "s", 2, timing=FAST)
    assert await first.acquire()
    with pytest.raises(LockError, match=r"semaphore limit conflict \(lock: 2, local: 3\)"):
        await Semaphore(api, "s", 3, timing=FAST).acquire()
    with pytest.raises(LockError, match="must be positive"):
        Semaphore(api, "s", 0)
    await first.release()


@pytest.mark.parametrize("value", [b"", b"{", b"[]", b'{"Limit": "x", "Holders": {}}', b'{"Limit": 1, "Holders": []}x'])
def test_a_broken_lock_key_is_named(value: bytes) -> None:
    with pytest.raises(LockError, match="failed to parse semaphore lock"):
        parse_holders(value)
