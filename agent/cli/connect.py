"""`connect proxy` and `connect ca`."""

import json
import os
from pathlib import Path

from agent.cli.client import Api, Problem
from agent.cli.flags import Flags, fail
from model.goerrors import go_text


def proxy(flags: Flags) -> int:
    """Run the proxy of a registered service until SIGTERM."""
    from agent.logs import set_up

    for text in flags["upstream"]:
        if not text.rpartition(":")[2].isdigit():
            return fail(f'invalid value "{text}" for flag -upstream: format is <service>:<port>')
    print("==> Consul Connect proxy starting...", flush=True)
    try:
        set_up(flags["log-level"], flags["log-json"])
    except ValueError as error:
        return fail(str(error))
    api = Api(flags)
    proxy_id = flags["proxy-id"] or os.environ.get("CONNECT_PROXY_ID", "")
    sidecar_for = flags["sidecar-for"] or os.environ.get("CONNECT_SIDECAR_FOR", "")
    if sidecar_for and not flags["proxy-id"]:
        proxy_id = sidecar_of(api, sidecar_for)
    if not proxy_id:
        return fail("One of -sidecar-for or -proxy-id must be given: lictor's proxy serves registered proxies")

    import uvloop

    from connect_proxy.runner import run_proxy
    from connect_proxy.source import AgentSource

    print(f"    Configuration mode: Agent API, proxy ID: {proxy_id}")
    print("\n==> Log data will now stream in as it occurs:\n", flush=True)
    tls = api.tls() if api.base.startswith("https:") else None
    source = AgentSource(
        api.address, proxy_id, api.token, tls.context if tls else None, tls.server_name if tls else ""
    )
    return uvloop.run(run_proxy(source, float(flags["drain"])))


def sidecar_of(api: Api, service_id: str) -> str:
    """The ID of the one proxy that is registered for a service. Raises Problem, ApiError."""
    found = [
        one["ID"]
        for one in api.get("/v1/agent/services").values()
        if one.get("Kind") == "connect-proxy"
        and one.get("Proxy", {}).get("DestinationServiceID", "").lower() == service_id.lower()
    ]
    if not found:
        raise Problem(f"No sidecar proxy registered for {service_id}")
    if len(found) > 1:
        listed = "\n  ".join(sorted(found))
        raise Problem(f"More than one sidecar proxy registered for {service_id}.\nUse -proxy-id:\n  {listed}")
    return str(found[0])


def get_ca_config(flags: Flags) -> int:
    """Show the CA's configuration."""
    found = Api(flags).get("/v1/connect/ca/configuration")
    ordered = {key: found[key] for key in ("Provider", "Config", "State") if key in found} | found
    ordered["Config"] = dict(sorted((found.get("Config") or {}).items()))
    print(json.dumps(ordered, indent="\t", ensure_ascii=False))
    return 0


def set_ca_config(flags: Flags) -> int:
    """Change the CA's configuration."""
    from model.gojson import parse_json

    if not flags["config-file"]:
        return fail("The -config-file flag is required")
    try:
        body = parse_json(Path(flags["config-file"]).read_bytes())
    except (OSError, ValueError) as error:
        return fail(f"Error reading config file: {go_text(error)}")
    if not isinstance(body, dict):
        return fail("Error reading config file: it must be an object with Provider and Config")
    if flags["force-without-cross-signing"]:
        body["ForceWithoutCrossSigning"] = True
    Api(flags).put("/v1/connect/ca/configuration", body)
    print("Configuration updated!")
    return 0
