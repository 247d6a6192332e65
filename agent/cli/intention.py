"""`intention`."""

import json
from pathlib import Path
from typing import Any

from agent.cli.client import Api, ApiError
from agent.cli.flags import Flags, columns, fail


def _two(flags: Flags) -> tuple[str, str]:
    if len(flags.arguments) != 2:
        raise ApiError("Must specify two arguments: source and destination")
    return flags.arguments[0], flags.arguments[1]


def _write(api: Api, source: str, destination: str, body: dict[str, Any], replace: bool) -> None:
    exact = {"source": source, "destination": destination}
    if not replace:
        status, _, _ = api.request("GET", "/v1/connect/intentions/exact", exact)
        if status == 200:
            raise ApiError(f"Error creating intention {source} => {destination}: it exists already; use -replace")
    api.call("PUT", "/v1/connect/intentions/exact", exact, body)
    print(f"Created: {source} => {destination} ({body['Action']})")


def create(flags: Flags) -> int:
    """Create one intention, or those of files."""
    if flags["allow"] and flags["deny"]:
        return fail("Only one of -allow or -deny may be specified.")
    api = Api(flags)
    if flags["file"]:
        for name in flags.arguments:
            try:
                body = json.loads(Path(name).read_text())
            except (OSError, ValueError) as error:
                return fail(f"Error! {error}")
            entry = {"Action": body.get("Action", "allow")}
            _write(api, body["SourceName"], body["DestinationName"], entry, flags["replace"])
        return 0
    source, destination = _two(flags)
    body = {"Action": "deny" if flags["deny"] else "allow"}
    if flags["meta"]:
        meta = dict(text.split("=", 1) for text in flags["meta"] if "=" in text)
        legacy = {**body, "SourceName": source, "DestinationName": destination, "Meta": meta, "SourceType": "consul"}
        api.call("POST", "/v1/connect/intentions", None, legacy)
        print(f"Created: {source} => {destination} ({body['Action']})")
        return 0
    _write(api, source, destination, body, flags["replace"])
    return 0


def check(flags: Flags) -> int:
    """Exit code 0 when allowed, 1 when denied, 2 when asked wrongly."""
    if len(flags.arguments) != 2:
        fail("Error: command requires exactly two arguments: src and dst")
        return 2
    try:
        answer = Api(flags).get(
            "/v1/connect/intentions/check", source=flags.arguments[0], destination=flags.arguments[1]
        )
    except ApiError as error:
        fail(f"Error checking the connection: {error}")
        return 2
    print("Allowed" if answer["Allowed"] else "Denied")
    return 0 if answer["Allowed"] else 1


def list_all(flags: Flags) -> int:
    """List all intentions."""
    found = Api(flags).get("/v1/connect/intentions")
    if not found:
        fail("There are no intentions.")
        return 2
    rows = [["ID", "Source", "Action", "Destination", "Precedence"]]
    for one in found:
        action = one.get("Action") or f"{len(one.get('Permissions') or [])} perms"
        rows.append([one.get("ID", ""), one["SourceName"], action, one["DestinationName"], str(one["Precedence"])])
    print("\n".join(columns(rows)))
    return 0


def _find(api: Api, arguments: list[str]) -> dict[str, Any]:
    if len(arguments) == 1:
        found = api.get(f"/v1/connect/intentions/{arguments[0]}")
    else:
        found = api.get("/v1/connect/intentions/exact", source=arguments[0], destination=arguments[1])
    assert isinstance(found, dict)
    return found


def get(flags: Flags) -> int:
    """Show one intention."""
    if len(flags.arguments) not in (1, 2):
        return fail("Error: command requires exactly 1 or 2 arguments")
    one = _find(Api(flags), flags.arguments)
    rows = [("Source:", one["SourceName"]), ("Destination:", one["DestinationName"])]
    if one.get("Action"):
        rows.append(("Action:", one["Action"]))
    if one.get("ID"):
        rows.append(("ID:", one["ID"]))
    if one.get("Description"):
        rows.append(("Description:", one["Description"]))
    rows += [(f"Meta[{key}]:", value) for key, value in sorted((one.get("Meta") or {}).items())]
    if one.get("CreatedAt"):
        rows.append(("Created At:", one["CreatedAt"]))
    print("\n".join(columns([list(row) for row in rows])))
    return 0


def match(flags: Flags) -> int:
    """List the intentions that concern a service."""
    if len(flags.arguments) != 1:
        return fail("Error: command requires exactly one argument: src or dst")
    if flags["source"] and flags["destination"]:
        return fail("Error: only one of -source or -destination may be specified")
    by = "source" if flags["source"] else "destination"
    name = flags.arguments[0]
    found = Api(flags).get("/v1/connect/intentions/match", by=by, name=name)
    for one in found.get(name) or []:
        action = one.get("Action") or "permissions"
        print(f"{one['SourceName']} => {one['DestinationName']} ({action})")
    return 0


def delete(flags: Flags) -> int:
    """Remove an intention."""
    if len(flags.arguments) not in (1, 2):
        return fail("Error: command requires exactly 1 or 2 arguments")
    api = Api(flags)
    if len(flags.arguments) == 1:
        api.call("DELETE", f"/v1/connect/intentions/{flags.arguments[0]}")
    else:
        source, destination = flags.arguments
        api.call("DELETE", "/v1/connect/intentions/exact", {"source": source, "destination": destination})
    print("Intention deleted.")
    return 0
