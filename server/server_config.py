"""What a server is told when it is made."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from gossip.options import PoolOptions
from model.structs.operator import DEFAULT_AUTOPILOT, AutopilotConfig
from rpc.security import Security
from server.acl.settings import AclSettings
from server.endpoints.context import Limits
from server.raft.node_config import RaftConfig

MAX_HEARTBEAT = 0.1
"""Seconds between heartbeats, at most: autopilot takes a server that hears nothing for 200 ms for unhealthy."""


class SnapshotTiming(NamedTuple):
    """When a server snapshots its state; see `RaftConfig`. `interval` in seconds."""

    interval: float = 30.0
    threshold: int = 16384
    trailing_logs: int = 10_000


@dataclass
class ServerConfig:
    """A server's settings. Ports of 0 take any free port; `data_dir` None keeps nothing on disk.

    Without a `wan_port` above -1 the server is in no WAN pool. `lan` and `wan` None take the defaults of the pools.
    """

    node_name: str
    node_id: str
    datacenter: str = "dc1"
    domain: str = "consul."
    build: str = "1.14.0"
    bind: str = "127.0.0.1"
    advertise: str = "127.0.0.1"
    rpc_port: int = 8300
    gossip_port: int = 8301
    wan_port: int = -1
    lan: PoolOptions | None = None
    wan: PoolOptions | None = None
    data_dir: Path | None = None
    bootstrap: bool = False
    bootstrap_expect: int = 0
    raft_multiplier: int = 5
    lease_reads: bool = False
    fast: bool = False
    snapshots: SnapshotTiming = field(default_factory=SnapshotTiming)
    limits: Limits = field(default_factory=Limits)
    connect_enabled: bool = True
    ca_config: dict[str, Any] = field(default_factory=dict)
    autopilot: AutopilotConfig = DEFAULT_AUTOPILOT
    extra_tags: dict[str, str] = field(default_factory=dict)
    security: Security = field(default_factory=Security)
    acl: AclSettings = field(default_factory=AclSettings)


def raft_timing(multiplier: int, fast: bool, lease_reads: bool = False) -> RaftConfig:
    """Raft's times for Consul's `raft_multiplier`: 1 is the fastest, 5 the default."""
    if fast:
        return RaftConfig(heartbeat=0.04, election=0.2, lease_reads=lease_reads)
    heartbeat = min(0.03 * multiplier, MAX_HEARTBEAT)
    return RaftConfig(heartbeat=heartbeat, election=0.12 * multiplier, lease_reads=lease_reads)
