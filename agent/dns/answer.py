"""One question from its bytes to its response."""

import asyncio
import ipaddress
import logging
import random
import time
from typing import Any

import msgspec
from dnslib import EDNS0, NS, PTR, QTYPE, RCODE, RR, DNSError, DNSHeader, DNSQuestion, DNSRecord

from agent.config.settings import Config
from agent.dns import names, records
from model.durations import SECOND, DurationError, parse_duration
from model.errors import NO_PATH_TO_DATACENTER, RpcError
from model.metrics import METRICS
from model.structs.catalog import CheckServiceNode
from model.structs.catalog_rpc import DCSpecificRequest, NodeSpecificRequest, ServiceSpecificRequest
from model.structs.queries import PreparedQueryExecuteRequest
from rpc.caller import Caller

log = logging.getLogger("lictor.agent.dns")

_REVERSE = (".in-addr.arpa.", ".ip6.arpa.")
_STALE = METRICS.counter("dns.stale_queries")

UDP_LIMIT = 512
MAX_UDP_ANSWERS = 8
STALE_WARNING = 5 * SECOND


class Resolver:
    """Answers questions for the agent's domain; others go to the recursors."""

    def __init__(self, caller: Caller, config: Config) -> None:
        self._caller = caller
        self.config = config
        self._times = METRICS.sample("dns.domain_query", node=config.node_name)
        self._reverse_times = METRICS.sample("dns.ptr_query", node=config.node_name)

    @property
    def _domains(self) -> list[str]:
        return [domain for domain in (self.config.domain, self.config.alt_domain) if domain]

    async def respond(self, packet: bytes, udp: bool, client: str) -> bytes | None:
        """The response to a packet; None when it deserves none."""
        if len(packet) < 12 or packet[2] & 0x80:
            return None
        header = int.from_bytes(packet[:2], "big")
        opcode = packet[2] >> 3 & 15
        if int.from_bytes(packet[4:6], "big") != 1:
            return _bare(header, opcode, RCODE.FORMERR)
        try:
            request = DNSRecord.parse(packet)
        except (DNSError, ValueError, IndexError, UnicodeError, TypeError, KeyError):
            return _bare(header, opcode, RCODE.FORMERR)
        if opcode not in (0, 4):
            return _bare(header, opcode, RCODE.NOTIMP)
        size = UDP_LIMIT if udp else 65535
        edns = next((record for record in request.ar if record.rtype == QTYPE.OPT), None)
        if edns is not None and udp:
            size = max(UDP_LIMIT, edns.rclass)
        began = time.perf_counter()
        try:
            reply, foreign = await self._reply(request, udp, size, client)
        except RpcError as error:
            log.warning("cannot answer %s: %s", request.q.qname, error.text)
            reply, foreign = self._new(request), False
            unknown = error.has(NO_PATH_TO_DATACENTER)
            reply.header.rcode = RCODE.NXDOMAIN if unknown else RCODE.SERVFAIL
            if unknown:
                reply.add_auth(self._soa(self._zone_of(request) or self.config.domain))
        asked_name = str(request.q.qname).lower()
        times = self._reverse_times if asked_name.endswith(_REVERSE) else self._times
        times.add((time.perf_counter() - began) * 1000.0)
        if isinstance(reply, bytes):
            return reply
        if edns is not None and not foreign:
            reply.add_ar(EDNS0(udp_len=edns.rclass))
        return self._fit(reply, size, udp)

    def _fit(self, reply: DNSRecord, size: int, udp: bool) -> bytes:
        """The packet, cut to `size`: additional records go first, then answers."""
        packed: bytes = reply.pack()
        cut = False
        while len(packed) > size and (reply.rr or reply.ar):
            removable = [record for record in reply.ar if record.rtype != QTYPE.OPT]
            if removable and not cut and len(removable) >= len(reply.rr):
                reply.ar.remove(removable[-1])
            elif reply.rr:
                gone = reply.rr.pop()
                cut = True
                target = getattr(gone.rdata, "target", None)
                reply.ar = [record for record in reply.ar if target is None or record.rname != target]
            else:
                reply.ar.remove(removable[-1])
            packed = reply.pack()
        if cut and udp and self.config.dns.enable_truncate:
            reply.header.tc = 1
            packed = reply.pack()
        return packed

    def _new(self, request: DNSRecord) -> DNSRecord:
        header = DNSHeader(id=request.header.id, qr=1, aa=1, rd=request.header.rd, ra=int(bool(self.config.recursors)))
        return DNSRecord(header, q=DNSQuestion(request.q.qname, request.q.qtype, request.q.qclass))

    def _zone_of(self, request: DNSRecord) -> str:
        name = str(request.q.qname).lower()
        return next((zone for zone in self._domains if name == zone or name.endswith("." + zone)), "")

    def _soa(self, zone: str) -> RR:
        soa = self.config.dns.soa
        return records.soa_record(zone, int(time.time()), soa.refresh, soa.retry, soa.expire, soa.min_ttl)

    async def _reply(self, request: DNSRecord, udp: bool, size: int, client: str) -> tuple[Any, bool]:
        name, kind = str(request.q.qname), QTYPE.get(request.q.qtype)
        lower = name.lower()
        if lower.endswith(_REVERSE):
            found = await self._reverse(request, lower)
            if found is not None:
                return found, False
            return await self._recurse(request, udp)
        zone = self._zone_of(request)
        if not zone:
            return await self._recurse(request, udp)
        reply = self._new(request)
        if kind == "AXFR":
            reply.header.rcode = RCODE.NOTIMP
            return reply, False
        if kind == "SOA":
            reply.add_answer(self._soa(zone))
            await self._name_servers(reply, zone, authority=True)
            return reply, False
        if kind == "NS":
            await self._name_servers(reply, zone, authority=False)
            return reply, False
        labels = [part.decode("utf-8", "replace") for part in request.q.qname.label]
        asked = names.parse(labels[: len(labels) - zone.count(".")], self.config.datacenter)
        await self._answer(reply, name, kind, asked, zone, udp, size)
        return reply, False

    async def _answer(
        self, reply: DNSRecord, name: str, kind: str, asked: names.Asked, zone: str, udp: bool, size: int
    ) -> None:
        if asked.kind == "node":
            await self._node(reply, name, kind, asked, zone)
        elif asked.kind in ("service", "connect", "ingress"):
            if not asked.name:
                reply.header.rcode = RCODE.SERVFAIL
                return
            await self._service(reply, name, kind, asked, zone, udp, size)
        elif asked.kind == "addr":
            self._addr(reply, name, kind, asked.name, zone)
        elif asked.kind == "virtual":
            args = ServiceSpecificRequest(service_name=asked.name, datacenter=asked.datacenter, allow_stale=True)
            address = await self._caller.call("Catalog.VirtualIPForService", args)
            if address and kind in ("A", "ANY"):
                reply.add_answer(records.address_record(name, address, 0))
        elif asked.kind == "query":
            await self._query(reply, name, kind, asked, zone, udp, size)
        else:
            self._nothing(reply, zone)

    def _nothing(self, reply: DNSRecord, zone: str, exists: bool = False) -> None:
        if not exists:
            reply.header.rcode = RCODE.NXDOMAIN
        reply.add_auth(self._soa(zone))

    async def _name_servers(self, reply: DNSRecord, zone: str, authority: bool) -> None:
        found = await self._instances("consul", "", self.config.datacenter)
        for instance in found[:3]:
            assert instance.node is not None
            target = f"{instance.node.node}.node.{instance.node.datacenter}.{zone}"
            record = RR(zone, QTYPE.NS, ttl=int(self.config.dns.node_ttl), rdata=NS(target))
            if authority:
                reply.add_auth(record)
            else:
                reply.add_answer(record)
            reply.add_ar(records.address_record(target, instance.node.address, int(self.config.dns.node_ttl)))

    # Nodes

    async def _node(self, reply: DNSRecord, name: str, kind: str, asked: names.Asked, zone: str) -> None:
        stale = self.config.dns.allow_stale
        args = NodeSpecificRequest(node=asked.name, datacenter=asked.datacenter, allow_stale=stale)
        answer = await self._caller.call("Catalog.NodeServices", args)
        if answer.node_services is None or answer.node_services.node is None:
            self._nothing(reply, zone)
            return
        node = answer.node_services.node
        ttl = int(self.config.dns.node_ttl)
        record = records.address_record(name, node.address, ttl)
        alias = record.rtype == QTYPE.CNAME and kind in ("A", "AAAA")
        wanted = alias or kind in ("ANY", QTYPE.get(record.rtype))
        if wanted:
            reply.add_answer(record)
        meta = records.meta_records(name, node, ttl)
        if kind in ("ANY", "TXT"):
            for one in meta:
                reply.add_answer(one)
        elif wanted and self.config.dns.enable_additional_node_meta_txt:
            for one in meta:
                reply.add_ar(one)

    def _addr(self, reply: DNSRecord, name: str, kind: str, text: str, zone: str) -> None:
        try:
            packed = bytes.fromhex(text)
            address = str(ipaddress.ip_address(packed))
        except ValueError:
            self._nothing(reply, zone)
            return
        record = records.address_record(name, address, int(self.config.dns.node_ttl))
        if kind in ("ANY", QTYPE.get(record.rtype)):
            reply.add_answer(record)
        else:
            reply.add_ar(record)

    # Services

    async def _instances(
        self, name: str, tag: str, datacenter: str, served_by: str = "service"
    ) -> list[CheckServiceNode]:
        """The healthy instances of a service, or what serves it: "connect" proxies or "ingress" gateways."""
        dns = self.config.dns
        args = ServiceSpecificRequest(
            service_name=name,
            connect=served_by == "connect",
            ingress=served_by == "ingress",
            service_tags=[tag] if tag else None,
            tag_filter=bool(tag),
            datacenter=datacenter,
            allow_stale=dns.allow_stale,
        )
        answer = await self._caller.call("Health.ServiceNodes", args)
        if answer.last_contact > STALE_WARNING:
            _STALE.add()
        if dns.allow_stale and answer.last_contact > dns.max_stale * SECOND:
            answer = await self._caller.call("Health.ServiceNodes", _fresh(args))
        found = []
        for instance in answer.nodes or ():
            statuses = {check.status for check in instance.checks or ()}
            if "critical" in statuses or (dns.only_passing and statuses - {"passing"}):
                continue
            found.append(instance)
        return found

    def _service_ttl(self, name: str) -> int:
        table = self.config.dns.service_ttl
        if name in table:
            return int(table[name])
        best = [key for key in table if key.endswith("*") and name.startswith(key[:-1])]
        return int(table[max(best, key=len)]) if best else 0

    async def _service(
        self, reply: DNSRecord, name: str, kind: str, asked: names.Asked, zone: str, udp: bool, size: int
    ) -> None:
        found = await self._instances(asked.name, asked.tag, asked.datacenter, asked.kind)
        if not found:
            self._nothing(reply, zone)
            return
        self._fill(reply, name, kind, found, zone, self._service_ttl(asked.name), udp, size)

    async def _query(
        self, reply: DNSRecord, name: str, kind: str, asked: names.Asked, zone: str, udp: bool, size: int
    ) -> None:
        args = PreparedQueryExecuteRequest(
            query_id_or_name=asked.name, datacenter=asked.datacenter, allow_stale=self.config.dns.allow_stale
        )
        try:
            answer = await self._caller.call("PreparedQuery.Execute", args)
        except RpcError as error:
            if not error.has("Query not found"):
                raise
            self._nothing(reply, zone)
            return
        ttl = self._service_ttl(answer.service)
        if answer.dns.ttl:
            try:
                ttl = parse_duration(answer.dns.ttl) // SECOND
            except DurationError:
                log.warning("the TTL of query %s is no duration", asked.name)
        if not answer.nodes:
            self._nothing(reply, zone)
            return
        self._fill(reply, name, kind, list(answer.nodes), zone, ttl, udp, size)

    def _fill(
        self,
        reply: DNSRecord,
        name: str,
        kind: str,
        found: list[CheckServiceNode],
        zone: str,
        ttl: int,
        udp: bool,
        size: int,
    ) -> None:
        random.shuffle(found)
        limit = len(found)
        if udp and size <= UDP_LIMIT:
            limit = min(self.config.dns.udp_answer_limit or limit, MAX_UDP_ANSWERS)
        if kind == "SRV":
            for instance in found[:limit]:
                record, extra = records.srv_record(name, instance, ttl, zone)
                reply.add_answer(record)
                for one in extra:
                    reply.add_ar(one)
                if self.config.dns.enable_additional_node_meta_txt and instance.node is not None and extra:
                    for one in records.meta_records(str(extra[0].rname), instance.node, ttl):
                        reply.add_ar(one)
            return
        self._addresses(reply, name, kind, found, ttl, limit)
        if not reply.rr:
            self._nothing(reply, zone, exists=True)

    def _addresses(
        self, reply: DNSRecord, name: str, kind: str, found: list[CheckServiceNode], ttl: int, limit: int
    ) -> None:
        plain = [instance for instance in found if records.is_ip(records.address_of(instance))]
        if self.config.dns.a_record_limit:
            limit = min(limit, self.config.dns.a_record_limit)
        made = [records.address_record(name, records.address_of(one), ttl) for one in plain or found[:1]]
        wanted = [
            record
            for record in records.distinct(made)
            if kind in ("ANY", "TXT") or record.rtype == QTYPE.CNAME or QTYPE.get(record.rtype) == kind
        ]
        if kind not in ("A", "AAAA", "ANY", "TXT"):
            wanted = [record for record in wanted if record.rtype == QTYPE.CNAME]
        for record in wanted[:limit]:
            reply.add_answer(record)
        if self.config.dns.enable_additional_node_meta_txt and wanted:
            owners = {records.address_of(one): one.node for one in plain}
            for record in wanted[:limit]:
                node = owners.get(str(record.rdata))
                if node is not None:
                    for one in records.meta_records(name, node, ttl):
                        reply.add_ar(one)

    # Addresses to names, and the rest of the world

    async def _reverse(self, request: DNSRecord, name: str) -> DNSRecord | None:
        address = _reverse_address(name)
        if address is None:
            return None
        args = DCSpecificRequest(datacenter=self.config.datacenter, allow_stale=self.config.dns.allow_stale)
        listed = await self._caller.call("Catalog.ListNodes", args)
        reply = self._new(request)
        for node in listed.nodes or ():
            if node.address == address:
                target = f"{node.node}.node.{node.datacenter}.{self.config.domain}"
                reply.add_answer(RR(str(request.q.qname), QTYPE.PTR, ttl=0, rdata=PTR(target)))
                return reply
        services = ServiceSpecificRequest(
            service_address=address, datacenter=self.config.datacenter, allow_stale=self.config.dns.allow_stale
        )
        try:
            found = await self._caller.call("Catalog.ServiceNodes", services)
        except RpcError:
            return None
        for row in found.service_nodes or ():
            if row.service_address == address:
                target = f"{row.service_name}.service.{self.config.domain}"
                reply.add_answer(RR(str(request.q.qname), QTYPE.PTR, ttl=0, rdata=PTR(target)))
        return reply if reply.rr else None

    async def _recurse(self, request: DNSRecord, udp: bool) -> tuple[Any, bool]:
        reply = self._new(request)
        reply.header.aa = 0
        if not self.config.recursors:
            reverse = str(request.q.qname).lower().endswith(".arpa.")
            reply.header.rcode = RCODE.SERVFAIL if reverse else RCODE.REFUSED
            return reply, True
        recursors = list(self.config.recursors)
        if self.config.dns.recursor_strategy == "random":
            random.shuffle(recursors)
        for recursor in recursors:
            try:
                answer = await _ask(recursor, request.pack(), self.config.dns.recursor_timeout, udp)
            except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
                log.warning("recursor %s failed: %s", recursor, error or "timed out")
                continue
            if len(answer) >= 4 and answer[3] & 15 in (RCODE.SERVFAIL, RCODE.REFUSED):
                continue
            return bytes(answer[:3]) + bytes((answer[3] | 0x80,)) + bytes(answer[4:]), True
        reply.header.rcode = RCODE.SERVFAIL
        return reply, True


def _fresh(args: ServiceSpecificRequest) -> ServiceSpecificRequest:
    return msgspec.structs.replace(args, allow_stale=False)


def _bare(identifier: int, opcode: int, rcode: int) -> bytes:
    header = DNSHeader(id=identifier, qr=1, rcode=rcode, rd=0)
    header.opcode = opcode
    packed: bytes = DNSRecord(header).pack()
    return packed


def _reverse_address(name: str) -> str | None:
    try:
        if name.endswith(".in-addr.arpa."):
            parts = name[: -len(".in-addr.arpa.")].split(".")
            return str(ipaddress.IPv4Address(".".join(reversed(parts))))
        digits = name[: -len(".ip6.arpa.")].split(".")
        return str(ipaddress.IPv6Address(bytes.fromhex("".join(reversed(digits)))))
    except ValueError:
        return None


async def _ask(recursor: str, packet: bytes, seconds: float, udp: bool) -> bytes:
    """Put a question to another DNS server. Raises OSError, TimeoutError."""
    host, _, port = recursor.rpartition(":") if recursor.count(":") == 1 or "]" in recursor else (recursor, "", "53")
    host, number = host.strip("[]"), int(port or 53)
    async with asyncio.timeout(seconds):
        if not udp:
            reader, writer = await asyncio.open_connection(host, number)
            try:
                writer.write(len(packet).to_bytes(2, "big") + packet)
                return await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
            finally:
                writer.close()
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[bytes] = loop.create_future()

        class _Client(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, addr: object) -> None:
                if not answered.done() and data[:2] == packet[:2]:
                    answered.set_result(data)

            def error_received(self, exc: Exception) -> None:
                if not answered.done():
                    answered.set_exception(exc)

        transport, _ = await loop.create_datagram_endpoint(_Client, remote_addr=(host, number))
        try:
            transport.sendto(packet)
            return await answered
        finally:
            transport.close()
