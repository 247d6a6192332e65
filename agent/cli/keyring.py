"""`keyring`: the keys that encrypt gossip."""

import json
from typing import Any

from agent.cli.client import Api, ApiError
from agent.cli.flags import Flags, fail

_CHANGES = {
    "install": ("POST", "Installing new gossip encryption key..."),
    "use": ("PUT", "Changing primary gossip encryption key..."),
    "remove": ("DELETE", "Removing gossip encryption key..."),
}
MAX_RELAY = 5


def keyring(flags: Flags) -> int:
    """List the keys, or change them; exactly one action at a time."""
    chosen = [name for name in ("list", "list-primary", *_CHANGES) if flags[name]]
    if len(chosen) != 1:
        return fail("Exactly one of -list, -list-primary, -install, -use, -remove must be given")
    if not 0 <= flags["relay-factor"] <= MAX_RELAY:
        return fail(f"Relay factor must be in range: [0, {MAX_RELAY}]")
    if flags["local-only"] and not chosen[0].startswith("list"):
        return fail("-local-only is only for -list and -list-primary")
    api = Api(flags)
    params = {"relay-factor": flags["relay-factor"] or None, "local-only": "true" if flags["local-only"] else None}
    if chosen[0] in _CHANGES:
        method, text = _CHANGES[chosen[0]]
        print(f"==> {text}", flush=True)
        try:
            api.call(method, "/v1/operator/keyring", params, json.dumps({"Key": flags[chosen[0]]}).encode())
        except ApiError as error:
            return fail(f"error: {error}")
        return 0
    primary = chosen[0] == "list-primary"
    print(f"==> Gathering installed {'primary ' if primary else ''}encryption keys...", flush=True)
    try:
        rows = api.call("GET", "/v1/operator/keyring", params)
    except ApiError as error:
        return fail(f"error: {error}")
    for row in rows:
        print("\n".join(["", *_described(row, "PrimaryKeys" if primary else "Keys")]))
    return 0


def _described(row: dict[str, Any], field: str) -> list[str]:
    pool = "WAN" if row["WAN"] else f"{row['Datacenter']} (LAN)"
    lines = [f"{pool}:", *(f"  {node}: {text}" for node, text in sorted((row.get("Messages") or {}).items()))]
    return [*lines, *(f"  {key} [{count}/{row['NumNodes']}]" for key, count in sorted(row[field].items()))]
