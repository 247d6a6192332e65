"""An agent's part in its gossip pools, as its configuration says."""

import msgspec

from gossip.core import WAN
from gossip.options import PoolOptions


class GossipConfig(msgspec.Struct, frozen=True):
    """How an agent takes part in its pools. `advertise_reconnect` (a client's wish, as text) may be empty."""

    lan: PoolOptions = PoolOptions()
    wan: PoolOptions = PoolOptions(timing=WAN)
    retry_join_wan: list[str] = []
    retry_interval_wan: float = 30.0
    retry_max_wan: int = 0
    start_join_wan: list[str] = []
    advertise_reconnect: str = ""

    @property
    def encrypted(self) -> bool:
        """Whether there are keys."""
        file = self.lan.keyring_file
        return bool(self.lan.key) or (file is not None and file.exists())
