"""What Consul's agents put into their tags, and who may be in a pool together."""

import re
from dataclasses import dataclass

from gossip.core import Member, Status
from gossip.serf import RECONNECT_TAG

SERVER_ROLE = "consul"
CLIENT_ROLE = "node"
_BUILD = re.compile(r"(\d+\.\d+\.\d+)(?:-?([0-9A-Za-z.]+))?(?::.*)?")


@dataclass(frozen=True)
class ServerInfo:
    """A server as its tags describe it; `address` is `ip:port` of its RPC."""

    id: str
    name: str
    datacenter: str
    address: str
    bootstrap: bool
    expect: int
    build: str
    raft_version: int
    voter: bool
    status: Status


def _integer(tags: dict[str, str], key: str, default: int | None = None) -> int | None:
    value = tags.get(key)
    if value is None:
        return default
    return int(value) if re.fullmatch(r"\d{1,9}", value, re.ASCII) else None


def parse_server(member: Member) -> ServerInfo | None:
    """The server that a member is; None when it is none or its tags are malformed."""
    tags = member.tags
    if tags.get("role") != SERVER_ROLE:
        return None
    port = _integer(tags, "port")
    expect = _integer(tags, "expect", 0)
    raft_version = _integer(tags, "raft_vsn", 0)
    build = _BUILD.match(tags.get("build", ""))
    numbers_fit = None not in (port, expect, raft_version, _integer(tags, "vsn"), _integer(tags, "wan_join_port", 0))
    if not numbers_fit or build is None:
        return None
    host = f"[{member.address}]" if ":" in member.address else member.address
    return ServerInfo(
        id=tags.get("id", ""),
        name=member.name,
        datacenter=tags.get("dc", ""),
        address=f"{host}:{port}",
        bootstrap="bootstrap" in tags,
        expect=expect or 0,
        build=build[1],
        raft_version=raft_version or 0,
        voter="read_replica" not in tags and "nonvoter" not in tags,
        status=member.status,
    )


def wide_admission(member: Member) -> str:
    """Why a member must be kept out of the WAN pool; "" when it may come in."""
    return "" if parse_server(member) is not None else f"Member '{member.name}' is not a server"


def common_tags(node_id: str, datacenter: str, build: str) -> dict[str, str]:
    """The tags that servers and clients share."""
    return {
        "dc": datacenter,
        "id": node_id,
        "segment": "",
        "vsn": "2",
        "vsn_min": "2",
        "vsn_max": "3",
        "build": f"{build}:",
    }


def client_tags(node_id: str, datacenter: str, build: str, reconnect: str = "") -> dict[str, str]:
    """The tags of a client agent; `reconnect`: after which time (as Go writes it) it wants to be forgotten."""
    own = {RECONNECT_TAG: reconnect} if reconnect else {}
    return {"role": CLIENT_ROLE, **common_tags(node_id, datacenter, build), **own}


def server_tags(
    node_id: str, datacenter: str, build: str, port: int, wan_port: int, bootstrap: bool, expect: int
) -> dict[str, str]:
    """The tags of a server; `port` is that of its RPC."""
    tags = {
        "role": SERVER_ROLE,
        **common_tags(node_id, datacenter, build),
        "port": str(port),
        "raft_vsn": "3",
        "acls": "0",
        "ft_fs": "1",
        "ft_si": "1",
    }
    if wan_port > 0:
        tags["wan_join_port"] = str(wan_port)
    if bootstrap or expect == 1:
        tags["bootstrap"] = "1"
    elif expect:
        tags["expect"] = str(expect)
    return tags


def admission(own_name: str, own_id: str, datacenter: str, member: Member) -> str:
    """Why a member must be kept out of a datacenter's pool; "" when it may come in."""
    tags = member.tags
    role = tags.get("role")
    if role not in (SERVER_ROLE, CLIENT_ROLE):
        return ""
    if tags.get("dc") != datacenter:
        return f"Member '{member.name}' part of wrong datacenter '{tags.get('dc', '')}'"
    if tags.get("segment"):
        return f"Member '{member.name}' part of segment '{tags['segment']}'; this build has no segments"
    same_id = tags.get("id", "").lower() == own_id.lower() and bool(own_id)
    if same_id and member.name != own_name:
        return f"Member '{member.name}' has conflicting node ID '{tags['id']}' with this agent's ID"
    return ""
