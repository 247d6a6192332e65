"""The catalog's tables, and the reads that the catalog and health endpoints make of them.

Names of nodes and services are found without regard to case. Every read says at which index its answer changed last,
and notes on the watch what it looked at:

    ("nodes",)  ("services",)  ("checks",)   any node, any service's names and tags, any check
    ("node", name)                           one node with all that is on it
    ("service", name)                        the instances of one service, their nodes and checks
    ("connect", name)                        the same for the proxies (and native instances) of one service
    ("kind", kind)                           the same for all instances of one kind
"""

from collections.abc import Iterable

import msgspec

from model.structs.catalog import CheckServiceNode, HealthCheck, Node, NodeService, ServiceNode, Weights
from model.tables import Indexes, Journal, Table, Watch

LOCAL = "peer.~:"
"""The prefix of index rows about this cluster's own nodes, as opposed to imported ones."""
SERVICE_EXTINCTION = f"{LOCAL}service_last_extinction"
NODE_EXTINCTION = f"{LOCAL}node_last_extinction"
CONNECT_PROXY = "connect-proxy"


class Instance(msgspec.Struct, frozen=True):
    """A service on a node, as the table keeps it."""

    node: str
    service: NodeService


def connect_name(service: NodeService) -> str:
    """The service that an instance serves in the mesh: a proxy's destination, a native instance's own name, or ""."""
    if service.kind == CONNECT_PROXY:
        return service.proxy.destination_service_name
    return service.service if service.connect.native else ""


class CatalogTables:
    """Nodes, instances and checks, and how to read them."""

    def __init__(self, journal: Journal, indexes: Indexes) -> None:
        self._journal = journal
        self._indexes = indexes
        self._connect_indexes = Indexes(journal)
        """Like the index rows of services, for what serves a name in the mesh; derived, never in a snapshot."""
        self.connect_floor = 0
        """The least index of an answer about the mesh: after a restore, older ones are not known any more."""
        self._names: tuple[int, dict[str, list[str]]] | None = None
        """The last answer of `service_names` and its index, which every change of an instance raises."""
        self.nodes: Table[Node] = Table(
            journal, lambda row: row.node.lower(), id=lambda row: (row.id.lower(),) if row.id else ()
        )
        self.instances: Table[Instance] = Table(
            journal,
            lambda row: (row.node.lower(), row.service.id),
            node=lambda row: (row.node.lower(),),
            name=lambda row: (row.service.service.lower(),),
            kind=lambda row: (row.service.kind,),
            kind_name=lambda row: ((row.service.kind, row.service.service.lower()),),
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

    # Single rows

    def has_node(self, node: str) -> bool:
        """Whether the node is registered."""
        return node.lower() in self.nodes

    def find_node(self, name_or_id: str) -> Node | None:
        """A node by name, by its ID, or by what only its ID begins with."""
        text = name_or_id.lower()
        row = self.nodes.get(text)
        if row is not None:
            return row
        found = self.nodes.by("id", text)
        if not found and (digits := id_prefix(text)):
            found = [node for node in self.nodes.rows() if node.id.replace("-", "").lower().startswith(digits)]
        return found[0] if len(found) == 1 else None

    def instance(self, node: str, service_id: str) -> Instance | None:
        """An instance of a node."""
        return self.instances.get((node.lower(), service_id))

    def check(self, node: str, check_id: str) -> HealthCheck | None:
        """A check of a node."""
        return self.checks.get((node.lower(), check_id))

    # Lists, each with its index

    def list_nodes(self, watch: Watch | None = None) -> tuple[list[Node], int]:
        """All nodes by name."""
        if watch is not None:
            watch.note(("nodes",))
        return self.nodes.rows(), self._indexes.get("nodes")

    def service_names(self, watch: Watch | None = None) -> tuple[dict[str, list[str]], int]:
        """All service names in order, with the tags of their instances; not to be changed by the caller."""
        if watch is not None:
            watch.note(("services",))
        index = self._indexes.get("services")
        if self._names is None or self._names[0] != index:
            self._names = index, tags_by_name(self.instances)
        return self._names[1], index

    def service_instances(self, name: str, watch: Watch | None = None) -> tuple[list[Instance], int]:
        """All instances of a service."""
        name = name.lower()
        if watch is not None:
            watch.note(("service", name))
        return self.instances.by("name", name), self.service_index(name)

    def connect_instances(self, name: str, watch: Watch | None = None) -> tuple[list[Instance], int]:
        """All proxies for a service and its native instances."""
        name = name.lower()
        if watch is not None:
            watch.note(("connect", name))
        index = self._connect_indexes.get(name) or self._indexes.get(SERVICE_EXTINCTION)
        return self.instances.by("connect", name), max(index or self._all(), self.connect_floor)

    def instances_of_kind(self, kind: str, watch: Watch | None = None) -> tuple[list[Instance], int]:
        """All instances of a kind; "" is that of plain services."""
        if watch is not None:
            watch.note(("kind", kind))
        return self.instances.by("kind", kind), self._indexes.get(f"{LOCAL}service_kind.{kind_name(kind)}")

    def all_instances(self, watch: Watch | None = None) -> tuple[list[Instance], int]:
        """All instances, to be shown with their nodes and checks."""
        if watch is not None:
            watch.note(("nodes",), ("services",), ("checks",))
        return self.instances.rows(), self._all()

    def node_services(self, node: str, watch: Watch | None = None) -> tuple[Node | None, list[NodeService], int]:
        """A node, found by name or ID, with its services."""
        row = self.find_node(node)
        if row is None:
            if watch is not None:
                watch.note(("node", node.lower()), ("nodes",))
            return None, [], self._indexes.get(NODE_EXTINCTION) or self._all()
        key = row.node.lower()
        if watch is not None:
            watch.note(("node", key), ("node", node.lower()))
            if node.lower() not in (key, row.id.lower()):
                watch.note(("nodes",))  # Another ID may come to begin like this one.
        return row, [item.service for item in self.instances.by("node", key)], self.node_index(key)

    def node_checks(self, node: str, watch: Watch | None = None) -> tuple[list[HealthCheck], int]:
        """The checks of a node and of its services."""
        key = node.lower()
        if watch is not None:
            watch.note(("node", key))
        return self.checks.by("node", key), self.node_index(key)

    def service_checks(self, name: str, watch: Watch | None = None) -> tuple[list[HealthCheck], int]:
        """The checks of a service's instances."""
        name = name.lower()
        if watch is not None:
            watch.note(("service", name))
        return self.checks.by("service", name), self.service_index(name)

    def checks_in_state(self, state: str, watch: Watch | None = None) -> tuple[list[HealthCheck], int]:
        """The checks that have a status, or all for "any"."""
        if watch is not None:
            watch.note(("checks",))
        rows = self.checks.rows() if state == "any" else self.checks.by("status", state)
        return rows, self._indexes.get("checks")

    def with_checks(self, instances: Iterable[Instance]) -> list[CheckServiceNode]:
        """Instances with their nodes and every check that concerns them: the node's own and the instance's."""
        found = []
        nodes, checks = self.nodes, self.checks
        for row in instances:
            key = row.node.lower()
            node = nodes.get(key)
            if node is not None:
                concerned = checks.by("instance", (key, "")) + checks.by("instance", (key, row.service.id))
                found.append(CheckServiceNode(node=node, service=row.service, checks=concerned))
        return found

    # Indexes

    def service_index(self, name: str) -> int:
        """The index of a service; of the last one that vanished when there is none of that name."""
        return (
            self._indexes.get(f"{LOCAL}service.{name}") or self._indexes.get(SERVICE_EXTINCTION) or self._all()
        )

    def node_index(self, node: str) -> int:
        """The index of a node with all that is on it; of the last one that vanished when it is not there."""
        return self._indexes.get(f"{LOCAL}node.{node}") or self._indexes.get(NODE_EXTINCTION) or self._all()

    def _all(self) -> int:
        return self._indexes.get("nodes", "services", "checks")


def id_prefix(text: str) -> str:
    """The hexadecimal digits of what may be the beginning of an ID, an even number of them; "" for other texts.

    An odd last character does not count; hyphens do for that, wherever they stand.
    """
    if not 2 <= len(text) <= 37 or text.count("-") > 4:
        return ""
    digits = text[: len(text) // 2 * 2].replace("-", "")
    return digits if digits and len(digits) % 2 == 0 and not digits.strip("0123456789abcdef") else ""


def kind_name(kind: str) -> str:
    """The name of a kind in index rows."""
    return kind or "typical"


def tags_by_name(instances: Iterable[Instance]) -> dict[str, list[str]]:
    """Service names in order, each with the tags that any instance has."""
    found: dict[str, dict[str, None]] = {}
    for row in instances:
        found.setdefault(row.service.service, {}).update(dict.fromkeys(row.service.tags or ()))
    return {name: list(found[name]) for name in sorted(found)}


def flat(node: Node, service: NodeService) -> ServiceNode:
    """A node and one of its services as one row, the form of the catalog's answers."""
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
        service_meta=service.meta or {},
        service_port=service.port,
        service_socket_path=service.socket_path,
        service_weights=service.weights or Weights(passing=1, warning=1),
        service_enable_tag_override=service.enable_tag_override,
        service_proxy=service.proxy,
        service_connect=service.connect,
        create_index=service.create_index,
        modify_index=service.modify_index,
    )
