"""How much of an answer fits: the number of records over plain UDP, then the number of bytes. Pure."""

import copy

from dnslib import QTYPE, RR

from agent.dns.wire import Labels, Question, Reply, pack

PLAIN_UDP = 512
MAX_UDP_ANSWERS = 8
MAX_TCP = 65535


def room(question: Question, udp: bool) -> int:
    """Bytes that a response may have."""
    return max(PLAIN_UDP, question.size) if udp else MAX_TCP


def most_answers(size: int, udp: bool, udp_answer_limit: int) -> int:
    """How many answers there may be at most: few over plain UDP, else as many as could fit at all."""
    if udp and size <= PLAIN_UDP:
        return min(udp_answer_limit, MAX_UDP_ANSWERS)
    return size // 16


def cut_to_fit(question: Question, reply: Reply, udp: bool, udp_answer_limit: int, compress: bool) -> bool:
    """Drop answers until the response fits, and what was said in addition about those; whether any had to go.

    Plain UDP counts bytes as if nothing were compressed, so that a resolver that writes names out again stays within
    512 bytes, too.
    """
    size = room(question, udp)
    before = len(reply.answers)
    limit = min(before, most_answers(size, udp, udp_answer_limit))
    compressed = compress and size > PLAIN_UDP
    answers, additional = reply.answers, reply.additional

    def take(count: int) -> None:
        reply.answers = answers[:count]
        reply.additional = additional if count == before else _about(reply.answers, additional)

    take(limit)
    if limit and _at_most(question, reply) > size and len(pack(question, reply, compressed)) > size:
        low, high = 0, limit - 1  # The most answers that fit are in low…high.
        while low < high:
            middle = (low + high + 1) // 2
            take(middle)
            if len(pack(question, reply, compressed)) <= size:
                low = middle
            else:
                high = middle - 1
        take(low)
    return len(reply.answers) < before


_HEAD = 12 + 4 + 11 + 24
"""Bytes of the header, the question's type and class, and EDNS with a client subnet, at most."""


def _at_most(question: Question, reply: Reply) -> int:
    """Bytes that a response has at most: what costs less to know than to write it. More than any limit if unknown."""
    total = _HEAD + _length(question.name)
    for section in (reply.answers, reply.authority, reply.additional):
        for record in section:
            total += _length(record.rname.label) + 10
            if record.rtype in _DATA:
                total += _DATA[record.rtype]
            elif record.rtype == QTYPE.SRV:
                total += 6 + _length(record.rdata.target.label)
            elif record.rtype == QTYPE.CNAME:
                total += _length(record.rdata.label.label)
            else:
                return MAX_TCP + 1
    return total


_DATA = {QTYPE.A: 4, QTYPE.AAAA: 16}


def _length(name: Labels) -> int:
    return sum(map(len, name)) + len(name) + 1


def _about(answers: list[RR], additional: list[RR]) -> list[RR]:
    """The additional records about the targets of these answers, and about what those stand for."""
    wanted = {record.rdata.target.label for record in answers if record.rtype == QTYPE.SRV}
    kept = copy.copy(additional)
    seen: set[tuple[bytes, ...]] = set()
    while wanted - seen:
        seen |= wanted
        wanted = {
            record.rdata.label.label for record in kept if record.rtype == QTYPE.CNAME and record.rname.label in seen
        }
    return [record for record in kept if record.rname.label in seen]
