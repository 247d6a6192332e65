"""`client_addr = "::"`: all addresses of the host, those of IPv4 among them, as in Go."""

from __future__ import annotations

import http.client
import socket
from pathlib import Path

import pytest
from dnslib import DNSRecord

from rpc.addresses import everywhere, host_of
from tests.support.process import dev_agent


def knows_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as one:
            one.bind(("::1", 0))
        return True
    except OSError:
        return False


@pytest.mark.parametrize(
    ("peer", "host"),
    [
        (("127.0.0.1", 80), "127.0.0.1"),
        (("::ffff:10.1.2.3", 80, 0, 0), "10.1.2.3"),
        (("::1", 80, 0, 0), "::1"),
        (("::ffff:1", 80, 0, 0), "::ffff:1"),
        ("", ""),
        (None, ""),
        ((), ""),
    ],
)
def test_who_comes_by_ipv4_is_known_by_that_address(peer: object, host: str) -> None:
    assert host_of(peer) == host


@pytest.mark.skipif(not knows_ipv6(), reason="this host has no IPv6")
def test_a_port_in_use_by_ipv4_is_not_shared() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match="in use"):
            everywhere(socket.SOCK_STREAM, taken.getsockname()[1])


@pytest.mark.skipif(not knows_ipv6(), reason="this host has no IPv6")
def test_http_and_dns_hear_both_families(tmp_path: Path) -> None:
    with dev_agent(tmp_path, client_addr="::", http_config={"allow_write_http_from": ["127.0.0.0/8"]}) as agent:

        def put(host: str, headers: dict[str, str]) -> int:
            connection = http.client.HTTPConnection(host, agent.ports["http"], timeout=30)
            try:
                connection.request("PUT", "/v1/kv/a", b"x", headers)
                return connection.getresponse().status
            finally:
                connection.close()

        question = DNSRecord.question("node1.node.consul").pack()
        for host, family, status in (("127.0.0.1", socket.AF_INET, 200), ("::1", socket.AF_INET6, 403)):
            for headers in ({}, {"Connection": "close"}):  # Read here, and by aiohttp.
                assert put(host, headers) == status
            with socket.socket(family, socket.SOCK_DGRAM) as one:
                one.settimeout(30)
                one.sendto(question, (host, agent.ports["dns"]))
                assert str(DNSRecord.parse(one.recv(4096)).a.rdata) == "127.0.0.1"
            with socket.create_connection((host, agent.ports["dns"]), timeout=30) as stream:
                stream.sendall(len(question).to_bytes(2, "big") + question)
                assert stream.recv(4096)
