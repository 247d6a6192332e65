"""The language of rules: what is understood, what is refused and in which words, and how several policies are one."""

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.acl.rules import NAMED, WHOLE, Level, RulesError, merge, no_rules, parse_rules

IN_HCL = """
acl = "read"
operator = "write"
key "a" { policy = "read" }
key_prefix "b/" { policy = "list" }
key_prefix "" { policy = "deny" }
service "web" { policy = "write" intentions = "read" }
service_prefix "" { policy = "read" }
node_prefix "" { policy = "WRITE" }
"""
IN_JSON = {
    "acl": "read",
    "operator": "write",
    "key": {"a": {"policy": "read"}},
    "key_prefix": [{"b/": {"policy": "list"}}, {"": {"policy": "deny"}}],
    "service": {"web": {"policy": "write", "intentions": "read"}},
    "service_prefix": {"": [{"policy": "read"}]},
    "node_prefix": {"": {"policy": "write"}},
}
ENTERPRISE = "EnterpriseRule:acl.EnterpriseRule{}"


def test_hcl_and_json_say_the_same() -> None:
    rules = parse_rules(IN_HCL)
    assert rules == parse_rules(json.dumps(IN_JSON))
    assert rules.whole == {"acl": Level.READ, "operator": Level.WRITE}
    assert rules.named["key"].exact == {"a": Level.READ}
    assert rules.named["key"].prefix == {"b/": Level.LIST, "": Level.DENY}
    assert rules.named["node"].prefix == {"": Level.WRITE}


def test_intentions_follow_their_service_unless_something_is_said() -> None:
    rules = parse_rules(IN_HCL)
    assert rules.named["intention"].exact == {"web": Level.READ}
    assert rules.named["intention"].prefix == {"": Level.READ}
    wide = parse_rules('service "a" { policy = "write" } service "b" { policy = "deny" intentions = "write" }')
    assert wide.named["intention"].exact == {"a": Level.READ, "b": Level.WRITE}
    assert parse_rules('service "a" { policy = "deny" }').named["intention"].exact == {"a": Level.DENY}


@pytest.mark.parametrize(
    "text",
    [
        *("", " \n", "# only a comment\n", 'unknown_thing "a" { policy = "read" }', 'partition "x" { }'),
        'namespace "x" { key "a" { policy = "read" } }',
        *('acl = ""', "{}"),
    ],
)
def test_what_says_nothing(text: str) -> None:
    assert parse_rules(text) == no_rules()


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('key "a" { policy = "no" }', f'Invalid key policy: &acl.KeyRule{{Prefix:"a", Policy:"no", {ENTERPRISE}}}'),
        ('key "a" { }', f'Invalid key policy: &acl.KeyRule{{Prefix:"a", Policy:"", {ENTERPRISE}}}'),
        ('key "a" { policy = 5 }', f'Invalid key policy: &acl.KeyRule{{Prefix:"a", Policy:"5", {ENTERPRISE}}}'),
        (
            'key_prefix "a" { policy = "x" }',
            f'Invalid key_prefix policy: &acl.KeyRule{{Prefix:"a", Policy:"x", {ENTERPRISE}}}',
        ),
        (
            'node "a" { policy = "list" }',
            f'Invalid node policy: &acl.NodeRule{{Name:"a", Policy:"list", {ENTERPRISE}}}',
        ),
        (
            'service "a" { policy = "write" intentions = "bogus" }',
            "Invalid service intentions policy: "
            f'&acl.ServiceRule{{Name:"a", Policy:"write", Intentions:"bogus", {ENTERPRISE}}}',
        ),
        (
            'service_prefix "" { policy = "x" }',
            f'Invalid service_prefix policy: &acl.ServiceRule{{Name:"", Policy:"x", Intentions:"", {ENTERPRISE}}}',
        ),
        ('session "a" { policy = "x" }', 'Invalid session policy: &acl.SessionRule{Node:"a", Policy:"x"}'),
        ('event "" { policy = "x" }', 'Invalid event policy: &acl.EventRule{Event:"", Policy:"x"}'),
        ('query "" { policy = "x" }', 'Invalid query policy: &acl.PreparedQueryRule{Prefix:"", Policy:"x"}'),
        ('agent_prefix "" { policy = "x" }', 'Invalid agent_prefix policy: &acl.AgentRule{Node:"", Policy:"x"}'),
        *((f'{name} = "list"', f'Invalid {name} policy: "list"') for name in WHOLE),
    ],
)
def test_bad_rules_are_refused_in_consuls_words(text: str, error: str) -> None:
    with pytest.raises(RulesError) as caught:
        parse_rules(text)
    assert str(caught.value) == error


@pytest.mark.parametrize(
    "text",
    ['key "a" { policy = "read"', 'key "a" policy', "}{", 'acl = ["read"]', 'key "a" = "x"', "key = 1", "acl = {}"],
)
def test_what_cannot_be_read_says_so(text: str) -> None:
    with pytest.raises(RulesError, match=r"^Failed to parse ACL rules: "):
        parse_rules(text)


@pytest.mark.parametrize(
    "text",
    [
        "key " * 50_000,
        "{" * 50_000,
        "[" * 50_000,
        '{"key":' * 50_000,
        'key "a" {' * 50_000,
        'key "' + "a" * 500_000,
        "/*" * 100_000,
        "acl = <<E\n" + "x\n" * 100_000,
        'key "\\u{110000}" { policy = "read" }',
        "\0",
        "key \ud800 {}",
    ],
    ids=range(11),
)
def test_hostile_texts_are_refused_soon(text: str) -> None:
    with pytest.raises(RulesError):
        parse_rules(text)


def test_many_rules_are_taken() -> None:
    text = "".join(f'key "k{number}" {{ policy = "read" }}\n' for number in range(2_000))
    assert len(parse_rules(text).named["key"].exact) == 2_000


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet='key_prefix"{}=[]readwritpolcyacl \n#/*<,:\\', max_size=120))
def test_any_text_is_understood_or_refused(text: str) -> None:
    try:
        parse_rules(text)
    except RulesError:
        pass


def test_of_several_rules_for_a_name_a_denial_wins_and_then_the_widest() -> None:
    texts = [f'key "a" {{ policy = "{level}" }}' for level in ("read", "write", "list")]
    assert merge(map(parse_rules, texts)).named["key"].exact == {"a": Level.WRITE}
    assert parse_rules("\n".join(texts)).named["key"].exact == {"a": Level.WRITE}
    denied = [*texts, 'key "a" { policy = "deny" }']
    for order in (denied, denied[::-1]):
        assert merge(map(parse_rules, order)).named["key"].exact == {"a": Level.DENY}
        assert parse_rules("\n".join(order)).named["key"].exact == {"a": Level.DENY}


def test_merging_goes_kind_by_kind_and_changes_no_part() -> None:
    first, second = parse_rules('acl = "read" key "a" { policy = "read" }'), parse_rules('acl = "deny" mesh = "write"')
    merged = merge([first, second])
    assert merged.whole == {"acl": Level.DENY, "mesh": Level.WRITE}
    assert (first.whole, second.whole) == ({"acl": Level.READ}, {"acl": Level.DENY, "mesh": Level.WRITE})
    assert merge([]) == no_rules()
    levels = [f'{random.Random(1).choice(list(NAMED))} "a" {{ policy = "read" }}' for _ in range(3)]
    assert merge(map(parse_rules, levels)) == merge(map(parse_rules, reversed(levels)))
