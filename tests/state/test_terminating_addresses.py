"""Virtual addresses of what stands behind terminating gateways."""

from model.commands import CommandType
from model.structs.catalog import NodeService, ServiceConnect
from model.structs.operator import SystemMetadataEntry, SystemMetadataRequest
from tests.state.helpers import Machine, service
from tests.state.test_gateways import proxy, terminating, write


def machine(enabled: bool = True) -> Machine:
    made = Machine()
    for key in ("virtual-ips", "virtual-ips-term-gateway"):
        entry = SystemMetadataEntry(key=key, value="true" if enabled else "false")
        made.apply(CommandType.SYSTEM_METADATA, SystemMetadataRequest(op="upsert", entry=entry))
    return made


def gateway(name: str = "tgw", **more: object) -> NodeService:
    return service(name, kind="terminating-gateway", port=8443, **more)  # type: ignore[arg-type]


def listed(made: Machine, name: str = "tgw") -> dict[str, str]:
    instance = made.store.catalog.instance("n1", name)
    assert instance is not None
    return {key: one.address for key, one in (instance.service.tagged_addresses or {}).items()}


def test_a_gateway_lists_the_addresses_of_what_its_entry_names() -> None:
    made = machine()
    made.register("n1", gateway())
    write(made, terminating("api", "*"))
    assert listed(made) == {"consul-virtual:api": "240.0.0.1", "consul-virtual:*": "240.0.0.2"}
    assert made.store.virtual_ips.address("API") == "240.0.0.1"
    instance = made.store.catalog.instance("n1", "tgw")
    assert instance is not None
    assert instance.service.modify_index == made.index


def test_a_gateway_that_comes_later_lists_them_too() -> None:
    made = machine()
    write(made, terminating("api"))
    assert made.store.virtual_ips.address("api") == "240.0.0.1"
    made.register("n1", gateway())
    assert listed(made) == {"consul-virtual:api": "240.0.0.1"}
    made.register("n1", gateway("other"))
    assert listed(made, "other") == {}


def test_what_is_no_longer_named_gives_its_address_back() -> None:
    made = machine()
    made.register("n1", gateway())
    write(made, terminating("api", "db"))
    write(made, terminating("db"))
    assert listed(made) == {"consul-virtual:db": "240.0.0.2"}
    assert made.store.virtual_ips.address("api") == ""
    write(made, terminating("db", name="tgw2"))
    write(made, terminating("db"), "delete")
    assert listed(made) == {}
    assert made.store.virtual_ips.address("db") == "240.0.0.2"
    write(made, terminating("db", name="tgw2"), "delete")
    assert made.store.virtual_ips.address("db") == ""


def test_services_in_the_mesh_keep_theirs() -> None:
    made = machine()
    made.register("n1", proxy("web"))
    address = made.store.virtual_ips.address("web")
    write(made, terminating("web"))
    write(made, terminating("web"), "delete")
    assert made.store.virtual_ips.address("web") == address != ""
    write(made, terminating("web"))
    made.deregister("n1", service_id="web-proxy")
    assert made.store.virtual_ips.address("web") == address


def test_without_virtual_addresses_nothing_is_listed() -> None:
    made = machine(enabled=False)
    made.register("n1", gateway())
    write(made, terminating("api"))
    assert listed(made) == {}
    made.register("n1", service("native", connect=ServiceConnect(native=True)))
    assert made.store.virtual_ips.address("native") == ""
