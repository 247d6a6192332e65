"""Rubbish at a server's other ports: DNS, calls between servers, gossip. Mutations of what belongs there, and worse.

LICTOR_FUZZ_REQUESTS=20000 LICTOR_FUZZ_SEED=7 .venv/bin/python -m pytest tests/agent/test_hostile_ports.py
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import time
from collections.abc import Iterator
from typing import Any

import dnslib
import pytest

from gossip import wire
from model.structs.base import Empty
from model.structs.catalog_rpc import DCSpecificRequest, ServiceSpecificRequest
from model.structs.kv import DirEntry, KeyRequest, KVSRequest
from rpc.messages import encode_request
from rpc.yamux import Yamux
from tests.support.mutate import wrong_bytes
from tests.support.netns import Island
from tests.support.process import Agent, dev_agent
from tests.support.usage import Usage, unexpected, usage

PACKETS = int(os.environ.get("LICTOR_FUZZ_REQUESTS", "2000"))
SEED = int(os.environ.get("LICTOR_FUZZ_SEED", "1"))
MAX_GROWTH = 48 << 20
MAX_LOG = 1 << 20
"""Bytes that the agent may write into its log meanwhile."""
GLANCE = 0.1
"""Seconds for which an answer to rubbish is waited for now and then; most of it has none."""


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    # Gossip that is believed may name addresses anywhere: nothing gets out of here.
    with Island() as island, island.inside(), dev_agent(tmp_path_factory.mktemp("agent")) as running:
        running.json("PUT", "/v1/agent/service/register", {"Name": "web", "Port": 8080, "Tags": ["v1"]})
        yield running


@pytest.fixture
def before(agent: Agent) -> Iterator[Usage]:
    """What the agent uses; afterwards it must use little more, have said little, and work as ever."""
    used, said = usage(agent), agent.log.stat().st_size
    yield used
    ask_by_name(agent)
    agent.json("PUT", "/v1/kv/well", b"1")
    assert agent.json("GET", "/v1/catalog/service/web")[0]["ServicePort"] == 8080
    log = agent.log.read_text(errors="replace")
    assert "Traceback" not in log, unexpected(log)
    assert agent.json("GET", "/v1/agent/self")["Stats"]["agent"].get("internal_errors", "0") == "0", unexpected(log)
    assert agent.log.stat().st_size - said < MAX_LOG, log[said : said + 3000]
    assert all(len(line) < 20_000 for line in log.splitlines())
    deadline = time.monotonic() + 60
    while (now := usage(agent)).descriptors > used.descriptors + 5 or now.tasks > used.tasks + 5:
        assert time.monotonic() < deadline, (used, now)
        time.sleep(0.2)
    assert now.resident < used.resident + MAX_GROWTH, (used, now)


def ask_by_name(agent: Agent) -> None:
    """The agent answers a plain question (what comes after a flood may be lost on the way, and is asked again)."""
    question = dnslib.DNSRecord.question("web.service.consul", "SRV")
    found = agent.until(lambda: question.send("127.0.0.1", agent.ports["dns"], timeout=5))
    answer = dnslib.DNSRecord.parse(found)
    assert [row.rdata.port for row in answer.rr if row.rtype == dnslib.QTYPE.SRV] == [8080]


def questions() -> list[bytes]:
    """Questions of every kind."""
    names = ("web.service.consul", "v1.web.service.consul", "_web._v1.service.consul", "node1.node.consul", "consul")
    names = (*names, "1.0.0.127.in-addr.arpa", "x.query.consul", "c000020a.addr.dc1.consul", "web.connect.consul")
    found = []
    for name in names:
        for kind in ("A", "SRV", "ANY", "TXT", "PTR", "SOA"):
            packet = dnslib.DNSRecord.question(name, kind)
            found.append(bytes(packet.pack()))
            packet.add_ar(dnslib.EDNS0(flags="do", udp_len=4096, opts=[dnslib.EDNSOption(8, b"\0\1\x18\0\x7f\0\0")]))
            found.append(bytes(packet.pack()))
    return found


@pytest.mark.slow
@pytest.mark.timeout(max(300, PACKETS // 20))
def test_dns(agent: Agent, before: Usage) -> None:
    chance = random.Random(SEED)
    seeds = questions()
    pointer_loop = seeds[0][:12] + b"\xc0\x0c\x00\x01\x00\x01"
    many = seeds[0][:4] + b"\xff\xff" * 4 + seeds[0][12:]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.setblocking(False)
        for number in range(PACKETS):
            packet = chance.choice(
                (wrong_bytes(chance, chance.choice(seeds)),) * 8
                + (pointer_loop, many, chance.randbytes(chance.randrange(600)))
            )
            with contextlib.suppress(BlockingIOError):
                udp.sendto(packet[:65_000], ("127.0.0.1", agent.ports["dns"]))
            if number % 20 == 0:
                time.sleep(0.005)
                with contextlib.suppress(BlockingIOError):
                    while udp.recv(65_536):
                        pass
    for _ in range(PACKETS // 20):
        packet = wrong_bytes(chance, chance.choice(seeds))[:65_000]
        length = chance.choice((len(packet), len(packet), len(packet), 0, 65_535, chance.randrange(65_536)))
        talk(agent.ports["dns"], length.to_bytes(2, "big") + packet, wait=GLANCE if chance.random() < 0.2 else 0.0)


def talk(port: int, data: bytes, wait: float = 0.0) -> bytes:
    """Say something on a connection and go away, at once or after waiting some seconds for an answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as stream, contextlib.suppress(OSError):
        stream.settimeout(5)
        stream.sendall(data)
        if wait:
            stream.settimeout(wait)
            return stream.recv(65_536)
    return b""


def calls() -> list[bytes]:
    """Calls as servers make them."""
    entry = DirEntry(key="a", value=b"1")
    return [
        encode_request(1, "Status.Ping", Empty()),
        encode_request(2, "Catalog.ListNodes", DCSpecificRequest(datacenter="dc1")),
        encode_request(3, "Health.ServiceNodes", ServiceSpecificRequest(service_name="web", datacenter="dc1")),
        encode_request(4, "KVS.Apply", KVSRequest(op="set", dir_ent=entry, datacenter="dc1")),
        encode_request(5, "KVS.List", KeyRequest(key="", datacenter="dc1")),
        encode_request(6, "No.Such", Empty()),
    ]


def in_a_session(request: bytes) -> bytes:
    """A call inside the frames of a multiplexed connection."""
    machine = Yamux(True)
    stream = machine.open()
    machine.send(stream, memoryview(request))
    return bytes(machine.out)


@pytest.mark.slow
@pytest.mark.timeout(max(300, PACKETS // 20))
def test_calls_between_servers(agent: Agent, before: Usage) -> None:
    chance = random.Random(SEED)
    plain = calls()
    multiplexed = [in_a_session(request) for request in plain]
    port = agent.ports["server"]
    for request in plain:
        assert talk(port, b"\0" + request, wait=60) and talk(port, b"\4" + in_a_session(request), wait=60)
    hello = b"LICTRAFT" + (64).to_bytes(4, "big") + bytes(64)
    deep = b"\x91" * 100_000
    for number in range(PACKETS // 4):
        kind = number % 8
        data = {
            0: lambda: b"\0" + wrong_bytes(chance, chance.choice(plain)),
            1: lambda: b"\4" + wrong_bytes(chance, chance.choice(multiplexed)),
            2: lambda: b"\4" + b"".join(chance.choice(multiplexed) for _ in range(20)),
            3: lambda: b"\1" + wrong_bytes(chance, hello),
            4: lambda: b"\5" + wrong_bytes(chance, chance.choice(plain)),
            5: lambda: bytes((chance.randrange(256),)) + chance.randbytes(chance.randrange(300)),
            6: lambda: (
                b"\0"
                + chance.choice(
                    (deep, b"\xdf\xff\xff\xff\xff", b"\xdd\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff" + b"x" * 100)
                )
            ),
            7: lambda: (
                b"\4\0\0\0\1"
                + chance.randbytes(4)
                + chance.choice((b"\xff\xff\xff\xff", b"\x00\x04\x00\x01"))
                + b"x" * 70_000
            ),
        }[kind]()
        talk(port, data, wait=GLANCE if chance.random() < 0.1 else 0.0)


def packets(agent: Agent) -> list[bytes]:
    """Gossip as members send it."""
    body: dict[str, Any] = {"Incarnation": 3, "Node": "ghost", "From": "other"}
    versions = wire.VERSIONS
    alive = {"Addr": bytes((127, 0, 0, 9)), "Port": 1, "Meta": b"\xff\x81\xa4role\xa4node", "Vsn": versions}
    tags = wire.message(wire.ALIVE, {**body, **alive})
    found = [
        wire.message(
            wire.PING, {"SeqNo": 1, "Node": "node1", "SourceNode": "x", "SourceAddr": b"\x7f\0\0\1", "SourcePort": 1}
        ),
        wire.message(wire.INDIRECT_PING, {"SeqNo": 2, "Node": "x", "Target": b"\x7f\0\0\1", "Port": 1, "Nack": True}),
        wire.message(
            wire.ACK,
            {
                "SeqNo": 1,
                "Payload": b"\1" + wire.pack({"Vec": [0.1] * 8, "Error": 1.5, "Adjustment": 0.0, "Height": 0.1}),
            },
        ),
        wire.message(wire.SUSPECT, {**body, "Node": "node1"}),
        wire.message(wire.DEAD, {**body, "Node": "node1"}),
        tags,
        wire.message(wire.USER, {})[:1]
        + bytes((wire.USER_EVENT,))
        + wire.pack({"LTime": 5, "Name": "consul:event:x", "Payload": b"p", "CC": False}),
        wire.message(wire.USER, {})[:1]
        + bytes((wire.QUERY,))
        + wire.pack(
            {"LTime": 5, "ID": 1, "Addr": b"\x7f\0\0\1", "Port": 1, "Name": "q", "Timeout": 10**9, "Payload": b""}
        ),
        wire.message(wire.USER, {})[:1] + bytes((wire.JOIN_INTENT,)) + wire.pack({"LTime": 5, "Node": "ghost"}),
        wire.message(wire.USER, {})[:1]
        + bytes((wire.LEAVE_INTENT,))
        + wire.pack({"LTime": 5, "Node": "ghost", "Prune": True}),
        wire.message(wire.COMPRESSED, {"Algo": 0, "Buf": b"\x00\x03\x05\x09" * 20}),
    ]
    found += wire.join_messages(found)
    return found + [wire.with_crc(packet) for packet in found]


@pytest.mark.slow
@pytest.mark.timeout(max(300, PACKETS // 20))
def test_gossip(agent: Agent, before: Usage) -> None:
    chance = random.Random(SEED)
    seeds = packets(agent)
    port = agent.ports["serf_lan"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        for number in range(PACKETS):
            packet = (
                wrong_bytes(chance, chance.choice(seeds))[:60_000]
                if number % 10
                else chance.randbytes(chance.randrange(1, 1500))
            )
            udp.sendto(packet, ("127.0.0.1", port))
            if number % 20 == 0:
                time.sleep(0.005)
    header = wire.pack({"Join": True, "Nodes": 1, "UserStateLen": 4})
    node = {
        "Addr": b"\x7f\0\0\x09",
        "Port": 1,
        "Meta": b"\xff\x80",
        "Vsn": wire.VERSIONS,
        "Name": "ghost",
        "Incarnation": 1,
        "State": 0,
    }
    exchange = bytes((wire.PUSH_PULL,)) + header + wire.pack(node) + b"\2" + wire.pack({"LTime": 1})
    assert talk(port, exchange, wait=60)[:1] == bytes((wire.PUSH_PULL,))
    for number in range(PACKETS // 10):
        data = {
            0: lambda: wrong_bytes(chance, exchange),
            1: lambda: exchange[: chance.randrange(len(exchange))],
            2: lambda: bytes((chance.randrange(16),)) + wrong_bytes(chance, seeds[0]),
            3: lambda: (
                bytes((wire.PUSH_PULL,))
                + wire.pack({"Join": True, "Nodes": 65_535, "UserStateLen": 1 << 24})
                + b"\x80" * 200
            ),
            4: lambda: bytes((wire.COMPRESSED,)) + wire.pack({"Algo": 0, "Buf": chance.randbytes(300)}),
            5: lambda: b"\x06" + b"\x91" * 50_000,
        }[number % 6]()
        talk(port, data, wait=GLANCE if chance.random() < 0.1 else 0.0)
    status = {row["Name"]: row["Status"] for row in agent.json("GET", "/v1/agent/members")}
    assert status["node1"] == 1 and len(status) < PACKETS
