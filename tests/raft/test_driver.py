"""Real nodes over loopback: election, replication, fail-over, restart from disk, snapshots to those who are behind."""

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from server.raft.driver import RaftNode
from server.raft.errors import LeadershipLost, NotLeader, ProposalTimeout
from server.raft.log import MemoryStorage, WriteAheadLog
from server.raft.node_config import RaftConfig, Server
from server.raft.snapshot import DiskSnapshots, MemorySnapshots
from server.raft.transport import Transport

FAST = RaftConfig(heartbeat=0.03, election=0.15, snapshot_threshold=50, snapshot_interval=0, trailing_logs=10)


class Lines:
    """A state machine: the commands it was given."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def apply(self, index: int, term: int, command: bytes) -> int:
        if command == b"bad":
            raise ValueError("bad command")
        self.lines.append(command)
        return len(self.lines)

    def prepare(self, command: bytes) -> None:
        pass

    def snapshot(self) -> Callable[[BinaryIO], None]:
        lines = list(self.lines)

        def write(target: BinaryIO) -> None:
            target.write(b"\n".join(lines))

        return write

    def decode(self, source: BinaryIO) -> list[bytes]:
        data = source.read()
        return data.split(b"\n") if data else []

    def use(self, decoded: list[bytes]) -> None:
        self.lines = decoded


class Host:
    """One node and its listening socket."""

    def __init__(self, name: str, folder: Path | None, addresses: dict[str, str]) -> None:
        self.name = name
        self.folder = folder
        self.addresses = addresses
        self.port = 0
        self.fsm = Lines()

    async def start(self) -> None:
        self.fsm = Lines()
        self.transport = Transport(self.name, lambda peer: self.addresses.get(peer, ""))

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if await reader.read(1) == b"\x01":
                await self.transport.accept(reader, writer)

        self.listener = await asyncio.start_server(accept, "127.0.0.1", self.port)
        self.port = self.listener.sockets[0].getsockname()[1]
        self.addresses[self.name] = f"127.0.0.1:{self.port}"
        self.node = RaftNode(
            node_id=self.name,
            address=self.addresses[self.name],
            storage=WriteAheadLog(self.folder / "log") if self.folder else MemoryStorage(),
            snapshots=DiskSnapshots(self.folder / "snapshots") if self.folder else MemorySnapshots(),
            transport=self.transport,
            fsm=self.fsm,
            config=FAST,
            random=random.randrange,
        )
        if self.folder:
            self.folder.mkdir(exist_ok=True)
        await self.node.start()

    async def stop(self) -> None:
        self.listener.close()
        await self.node.stop()


async def until(condition: Callable[[], object], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def cluster(folder: Path, size: int = 3) -> list[Host]:
    addresses: dict[str, str] = {}
    hosts = [Host(f"s{number}", folder / f"s{number}", addresses) for number in range(size)]
    for host in hosts:
        await host.start()
    servers = [Server(host.name, addresses[host.name]) for host in hosts]
    for host in hosts:
        await host.node.bootstrap(servers)
    return hosts


def leader_of(hosts: list[Host]) -> Host | None:
    return next((host for host in hosts if host.node.is_leader and host.node.ready_for_reads), None)


async def the_leader(hosts: list[Host]) -> Host:
    await until(lambda: leader_of(hosts))
    found = leader_of(hosts)
    assert found is not None
    return found


async def test_a_single_server_leads_at_once_and_remembers(tmp_path: Path) -> None:
    host = Host("a", tmp_path / "a", {})
    await host.start()
    await host.node.bootstrap([Server("a", "x")])
    await until(lambda: host.node.ready_for_reads)
    assert await host.node.propose(b"one") == 1
    with pytest.raises(ValueError, match="bad command"):
        await host.node.propose(b"bad")
    assert await asyncio.gather(*(host.node.propose(b"%d" % n) for n in range(100))) == list(range(2, 102))
    await host.stop()
    await host.start()
    await until(lambda: host.node.ready_for_reads)
    assert host.fsm.lines[0] == b"one" and len(host.fsm.lines) == 101
    assert await host.node.propose(b"more") == 102
    await host.stop()


async def test_three_servers_go_on_without_the_leader(tmp_path: Path) -> None:
    hosts = await cluster(tmp_path)
    leader = await the_leader(hosts)
    await asyncio.gather(*(leader.node.propose(b"%d" % n) for n in range(200)))
    follower = next(host for host in hosts if host is not leader)
    with pytest.raises(NotLeader) as refused:
        await follower.node.propose(b"no")
    assert refused.value.leader_address == leader.addresses[leader.name]
    assert await leader.node.read_barrier() >= 200
    await until(lambda: follower.fsm.lines == leader.fsm.lines)

    await leader.stop()
    rest = [host for host in hosts if host is not leader]
    second = await the_leader(rest)
    for n in range(200, 320):
        await second.node.propose(b"%d" % n)
    await until(lambda: second.node.core.log.base_index > 0)  # The log before the snapshot is gone.
    await leader.start()
    await until(lambda: leader.fsm.lines == second.fsm.lines)
    assert len(leader.fsm.lines) == 320

    for host in hosts:
        await host.stop()
    for host in hosts:
        await host.start()
    third = await the_leader(hosts)
    await third.node.propose(b"last")
    await until(lambda: all(host.fsm.lines == third.fsm.lines for host in hosts))
    assert len(third.fsm.lines) == 321
    for host in hosts:
        await host.stop()


async def test_without_a_quorum_nothing_is_acknowledged(tmp_path: Path) -> None:
    hosts = await cluster(tmp_path)
    leader = await the_leader(hosts)
    for host in hosts:
        if host is not leader:
            await host.stop()
    with pytest.raises((ProposalTimeout, LeadershipLost)):
        await leader.node.propose(b"lost", timeout=1)
    await until(lambda: not leader.node.is_leader)
    assert b"lost" not in leader.fsm.lines
    await leader.stop()


async def test_a_server_joins_and_leaves(tmp_path: Path) -> None:
    hosts = await cluster(tmp_path)
    leader = await the_leader(hosts)
    await leader.node.propose(b"one")
    newcomer = Host("s9", tmp_path / "s9", leader.addresses)
    await newcomer.start()
    await leader.node.add_server(Server("s9", newcomer.addresses["s9"]))
    await until(lambda: newcomer.fsm.lines == [b"one"])
    assert len(leader.node.servers) == 4
    await leader.node.transfer_leadership("s9")
    await until(lambda: newcomer.node.is_leader and newcomer.node.ready_for_reads)
    await newcomer.node.remove_server(leader.name)
    await newcomer.node.propose(b"two")
    assert leader.name not in {server.id for server in newcomer.node.servers}
    for host in [*hosts, newcomer]:
        await host.stop()


async def test_a_change_of_members_waits_for_an_earlier_one(tmp_path: Path) -> None:
    hosts = await cluster(tmp_path)
    leader = await the_leader(hosts)
    await leader.node.propose(b"one")
    others = [host.name for host in hosts if host is not leader]
    await asyncio.gather(*(leader.node.remove_server(name) for name in others))
    assert [server.id for server in leader.node.servers] == [leader.name]
    await leader.node.propose(b"two")
    for host in hosts:
        await host.stop()


async def test_strangers_are_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    hosts = await cluster(tmp_path)
    leader = await the_leader(hosts)
    for hello in (b"\x01GARBAGE!!", b"\x01LICTRAFT\x00\x00\x00\x03xyz", b"\x01LICTRAFT\xff\xff\xff\xff"):
        reader, writer = await asyncio.open_connection("127.0.0.1", leader.port)
        writer.write(hello)
        assert await reader.read() == b""
        writer.close()
    assert await leader.node.propose(b"fine") == 1
    assert "refused a raft connection" in caplog.text
    for host in hosts:
        await host.stop()
