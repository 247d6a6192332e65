"""Registering and deregistering nodes, services and checks: the rules, and whom a change concerns."""

from collections.abc import Callable, Iterator

import msgspec

from kv.sessions import Sessions
from model.codec import to_wire
from model.commands import Command, CommandType, Record
from model.errors import RpcError
from model.structs.catalog import HealthCheck, Node, NodeService, ServiceAddress
from model.structs.catalog_rpc import DeregisterRequest, RegisterRequest
from model.tables import Indexes, Journal
from server.state.catalog_tables import (
    LOCAL,
    NODE_EXTINCTION,
    SERVICE_EXTINCTION,
    CatalogTables,
    Instance,
    connect_name,
    kind_name,
)
from server.state.virtual_ips import VirtualIps

SERF_HEALTH = "serfHealth"
CRITICAL = "critical"


class Catalog(CatalogTables):
    """The catalog as the log changes it. `virtual_ips_on` says whether services in the mesh get addresses."""

    def __init__(
        self, journal: Journal, indexes: Indexes, virtual_ips: VirtualIps, virtual_ips_on: Callable[[], bool]
    ) -> None:
        super().__init__(journal, indexes)
        self.virtual_ips = virtual_ips
        self._virtual_ips_on = virtual_ips_on
        self.sessions: Sessions | None = None
        self.on_node_gone: list[Callable[[int, str], None]] = []
        self.on_service: list[Callable[[int, str], None]] = []
        """Told the index and the name when a plain service appears or vanishes, or enters the mesh or leaves it."""
        self.completed: list[Callable[[int, NodeService], NodeService]] = []
        """Give an instance as it is to be stored."""
        self.needs_virtual_ip: list[Callable[[str], bool]] = []
        """Say whether a service keeps its virtual address although nothing serves it in the mesh."""

    # Commands

    def commands(self) -> list[Command]:
        """Registration and deregistration."""
        return [
            Command(CommandType.REGISTER, RegisterRequest, self.register),
            Command(CommandType.DEREGISTER, DeregisterRequest, self.deregister),
        ]

    def register(self, index: int, request: RegisterRequest) -> None:
        """Write a node and, if they are there, a service and checks. Raises RpcError."""
        if not request.skip_node_update or request.node.lower() not in self.nodes:
            self.put_node(index, _node_of(request))
        if request.service is not None:
            self.put_service(index, request.node, request.service)
        for check in _checks_of(request):
            self._check_belongs(request.node, check)
            self.put_check(index, check)

    def _check_belongs(self, node: str, check: HealthCheck) -> None:
        if check.node.lower() != node.lower():
            raise RpcError(
                f"Node '{check.node}' for check '{check.check_id}' doesn't match register request node '{node}'"
            )
        if not check.check_id:
            raise RpcError(
                f'failed inserting check on node "{node}": failed health check lookup: index error: '
                "object is missing a value for this index"
            )
        if check.service_id and self.instance(node, check.service_id) is None:
            raise RpcError(f"Unknown service ID '{check.service_id}' for check ID '{check.check_id}'")

    def deregister(self, index: int, request: DeregisterRequest) -> None:
        """Remove a service with its checks, or a check, or a node with all that is on it."""
        if request.service_id:
            self.delete_service(index, request.node, request.service_id)
        elif request.check_id:
            self.delete_check(index, request.node, request.check_id)
        else:
            self.delete_node(index, request.node)

    # Nodes

    def put_node(self, index: int, node: Node) -> None:
        """Write a node. One that is known by its ID under another name is renamed: what was on it goes.

        Raises RpcError when another node, which is alive, has the name.
        """
        old = self.nodes.get(node.node.lower())
        if node.id:
            same_id = self.nodes.by("id", node.id.lower())
            known = same_id[0] if same_id else None
            if old is not None and old.id.lower() != node.id.lower():
                self._refuse_taken_name(node, old, renaming=known is not None)
            if known is not None and known.node.lower() != node.node.lower():
                self.delete_node(index, known.node)
                old = known if old is None else old
        if old is not None:
            same = msgspec.structs.replace(node, create_index=old.create_index, modify_index=old.modify_index)
            if same == old:
                return
            node = msgspec.structs.replace(same, modify_index=index)
        else:
            node = msgspec.structs.replace(node, create_index=index, modify_index=index)
        self.nodes.put(node)
        self._indexes.set(index, "nodes", f"{LOCAL}nodes")
        self._journal.touch(("nodes",))
        self._touch_node(index, node.node)
        for instance in self.instances.by("node", node.node.lower()):
            self._touch_service(index, instance.service)

    def _refuse_taken_name(self, node: Node, holder: Node, renaming: bool) -> None:
        health = self.check(holder.node, SERF_HEALTH)
        if health is not None and health.status == CRITICAL:
            return
        if not holder.id and not renaming:
            return
        raise RpcError(
            f'failed inserting node: Error while renaming Node ID: "{node.id}": Node name {node.node} '
            f"is reserved by node {holder.id} with name {holder.node} ({holder.address})"
        )

    def delete_node(self, index: int, node: str) -> None:
        """Remove a node, if it is there, with its services, checks, sessions and coordinates."""
        key = node.lower()
        if key not in self.nodes:
            return
        for instance in self.instances.by("node", key):
            self.delete_service(index, node, instance.service.id)
        for check in self.checks.by("node", key):
            self.delete_check(index, node, check.check_id)
        for hook in self.on_node_gone:
            hook(index, node)
        self.nodes.delete(key)
        self._indexes.set(index, "nodes", f"{LOCAL}nodes", NODE_EXTINCTION)
        self._indexes.drop(f"{LOCAL}node.{key}")
        self._journal.touch(("nodes",), ("node", key))
        if self.sessions is not None:
            self.sessions.node_gone(index, node)

    # Services

    def put_service(self, index: int, node: str, service: NodeService) -> None:
        """Write an instance. Raises RpcError when its node is not registered."""
        if node.lower() not in self.nodes:
            raise RpcError("Missing node registration")
        key = (node.lower(), service.id)
        old = self.instances.get(key)
        service = self._with_virtual_ip(index, service)
        for complete in self.completed:
            service = complete(index, service)
        if old is not None:
            same = msgspec.structs.replace(
                service, create_index=old.service.create_index, modify_index=old.service.modify_index
            )
            if same == old.service:
                return
            service = msgspec.structs.replace(same, modify_index=index)
        else:
            service = msgspec.structs.replace(service, create_index=index, modify_index=index)
        if not self.instances.any_by("kind_name", (service.kind, service.service.lower())):
            self._indexes.set(index, f"kind_service_names.{kind_name(service.kind)}")
        before = self._standing(service) | (self._standing(old.service) if old is not None else {})
        self.instances.put(Instance(node, service))
        self._tell_standing(index, before)
        if old is not None:
            self._left(index, old.service, service)
            if old.service.service != service.service:
                for check in self.checks.by("instance", key):
                    self.put_check(index, check)
        self._services_changed(index, node)
        self._touch_service(index, service)

    def _with_virtual_ip(self, index: int, service: NodeService) -> NodeService:
        served = connect_name(service)
        if not served or not self._virtual_ips_on():
            return service
        address = self.virtual_ips.assign(index, served)
        if not address:
            return service
        tagged = {
            **(service.tagged_addresses or {}),
            "consul-virtual": ServiceAddress(address=address, port=service.port),
        }
        return msgspec.structs.replace(service, tagged_addresses=tagged)

    def delete_service(self, index: int, node: str, service_id: str) -> None:
        """Remove an instance, if it is there, with its checks."""
        key = (node.lower(), service_id)
        row = self.instances.get(key)
        if row is None:
            return
        for check in self.checks.by("instance", key):
            self.delete_check(index, node, check.check_id)
        before = self._standing(row.service)
        self.instances.delete(key)
        self._tell_standing(index, before)
        self._services_changed(index, node)
        self._touch_service(index, row.service)
        self._left(index, row.service, None)

    def _standing(self, service: NodeService) -> dict[str, tuple[bool, bool]]:
        """For the names that an instance concerns: whether there is a plain service, and something that serves it."""
        names = (service.service if not service.kind else "", connect_name(service))
        return {name: self._standing_of(name) for name in names if name}

    def _standing_of(self, name: str) -> tuple[bool, bool]:
        key = name.lower()
        return self.instances.any_by("kind_name", ("", key)), self.instances.any_by("connect", key)

    def _tell_standing(self, index: int, before: dict[str, tuple[bool, bool]]) -> None:
        for name, standing in before.items():
            if self._standing_of(name) != standing:
                for hook in self.on_service:
                    hook(index, name)

    def _services_changed(self, index: int, node: str) -> None:
        self._indexes.set(index, "services", f"{LOCAL}services")
        self._journal.touch(("services",))
        self._touch_node(index, node)

    def _left(self, index: int, old: NodeService, new: NodeService | None) -> None:
        """An instance is gone, or is now something else: what is the last of its name or kind vanishes with it."""
        name, served = old.service.lower(), connect_name(old)
        if new is None or new.service.lower() != name or new.kind != old.kind:
            self._touch_service(index, old)
            if not self.instances.any_by("kind_name", (old.kind, name)):
                self._indexes.set(index, f"kind_service_names.{kind_name(old.kind)}")
        if not self.instances.any_by("name", name):
            self._indexes.drop(f"{LOCAL}service.{name}")
            self._indexes.set(index, SERVICE_EXTINCTION)
        if served and (new is None or connect_name(new).lower() != served.lower()):
            self._connect_indexes.set(index, served.lower())
            self._journal.touch(("connect", served.lower()))
            if not self.instances.any_by("connect", served.lower()):
                self._connect_indexes.drop(served.lower())
                self._indexes.set(index, SERVICE_EXTINCTION)
                kept = any(needs(served) for needs in self.needs_virtual_ip)
                if not kept and not self.instances.any_by("name", served.lower()):
                    self.virtual_ips.release(index, served)

    # Checks

    def put_check(self, index: int, check: HealthCheck) -> None:
        """Write a check; sessions that hang on it end when it is critical.

        Raises RpcError when its node or service is not registered.
        """
        node = self.nodes.get(check.node.lower())
        if node is None:
            raise RpcError("Missing node registration")
        check = msgspec.structs.replace(check, node=node.node, status=check.status or CRITICAL)
        if check.service_id:
            instance = self.instance(check.node, check.service_id)
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
        self.checks.put(check)
        self._check_changed(index, check)
        if old is not None and (old.service_id != check.service_id or old.service_name != check.service_name):
            self._check_changed(index, old)
        if check.status == CRITICAL and self.sessions is not None:
            self.sessions.check_failed(index, check.node, check.check_id)

    def delete_check(self, index: int, node: str, check_id: str) -> None:
        """Remove a check, if it is there; sessions that hang on it end."""
        row = self.checks.delete((node.lower(), check_id))
        if row is None:
            return
        self._check_changed(index, row)
        if self.sessions is not None:
            self.sessions.check_failed(index, node, check_id)

    def _check_changed(self, index: int, check: HealthCheck) -> None:
        self._indexes.set(index, "checks", f"{LOCAL}checks")
        self._journal.touch(("checks",))
        self._touch_node(index, check.node)
        if check.service_id:
            instance = self.instance(check.node, check.service_id)
            concerned = [instance] if instance is not None else []
        else:
            concerned = self.instances.by("node", check.node.lower())
        for instance in concerned:
            self._touch_service(index, instance.service)
        if check.service_name:
            name = check.service_name.lower()
            self._journal.touch(("service", name))
            if self.instances.any_by("name", name):
                self._indexes.set(index, f"{LOCAL}service.{name}")

    # What a change concerns

    def _touch_node(self, index: int, node: str) -> None:
        self._indexes.set(index, f"{LOCAL}node.{node.lower()}")
        self._journal.touch(("node", node.lower()))

    def _touch_service(self, index: int, service: NodeService) -> None:
        name, kind = service.service.lower(), kind_name(service.kind)
        self._indexes.set(
            index, f"{LOCAL}service.{name}", f"{LOCAL}service_kind.{kind}", f"service_kind.{kind}"
        )
        self._journal.touch(("service", name), ("kind", service.kind))
        served = connect_name(service).lower()
        if served:
            self._connect_indexes.set(index, served)
            self._journal.touch(("connect", served))

    # Snapshots

    def records(self) -> list[Record]:
        """Each node, followed by a record for each of its services and checks."""
        return [
            Record(
                CommandType.REGISTER, RegisterRequest, lambda: list(self._registrations()), self._load, _registration
            )
        ]

    def _registrations(self) -> Iterator[tuple[Node, NodeService | None, HealthCheck | None]]:
        for node in self.nodes.rows():
            key = node.node.lower()
            yield node, None, None
            for instance in self.instances.by("node", key):
                yield node, instance.service, None
            for check in self.checks.by("node", key):
                yield node, None, check

    def _load(self, request: RegisterRequest) -> None:
        node = msgspec.structs.replace(
            _node_of(request), create_index=request.create_index, modify_index=request.modify_index
        )
        key = node.node.lower()
        self.nodes.put(node)
        self._indexes.raise_to(node.modify_index, "nodes", f"{LOCAL}nodes", f"{LOCAL}node.{key}")
        if request.service is not None:
            self._load_service(request.node, request.service)
        for check in _checks_of(request):
            if check.service_id and self.instance(request.node, check.service_id) is None:
                raise RpcError(f"check {check.check_id!r} is of service {check.service_id!r}, which is not registered")
            self.checks.put(check)
            parts = ["checks", f"{LOCAL}checks", f"{LOCAL}node.{key}"]
            if check.service_name:
                parts.append(f"{LOCAL}service.{check.service_name.lower()}")
            self._indexes.raise_to(check.modify_index, *parts)

    def _load_service(self, node: str, service: NodeService) -> None:
        self.instances.put(Instance(node, service))
        name, kind = service.service.lower(), kind_name(service.kind)
        parts = ("services", f"{LOCAL}services", f"{LOCAL}node.{node.lower()}", f"{LOCAL}service.{name}")
        kinds = (f"{LOCAL}service_kind.{kind}", f"service_kind.{kind}", f"kind_service_names.{kind}")
        self._indexes.raise_to(service.modify_index, *parts, *kinds)


def _node_of(request: RegisterRequest) -> Node:
    return Node(
        id=request.id,
        node=request.node,
        address=request.address,
        datacenter=request.datacenter,
        tagged_addresses=request.tagged_addresses,
        meta=request.node_meta,
        peer_name=request.peer_name,
    )


def _checks_of(request: RegisterRequest) -> list[HealthCheck]:
    return [*([request.check] if request.check else ()), *(request.checks or ())]


def _registration(row: tuple[Node, NodeService | None, HealthCheck | None]) -> object:
    node, service, check = row
    return to_wire(
        RegisterRequest(
            id=node.id,
            node=node.node,
            datacenter=node.datacenter,
            address=node.address,
            tagged_addresses=node.tagged_addresses,
            node_meta=node.meta,
            peer_name=node.peer_name,
            service=service,
            check=check,
            create_index=node.create_index,
            modify_index=node.modify_index,
        )
    )
