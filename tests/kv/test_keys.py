"""The key-value table against a naive model, and whom each change wakes."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.errors import RpcError
from tests.state.helpers import Machine

KEYS = ("a", "a/", "a/b", "a/b/c", "ab", "b", "é", "")
PREFIXES = ("", "a", "a/", "a/b", "b", "zzz")

operations = st.lists(
    st.tuples(
        st.sampled_from(("set", "cas", "delete", "delete-cas", "delete-tree", "lock", "unlock")),
        st.sampled_from(KEYS),
        st.binary(max_size=2),
        st.sampled_from(("fresh", "current", "stale")),
        st.sampled_from(("s1", "s2")),
    ),
    max_size=30,
)


class NaiveKeys:
    """What the documentation says, in the plainest way: key -> (value, index, lock index, session)."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[bytes, int, int, str]] = {}

    def write(self, index: int, key: str, value: bytes, lock_index: int, session: str) -> None:
        old = self.rows.get(key)
        if old is not None and (old[0], *old[2:]) == (value, lock_index, session):
            return
        self.rows[key] = (value, index, lock_index, session)

    def apply(self, index: int, op: str, key: str, value: bytes, expected: int, session: str) -> bool | None:
        old = self.rows.get(key)
        if op == "set":
            self.write(index, key, value, 0, old[3] if old else "")
        elif op == "cas":
            if expected != (old[1] if old else 0):
                return False
            self.write(index, key, value, 0, old[3] if old else "")
            return True
        elif op == "delete":
            self.rows.pop(key, None)
        elif op == "delete-cas":
            if old is None:
                return True
            if old[1] != expected:
                return False
            del self.rows[key]
            return True
        elif op == "delete-tree":
            self.rows = {name: row for name, row in self.rows.items() if not name.startswith(key)}
        elif op == "lock":
            if old and old[3] not in ("", session):
                return False
            self.write(index, key, value, (old[2] if old else 0) + (0 if old and old[3] else 1), session)
            return True
        elif op == "unlock":
            if old is None or old[3] != session:
                return False
            self.write(index, key, value, old[2], "")
            return True
        return None


@settings(max_examples=80, deadline=None)
@given(operations)
def test_operations_do_what_the_naive_model_does(ops: list[tuple[str, str, bytes, str, str]]) -> None:
    machine, naive = Machine(), NaiveKeys()
    machine.register("n1")
    machine.session("s1")
    machine.session("s2")
    keys = machine.store.kv
    for op, key, value, which, session in ops:
        before = {prefix: _seen(machine, prefix) for prefix in PREFIXES}
        watches = {prefix: machine.watch(keys.under, prefix) for prefix in PREFIXES}
        old = naive.rows.get(key)
        expected = {"fresh": 0, "current": old[1] if old else 0, "stale": 999}[which]
        result = machine.kv(op, key, value, modify_index=expected, session=session)
        assert result == naive.apply(machine.index, op, key, value, expected, session)
        stored = {e.key: (e.value or b"", e.modify_index, e.lock_index, e.session) for e in keys.entries}
        assert stored == naive.rows
        for prefix in PREFIXES:
            rows, index = _seen(machine, prefix)
            old_rows, old_index = before[prefix]
            if rows != old_rows:
                assert watches[prefix].count, f"{op} {key!r} must wake whoever lists {prefix!r}"
                assert index > old_index, "a waiting client would miss the change"
            else:
                assert not watches[prefix].count
            assert index >= old_index or not old_rows, "the index of a prefix went backwards"
            machine.store.watches.discard(watches[prefix])


def _seen(machine: Machine, prefix: str) -> tuple[list[Any], int]:
    return machine.store.kv.under(prefix)


def test_a_change_wakes_only_those_who_read_the_key() -> None:
    machine = Machine()
    machine.kv("set", "a/1", b"x")
    near = machine.watch(machine.store.kv.get, "a/1")
    far = machine.watch(machine.store.kv.get, "a/2")
    missing = machine.watch(machine.store.kv.get, "nothing")
    machine.kv("set", "a/1", b"y")
    assert (near.count, far.count, missing.count) == (1, 0, 0)
    machine.kv("set", "nothing", b"now")
    assert missing.count == 1


def test_writing_the_same_again_changes_no_index_and_wakes_nobody() -> None:
    machine = Machine()
    machine.kv("set", "k", b"x", flags=3)
    entry, index = machine.store.kv.get("k")
    watch = machine.watch(machine.store.kv.get, "k")
    machine.kv("set", "k", b"x", flags=3)
    assert machine.store.kv.get("k") == (entry, index)
    assert watch.count == 0


def test_a_deletion_is_seen_by_index_until_its_tombstone_is_reaped() -> None:
    machine = Machine()
    machine.kv("set", "p/a", b"x")
    machine.kv("set", "p/b", b"x")
    machine.kv("delete", "p/b")
    assert machine.store.kv.under("p/")[1] == 3
    machine.store.kv.reap(3)
    assert machine.store.kv.under("p/")[1] == 1
    assert len(machine.store.kv.tombstones) == 0


def test_locks_count_their_acquisitions_and_keep_strangers_out() -> None:
    machine = Machine()
    machine.register("n1")
    machine.session("s1")
    machine.session("s2")
    assert machine.kv("lock", "l", b"1", session="s1") is True
    assert machine.kv("lock", "l", b"2", session="s2") is False
    assert machine.kv("unlock", "l", b"2", session="s2") is False
    assert machine.kv("lock", "l", b"3", session="s1") is True
    assert machine.kv("unlock", "l", b"4", session="s1") is True
    assert machine.kv("lock", "l", b"5", session="s2") is True
    entry, _ = machine.store.kv.get("l")
    assert entry is not None and (entry.lock_index, entry.session, entry.value) == (2, "s2", b"5")


@pytest.mark.parametrize(("session", "text"), [("", "missing session"), ("nobody", 'invalid session "nobody"')])
def test_a_lock_needs_a_living_session(session: str, text: str) -> None:
    machine = Machine()
    with pytest.raises(RpcError, match=text):
        machine.kv("lock", "l", session=session)
    assert len(machine.store.kv.entries) == 0


def test_unknown_operations_are_refused() -> None:
    with pytest.raises(RpcError, match="Invalid KVS operation 'explode'"):
        Machine().kv("explode", "k")
