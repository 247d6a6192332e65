"""The rules of a policy: from their text, in HCL or JSON, to `Rules`, and several of them to one.

The language: https://developer.hashicorp.com/consul/docs/security/acl/acl-rules. Rules about named things are blocks
with the name, or the beginning of names, as their label; rules about the whole cluster are plain values. Blocks and
keys that are not known are left alone, as Consul does, so that rules for its enterprise version load.
"""

from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import Any, NamedTuple

from model.config_json import HclError
from model.gotext import go_quoted
from model.hcl import parse_hcl


class Level(IntEnum):
    """What a rule grants, in the order in which one grant includes another; `DENY` is above when rules collide."""

    DENY = 0
    READ = 1
    LIST = 2
    WRITE = 3


class RulesError(Exception):
    """The text is not a policy's rules; says which rule and why, in Consul's words."""


class Grants(NamedTuple):
    """The rules about one kind of thing: by exact name, and by the beginning of names."""

    exact: dict[str, Level]
    prefix: dict[str, Level]


class Kind(NamedTuple):
    """A kind of named thing: how Consul names its rule and the rule's label in errors."""

    rule: str
    label: str
    enterprise: bool


NAMED = {
    "agent": Kind("AgentRule", "Node", False),
    "key": Kind("KeyRule", "Prefix", True),
    "node": Kind("NodeRule", "Name", True),
    "service": Kind("ServiceRule", "Name", True),
    "session": Kind("SessionRule", "Node", False),
    "event": Kind("EventRule", "Event", False),
    "query": Kind("PreparedQueryRule", "Prefix", False),
}
"""The kinds of things that rules name, by the names of their blocks."""
WHOLE = ("acl", "keyring", "operator", "mesh", "peering")
"""What rules grant for the whole cluster."""
_LEVELS = {"deny": Level.DENY, "read": Level.READ, "list": Level.LIST, "write": Level.WRITE}


class Rules(NamedTuple):
    """What one policy, or several merged, say.

    `named` has the kinds of `NAMED` and "intention", whose grants stand in the blocks of services; `whole` those of
    `WHOLE` that are granted or denied.
    """

    named: dict[str, Grants]
    whole: dict[str, Level]


def no_rules() -> Rules:
    """Rules that say nothing."""
    return Rules({kind: Grants({}, {}) for kind in (*NAMED, "intention")}, {})


def parse_rules(text: str) -> Rules:
    """Read a policy's rules. Raises RulesError."""
    rules = no_rules()
    if not text.strip():
        return rules
    try:
        found = parse_hcl(text)
    except HclError as error:
        raise RulesError(f"Failed to parse ACL rules: {error}") from None
    for name in WHOLE:
        if name in found:
            _read_whole(rules, name, found[name])
    for kind in NAMED:
        for suffix in ("", "_prefix"):
            for label, body in _blocks(found.get(kind + suffix), kind + suffix):
                _read_named(rules, kind, suffix, label, body)
    return rules


def _read_whole(rules: Rules, name: str, value: Any) -> None:
    text = _text(value, name)
    if not text:
        return
    level = _LEVELS.get(text.lower())
    if level is None or level is Level.LIST:
        raise RulesError(f"Invalid {name} policy: {go_quoted(text)}")
    _take(rules.whole, name, level)


def _read_named(rules: Rules, kind: str, suffix: str, label: str, body: dict[str, Any]) -> None:
    where = f"{kind}{suffix}"
    policy = _text(body.get("policy", ""), f"{where}.policy")
    intentions = _text(body.get("intentions", ""), f"{where}.intentions") if kind == "service" else ""
    level = _LEVELS.get(policy.lower())
    if level is None or (level is Level.LIST and kind != "key"):
        raise RulesError(f"Invalid {where} policy: {_shown(kind, label, policy, intentions)}")
    _take(getattr(rules.named[kind], "prefix" if suffix else "exact"), label, level)
    if kind != "service":
        return
    # Whoever may see a service may see its intentions; to write them has to be granted by name.
    granted = _LEVELS.get(intentions.lower()) if intentions else min(level, Level.READ)
    if granted is None or granted is Level.LIST:
        raise RulesError(f"Invalid {where} intentions policy: {_shown(kind, label, policy, intentions)}")
    _take(getattr(rules.named["intention"], "prefix" if suffix else "exact"), label, granted)


def _blocks(value: Any, where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The labelled blocks under one key: label and body. Raises RulesError."""
    if value is None:
        return
    if isinstance(value, list):
        for item in value:
            yield from _blocks(item, where)
        return
    if not isinstance(value, dict):
        raise RulesError(f"Failed to parse ACL rules: {where}: expected a block with a label")
    if value and all(isinstance(body, dict | list) for body in value.values()):
        for label, bodies in value.items():
            for body in bodies if isinstance(bodies, list) else [bodies]:
                if not isinstance(body, dict):
                    raise RulesError(f"Failed to parse ACL rules: {where}.{label}: expected a block")
                yield label, body
    elif value:
        yield "", value  # A block without a label.


def _text(value: Any, where: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise RulesError(f"Failed to parse ACL rules: {where}: expected a text")


def _shown(kind: str, label: str, policy: str, intentions: str) -> str:
    """A rule as Go prints it in Consul's errors."""
    named = NAMED[kind]
    fields = [f"{named.label}:{go_quoted(label)}", f"Policy:{go_quoted(policy)}"]
    if kind == "service":
        fields.append(f"Intentions:{go_quoted(intentions)}")
    if named.enterprise:
        fields.append("EnterpriseRule:acl.EnterpriseRule{}")
    return f"&acl.{named.rule}{{{', '.join(fields)}}}"


def _take(grants: dict[str, Level], name: str, level: Level) -> None:
    """Note a grant; of two for the same name a denial wins, and otherwise the one that grants more."""
    old = grants.get(name)
    if old is None or level is Level.DENY or (old is not Level.DENY and level > old):
        grants[name] = level


def merge(several: Iterable[Rules]) -> Rules:
    """The rules of several policies as one."""
    merged = no_rules()
    for rules in several:
        for name, level in rules.whole.items():
            _take(merged.whole, name, level)
        for kind, grants in rules.named.items():
            for name, level in grants.exact.items():
                _take(merged.named[kind].exact, name, level)
            for name, level in grants.prefix.items():
                _take(merged.named[kind].prefix, name, level)
    return merged
