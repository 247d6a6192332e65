"""A server of one: the real state machine and endpoints over a log that commits at once."""

import random
import uuid
from typing import Any

from gossip.key_answers import KeyReport
from model.codec import Wire, pack_builtins, unpack
from model.errors import RpcError
from model.methods import METHODS
from model.structs.coordinate import Coordinate, CoordinateVector
from server.acl.login.verifying import Verifier
from server.acl.resolver import Resolver
from server.acl.settings import AclSettings
from server.endpoints.context import Limits, ServerMember
from server.endpoints.dispatch import dispatch
from server.fsm import Fsm
from server.leader.autopilot import Autopilot
from server.leader.session_ttl import SessionTimers
from server.raft.errors import ConfigurationError, NotLeader
from server.raft.node_config import Server
from server.state.store import Store


class FakeRaft:
    """Applies what is proposed at once, as long as it leads."""

    def __init__(self, fsm: Fsm, index: int = 10) -> None:
        self.fsm = fsm
        self.index = index
        self.is_leader = True
        self.ready_for_reads = True
        self.known_leader: Server | None = Server("id-1", "127.0.0.1:8300")
        self.last_contact = 0.0
        self.barriers = 0
        self.commands: list[tuple[int, bytes]] = []
        self.servers = [Server("id-1", "127.0.0.1:8300")]
        self.transfers: list[str | None] = []

    async def propose(self, command: bytes, timeout: float = 30.0) -> Any:
        if not self.is_leader:
            raise NotLeader("", "")
        self.index += 1
        self.commands.append((self.index, command))
        return self.fsm.apply(self.index, 1, command)

    async def read_barrier(self, timeout: float = 10.0) -> int:
        if not self.is_leader:
            raise NotLeader("", "")
        self.barriers += 1
        return self.index

    async def remove_server(self, server_id: str, timeout: float = 30.0) -> None:
        self.servers = [server for server in self.servers if server.id != server_id]

    async def add_server(self, server: Server, timeout: float = 30.0) -> None:
        self.servers = sorted([*(one for one in self.servers if one.id != server.id), server], key=lambda one: one.id)

    async def transfer_leadership(self, target: str | None = None, timeout: float = 10.0) -> None:
        if len(self.servers) == 1:
            raise ConfigurationError("there is no other voter to hand leadership to")
        self.transfers.append(target)

    @property
    def leader(self) -> Server | None:
        return self.known_leader

    def stats(self) -> dict[str, str]:
        return {"last_contact": "0", "last_log_index": str(self.index), "last_log_term": "1"}


class FakeServer:
    """Everything that endpoints ask of a server; `now` is the clock of lock delays and session timers."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.fsm = Fsm(Store(clock=lambda: self.now))
        self.raft = FakeRaft(self.fsm)
        self.datacenter = "dc1"
        self.node_name = "node1"
        self.limits = Limits(hold_timeout=0.2)
        self.connect_enabled = True
        self.acl = Resolver(AclSettings(), "dc1", lambda: self.fsm.store, self.now_nanoseconds)
        self.credentials = Verifier()
        self.session_timers = SessionTimers(lambda: self.now)
        self.autopilot = Autopilot()
        self.coordinate_updates: dict[tuple[str, str], Coordinate] = {}
        self.events: list[tuple[str, bytes]] = []
        self.left: list[str] = []
        self.key_reports: dict[bool, KeyReport] = {False: KeyReport(1), True: KeyReport(1)}
        self.key_operations: list[tuple[str, bytes, bool]] = []
        self.elsewhere: dict[str, list[str]] = {}
        self.places: list[tuple[str, str, CoordinateVector]] = []
        self.members = [ServerMember("id-1", "node1", "127.0.0.1:8300", "alive")]
        self.forwarded: list[tuple[str, Wire, str]] = []
        self.forward_to: FakeServer | None = None
        self._random = random.Random(7)

    @property
    def store(self) -> Store:
        return self.fsm.store

    @property
    def ca(self) -> Any:
        raise RpcError("no certificate authority here")

    async def forward(self, method: str, args: Wire, address: str) -> Any:
        self.forwarded.append((method, args, address))
        if self.forward_to is None:
            raise ConnectionError("connection refused")
        return await dispatch(self.forward_to, method, args, may_forward=False)

    async def settled(self) -> None:
        """There is nobody to wait for."""

    def uuid(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128)))

    def random(self) -> float:
        return self._random.random()

    def now_nanoseconds(self) -> int:
        return int(self.now * 1e9)

    def server_members(self) -> list[ServerMember]:
        return self.members

    def force_leave(self, name: str, prune: bool = False, wide: bool = False) -> bool:
        self.left.append(name)
        return True

    async def keys(self, operation: str, key: bytes, relay_factor: int, wide: bool) -> KeyReport:
        self.key_operations.append((operation, key, wide))
        return self.key_reports[wide]

    @property
    def in_wide_pool(self) -> bool:
        return True in self.key_reports

    def datacenters(self) -> list[str]:
        return [self.datacenter, *self.elsewhere]

    def wide_places(self) -> list[tuple[str, str, CoordinateVector]]:
        return self.places

    def route(self, datacenter: str) -> list[str]:
        return self.elsewhere.get(datacenter.lower(), [])

    async def fire_event(self, name: str, payload: bytes) -> None:
        self.events.append((name, payload))

    async def call(self, method: str, **fields: Any) -> Any:
        """Make a call with the arguments' fields by their Python names."""
        return await dispatch(self, method, METHODS[method].args(**fields))

    async def call_wire(self, method: str, fields: dict[str, Any]) -> Any:
        """Make a call with the arguments' fields by their Go names, as they come over the wire."""
        return await dispatch(self, method, unpack(METHODS[method].args, pack_builtins(fields)))
