"""A server that was cut off for a while is back soon after: how long it was away does not matter."""

import time
from pathlib import Path

import pytest

from tests.support.netns import Network
from tests.support.servers import Cluster

AWAY = 27.0
"""The kernel's last attempt before the end of it is at 25.4 s, its next one would be at 51 s."""
BACK = 22.0
"""Seconds within which the server must hear of the leader again; a connection that was kept over the partition would be
tried again by the kernel only after about as long as it was silent."""


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.xdist_group("netns")
def test_a_server_is_back_soon_after_a_long_partition(tmp_path: Path) -> None:
    with Network() as network:
        # Autopilot would take the server out, and only gossip's next attempt to reconnect would bring it in again.
        cluster = Cluster(network, tmp_path, 3, autopilot={"cleanup_dead_servers": False})
        try:
            cluster.start()
            leader = cluster.known_leader()
            away = next(server for server in cluster.servers if server is not leader)
            cluster.until_writable(60)  # Every connection is there.
            away.on.cut(cluster.others(away))
            time.sleep(AWAY)
            assert leader.request("PUT", "/v1/kv/meanwhile", b"1")[0] == 200
            network.heal()
            away.until(lambda: away.request("GET", "/v1/kv/meanwhile?stale", seconds=1)[0] == 200, seconds=BACK)
            cluster.until_writable(BACK)
        finally:
            cluster.stop()
