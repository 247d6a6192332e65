"""`translate_wan_addrs`: nodes and services of other datacenters are shown at their WAN addresses.

Answers are translated where the agent hands them to clients; what is kept and passed on between agents stays as it is.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from model.codec import Wire
from model.structs.catalog import CheckServiceNode, Node, NodeService, NodeServices, ServiceAddress, ServiceNode
from model.structs.catalog_rpc import (
    IndexedCheckServiceNodes,
    IndexedNodes,
    IndexedNodeServices,
    IndexedServiceNodes,
)
from model.structs.queries import PreparedQueryExecuteResponse
from rpc.caller import Caller

replace = msgspec.structs.replace


def wan_address(address: str, tagged: Mapping[str, str] | None) -> str:
    """A node's address as other datacenters reach it."""
    return (tagged or {}).get("wan") or address


def _node(node: Node, own: str, for_dns: bool) -> Node:
    if node.datacenter == own:
        return node
    tagged = node.tagged_addresses
    if for_dns and tagged:  # DNS answers by family, and knows only the names of the LAN's addresses.
        of_wan = {f"lan_{family}": tagged[f"wan_{family}"] for family in ("ipv4", "ipv6") if f"wan_{family}" in tagged}
        tagged = {**{key: text for key, text in tagged.items() if not key.startswith("lan_")}, **of_wan}
    return replace(node, address=wan_address(node.address, node.tagged_addresses), tagged_addresses=tagged)


def _service(service: NodeService, for_dns: bool) -> NodeService:
    tagged = service.tagged_addresses or {}
    wan = tagged.get("wan")
    if for_dns and tagged:
        of_wan = {f"lan_{family}": tagged[f"wan_{family}"] for family in ("ipv4", "ipv6") if f"wan_{family}" in tagged}
        tagged = {**{key: place for key, place in tagged.items() if not key.startswith("lan_")}, **of_wan}
        service = replace(service, tagged_addresses=tagged)
    return replace(service, address=wan.address, port=wan.port or service.port) if wan and wan.address else service


def _instance(row: CheckServiceNode, own: str, for_dns: bool) -> CheckServiceNode:
    if row.node is None or row.service is None or row.node.datacenter == own:
        return row
    return replace(row, node=_node(row.node, own, for_dns), service=_service(row.service, for_dns))


def _service_node(row: ServiceNode, own: str) -> ServiceNode:
    if row.datacenter == own:
        return row
    wan: ServiceAddress | None = (row.service_tagged_addresses or {}).get("wan")
    row = replace(row, address=wan_address(row.address, row.tagged_addresses))
    if wan is None or not wan.address:
        return row
    return replace(row, service_address=wan.address, service_port=wan.port or row.service_port)


def _node_services(found: NodeServices, own: str, for_dns: bool) -> NodeServices:
    if found.node is None or found.node.datacenter == own:
        return found
    services = {key: _service(one, for_dns) for key, one in (found.services or {}).items()}
    return replace(found, node=_node(found.node, own, for_dns), services=services)


def translated(reply: Any, own: str, for_dns: bool = False) -> Any:
    """An answer with WAN addresses for what is not in the datacenter `own`; other answers stay as they are."""
    if isinstance(reply, IndexedNodes):
        return replace(reply, nodes=[_node(one, own, for_dns) for one in reply.nodes or ()])
    if isinstance(reply, IndexedNodeServices):
        found = reply.node_services
        return replace(reply, node_services=_node_services(found, own, for_dns)) if found is not None else reply
    if isinstance(reply, IndexedServiceNodes):
        return replace(reply, service_nodes=[_service_node(one, own) for one in reply.service_nodes or ()])
    if isinstance(reply, IndexedCheckServiceNodes | PreparedQueryExecuteResponse):
        return replace(reply, nodes=[_instance(one, own, for_dns) for one in reply.nodes or ()])
    return reply


class TranslatingCaller:
    """A caller whose answers are translated for DNS."""

    def __init__(self, caller: Caller, own: str) -> None:
        self._caller = caller
        self._own = own

    async def call(self, method: str, args: Wire) -> Any:
        """Ask, and translate."""
        return translated(await self._caller.call(method, args), self._own, for_dns=True)
