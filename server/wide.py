"""The WAN pool: the servers of all datacenters, each as `node.datacenter`.

It says which datacenters there are and where their servers are. Servers of one datacenter bring each other in: whoever
is joined from afar brings its neighbours along.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gossip.consul import ServerInfo, parse_server, wide_admission
from gossip.coordinates import Place
from gossip.core import EventKind, Member, MemberEvent, Status
from gossip.driver import Event, Gossip, JoinError
from gossip.options import PoolOptions
from gossip.queries import host_port

log = logging.getLogger("lictor.server")

FLOOD_INTERVAL = 60.0
JOIN_PORT_TAG = "wan_join_port"


def median(distances: list[float]) -> float:
    """The middle one of some distances; infinite when there is none."""
    return sorted(distances)[len(distances) // 2] if distances else float("inf")


@dataclass(frozen=True)
class WideConfig:
    """This server's part in the WAN pool; a `port` of 0 takes any free one."""

    node_name: str
    datacenter: str
    address: str
    bind: str
    port: int
    tags: dict[str, str]
    options: PoolOptions
    snapshot: Path | None = None


class WidePool:
    """This server's part in the WAN pool. `neighbours` lists the members of its datacenter's own pool."""

    def __init__(self, config: WideConfig, neighbours: Callable[[], list[Member]]) -> None:
        self._config = config
        self._neighbours = neighbours
        self.name = f"{config.node_name}.{config.datacenter}"
        options = config.options
        settings = options.settings(self.name, config.address, config.port, config.tags, wide_admission)
        self.gossip = Gossip(
            settings, options.bind or config.bind, config.snapshot, options.rejoin_after_leave, pool="wan"
        )
        self.gossip.on_event(self._on_gossip)
        self._wake = asyncio.Event()
        self._work: asyncio.Task[None] | None = None

    async def start(self) -> int:
        """Begin to take part; returns the port. Raises OSError when it is in use."""
        await self.gossip.start()
        self._work = asyncio.get_running_loop().create_task(self._flood())
        return self.gossip.local.port

    async def stop(self) -> None:
        """Stop without leaving."""
        if self._work is not None:
            self._work.cancel()
        if self.gossip.started:
            await self.gossip.stop()

    async def leave(self) -> None:
        """Leave the pool."""
        if self._work is not None:
            self._work.cancel()
        await self.gossip.leave()

    # Who is there

    def servers(self) -> list[ServerInfo]:
        """The servers of all datacenters, by name."""
        return [info for member in self.gossip.members() if (info := parse_server(member)) is not None]

    def datacenters(self) -> list[str]:
        """The datacenters that have been heard of and not forgotten, nearest first; those of unknown distance last."""
        core = self.gossip.core
        here = core.place()
        distances: dict[str, list[float]] = {self._config.datacenter: [0.0]}
        for info in self.servers():
            if info.datacenter != self._config.datacenter:
                far, there = distances.setdefault(info.datacenter, []), core.place(info.name)
                if here is not None and there is not None:
                    far.append(here.distance(there))
        return sorted(distances, key=lambda name: (median(distances[name]), name))

    def places(self) -> list[tuple[str, str, Place]]:
        """Where the servers of all datacenters are: datacenter, node and place of each that is known."""
        core = self.gossip.core
        found = [(info, core.place(info.name)) for info in self.servers()]
        return [
            (info.datacenter, info.name.removesuffix(f".{info.datacenter}"), place)
            for info, place in found
            if place is not None
        ]

    def route(self, datacenter: str) -> list[str]:
        """`ip:port` of the servers of a datacenter that are there, in the order in which to ask them."""
        found = [
            info.address
            for info in self.servers()
            if info.status is Status.ALIVE and info.datacenter.lower() == datacenter.lower()
        ]
        random.shuffle(found)
        return found

    def _on_gossip(self, event: Event) -> None:
        if isinstance(event, MemberEvent):
            member = event.member
            log.info("serf wan: %s: %s %s", event.kind.value, member.name, member.address)

    # Bringing the neighbours in

    def neighbour(self, event: MemberEvent) -> None:
        """Something happened in the datacenter's own pool."""
        if event.kind in (EventKind.JOIN, EventKind.UPDATE):
            self._wake.set()

    async def _flood(self) -> None:
        await self.gossip.rejoin()
        while True:
            missing = self.missing()
            for target in missing:
                try:
                    await self.gossip.join([target])
                except JoinError as error:
                    log.debug("flooding to %s failed: %s", target, error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FLOOD_INTERVAL):
                    await self._wake.wait()
            self._wake.clear()

    def missing(self) -> list[str]:
        """Servers of this datacenter that are not in the WAN pool, as `NAME/HOST:PORT`."""
        there = {member.name for member in self.gossip.members() if member.status is Status.ALIVE}
        found = []
        for member in self._neighbours():
            info = parse_server(member)
            port = member.tags.get(JOIN_PORT_TAG, "")
            name = f"{member.name}.{self._config.datacenter}"
            if info is None or member.status is not Status.ALIVE or name in there or not port.isdigit():
                continue
            found.append(f"{name}/{host_port(member.address, int(port))}")
        return found
