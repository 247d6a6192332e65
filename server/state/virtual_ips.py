"""Virtual addresses: one for each service in the mesh, handed out in order from 240.0.0.0/4, freed ones first."""

import ipaddress

from model.commands import Command, CommandType, Record
from model.structs.catalog import PeeredServiceName, ServiceName
from model.structs.operator import FreeVirtualIP, ServiceVirtualIP
from model.tables import Indexes, Journal, Table, Watch

_BASE = int(ipaddress.IPv4Address("240.0.0.0"))
_TABLE = "service-virtual-ips"
_MAPPED = b"\0" * 10 + b"\xff\xff"


class VirtualIps:
    """Which service has which address. Rows hold the offset from 240.0.0.0, as an IPv4-mapped address."""

    def __init__(self, journal: Journal, indexes: Indexes) -> None:
        self._journal = journal
        self._indexes = indexes
        self.assigned: Table[ServiceVirtualIP] = Table(
            journal, lambda row: (row.service.peer, row.service.service_name.name.lower())
        )
        self.free: Table[FreeVirtualIP] = Table(journal, lambda row: (row.is_counter, row.ip or b""))

    def commands(self) -> list[Command]:
        """None: addresses come and go with registrations."""
        return []

    def records(self) -> list[Record]:
        """What is assigned, what is free and how far the counter is."""
        return [
            Record(CommandType.SERVICE_VIRTUAL_IP, ServiceVirtualIP, self.assigned.captured, self._load),
            Record(CommandType.FREE_VIRTUAL_IP, FreeVirtualIP, self.free.captured, self.free.put),
        ]

    def _load(self, row: ServiceVirtualIP) -> None:
        self.assigned.put(row)
        self._indexes.raise_to(row.modify_index, _TABLE)

    def address(self, service: str, watch: Watch | None = None) -> str:
        """The address of a service, or "" when it has none."""
        if watch is not None:
            watch.note(("virtual-ip", service.lower()))
        row = self.assigned.get(("", service.lower()))
        return _text(row.ip) if row else ""

    def assign(self, index: int, service: str) -> str:
        """The address of a service, which gets one now if it has none; "" when none is left."""
        row = self.assigned.get(("", service.lower()))
        if row is None:
            ip = self._next()
            if ip is None:
                return ""
            name = PeeredServiceName(service_name=ServiceName(name=service))
            row = ServiceVirtualIP(service=name, ip=ip, create_index=index, modify_index=index)
            self.assigned.put(row)
            self._changed(index, service)
        return _text(row.ip)

    def release(self, index: int, service: str) -> None:
        """Take a service's address back, if it has one."""
        row = self.assigned.delete(("", service.lower()))
        if row is not None:
            self.free.put(FreeVirtualIP(ip=row.ip))
            self._changed(index, service)

    def _next(self) -> bytes | None:
        freed = next((row for row in self.free if not row.is_counter), None)
        if freed is not None:
            self.free.delete((False, freed.ip or b""))
            return freed.ip
        counter = next((row for row in self.free.between((True, b""))), None)
        offset = _offset(counter.ip) + 1 if counter else 1
        if offset > 0x0FFFFFFE:
            return None
        if counter is not None:
            self.free.delete((True, counter.ip or b""))
        ip = _MAPPED + offset.to_bytes(4, "big")
        self.free.put(FreeVirtualIP(ip=ip, is_counter=True))
        return ip

    def _changed(self, index: int, service: str) -> None:
        self._indexes.set(index, _TABLE)
        self._journal.touch(("virtual-ip", service.lower()))


def _offset(ip: bytes | None) -> int:
    return int.from_bytes((ip or b"")[-4:], "big")


def _text(ip: bytes | None) -> str:
    return str(ipaddress.IPv4Address(_BASE + _offset(ip)))
