"""DNS messages as bytes: what is read, what is refused, what is written."""

import struct

import pytest
from dnslib import EDNS0, QTYPE, RR, SRV, A, DNSRecord, EDNSOption
from dnslib.label import DNSLabel
from hypothesis import given
from hypothesis import strategies as st

from agent.dns.records import address_record
from agent.dns.sizes import cut_to_fit
from agent.dns.wire import ClientSubnet, Malformed, Question, Reply, echo_error, kind_name, labels_of, pack, parse

NAME = (b"Web", b"service", b"consul")


def asked(name: str = "Web.service.consul", kind: str = "A", *options: EDNSOption, size: int = 0) -> bytes:
    record = DNSRecord.question(name, kind)
    record.header.id = 4711
    if size:
        record.add_ar(EDNS0(udp_len=size, opts=list(options)))
    return bytes(record.pack())


def test_a_question_is_taken_apart() -> None:
    question = parse(asked(kind="SRV"))
    assert (question.name, question.kind, question.klass) == (NAME, 33, 1)
    assert question.recursion_desired
    assert (question.size, question.subnet) == (0, None)
    assert question.text == "Web.service.consul."


def test_labels_need_not_be_text() -> None:
    packet = asked("xy.node.consul").replace(b"xy", b"\xff\xfe")
    assert parse(packet).name[0] == b"\xff\xfe"
    assert b"\x02\xff\xfe" in pack(parse(packet), Reply())


def test_edns_and_the_clients_subnet() -> None:
    subnet = EDNSOption(8, struct.pack("!HBB", 1, 24, 0) + bytes((192, 0, 2)))
    question = parse(asked("a.consul", "A", EDNSOption(10, b"12345678"), subnet, size=4096))
    assert question.size == 4096
    assert question.subnet == ClientSubnet(1, 24, bytes((192, 0, 2)))
    assert question.subnet is not None
    assert question.subnet.ip == "192.0.2.0"
    reply = Reply()
    for scoped in (False, True):
        reply.subnet_scope = scoped
        option = DNSRecord.parse(pack(question, reply)).ar[0]
        assert option.rclass == 4096
        assert option.rdata[0].data == struct.pack("!HBB", 1, 24, 24 if scoped else 0) + bytes((192, 0, 2))
    reply.edns = False
    assert not DNSRecord.parse(pack(question, reply)).ar


@pytest.mark.parametrize(
    "packet",
    [
        asked()[:14],
        asked()[:-1],
        asked()[:4] + b"\0\2" + asked()[6:],
        asked()[:4] + b"\0\0" + asked()[6:],
        asked()[:11] + b"\1" + asked()[12:],
        asked()[:12] + b"\xc0\x0c" + asked()[12:],
        asked()[:12] + b"\x40" + asked()[13:],
        asked("a.consul", "A", EDNSOption(8, b"\0\1"), size=512),
        asked("a.consul", "A", EDNSOption(8, b"\0\1\x21\0" + b"1" * 4), size=512),
    ],
)
def test_refused(packet: bytes) -> None:
    with pytest.raises(Malformed):
        parse(packet)
    answer = echo_error(packet, 1)
    assert len(answer) == 12
    assert answer[:2] == packet[:2]
    assert answer[2] & 0x81 == 0x81
    assert answer[3] == 1


@given(st.binary(min_size=12, max_size=80))
def test_rubbish_is_malformed_or_a_question(packet: bytes) -> None:
    try:
        question = parse(packet)
    except Malformed:
        question = None
    assert question is None or len(pack(question, Reply())) >= 12


def filled(count: int, kind: str, name: str = "c40.service.consul") -> tuple[Question, Reply]:
    question = Question(1, 0, True, False, labels_of(name), QTYPE.reverse[kind], 1)
    reply = Reply()
    for number in range(1, count + 1):
        if kind == "A":
            reply.answers.append(RR(DNSLabel(question.name), QTYPE.A, rdata=A(f"10.0.0.{number}")))
            continue
        target = labels_of(f"i{number:02}.node.dc1.consul")
        reply.answers.append(RR(DNSLabel(question.name), QTYPE.SRV, rdata=SRV(1, 1, 80, DNSLabel(target))))
        address = address_record(target, f"10.0.0.{number}", 0)
        assert address is not None
        reply.additional.append(address)
    return question, reply


def test_targets_are_written_whole_and_pointed_at() -> None:
    question, reply = filled(1, "SRV")
    packet = pack(question, reply)
    # Header, question, SRV with a whole target, and an address whose owner is two bytes.
    assert len(packet) == 12 + 24 + (2 + 10 + 6 + 21) + (2 + 10 + 4)
    assert str(DNSRecord.parse(packet).ar[0].rname) == "i01.node.dc1.consul."
    assert len(pack(question, reply, compress=False)) == 12 + 24 + (20 + 10 + 6 + 21) + (21 + 10 + 4)


@pytest.mark.parametrize(
    ("kind", "count", "edns", "udp", "limit", "compress", "left"),
    [
        ("A", 3, 0, True, 3, True, 3),
        ("A", 10, 0, True, 3, True, 3),
        ("A", 10, 0, True, 100, True, 8),
        ("A", 10, 0, True, 0, True, 0),
        ("A", 40, 1232, True, 3, True, 40),
        ("A", 40, 1232, True, 3, False, 34),
        ("SRV", 10, 0, True, 100, True, 5),
        ("SRV", 10, 512, True, 100, True, 5),
        ("SRV", 40, 1024, True, 3, True, 17),
        ("SRV", 40, 1232, True, 3, True, 21),
        ("SRV", 40, 1232, True, 3, False, 12),
        ("SRV", 40, 0, False, 3, True, 40),
    ],
)
def test_how_much_fits(kind: str, count: int, edns: int, udp: bool, limit: int, compress: bool, left: int) -> None:
    question, reply = filled(count, kind)
    question = question._replace(size=edns)
    assert cut_to_fit(question, reply, udp, limit, compress) == (left < count)
    assert len(reply.answers) == left
    if kind == "SRV":
        assert [str(record.rname) for record in reply.additional] == [
            str(record.rdata.target) for record in reply.answers
        ]
    if udp:
        assert len(pack(question, reply, compress)) <= max(512, edns)


def test_names_of_kinds() -> None:
    assert [kind_name(kind) for kind in (1, 33, 255, 65280)] == ["A", "SRV", "ANY", "TYPE65280"]
