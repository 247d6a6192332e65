"""How an agent takes part in a pool: addresses, timing, who may come in, and the keys."""

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from gossip import keyring_file
from gossip.envelope import Envelope
from gossip.interface import LAN, Member, Settings, Timing
from gossip.keyring import Keyring
from model.goerrors import go_text

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class PoolOptions:
    """An agent's part in one pool.

    Args:
        bind: the address to listen on; "" for the agent's.
        advertise: the address that others use; "" for the agent's.
        timing: intervals and multipliers.
        allowed: networks from which members may come; none for all.
        key: the key of a pool that has no keyring yet; empty for no encryption.
        keyring_file: where the keys are kept; None keeps them in memory only.
        verify_incoming: refuse what is not encrypted although there are keys.
        verify_outgoing: encrypt what is sent although there are keys.
        coordinates: find out where this agent is in the network.
        rejoin_after_leave: go back at start to a pool that this agent left.
    """

    bind: str = ""
    advertise: str = ""
    timing: Timing = LAN
    allowed: tuple[Network, ...] = ()
    key: bytes = field(default=b"", repr=False)
    keyring_file: Path | None = None
    verify_incoming: bool = True
    verify_outgoing: bool = True
    rejoin_after_leave: bool = False
    coordinates: bool = True

    def settings(
        self, name: str, address: str, port: int, tags: dict[str, str], admit: Callable[[Member], str]
    ) -> Settings:
        """The settings of a member; opens the keyring. Raises KeyringError."""
        return Settings(
            name,
            self.advertise or address,
            port,
            tags,
            self.timing,
            admit,
            allowed=self.allows,
            envelope=Envelope(
                self._keyring(), verify_incoming=self.verify_incoming, verify_outgoing=self.verify_outgoing
            ),
            save_keys=self._save,
            coordinates=self.coordinates,
        )

    def allows(self, address: str) -> bool:
        """Whether a member may come from this address."""
        if not self.allowed:
            return True
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
            found = found.ipv4_mapped
        return any(found in network for network in self.allowed)

    def _keyring(self) -> Keyring | None:
        """The keys of the file if there is one, else the key that was given, which makes the file."""
        file = self.keyring_file
        if file is not None and file.exists():
            return Keyring(keyring_file.load(file))
        if not self.key:
            return None
        ring = Keyring([self.key])
        if file is not None:
            try:
                keyring_file.save(file, ring.keys)
            except OSError as error:
                raise OSError(f"cannot write the keyring: {go_text(error)}") from None
        return ring

    def _save(self, keys: list[bytes]) -> str:
        if self.keyring_file is None:
            return ""
        try:
            keyring_file.save(self.keyring_file, keys)
        except OSError as error:
            return f"Failed to write keyring file: {go_text(error)}"
        return ""
