"""One question from its bytes to its response."""

import ipaddress
import logging
import random
import time
from typing import Any

import msgspec
from dnslib import QTYPE, RCODE, RR

from agent.cache import Cache, Wanted
from agent.config.settings import Config
from agent.dns import names, records, recursors, sizes, wire
from agent.dns.wire import Labels, Question, Reply, labels_of, text_of
from agent.translating import translated
from model.durations import SECOND, DurationError, parse_duration
from model.errors import NO_PATH_TO_DATACENTER, RpcError
from model.structs.catalog import CheckServiceNode
from model.structs.catalog_rpc import DCSpecificRequest, NodeSpecificRequest, QuerySource, ServiceSpecificRequest
from model.structs.queries import PreparedQueryExecuteRequest
from rpc.caller import Caller

log = logging.getLogger("lictor.agent.dns")

MAX_ALIASES = 3
"""How many names are followed from one to the next."""
_FOLLOWED = (QTYPE.A, QTYPE.AAAA, QTYPE.CNAME)


class _OfCache(RpcError):
    """The cache could not ask. What is wrong with the question is then no longer told apart."""


class _Lookup:
    """A name to look up in a zone, and how."""

    __slots__ = ("aliases", "client", "kind", "name", "size", "udp", "zone")

    def __init__(self, name: Labels, kind: str, zone: Labels, udp: bool, size: int, client: str) -> None:
        self.name, self.kind, self.udp, self.size, self.client = name, kind, udp, size, client
        self.zone = zone
        """The zone in the letters of the question: targets under it are written so."""
        self.aliases = MAX_ALIASES
        """How many names may still be followed."""

    def of(self, name: Labels, zone: Labels) -> "_Lookup":
        """The look-up of a name that this one leads to: of everything there is about it."""
        further = _Lookup(name, "ANY", zone, self.udp, self.size, self.client)
        further.aliases = self.aliases - 1
        return further


class Resolver:
    """Answers questions for the agent's domain; others go to the recursors."""

    def __init__(self, caller: Caller, config: Config, cache: Cache | None = None) -> None:
        self._caller = caller
        self._cache = cache
        self.config = config

    async def respond(self, packet: bytes, udp: bool, client: str) -> bytes | None:
        """The response to a packet; None when it deserves none."""
        if len(packet) < 12 or packet[2] & 0x80:
            return None
        opcode = packet[2] >> 3 & 15
        if opcode not in (0, 4):
            return wire.echo_error(packet, RCODE.NOTIMP)
        try:
            question = wire.parse(packet)
        except wire.Malformed:
            return wire.echo_error(packet, RCODE.FORMERR)
        reply = Reply()
        reply.recursion_available = bool(self.config.recursors)
        try:
            foreign = await self._fill(reply, question, packet, udp, client)
        except RpcError as error:
            log.warning("cannot answer %s: %s", question.text, error.text)
            foreign = None
            unknown = error.has(NO_PATH_TO_DATACENTER) and not isinstance(error, _OfCache)
            reply.answers, reply.additional, reply.authority = [], [], []
            reply.rcode = RCODE.NXDOMAIN if unknown else RCODE.SERVFAIL
            if unknown:
                reply.authority.append(self._soa(self._zone_of(question.name)))
        if foreign is not None:
            return foreign
        dns = self.config.dns
        compress = not dns.disable_compression
        cut = sizes.cut_to_fit(question, reply, udp, dns.udp_answer_limit, compress)
        reply.truncated = cut and dns.enable_truncate
        return wire.pack(question, reply, compress)

    async def _fill(self, reply: Reply, question: Question, packet: bytes, udp: bool, client: str) -> bytes | None:
        """Answer in `reply`; or the whole response, when somebody else gave it."""
        name, kind = question.name, wire.kind_name(question.kind)
        lower = tuple(label.lower() for label in name)
        if lower[-2:] in ((b"in-addr", b"arpa"), (b"ip6", b"arpa")):
            if await self._reverse(reply, name):
                return None
            return await self._recurse(reply, packet, udp, RCODE.SERVFAIL)
        zone = self._zone_of(name)
        if not zone:
            return await self._recurse(reply, packet, udp, RCODE.REFUSED)
        if kind == "AXFR":
            reply.rcode = RCODE.NOTIMP
        elif kind == "SOA":
            reply.answers.append(self._soa(self._own_zone))
            await self._name_servers(reply, zone, reply.authority)
        elif kind == "NS":
            await self._name_servers(reply, zone, reply.answers)
        else:
            source = question.subnet.ip if question.subnet is not None else ""
            size = sizes.room(question, udp)
            await self._look_up(reply, _Lookup(name, kind, name[-len(zone) :], udp, size, source or client))
        return None

    # Zones

    @property
    def _own_zone(self) -> Labels:
        return labels_of(self.config.domain)

    def _zone_of(self, name: Labels) -> Labels:
        """The zone that a name is in, in small letters; empty when it is in none of ours."""
        for domain in (self.config.domain, self.config.alt_domain):
            zone = labels_of(domain)
            if zone and tuple(label.lower() for label in name[-len(zone) :]) == zone:
                return zone
        return ()

    def _soa(self, zone: Labels) -> RR:
        soa = self.config.dns.soa
        return records.soa_record(
            zone or self._own_zone, int(time.time()), soa.refresh, soa.retry, soa.expire, soa.min_ttl
        )

    def _nothing(self, reply: Reply, zone: Labels, exists: bool = False) -> None:
        if not exists:
            reply.rcode = RCODE.NXDOMAIN
        reply.authority.append(self._soa(tuple(label.lower() for label in zone)))

    async def _name_servers(self, reply: Reply, zone: Labels, section: list[RR]) -> None:
        ttl = int(self.config.dns.node_ttl)
        found = await self._instances("consul", "", self.config.datacenter)
        for instance in found[:3]:
            assert instance.node is not None
            target = records.node_name(instance.node, zone)
            if not target:
                continue
            section.append(records.ns_record(zone, target, ttl))
            address = records.address_record(target, instance.node.address, ttl)
            reply.additional.extend([address] if address is not None else [])

    # Names in a zone

    async def _look_up(self, reply: Reply, ask: _Lookup) -> None:
        own = ask.name[: len(ask.name) - len(ask.zone)]
        asked = names.parse([label.decode("utf-8", "replace") for label in own], self.config.datacenter)
        if asked.kind == "node":
            await self._node(reply, ask, asked)
        elif asked.kind in ("service", "connect", "ingress"):
            if not asked.name:
                reply.rcode = RCODE.SERVFAIL
                return
            found = await self._instances(asked.name, asked.tag, asked.datacenter, asked.kind)
            random.shuffle(found)
            await self._services(reply, ask, found, self._service_ttl(asked.name))
        elif asked.kind == "query":
            await self._query(reply, ask, asked)
        elif asked.kind == "addr":
            self._addr(reply, ask, asked.name)
        elif asked.kind == "virtual":
            await self._virtual(reply, ask, asked)
        elif asked.kind == "apex":
            self._nothing(reply, self._own_zone)
        elif asked.kind != "empty":
            self._nothing(reply, ask.zone)

    async def _follow(self, host: Labels, ask: _Lookup) -> list[RR]:
        """What is known about a host name that an address turned out to be."""
        if ask.aliases <= 0:
            return []
        zone = self._zone_of(host)
        if not zone:
            return await recursors.addresses(host, self.config)
        found = Reply()
        try:
            await self._look_up(found, ask.of(host, host[-len(zone) :]))
        except RpcError as error:
            log.warning("cannot follow %s: %s", text_of(host), error.text)
        return found.answers

    async def _node(self, reply: Reply, ask: _Lookup, asked: names.Asked) -> None:
        dns, kind = self.config.dns, ask.kind
        args = NodeSpecificRequest(node=asked.name, datacenter=asked.datacenter, allow_stale=dns.allow_stale)
        answer = await self._caller.call("Catalog.NodeServices", args)
        if answer.node_services is None or answer.node_services.node is None:
            self._nothing(reply, ask.zone)
            return
        node = answer.node_services.node
        ttl = int(dns.node_ttl)
        record = records.address_record(ask.name, records.node_address(node, kind), ttl)
        if record is not None and kind in ("A", "AAAA", "ANY"):
            alias = record.rtype == QTYPE.CNAME
            if alias or kind in ("ANY", QTYPE.get(record.rtype)):
                reply.answers.append(record)
            if alias:
                reply.answers.extend(await self._follow(record.rdata.label.label, ask))
        meta = records.meta_records(ask.name, node, ttl)
        if kind in ("ANY", "TXT"):
            reply.answers.extend(meta)
        elif kind in ("A", "AAAA") and dns.enable_additional_node_meta_txt:
            reply.additional.extend(meta)

    def _addr(self, reply: Reply, ask: _Lookup, text: str) -> None:
        if len(text) // 2 not in (4, 16):
            return  # There is no such address, but Consul does not say so.
        try:
            address = str(ipaddress.ip_address(bytes.fromhex(text)))
        except ValueError:
            self._nothing(reply, ask.zone)
            return
        record = records.address_record(ask.name, address, int(self.config.dns.node_ttl))
        assert record is not None
        section = reply.answers if ask.kind in ("ANY", QTYPE.get(record.rtype)) else reply.additional
        section.append(record)

    async def _virtual(self, reply: Reply, ask: _Lookup, asked: names.Asked) -> None:
        if asked.peer:
            return  # Nothing is imported from peers.
        args = ServiceSpecificRequest(
            service_name=asked.name, datacenter=asked.datacenter, allow_stale=self.config.dns.allow_stale
        )
        address = await self._caller.call("Catalog.VirtualIPForService", args)
        record = records.address_record(ask.name, address, 0) if address else None
        if record is not None:
            reply.answers.append(record)

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
        if dns.use_cache and self._cache is not None:
            found = await self._cached("Health.ServiceNodes", args)
            return [row for row in found.nodes or () if self._healthy(row)]
        answer = await self._caller.call("Health.ServiceNodes", args)
        if dns.allow_stale and answer.last_contact > dns.max_stale * SECOND:
            fresh = msgspec.structs.replace(args, allow_stale=False)
            answer = await self._caller.call("Health.ServiceNodes", fresh)
        return [row for row in answer.nodes or () if self._healthy(row)]

    def _healthy(self, instance: CheckServiceNode) -> bool:
        statuses = {check.status for check in instance.checks or ()}
        return "critical" not in statuses and not (self.config.dns.only_passing and statuses - {"passing"})

    async def _cached(self, method: str, args: ServiceSpecificRequest | PreparedQueryExecuteRequest) -> Any:
        """An answer from the agent's cache. Raises _OfCache when it is not there and cannot be had."""
        assert self._cache is not None
        config = self.config
        try:
            if isinstance(args, ServiceSpecificRequest):
                answer = await self._cache.fresh(method, args, config.default_query_time, config.max_query_time)
            else:
                answer = await self._cache.plain(method, args, Wanted(config.dns.cache_max_age or None))
        except RpcError as error:
            raise _OfCache(error.text) from None
        if config.translate_wan_addrs:
            return translated(answer.reply, config.datacenter, for_dns=True)
        return answer.reply

    def _service_ttl(self, name: str) -> int:
        table = self.config.dns.service_ttl
        if name in table:
            return int(table[name])
        best = [key for key in table if key.endswith("*") and name.startswith(key[:-1])]
        return int(table[max(best, key=len)]) if best else 0

    async def _query(self, reply: Reply, ask: _Lookup, asked: names.Asked) -> None:
        config = self.config
        reply.subnet_scope = True
        args = PreparedQueryExecuteRequest(
            query_id_or_name=asked.name,
            datacenter=asked.datacenter,
            allow_stale=config.dns.allow_stale,
            agent=QuerySource(node=config.node_name, datacenter=config.datacenter),
            source=QuerySource(ip=ask.client),
        )
        try:
            if config.dns.use_cache and self._cache is not None:
                answer = await self._cached("PreparedQuery.Execute", args)
            else:
                answer = await self._caller.call("PreparedQuery.Execute", args)
        except RpcError as error:
            if not error.has("Query not found"):
                raise
            self._nothing(reply, ask.zone)
            return
        ttl = self._service_ttl(answer.service)
        if answer.dns.ttl:
            try:
                ttl = parse_duration(answer.dns.ttl) // SECOND
            except DurationError:
                log.warning("the TTL of query %s is no duration", asked.name)
        await self._services(reply, ask, list(answer.nodes or ()), ttl)

    async def _services(self, reply: Reply, ask: _Lookup, found: list[CheckServiceNode], ttl: int) -> None:
        """Answer with instances in the order in which they come."""
        if not found:
            self._nothing(reply, ask.zone)
            return
        dns = self.config.dns
        limit = sizes.most_answers(ask.size, ask.udp, dns.udp_answer_limit) + 1  # One more shows that some were cut.
        if ask.kind == "SRV":
            for srv in records.srv_records(ask.name, found, ttl, ask.zone, limit):
                reply.answers.append(srv.record)
                if srv.address is not None:
                    reply.additional.append(srv.address)
                else:
                    reply.additional.extend(await self._about_host(srv.target, ask, ttl))
                if dns.enable_additional_node_meta_txt:
                    name = records.node_name(srv.node, ask.zone)
                    reply.additional.extend(records.meta_records(name, srv.node, ttl))
            return
        limit = min(limit, dns.a_record_limit or limit)
        for record in records.address_records(ask.name, found, ask.kind, ttl, limit):
            reply.answers.append(record)
            if record.rtype == QTYPE.CNAME:
                reply.answers.extend(await self._about_host(record.rdata.label.label, ask, ttl))
        if not reply.answers:
            self._nothing(reply, ask.zone, exists=True)

    async def _about_host(self, host: Labels, ask: _Lookup, ttl: int) -> list[RR]:
        """The addresses of a host name that an instance is at; they hold as long as the instance's own."""
        found = [record for record in await self._follow(host, ask) if record.rtype in _FOLLOWED]
        for record in found:
            record.ttl = ttl
        return found

    # Addresses to names, and the rest of the world

    async def _reverse(self, reply: Reply, name: Labels) -> bool:
        """Answer with the names that belong to an address; False when nobody here has it."""
        address = _reverse_address([label.decode("ascii", "replace").lower() for label in name])
        if address is None:
            return False
        stale, datacenter = self.config.dns.allow_stale, self.config.datacenter
        listed = await self._caller.call(
            "Catalog.ListNodes", DCSpecificRequest(datacenter=datacenter, allow_stale=stale)
        )
        zone = self._own_zone
        for node in listed.nodes or ():
            if node.address == address and (target := records.node_name(node, zone)):
                reply.answers.append(records.ptr_record(name, target))
                return True
        args = ServiceSpecificRequest(service_address=address, datacenter=datacenter, allow_stale=stale)
        try:
            found = await self._caller.call("Catalog.ServiceNodes", args)
        except RpcError:
            return False
        for row in found.service_nodes or ():
            if row.service_address == address:
                target = (*labels_of(row.service_name), b"service", *labels_of(datacenter), *zone)
                if wire.fits(target):
                    reply.answers.append(records.ptr_record(name, target))
        return bool(reply.answers)

    async def _recurse(self, reply: Reply, packet: bytes, udp: bool, otherwise: int) -> bytes | None:
        """The recursors' response; without recursors `otherwise` is the status."""
        reply.authoritative = reply.edns = False
        if not self.config.recursors:
            reply.rcode = otherwise
            reply.recursion_available = otherwise == RCODE.SERVFAIL
            return None
        answer = await recursors.pass_on(packet, self.config, udp)
        if answer is None:
            reply.rcode = RCODE.SERVFAIL
        return answer


def _reverse_address(labels: list[str]) -> str | None:
    try:
        if labels[-2] == "in-addr":
            return str(ipaddress.IPv4Address(".".join(reversed(labels[:-2]))))
        return str(ipaddress.IPv6Address(bytes.fromhex("".join(reversed(labels[:-2])))))
    except ValueError:
        return None
