"""Nodes, services and checks: registration, deregistration, and the reads that the catalog and health endpoints make.

Names of nodes and services are found without regard to case. Every read says at which index its answer changed last,
and notes on the watch what it looked at:

    ("nodes",)  ("services",)  ("checks",)      the whole table
    ("node", name)  ("service", name)           one node with all that is on it; all instances of one service
    ("connect", name)                           all proxies (and native instances) for a service
"""

import ipaddress
from collections.abc import Callable, Iterable

import msgspec

from kv.sessions import Sessions
from model.errors import RpcError
from model.structs.catalog import (
    CheckServiceNode,
    HealthCheck,
    Node,
    NodeService,
    PeeredServiceName,
    ServiceAddress,
    ServiceName,
    ServiceNode,
    Weights,
)
from model.structs.catalog_rpc import DeregisterRequest, RegisterRequest
from model.structs.operator import FreeVirtualIP, ServiceVirtualIP
from model.tables import Indexes, Journal, Table, Watch

SERF_HEALTH = "serfHealth"
CRITICAL = "critical"
_EXTINCTION = "service_last_extinction"
_VIRTUAL_BASE = int(ipaddress.IPv4Address("240.0.0.0"))


class Instance(msgspec.Struct, frozen=True):
    """A service on a node, as the table keeps it."""

    node: str
    service: NodeService


def connect_name(service: NodeService) -> str:
    """The service that an instance serves in the mesh: a proxy's destination, a native instance's own name, or ""."""
    if service.kind == "connect-proxy":
        return service.proxy.destination_service_name
    return service.service if service.connect.native else ""


class Catalog:
    """The three tables and what ties them together."""

    def __init__(self, journal: Journal, indexes: Indexes, metadata: Callable[[str], str]) -> None:
        self._journal = journal
        self._indexes = indexes
        self._metadata = metadata
        self.sessions: Sessions | None = None
        self.on_node_gone: list[Callable[[int, str], None]] = []
        self.nodes: Table[Node] = Table(
            journal, lambda row: row.node.lower(), id=lambda row: (row.id.lower(),) if row.id else ()
        )
        self.instances: Table[Instance] = Table(
            journal,
            lambda row: (row.node.lower(), row.service.id),
            node=lambda row: (row.node.lower(),),
            name=lambda row: (row.service.service.lower(),),
            kind=lambda row: (row.service.kind,),
            connect=lambda row: (name.lower(),) if (name := connect_name(row.service)) else (),
        )
        self.checks: Table[HealthCheck] = Table(
            journal,
            lambda row: (row.node.lower(), row.check_id),
            node=lambda row: (row.node.lower(),),
            service=lambda row: (row.service_name.lower(),) if row.service_name else (),
            instance=lambda row: ((row.node.lower(), row.service_id),),
            status=lambda row: (row.status,),
        )
        self.virtual_ips: Table[ServiceVirtualIP] = Table(journal, lambda row: row.service.service_name.name.lower())
        self.free_virtual_ips: Table[FreeVirtualIP] = Table(journal, lambda row: (row.is_counter, row.ip or b""))

    # What sessions ask

    def has_node(self, node: str) -> bool:
        """Whether the node is registered."""
        return node.lower() in self.nodes

    def check(self, node: str, check_id: str) -> HealthCheck | None:
        """A check of a node."""
        return self.checks.get((node.lower(), check_id))

    # Writing

    def register(self, index: int, request: RegisterRequest) -> None:
        """Write a node and, if they are there, a service and checks. Raises RpcError."""
        if not request.skip_node_update or request.node.lower() not in self.nodes:
            self.put_node(
                index,
                Node(
                    id=request.id,
                    node=request.node,
                    address=request.address,
                    datacenter=request.datacenter,
                    tagged_addresses=request.tagged_addresses,
                    meta=request.node_meta,
                    peer_name=request.peer_name,
                ),
            )
        if request.service is not None:
            self.put_service(index, request.node, request.service)
        for check in [*([request.check] if request.check else []), *(request.checks or ())]:
            self.put_check(index, check)

    def put_node(self, index: int, node: Node) -> None:
        """Write a node; one with the same ID under another name is renamed."""
        old = self.nodes.get(node.node.lower())
        if node.id:
            same_id = self.nodes.by("id", node.id.lower())
            if same_id and same_id[0].node.lower() != node.node.lower():
                self._rename(index, same_id[0], node, old)
                old = same_id[0]
            elif old is not None and old.id and old.id.lower() != node.id.lower() and self._alive(old.node):
                raise RpcError(
                    f'failed inserting node: Error while renaming Node ID: "{node.id}": Node name {node.node} '
                    f"is reserved by node {old.id} with name {old.node} ({old.address})"
                )
        if old is not None:
            same = msgspec.structs.replace(
                node, id=node.id or old.id, create_index=old.create_index, modify_index=old.modify_index
            )
            if same == old:
                return
            node = msgspec.structs.replace(same, modify_index=index)
        else:
            node = msgspec.structs.replace(node, create_index=index, modify_index=index)
        self.nodes.put(node)
        self._indexes.set(index, "nodes")
        self._journal.touch(("nodes",))
        self._touch_node(index, node.node)

    def _alive(self, node: str) -> bool:
        check = self.check(node, SERF_HEALTH)
        return check is not None and check.status != CRITICAL

    def _rename(self, index: int, old: Node, new: Node, holder: Node | None) -> None:
        if holder is not None and holder.id and self._alive(holder.node):
            raise RpcError(
                f'failed inserting node: Error while renaming Node ID: "{new.id}": Node name {new.node} '
                f"is reserved by node {holder.id} with name {holder.node} ({holder.address})"
            )
        if self._alive(old.node):
            raise RpcError(
                f'failed inserting node: Error while renaming Node ID: "{new.id}": Node name {old.node} '
                f"is reserved by node {old.id} with name {old.node} ({old.address})"
            )
        self.delete_node(index, old.node)

    def put_service(self, index: int, node: str, service: NodeService) -> None:
        """Write an instance. Raises RpcError when its node is not registered."""
        if node.lower() not in self.nodes:
            raise RpcError("Missing node registration")
        key = (node.lower(), service.id)
        old = self.instances.get(key)
        service = self._with_virtual_ip(index, service)
        if old is not None:
            same = msgspec.structs.replace(
                service, create_index=old.service.create_index, modify_index=old.service.modify_index
            )
            if same == old.service:
                return
            if old.service.service.lower() != service.service.lower():
                self._touch_service(index, old.service)
            service = msgspec.structs.replace(same, modify_index=index)
        else:
            service = msgspec.structs.replace(service, create_index=index, modify_index=index)
        self.instances.put(Instance(node, service))
        if old is not None and old.service.service.lower() != service.service.lower():
            self._note_extinction(index, old.service)
            for check in self.checks.by("instance", key):
                self.put_check(index, check)
        self._indexes.set(index, "services")
        self._journal.touch(("services",), ("node", node.lower()))
        self._touch_service(index, service)
        if old is not None and connect_name(old.service) != connect_name(service):
            self._touch_connect(index, old.service)

    def put_check(self, index: int, check: HealthCheck) -> None:
        """Write a check. Raises RpcError when its node or service is not registered."""
        node = self.nodes.get(check.node.lower())
        if node is None:
            raise RpcError("Missing node registration")
        check = msgspec.structs.replace(check, node=node.node, status=check.status or CRITICAL)
        instance = None
        if check.service_id:
            instance = self.instances.get((check.node.lower(), check.service_id))
            if instance is None:
                raise RpcError("Missing service registration")
            check = msgspec.structs.replace(
                check, service_name=instance.service.service, service_tags=instance.service.tags
            )
        old = self.check(check.node, check.check_id)
        if old is not None:
            same = msgspec.structs.replace(check, create_index=old.create_index, modify_index=old.modify_index)
            if same == old:
                return
            check = msgspec.structs.replace(same, modify_index=index)
        else:
            check = msgspec.structs.replace(check, create_index=index, modify_index=index)
        if check.status == CRITICAL and self.sessions is not None:
            self.sessions.check_failed(index, check.node, check.check_id)
        self.checks.put(check)
        self._check_changed(index, check)

    def _check_changed(self, index: int, check: HealthCheck) -> None:
        self._indexes.set(index, "checks")
        self._journal.touch(("checks",), ("node", check.node.lower()), ("check-state",))
        if check.service_id:
            instance = self.instances.get((check.node.lower(), check.service_id))
            if instance is not None:
                self._touch_service(index, instance.service)
        else:
            for instance in self.instances.by("node", check.node.lower()):
                self._touch_service(index, instance.service)

    def deregister(self, index: int, request: DeregisterRequest) -> None:
        """Remove a service with its checks, or a check, or a node with all that is on it."""
        if request.service_id:
            self.delete_service(index, request.node, request.service_id)
        elif request.check_id:
            self.delete_check(index, request.node, request.check_id)
        else:
            self.delete_node(index, request.node)

    def delete_node(self, index: int, node: str) -> None:
        """Remove a node, if it is there, with its services, checks, sessions and coordinates."""
        row = self.nodes.get(node.lower())
        if row is None:
            return
        for instance in self.instances.by("node", node.lower()):
            self.delete_service(index, node, instance.service.id)
        for check in self.checks.by("node", node.lower()):
            self.delete_check(index, node, check.check_id)
        if self.sessions is not None:
            self.sessions.node_gone(index, node)
        for hook in self.on_node_gone:
            hook(index, node)
        self.nodes.delete(node.lower())
        self._indexes.set(index, "nodes")
        self._journal.touch(("nodes",), ("node", node.lower()))

    def delete_service(self, index: int, node: str, service_id: str) -> None:
        """Remove an instance, if it is there, with its checks."""
        key = (node.lower(), service_id)
        row = self.instances.get(key)
        if row is None:
            return
        for check in self.checks.by("instance", key):
            self.delete_check(index, node, check.check_id)
        self.instances.delete(key)
        self._indexes.set(index, "services")
        self._journal.touch(("services",), ("node", node.lower()))
        self._touch_service(index, row.service)
        self._note_extinction(index, row.service)

    def delete_check(self, index: int, node: str, check_id: str) -> None:
        """Remove a check, if it is there; sessions that hang on it end."""
        row = self.checks.delete((node.lower(), check_id))
        if row is None:
            return
        self._check_changed(index, row)
        if self.sessions is not None:
            self.sessions.check_failed(index, node, check_id)

    def load_service(self, node: str, service: NodeService) -> None:
        """Put an instance of a snapshot in its place, as it is."""
        self.instances.put(Instance(node, service))
        name, served = service.service.lower(), connect_name(service).lower()
        parts = [f"service.{name}", f"service_kind.{service.kind or 'typical'}"]
        if served:
            parts.append(f"connect.{served}")
        for part in parts:
            if service.modify_index > self._indexes.get(part):
                self._indexes.set(service.modify_index, part)

    # Indexes and topics

    def _touch_node(self, index: int, node: str) -> None:
        self._journal.touch(("node", node.lower()))
        for instance in self.instances.by("node", node.lower()):
            self._touch_service(index, instance.service)

    def _touch_service(self, index: int, service: NodeService) -> None:
        name = service.service.lower()
        self._indexes.set(index, f"service.{name}", f"service_kind.{service.kind or 'typical'}")
        self._journal.touch(("service", name))
        self._touch_connect(index, service)

    def _touch_connect(self, index: int, service: NodeService) -> None:
        served = connect_name(service).lower()
        if served:
            self._indexes.set(index, f"connect.{served}")
            self._journal.touch(("connect", served))

    def _note_extinction(self, index: int, service: NodeService) -> None:
        """When the last instance of a name goes, so does its index; a common one stands in for it."""
        name = service.service.lower()
        if not self.instances.any_by("name", name):
            self._indexes.drop(f"service.{name}")
            self._indexes.set(index, _EXTINCTION)

    def _service_index(self, name: str) -> int:
        if self._indexes.has(f"service.{name}"):
            return self._indexes.get(f"service.{name}")
        return self._indexes.get(_EXTINCTION) or self._indexes.get("services", "nodes")

    # Virtual addresses

    def _with_virtual_ip(self, index: int, service: NodeService) -> NodeService:
        served = connect_name(service)
        if not served or self._metadata("virtual-ips") != "true":
            return service
        row = self.virtual_ips.get(served.lower())
        if row is None:
            row = self._assign_virtual_ip(index, served)
        address = ServiceAddress(address=virtual_address(row.ip), port=service.port)
        return msgspec.structs.replace(
            service, tagged_addresses={**(service.tagged_addresses or {}), "consul-virtual": address}
        )

    def _assign_virtual_ip(self, index: int, name: str) -> ServiceVirtualIP:
        freed = next((row for row in self.free_virtual_ips if not row.is_counter), None)
        if freed is not None:
            self.free_virtual_ips.delete((False, freed.ip or b""))
            ip = freed.ip or b""
        else:
            counter = next((row for row in self.free_virtual_ips if row.is_counter), None)
            offset = int.from_bytes((counter.ip or b"")[-4:], "big") + 1 if counter else 1
            if counter is not None:
                self.free_virtual_ips.delete((True, counter.ip or b""))
            ip = b"\0" * 10 + b"\xff\xff" + offset.to_bytes(4, "big")
            self.free_virtual_ips.put(FreeVirtualIP(ip=ip, is_counter=True))
        row = ServiceVirtualIP(
            service=PeeredServiceName(service_name=ServiceName(name=name)),
            ip=ip,
            create_index=index,
            modify_index=index,
        )
        self.virtual_ips.put(row)
        self._indexes.set(index, "service-virtual-ips")
        return row

    # Reading

    def list_nodes(self, watch: Watch | None = None) -> tuple[list[Node], int]:
        """All nodes by name."""
        if watch is not None:
            watch.note(("nodes",))
        return self.nodes.rows(), self._indexes.get("nodes")

    def service_names(self, watch: Watch | None = None) -> tuple[dict[str, list[str]], int]:
        """All service names with the tags of their instances."""
        if watch is not None:
            watch.note(("services",))
        found: dict[str, dict[str, None]] = {}
        for row in self.instances:
            found.setdefault(row.service.service, {}).update(dict.fromkeys(row.service.tags or ()))
        return {name: list(tags) for name, tags in found.items()}, self._indexes.get("services")

    def service_instances(self, name: str, watch: Watch | None = None) -> tuple[list[Instance], int]:
        """All instances of a service."""
        name = name.lower()
        if watch is not None:
            watch.note(("service", name))
        return self.instances.by("name", name), self._service_index(name)

    def connect_instances(self, name: str, watch: Watch | None = None) -> tuple[list[Instance], int]:
        """All proxies for a service and its native instances."""
        name = name.lower()
        if watch is not None:
            watch.note(("connect", name))
        index = self._indexes.get(f"connect.{name}") or self._indexes.get(_EXTINCTION)
        return self.instances.by("connect", name), index or self._indexes.get("services", "nodes")

    def node_services(self, node: str, watch: Watch | None = None) -> tuple[Node | None, list[NodeService], int]:
        """A node, found by name or ID, with its services."""
        row = self.find_node(node)
        if watch is not None:
            watch.note(("node", (row.node if row else node).lower()), ("nodes",) if row is None else ("node", ""))
        services = [item.service for item in self.instances.by("node", row.node.lower())] if row else []
        return row, services, self._indexes.get("nodes", "services")

    def find_node(self, name_or_id: str) -> Node | None:
        """A node by name, or by its ID or an unambiguous beginning of it."""
        row = self.nodes.get(name_or_id.lower())
        if row is None and len(name_or_id) >= 2:
            found = self.nodes.by("id", name_or_id.lower())
            row = found[0] if found else None
        return row

    def node_checks(self, node: str, watch: Watch | None = None) -> tuple[list[HealthCheck], int]:
        """The checks of a node and of its services."""
        if watch is not None:
            watch.note(("node", node.lower()))
        return self.checks.by("node", node.lower()), self._indexes.get("checks")

    def service_checks(self, name: str, watch: Watch | None = None) -> tuple[list[HealthCheck], int]:
        """The checks of a service's instances."""
        if watch is not None:
            watch.note(("service", name.lower()), ("check-state",))
        return self.checks.by("service", name.lower()), self._indexes.get("checks")

    def checks_in_state(self, state: str, watch: Watch | None = None) -> tuple[list[HealthCheck], int]:
        """The checks that have a status, or all for "any"."""
        if watch is not None:
            watch.note(("checks",))
        rows = self.checks.rows() if state == "any" else self.checks.by("status", state)
        return rows, self._indexes.get("checks")

    def with_checks(self, instances: Iterable[Instance], watch: Watch | None = None) -> list[CheckServiceNode]:
        """Instances with their nodes and every check that concerns them: the node's own and the instance's."""
        found = []
        for row in instances:
            key = row.node.lower()
            node = self.nodes.get(key)
            if node is None:
                continue
            if watch is not None:
                watch.note(("node", key))
            checks = [*self.checks.by("instance", (key, "")), *self.checks.by("instance", (key, row.service.id))]
            found.append(CheckServiceNode(node=node, service=row.service, checks=checks))
        return found

    def as_service_nodes(self, instances: Iterable[Instance]) -> list[ServiceNode]:
        """Instances in the flat form of the catalog's answers."""
        found = []
        for row in instances:
            node = self.nodes.get(row.node.lower())
            if node is not None:
                found.append(flat(node, row.service))
        return found


def virtual_address(ip: bytes | None) -> str:
    """The address of a virtual IP's row, which holds an offset."""
    return str(ipaddress.IPv4Address(_VIRTUAL_BASE + int.from_bytes((ip or b"")[-4:], "big")))


def flat(node: Node, service: NodeService) -> ServiceNode:
    """A node and one of its services as one row."""
    return ServiceNode(
        id=node.id,
        node=node.node,
        address=node.address,
        datacenter=node.datacenter,
        tagged_addresses=node.tagged_addresses,
        node_meta=node.meta,
        service_kind=service.kind,
        service_id=service.id,
        service_name=service.service,
        service_address=service.address,
        service_tagged_addresses=service.tagged_addresses,
        service_tags=service.tags,
        service_meta=service.meta,
        service_port=service.port,
        service_socket_path=service.socket_path,
        service_weights=service.weights or Weights(passing=1, warning=1),
        service_enable_tag_override=service.enable_tag_override,
        service_proxy=service.proxy,
        service_connect=service.connect,
        create_index=service.create_index,
        modify_index=service.modify_index,
    )
