"""Files of registrations: several share a flush, none is there before it is flushed, the newest one stays."""

import asyncio
import json
import os
import threading
from pathlib import Path

import pytest

from agent import persisted as module
from agent.persisted import Persisted
from model.structs.catalog import NodeService


def service(number: int, port: int = 80) -> NodeService:
    return NodeService(id=f"s{number}", service="web", port=port)


class SlowDisk:
    """Flushes wait until they are let go; counts them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go = threading.Event()
        self.begun = threading.Event()
        self.flushes = 0
        self.error: OSError | None = None
        flush = os.fsync

        def fsync(descriptor: int) -> None:
            self.begun.set()
            assert self.go.wait(60)
            self.flushes += 1
            if self.error is not None:
                raise self.error
            flush(descriptor)

        monkeypatch.setattr(module.os, "fsync", fsync)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> SlowDisk:
    return SlowDisk(monkeypatch)


def there(folder: Path) -> dict[str, int]:
    """What a restart would find: ports by ID. Only looks, unlike a restart, which clears up."""
    names = [path for path in (folder / "services").glob("*") if path.suffix != ".tmp"]
    bodies = [json.loads(path.read_bytes())["Service"] for path in names]
    return {body["ID"]: body["Port"] for body in bodies}


def clean(folder: Path) -> bool:
    return not list(folder.rglob("*.tmp"))


async def until(event: threading.Event) -> None:
    async with asyncio.timeout(60):
        while not event.is_set():
            await asyncio.sleep(0.001)


async def test_nothing_is_in_place_before_it_is_flushed_and_the_next_ones_go_together(
    tmp_path: Path, disk: SlowDisk
) -> None:
    kept = Persisted(tmp_path)

    async def write(number: int) -> None:
        with kept.deferred():
            kept.write_service(service(number))
        await kept.durable()
        assert f"s{number}" in there(tmp_path)

    tasks = [asyncio.create_task(write(0))]
    await until(disk.begun)
    tasks += [asyncio.create_task(write(number)) for number in range(1, 6)]
    await asyncio.sleep(0.01)
    assert there(tmp_path) == {} and not any(task.done() for task in tasks)
    disk.go.set()
    await asyncio.gather(*tasks)
    assert len(there(tmp_path)) == 6 and clean(tmp_path)


async def test_the_newest_form_stays_and_what_was_erased_stays_away(tmp_path: Path, disk: SlowDisk) -> None:
    kept = Persisted(tmp_path)
    with kept.deferred():
        for number in (1, 2, 3):
            kept.write_service(service(number, port=1))
    first = asyncio.create_task(kept.durable())
    await until(disk.begun)
    with kept.deferred():
        kept.write_service(service(1, port=2))
    kept.erase("services", "s2")
    disk.go.set()
    kept.write_service(service(3, port=3))
    await first
    await kept.durable()
    assert there(tmp_path) == {"s1": 2, "s3": 3} and clean(tmp_path)


async def test_a_flush_that_fails_is_told_and_the_same_can_be_written_again(tmp_path: Path, disk: SlowDisk) -> None:
    kept = Persisted(tmp_path)
    disk.go.set()
    disk.error = OSError(28, "no space")
    with kept.deferred():
        kept.write_service(service(1))
    with pytest.raises(OSError, match="no space"):
        await kept.durable()
    assert there(tmp_path) == {} and clean(tmp_path)
    disk.error = None
    with kept.deferred():
        kept.write_service(service(1))
    await kept.durable()
    assert there(tmp_path) == {"s1": 80}


def test_the_same_again_costs_no_flush_unless_the_file_is_gone(tmp_path: Path, disk: SlowDisk) -> None:
    kept = Persisted(tmp_path)
    disk.go.set()
    for _ in range(3):
        kept.write_service(service(1))
    assert disk.flushes == 1
    next((tmp_path / "services").iterdir()).unlink()
    kept.write_service(service(1))
    kept.write_service(service(1, port=81))
    assert disk.flushes == 3 and there(tmp_path) == {"s1": 81}
