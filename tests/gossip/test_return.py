"""A member that comes back is seen by everybody at once, whatever they heard of it before."""

from random import Random

import pytest

from gossip import wire
from gossip.core import LAN, Core, SendPacket, Settings, Status
from gossip.members import Alive


def core(name: str, address: str, seed: int) -> Core:
    return Core(Settings(name, address, 8301, {"id": name}, LAN), Random(seed), 0.0)


def alive(of: Core, incarnation: int) -> bytes:
    me = of.pool.me
    return Alive(me.name, me.address, me.port, me.meta, me.versions, incarnation).encode()


def let_talk(cores: dict[tuple[str, int], Core], begin: float) -> int:
    """5 s in steps of 25 ms; no exchange of state comes through. Returns the number of packets."""
    packets = 0
    for step in range(200):
        now = begin + step * 0.025
        for address, one in cores.items():
            one.tick(now)
            outputs, one.outbox = one.outbox, []
            for output in outputs:
                if isinstance(output, SendPacket) and output.address in cores:
                    packets += 1
                    cores[output.address].receive_packet(output.data, address, now)
    return packets


@pytest.mark.parametrize("taken_out", [False, True])
@pytest.mark.parametrize("heard", [1, 7, 40])
def test_a_member_that_others_hold_to_be_dead_at_a_later_incarnation_hears_of_it(heard: int, taken_out: bool) -> None:
    """Found under faults: a server that was started again was invisible to the leader for 26 s.

    Nobody told it at which incarnation it was declared dead, until the next exchange of state did.
    """
    stays, back = core("stays", "10.0.0.1", 1), core("back", "10.0.0.2", 2)
    cores = {("10.0.0.1", 8301): stays, ("10.0.0.2", 8301): back}
    dead = wire.message(wire.DEAD, {"From": "another", "Incarnation": heard, "Node": "back"})
    for packet in (alive(back, heard), dead):
        stays.receive_packet(packet, ("10.0.0.9", 8301), 0.0)
    if taken_out:
        stays.force_leave("back", False, 0.0)
    member = stays.member("back")
    assert member is not None and member.status is (Status.LEFT if taken_out else Status.FAILED)

    for step in range(200):  # While nobody listens there, the news of the death is told as often as it is to be told.
        stays.tick(step * 0.025)
    stays.outbox.clear()

    back.receive_packet(alive(stays, 1), ("10.0.0.1", 8301), 5.0)
    back.set_tags({"id": "back"})  # Says that it is there, as of incarnation 2.
    packets = let_talk(cores, 5.0)
    member = stays.member("back")
    assert member is not None and member.status is Status.ALIVE
    assert packets < 60  # Nobody goes on answering the other's answers.


def test_a_member_whose_refutations_were_all_lost_repeats_them() -> None:
    """Found under faults: a server that could hear but not be heard for 3 s stayed dead to the others for 30 s."""
    stays, back = core("stays", "10.0.0.1", 1), core("back", "10.0.0.2", 2)
    stays.receive_packet(alive(back, 1), ("10.0.0.9", 8301), 0.0)
    back.receive_packet(alive(stays, 1), ("10.0.0.1", 8301), 0.0)
    for incarnation in range(1, 6):
        accusation = {"From": "stays", "Incarnation": incarnation, "Node": "back"}
        back.receive_packet(wire.message(wire.SUSPECT, accusation), ("10.0.0.1", 8301), 0.0)
    stays.receive_packet(wire.message(wire.DEAD, {**accusation, "Incarnation": 1}), ("10.0.0.9", 8301), 0.0)
    for one in (stays, back):
        for step in range(20):
            one.tick(step * 0.025)
        while one.pool.claims:
            one.pool.claims.take(1400, 2, 2)
        one.outbox.clear()
    assert (member := stays.member("back")) is not None and member.status is Status.FAILED
    assert let_talk({("10.0.0.1", 8301): stays, ("10.0.0.2", 8301): back}, 0.5) < 60
    assert (member := stays.member("back")) is not None and member.status is Status.ALIVE
