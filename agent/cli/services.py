"""`services register` and `services deregister`."""

from pathlib import Path
from typing import Any

from agent.cli.client import Api, Problem
from agent.cli.flags import Flags, fail
from model.goerrors import go_text

OWN = ("address", "id", "kind", "meta", "name", "port", "socket", "tag", "tagged-address")
"""The flags that describe a service, instead of files."""
MAX_PORT = 65535


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
            raise Problem(f"Failed to read {name}: {go_text(error)}") from None
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
    body["Meta"] = flags["meta"]
    body["TaggedAddresses"] = {name: _tagged(name, where) for name, where in flags["tagged-address"].items()}
    return {key: value for key, value in body.items() if value}


def _tagged(name: str, where: str) -> dict[str, Any]:
    """An address and its port, from ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT. Raises Problem."""
    host, colon, port = where.rpartition(":")
    if not colon or (":" in host and not host.startswith("[")):
        host, port = where, "0"
    if not host or not port.isdigit() or not port.isascii() or int(port) > MAX_PORT:
        raise Problem(f"Error: -tagged-address={name}={where}: it must be NAME=ADDRESS:PORT")
    return {"Address": host.removeprefix("[").removesuffix("]"), "Port": int(port)}


def register(flags: Flags) -> int:
    """Register the services of files, or one from flags."""
    if not flags.arguments and not flags["name"]:
        return fail("Service registration requires at least one argument or flags with a -name.")
    if flags.arguments and any(flags[name] for name in OWN):
        return fail("Service registration requires arguments or flags, not both.")
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
