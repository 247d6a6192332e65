"""`Client`: an agent that is no server. It knows the servers through gossip and asks them over pooled connections."""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from agent.token_bucket import TokenBucket
from gossip.consul import admission, client_tags, parse_server
from gossip.core import LAN, LOCAL, Member, MemberEvent, Status
from gossip.driver import Event, Gossip, JoinError
from gossip.options import PoolOptions
from model.codec import Wire
from model.errors import NO_SERVERS, RATE_LIMITED, RpcError
from model.metrics import METRICS
from model.structs.base import Query
from model.structs.coordinate import CoordinateVector
from model.structs.operator import SnapshotRequest, SnapshotResponse
from rpc import snapshot_stream
from rpc.dialing import Dialer
from rpc.pool import Pool
from rpc.router import Router, may_repeat
from rpc.security import Security

log = logging.getLogger("lictor.client")

_CALLS = METRICS.counter("client.rpc")
_EXCEEDED = METRICS.counter("client.rpc.exceeded")
_FAILED = METRICS.counter("client.rpc.failed")

@dataclass
class ClientConfig:
    """A client agent's settings; `data_dir` None keeps nothing on disk."""

    node_name: str
    node_id: str
    datacenter: str = "dc1"
    build: str = "1.14.0"
    bind: str = "127.0.0.1"
    advertise: str = "127.0.0.1"
    gossip_port: int = 8301
    lan: PoolOptions | None = None
    reconnect: str = ""
    data_dir: Path | None = None
    fast: bool = False
    hold_timeout: float = 7.0
    rate: float = 0.0
    burst: int = 1000
    extra_tags: dict[str, str] = field(default_factory=dict)
    security: Security = field(default_factory=Security)


class Client:
    """A client agent. The face that it shares with `server.server.Server`: call, members, join, leave, stop, stats."""

    is_server = False

    def __init__(self, config: ClientConfig) -> None:
        self.config = config
        self.datacenter = config.datacenter
        self.node_name = config.node_name
        self.router = Router(random.Random())
        self.dialer = Dialer(config.bind if config.bind.startswith("127.") else "", config.security)
        self.pool = Pool(self.dialer)
        tags = client_tags(config.node_id, config.datacenter, config.build, config.reconnect)
        options = config.lan or PoolOptions(timing=LOCAL if config.fast else LAN)
        settings = options.settings(
            config.node_name, config.advertise, config.gossip_port, {**tags, **config.extra_tags}, self._admit
        )
        snapshot = config.data_dir / "serf" / "local.snapshot" if config.data_dir else None
        self.gossip = Gossip(settings, options.bind or config.bind, snapshot, options.rejoin_after_leave)
        self.gossip.on_event(self._on_gossip)
        self.limit_calls(config.rate, config.burst)
        self._started = False
        self._stopped = False
        self._rejoining: asyncio.Task[int] | None = None

    def _admit(self, member: Member) -> str:
        return admission(self.node_name, self.config.node_id, self.datacenter, member)

    async def start(self) -> None:
        """Take part in the pool. Raises OSError when the port is in use."""
        await self.gossip.start()
        self._started = True
        self._rejoining = asyncio.get_running_loop().create_task(self.gossip.rejoin())

    async def stop(self) -> None:
        """Stop without leaving."""
        if self._stopped or not self._started:
            return
        self._stopped = True
        if self._rejoining is not None:
            self._rejoining.cancel()
        await self.gossip.stop()
        await self.pool.close()

    async def leave(self) -> None:
        """Leave the pool."""
        await self.gossip.leave()

    def _on_gossip(self, event: Event) -> None:
        if isinstance(event, MemberEvent):
            log.info("serf: %s: %s %s", event.kind.value, event.member.name, event.member.address)
            infos = [info for member in self.gossip.members() if (info := parse_server(member)) is not None]
            self.router.update(
                info.address
                for info in infos
                if info.status in (Status.ALIVE, Status.LEAVING) and info.datacenter == self.datacenter
            )

    def limit_calls(self, rate: float, burst: int) -> None:
        """From now on allow `rate` calls a second (0: any number), and `burst` at once after a rest."""
        self._bucket = TokenBucket(rate, burst, time.monotonic()) if rate > 0 else None

    async def call(self, method: str, args: Wire) -> Any:
        """Ask a server; while there is no leader or a server is gone, ask again for a while. Raises RpcError."""
        _CALLS.add()
        if self._bucket is not None and not self._bucket.take(time.monotonic()):
            _EXCEEDED.add()
            raise RpcError(RATE_LIMITED)
        loop = asyncio.get_running_loop()
        hold = self.config.hold_timeout
        deadline = loop.time() + hold
        is_read = isinstance(args, Query)
        while True:
            address = self.router.pick(loop.time())
            try:
                if address is None:
                    raise RpcError(NO_SERVERS)
                return await self.pool.call(address, method, args)
            except (RpcError, ConnectionError) as error:
                if address is not None and not isinstance(error, RpcError):
                    self.router.failed(address)
                no_servers = isinstance(error, RpcError) and error.has(NO_SERVERS)
                if loop.time() >= deadline or not may_repeat(error, is_read):
                    _FAILED.add()
                    if isinstance(error, RpcError):
                        text = error.text if no_servers else f"rpc error making call: {error.text}"
                        raise RpcError(text) from None
                    raise RpcError(f"rpc error making call: {error}") from None
            await asyncio.sleep(hold / 16 * random.random())

    async def snapshot(
        self, request: SnapshotRequest, archive: IO[bytes]
    ) -> tuple[SnapshotResponse, IO[bytes]]:
        """Ask a server to save or restore the whole state. Raises RpcError."""
        address = self.router.pick(asyncio.get_running_loop().time())
        if address is None:
            raise RpcError(NO_SERVERS)
        try:
            return await snapshot_stream.ask(address, request, archive, self.dialer)
        except ConnectionError as error:
            self.router.failed(address)
            raise RpcError(f"rpc error making call: {error}") from None

    def limit(self, connections: int, call_timeout: float) -> None:
        """Set how many seconds calls may take; a client has no port for `connections`."""
        self.pool.call_timeout = call_timeout

    def members(self) -> list[Member]:
        """The pool's members by name."""
        return self.gossip.members() if self._started else []

    async def join(self, addresses: list[str]) -> int:
        """Join the pool at these addresses. Raises JoinError."""
        return await self.gossip.join(addresses)

    def wide_members(self) -> list[Member]:
        """The members of the WAN pool: a client knows none."""
        return []

    async def join_wide(self, addresses: list[str]) -> int:
        """Raises JoinError: only servers are in the WAN pool."""
        raise JoinError("Must be a server to join WAN cluster")

    def force_leave(self, name: str, prune: bool = False, wide: bool = False) -> bool:
        """Declare that a failed member has left; False when nobody of that name is known."""
        return not wide and self.gossip.force_leave(name, prune)

    @property
    def place(self) -> CoordinateVector | None:
        """Where this agent is in its datacenter's network; None while coordinates are disabled."""
        place = self.gossip.core.place()
        if place is None:
            return None
        return CoordinateVector(place.adjustment, place.error, place.height, list(place.vector))

    def on_gossip(self, callback: Callable[[Event], None]) -> None:
        """Call back for every event of the pool."""
        self.gossip.on_event(callback)

    def stats(self) -> dict[str, dict[str, str]]:
        """Figures in the manner of `consul info`."""
        return {
            "consul": {"acl": "disabled", "known_servers": str(len(self.router.servers)), "server": "false"},
            "serf_lan": self.gossip.stats(),
        }
