"""Cores that talk to each other without sockets: packets arrive in the next step, exchanges of state at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

from gossip.core import LAN, Core, PushPull, SendPacket, Settings
from gossip.envelope import Envelope
from gossip.keyring import Keyring
from gossip.streams import StreamReader
from gossip.wire import GossipError

STEP = 0.025
QUICK = replace(LAN, gossip_interval=0.05)


class Network:
    """Members by address. `lost` says which packets do not arrive."""

    def __init__(self, seed: int = 0) -> None:
        self.random = Random(seed)
        self.now = 0.0
        self.cores: dict[tuple[str, int], Core] = {}
        self.others: list[Any] = []
        self.packets: list[tuple[tuple[str, int], tuple[str, int], bytes]] = []
        self.lost: Callable[[tuple[str, int], tuple[str, int]], bool] = lambda sender, to: False

    def member(self, name: str, *keys: bytes, **settings: Any) -> Core:
        """A new member with these keys."""
        address = f"10.0.0.{len(self.cores) + 1}"
        flags = {key: settings.pop(key) for key in ("verify_incoming", "verify_outgoing") if key in settings}
        envelope = Envelope(Keyring(keys) if keys else None, **flags)
        made = Settings(name, address, 8301, {"id": name, "role": "node"}, QUICK, envelope=envelope, **settings)
        core = Core(made, Random(self.random.random()), self.now)
        self.cores[address, 8301] = core
        return core

    def exchange(self, a: Core, b: Core, join: bool = True) -> None:
        """A dials b. Raises GossipError where one cannot read the other."""
        for sender, receiver, dialled in ((a, b, True), (b, a, False)):
            data = sender.settings.envelope.close_stream(sender.local_state(join), dialled)
            message = StreamReader(receiver.settings.envelope, not dialled).feed(data)
            assert message is not None
            receiver.merge(message.nodes, message.user, message.join, self.now)
        if join:
            a.joined()

    def pool(self, *names: str, keys: tuple[bytes, ...] = ()) -> list[Core]:
        """Members that know each other."""
        members = [self.member(name, *keys) for name in names]
        for other in members[1:]:
            self.exchange(other, members[0])
        self.run(3)
        assert all(len(core.members()) == len(members) for core in members)
        return members

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """Let time pass."""
        end = self.now + seconds
        while self.now < end and not until():
            self.now += STEP
            arriving, self.packets = self.packets, []
            for sender, to, data in arriving:
                if to in self.cores and not self.lost(sender, to):
                    self.cores[to].receive_packet(data, sender, self.now)
            for address, core in self.cores.items():
                core.tick(self.now)
                self._collect(address, core)

    def _collect(self, address: tuple[str, int], core: Core) -> None:
        outputs, core.outbox = core.outbox, []
        for output in outputs:
            if isinstance(output, SendPacket):
                self.packets.append((address, output.address, output.data))
            elif isinstance(output, PushPull) and output.address in self.cores:
                try:
                    self.exchange(core, self.cores[output.address], output.join)
                except GossipError:
                    pass
            else:
                self.others.append(output)
