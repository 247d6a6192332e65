"""What operators see: Raft's configuration, autopilot, keyring, snapshots, index rows."""

from typing import Annotated, Any

from model.codec import HIDDEN, OMIT, Duration, Name, ReadableDuration, Wire
from model.durations import MILLISECOND, SECOND
from model.gotime import ZERO_TIME, GoTime
from model.structs.base import Meta, Query
from model.structs.catalog import PeeredServiceName


class RaftPeer(Wire, frozen=True):
    """One server of Raft's configuration."""

    address: str = ""
    id: str = ""
    suffrage: int = 0


class RaftConfiguration(Wire, frozen=True):
    """The servers that take part in Raft."""

    servers: list[RaftPeer] | None = None


class RaftServer(Wire, frozen=True):
    """One server of Raft's configuration, for operators."""

    address: str = ""
    id: str = ""
    leader: bool = False
    node: str = ""
    protocol_version: str = ""
    voter: bool = False


class RaftConfigurationResponse(Wire, frozen=True):
    """Answer of `Operator.RaftGetConfiguration`."""

    index: int = 0
    servers: list[RaftServer] | None = None


class RaftRemovePeerRequest(Wire, frozen=True):
    """Arguments of `Operator.RaftRemovePeerByAddress`, `Operator.RaftRemovePeerByID`."""

    address: str = ""
    datacenter: str = ""
    id: str = ""
    token: Annotated[str, HIDDEN] = ""


class TransferLeaderRequest(Wire, frozen=True):
    """Arguments of `Operator.TransferLeader`; without an ID the leader chooses who is next."""

    datacenter: str = ""
    id: str = ""
    token: Annotated[str, HIDDEN] = ""


class TransferLeaderResponse(Wire, frozen=True):
    """Answer of `Operator.TransferLeader`."""

    success: bool = False


class RaftStats(Wire, frozen=True):
    """Answer of `Status.RaftStats`."""

    last_contact: str = ""
    last_index: int = 0
    last_term: int = 0


class AutopilotConfig(Wire, frozen=True):
    """How autopilot looks after the servers."""

    cleanup_dead_servers: bool = False
    disable_upgrade_migration: bool = False
    last_contact_threshold: ReadableDuration = 0
    max_trailing_logs: int = 0
    min_quorum: int = 0
    redundancy_zone_tag: str = ""
    server_stabilization_time: ReadableDuration = 0
    upgrade_version_tag: str = ""
    create_index: int = 0
    modify_index: int = 0


DEFAULT_AUTOPILOT = AutopilotConfig(
    cleanup_dead_servers=True,
    last_contact_threshold=200 * MILLISECOND,
    max_trailing_logs=250,
    server_stabilization_time=10 * SECOND,
)
"""What holds where neither an operator nor the agents' configuration says otherwise."""


class AutopilotSetConfigRequest(Wire, frozen=True):
    """Arguments of `Operator.AutopilotSetConfiguration`."""

    cas: Annotated[bool, Name("CAS")] = False
    config: AutopilotConfig = AutopilotConfig()
    datacenter: str = ""
    token: Annotated[str, HIDDEN] = ""


class AutopilotServerHealth(Wire, frozen=True):
    """The health of one server, for operators."""

    address: str = ""
    healthy: bool = False
    id: str = ""
    last_contact: ReadableDuration = 0
    last_index: int = 0
    last_term: int = 0
    leader: bool = False
    name: str = ""
    serf_status: int = 0
    stable_since: GoTime = ZERO_TIME
    version: str = ""
    voter: bool = False


class AutopilotHealthReply(Wire, frozen=True):
    """Answer of `Operator.ServerHealth`."""

    failure_tolerance: int = 0
    healthy: bool = False
    servers: list[AutopilotServerHealth] | None = None


class AutopilotServer(Wire, frozen=True):
    """One server as autopilot sees it."""

    address: str = ""
    ext: Any = None
    id: str = ""
    is_leader: bool = False
    meta: dict[str, str] | None = None
    name: str = ""
    node_status: str = ""
    node_type: str = ""
    raft_version: int = 0
    version: str = ""


class AutopilotHealth(Wire, frozen=True):
    """Since when a server has been healthy, or not."""

    healthy: bool = False
    stable_since: GoTime = ZERO_TIME


class AutopilotStats(Wire, frozen=True):
    """How far a server's log has come."""

    last_contact: Duration = 0
    last_index: int = 0
    last_term: int = 0


class AutopilotServerState(Wire, frozen=True):
    """All that autopilot knows of one server."""

    health: AutopilotHealth = AutopilotHealth()
    server: AutopilotServer = AutopilotServer()
    state: str = ""
    stats: AutopilotStats = AutopilotStats()


class AutopilotState(Wire, frozen=True):
    """Answer of `Operator.AutopilotState`."""

    ext: Any = None
    failure_tolerance: int = 0
    healthy: bool = False
    leader: str = ""
    servers: dict[str, AutopilotServerState] | None = None
    voters: list[str] | None = None


class KeyringRequest(Query, frozen=True):
    """Arguments of `Internal.KeyringOperation`."""

    datacenter: str = ""
    forwarded: bool = False
    key: str = ""
    local_only: bool = False
    operation: str = ""
    relay_factor: int = 0


class KeyringResponse(Wire, frozen=True):
    """The gossip keys of one pool of members."""

    datacenter: str = ""
    error: str = ""
    keys: dict[str, int] | None = None
    messages: Annotated[dict[str, str] | None, OMIT] = None
    num_nodes: int = 0
    partition: Annotated[str, OMIT] = ""
    primary_keys: dict[str, int] | None = None
    segment: Annotated[str, OMIT] = ""
    wan: Annotated[bool, OMIT] = False


class KeyringResponses(Meta, frozen=True):
    """Answer of `Internal.KeyringOperation`."""

    responses: list[KeyringResponse] | None = None


class SnapshotRequest(Wire, frozen=True):
    """Head of the snapshot stream: save (0) or restore (1)."""

    allow_stale: bool = False
    datacenter: str = ""
    op: int = 0
    token: str = ""


class SnapshotResponse(Meta, frozen=True):
    """Answer of the snapshot stream, before the archive."""

    error: str = ""


class SystemMetadataEntry(Wire, frozen=True):
    """A marker of what the cluster has migrated to."""

    key: str = ""
    value: str = ""
    create_index: int = 0
    modify_index: int = 0


class SystemMetadataRequest(Wire, frozen=True):
    """Command that writes a marker."""

    datacenter: str = ""
    entry: SystemMetadataEntry | None = None
    op: str = ""
    token: Annotated[str, HIDDEN] = ""


class IndexEntry(Wire, frozen=True):
    """The index at which a table changed last."""

    key: str = ""
    value: int = 0


class ServiceVirtualIP(Wire, frozen=True):
    """The virtual address given to a service."""

    ip: bytes | None = None
    service: PeeredServiceName = PeeredServiceName()
    create_index: int = 0
    modify_index: int = 0


class FreeVirtualIP(Wire, frozen=True):
    """Addresses to give out again; the counter row says how far they were given out."""

    ip: bytes | None = None
    is_counter: bool = False
