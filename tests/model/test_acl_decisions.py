"""What rules decide."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.acl.decisions import ACCESSES, Decisions
from model.acl.rules import no_rules, parse_rules


def decide(rules: str, resource: str, access: str, name: str = "") -> bool | None:
    return Decisions(parse_rules(rules)).decide(resource, access, name)


PREFIXES = 'key "a/b" { policy = "deny" } key_prefix "a/" { policy = "write" } key_prefix "a/c" { policy = "read" }'


@pytest.mark.parametrize(
    ("name", "access", "outcome"),
    [
        *(("a/", "write", True), ("a/x", "write", True), ("a/b", "read", False), ("a/bb", "write", True)),
        *(("a/c", "write", False), ("a/c", "read", True), ("a/cd", "write", False), ("b", "read", None)),
        *(("a", "read", None), ("", "read", None)),
    ],
)
def test_the_rule_for_the_name_or_the_longest_beginning_decides(name: str, access: str, outcome: bool | None) -> None:
    assert decide(PREFIXES, "key", access, name) is outcome


def test_a_longer_allowance_opens_what_a_shorter_denial_closes() -> None:
    rules = 'key_prefix "" { policy = "deny" } key_prefix "a/" { policy = "read" } key "a/k" { policy = "write" }'
    assert [decide(rules, "key", "read", name) for name in ("x", "a/x", "a/k")] == [False, True, True]
    assert [decide(rules, "key", "write", name) for name in ("x", "a/x", "a/k")] == [False, False, True]


def test_to_list_has_to_be_granted() -> None:
    for level, outcome in (("read", False), ("list", True), ("write", True), ("deny", False)):
        assert decide(f'key_prefix "a" {{ policy = "{level}" }}', "key", "list", "a") is outcome
        assert decide(f'key_prefix "a" {{ policy = "{level}" }}', "key", "read", "a") is (level != "deny")


@pytest.mark.parametrize(
    ("rules", "outcome"),
    [
        ('key_prefix "a/" { policy = "write" }', True),
        ('key_prefix "" { policy = "write" }', True),
        ('key_prefix "a/" { policy = "read" }', False),
        ('key_prefix "a/b" { policy = "write" }', None),
        ('key_prefix "a/" { policy = "write" } key "a/b" { policy = "deny" }', False),
        ('key_prefix "a/" { policy = "write" } key "a/b" { policy = "read" }', False),
        ('key_prefix "a/" { policy = "write" } key_prefix "a/b/c" { policy = "list" }', False),
        ('key_prefix "a/" { policy = "write" } key "b" { policy = "deny" }', True),
        ('key_prefix "a/" { policy = "write" } key_prefix "a/b" { policy = "write" }', True),
        ('key "a/" { policy = "write" }', None),
        ('key "a/x" { policy = "deny" }', False),
    ],
)
def test_all_below_a_prefix_may_be_written_when_nothing_there_forbids_it(rules: str, outcome: bool | None) -> None:
    assert decide(rules, "key", "write-prefix", "a/") is outcome


SOME = 'service "a" { policy = "read" intentions = "write" } service_prefix "b" { policy = "deny" intentions = "read" }'


def test_intentions_of_the_wildcard() -> None:
    assert decide(SOME, "intention", "read", "*") is True, "whoever may see some may see those of all"
    assert decide(SOME, "intention", "write", "*") is False
    assert decide("", "intention", "read", "*") is None
    assert decide('service_prefix "" { policy = "read" intentions = "write" }', "intention", "write", "*") is True
    denied = 'service_prefix "" { policy = "write" intentions = "write" } service "x" { policy = "read" }'
    assert decide(denied, "intention", "write", "*") is False
    assert decide('service_prefix "" { policy = "deny" }', "intention", "read", "*") is False
    assert decide(SOME, "intention", "write", "a") is True
    assert decide(SOME, "service", "write", "a") is False


def test_every_and_some() -> None:
    rules = Decisions(parse_rules('node_prefix "" { policy = "read" } node "x" { policy = "write" }'))
    assert (rules.every("node", "read"), rules.every("node", "write")) == (True, False)
    assert (rules.some("node", "write"), rules.some("node", "read")) == (True, True)
    partly = Decisions(parse_rules('node "x" { policy = "write" }'))
    assert (partly.every("node", "write"), partly.some("node", "write")) == (None, True)
    nothing = Decisions(no_rules())
    assert (nothing.every("node", "read"), nothing.some("node", "read")) == (None, None)
    denied = Decisions(parse_rules('node_prefix "" { policy = "deny" } node "x" { policy = "read" }'))
    assert (denied.every("node", "read"), denied.some("node", "read")) == (False, True)
    assert denied.some("node", "write") is False


def test_operator_stands_for_mesh_and_peering_as_long_as_those_are_not_said() -> None:
    for other in ("mesh", "peering"):
        assert decide('operator = "write"', other, "write") is True
        assert decide('operator = "read"', other, "write") is False
        assert decide(f'operator = "write" {other} = "deny"', other, "read") is False
        assert decide(f'operator = "deny" {other} = "write"', other, "write") is True
        assert decide(f'{other} = "write"', "operator", "read") is None
    assert decide('operator = "write"', "acl", "read") is None
    assert decide('operator = "write"', "keyring", "read") is None


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_more_is_never_granted_by_one_more_denial(data: st.DataObject) -> None:
    names = st.text("ab/", max_size=3)
    levels = st.sampled_from(("read", "list", "write"))
    some = st.lists(st.tuples(st.sampled_from(("", "_prefix")), names, levels), max_size=6)
    rules = "".join(f'key{kind} "{name}" {{ policy = "{level}" }}\n' for kind, name, level in data.draw(some))
    denied = data.draw(names)
    with_denial = rules + f'key_prefix "{denied}" {{ policy = "deny" }}\n'
    name = data.draw(names)
    for access in ACCESSES["key"]:
        if decide(with_denial, "key", access, name) is True:
            assert decide(rules, "key", access, name) is True

