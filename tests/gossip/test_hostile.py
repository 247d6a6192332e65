"""Members of the pool that say anything at all: the core goes on, within bounds, and can still be read by others."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossip import wire
from gossip.core import Core
from gossip.wire import GossipError
from tests.gossip.network import Network

NUMBERS = st.integers(-1, 3) | st.sampled_from(
    [(1 << 31) - 1, (1 << 32) - 1, 1 << 32, (1 << 61) - 1, 1 << 61, (1 << 62) - 1, 1 << 62, (1 << 64) - 1]
)
VALUES = (
    NUMBERS | st.none() | st.booleans() | st.text(max_size=5) | st.binary(max_size=20) | st.lists(NUMBERS, max_size=3)
)
NAMES = st.sampled_from(["me", "other", "nobody", ""])
KEYS = (
    *("Node", "SeqNo", "SourceAddr", "SourceNode", "SourcePort", "Nack", "Port", "Target", "Payload", "From"),
    *("Incarnation", "Addr", "Meta", "Vsn", "LTime", "Prune", "CC", "Name", "ID", "Flags", "Filters", "Timeout"),
    *("RelayFactor", "DestAddr", "DestName", "Key"),
)
BODIES = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(KEYS, VALUES) | {"Node": NAMES, "From": NAMES, "SourceNode": NAMES}
)
QUERY_NAMES = st.sampled_from(
    ["_serf_list-keys", "_serf_install-key", "_serf_use-key", "_serf_remove-key", "_serf_conflict"]
)


def still_works(core: Core) -> None:
    """What the core says after all that can be read, and it can still join, leave, ask and tell."""
    core.joined()
    core.fire("deploy", b"x", False)
    core.ask("_serf_list-keys", b"", 0, 1.0)
    state = core.local_state(False)
    fresh = Network().member("fresh")
    nodes, rest = [], state[1:]
    header, rest = wire.unpack_from(rest)
    for _ in range(header["Nodes"]):
        node, rest = wire.unpack_from(rest)
        nodes.append(node)
    fresh.merge(nodes, rest, False, 1.0)
    core.tick(2.0)
    assert core.member("me") is not None


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 15), st.integers(0, 10), BODIES), max_size=12), st.booleans())
def test_any_fields_in_any_message(messages: list[tuple[int, int, dict[str, Any]]], keyed: bool) -> None:
    network = Network()
    core = network.member("me", *((b"k" * 16,) if keyed else ()))
    other = network.member("other", *((b"k" * 16,) if keyed else ()))
    network.exchange(other, core)
    for kind, user_kind, body in messages:
        data = bytes((kind,)) + (bytes((user_kind,)) if kind == wire.USER else b"") + wire.pack(body)
        core.receive_packet(other.settings.envelope.close_packet(data), ("10.0.0.2", 8301), 0.5)
    still_works(core)


@settings(deadline=None)
@given(QUERY_NAMES, st.binary(max_size=60), NUMBERS, NUMBERS)
def test_any_payload_in_serfs_own_queries(name: str, payload: bytes, ltime: int, number: int) -> None:
    network = Network()
    core = network.member("me", b"k" * 16)
    fields = {
        "Name": name,
        "Payload": payload,
        "LTime": ltime,
        "ID": number,
        "Addr": bytes((10, 0, 0, 2)),
        "Port": 8301,
    }
    packet = bytes((wire.USER,)) + wire.message(wire.QUERY, fields)
    core.receive_packet(core.settings.envelope.close_packet(packet), ("10.0.0.2", 8301), 0.5)
    ring = core.settings.envelope.keyring
    assert ring is not None and ring.primary == b"k" * 16
    still_works(core)


@settings(deadline=None)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            key: VALUES | st.lists(BODIES, max_size=2) | st.dictionaries(NAMES, NUMBERS)
            for key in (*("LTime", "EventLTime", "QueryLTime", "LeftMembers", "StatusLTimes", "Events"),)
        },
    )
)
def test_any_state_in_an_exchange(body: dict[str, Any]) -> None:
    core = Network().member("me")
    try:
        core.merge([], wire.message(wire.STATE, body), True, 1.0)
    except GossipError:
        pass
    still_works(core)


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    core = Network().member("me")
    for number in range(2000):
        event = wire.message(wire.USER_EVENT, {"LTime": 5, "Name": f"e{number}", "Payload": b""})
        query = wire.message(wire.QUERY, {"LTime": 5, "ID": number, "Name": "x", "Flags": 2})
        for body in (event, query):
            core.receive_packet(bytes((wire.USER,)) + body, ("10.0.0.2", 8301), 0.5)
    assert len(core.events.seen[5]) == 512 and len(core.queries._seen[5]) == 512
    monkeypatch.setattr(wire, "MAX_NODES", 10)
    for number in range(50):
        core.table.alive(dataclasses.replace(core.pool.me, name=f"n{number}"))
    assert len(core.members()) == 10 and core.counters.refused == 41
