"""`peering …`: connections to other clusters."""

import json
from typing import Any

from agent.cli.client import Api, Problem
from agent.cli.flags import Flags, columns, fail


def _name(flags: Flags) -> str:
    if not flags["name"]:
        raise Problem("Missing the required -name flag")
    return str(flags["name"])


def _checked_format(flags: Flags) -> None:
    if flags["format"] not in ("pretty", "json"):
        raise Problem(f'Invalid format "{flags["format"]}", valid formats are pretty and json')


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def list_all(flags: Flags) -> int:
    """List the peers."""
    _checked_format(flags)
    peers = Api(flags).get("/v1/peerings") or []
    if flags["format"] == "json":
        print(_compact(peers))
    elif not peers:
        print("There are no peering connections.")
    else:
        rows = [["Name", "State", "Imported Svcs", "Exported Svcs", "Meta"]]
        for peer in sorted(peers, key=lambda one: str(one["Name"])):
            meta = ",".join(f"{key}={value}" for key, value in sorted((peer.get("Meta") or {}).items()))
            rows.append([peer["Name"], peer["State"], *_counts(peer), meta])
        print("\n".join(columns(rows)))
    return 0


def _counts(peer: dict[str, Any]) -> list[str]:
    status = peer.get("StreamStatus") or {}
    return [str(len(status.get(key) or ())) for key in ("ImportedServices", "ExportedServices")]


def read(flags: Flags) -> int:
    """Show a peer."""
    name = _name(flags)
    _checked_format(flags)
    peer = Api(flags).get(f"/v1/peering/{name}")
    print(_compact(peer) if flags["format"] == "json" else "\n".join(_described(peer)))
    return 0


def _described(peer: dict[str, Any]) -> list[str]:
    status = peer.get("StreamStatus") or {}
    imported, exported = _counts(peer)
    lines = [f"{'Name:':<14}{peer['Name']}", f"{'ID:':<14}{peer['ID']}", f"{'State:':<14}{peer['State']}"]
    if peer.get("Meta"):
        lines += ["Meta:", *(f"    {key}={value}" for key, value in sorted(peer["Meta"].items()))]
    lines += [
        "",
        f"{'Peer ID:':<23}{peer.get('PeerID', '')}",
        f"{'Peer Server Name:':<23}{peer.get('PeerServerName', '')}",
        f"{'Peer CA Pems:':<23}{len(peer.get('PeerCAPems') or ())}",
        *(f"    {address}" for address in peer.get("PeerServerAddresses") or ()),
        "",
        f"Imported Services: {imported}",
        f"Exported Services: {exported}",
        "",
        *(f"{f'Last {what}:':<19}{status.get(f'Last{what}')}" for what in ("Heartbeat", "Send", "Receive")),
        "",
        f"Create Index: {peer['CreateIndex']}",
        f"Modify Index: {peer['ModifyIndex']}",
    ]
    return lines


def delete(flags: Flags) -> int:
    """End the connection to a peer."""
    name = _name(flags)
    Api(flags).call("DELETE", f"/v1/peering/{name}")
    print(f"Successfully submitted peering connection, {name}, for deletion")
    return 0


def generate_token(flags: Flags) -> int:
    """Make a token with which another cluster can connect."""
    name = _name(flags)
    _checked_format(flags)
    addresses = [one for text in flags["server-external-addresses"] for one in text.split(",") if one]
    body = {"PeerName": name, "Meta": flags["meta"], "ServerExternalAddresses": addresses}
    answer = Api(flags).call("POST", "/v1/peering/token", body=body)
    print(_compact(answer) if flags["format"] == "json" else answer["PeeringToken"])
    return 0


def establish(flags: Flags) -> int:
    """Connect to the cluster that made a token."""
    name = _name(flags)
    if not flags["peering-token"]:
        return fail("Missing the required -peering-token flag")
    body = {"PeerName": name, "PeeringToken": flags["peering-token"], "Meta": flags["meta"]}
    Api(flags).call("POST", "/v1/peering/establish", body=body)
    print(f"Successfully established peering connection with {name}")
    return 0
