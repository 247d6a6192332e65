"""The UI's rows: one for each service, with counts over its instances and over what stands in for them. Pure."""

from collections.abc import Iterable
from typing import Any

from model.structs.catalog import CheckServiceNode, GatewayService, HealthCheck, NodeService

_EXTERNAL_SOURCE = "external-source"


class Summary:
    """What one service's row counts. A check that several instances share (a node's) counts once."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.kind = ""
        self.datacenter = ""
        self.tags: set[str] = set()
        self.nodes: dict[str, None] = {}
        self.external_sources: dict[str, None] = {}
        self.instances = 0
        self.checks: dict[tuple[str, str], str] = {}
        self.gateway: dict[str, Any] = {}
        self.transparent = self.native = self.with_proxy = self.with_gateway = False

    def add(self, service: NodeService, node: str, datacenter: str, checks: Iterable[HealthCheck]) -> None:
        """Count an instance."""
        self.kind, self.datacenter = service.kind, datacenter
        self.instances += 1
        self.tags.update(service.tags or ())
        self.nodes[node] = None
        self.native |= service.connect.native
        source = (service.meta or {}).get(_EXTERNAL_SOURCE)
        if source:
            self.external_sources[source] = None
        self.add_checks(checks)

    def add_checks(self, checks: Iterable[HealthCheck]) -> None:
        """Count checks."""
        self.checks.update({(check.node, check.check_id): check.status for check in checks})

    def row(self) -> dict[str, Any]:
        """The service as the UI reads it."""
        statuses = list(self.checks.values())
        passing, warning = statuses.count("passing"), statuses.count("warning")
        return {
            **({"Kind": self.kind} if self.kind else {}),
            "Name": self.name,
            "Datacenter": self.datacenter,
            "Tags": sorted(self.tags) or None,
            "Nodes": sorted(self.nodes) or None,
            "ExternalSources": list(self.external_sources) or None,
            "InstanceCount": self.instances,
            "ChecksPassing": passing,
            "ChecksWarning": warning,
            "ChecksCritical": len(statuses) - passing - warning,
            "GatewayConfig": self.gateway,
            "TransparentProxy": self.transparent,
            "ConnectNative": self.native,
        }

    def connected_row(self) -> dict[str, Any]:
        """The row with what the service is connected by."""
        return {**self.row(), "ConnectedWithProxy": self.with_proxy, "ConnectedWithGateway": self.with_gateway}


def summarize(instances: Iterable[CheckServiceNode], gateways: Iterable[GatewayService] = ()) -> dict[str, Summary]:
    """A summary for each service by name, in order.

    A proxy counts for itself, and its checks for the service that it is a proxy for. `gateways` are the links of
    gateways to services.
    """
    found: dict[str, Summary] = {}
    gateways = list(gateways)
    behind = {link.service.name for link in gateways}

    def of(name: str) -> Summary:
        return found.setdefault(name, Summary(name))

    for one in instances:
        service, node = one.service, one.node
        if service is None or node is None:
            continue
        of(service.service).add(service, node.node, node.datacenter, one.checks or ())
        if service.kind == "connect-proxy":
            served = of(service.proxy.destination_service_name)
            served.add_checks(one.checks or ())
            served.with_proxy = True
            served.transparent |= service.proxy.mode == "transparent"
    for name, summary in found.items():
        summary.with_gateway = name in behind
        count = sum(link.gateway.name == name for link in gateways)
        if count:
            summary.gateway = {"AssociatedServiceCount": count}
    return {name: found[name] for name in sorted(found)}
