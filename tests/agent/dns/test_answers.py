"""What a real agent answers over DNS."""

import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dnslib import EDNS0, QTYPE, RCODE, DNSRecord, EDNSOption

from tests.support.process import Agent, dev_agent

Row = tuple[str, str, str]


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    settings = {"a_record_limit": 0, "enable_truncate": True, "service_ttl": {"*": "7s"}}
    with dev_agent(tmp_path_factory.mktemp("dns"), dns_config=settings, alt_domain="alt.test") as running:
        register(running, "n4", "10.2.0.1", "own4", Address="192.0.2.10", Port=5672, meta={"k": "v"})
        register(running, "n4", "10.2.0.1", "plain", Port=1, meta={"k": "v"})
        register(running, "n4", "10.2.0.1", "ownhost", Address="www.example.com", Port=2, meta={"k": "v"})
        register(running, "n4", "10.2.0.1", "inzone", Address="n4.node.consul", Port=3, meta={"k": "v"})
        register(running, "nh", "n4.node.alt.test", "onhost", Port=4)
        tagged = {"lan_ipv6": {"Address": "2001:db8::31"}}
        register(running, "n4", "10.2.0.1", "tagged", Address="192.0.2.31", TaggedAddresses=tagged, meta={"k": "v"})
        for number in (1, 2):
            here = {"ID": f"same{number}", "Address": "192.0.2.50", "Port": 100, "meta": {"k": "v"}}
            register(running, "n4", "10.2.0.1", "same", **here)
        for number in range(1, 11):
            register(running, f"m{number}", f"10.3.0.{number}", "many", Port=80)
        register(running, "a", "b.node.consul", "loop", Port=1)
        register(running, "b", "a.node.consul", "loop", Port=1)
        native = {"Connect": {"Native": True}, "Port": 9}
        register(running, "n5", "10.2.0.5", "native", **native)
        running.until(lambda: len(running.json("GET", "/v1/catalog/service/many")) == 10)
        yield running


def register(agent: Agent, node: str, address: str, service: str, **more: Any) -> None:
    meta = more.pop("meta", {})
    body = {"Node": node, "Address": address, "NodeMeta": meta, "Service": {"ID": service, "Service": service, **more}}
    assert agent.json("PUT", "/v1/catalog/register", body) is True


def ask(agent: Agent, name: str, kind: str = "A", *, tcp: bool = False, edns: int = 0, **options: bytes) -> DNSRecord:
    question = DNSRecord.question(name, kind)
    if edns:
        subnet = [EDNSOption(8, data) for data in options.values()]
        question.add_ar(EDNS0(udp_len=edns, opts=subnet))
    return DNSRecord.parse(question.send("127.0.0.1", agent.ports["dns"], tcp=tcp, timeout=60))


def rows(section: list[Any]) -> list[Row]:
    found = ((str(row.rname), str(QTYPE.get(row.rtype)), str(row.rdata)) for row in section if row.rtype != QTYPE.OPT)
    return sorted(found)


@pytest.mark.parametrize("kind", ["A", "ANY", "TXT"])
def test_addresses_of_a_service_come_alone(agent: Agent, kind: str) -> None:
    answer = ask(agent, "plain.service.consul", kind)
    assert rows(answer.rr) == [("plain.service.consul.", "A", "10.2.0.1")]
    assert not answer.ar
    assert answer.rr[0].ttl == 7


def test_srv_names_the_node_or_the_address(agent: Agent) -> None:
    answer = ask(agent, "plain.service.consul", "SRV")
    assert rows(answer.rr) == [("plain.service.consul.", "SRV", "1 1 1 n4.node.dc1.consul.")]
    meta = ("n4.node.dc1.consul.", "TXT", '"k=v"')
    assert rows(answer.ar) == [("n4.node.dc1.consul.", "A", "10.2.0.1"), meta]
    answer = ask(agent, "own4.service.consul", "SRV")
    assert rows(answer.rr)[0][2] == "1 1 5672 c000020a.addr.dc1.consul."
    assert rows(answer.ar) == [("c000020a.addr.dc1.consul.", "A", "192.0.2.10"), meta]


def test_targets_keep_the_letters_and_zone_of_the_question(agent: Agent) -> None:
    assert rows(ask(agent, "plain.service.CONSUL", "SRV").rr)[0][2].endswith("n4.node.dc1.CONSUL.")
    assert rows(ask(agent, "plain.service.alt.test", "SRV").rr)[0][2].endswith("n4.node.dc1.alt.test.")
    assert rows(ask(agent, "nothing.service.alt.test").auth)[0][0] == "alt.test."
    assert rows(ask(agent, "alt.test", "SOA").rr)[0][0] == "consul."


def test_host_names_are_followed_within_the_zone(agent: Agent) -> None:
    alias = ("inzone.service.consul.", "CNAME", "n4.node.consul.")
    assert rows(ask(agent, "inzone.service.consul", tcp=True).rr) == [alias, ("n4.node.consul.", "A", "10.2.0.1")]
    answer = ask(agent, "inzone.service.consul", "SRV")
    assert ("n4.node.consul.", "A", "10.2.0.1") in rows(answer.ar)
    assert rows(ask(agent, "ownhost.service.consul", "MX").rr) == [
        ("ownhost.service.consul.", "CNAME", "www.example.com.")
    ]
    assert rows(ask(agent, "onhost.service.consul", "SRV").rr)[0][2] == "1 1 4 n4.node.alt.test."
    node = rows(ask(agent, "nh.node.consul", tcp=True).rr)
    assert node == [
        ("n4.node.alt.test.", "A", "10.2.0.1"),
        ("n4.node.alt.test.", "TXT", '"k=v"'),
        ("nh.node.consul.", "CNAME", "n4.node.alt.test."),
    ]


def test_loops_of_host_names_end(agent: Agent) -> None:
    assert len(ask(agent, "a.node.consul", tcp=True).rr) == 4
    assert len(ask(agent, "loop.service.consul", "SRV", tcp=True).rr) == 2


def test_tagged_addresses_by_family(agent: Agent) -> None:
    assert rows(ask(agent, "tagged.service.consul").rr)[0][2] == "192.0.2.31"
    assert rows(ask(agent, "tagged.service.consul", "AAAA").rr)[0][2] == "2001:db8::31"
    assert "20010db8000000000000000000000031.addr" in rows(ask(agent, "tagged.service.consul", "SRV").rr)[0][2]


def test_one_place_is_answered_once(agent: Agent) -> None:
    assert len(ask(agent, "same.service.consul", "SRV").rr) == 1
    assert len(ask(agent, "same.service.consul").rr) == 1


@pytest.mark.parametrize("kind", ["A", "SRV"])
def test_what_does_not_fit_is_told(agent: Agent, kind: str) -> None:
    answer = ask(agent, "many.service.consul", kind)
    assert (len(answer.rr), answer.header.tc) == (3, 1)
    for more in ({"tcp": True}, {"edns": 4096}):
        answer = ask(agent, "many.service.consul", kind, **more)  # type: ignore[arg-type]
        assert (len(answer.rr), answer.header.tc) == (10, 0)


@pytest.mark.parametrize("kind", ["A", "AAAA", "SRV", "TXT", "ANY"])
def test_virtual_addresses(agent: Agent, kind: str) -> None:
    assert rows(ask(agent, "native.virtual.consul", kind).rr)[0][2].startswith("240.0.0.")
    answer = ask(agent, "native.virtual.other.consul", kind)
    assert (answer.header.rcode, len(answer.rr), len(answer.auth)) == (0, 0, 0)


@pytest.mark.parametrize(
    ("name", "status"), [("zz.addr", "NOERROR"), ("c000020.addr", "NOERROR"), ("zz00020a.addr", "NXDOMAIN")]
)
def test_no_address(agent: Agent, name: str, status: str) -> None:
    answer = ask(agent, f"{name}.consul")
    assert RCODE.get(answer.header.rcode) == status
    assert not answer.rr


def test_addresses_to_names(agent: Agent) -> None:
    assert rows(ask(agent, "10.2.0.192.in-addr.arpa", "PTR").rr)[0][2] == "own4.service.dc1.consul."
    answer = ask(agent, "9.9.9.9.in-addr.arpa", "PTR")
    assert (RCODE.get(answer.header.rcode), answer.header.ra, answer.header.aa) == ("SERVFAIL", 1, 0)


def test_queries_sort_by_the_clients_address(agent: Agent) -> None:
    for number, node in enumerate(("m1", "m2", "m3")):
        coordinate = {"Vec": [0.01 * number, 0, 0, 0, 0, 0, 0, 0], "Error": 0.1, "Adjustment": 0, "Height": 0.001}
        agent.json("PUT", "/v1/coordinate/update", {"Node": node, "Coord": coordinate})
    for number in (1, 2, 3):
        register(agent, f"m{number}", f"10.3.0.{number}", "close", Port=number)
    agent.json("POST", "/v1/query", {"Name": "close", "Service": {"Service": "close", "Near": "_ip"}})
    agent.until(lambda: len(agent.json("GET", "/v1/coordinate/nodes")) >= 3)
    for number in (1, 3):
        subnet = struct.pack("!HBB", 1, 32, 0) + socket.inet_aton(f"10.3.0.{number}")
        answer = ask(agent, "close.query.consul", edns=4096, subnet=subnet)
        assert str(answer.rr[0].rdata) == f"10.3.0.{number}"
        assert answer.ar[0].rdata[0].data[3] == 32


def test_labels_that_are_no_text(agent: Agent) -> None:
    packet = bytes(DNSRecord.question("xy.node.consul").pack()).replace(b"xy", b"\xff\xfe")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(60)
        client.sendto(packet, ("127.0.0.1", agent.ports["dns"]))
        assert client.recv(512)[3] & 15 == RCODE.NXDOMAIN


def test_names_that_cannot_be_written_do_no_harm(agent: Agent) -> None:
    register(agent, "l" * 70, "10.2.0.9", "long-node", Port=1)
    register(agent, "n9", "10.2.0.8", "long-host", Address="h" * 70 + ".example", Port=1)
    assert ask(agent, "long-node.service.consul").rr
    for name in ("long-node", "long-host"):
        for kind in ("SRV", "A"):
            assert ask(agent, f"{name}.service.consul", kind).header.rcode == 0
    assert ask(agent, "9.0.2.10.in-addr.arpa", "PTR").header.rcode == RCODE.SERVFAIL


def test_answers_from_the_cache(tmp_path: Path) -> None:
    with dev_agent(tmp_path, dns_config={"use_cache": True, "cache_max_age": "1h"}) as agent:
        register(agent, "c1", "10.4.0.1", "cached", Port=1)
        agent.json("POST", "/v1/query", {"Name": "cached", "Service": {"Service": "cached"}})
        for zone in ("service", "query"):
            assert [str(row.rdata) for row in ask(agent, f"cached.{zone}.consul").rr] == ["10.4.0.1"]
            assert RCODE.get(ask(agent, f"cached.{zone}.dc9.consul").header.rcode) == "SERVFAIL"
        register(agent, "c2", "10.4.0.2", "cached", Port=1)
        agent.until(lambda: len(ask(agent, "cached.service.consul").rr) == 2)  # It is kept up in the background.
        assert len(ask(agent, "cached.query.consul").rr) == 1  # It is kept for an hour.
        assert RCODE.get(ask(agent, "none.query.consul").header.rcode) == "NXDOMAIN"
        assert RCODE.get(ask(agent, "c1.node.dc9.consul").header.rcode) == "NXDOMAIN"
