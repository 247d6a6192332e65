"""What the endpoints need of the server that they run in, and the tables in which they register themselves.

Three kinds of endpoints:

- a *read* is a plain function `(context, args, watch) -> reply` whose reply carries its `index`; the query path
  (`query.py`) puts consistency, blocking and meta data around it;
- a *write* is a coroutine `(context, args) -> reply`, run on the leader, which checks and then proposes a command;
- a *local* call is a coroutine `(context, args) -> reply` that any server answers by itself.
"""

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from gossip.key_answers import KeyReport
from model.codec import Wire, WireError
from model.commands import CommandType, command
from model.errors import RpcError
from model.structs.coordinate import Coordinate, CoordinateVector
from model.tables import Watch
from server.acl.login.verifying import Verifier
from server.acl.resolver import Resolver
from server.fsm import Fsm
from server.leader.autopilot import Autopilot
from server.leader.ca import CertificateAuthority
from server.leader.session_ttl import SessionTimers
from server.raft.node_config import Server


class Limits(NamedTuple):
    """Times in seconds that bound calls: of a blocking read without `wait`, of any blocking read, for how long a
    call is held back while there is no leader; and the shortest TTL of a session."""

    default_query_time: float = 300.0
    max_query_time: float = 600.0
    hold_timeout: float = 7.0
    min_session_ttl: float = 10.0


class ServerMember(NamedTuple):
    """A server of this datacenter as the gossip pool knows it.

    `status` is the member's state in the pool: "alive", "failed", "left" …; `address` its `ip:port` for RPC.
    """

    id: str
    name: str
    address: str
    status: str
    version: str = ""
    raft_version: int = 3
    read_replica: bool = False


class SignOffer(NamedTuple):
    """What client agents that ask for a certificate are told: authorities to trust (PEM), and what to verify."""

    roots: tuple[str, ...] = ()
    verify_server_hostname: bool = False


class Raft(Protocol):
    """The part of `server.raft.driver.RaftNode` that endpoints use; see there for what its methods raise."""

    async def propose(self, command: bytes, timeout: float = 30.0) -> Any:
        """Replicate a command and return what applying it gave."""

    async def read_barrier(self, timeout: float = 10.0) -> int:
        """Prove leadership and wait until all that is committed is applied."""

    async def remove_server(self, server_id: str, timeout: float = 30.0) -> None:
        """Take a server out of the configuration."""

    async def add_server(self, server: Server, timeout: float = 30.0) -> None:
        """Add a server, or change its address or its right to vote."""

    async def transfer_leadership(self, target: str | None = None, timeout: float = 10.0) -> None:
        """Hand leadership to another voter: `target`, or the one that is furthest."""

    @property
    def is_leader(self) -> bool:
        """Whether this server leads, as far as it knows."""

    @property
    def ready_for_reads(self) -> bool:
        """Whether this leader has applied everything that earlier leaders committed."""

    @property
    def leader(self) -> Server | None:
        """The leader, if one is known."""

    @property
    def servers(self) -> Sequence[Server]:
        """All members."""

    @property
    def configuration_index(self) -> int:
        """The index of the log at which the members changed last."""

    @property
    def applied(self) -> tuple[int, int]:
        """Index and term of the last entry that the state machine has seen."""

    @property
    def last_contact(self) -> float:
        """Seconds since the leader was heard of; 0 on the leader."""

    def stats(self) -> dict[str, str]:
        """Figures about this server's log."""


class Context(Protocol):
    """A server, as its endpoints see it. `server.server.Server` is the real one."""

    @property
    def fsm(self) -> Fsm:
        """Owner of the state; `fsm.store` is another object after a snapshot was restored."""

    @property
    def raft(self) -> Raft:
        """This server's part in Raft."""

    @property
    def datacenter(self) -> str:
        """Name of the own datacenter."""

    @property
    def node_name(self) -> str:
        """Name of the own node."""

    @property
    def limits(self) -> Limits:
        """Times that bound calls."""

    @property
    def connect_enabled(self) -> bool:
        """Whether this server takes part in the mesh."""

    @property
    def acl(self) -> Resolver:
        """Who may do what."""

    @property
    def credentials(self) -> Verifier:
        """Verifies what logins bring."""

    @property
    def session_timers(self) -> SessionTimers:
        """When sessions expire; filled while this server leads."""

    @property
    def autopilot(self) -> Autopilot:
        """What is known of the servers' health; filled while this server leads."""

    @property
    def coordinate_updates(self) -> MutableMapping[tuple[str, str], Coordinate]:
        """Coordinates by (node in lower case, segment) that wait for the next batch, which the leader's loop writes."""

    @property
    def auto_encrypt(self) -> SignOffer | None:
        """What client agents get that have no certificate; None: nothing."""

    @property
    def ca(self) -> CertificateAuthority:
        """The certificate authority; it signs while this server leads."""

    async def call(self, method: str, args: Wire) -> Any:
        """Make a call as if it came from outside: it is carried out here or passed on. Raises RpcError."""

    async def forward(self, method: str, args: Wire, address: str) -> Any:
        """Make a call on the server at `ip:port` and return its reply.

        Raises RpcError when it answers with an error, ConnectionError when it cannot be reached or breaks off.
        """

    def uuid(self) -> str:
        """A new random UUID."""

    def random(self) -> float:
        """A number from 0 up to 1."""

    def now_nanoseconds(self) -> int:
        """The time of day, in nanoseconds since the Unix epoch."""

    def server_members(self) -> list[ServerMember]:
        """The servers of this datacenter in the gossip pool."""

    def force_leave(self, name: str, prune: bool = False, wide: bool = False) -> bool:
        """Declare to the gossip pool that a failed member has left; False when nobody of that name is known."""

    async def keys(self, operation: str, key: bytes, relay_factor: int, wide: bool) -> KeyReport:
        """Ask all members of the datacenter's pool (or of the WAN pool) for their gossip keys or to change them.

        Raises GossipError for a key that is too large for a query.
        """

    @property
    def in_wide_pool(self) -> bool:
        """Whether this server is in the WAN pool."""

    def datacenters(self) -> list[str]:
        """All datacenters that are known, nearest first."""

    def wide_places(self) -> list[tuple[str, str, CoordinateVector]]:
        """Where the servers of all datacenters are: datacenter, node and coordinate of each that is known."""

    def route(self, datacenter: str) -> list[str]:
        """`ip:port` of the servers of another datacenter, in the order in which to ask them; none: no path to it."""

    async def settled(self) -> None:
        """Wait, for a moment at most, until a new leader has written the members into the catalog."""

    async def lead_again(self) -> None:
        """Begin the leader's duties anew on a state that was replaced; returns once they are taken up."""

    async def fire_event(self, name: str, payload: bytes) -> None:
        """Spread a user event (`payload` as Internal.EventFire carries it) through the gossip pool."""


async def propose(context: Context, kind: CommandType, request: Wire) -> Any:
    """Replicate a command and return what applying it gave. Raises RpcError."""
    try:
        encoded = command(kind, request)
    except WireError as error:  # Such as a number of more than 64 bits.
        raise RpcError(f"failed to encode request: {error}") from None
    return await context.raft.propose(encoded)


ReadFunction = Callable[[Context, Any, Watch | None], Any]
CallFunction = Callable[[Context, Any], Awaitable[Any]]
READS: dict[str, ReadFunction] = {}
WRITES: dict[str, CallFunction] = {}
LOCAL: dict[str, CallFunction] = {}
FOLLOW_UPS: dict[str, Callable[[Context, Any, Any], Awaitable[Any]]] = {}
"""What is done about the answer of a read before it goes out: `(context, args, reply) -> reply`."""

R = TypeVar("R", bound=Callable[..., Any])


def _registrar(
    table: dict[str, Any], method: str, tables: Sequence[dict[str, Any]] = (READS, WRITES, LOCAL)
) -> Callable[[R], R]:
    def register(function: R) -> R:
        if any(method in one for one in tables):
            raise ValueError(f"{method} is registered twice")
        table[method] = function
        return function

    return register


def read(method: str) -> Callable[[R], R]:
    """Register a read: `(context, args, watch) -> reply`."""
    return _registrar(READS, method)


def follow_up(method: str) -> Callable[[R], R]:
    """Register what follows a read: `async (context, args, reply) -> reply`, because a read itself asks nobody else."""
    return _registrar(FOLLOW_UPS, method, (FOLLOW_UPS,))


def write(method: str) -> Callable[[R], R]:
    """Register a call that only the leader carries out: `async (context, args) -> reply`."""
    return _registrar(WRITES, method)


def local(method: str) -> Callable[[R], R]:
    """Register a call that any server answers: `async (context, args) -> reply`."""
    return _registrar(LOCAL, method)
