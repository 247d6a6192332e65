"""User events as they arrive from others."""

import uuid

import msgpack
import pytest

from agent.events import Event, Events, decode
from gossip.core import UserEvent


def gossiped(payload: bytes, name: str = "consul:event:deploy") -> UserEvent:
    return UserEvent(name, payload, 7, False)


@pytest.mark.parametrize(
    "body",
    [
        {"ID": "x", "n": "deploy"},
        {"ID": "", "n": "deploy"},
        {"ID": 7, "n": "deploy"},
        {"n": "deploy"},
        {"ID": str(uuid.uuid4())},
        ["ID"],
        {"ID": str(uuid.uuid4()), "n": "deploy", "v": "x"},
    ],
)
async def test_what_is_no_event_is_not_kept(body: object) -> None:
    events = Events("node1", list)
    events.gossiped(gossiped(msgpack.packb(body)))
    assert await events.listed("", 0, 0.0) == ([], 1)


async def test_an_event_comes_as_it_was_sent() -> None:
    sent = Event(str(uuid.uuid4()), "deploy", b"\xff\x00")
    assert decode(gossiped(b"\xc1")) is None
    events = Events("node1", list)
    events.gossiped(gossiped(sent.encode()))
    found, index = await events.listed("deploy", 0, 0.0)
    assert [(one.id, one.payload, one.ltime) for one in found] == [(sent.id, b"\xff\x00", 7)]
    assert index > 1
