"""`acl bootstrap`, `acl set-agent-token`, and reading and removing tokens, policies and roles."""

import base64
import json
from collections.abc import Callable
from typing import Any

from agent.cli.client import Api, Problem
from agent.cli.flags import Flags, fail, too_many

Row = dict[str, Any]


def _checked_format(flags: Flags) -> str:
    if flags["format"] not in ("pretty", "json"):
        raise Problem(f'Invalid format "{flags["format"]}": must be pretty or json')
    return str(flags["format"])


def _print(flags: Flags, value: Any, lines: Callable[[Any], list[str]]) -> int:
    if flags["format"] == "json":
        print(json.dumps(value, indent=4, ensure_ascii=False))
    else:
        print("\n".join(lines(value)))
    return 0


# What objects look like


def _indexes(row: Row) -> list[tuple[str, Any]]:
    digest = base64.b64decode(row.get("Hash") or "").hex()
    return [("Hash", digest), ("Create Index", row.get("CreateIndex")), ("Modify Index", row.get("ModifyIndex"))]


def _grants(row: Row) -> list[str]:
    """What a token or role is made of."""
    lines = []
    for title, key in (("Policies", "Policies"), ("Roles", "Roles")):
        if row.get(key):
            lines += [f"{title}:", *(f"   {one['ID']} - {one['Name']}" for one in row[key])]
    if row.get("ServiceIdentities"):
        lines.append("Service Identities:")
        for one in row["ServiceIdentities"]:
            lines.append(f"   {one['ServiceName']} (Datacenters: {', '.join(one.get('Datacenters') or ['all'])})")
    if row.get("NodeIdentities"):
        lines.append("Node Identities:")
        lines += [f"   {one['NodeName']} (Datacenter: {one['Datacenter']})" for one in row["NodeIdentities"]]
    return lines


def _aligned(pairs: list[tuple[str, Any]], width: int) -> list[str]:
    return [f"{name + ':':<{width}}{value}" for name, value in pairs]


def token_lines(row: Row, meta: bool = False) -> list[str]:
    """A token for people."""
    pairs: list[tuple[str, Any]] = [("AccessorID", row["AccessorID"]), ("SecretID", row.get("SecretID", ""))]
    pairs += [("Description", row["Description"]), ("Local", str(row["Local"]).lower())]
    if row.get("AuthMethod"):
        pairs.append(("Auth Method", row["AuthMethod"]))
    pairs.append(("Create Time", row["CreateTime"]))
    if row.get("ExpirationTime"):
        pairs.append(("Expiration Time", row["ExpirationTime"]))
    return _aligned([*pairs, *(_indexes(row) if meta else [])], 18) + _grants(row)


def policy_lines(row: Row, meta: bool = False) -> list[str]:
    """A policy for people."""
    pairs = [("ID", row["ID"]), ("Name", row["Name"]), ("Description", row["Description"])]
    pairs.append(("Datacenters", ", ".join(row.get("Datacenters") or ())))
    return [*_aligned([*pairs, *(_indexes(row) if meta else [])], 14), "Rules:", row.get("Rules", "")]


def role_lines(row: Row, meta: bool = False) -> list[str]:
    """A role for people."""
    pairs = [("ID", row["ID"]), ("Name", row["Name"]), ("Description", row["Description"])]
    return _aligned([*pairs, *(_indexes(row) if meta else [])], 14) + _grants(row)


def _listed(row: Row, meta: bool, datacenters: bool) -> list[str]:
    pairs = [("ID", row["ID"]), ("Description", row["Description"])]
    if datacenters:
        pairs.append(("Datacenters", ", ".join(row.get("Datacenters") or ())))
    inner = _aligned([*pairs, *(_indexes(row) if meta else [])], 14) + ([] if datacenters else _grants(row))
    return [f"{row['Name']}:", *(f"   {line}" for line in inner)]


# Which object is meant


def _full_id(api: Api, plural: str, kind: str, text: str, field: str) -> str:
    """The ID that begins with a text. Raises Problem unless exactly one does."""
    if len(text) == 36:
        return text
    found = [row[field] for row in api.get(f"/v1/acl/{plural}") or () if row[field].startswith(text)]
    if len(found) != 1:
        raise Problem(f"{'No such' if not found else 'More than one'} {kind} ID with prefix: {text}")
    return str(found[0])


def _meant(flags: Flags, api: Api, plural: str, kind: str) -> str:
    """The ID of the policy or role that -id or -name means. Raises Problem."""
    if flags["id"]:
        return _full_id(api, plural, kind, flags["id"], "ID")
    if flags["name"]:
        return str(api.get(f"/v1/acl/{kind}/name/{flags['name']}")["ID"])
    raise Problem(f"Must specify either the -id or -name parameter of the {kind}")


def _meant_token(flags: Flags, api: Api) -> str:
    text = flags["id"] or flags["accessor-id"]
    if not text:
        raise Problem("Must specify the -accessor-id parameter")
    return _full_id(api, "tokens", "token", text, "AccessorID")


# Commands


def bootstrap(flags: Flags) -> int:
    """Make the first token."""
    _checked_format(flags)  # Before, so that the token is not lost.
    problem = too_many(flags)
    if problem:
        return fail(problem)
    return _print(flags, Api(flags).put("/v1/acl/bootstrap"), token_lines)


def set_agent_token(flags: Flags) -> int:
    """Give the agent a token for one of its tasks."""
    if len(flags.arguments) != 2:
        return fail(f"Error: set-agent-token takes a type and a token (got {len(flags.arguments)} arguments)")
    kind, secret = flags.arguments
    if kind not in ("default", "agent", "recovery", "replication"):
        return fail(f"Error: unknown token type {kind!r}; known are default, agent, recovery, replication")
    Api(flags).put(f"/v1/agent/token/{kind}", {"Token": secret})
    print(f'ACL token "{kind}" set successfully')
    return 0


def list_token(flags: Flags) -> int:
    """List the tokens."""
    _checked_format(flags)
    rows = Api(flags).get("/v1/acl/tokens") or []
    return _print(flags, rows, lambda found: [line for row in found for line in [*token_lines(row, flags["meta"]), ""]])


def read_token(flags: Flags) -> int:
    """Show a token."""
    _checked_format(flags)
    api = Api(flags)
    path = "self" if flags["self"] else _meant_token(flags, api)
    return _print(flags, api.get(f"/v1/acl/token/{path}"), lambda row: token_lines(row, flags["meta"]))


def delete_token(flags: Flags) -> int:
    """Remove a token."""
    api = Api(flags)
    meant = _meant_token(flags, api)
    api.call("DELETE", f"/v1/acl/token/{meant}")
    print(f'Token "{meant}" deleted successfully')
    return 0


def list_policy(flags: Flags) -> int:
    """List the policies."""
    _checked_format(flags)
    rows = Api(flags).get("/v1/acl/policies") or []
    return _print(flags, rows, lambda found: [line for row in found for line in _listed(row, flags["meta"], True)])


def read_policy(flags: Flags) -> int:
    """Show a policy."""
    _checked_format(flags)
    api = Api(flags)
    row = api.get(f"/v1/acl/policy/{_meant(flags, api, 'policies', 'policy')}")
    return _print(flags, row, lambda found: policy_lines(found, flags["meta"]))


def delete_policy(flags: Flags) -> int:
    """Remove a policy."""
    api = Api(flags)
    meant = _meant(flags, api, "policies", "policy")
    api.call("DELETE", f"/v1/acl/policy/{meant}")
    print(f'Policy "{meant}" deleted successfully')
    return 0


def list_role(flags: Flags) -> int:
    """List the roles."""
    _checked_format(flags)
    rows = Api(flags).get("/v1/acl/roles") or []
    return _print(flags, rows, lambda found: [line for row in found for line in _listed(row, flags["meta"], False)])


def read_role(flags: Flags) -> int:
    """Show a role."""
    _checked_format(flags)
    api = Api(flags)
    row = api.get(f"/v1/acl/role/{_meant(flags, api, 'roles', 'role')}")
    return _print(flags, row, lambda found: role_lines(found, flags["meta"]))


def delete_role(flags: Flags) -> int:
    """Remove a role."""
    api = Api(flags)
    meant = _meant(flags, api, "roles", "role")
    api.call("DELETE", f"/v1/acl/role/{meant}")
    print(f'Role "{meant}" deleted successfully')
    return 0
