"""Claims of a verified JWT to the attributes that an auth method maps them to."""

from collections.abc import Iterator
from typing import Any

from server.acl.login.identity import Identity, JwtFields
from server.acl.login.jwt_settings import JwtSettings
from server.acl.login.problems import Refused

MAX_VALUES = 10_000
"""Entries of a claim that is a list."""


def identity_of(settings: JwtSettings, claims: dict[str, Any]) -> Identity:
    """The identity that claims make. What is mapped and not there is empty. Raises Refused for unfit values."""
    values = dict.fromkeys(settings.claims.values(), "")
    for claim, name in settings.claims.items():
        found = _claim(claims, claim)
        if found is not None:
            text = _as_text(found)
            if text is None:
                raise Refused(f"error converting claim '{claim}' to string from unknown type {_kind(found)}")
            values[name] = text
    lists: dict[str, list[str]] = {name: [] for name in settings.list_claims.values()}
    for claim, name in settings.list_claims.items():
        found = _claim(claims, claim)
        if found is not None:
            lists[name] = list(_as_list(claim, found))
    return Identity(JwtFields(value=values, list_=lists), {f"value.{name}": text for name, text in values.items()})


def _claim(claims: dict[str, Any], claim: str) -> Any:
    """A claim by its name, or by the path to it when the name begins with a slash (a JSON pointer, RFC 6901).

    None when it is not there.
    """
    if not claim.startswith("/"):
        return claims.get(claim)
    at: Any = claims
    for part in claim[1:].split("/"):
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(at, dict):
            at = at.get(key)
        elif isinstance(at, list) and key.isascii() and key.isdigit() and len(key) < 10 and int(key) < len(at):
            at = at[int(key)]
        else:
            return None
    return at


def _as_text(value: Any) -> str | None:
    """A single value as text; None for one that is not single."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e21 else repr(value)
    return None


def _as_list(claim: str, value: Any) -> Iterator[str]:
    """The entries of a list, or a single value as a list of its own."""
    entries = value if isinstance(value, list) else [value]
    if len(entries) > MAX_VALUES or isinstance(value, dict):
        raise Refused(f'"{claim}" list claim could not be converted to string list')
    for entry in entries:
        text = _as_text(entry)
        if text is None:
            raise Refused(f'value in "{claim}" list claim could not be parsed as string')
        yield text


def _kind(value: Any) -> str:
    return "map[string]interface {}" if isinstance(value, dict) else "[]interface {}"
