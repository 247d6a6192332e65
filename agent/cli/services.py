"""`services register` and `services deregister`."""

from pathlib import Path
from typing import Any

from agent.cli.client import Api, ApiError
from agent.cli.flags import Flags, fail


def _definitions(paths: list[str]) -> list[dict[str, Any]]:
    from agent.file_definitions import api_form
    from model.config_json import HclError, parse_json_text
    from model.hcl import parse_hcl

    found: list[dict[str, Any]] = []
    for name in paths:
        try:
            text = Path(name).read_text()
            body = parse_json_text(text) if name.endswith(".json") else parse_hcl(text)
        except (OSError, HclError, UnicodeDecodeError) as error:
            raise ApiError(f"Failed to read {name}: {error}") from None
        listed: list[Any] = []
        for key, value in body.items():
            if key.lower() in ("service", "services"):
                listed.extend(value if isinstance(value, list) else [value])
        found.extend(api_form(one) for one in listed if isinstance(one, dict))
    return found


def _from_flags(flags: Flags) -> dict[str, Any]:
    body: dict[str, Any] = {
        "Name": flags["name"],
        "ID": flags["id"],
        "Kind": flags["kind"],
        "Address": flags["address"],
        "Port": flags["port"],
        "SocketPath": flags["socket"],
        "Tags": flags["tag"],
    }
    if flags["meta"]:
        body["Meta"] = dict(text.split("=", 1) if "=" in text else [text, ""] for text in flags["meta"])
    tagged = {}
    for text in flags["tagged-address"]:
        name, _, where = text.partition("=")
        host, _, port = where.rpartition(":")
        tagged[name] = {"Address": host or where, "Port": int(port) if host and port.isdigit() else 0}
    if tagged:
        body["TaggedAddresses"] = tagged
    return {key: value for key, value in body.items() if value}


def register(flags: Flags) -> int:
    """Register the services of files, or one from flags."""
    if not flags.arguments and not flags["name"]:
        return fail("Service registration requires at least one argument or flags.")
    if flags.arguments and flags["name"]:
        return fail("Service registration requires arguments or -id, not both.")
    found = _definitions(flags.arguments) if flags.arguments else [_from_flags(flags)]
    api = Api(flags)
    for definition in found:
        api.put("/v1/agent/service/register", definition)
        print(f"Registered service: {definition.get('Name', '')}")
    return 0


def deregister(flags: Flags) -> int:
    """Remove the services of files, or the one with an ID."""
    if not flags.arguments and not flags["id"]:
        return fail("Service deregistration requires at least one argument or -id.")
    if flags.arguments and flags["id"]:
        return fail("Service deregistration requires arguments or -id, not both.")
    found = _definitions(flags.arguments) if flags.arguments else [{"ID": flags["id"]}]
    api = Api(flags)
    for definition in found:
        identifier = definition.get("ID") or definition.get("Name", "")
        api.put(f"/v1/agent/service/deregister/{identifier}")
        print(f"Deregistered service: {identifier}")
    return 0
