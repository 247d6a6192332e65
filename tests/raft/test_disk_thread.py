"""The disk's thread: order, results, errors, calls that nobody waits for any more."""

import asyncio
import threading

import pytest

from server.raft.disk_thread import DiskThread


async def test_calls_are_made_in_order_and_tell_what_came_of_them() -> None:
    thread = DiskThread("disk")
    seen: list[int] = []
    own = threading.get_ident()

    def call(number: int) -> int:
        assert threading.get_ident() != own
        seen.append(number)
        if number == 3:
            raise OSError("three")
        return number * 2

    results = await asyncio.gather(*(thread.run(call, number) for number in range(5)), return_exceptions=True)
    assert seen == list(range(5))
    assert [one for one in results if not isinstance(one, OSError)] == [0, 2, 4, 8] and str(results[3]) == "three"
    thread.close()
    with pytest.raises(RuntimeError, match="has ended"):
        thread.run(call, 6)


async def test_what_was_asked_for_is_done_before_the_end_but_for_what_was_cancelled() -> None:
    thread = DiskThread("disk")
    begun, go = threading.Event(), threading.Event()
    seen: list[str] = []

    def first() -> None:
        begun.set()
        assert go.wait(60)
        seen.append("first")

    running = thread.run(first)
    cancelled = thread.run(seen.append, "cancelled")
    last = thread.run(seen.append, "last")
    while not begun.is_set():
        await asyncio.sleep(0.001)
    cancelled.cancel()
    running.cancel()  # It is under way: it goes on, and nobody hears of it.
    thread.close()
    go.set()
    await last
    assert seen == ["first", "last"]
    while thread._thread.is_alive():
        await asyncio.sleep(0.001)


def test_a_loop_that_has_ended_does_not_hurt_the_thread() -> None:
    thread = DiskThread("disk")
    go, done = threading.Event(), threading.Event()

    async def leave_behind() -> None:
        thread.run(go.wait, 20)
        thread.run(done.set)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(leave_behind())
    loop.close()
    go.set()
    assert done.wait(60)
    thread.close()
