"""Binding rules: whether one can be used, and which roles and identities the rules give to a verified identity."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from model import hil
from model.filter import FilterError, compile_filter
from model.structs.acl import ACLBindingRule
from server.acl.login.identity import Identity, Shape
from server.acl.login.problems import Refused, RuleProblem

SERVICE, NODE, ROLE = "service", "node", "role"
MAX_NAME = 256
"""Characters of a bound name."""
_LOWER_NAME = re.compile(r"[a-z0-9]([a-z0-9_-]*[a-z0-9])?", re.ASCII)
_ROLE_NAME = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_NAMES = {SERVICE: _LOWER_NAME, NODE: _LOWER_NAME, ROLE: _ROLE_NAME}
_STAND_IN = "fake"
"""What variables are taken for while a rule is checked, which is before anybody logs in."""


class Binding(NamedTuple):
    """Something that a token gets: its kind (SERVICE, NODE or ROLE) and its name."""

    kind: str
    name: str


def check_rule(rule: ACLBindingRule, shape: Shape) -> None:
    """Raise RuleProblem unless a rule can be used with identities of this shape. That its method exists is known."""
    if rule.selector:
        try:
            compile_filter(rule.selector, shape.fields)
        except FilterError as error:
            raise RuleProblem(f"invalid Binding Rule: Selector is invalid: {error}") from None
    if not rule.bind_type:
        raise RuleProblem("Invalid Binding Rule: no BindType is set")
    if rule.bind_type not in _NAMES:
        raise RuleProblem(f'Invalid Binding Rule: unknown BindType "{rule.bind_type}"')
    if not rule.bind_name:
        raise RuleProblem("Invalid Binding Rule: no BindName is set")
    try:
        sample = _filled(rule.bind_name, dict.fromkeys(shape.variables, _STAND_IN))
    except hil.HilError as error:
        raise RuleProblem(f"Invalid Binding Rule: invalid BindName: {error}") from None
    if not _is_valid(rule.bind_type, sample):
        raise RuleProblem("Invalid Binding Rule: invalid BindName")


def bindings(rules: Iterable[ACLBindingRule], identity: Identity) -> list[Binding]:
    """What the rules that match an identity give, each thing once, in order of kind and name.

    Raises Refused when a name that comes out is none. Whether roles exist is not looked at here.
    """
    found: set[Binding] = set()
    for rule in rules:
        if not _matches(rule.selector, identity):
            continue
        try:
            name = _filled(rule.bind_name, {key: value.lower() for key, value in identity.variables.items()})
        except hil.HilError as error:  # The auth method has changed since the rule was written.
            raise Refused(f'cannot compute "{rule.bind_type}" bind name for bind target: {error}') from None
        if not _is_valid(rule.bind_type, name):
            raise Refused(f'computed "{rule.bind_type}" bind name for bind target is invalid: "{name}"')
        found.add(Binding(rule.bind_type, name))
    return sorted(found)


def _matches(selector: str, identity: Identity) -> bool:
    """Whether a selector matches. One that fits the auth method no more matches nothing: it must not give rights."""
    if not selector:
        return True
    try:
        return compile_filter(selector, type(identity.fields))(identity.fields)
    except FilterError:
        return False


def _filled(bind_name: str, variables: dict[str, str]) -> str:
    """A bind name with its variables filled in. Raises HilError."""
    parts = []
    for piece in hil.pieces(bind_name):
        if isinstance(piece, hil.Literal):
            parts.append(piece.text)
        elif piece.is_call:
            raise hil.HilError(f"1:{piece.column}: unknown function called: {piece.name}")
        elif piece.name not in variables:
            raise hil.HilError(f"1:{piece.column}: unknown variable accessed: {piece.name}")
        else:
            # One character beyond what is allowed is enough to tell that the whole is too long.
            parts.append(variables[piece.name][: MAX_NAME + 1])
    return "".join(parts)


def _is_valid(kind: str, name: str) -> bool:
    return kind in _NAMES and len(name) <= MAX_NAME and _NAMES[kind].fullmatch(name) is not None
