"""UDP checks."""

from __future__ import annotations

import asyncio
import socket

from agent.checks.probe import Tools
from agent.checks.udp import PAYLOAD, probe_udp
from tests.agent.checks.counterparts import a_check


async def test_an_answer_passes_and_so_does_silence() -> None:
    received: list[bytes] = []

    class Echo(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            received.append(data)
            if len(received) == 1:
                self.transport.sendto(b"yes", addr)  # type: ignore[attr-defined]

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Echo, local_addr=("127.0.0.1", 0))
    address = f"127.0.0.1:{transport.get_extra_info('sockname')[1]}"
    expected = ("passing", f"UDP connect {address}: Success")
    try:
        assert await probe_udp(a_check(UDP=address), Tools()) == expected
        assert await probe_udp(a_check(UDP=address, Timeout="50ms"), Tools()) == expected  # Nobody answers now.
        assert received == [PAYLOAD, PAYLOAD]
    finally:
        transport.close()


async def test_a_port_at_which_nobody_listens_is_critical() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as once:
        once.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{once.getsockname()[1]}"
    status, output = await probe_udp(a_check(UDP=address), Tools())
    assert status == "critical"
    assert output.startswith("read udp 127.0.0.1:")
    assert output.endswith(f"->{address}: read: connection refused")


async def test_addresses_that_are_none() -> None:
    for address, output in (
        ("nosuch.invalid:53", "dial udp: lookup nosuch.invalid: no such host"),
        ("127.0.0.1", "dial udp: address 127.0.0.1: missing port in address"),
    ):
        assert await probe_udp(a_check(UDP=address), Tools()) == ("critical", output)
