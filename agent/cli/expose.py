"""`connect expose`: an ingress gateway serves a service, and may call it."""

from typing import Any

from agent.cli.client import Api, ApiError, Problem
from agent.cli.flags import Flags, fail, too_many
from agent.cli.services import MAX_PORT

PROTOCOLS = ("tcp", "http", "http2", "grpc")
KIND = "ingress-gateway"


def expose(flags: Flags) -> int:
    """Change the gateway's entry, unless somebody else does at the same time, and allow it to call the service."""
    problem = too_many(flags) or _problem(flags)
    if problem:
        return fail(f"Error: {problem}")
    api = Api(flags)
    gateway, service = flags["ingress-gateway"], flags["service"]
    entry = _entry(api, gateway)
    index = entry.pop("ModifyIndex", 0)
    entry.pop("CreateIndex", None)
    if add(entry, flags["port"], flags["protocol"], service, flags["host"]):
        print(f'Updating service definition for "{service}" on listener with port {flags["port"]}')
    if not api.call("PUT", "/v1/config", {"cas": str(index)}, entry):
        return fail(f"Error writing config entry for ingress service {gateway!r}: it was changed meanwhile; try again")
    print(f'Successfully updated config entry for ingress service "{gateway}"')
    _allow(api, gateway, service)
    return 0


def _problem(flags: Flags) -> str:
    for name in ("ingress-gateway", "service"):
        if not flags[name]:
            return f"A {name} name must be given via the -{name} flag."
    if not 0 < flags["port"] <= MAX_PORT:
        return "A port must be provided via the -port flag."
    if flags["protocol"] not in PROTOCOLS:
        return f"Protocol {flags['protocol']!r} is not known; it must be one of {', '.join(PROTOCOLS)}"
    return ""


def _entry(api: Api, gateway: str) -> dict[str, Any]:
    """The gateway's configuration entry, or a new one. Raises ApiError."""
    try:
        found: dict[str, Any] = api.get(f"/v1/config/{KIND}/{gateway}")
    except ApiError as error:
        if error.status != 404:
            raise
        return {"Kind": KIND, "Name": gateway}
    return found


def add(entry: dict[str, Any], port: int, protocol: str, service: str, hosts: list[str]) -> bool:
    """Put the service on the port of a gateway's entry; says whether it was there already. Raises Problem."""
    listeners = entry["Listeners"] = list(entry.get("Listeners") or ())
    wanted: dict[str, Any] = {"Name": service, **({"Hosts": hosts} if hosts else {})}
    for listener in listeners:
        if listener["Port"] != port:
            continue
        if listener["Protocol"] != protocol:
            raise Problem(f"Error: port {port} is conflicting: it is served as {listener['Protocol']}, not {protocol}")
        services = listener["Services"] = list(listener.get("Services") or ())
        for position, one in enumerate(services):
            if one["Name"] == service:
                services[position] = {**one, **wanted}
                return True
        services.append(wanted)
        return False
    listeners.append({"Port": port, "Protocol": protocol, "Services": [wanted]})
    return False


def _allow(api: Api, gateway: str, service: str) -> None:
    """Make sure of an intention that lets the gateway call the service. Raises ApiError."""
    exact = {"source": gateway, "destination": service}
    try:
        api.call("GET", "/v1/connect/intentions/exact", exact)
    except ApiError as error:
        if error.status != 404:
            raise
        api.call("PUT", "/v1/connect/intentions/exact", exact, {"Action": "allow"})
        print(f'Successfully set up intention for "{gateway}" -> "{service}"')
    else:
        print(f'Intention already exists for "{gateway}" -> "{service}"')
