"""Instances and nodes as resource records. Pure; order is the caller's business."""

import ipaddress
from collections.abc import Iterable

from dnslib import AAAA, CNAME, QTYPE, RR, SOA, SRV, TXT, A

from model.structs.catalog import CheckServiceNode, Node

FQDN_LIMIT = 253


def is_ip(text: str) -> bool:
    """Whether a text is an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def address_record(name: str, address: str, ttl: int) -> RR:
    """A or AAAA for an address, CNAME for a host name."""
    try:
        version = ipaddress.ip_address(address).version
    except ValueError:
        return RR(name, QTYPE.CNAME, ttl=ttl, rdata=CNAME(address.rstrip(".") + "."))
    if version == 4:
        return RR(name, QTYPE.A, ttl=ttl, rdata=A(address))
    return RR(name, QTYPE.AAAA, ttl=ttl, rdata=AAAA(address))


def hex_name(address: str, datacenter: str, domain: str) -> str:
    """The `.addr` name of an address."""
    packed = ipaddress.ip_address(address).packed
    return f"{packed.hex()}.addr.{datacenter}.{domain}"


def address_of(instance: CheckServiceNode) -> str:
    """Where an instance is reached: its own address, or its node's."""
    assert instance.service is not None
    assert instance.node is not None
    return instance.service.address or instance.node.address


def weight_of(instance: CheckServiceNode) -> int:
    """The SRV weight: smaller while a check warns."""
    assert instance.service is not None
    weights = instance.service.weights
    if weights is None:
        return 1
    warning = any(check.status == "warning" for check in instance.checks or ())
    return min(65535, max(0, weights.warning if warning else weights.passing))


def srv_record(name: str, instance: CheckServiceNode, ttl: int, domain: str) -> tuple[RR, list[RR]]:
    """SRV for an instance, and the address records that go with it."""
    assert instance.service is not None
    assert instance.node is not None
    node, own = instance.node, instance.service.address
    if not own:
        target = f"{node.node}.node.{node.datacenter}.{domain}"
        extra = [address_record(target, node.address, ttl)] if is_ip(node.address) else []
    elif is_ip(own):
        target = hex_name(own, node.datacenter, domain)
        extra = [address_record(target, own, ttl)]
    else:
        target, extra = own.rstrip(".") + ".", []
    port = max(0, min(65535, instance.service.port))
    return RR(name, QTYPE.SRV, ttl=ttl, rdata=SRV(1, weight_of(instance), port, target)), extra


def meta_records(name: str, node: Node, ttl: int) -> list[RR]:
    """TXT for each pair of a node's meta; `rfc1035-` keys give the value alone."""
    found = []
    for key in sorted(node.meta or {}):
        value = (node.meta or {})[key]
        text = value if key.lower().startswith("rfc1035-") else f"{key}={value}"
        found.append(RR(name, QTYPE.TXT, ttl=ttl, rdata=TXT(_chunks(text))))
    return found


def _chunks(text: str) -> list[bytes]:
    raw = text.encode("utf-8", "replace")
    return [raw[start : start + 255] for start in range(0, len(raw), 255)] or [b""]


def soa_record(domain: str, serial: int, refresh: int, retry: int, expire: int, minimum: int) -> RR:
    """The zone's SOA."""
    times = (serial, refresh, retry, expire, minimum)
    return RR(domain, QTYPE.SOA, ttl=minimum, rdata=SOA(f"ns.{domain}", f"hostmaster.{domain}", times))


def distinct(records: Iterable[RR]) -> list[RR]:
    """Records without repetitions."""
    seen: dict[str, RR] = {}
    for record in records:
        seen.setdefault(f"{record.rname} {record.rtype} {record.rdata}", record)
    return list(seen.values())
