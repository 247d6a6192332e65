"""DNS messages as bytes: a question taken apart, a response put together. Pure.

Names are tuples of labels, and labels bytes: what clients ask for need not be text. dnslib makes the records; packing
is done here, because SRV's target must not be compressed itself although later names may point into it, and because
compression can be switched off.
"""

import ipaddress
import struct
from typing import Any, NamedTuple

from dnslib import EDNS0, QTYPE, RR, EDNSOption
from dnslib.label import DNSBuffer, DNSLabel

Labels = tuple[bytes, ...]
CLIENT_SUBNET = 8
"""The EDNS option in which a resolver says for whom it asks."""
_HEADER = struct.Struct("!HHHHHH")
_OPT = 41


class Malformed(ValueError):
    """Bytes that are no question."""


class ClientSubnet(NamedTuple):
    """The EDNS client subnet: address family (1: IPv4, 2: IPv6), length of the prefix in bits, and its bytes."""

    family: int
    bits: int
    address: bytes

    @property
    def ip(self) -> str:
        """The address, padded with zeros; "" when the family is unknown."""
        width = {1: 4, 2: 16}.get(self.family, 0)
        return str(ipaddress.ip_address(self.address[:width].ljust(width, b"\0"))) if width else ""


class Question(NamedTuple):
    """A question with what the response echoes. `size` is what EDNS allows for UDP, 0 without EDNS."""

    id: int
    opcode: int
    recursion_desired: bool
    checking_disabled: bool
    name: Labels
    kind: int
    klass: int
    size: int = 0
    subnet: ClientSubnet | None = None

    @property
    def text(self) -> str:
        """The name for logs, with a dot at its end."""
        return text_of(self.name)


class Reply:
    """A response in the making."""

    def __init__(self) -> None:
        self.rcode = 0
        self.authoritative = True
        self.recursion_available = False
        self.truncated = False
        self.answers: list[RR] = []
        self.authority: list[RR] = []
        self.additional: list[RR] = []
        self.edns = True
        """Whether EDNS is answered at all: not where the question was none of ours."""
        self.subnet_scope = False
        """Whether the answer holds only for the client's subnet."""


def text_of(labels: Labels) -> str:
    """Labels as text, with a dot at the end."""
    return ".".join(label.decode("utf-8", "replace") for label in labels) + "."


def labels_of(text: str) -> Labels:
    """The labels of a name that is text. Empty ones are left out."""
    return tuple(part.encode("utf-8", "surrogateescape") for part in text.split(".") if part)


def fits(labels: Labels) -> bool:
    """Whether a name can stand in a message."""
    return all(len(label) <= 63 for label in labels) and sum(len(label) + 1 for label in labels) < 255


def parse(packet: bytes) -> Question:
    """The question of a packet of at least 12 bytes. Raises Malformed; `echo_error` answers that."""
    identifier, flags, questions, answers, authorities, additionals = _HEADER.unpack_from(packet)
    if questions != 1:
        raise Malformed("there is not one question")
    try:
        name, at = _name(packet, 12)
        kind, klass = struct.unpack_from("!HH", packet, at)
        size, subnet = 0, None
        at += 4
        for number in range(answers + authorities + additionals):
            at, record = _record(packet, at)
            if number >= answers + authorities and record[0] == _OPT:
                size, subnet = max(record[1], 1), _subnet(record[2])
    except (struct.error, IndexError) as error:
        raise Malformed(str(error)) from None
    return Question(
        identifier, flags >> 11 & 15, bool(flags & 0x100), bool(flags & 0x10), name, kind, klass, size, subnet
    )


def _name(packet: bytes, at: int) -> tuple[Labels, int]:
    labels: list[bytes] = []
    end = 0
    jumps = 0
    while (length := packet[at]) != 0:
        if length >= 0xC0:
            target = (length & 0x3F) << 8 | packet[at + 1]
            end = end or at + 2
            jumps += 1
            if target >= at or jumps > 32:
                raise Malformed("a name points at itself")
            at = target
            continue
        if length > 63:
            raise Malformed("a label of an unknown kind")
        label = packet[at + 1 : at + 1 + length]
        if len(label) != length:
            raise Malformed("a label is cut")
        labels.append(label)
        at += 1 + length
    if not fits(tuple(labels)):
        raise Malformed("a name is too long")
    return tuple(labels), end or at + 1


def _record(packet: bytes, at: int) -> tuple[int, tuple[int, int, bytes]]:
    """Past a record: its type, class and data."""
    _, at = _name(packet, at)
    kind, klass, _, length = struct.unpack_from("!HHIH", packet, at)
    data = packet[at + 10 : at + 10 + length]
    if len(data) != length:
        raise Malformed("a record is cut")
    return at + 10 + length, (kind, klass, data)


def _subnet(data: bytes) -> ClientSubnet | None:
    at = 0
    while at + 4 <= len(data):
        code, length = struct.unpack_from("!HH", data, at)
        option = data[at + 4 : at + 4 + length]
        if len(option) != length:
            raise Malformed("an option is cut")
        if code == CLIENT_SUBNET:
            return _client_subnet(option)
        at += 4 + length
    return None


def _client_subnet(option: bytes) -> ClientSubnet:
    if len(option) < 4:
        raise Malformed("a client subnet is cut")
    family, bits, _ = struct.unpack_from("!HBB", option)
    limit = {0: 0, 1: 32, 2: 128}.get(family, 255)
    if bits > limit or len(option) - 4 > 16:
        raise Malformed("a client subnet is too long")
    return ClientSubnet(family, bits, option[4:])


def echo_error(packet: bytes, rcode: int) -> bytes:
    """The response to what cannot be read or is not done: a header alone."""
    identifier, flags = struct.unpack_from("!HH", packet)
    return _HEADER.pack(identifier, 0x8000 | flags & 0x7900 | rcode, 0, 0, 0, 0)


class _Buffer(DNSBuffer):  # type: ignore[misc]
    """Packs names with pointers to what came before, SRV's target whole but known from then on."""

    def encode_name_nocompress(self, name: Any) -> None:
        labels = list(name.label if isinstance(name, DNSLabel) else DNSLabel(name).label)
        while labels:
            if self.offset < 0x4000:
                self.names.setdefault(tuple(labels), self.offset)
            label = labels.pop(0)
            self.pack("!B", len(label))
            self.append(label)
        self.append(b"\0")

    def encode_name(self, name: Any) -> None:
        labels = list(name.label if isinstance(name, DNSLabel) else DNSLabel(name).label)
        while labels:
            place = self.names.get(tuple(labels))
            if place is not None:
                self.pack("!H", 0xC000 | place)
                return
            if self.offset < 0x4000:
                self.names[tuple(labels)] = self.offset
            label = labels.pop(0)
            self.pack("!B", len(label))
            self.append(label)
        self.append(b"\0")


class _PlainBuffer(_Buffer):
    """Packs every name whole."""

    def encode_name(self, name: Any) -> None:
        self.encode_name_nocompress(name)


def pack(question: Question, reply: Reply, compress: bool = True) -> bytes:
    """The response's bytes."""
    flags = 0x8000 | question.opcode << 11 | reply.rcode
    flags |= reply.authoritative << 10 | reply.truncated << 9 | reply.recursion_available << 7
    if question.opcode == 0:
        flags |= question.recursion_desired << 8 | question.checking_disabled << 4
    additional = [*reply.additional, *_edns(question, reply)]
    buffer = _Buffer() if compress else _PlainBuffer()
    sections = (reply.answers, reply.authority, additional)
    buffer.pack("!HHHHHH", question.id, flags, 1, *map(len, sections))
    buffer.encode_name(DNSLabel(question.name))
    buffer.pack("!HH", question.kind, question.klass)
    for section in sections:
        for record in section:
            record.pack(buffer)
    packed: bytes = bytes(buffer.data)
    return packed


def _edns(question: Question, reply: Reply) -> list[RR]:
    if not question.size or not reply.edns:
        return []
    options = []
    if question.subnet is not None:
        family, bits, address = question.subnet
        data = struct.pack("!HBB", family, bits, bits if reply.subnet_scope else 0) + address
        options.append(EDNSOption(CLIENT_SUBNET, data))
    return [EDNS0(udp_len=question.size, opts=options)]


def kind_name(kind: int) -> str:
    """`A`, `SRV` …; `TYPE65280` for a type without a name."""
    return str(QTYPE.get(kind)) if kind in QTYPE.forward else f"TYPE{kind}"
