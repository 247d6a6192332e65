"""Commands in pieces: whole on every server or on none, whatever lies between the pieces."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.raft import driver
from server.raft import messages as m
from server.raft.errors import ProposalRejected
from server.raft.pieces import Assembler, split
from tests.raft.test_driver import Host, cluster, the_leader, until


@given(st.binary(max_size=200), st.integers(0, 2**63), st.integers(1, 40))
def test_pieces_come_together_again(command: bytes, number: int, size: int) -> None:
    assembler = Assembler()
    *parts, last = split(command, number, size)
    assert [assembler.add(part) for part in parts] == [None] * len(parts)
    assert assembler.add(last) == command
    assert assembler.unfinished  # Until the command is applied no snapshot may be taken.
    assembler.clear()
    assert not assembler.unfinished


def test_a_piece_that_does_not_follow_is_refused() -> None:
    first, second, third = split(b"abcdef", 7, 2)
    for wrong in ([second], [first, third], [first, second, second], [first, next(split(b"xy", 8, 2)), second], [b""]):
        assembler = Assembler()
        *before, last = wrong
        for piece in before:
            assembler.add(piece)
        with pytest.raises(ProposalRejected):
            assembler.add(last)


def test_the_first_piece_of_another_command_begins_anew() -> None:
    assembler = Assembler()
    assembler.add(next(split(b"lost", 1, 2)))
    *_, whole = [assembler.add(piece) for piece in split(b"kept", 2, 2)]
    assert whole == b"kept"


def test_too_many_pieces_are_refused() -> None:
    with pytest.raises(ProposalRejected, match="larger than"):
        list(split(b"x" * 5000, 1, 1))


async def test_a_large_command_reaches_every_server_and_survives_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "MAX_ENTRY", 1000)
    hosts = await cluster(tmp_path)
    leader = await the_leader(hosts)
    large = b"L" * (3 << 20)
    first, *_ = await asyncio.gather(
        leader.node.propose(large), *(leader.node.propose(b"small %d" % n) for n in range(30))
    )
    assert first and leader.fsm.lines.count(large) == 1
    await until(lambda: all(host.fsm.lines == leader.fsm.lines for host in hosts))
    expected = leader.fsm.lines
    for host in hosts:
        await host.stop()
    for host in hosts:
        await host.start()
    await the_leader(hosts)
    await until(lambda: all(host.fsm.lines == expected for host in hosts))
    for host in hosts:
        await host.stop()


async def test_what_a_leader_left_unfinished_is_gone_and_holds_up_no_snapshot(tmp_path: Path) -> None:
    host = Host("a", tmp_path / "a", {})
    await host.start()
    await host.node.bootstrap([driver.Server("a", "x")])
    await until(lambda: host.node.ready_for_reads)
    first, second = split(b"unfinished", 1, 5)
    await host.node._propose(first, m.PIECE, 10)
    await host.node.snapshot()
    assert host.node._snapshotting.index == 0  # It would lack the first piece.
    await host.stop()
    await host.start()
    await until(lambda: host.node.ready_for_reads)
    with pytest.raises(ProposalRejected):
        await host.node._propose(second, m.PIECE, 10)
    assert host.fsm.lines == []
    await host.node.snapshot()
    assert host.node._snapshotting.index > 0
    await host.stop()
