"""Recorded bytes of real members are understood."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip import wire
from gossip.core import decode_tags
from gossip.envelope import Envelope
from gossip.members import Alive
from gossip.streams import StreamReader
from gossip.wire import GossipError
from tests.support.tools import need_shared


def vectors() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(need_shared("protocols/gossip-vectors.json").read_text())["memberlist"]
    return loaded


def test_live_packets_parse() -> None:
    packets = vectors()["live_packets"]
    assert len(packets) > 10
    for packet in packets:
        messages = wire.split_packet(bytes.fromhex(packet["wire"]))
        wanted = [bytes.fromhex(one["wire"]) for one in packet["messages"]]
        assert [bytes((kind,)) + body for kind, body in messages] == wanted


def test_lzw_reads_what_go_wrote() -> None:
    cases = vectors()["compression"]
    assert len(cases) > 5
    for case in cases:
        if "plain" in case:
            assert wire.lzw_decode(bytes.fromhex(case["lzw"])) == bytes.fromhex(case["plain"]), case["name"]


def test_an_alive_message_survives() -> None:
    claim = Alive("web-1", bytes((127, 0, 0, 1)), 8301, b"\xff\x81\xa2dc\xa3dc1", wire.VERSIONS, 7)
    (kind, body), *_ = wire.split_packet(wire.with_crc(claim.encode()))
    assert kind == wire.ALIVE
    assert Alive.decode(wire.unpack(body)) == claim
    assert decode_tags(claim.meta) == {"dc": "dc1"}


def test_many_messages_become_several_packets() -> None:
    messages = [wire.message(wire.ACK, {"Payload": None, "SeqNo": number}) for number in range(300)]
    packets = wire.join_messages(messages)
    assert [len(wire.split_packet(packet)) for packet in packets] == [255, 45]


@given(st.binary(max_size=300))
def test_rubbish_is_an_error_and_nothing_else(data: bytes) -> None:
    try:
        for kind, body in wire.split_packet(data):
            if kind != wire.USER:
                wire.unpack(body)
    except GossipError:
        pass


@pytest.mark.parametrize("body", [b"\x81\x80\xc0", b"\x81\x90\xc0", b"\x93\xc1", b""])
def test_bodies_that_are_none(body: bytes) -> None:
    """A map with a map or a list for a key among them: the reader cannot hold such a one."""
    with pytest.raises(GossipError):
        wire.unpack(body)
    with pytest.raises(GossipError):
        wire.unpack_list(body)
    reader = StreamReader(Envelope(), dialled=False)
    try:
        assert reader.feed(bytes((wire.PING,)) + body) is None  # Not whole yet.
    except GossipError:
        pass


def test_a_compression_bomb_is_refused() -> None:
    with pytest.raises(GossipError):
        wire.lzw_decode(b"\x00" * 100)
