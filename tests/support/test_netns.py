"""The faults do what they say: packets are dropped, lost and delayed, and nothing stays behind."""

import errno
import socket
import statistics
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.netns import Host, Network, SmallDisk

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("netns")]


@pytest.fixture
def network() -> Iterator[Network]:
    with Network() as made:
        yield made


def receiver(host: Host) -> socket.socket:
    with host.inside():
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((host.address, 5000))
    return made


ARRIVES = 60.0
"""Seconds for which a packet is waited for that is to arrive."""
LOST = 0.7
"""Seconds after which a packet counts as lost."""


def reaches(sender: Host, target: Host) -> bool:
    """Whether a packet arrives."""
    return bool(sent_and_received(sender, target, wait=ARRIVES))


def is_cut(sender: Host, target: Host) -> bool:
    """Whether a packet does not arrive."""
    return not sent_and_received(sender, target)


def sent_and_received(sender: Host, target: Host, count: int = 1, wait: float = LOST) -> list[float]:
    """Send packets from one host to another; the seconds that each one took that arrived."""
    found = []
    with receiver(target) as at, sender.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as of:
        for _ in range(count):
            began = time.monotonic()
            try:
                of.sendto(b"x", (target.address, 5000))
            except PermissionError:
                continue  # How nftables' drop of an outgoing packet shows.
            at.settimeout(wait)
            try:
                at.recv(10)
                found.append(time.monotonic() - began)
            except TimeoutError:
                pass
    return found


def test_a_cut_works_in_both_or_one_direction_and_heals(network: Network) -> None:
    a, b, c = (network.host(name) for name in "abc")
    assert reaches(a, b) and reaches(b, a)
    a.cut([b])
    assert is_cut(a, b) and is_cut(b, a)
    assert reaches(a, c) and reaches(c, a)
    a.heal()
    assert reaches(a, b) and reaches(b, a)
    a.cut([b], outgoing=False)
    assert reaches(a, b) and is_cut(b, a)
    a.heal()
    a.cut([b], incoming=False)
    assert is_cut(a, b) and reaches(b, a)
    network.heal()
    assert reaches(a, b)


def test_some_packets_are_lost(network: Network) -> None:
    a, b = network.host("a"), network.host("b")
    b.lose([a], 30)
    arrived = len(sent_and_received(a, b, 200, wait=0.05))
    assert 100 < arrived < 180
    network.heal()
    assert len(sent_and_received(a, b, 50)) > 45


def test_what_a_host_sends_is_delayed(network: Network) -> None:
    a, b = network.host("a"), network.host("b")
    sent_and_received(a, b, 3)
    a.delay(0.2)
    deadline = time.monotonic() + ARRIVES
    while not sent_and_received(a, b) and time.monotonic() < deadline:
        pass  # Until the relay listens.
    assert statistics.median(sent_and_received(a, b, 3, wait=ARRIVES)) >= 0.2

    # A stream goes through whole, also in segments that the kernel has not cut up yet.
    with a.inside(), socket.create_server((a.address, 5001)) as server:
        with b.inside():
            client = socket.create_connection((a.address, 5001), timeout=60)
        with client, server.accept()[0] as accepted:
            client.sendall(bytes(300_000))
            got = 0
            while got < 300_000:
                got += len(accepted.recv(65536))
            accepted.sendall(b"y" * 300_000)
            accepted.shutdown(socket.SHUT_WR)
            back = b""
            while piece := client.recv(65536):
                back += piece
    assert back == b"y" * 300_000
    network.heal()
    assert reaches(a, b)


def test_nothing_stays_behind_even_after_a_failure() -> None:
    network = Network()
    with pytest.raises(ZeroDivisionError), network:
        network.host("a").delay(0.1)
        network.host("b").cut([network.hosts["a"]])
        raise ZeroDivisionError
    left = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    assert network.token not in left


def test_a_small_disk_is_filled_and_freed(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    with SmallDisk(folder, 1 << 20) as disk:
        (folder / "one").write_bytes(b"1")
        assert disk.fill() > 900_000
        with pytest.raises(OSError) as raised:
            (folder / "two").write_bytes(bytes(100_000))
        assert raised.value.errno == errno.ENOSPC
        disk.free()
        (folder / "two").write_bytes(bytes(100_000))
    assert not (folder / "one").exists()
