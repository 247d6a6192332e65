"""What an agent says of itself: who it is, its configuration, and figures."""

import asyncio
import os
import platform
from typing import TYPE_CHECKING, Any

from agent.debug_config import debug_config
from agent.logs import internal_errors
from agent.version import CONSUL_VERSION
from gossip.core import Member
from model.gojson import to_json

if TYPE_CHECKING:
    from agent.agent import Agent


def shown_member(member: Member) -> dict[str, Any]:
    """A member as the API shows it."""
    low, high, current, delegate_low, delegate_high, delegate_current = member.versions
    return {
        "Name": member.name,
        "Addr": member.address,
        "Port": member.port,
        "Tags": member.tags,
        "Status": int(member.status),
        "ProtocolMin": low,
        "ProtocolMax": high,
        "ProtocolCur": current,
        "DelegateMin": delegate_low,
        "DelegateMax": delegate_high,
        "DelegateCur": delegate_current,
    }


def describe(agent: "Agent") -> dict[str, Any]:
    """/v1/agent/self."""
    config = agent.config
    member = next((one for one in agent.delegate.members() if one.name == config.node_name), None)
    return {
        "Config": {
            "Datacenter": config.datacenter,
            "PrimaryDatacenter": config.primary_datacenter or config.datacenter,
            "NodeName": config.node_name,
            "NodeID": agent.node_id,
            "Revision": "",
            "Server": config.server,
            "Version": CONSUL_VERSION,
            "BuildDate": "1970-01-01T00:00:01Z",
        },
        "DebugConfig": debug_config(agent),
        "Coord": to_json(place) if (place := agent.delegate.place) is not None else None,
        "Member": shown_member(member) if member is not None else {},
        "Stats": stats(agent),
        "Meta": {**config.node_meta, "consul-network-segment": ""},
        "xDS": {"SupportedProxies": {}, "Port": config.ports.grpc, "Ports": {"Plaintext": -1, "TLS": -1}},
    }


def stats(agent: "Agent") -> dict[str, dict[str, str]]:
    """Sections of figures, as `info` shows them."""
    local = agent.local
    return {
        "agent": {
            "check_monitors": str(agent.checks.counts()[0]),
            "check_ttls": str(agent.checks.counts()[1]),
            "checks": str(len(local.checks)),
            **({"internal_errors": str(internal_errors.count)} if internal_errors.count else {}),
            "services": str(len(local.services)),
        },
        "build": {"prerelease": "", "revision": "", "version": CONSUL_VERSION, "version_metadata": ""},
        **agent.delegate.stats(),
        "runtime": {
            "arch": platform.machine(),
            "cpu_count": str(os.cpu_count()),
            "goroutines": str(len(asyncio.all_tasks())),
            "os": platform.system().lower(),
            "version": f"python{platform.python_version()}",
        },
    }
