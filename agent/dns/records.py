"""Instances and nodes as resource records. Pure; order is the caller's business."""

import ipaddress
from collections.abc import Mapping
from typing import NamedTuple

from dnslib import AAAA, CNAME, NS, PTR, QTYPE, RR, SOA, SRV, TXT, A
from dnslib.label import DNSLabel

from agent.dns.wire import Labels, fits, labels_of
from model.structs.catalog import CheckServiceNode, Node

MAX_TTL = (1 << 31) - 1


def is_ip(text: str) -> bool:
    """Whether a text is an IP address, and one that a record can hold: without a zone."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text


def _record(name: Labels, kind: int, ttl: int, data: object) -> RR:
    return RR(DNSLabel(name), kind, ttl=max(0, min(ttl, MAX_TTL)), rdata=data)


def address_record(name: Labels, address: str, ttl: int) -> RR | None:
    """A or AAAA for an address, CNAME for a host name; None when that is no name."""
    if not is_ip(address):
        host = labels_of(address)
        return _record(name, QTYPE.CNAME, ttl, CNAME(DNSLabel(host))) if host and fits(host) else None
    if ":" in address:
        return _record(name, QTYPE.AAAA, ttl, AAAA(address))
    return _record(name, QTYPE.A, ttl, A(address))


def ns_record(name: Labels, target: Labels, ttl: int) -> RR:
    """Who serves a zone."""
    return _record(name, QTYPE.NS, ttl, NS(DNSLabel(target)))


def ptr_record(name: Labels, target: Labels) -> RR:
    """The name that belongs to an address."""
    return _record(name, QTYPE.PTR, 0, PTR(DNSLabel(target)))


def soa_record(zone: Labels, serial: int, refresh: int, retry: int, expire: int, minimum: int) -> RR:
    """The zone's SOA."""
    names = DNSLabel((b"ns", *zone)), DNSLabel((b"hostmaster", *zone))
    return _record(zone, QTYPE.SOA, minimum, SOA(*names, (serial, refresh, retry, expire, minimum)))


def node_name(node: Node, zone: Labels) -> Labels:
    """The whole name of a node; empty when it cannot be written."""
    name = (*labels_of(node.node), b"node", *labels_of(node.datacenter), *zone)
    return name if fits(name) else ()


def meta_records(name: Labels, node: Node, ttl: int) -> list[RR]:
    """TXT for each pair of a node's meta; `rfc1035-` keys give the value alone. None under an empty name."""
    found: list[RR] = []
    if not name:
        return found
    for key in sorted(node.meta or {}):
        value = (node.meta or {})[key]
        text = value if key.lower().startswith("rfc1035-") else f"{key}={value}"
        found.append(_record(name, QTYPE.TXT, ttl, TXT(_chunks(text))))
    return found


def _chunks(text: str) -> list[bytes]:
    raw = text.encode("utf-8", "replace")
    return [raw[start : start + 255] for start in range(0, len(raw), 255)] or [b""]


def fitting(address: str, tagged: Mapping[str, str], kind: str) -> str:
    """The address that a question for a kind of record is answered with, by what is tagged with a family."""
    if kind != "A" and tagged.get("lan_ipv6"):
        return tagged["lan_ipv6"]
    if kind != "AAAA" and tagged.get("lan_ipv4"):
        return tagged["lan_ipv4"]
    return address


class Place(NamedTuple):
    """Where an instance is reached; `own`: at an address of its own, not at its node's."""

    address: str
    own: bool


def place_of(instance: CheckServiceNode, kind: str) -> Place:
    """Where an instance is reached by someone who asks for a kind of record."""
    assert instance.service is not None
    assert instance.node is not None
    service = instance.service
    tagged = {name: one.address for name, one in (service.tagged_addresses or {}).items()}
    own = fitting(service.address, tagged, kind)
    if own:
        return Place(own, True)
    return Place(node_address(instance.node, kind), False)


def node_address(node: Node, kind: str) -> str:
    """Where a node is reached by someone who asks for a kind of record."""
    return fitting(node.address, node.tagged_addresses or {}, kind)


def weight_of(instance: CheckServiceNode) -> int:
    """The SRV weight: another one while a check warns; 1 for what fits into no SRV record."""
    assert instance.service is not None
    weights = instance.service.weights
    if weights is None:
        return 1
    warning = any(check.status == "warning" for check in instance.checks or ())
    weight, least = (weights.warning, 0) if warning else (weights.passing, 1)
    return weight if least <= weight <= 65535 else 1


def address_records(name: Labels, found: list[CheckServiceNode], kind: str, ttl: int, limit: int) -> list[RR]:
    """Up to `limit` address records of instances, each once. One with an IP address puts those with host names aside;
    of these, one alone is answered, whatever the kind."""
    hosts: list[RR] = []
    made: dict[str, RR] = {}
    plain = False
    for instance in found:
        address = place_of(instance, kind).address
        if not is_ip(address):
            record = address_record(name, address, ttl) if not hosts else None
            hosts.extend([record] if record is not None else [])
            continue
        plain = True
        if len(made) >= limit:
            break
        if address in made:
            continue
        record = address_record(name, address, ttl)
        if record is not None and (kind in ("ANY", "TXT") or QTYPE.get(record.rtype) == kind):
            made[address] = record
    return list(made.values()) if plain else hosts[:1]


class Srv(NamedTuple):
    """An SRV record with what is said in addition: the target's address, the node's meta."""

    record: RR
    address: RR | None
    """The target's address; None when the target is a name that somebody else has to say more about."""
    target: Labels
    node: Node


def srv_records(name: Labels, found: list[CheckServiceNode], ttl: int, zone: Labels, limit: int) -> list[Srv]:
    """Up to `limit` SRV records of instances; of those at one place, one."""
    made: dict[tuple[str, str, int], Srv] = {}
    for instance in found:
        assert instance.service is not None
        assert instance.node is not None
        service, node = instance.service, instance.node
        key = (node.node, service.address, service.port)
        if key in made:
            continue
        if len(made) >= limit:
            break
        place = place_of(instance, "SRV")
        address: RR | None = None
        if not is_ip(place.address):
            target = labels_of(place.address)
        elif place.own:
            packed = ipaddress.ip_address(place.address).packed
            target = (packed.hex().encode(), b"addr", *labels_of(node.datacenter), *zone)
        else:
            target = node_name(node, zone)
        if not target or not fits(target):
            continue
        if is_ip(place.address):
            address = address_record(target, place.address, ttl)
        port = max(0, min(65535, service.port))
        record = _record(name, QTYPE.SRV, ttl, SRV(1, weight_of(instance), port, DNSLabel(target)))
        made[key] = Srv(record, address, target, node)
    return list(made.values())
