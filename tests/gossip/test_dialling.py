"""Addresses of members, why they could not be reached, and what is said about strangers."""

from __future__ import annotations

import asyncio
import errno

import pytest

from gossip.dialling import reason, resolve, split_target
from gossip.interface import Notice
from gossip.notices import MAX_SUBJECTS, QUIET, Notices


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("10.0.0.1", ("10.0.0.1", 8301)),
        ("10.0.0.1:9", ("10.0.0.1", 9)),
        ("name/10.0.0.1:9", ("10.0.0.1", 9)),
        ("one.dc1/[::1]:9", ("::1", 9)),
        ("[::1]", ("::1", 8301)),
        ("::1", ("::1", 8301)),
        ("host:99999", ("host:99999", 8301)),
        ("host:x", ("host:x", 8301)),
        ("", ("", 8301)),
    ],
)
def test_targets(text: str, wanted: tuple[str, int]) -> None:
    assert split_target(text, 8301) == wanted


async def test_names_that_are_none() -> None:
    assert await resolve("127.0.0.1:5", 1) == [("127.0.0.1", 5)]
    for text in ("", "a..b", "x" * 300):
        with pytest.raises(OSError, match="lookup"):
            await resolve(text, 1)


def test_reasons_in_gos_words() -> None:
    there = ("10.0.0.1", 8301)
    refused = ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed")
    assert reason(refused, there) == "dial tcp 10.0.0.1:8301: connect: connection refused"
    assert reason(TimeoutError(), there) == "dial tcp 10.0.0.1:8301: i/o timeout"
    assert reason(asyncio.IncompleteReadError(b"", None), there) == "EOF"
    assert reason(ValueError("merge refused"), there) == "merge refused"


def test_strangers_cannot_fill_the_log() -> None:
    said: list[str] = []
    notices = Notices(said.append)
    for _ in range(50):
        notices.say(Notice("knock", "a"), 1.0)
    notices.say(Notice("knock", "b"), 1.0)
    assert said == ["memberlist: knock"] * 2
    notices.say(Notice("knock", "a"), 1.0 + QUIET)
    assert len(said) == 3
    for number in range(10 * MAX_SUBJECTS):
        notices.say(Notice("knock", f"n{number}"), 2.0 + QUIET)
    assert len(said) <= 3 + MAX_SUBJECTS
