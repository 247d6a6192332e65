"""Tokens, policies, roles, auth methods and binding rules as the command line shows them: as JSON, and for people."""

import base64
import json
import re
from typing import Any

Row = dict[str, Any]

_TIME = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d(?:\.\d+)?)(Z|([+-]\d\d):(\d\d))")
_INDEXES = ("CreateIndex", "ModifyIndex")
_GRANTS = ("Policies?", "Roles?", "ServiceIdentities?", "NodeIdentities?")
POLICY = ("ID", "Name", "Description", "Rules", "Datacenters", "Hash", *_INDEXES)
POLICY_IN_LIST = tuple(name for name in POLICY if name != "Rules")
ROLE = ("ID", "Name", "Description", "Policies?", "ServiceIdentities?", "NodeIdentities?", "Hash", *_INDEXES)
TOKEN = (
    *_INDEXES,
    "AccessorID",
    "SecretID",
    "Description",
    *_GRANTS,
    "Local",
    "AuthMethod?",
    "ExpirationTTL?",
    "ExpirationTime?",
    "CreateTime",
    "Hash",
)
TOKEN_IN_LIST = (*(name for name in TOKEN if name != "ExpirationTTL?"), "Legacy")
EXPANDED = (
    "ExpandedPolicies",
    "ExpandedRoles",
    "NamespaceDefaultPolicies",
    "NamespaceDefaultRoles",
    "AgentACLDefaultPolicy",
    "AgentACLDownPolicy",
    "ResolvedByAgent",
    *TOKEN,
)
METHOD_IN_LIST = (
    "MaxTokenTTL?",
    "Name",
    "Type",
    "DisplayName?",
    "Description?",
    "TokenLocality?",
    *_INDEXES,
)
METHOD = (*METHOD_IN_LIST[:-2], "Config", *_INDEXES)
RULE = ("ID", "Description", "AuthMethod", "Selector", "BindType", "BindName", *_INDEXES)
"""The fields of each kind of object in JSON, in their order; one with a question mark is there when it is not empty."""
_EMPTY: Row = {"CreateIndex": 0, "ModifyIndex": 0, "Local": False, "Legacy": False}
_NULL = ("Datacenters", "Hash", "Config", *EXPANDED[:4])


def as_json(value: Any, fields: tuple[str, ...]) -> str:
    """An object, or a list of them, with the given fields, as Go's programs indent and escape it."""
    chosen = [_chosen(row, fields) for row in value] if isinstance(value, list) else _chosen(value, fields)
    text = json.dumps(chosen, indent=4, ensure_ascii=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _chosen(row: Row, fields: tuple[str, ...]) -> Row:
    found: Row = {}
    for field in fields:
        name = field.rstrip("?")
        value = row.get(name)
        if value in (None, "", [], {}) and field.endswith("?"):
            continue
        if value is None and name not in _NULL:
            value = _EMPTY.get(name, "")
        found[name] = value
    return found


# Parts


def shown_time(text: str) -> str:
    """A time of the API as Go shows one: 2026-01-02 03:04:05.6 +0000 UTC. What is none stays as it is."""
    found = _TIME.fullmatch(text or "")
    if found is None:
        return text
    zone = "+0000 UTC" if found[3] == "Z" else f"{found[4]}{found[5]} {found[4]}{found[5]}"
    return f"{found[1]} {found[2]} {zone}"


def _digest(text: str | None) -> str:
    try:
        return base64.b64decode(text or "").hex()
    except ValueError:
        return text or ""


def _aligned(pairs: list[tuple[str, Any]], width: int) -> list[str]:
    return [f"{name + ':':<{width}}{value}" for name, value in pairs]


def _indexes(row: Row, with_hash: bool = True) -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = [("Hash", _digest(row.get("Hash")))] if with_hash else []
    return [*pairs, ("Create Index", row.get("CreateIndex", 0)), ("Modify Index", row.get("ModifyIndex", 0))]


def datacenters(identity: Row) -> str:
    """Where a service identity holds."""
    return ", ".join(identity.get("Datacenters") or ["all"])


def _links(row: Row, key: str) -> list[str]:
    title = f"{key}:"
    return [title, *(f"   {one['ID']} - {one['Name']}" for one in row[key])] if row.get(key) else []


def _identities(row: Row) -> list[str]:
    lines = []
    if row.get("ServiceIdentities"):
        lines.append("Service Identities:")
        lines += [f"   {one['ServiceName']} (Datacenters: {datacenters(one)})" for one in row["ServiceIdentities"]]
    if row.get("NodeIdentities"):
        lines.append("Node Identities:")
        lines += [f"   {one['NodeName']} (Datacenter: {one['Datacenter']})" for one in row["NodeIdentities"]]
    return lines


# Objects for people


def token_head(row: Row, meta: bool = False) -> list[str]:
    """What a token is, without what it may do."""
    pairs: list[tuple[str, Any]] = [("AccessorID", row["AccessorID"]), ("SecretID", row.get("SecretID", ""))]
    pairs += [("Description", row["Description"]), ("Local", str(row["Local"]).lower())]
    if row.get("AuthMethod"):
        pairs.append(("Auth Method", row["AuthMethod"]))
    pairs.append(("Create Time", shown_time(row["CreateTime"])))
    if row.get("ExpirationTime"):
        pairs.append(("Expiration Time", shown_time(row["ExpirationTime"])))
    if "Legacy" in row:
        pairs.append(("Legacy", str(row["Legacy"]).lower()))
    return _aligned([*pairs, *(_indexes(row) if meta else [])], 18)


def token_lines(row: Row, meta: bool = False) -> list[str]:
    """A token."""
    return [*token_head(row, meta), *_links(row, "Policies"), *_links(row, "Roles"), *_identities(row), ""]


def tokens_lines(rows: list[Row], meta: bool = False) -> list[str]:
    """A list of tokens."""
    return [line for row in rows for line in token_lines({"Legacy": False, **row}, meta)]


def policy_lines(row: Row, meta: bool = False) -> list[str]:
    """A policy."""
    pairs = [("ID", row["ID"]), ("Name", row["Name"]), ("Description", row["Description"])]
    pairs.append(("Datacenters", ", ".join(row.get("Datacenters") or ())))
    return [*_aligned([*pairs, *(_indexes(row) if meta else [])], 14), "Rules:", row.get("Rules") or ""]


def policies_lines(rows: list[Row], meta: bool = False) -> list[str]:
    """A list of policies."""
    lines = []
    for row in rows:
        pairs = [("ID", row["ID"]), ("Description", row["Description"])]
        pairs.append(("Datacenters", ", ".join(row.get("Datacenters") or ())))
        lines += _listed(row["Name"], _aligned([*pairs, *(_indexes(row) if meta else [])], 14))
    return [*lines, ""]


def role_lines(row: Row, meta: bool = False) -> list[str]:
    """A role."""
    pairs = [("ID", row["ID"]), ("Name", row["Name"]), ("Description", row["Description"])]
    head = _aligned([*pairs, *(_indexes(row) if meta else [])], 14)
    return [*head, *_links(row, "Policies"), *_identities(row), ""]


def roles_lines(rows: list[Row], meta: bool = False) -> list[str]:
    """A list of roles."""
    lines = []
    for row in rows:
        pairs = [("ID", row["ID"]), ("Description", row["Description"])]
        head = _aligned([*pairs, *(_indexes(row) if meta else [])], 14)
        lines += _listed(row["Name"], [*head, *_links(row, "Policies"), *_identities(row)])
    return [*lines, ""]


def method_lines(row: Row, meta: bool = False) -> list[str]:
    """An auth method."""
    pairs = [("Name", row["Name"]), ("Type", row["Type"])]
    pairs += [("DisplayName", row["DisplayName"])] if row.get("DisplayName") else []
    pairs.append(("Description", row.get("Description", "")))
    pairs += [(name, row[name]) for name in ("MaxTokenTTL", "TokenLocality") if row.get(name)]
    config = json.dumps(row.get("Config") or {}, indent=2, ensure_ascii=False, sort_keys=True)
    return [*_aligned([*pairs, *(_indexes(row, False) if meta else [])], 15), "Config:", config]


def methods_lines(rows: list[Row], meta: bool = False) -> list[str]:
    """A list of auth methods."""
    lines = []
    for row in rows:
        pairs = [("Type", row["Type"])]
        pairs += [("DisplayName", row["DisplayName"])] if row.get("DisplayName") else []
        pairs.append(("Description", row.get("Description", "")))
        lines += _listed(row["Name"], _aligned([*pairs, *(_indexes(row, False) if meta else [])], 14))
    return [*lines, ""]


def _rule_pairs(row: Row, meta: bool) -> list[tuple[str, Any]]:
    names = ("AuthMethod", "Description", "BindType", "BindName", "Selector")
    return [*((name, row.get(name, "")) for name in names), *(_indexes(row, False) if meta else [])]


def rule_lines(row: Row, meta: bool = False) -> list[str]:
    """A binding rule."""
    return [*_aligned([("ID", row["ID"]), *_rule_pairs(row, meta)], 14), ""]


def rules_lines(rows: list[Row], meta: bool = False) -> list[str]:
    """A list of binding rules."""
    return [*(line for row in rows for line in _listed(row["ID"], _aligned(_rule_pairs(row, meta), 14))), ""]


def _listed(name: str, inner: list[str]) -> list[str]:
    return [f"{name}:", *(f"   {line}" for line in inner)]
