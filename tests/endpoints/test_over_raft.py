"""Endpoints over a real log on disk: acknowledged writes survive restarts, from the log and from a snapshot."""

import asyncio
import random
from pathlib import Path

from model.structs.catalog import NodeService
from model.structs.kv import DirEntry
from server.raft.driver import RaftNode
from server.raft.log import WriteAheadLog
from server.raft.node_config import RaftConfig, Server
from server.raft.snapshot import DiskSnapshots
from server.raft.transport import Transport
from tests.endpoints.fake import FakeServer

ADDRESS = "127.0.0.1:1"


async def started(folder: Path, threshold: int) -> tuple[FakeServer, RaftNode]:
    """A server of one over the log in `folder`."""
    server = FakeServer()
    node = RaftNode(
        node_id="id-1",
        address=ADDRESS,
        storage=WriteAheadLog(folder / "log"),
        snapshots=DiskSnapshots(folder / "snapshots"),
        transport=Transport("id-1", lambda peer: ""),
        fsm=server.fsm,
        config=RaftConfig(
            heartbeat=0.03, election=0.15, snapshot_threshold=threshold, snapshot_interval=0, trailing_logs=2
        ),
        random=random.randrange,
    )
    await node.start()
    server.raft = node  # type: ignore[assignment]
    return server, node


async def test_acknowledged_writes_survive_restarts(tmp_path: Path) -> None:
    server, node = await started(tmp_path, threshold=20)
    await node.bootstrap([Server("id-1", ADDRESS)])
    for number in range(50):
        entry = DirEntry(key=f"k/{number}", value=b"%d" % number)
        assert await server.call("KVS.Apply", op="set", dir_ent=entry) is False
    await server.call("Catalog.Register", node="n1", address="10.0.0.1", service=NodeService(service="web"))
    before = await server.call("KVS.List", key="k/", require_consistent=True)
    services = await server.call("Health.ServiceNodes", service_name="web")
    async with asyncio.timeout(60):
        while not [path for path in (tmp_path / "snapshots").glob("*") if path.suffix != ".tmp"]:
            await asyncio.sleep(0.01)
    await node.stop()
    again, node = await started(tmp_path, threshold=20)
    try:
        after = await again.call("KVS.List", key="k/", require_consistent=True)
        assert after.entries == before.entries and after.index == before.index
        assert (await again.call("Health.ServiceNodes", service_name="web")).nodes == services.nodes
        assert await again.call("KVS.Apply", op="cas", dir_ent=DirEntry(key="k/1", value=b"x", modify_index=1)) is False
    finally:
        await node.stop()
