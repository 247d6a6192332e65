"""WAN addresses for what is in another datacenter."""

from agent.translating import translated
from model.structs.catalog import CheckServiceNode, Node, NodeService, NodeServices, ServiceAddress, ServiceNode
from model.structs.catalog_rpc import IndexedCheckServiceNodes, IndexedNodes, IndexedNodeServices, IndexedServiceNodes
from model.structs.queries import PreparedQueryExecuteResponse

TAGGED = {"lan": "10.0.0.1", "lan_ipv4": "10.0.0.1", "wan": "51.0.0.1", "wan_ipv4": "51.0.0.1"}
FAR = Node(node="n", address="10.0.0.1", datacenter="dc2", tagged_addresses=TAGGED)
NEAR = Node(node="m", address="10.0.0.1", datacenter="dc1", tagged_addresses=TAGGED)
PLACES = {"wan": ServiceAddress(address="52.0.0.2", port=443), "lan_ipv4": ServiceAddress(address="10.0.0.2", port=80)}
WEB = NodeService(id="web", service="web", address="10.0.0.2", port=80, tagged_addresses=PLACES)
PLAIN = NodeService(id="api", service="api", port=81)


def test_nodes() -> None:
    found = translated(IndexedNodes(nodes=[FAR, NEAR], index=7), "dc1")
    assert [node.address for node in found.nodes] == ["51.0.0.1", "10.0.0.1"] and found.index == 7
    assert found.nodes[0].tagged_addresses == TAGGED


def test_instances() -> None:
    rows = [CheckServiceNode(node=FAR, service=WEB), CheckServiceNode(node=FAR, service=PLAIN)]
    rows.append(CheckServiceNode(node=NEAR, service=WEB))
    for reply in (IndexedCheckServiceNodes(nodes=rows), PreparedQueryExecuteResponse(nodes=rows, datacenter="dc2")):
        found = translated(reply, "dc1").nodes
        shown = [(row.node.address, row.service.address, row.service.port) for row in found]
        assert shown == [("51.0.0.1", "52.0.0.2", 443), ("51.0.0.1", "", 81), ("10.0.0.1", "10.0.0.2", 80)]


def test_the_catalogs_forms() -> None:
    row = ServiceNode(
        address="10.0.0.1",
        datacenter="dc2",
        tagged_addresses=TAGGED,
        service_address="10.0.0.2",
        service_port=80,
        service_tagged_addresses=PLACES,
    )
    (found,) = translated(IndexedServiceNodes(service_nodes=[row]), "dc1").service_nodes
    assert (found.address, found.service_address, found.service_port) == ("51.0.0.1", "52.0.0.2", 443)
    whole = IndexedNodeServices(node_services=NodeServices(node=FAR, services={"web": WEB}))
    shown = translated(whole, "dc1").node_services
    assert shown.node.address == "51.0.0.1" and shown.services["web"].port == 443
    assert translated(whole, "dc2") is not None and translated(whole, "dc2").node_services.node.address == "10.0.0.1"
    assert translated(IndexedNodeServices(), "dc1").node_services is None


def test_dns_sees_the_families_of_the_wan() -> None:
    (found,) = translated(IndexedNodes(nodes=[FAR]), "dc1", for_dns=True).nodes
    assert found.address == "51.0.0.1" and found.tagged_addresses["lan_ipv4"] == "51.0.0.1"


def test_what_has_no_wan_address_stays() -> None:
    node = Node(node="n", address="10.0.0.1", datacenter="dc2")
    assert translated(IndexedNodes(nodes=[node]), "dc1").nodes == [node]
