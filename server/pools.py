"""What a server knows by its gossip pools, and what it can do with them: its datacenter's own, and the WAN pool."""

from gossip.coordinates import Place
from gossip.core import Member
from gossip.driver import Gossip, JoinError
from gossip.key_answers import KeyReport
from model.structs.coordinate import CoordinateVector
from server.wide import WidePool


def vector_of(place: Place) -> CoordinateVector:
    """A place as the API shows it."""
    return CoordinateVector(place.adjustment, place.error, place.height, list(place.vector))


class Pools:
    """The part of a server that is about its pools."""

    datacenter: str
    _gossip: Gossip | None
    wide: WidePool | None
    """The WAN pool; None when this server is in none."""

    @property
    def gossip(self) -> Gossip:
        """This server's part in the pool."""
        assert self._gossip is not None
        return self._gossip

    def members(self) -> list[Member]:
        """The pool's members by name."""
        return self.gossip.members() if self._gossip is not None and self._gossip.started else []

    async def join(self, addresses: list[str]) -> int:
        """Join the pool at these addresses. Raises JoinError."""
        return await self.gossip.join(addresses)

    def wide_members(self) -> list[Member]:
        """The members of the WAN pool by name."""
        return self.wide.gossip.members() if self.wide is not None else []

    async def join_wide(self, addresses: list[str]) -> int:
        """Join the WAN pool at these addresses. Raises JoinError."""
        if self.wide is None:
            raise JoinError("this server is in no WAN pool: ports.serf_wan is -1")
        return await self.wide.gossip.join(addresses)

    def force_leave(self, name: str, prune: bool = False, wide: bool = False) -> bool:
        """Declare to the pools (or to the WAN pool alone) that a failed member has left; False when nobody knows it."""
        if wide:
            return self.wide is not None and self.wide.gossip.force_leave(name, prune)
        known = self.gossip.force_leave(name, prune)
        if self.wide is not None:
            self.wide.gossip.force_leave(f"{name}.{self.datacenter}", prune)
        return known

    async def keys(self, operation: str, key: bytes, relay_factor: int, wide: bool) -> KeyReport:
        """Ask all members of a pool for their gossip keys or to change them. Raises GossipError for a huge key."""
        pool = self.wide.gossip if wide and self.wide is not None else self.gossip
        return await pool.keys(operation, key, relay_factor)

    @property
    def in_wide_pool(self) -> bool:
        """Whether this server is in the WAN pool."""
        return self.wide is not None

    def datacenters(self) -> list[str]:
        """All datacenters that are known, nearest first."""
        return self.wide.datacenters() if self.wide is not None else [self.datacenter]

    def wide_places(self) -> list[tuple[str, str, CoordinateVector]]:
        """Where the servers of all datacenters are: datacenter, node and coordinate of each that is known."""
        found = self.wide.places() if self.wide is not None else []
        return [(datacenter, name, vector_of(place)) for datacenter, name, place in found]

    @property
    def place(self) -> CoordinateVector | None:
        """Where this server is in its datacenter's network; None while coordinates are disabled."""
        place = self.gossip.core.place()
        return vector_of(place) if place is not None else None

    def other_datacenter(self, address: str) -> str:
        """In which other datacenter the server at `ip:port` is; "" for the own one and for strangers."""
        if self.wide is None or not self.wide.gossip.started:
            return ""
        found = (info.datacenter for info in self.wide.servers() if info.address == address)
        return next((name for name in found if name != self.datacenter), "")

    def route(self, datacenter: str) -> list[str]:
        """`ip:port` of the servers of another datacenter, in the order in which to ask them."""
        return self.wide.route(datacenter) if self.wide is not None else []
