"""Network coordinates: bit for bit those of serf, bounded for every input, and right after a while."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip.coordinates import Place, Vivaldi, decode_place
from gossip.wire import GossipError
from tests.gossip.vectors import vectors


def place(recorded: dict[str, Any]) -> Place:
    return Place(
        tuple(map(float, recorded["Vec"])), float(recorded["Error"]), float(recorded["Adjustment"]), recorded["Height"]
    )


def bits(one: Place) -> list[str]:
    return [struct.pack(">d", number).hex() for number in (*one.vector, one.error, one.adjustment, one.height)]


def test_every_recorded_step_gives_the_same_bits() -> None:
    steps = 0
    for case in vectors("coordinates")["updates"]:
        config = case["config"]
        mine = Vivaldi(Random(0), place(case["start"]), config["LatencyFilterSize"], config["AdjustmentWindowSize"])
        for step in case["steps"]:
            if "result" not in step:
                with pytest.raises(GossipError):
                    mine.update(step["node"], place(step["other"]), step["rtt_ns"] / 1e9)
                continue
            mine.update(step["node"], place(step["other"]), step["rtt_ns"] / 1e9)
            assert bits(mine.place) == step["result"]["bits"], (case["name"], steps)
            steps += 1
        assert mine.resets == case["resets"]
    assert steps > 50


def test_recorded_distances_and_filters() -> None:
    recorded = vectors("coordinates")
    for case in recorded["distances"]:
        a, b = place(case["a"]), place(case["b"])
        assert a.distance(b) == case["distance_ns"] / 1e9
        assert a.raw_distance(b) == case["raw_seconds"]
    mine = Vivaldi(Random(0))
    for case in recorded["latency_filter_size_3"]:
        assert mine.filtered(case["node"], case["sample"]) == case["filtered"]
    together = recorded["coincident"]
    mine = Vivaldi(Random(0))
    mine.update("b", place(together["other"]), together["rtt_ns"] / 1e9)
    assert math.isclose(math.hypot(*mine.place.vector), together["vec_length"], rel_tol=1e-9)
    assert (mine.place.error, mine.place.height, mine.place.adjustment) == (
        together["result"]["Error"],
        together["result"]["Height"],
        together["result"]["Adjustment"],
    )


def test_recorded_payloads() -> None:
    for case in vectors("serf")["ack_payload"]:
        found = decode_place(bytes.fromhex(case["wire"]))
        if case["version"] != 1:
            assert found is None
            continue
        assert found is not None and found.encode().hex() == case["wire"]


NUMBERS = st.floats() | st.sampled_from([0.0, 1e300, -1e300, math.inf, math.nan])
PLACES = st.builds(Place, st.tuples(*[NUMBERS] * 8), NUMBERS, NUMBERS, NUMBERS)


@given(st.lists(st.tuples(PLACES, NUMBERS), max_size=20))
def test_whatever_is_measured_the_place_stays_one(measured: Sequence[tuple[Place, float]]) -> None:
    mine = Vivaldi(Random(1))
    for other, rtt in measured:
        try:
            mine.update("b", other, rtt)
        except GossipError:
            pass
        assert mine.place.is_valid and mine.place.error <= 1.5 and mine.place.height >= 1e-5


@given(st.binary(max_size=120))
def test_rubbish_is_no_coordinate(payload: bytes) -> None:
    try:
        found = decode_place(b"\x01" + payload)
    except GossipError:
        return
    assert found is not None and found.is_valid


def test_members_find_out_how_far_they_are() -> None:
    """Five members on a line, 10 ms apart, measuring at random: the estimates come close to the truth."""
    random = Random(3)
    members = [Vivaldi(Random(number)) for number in range(5)]
    for _ in range(3000):
        a, b = random.sample(range(5), 2)
        members[a].update(str(b), members[b].place, 0.01 * abs(a - b))
    for a in range(5):
        for b in range(a):
            wanted = 0.01 * (a - b)
            assert members[a].place.distance(members[b].place) == pytest.approx(wanted, rel=0.25)
