"""The state machine: replay is deterministic, snapshots come back whole, bad bytes change nothing."""

import io
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.codec import pack_builtins, to_wire
from model.commands import CommandType, command
from model.errors import RpcError
from model.structs.coordinate import Coordinate, CoordinateVector
from model.structs.kv import DirEntry, KVSRequest
from model.structs.txn import TxnKVOp, TxnOp, TxnRequest
from server.fsm import Fsm, restore_command
from tests.state.helpers import Machine, check, service

SNAPSHOTS = Path("../shared/protocols")


def records(data: bytes) -> list[tuple[int, Any]]:
    unpacker = msgpack.Unpacker(io.BytesIO(data), raw=False, unicode_errors="surrogateescape", strict_map_key=False)
    found: list[tuple[int, Any]] = [(-1, unpacker.unpack())]
    while True:
        try:
            kind = unpacker.unpack()
        except msgpack.OutOfData:
            return found
        found.append((kind, unpacker.unpack()))


def plain(value: Any) -> str:
    """Text that does not depend on the order of maps."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{key!r}:{plain(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(plain, value)) + "]"
    return repr(value)


@pytest.mark.skipif(not SNAPSHOTS.exists(), reason="the recorded snapshots are not here")
@pytest.mark.parametrize("name", ["plain", "acl", "full"])
def test_a_recorded_snapshot_comes_back_with_every_record(name: str) -> None:
    with tarfile.open(SNAPSHOTS / f"{name}.snap") as archive:
        member = archive.extractfile("state.bin")
        assert member is not None
        data = member.read()
    fsm = Fsm()
    fsm.restore(io.BytesIO(data))
    target = io.BytesIO()
    fsm.snapshot()(target)
    before, after = records(data), records(target.getvalue())
    assert [kind for kind, _ in before] == [kind for kind, _ in after]
    assert before[0] == after[0]
    lost = Counter((kind, plain(value)) for kind, value in before)
    lost.subtract(Counter((kind, plain(value)) for kind, value in after))
    assert not [record for record, count in lost.items() if count]


def filled() -> Machine:
    machine = Machine()
    machine.register("n1", service("web", tags=["a"], meta={"m": "1"}), [check("alive"), check("w", service_id="web")])
    machine.register("n2", service("db"))
    machine.kv("set", "a/b", b"\x00\xff", flags=2**64 - 1)
    machine.kv("set", "gone")
    machine.kv("delete", "gone")
    machine.session("s1", node_checks=["alive"], ttl="30s")
    machine.kv("lock", "l", b"x", session="s1")
    return machine


def test_replaying_the_log_gives_the_same_state() -> None:
    first = filled()
    second = Fsm()
    for index, data in first.log:
        second.apply(index, 1, data)
    target = io.BytesIO()
    second.snapshot()(target)
    assert target.getvalue() == first.snapshot()


def test_restore_gives_the_same_answers_and_wakes_everybody() -> None:
    machine, other = filled(), Machine()
    other.kv("set", "old", b"x")
    watch = other.watch(other.store.kv.get, "never")
    seen: list[object] = []
    other.fsm.on_restore.append(lambda: seen.append(other.store))
    before = other.store
    other.fsm.restore(io.BytesIO(machine.snapshot()))
    assert watch.count == 1 and seen == [other.store] and other.store is not before
    assert other.store.kv.get("old")[0] is None
    assert other.store.kv.under("") == machine.store.kv.under("")
    assert other.store.catalog.service_instances("web") == machine.store.catalog.service_instances("web")
    assert other.store.sessions.all() == machine.store.sessions.all()
    other.index = 1000
    other.register("n9", service("web"))
    assert other.store.catalog.service_instances("web")[1] == 1001


def test_a_snapshot_is_of_the_moment_when_it_was_captured() -> None:
    machine = filled()
    write = machine.fsm.snapshot()
    expected = machine.snapshot()
    machine.kv("set", "later", b"x")
    machine.deregister("n1")
    target = io.BytesIO()
    write(target)
    assert target.getvalue() == expected


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2000), st.binary(min_size=1, max_size=3))
def test_a_damaged_snapshot_is_refused_or_read_but_never_half_taken(at: int, junk: bytes) -> None:
    machine = filled()
    data = machine.snapshot()
    broken = data[: at % len(data)] + junk
    store = machine.store
    before = machine.snapshot()
    failure = ""
    try:
        machine.fsm.restore(io.BytesIO(broken))
    except RpcError as error:
        failure = error.text
    if failure:
        assert "failed to restore snapshot" in failure
        assert machine.store is store
        assert machine.snapshot() == before
    else:
        assert machine.store is not store


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60))
def test_garbage_commands_are_errors_and_change_nothing(data: bytes) -> None:
    machine = filled()
    before = machine.snapshot()
    try:
        machine.fsm.apply(99, 1, data)
    except RpcError:
        assert machine.snapshot() == before


def test_unknown_commands_are_ignored_only_when_they_say_so() -> None:
    fsm = Fsm()
    assert fsm.apply(1, 1, bytes((128 + 60,)) + b"\x80") is None
    with pytest.raises(RpcError, match="unknown command type 60"):
        fsm.apply(2, 1, bytes((60,)) + b"\x80")


def test_a_known_command_with_the_ignore_bit_is_carried_out() -> None:
    machine = Machine()
    data = command(CommandType.KVS, KVSRequest(op="set", dir_ent=DirEntry(key="k", value=b"v")))
    machine.fsm.apply(1, 1, bytes((data[0] | 128,)) + data[1:])
    assert machine.store.kv.get("k")[0] is not None


def test_coordinates_of_unknown_nodes_and_bad_ones_are_dropped() -> None:
    machine = filled()
    good = CoordinateVector(vec=[0.1] * 8, height=0.01)
    bad = CoordinateVector(vec=[float("nan")] * 8)
    rows = [Coordinate(node="n1", coord=good), Coordinate(node="nobody", coord=good), Coordinate(node="n2", coord=bad)]
    machine.fsm.apply(50, 1, bytes((6,)) + pack_builtins([to_wire(row) for row in rows]))
    assert [row.node for row in machine.store.coordinates.all()[0]] == ["n1"]
    machine.deregister("N1")
    assert machine.store.coordinates.all()[0] == []


def test_a_transaction_is_all_or_nothing() -> None:
    machine = filled()
    before = machine.snapshot()
    ops = [
        TxnOp(kv=TxnKVOp(verb="set", dir_ent=DirEntry(key="new", value=b"1"))),
        TxnOp(kv=TxnKVOp(verb="get", dir_ent=DirEntry(key="none"))),
        TxnOp(kv=TxnKVOp(verb="cas", dir_ent=DirEntry(key="a/b", modify_index=1))),
    ]
    watch = machine.watch(machine.store.kv.get, "new")
    reply = machine.apply(CommandType.TXN, TxnRequest(ops=ops))
    assert reply.results is None
    assert [(error.op_index, error.what) for error in reply.errors] == [
        (1, 'key "none" doesn\'t exist'),
        (2, 'failed to set key "a/b", index is stale'),
    ]
    assert machine.snapshot() == before and watch.count == 0
    reply = machine.apply(CommandType.TXN, TxnRequest(ops=ops[:1]))
    assert reply.errors is None and reply.results[0].kv.value is None
    assert watch.count == 1


def test_a_restore_replaces_the_state_and_indexes_go_on_above_the_archive() -> None:
    old = Machine()
    for number in range(40):
        old.apply(CommandType.KVS, KVSRequest(op="set", dir_ent=DirEntry(key=f"a/{number}", value=b"1")))
    target = io.BytesIO()
    old.fsm.export()(target)

    new = Machine()
    new.apply(CommandType.KVS, KVSRequest(op="set", dir_ent=DirEntry(key="gone", value=b"1")))
    restored = restore_command(1000, target.getvalue())
    new.fsm.prepare(restored)
    after = new.fsm.apply(2, 1, restored)
    assert after == 1001
    assert new.fsm.store.kv.get("gone")[0] is None and len(new.fsm.store.kv.under("")[0]) == 40
    new.fsm.apply(3, 1, command(CommandType.KVS, KVSRequest(op="set", dir_ent=DirEntry(key="new", value=b"2"))))
    written = new.fsm.store.kv.get("new")[0]
    assert written is not None and written.modify_index == 1002

    # A server's own snapshot remembers how its indexes stand to the log's; an archive for others does not.
    own, archive = io.BytesIO(), io.BytesIO()
    new.fsm.snapshot()(own)
    new.fsm.export()(archive)
    assert records(archive.getvalue())[0][1] == {"LastIndex": 1002}
    again = Fsm()
    again.restore(io.BytesIO(own.getvalue()))
    again.apply(4, 1, command(CommandType.KVS, KVSRequest(op="set", dir_ent=DirEntry(key="next", value=b"3"))))
    row = again.store.kv.get("next")[0]
    assert row is not None and row.modify_index == 1003


@pytest.mark.parametrize("records_of", [b"", b"\x80\x02\xc1", b"\x80\xcc\xfa\x80", b"\x93"])
def test_a_restore_of_bad_records_changes_nothing(records_of: bytes) -> None:
    machine = Machine()
    machine.apply(CommandType.KVS, KVSRequest(op="set", dir_ent=DirEntry(key="kept", value=b"1")))
    bad = restore_command(5, records_of)
    machine.fsm.prepare(bad)
    with pytest.raises(RpcError, match="failed to restore snapshot"):
        machine.fsm.apply(9, 1, bad)
    assert machine.fsm.store.kv.get("kept")[0] is not None
    assert machine.fsm.index_offset == 0
