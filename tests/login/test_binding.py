"""Claims to attributes, and attributes by binding rules to roles and identities."""

from typing import Any

import pytest

from model import hil
from model.structs.acl import ACLBindingRule
from server.acl.login.binding import Binding, bindings, check_rule
from server.acl.login.claims import identity_of
from server.acl.login.identity import Identity, JwtFields, KubernetesFields, ServiceAccount
from server.acl.login.jwt_settings import read_settings
from server.acl.login.kubernetes import SHAPE
from server.acl.login.problems import Refused, RuleProblem
from tests.login.tokens import pem, rsa_key

SETTINGS = read_settings(
    {
        "JWTValidationPubKeys": [pem(rsa_key())],
        "ClaimMappings": {"name": "name", "/team/name": "team", "/team/level": "level", "/list/1": "second"},
        "ListClaimMappings": {"groups": "groups"},
    }
)
CLAIMS: dict[str, Any] = {
    "name": "Alice",
    "team": {"name": "payments", "level": 7},
    "list": ["a", "b"],
    "groups": ["dev", 3, True],
}


def identity(**more: Any) -> Identity:
    return identity_of(SETTINGS, {**CLAIMS, **more})


def test_claims_become_attributes() -> None:
    made = identity()
    assert made.fields == JwtFields(
        value={"name": "Alice", "team": "payments", "level": "7", "second": "b"},
        list_={"groups": ["dev", "3", "true"]},
    )
    assert made.variables == {
        "value.name": "Alice",
        "value.team": "payments",
        "value.level": "7",
        "value.second": "b",
    }


def test_what_is_not_there_is_empty_and_a_single_value_is_a_list() -> None:
    made = identity(name=None, team="x", list=["a"], groups="solo")
    assert made.fields == JwtFields(
        value={"name": "", "team": "", "level": "", "second": ""}, list_={"groups": ["solo"]}
    )
    made = identity(team={"name": True, "level": 1.5}, groups=None)
    assert made.variables["value.team"] == "true" and made.variables["value.level"] == "1.5"
    assert identity(name=12345678901234567890).variables["value.name"] == "12345678901234567890"


@pytest.mark.parametrize(
    "more",
    [
        {"name": {"first": "a"}},
        {"name": ["a"]},
        {"groups": {"a": 1}},
        {"groups": [["a"]]},
        {"groups": [None]},
        {"groups": ["a"] * 20_000},
    ],
)
def test_values_that_are_no_attributes_are_refused(more: dict[str, Any]) -> None:
    with pytest.raises(Refused, match="claim"):
        identity(**more)


@pytest.mark.parametrize(
    ("key", "claim"),
    [("/a~1b", {"a/b": "x"}), ("/a~0b", {"a~b": "x"}), ("a.b", {"a.b": "x"}), ("http://x/y", {"http://x/y": "x"})],
)
def test_claims_are_found_by_name_or_pointer(key: str, claim: dict[str, Any]) -> None:
    chosen = SETTINGS._replace(claims={key: "out"})
    assert identity_of(chosen, claim).variables == {"value.out": "x"}


def rule(name: str = "web", kind: str = "service", selector: str = "") -> ACLBindingRule:
    return ACLBindingRule(bind_name=name, bind_type=kind, selector=selector)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (rule(kind=""), "Invalid Binding Rule: no BindType is set"),
        (rule(kind="user"), 'Invalid Binding Rule: unknown BindType "user"'),
        (rule(""), "Invalid Binding Rule: no BindName is set"),
        (rule("Not Valid"), "Invalid Binding Rule: invalid BindName"),
        (rule("UP-${value.team}"), "Invalid Binding Rule: invalid BindName"),
        (rule("not ok", "role"), "Invalid Binding Rule: invalid BindName"),
        (rule("N!", "node"), "Invalid Binding Rule: invalid BindName"),
        (rule("a" * 257), "Invalid Binding Rule: invalid BindName"),
        (rule("{{ value.name }}"), "Invalid Binding Rule: invalid BindName"),
        (rule("$${value.name}"), "Invalid Binding Rule: invalid BindName"),
        (rule("${value.nope}"), "Invalid Binding Rule: invalid BindName: 1:3: unknown variable accessed: value.nope"),
        (rule("${list.groups}"), "Invalid Binding Rule: invalid BindName: 1:3: unknown variable accessed: list.groups"),
        (
            rule("${value.name"),
            'Invalid Binding Rule: invalid BindName: parse error at 1:13: expected "}" but found end of string',
        ),
        (rule("a-${lower(3)}"), "Invalid Binding Rule: invalid BindName: 1:5: unknown function called: lower"),
        (rule("${1 + 1}"), "Invalid Binding Rule: invalid BindName: parse error at 1:3: invalid expression"),
        (
            rule(selector="value.name="),
            'invalid Binding Rule: Selector is invalid: 1:11 (10): no match found, expected: "!=", ".", "==", "[", '
            "[ \\t\\r\\n] or [a-zA-Z0-9_]",
        ),
        (rule(selector="foo==bar"), 'invalid Binding Rule: Selector is invalid: Selector "foo" is not valid'),
    ],
)
def test_bad_rules_are_named(given: ACLBindingRule, text: str) -> None:
    with pytest.raises(RuleProblem) as caught:
        check_rule(given, SETTINGS.shape)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    "given",
    [
        rule("OK_Role", "role"),
        rule("${value.team}-node", "node"),
        rule("web", selector="value.nope==1"),
        rule("web", selector="dev in list.groups and value.level != 3"),
        rule("web", selector="list.groups contains dev or value.name matches `^a`"),
    ],
)
def test_good_rules_pass(given: ACLBindingRule) -> None:
    check_rule(given, SETTINGS.shape)


def test_rules_of_kubernetes_see_service_accounts() -> None:
    check_rule(rule("k8s-${serviceaccount.name}", selector="serviceaccount.namespace==default"), SHAPE)
    with pytest.raises(RuleProblem):
        check_rule(rule(selector="value.name==x"), SHAPE)
    account = ServiceAccount("default", "web", "uid-1")
    who = Identity(KubernetesFields(service_account=account), {"serviceaccount.name": "web"})
    given = [
        rule("k-${serviceaccount.name}", selector="serviceaccount.namespace==default and serviceaccount.name!=vault"),
        rule("no", selector="serviceaccount.uid==other"),
    ]
    assert bindings(given, who) == [Binding("service", "k-web")]


def test_rules_that_match_give_each_thing_once_in_lower_case() -> None:
    given = [
        rule("${value.team}", selector="value.team==payments"),
        rule("payments"),
        rule("role-${value.name}", "role"),
        rule("OK_Role", "role", 'value.level == "7"'),
        rule("${value.team}-node", "node", "dev in list.groups"),
        rule("no", selector="ops in list.groups"),
        rule("no", selector="value.nope == x"),
    ]
    assert bindings(given, identity()) == [
        Binding("node", "payments-node"),
        Binding("role", "OK_Role"),
        Binding("role", "role-alice"),
        Binding("service", "payments"),
    ]


def test_a_name_that_comes_out_badly_fails_the_login() -> None:
    with pytest.raises(Refused) as caught:
        bindings([rule("role-${value.name}", "role")], identity(name="Carol Smith!"))
    assert str(caught.value) == 'computed "role" bind name for bind target is invalid: "role-carol smith!"'
    with pytest.raises(Refused) as caught:
        bindings([rule("${value.name}")], identity(name="x" * 100_000))
    assert len(str(caught.value)) < 500
    with pytest.raises(Refused, match='cannot compute "service" bind name for bind target: 1:3: unknown variable'):
        bindings([rule("${value.gone}")], identity())


def test_a_selector_that_fits_no_more_gives_nothing() -> None:
    assert bindings([rule(selector="serviceaccount.name==web")], identity()) == []
    # Nor does it by being negated.
    assert bindings([rule(selector="serviceaccount.name!=web")], identity()) == []


def test_templates_are_cut_into_pieces() -> None:
    assert hil.pieces("a-${ x.y-z }-$${b}${f(2)}") == (
        hil.Literal("a-"),
        hil.Expression("x.y-z", False, None, 6),
        hil.Literal("-${"),
        hil.Literal("b}"),
        hil.Expression("f", True, 2, 21),
        hil.Literal(""),
    )
    for bad in ("${", "${}", "${a b}", "${1}", '${"x"}', "${f(99999999999999999999999)}"):
        with pytest.raises(hil.HilError, match="parse error"):
            hil.pieces(bad)
