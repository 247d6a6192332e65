"""What the `acl` commands have in common: formats, texts from files, IDs by their beginnings, links and identities."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.cli.acl_shown import Row, as_json
from agent.cli.client import Api, Problem
from agent.cli.flags import Flags
from model.goerrors import go_text

MAX_TEXT = 8 << 20
"""Bytes of a file, or of standard input, at most."""
_BUILT_IN = {
    ("policies", "global-management"): "00000000-0000-0000-0000-000000000001",
    ("tokens", "anonymous"): "00000000-0000-0000-0000-000000000002",
}
"""What may be called by a name where an ID belongs."""
_KIND = {"policies": "policy", "roles": "role", "tokens": "token", "binding-rules": "rule"}
_CALLED = {"policies": "policy ID", "roles": "role ID", "tokens": "token ID", "binding-rules": "binding rule ID"}


def check_format(flags: Flags) -> None:
    """Raises Problem for a format that there is not."""
    if flags["format"] not in ("pretty", "json"):
        raise Problem(f'Invalid format "{flags["format"]}": must be pretty or json')


def show(flags: Flags, value: Any, fields: tuple[str, ...], lines: Callable[[Any, bool], list[str]]) -> int:
    """Print an object in the format that is asked for; returns exit code 0. Raises Problem."""
    check_format(flags)
    meta = bool(flags.values.get("meta"))
    print(as_json(value, fields) if flags["format"] == "json" else "\n".join(lines(value, meta)))
    return 0


def required(flags: Flags, *names: str) -> None:
    """Raises Problem unless these flags are given."""
    for name in names:
        if not flags[name]:
            raise Problem(f"Missing required '-{name}' flag")


def no_arguments(flags: Flags) -> None:
    """Raises Problem when there is something behind the flags."""
    if flags.arguments:
        raise Problem(f"Too many arguments (expected 0, got {len(flags.arguments)})")


def text_of(value: str, what: str) -> str:
    """A text that may stand in a file (`@path`) or come from standard input (`-`). Raises Problem."""
    try:
        if value == "-":
            raw = sys.stdin.buffer.read(MAX_TEXT + 1)
        elif value.startswith("@"):
            with Path(value[1:]).open("rb") as file:
                raw = file.read(MAX_TEXT + 1)
        else:
            return value
        if len(raw) > MAX_TEXT:
            raise Problem(f"Error loading {what}: it has more than {MAX_TEXT >> 20} MiB")
        return raw.decode()
    except (OSError, ValueError) as error:
        raise Problem(f"Error loading {what}: {go_text(error)}") from None


# Which object is meant


def full_id(api: Api, plural: str, text: str) -> str:
    """The ID that a text is, or begins. Raises Problem unless it is one."""
    known = _BUILT_IN.get((plural, text))
    if known is not None or len(text) == 36:
        return known or text
    field = "AccessorID" if plural == "tokens" else "ID"
    found = [row[field] for row in api.get(f"/v1/acl/{plural}") or () if row[field].startswith(text)]
    if len(found) != 1:
        raise Problem(f"{'No such' if not found else 'More than one'} {_CALLED[plural]} with prefix: {text}")
    return str(found[0])


def meant(flags: Flags, api: Api, plural: str) -> str:
    """The ID of the policy or role that -id or -name means. Raises Problem."""
    kind = _KIND[plural]
    if flags["id"]:
        return full_id(api, plural, flags["id"])
    if flags["name"]:
        return str(by_name(api, kind, flags["name"])["ID"])
    raise Problem(f"Must specify either the -id or -name parameters of the {kind}")


def by_name(api: Api, kind: str, name: str) -> Row:
    """The policy or role with a name. Raises Problem, ApiError."""
    return got(api, f"/v1/acl/{kind}/name/{name}", kind, f'name "{name}"')


def got(api: Api, path: str, kind: str, which: str) -> Row:
    """An object. Raises Problem when there is none, ApiError."""
    from agent.cli.problem import ApiError

    try:
        row: Row | None = api.get(path)
    except ApiError as error:
        if error.status == 404:
            row = None
        else:
            raise
    if row is None:
        raise Problem(f"There is no {kind} with {which}")
    return row


# Links and identities


def links(flags: Flags, api: Api, plural: str) -> list[Row]:
    """The links that -policy-id and -policy-name (-role-id and -role-name) make. Raises Problem."""
    kind = _KIND[plural]
    by_id = [{"ID": full_id(api, plural, text)} for text in flags[f"{kind}-id"]]
    return [{"Name": name} for name in flags[f"{kind}-name"]] + by_id


def service_identities(flags: Flags) -> list[Row]:
    """The identities of -service-identity, SERVICE or SERVICE:DC1,DC2. Raises Problem."""
    found = []
    for text in flags["service-identity"]:
        name, colon, where = text.partition(":")
        chosen = where.split(",") if colon else []
        if not name or ":" in where or (colon and not all(chosen)):
            raise Problem(f'Malformed -service-identity "{text}": it must be SERVICE or SERVICE:DATACENTER,DATACENTER')
        found.append({"ServiceName": name, **({"Datacenters": chosen} if chosen else {})})
    return found


def node_identities(flags: Flags) -> list[Row]:
    """The identities of -node-identity, NODE:DC. Raises Problem."""
    found = []
    for text in flags["node-identity"]:
        name, _, where = text.partition(":")
        if not name or not where or ":" in where:
            raise Problem(f'Malformed -node-identity "{text}": it must be NODE:DATACENTER')
        found.append({"NodeName": name, "Datacenter": where})
    return found


def with_links(there: list[Row] | None, added: list[Row]) -> list[Row]:
    """Links, and those of the added ones that are new among them."""
    merged = [{key: one[key] for key in ("ID", "Name") if one.get(key)} for one in there or ()]
    for link in added:
        key = "ID" if "ID" in link else "Name"
        if all(one.get(key) != link[key] for one in merged):
            merged.append(link)
    return merged


def with_services(there: list[Row] | None, added: list[Row]) -> list[Row]:
    """Service identities; an added one takes the place of the one of the same service."""
    names = {one["ServiceName"]: one for one in there or ()}
    return list({**names, **{one["ServiceName"]: one for one in added}}.values())


def with_nodes(there: list[Row] | None, added: list[Row]) -> list[Row]:
    """Node identities, and those of the added ones that are new among them."""
    merged = list(there or ())
    return merged + [one for one in added if one not in merged]
