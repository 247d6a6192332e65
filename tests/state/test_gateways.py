"""Which services stand behind which gateway, as entries and registrations come and go."""

from typing import Any

from model.commands import CommandType
from model.structs.catalog import ConnectProxyConfig, NodeService
from model.structs.config_entries import (
    IngressGatewayConfigEntry,
    IngressListener,
    IngressService,
    LinkedService,
    TerminatingGatewayConfigEntry,
)
from model.structs.config_rpc import ConfigEntryRequest
from tests.state.helpers import Machine, service


def write(machine: Machine, entry: Any, op: str = "upsert") -> None:
    machine.apply(CommandType.CONFIG_ENTRY, ConfigEntryRequest(op=op, datacenter="dc1", entry=entry))


def ingress(*names: str, name: str = "igw", protocol: str = "http") -> IngressGatewayConfigEntry:
    services = [IngressService(name=one) for one in names]
    listener = IngressListener(port=8080, protocol=protocol, services=services)
    return IngressGatewayConfigEntry(kind="ingress-gateway", name=name, listeners=[listener])


def terminating(*names: str, name: str = "tgw") -> TerminatingGatewayConfigEntry:
    return TerminatingGatewayConfigEntry(
        kind="terminating-gateway", name=name, services=[LinkedService(name=one, sni=one) for one in names]
    )


def proxy(destination: str) -> NodeService:
    config = ConnectProxyConfig(destination_service_name=destination)
    return service(f"{destination}-proxy", kind="connect-proxy", port=20000, proxy=config)


def links(machine: Machine, gateway: str) -> list[tuple[str, str, int, int]]:
    rows, _ = machine.store.gateways.of_gateway(gateway)
    return [(row.service.name, row.service_kind, row.create_index, row.modify_index) for row in rows]


def test_named_services_are_linked_whether_or_not_they_exist() -> None:
    machine = Machine()
    machine.register("n1", service("web"))
    write(machine, terminating("web", "later"))
    assert links(machine, "tgw") == [("later", "", 2, 2), ("web", "service", 2, 2)]
    machine.register("n1", service("later"))
    assert links(machine, "tgw") == [("later", "service", 2, 3), ("web", "service", 2, 2)]
    machine.register("n2", service("later"))
    assert machine.store.gateways.of_gateway("tgw")[1] == 3


def test_a_wildcard_follows_the_catalog() -> None:
    machine = Machine()
    machine.register("n1", service("consul"))
    machine.register("n1", service("web"))
    write(machine, terminating("*"))
    assert [row[0] for row in links(machine, "tgw")] == ["web"]
    machine.register("n1", service("db"))
    assert [row[0] for row in links(machine, "tgw")] == ["db", "web"]
    machine.deregister("n1", service_id="web")
    assert [row[0] for row in links(machine, "tgw")] == ["db"]
    machine.deregister("n1")
    assert links(machine, "tgw") == []


def test_an_ingress_wildcard_takes_what_is_in_the_mesh() -> None:
    machine = Machine()
    machine.register("n1", service("web"))
    write(machine, ingress("*"))
    assert links(machine, "igw") == []
    machine.register("n1", proxy("web"))
    assert [row[0] for row in links(machine, "igw")] == ["web"]
    machine.deregister("n1", service_id=proxy("web").id)
    assert links(machine, "igw") == []


def test_an_entry_that_goes_takes_its_links_and_wakes_who_waits() -> None:
    machine = Machine()
    write(machine, ingress("web", protocol="tcp"))
    watch = machine.watch(machine.store.gateways.of_gateway, "igw")
    machine.register("n1", service("unrelated"))
    assert watch.count == 0
    write(machine, ingress("web", protocol="tcp"), "delete")
    assert watch.count == 1 and links(machine, "igw") == []
    assert machine.store.gateways.of_gateway("igw")[1] == machine.index


def test_a_restored_state_has_the_same_links() -> None:
    machine = Machine()
    machine.register("n1", service("web"))
    machine.register("n1", proxy("web"))
    write(machine, ingress("*"))
    write(machine, terminating("*", "other"))
    before = [(row.gateway.name, row.service.name, row.from_wildcard) for row in machine.store.gateways.rows]
    index = machine.store.gateways.of_gateway("igw")[1]
    restored = machine.restored()
    assert [(row.gateway.name, row.service.name, row.from_wildcard) for row in restored.gateways.rows] == before
    assert restored.gateways.of_gateway("igw")[1] == index
