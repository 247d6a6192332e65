"""Sessions: what they need, what ends them and what their end does to locks."""

from typing import Any

import pytest

from model.errors import RpcError
from tests.state.helpers import Machine, check, service

SECOND = 1_000_000_000


@pytest.fixture
def machine() -> Machine:
    made = Machine()
    made.register("n1", service("web"), [check("alive"), check("web-check", service_id="web")])
    return made


def _locked(machine: Machine, **fields: Any) -> None:
    machine.session("s1", node_checks=["alive"], **fields)
    assert machine.kv("lock", "l", b"v", session="s1") is True


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"node": "nowhere"}, "Missing node registration"),
        ({"node_checks": ["nope"]}, "Missing check 'nope' registration"),
        ({"node_checks": [""]}, "failed check lookup"),
        ({"behavior": "explode"}, "Invalid session behavior"),
    ],
)
def test_a_session_needs_what_it_hangs_on(machine: Machine, fields: dict[str, Any], text: str) -> None:
    with pytest.raises(RpcError, match=text):
        machine.session("s1", **fields)
    assert len(machine.store.sessions.rows) == 0


def test_a_session_is_refused_while_its_check_is_critical(machine: Machine) -> None:
    machine.register("n1", checks=[check("alive", "critical")])
    with pytest.raises(RpcError, match="Check 'alive' is in critical state"):
        machine.session("s1", node_checks=["alive"])


def test_releasing_frees_the_lock_and_delays_the_next(machine: Machine) -> None:
    _locked(machine, lock_delay=15 * SECOND)
    machine.destroy("s1")
    entry, index = machine.store.kv.get("l")
    assert entry is not None and (entry.session, entry.lock_index, index) == ("", 1, machine.index)
    assert not machine.store.kv.may_lock("l", machine.now + 14.9)
    assert machine.store.kv.may_lock("l", machine.now + 15.1)


def test_delete_behaviour_removes_the_keys_but_keeps_the_delay(machine: Machine) -> None:
    _locked(machine, behavior="delete", lock_delay=15 * SECOND)
    machine.destroy("s1")
    assert machine.store.kv.get("l")[0] is None
    assert not machine.store.kv.may_lock("l", machine.now + 1)


def test_an_explicit_release_delays_nobody(machine: Machine) -> None:
    _locked(machine, lock_delay=15 * SECOND)
    assert machine.kv("unlock", "l", b"v", session="s1") is True
    machine.destroy("s1")
    assert machine.store.kv.may_lock("l", machine.now)


@pytest.mark.parametrize(
    "ending",
    [
        lambda m: m.register("n1", checks=[check("alive", "critical")]),
        lambda m: m.deregister("n1", check_id="alive"),
        lambda m: m.deregister("n1"),
        lambda m: m.deregister("N1"),
        lambda m: m.destroy("s1"),
    ],
)
def test_what_ends_a_session(machine: Machine, ending: Any) -> None:
    _locked(machine)
    watch = machine.watch(machine.store.sessions.of_node, "n1")
    ending(machine)
    assert machine.store.sessions.get("s1")[0] is None
    entry, _ = machine.store.kv.get("l")
    assert entry is not None and entry.session == ""
    assert watch.count == 1


def test_a_service_takes_the_sessions_on_its_checks_along(machine: Machine) -> None:
    machine.session("s1", node_checks=["web-check"])
    machine.session("s2", node_checks=["alive"])
    machine.deregister("n1", service_id="web")
    assert [row.id for row in machine.store.sessions.rows] == ["s2"]


def test_warning_does_not_end_a_session(machine: Machine) -> None:
    _locked(machine)
    machine.register("n1", checks=[check("alive", "warning")])
    assert machine.store.sessions.get("s1")[0] is not None


def test_lock_delays_that_are_over_are_forgotten(machine: Machine) -> None:
    for number in range(1100):
        machine.session(f"s{number}", node_checks=["alive"], lock_delay=SECOND)
        machine.kv("lock", f"k{number}", session=f"s{number}")
        machine.destroy(f"s{number}")
        machine.now += 0.01
    assert len(machine.store.kv.lock_delays) < 1100
    assert not machine.store.kv.may_lock("k1099", machine.now)
