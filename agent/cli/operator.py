"""`operator raft …`, `operator autopilot …`."""

import json
from typing import Any

from agent.cli.client import Api, Problem
from agent.cli.flags import Flags, columns, fail, too_many
from model.durations import format_duration

_SETTINGS = {
    "cleanup-dead-servers": "CleanupDeadServers",
    "last-contact-threshold": "LastContactThreshold",
    "max-trailing-logs": "MaxTrailingLogs",
    "min-quorum": "MinQuorum",
    "server-stabilization-time": "ServerStabilizationTime",
    "redundancy-zone-tag": "RedundancyZoneTag",
    "disable-upgrade-migration": "DisableUpgradeMigration",
    "upgrade-version-tag": "UpgradeVersionTag",
}
"""Flags and the fields that they set, in the order in which they are shown."""


def _no_arguments(flags: Flags) -> None:
    problem = too_many(flags)
    if problem:
        raise Problem(problem)


def raft_peers(flags: Flags) -> int:
    """List the servers of Raft."""
    rows = [["Node", "ID", "Address", "State", "Voter", "RaftProtocol"]]
    for one in Api(flags).get("/v1/operator/raft/configuration")["Servers"]:
        state = "leader" if one["Leader"] else "follower"
        voter = str(one["Voter"]).lower()
        rows.append([one["Node"], one["ID"], one["Address"], state, voter, one["ProtocolVersion"]])
    print("\n".join(columns(rows)))
    return 0


def raft_remove(flags: Flags) -> int:
    """Take a server out of Raft."""
    if flags["address"] and flags["id"]:
        return fail("Error removing peer: cannot remove both an address and an ID")
    if not flags["address"] and not flags["id"]:
        return fail("Error removing peer: an address or an ID is required for the peer to remove")
    Api(flags).call("DELETE", "/v1/operator/raft/peer", {"address": flags["address"], "id": flags["id"]})
    shown = f'address "{flags["address"]}"' if flags["address"] else f'id "{flags["id"]}"'
    print(f"Removed peer with {shown}")
    return 0


def raft_transfer(flags: Flags) -> int:
    """Hand leadership to another server."""
    _no_arguments(flags)
    answer = Api(flags).put("/v1/operator/raft/transfer-leader", id=flags["id"])
    if not answer or not answer.get("Success"):
        return fail("Error transferring leadership: the servers did not confirm it")
    print("Success")
    return 0


def get_autopilot(flags: Flags) -> int:
    """Show autopilot's settings."""
    held = Api(flags).get("/v1/operator/autopilot/configuration")
    for name in _SETTINGS.values():
        value = held[name]
        shown = str(value).lower() if isinstance(value, bool) else value
        print(f'{name} = "{value}"' if name.endswith("Tag") else f"{name} = {shown}")
    return 0


def set_autopilot(flags: Flags) -> int:
    """Change the settings that are given, unless somebody else changes them at the same time."""
    api = Api(flags)
    held = api.get("/v1/operator/autopilot/configuration")
    for flag, name in _SETTINGS.items():
        value = flags[flag]
        if value is not None:
            held[name] = format_duration(value) if flag.endswith(("threshold", "time")) else value
    if not api.put("/v1/operator/autopilot/configuration", held, cas=str(held["ModifyIndex"])):
        return fail("Configuration could not be atomically updated, please try again")
    print("Configuration updated!")
    return 0


def autopilot_state(flags: Flags) -> int:
    """Show how the servers are."""
    if flags["format"] not in ("pretty", "json"):
        return fail(f"Invalid format {flags['format']!r}: must be pretty or json")
    state = Api(flags).get("/v1/operator/autopilot/state")
    print(json.dumps(state, indent=4) if flags["format"] == "json" else "\n".join(_described(state)) + "\n")
    return 0


def _described(state: dict[str, Any]) -> list[str]:
    lines = [
        f"Healthy:                      {_word(state['Healthy'])}",
        f"Failure Tolerance:            {state['FailureTolerance']}",
        f"Optimistic Failure Tolerance: {state['OptimisticFailureTolerance']}",
        f"Leader:                       {state['Leader']}",
        "Voters:",
        *(f"   {voter}" for voter in state["Voters"]),
        "Servers:",
    ]
    for server_id in sorted(state["Servers"]):
        lines += [f"   {server_id}", *_described_server(state["Servers"][server_id])]
    return lines


def _described_server(server: dict[str, Any]) -> list[str]:
    rows = [
        ("Name", server["Name"]),
        ("Address", server["Address"]),
        ("Version", server["Version"]),
        ("Status", server["Status"]),
        ("Node Type", server["NodeType"]),
        ("Node Status", server["NodeStatus"]),
        ("Healthy", _word(server["Healthy"])),
        ("Last Contact", server["LastContact"]),
        ("Last Term", server["LastTerm"]),
        ("Last Index", server["LastIndex"]),
    ]
    lines = [f"      {name + ':':<16} {value}" for name, value in rows]
    if server["Meta"]:
        lines += ["      Meta", *(f'         "{key}": "{value}"' for key, value in sorted(server["Meta"].items()))]
    return lines


def _word(value: bool) -> str:
    return "true" if value else "false"
