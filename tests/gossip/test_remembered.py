"""The snapshot of a pool: real ones are read as serf reads them, ours are written in its format."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gossip.core import Member, Status
from gossip.remembered import Remembered, parse, written
from tests.gossip.vectors import vectors


def test_recorded_snapshots() -> None:
    recorded = vectors("serf")["snapshot"]
    assert len(recorded["replay"]) >= 5
    for case in recorded["replay"]:
        wanted = Remembered(case["alive"], case["clock"], case["event_clock"], case["query_clock"])
        assert parse(case["file"], case["rejoin_after_leave"]) == wanted
    member = Member("node-v6", "::1", 8301, {}, Status.ALIVE)
    assert written([member], "me", (41, 9, 4), left=False) == recorded["written"]["after_compaction"]
    assert parse(vectors("consul")["snapshot_file"]).alive


NAMES = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=20).filter(
    lambda t: t.strip() == t
)


@given(
    st.dictionaries(NAMES, st.integers(1, 65535), max_size=8), st.tuples(*[st.integers(0, 1 << 40)] * 3), st.booleans()
)
def test_what_is_written_is_read(ports: dict[str, int], clocks: tuple[int, int, int], left: bool) -> None:
    members = [Member(name, "10.0.0.1", port, {}, Status.ALIVE) for name, port in ports.items()]
    gone = Member("gone", "10.0.0.2", 1, {}, Status.FAILED)
    text = written([*members, gone], "me", clocks, left)
    wanted = Remembered({name: f"10.0.0.1:{port}" for name, port in ports.items() if name != "me"}, *clocks)
    assert parse(text, rejoin_after_leave=True) == wanted
    assert parse(text) == (Remembered() if left else wanted)


@given(st.text(max_size=300))
def test_rubbish_is_skipped(text: str) -> None:
    parse(text)
