"""`event`, `keygen`, `maint`, `openapi`, `validate`, `version`."""

import os
import sys
from pathlib import Path

from agent.cli.client import Api
from agent.cli.flags import Flags, fail, too_many
from model.goerrors import go_text

PROTOCOLS = (2, 3)
"""The oldest and the newest protocol between agents that is understood; the oldest is spoken."""


def event(flags: Flags) -> int:
    """Send a user event."""
    if not flags["name"]:
        return fail("Event name must be specified")
    if len(flags.arguments) > 1:
        return fail("Too many command line arguments.")
    from agent.cli.remote import wrong_filters

    problem = wrong_filters(flags)
    if problem:
        return fail(problem)
    payload = flags.arguments[0].encode("utf-8", "surrogateescape") if flags.arguments else b""
    params = {"node": flags["node"], "service": flags["service"], "tag": flags["tag"]}
    answer = Api(flags).call("PUT", f"/v1/event/fire/{flags['name']}", params, payload)
    print(f"Event ID: {answer['ID']}")
    return 0


def keygen(flags: Flags) -> int:
    """Make a gossip key."""
    import base64

    print(base64.b64encode(os.urandom(32)).decode())
    return 0


def openapi(flags: Flags) -> int:
    """Write the description of the HTTP API."""
    from agent.http import openapi as described
    from agent.http.server import MODULES  # With them all handlers are in the route table.

    assert described in MODULES
    problem = too_many(flags)
    if problem:
        return fail(problem)
    rendered = described.rendered()
    if not flags["out"]:
        print(rendered.decode(), end="")
        return 0
    try:
        Path(flags["out"]).write_bytes(rendered)
    except OSError as error:
        return fail(f"Error writing {flags['out']}: {go_text(error)}")
    return 0


def maint(flags: Flags) -> int:
    """Begin, end or show maintenance."""
    enable, disable = flags["enable"], flags["disable"]
    if enable and disable:
        return fail("Only one of -enable or -disable may be provided")
    if not (enable or disable) and (flags["reason"] or flags["service"]):
        return fail("-reason and -service need -enable or -disable")
    if flags["reason"] and disable:
        return fail("Reason may only be provided with -enable")
    api = Api(flags)
    if not enable and not disable:
        return _show_maintenance(api)
    params = {"enable": "true" if enable else "false", "reason": flags["reason"]}
    word = "enabled" if enable else "disabled"
    if flags["service"]:
        api.call("PUT", f"/v1/agent/service/maintenance/{flags['service']}", params)
        print(f'Service maintenance is now {word} for "{flags["service"]}"')
    else:
        api.call("PUT", "/v1/agent/maintenance", params)
        print(f"Node maintenance is now {word}")
    return 0


def _show_maintenance(api: Api) -> int:
    checks = api.get("/v1/agent/checks")
    node = api.get("/v1/agent/self")["Config"]["NodeName"]
    for check in checks.values():
        if check["CheckID"] == "_node_maintenance":
            print(f"Node:\n  Name:   {node}\n  Reason: {check['Notes']}\n")
    for check in checks.values():
        if check["CheckID"].startswith("_service_maintenance:"):
            print(f"Service:\n  ID:     {check['ServiceID']}\n  Reason: {check['Notes']}\n")
    return 0


def validate(flags: Flags) -> int:
    """Check configuration files."""
    from agent.config.load import validate as judge
    from agent.config.settings import ConfigError

    if not flags.arguments:
        return fail("Must specify at least one config file or directory")
    try:
        sources = [("config-dir" if os.path.isdir(name) else "config-file", name) for name in flags.arguments]
        warnings = judge(sources, flags["config-format"])
    except ConfigError as error:
        return fail(f"Config validation failed: {error}")
    if not flags["quiet"]:
        for warning in warnings:
            print(warning, file=sys.stderr)
        print("Configuration is valid!")
    return 0


def version(flags: Flags) -> int:
    """Show the version."""
    from agent.version import CONSUL_VERSION, VERSION

    low, high = PROTOCOLS
    if flags["format"] == "json":
        import json

        rpc = {"Default": low, "Min": low, "Max": high}
        shown = {"Version": CONSUL_VERSION, "Revision": "", "Prerelease": "", "RPC": rpc, "Lictor": VERSION}
        print(json.dumps(shown, indent="   "))
        return 0
    if flags["format"] != "pretty":
        return fail(f"Unknown format: {flags['format']}\n\nAvailable formats are: json, pretty")
    print(f"Consul v{CONSUL_VERSION}")
    print(f"lictor v{VERSION}")
    print(f"Protocol {low} spoken by default, understands {low} to {high}")
    return 0
