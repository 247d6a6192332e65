"""`intention`."""

from pathlib import Path
from typing import Any

from agent.cli.client import Api, ApiError, Problem
from agent.cli.flags import Flags, columns, fail
from model.goerrors import go_text


def _two(flags: Flags) -> tuple[str, str]:
    if len(flags.arguments) != 2:
        raise Problem("Error: command requires exactly two arguments: src and dst")
    return _service(flags.arguments[0]), _service(flags.arguments[1])


def _service(text: str) -> str:
    """A source or destination without the namespace and partition that everything is in here. Raises Problem."""
    *outer, name = text.split("/")
    if not name or len(outer) > 2 or any(part != "default" for part in outer):
        raise Problem(f"Error: {text!r} is no service: namespaces and partitions are a feature of Consul Enterprise")
    return name


def create(flags: Flags) -> int:
    """Create one intention, or those of files."""
    if flags["allow"] and flags["deny"]:
        return fail("Only one of -allow or -deny may be specified.")
    if flags["file"]:
        bodies = [_from_file(name) for name in flags.arguments]
    else:
        source, destination = _two(flags)
        bodies = [
            {"SourceName": source, "DestinationName": destination, "Action": "deny" if flags["deny"] else "allow"}
        ]
        if flags["meta"]:
            bodies[0]["Meta"] = flags["meta"]
    api = Api(flags)
    for body in bodies:
        _write(api, {"SourceType": "consul", **body}, flags["replace"])
    return 0


def _from_file(name: str) -> dict[str, Any]:
    from model.gojson import parse_json

    try:
        body = parse_json(Path(name).read_bytes())
    except (OSError, ValueError) as error:
        raise Problem(f"Error parsing {name}: {go_text(error)}") from None
    if not isinstance(body, dict) or not all(
        isinstance(body.get(key), str) and body[key] for key in ("SourceName", "DestinationName")
    ):
        raise Problem(f"Error parsing {name}: it must be an object with SourceName and DestinationName")
    return {"Action": "allow", **body}


def _write(api: Api, body: dict[str, Any], replace: bool) -> None:
    """Make an intention, or with `replace` put it in the place of the one between the same services."""
    source, destination = body["SourceName"], body["DestinationName"]
    if replace:
        there = _exact(api, source, destination)
        if there is not None:
            if there.get("ID"):
                api.call("PUT", f"/v1/connect/intentions/{there['ID']}", None, body)
            else:
                entry = {key: body[key] for key in ("Action", "Description", "Permissions") if body.get(key)}
                api.call("PUT", "/v1/connect/intentions/exact", {"source": source, "destination": destination}, entry)
            return
    api.call("POST", "/v1/connect/intentions", None, body)
    print(f"Created: {source} => {destination} ({body['Action']})")


def _exact(api: Api, source: str, destination: str) -> dict[str, Any] | None:
    """The intention between two services; None when there is none. Raises ApiError."""
    try:
        found: dict[str, Any] = api.get("/v1/connect/intentions/exact", source=source, destination=destination)
    except ApiError as error:
        if error.status == 404:
            return None
        raise
    return found


def check(flags: Flags) -> int:
    """Exit code 0 when allowed, 1 when denied, 2 when asked wrongly."""
    try:
        source, destination = _two(flags)
        answer = Api(flags).get("/v1/connect/intentions/check", source=source, destination=destination)
    except Problem as problem:
        fail(str(problem))
        return 2
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
    """The intention with an ID, or between two services. Raises Problem, ApiError."""
    if len(arguments) == 1:
        found = api.get(f"/v1/connect/intentions/{arguments[0]}")
    else:
        found = _exact(api, _service(arguments[0]), _service(arguments[1]))
    if not isinstance(found, dict):
        raise Problem("Error: there is no such intention")
    return found


def _day(text: str) -> str:
    """A time of the API for people: Monday, 23-Nov-26 20:03:36 UTC."""
    from datetime import UTC, datetime

    try:
        moment = datetime.fromisoformat(text[:19]).replace(tzinfo=UTC)
    except ValueError:
        return text
    return moment.strftime("%A, %d-%b-%y %H:%M:%S UTC")


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
        rows.append(("Created At:", _day(one["CreatedAt"])))
    print("\n".join(columns([list(row) for row in rows])))
    return 0


def match(flags: Flags) -> int:
    """List the intentions that concern a service."""
    if len(flags.arguments) != 1:
        return fail("Error: command requires exactly one argument: src or dst")
    if flags["source"] and flags["destination"]:
        return fail("Error: only one of -source or -destination may be specified")
    by = "source" if flags["source"] else "destination"
    name = _service(flags.arguments[0])
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
        source, destination = _two(flags)
        api.call("DELETE", "/v1/connect/intentions/exact", {"source": source, "destination": destination})
    print("Intention deleted.")
    return 0
