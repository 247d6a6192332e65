"""The catalog: registration rules, indexes, and that a change wakes exactly those whom it concerns."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.commands import CommandType
from model.errors import RpcError
from model.structs.catalog import ConnectProxyConfig, NodeService, ServiceConnect
from model.structs.operator import SystemMetadataEntry, SystemMetadataRequest
from tests.state.helpers import Machine, check, service

ID_A = "aaaaaaaa-0000-0000-0000-000000000000"
ID_B = "bbbbbbbb-0000-0000-0000-000000000000"


def proxy(destination: str, service_id: str = "") -> NodeService:
    return service(
        f"{destination}-proxy",
        service_id,
        kind="connect-proxy",
        port=20000,
        proxy=ConnectProxyConfig(destination_service_name=destination),
    )


def test_lookups_ignore_case_and_keep_the_registered_spelling() -> None:
    machine = Machine()
    machine.register("Node-A", service("Web"))
    node, services, _ = machine.store.catalog.node_services("NODE-a")
    assert node is not None and node.node == "Node-A" and [s.service for s in services] == ["Web"]
    assert [row.node for row in machine.store.catalog.service_instances("wEB")[0]] == ["Node-A"]


def test_registering_the_same_again_changes_nothing() -> None:
    machine = Machine()
    machine.register("n1", service("web"), [check("c")])
    before = machine.snapshot()
    watch = machine.watch(machine.store.catalog.service_instances, "web")
    machine.register("n1", service("web"), [check("c")])
    assert machine.snapshot() == before
    assert watch.count == 0


def test_skip_node_update_leaves_the_node_alone_but_makes_a_missing_one() -> None:
    machine = Machine()
    machine.register("n1", node_meta={"a": "1"})
    machine.register("n1", service("web"), address="9.9.9.9", skip_node_update=True)
    machine.register("n2", address="10.0.0.2", skip_node_update=True)
    nodes = {node.node: node for node in machine.store.catalog.nodes}
    assert (nodes["n1"].address, nodes["n1"].meta) == ("10.0.0.1", {"a": "1"})
    assert nodes["n2"].address == "10.0.0.2"


def test_a_node_is_renamed_by_its_id_and_what_was_on_it_goes() -> None:
    machine = Machine()
    machine.register("old", service("web"), id=ID_A)
    machine.register("new", id=ID_A)
    assert [node.node for node in machine.store.catalog.nodes] == ["new"]
    assert machine.store.catalog.find_node(ID_A) is not None
    assert machine.store.catalog.service_instances("web")[0] == []


def test_a_node_is_found_by_what_only_its_id_begins_with() -> None:
    machine = Machine()
    machine.register("n1", id="40e4a748-2192-161a-0510-9bf59fe950b5")
    machine.register("n2", id="40e4ffff-2192-161a-0510-9bf59fe950b5")
    machine.register("40e4a748", id="11111111-2192-161a-0510-9bf59fe950b5")
    catalog = machine.store.catalog

    def found(text: str) -> str:
        node = catalog.node_services(text)[0]
        return node.node if node is not None else ""

    assert found("40E4A7") == found("40e4a748-2192-16") == found("40e4a748-2192-161a-0510-9bf59fe950b5") == "n1"
    assert found("40e4f") == ""  # An odd digit does not count, and "40e4" is how two of them begin.
    assert found("40e4ff0") == "n2"
    assert found("40e4a748") == "40e4a748"  # Names come first.
    assert found("40e4a748-2192") == found("40e4a748-219") == ""  # Eleven digits, without an odd character.
    for text in ("", "4", "zz", "--", "40e4a748-2192-161a-0510-9bf59fe950b5ff", "4-0-e-4-a-7"):
        assert found(text) == ""


def test_who_found_a_node_by_its_id_hears_when_that_is_ambiguous() -> None:
    machine = Machine()
    machine.register("n1", id=ID_A)
    watch = machine.watch(machine.store.catalog.node_services, ID_A[:4])
    machine.register("n2", id=ID_A[:4] + ID_B[4:])
    assert watch.count == 1


def test_the_name_of_a_living_node_is_not_taken_over() -> None:
    machine = Machine()
    machine.register("n1", checks=[check("serfHealth")], id=ID_A)
    with pytest.raises(RpcError, match=f"Node name n1 is reserved by node {ID_A} with name n1"):
        machine.register("n1", id=ID_B)
    machine.register("n1", checks=[check("serfHealth", "critical")], id=ID_A)
    machine.register("n1", id=ID_B)
    assert machine.store.catalog.nodes.rows()[0].id == ID_B


def test_a_failed_command_leaves_nothing_behind() -> None:
    machine = Machine()
    machine.register("n1", service("web"))
    before, watch = machine.snapshot(), machine.watch(machine.store.catalog.list_nodes)
    with pytest.raises(RpcError, match="Unknown service ID 'nope' for check ID 'c'"):
        machine.register("n2", service("api"), [check("ok"), check("c", service_id="nope")])
    assert machine.snapshot() == before
    assert watch.count == 0


def test_the_index_of_a_service_is_its_own() -> None:
    machine = Machine()
    machine.register("n1", service("web"))
    machine.register("n2", service("api"))
    catalog = machine.store.catalog
    assert catalog.service_instances("web")[1] == 1
    assert catalog.service_instances("api")[1] == 2
    machine.deregister("n2", service_id="api")
    assert catalog.service_instances("api")[1] == 3
    assert catalog.service_instances("never-was")[1] == 3
    assert catalog.service_instances("web")[1] == 1


@pytest.mark.parametrize(
    ("change", "woken"),
    [
        (lambda m: m.register("n1", checks=[check("alive", "critical")]), {"web", "node n1", "checks", "mesh"}),
        (
            lambda m: m.register("n1", checks=[check("web", "critical", service_id="web")]),
            {"web", "node n1", "checks"},
        ),
        (lambda m: m.register("n2", service("api", port=1)), {"api", "node n2", "services"}),
        (lambda m: m.register("n3"), {"nodes"}),
        (lambda m: m.register("n2", address="10.0.0.2"), {"api", "node n2", "nodes"}),
        (lambda m: m.deregister("n1", service_id="web-proxy"), {"node n1", "services", "mesh"}),
        (lambda m: m.kv("set", "k", b"v"), set()),
    ],
)
def test_a_change_wakes_those_whom_it_concerns(change: object, woken: set[str]) -> None:
    machine = Machine()
    machine.register("n1", service("web"), [check("alive"), check("web", service_id="web")])
    machine.register("n1", proxy("web"))
    machine.register("n2", service("api"))
    catalog = machine.store.catalog
    watches = {
        "web": machine.watch(catalog.service_instances, "web"),
        "api": machine.watch(catalog.service_instances, "API"),
        "mesh": machine.watch(catalog.connect_instances, "web"),
        "node n1": machine.watch(catalog.node_services, "n1"),
        "node n2": machine.watch(catalog.node_checks, "N2"),
        "nodes": machine.watch(catalog.list_nodes),
        "services": machine.watch(catalog.service_names),
        "checks": machine.watch(catalog.checks_in_state, "any"),
    }
    change(machine)  # type: ignore[operator]
    assert {name for name, watch in watches.items() if watch.count} == woken


def test_proxies_and_native_instances_serve_a_name_in_the_mesh() -> None:
    machine = Machine()
    machine.register("n1", proxy("web"))
    machine.register("n2", service("web", connect=ServiceConnect(native=True)))
    machine.register("n3", service("web"))
    rows, index = machine.store.catalog.connect_instances("WEB")
    assert [row.node for row in rows] == ["n1", "n2"] and index == 2
    machine.deregister("n1")
    machine.deregister("n2")
    rows, later = machine.store.catalog.connect_instances("web")
    assert rows == [] and later > index


def test_mesh_services_get_virtual_addresses_which_are_used_again() -> None:
    machine = Machine()
    marker = SystemMetadataEntry(key="virtual-ips", value="true")
    machine.apply(CommandType.SYSTEM_METADATA, SystemMetadataRequest(op="upsert", entry=marker))
    machine.register("n1", proxy("web"))
    machine.register("n1", proxy("api"))
    addresses = machine.store.virtual_ips
    assert (addresses.address("web"), addresses.address("API")) == ("240.0.0.1", "240.0.0.2")
    stored = machine.store.catalog.connect_instances("web")[0][0].service
    assert stored.tagged_addresses is not None and stored.tagged_addresses["consul-virtual"].address == "240.0.0.1"
    machine.deregister("n1", service_id="web-proxy")
    assert addresses.address("web") == ""
    machine.register("n1", proxy("db"))
    machine.register("n1", proxy("cache"))
    assert (addresses.address("db"), addresses.address("cache")) == ("240.0.0.1", "240.0.0.3")


names = st.sampled_from(("n1", "N1", "n2"))
services = st.sampled_from(("web", "api"))
owners = st.sampled_from(("", "web", "api"))
steps = st.lists(
    st.one_of(
        st.tuples(st.just("service"), names, services, st.integers(1, 2)),
        st.tuples(st.just("check"), names, owners, st.sampled_from(("passing", "critical"))),
        st.tuples(st.just("drop service"), names, services, st.just(0)),
        st.tuples(st.just("drop check"), names, owners, st.just(0)),
        st.tuples(st.just("drop node"), names, st.just(""), st.just(0)),
        st.tuples(st.just("mesh"), names, services, st.integers(1, 2)),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(steps)
def test_no_reader_misses_a_change(ops: list[tuple[str, str, str, object]]) -> None:
    """Whatever changes an answer must fire its watch and raise its index; indexes never go back."""
    machine = Machine()
    catalog = machine.store.catalog

    def reads() -> dict[str, tuple[object, int]]:
        found: dict[str, tuple[object, int]] = {}
        for name in ("web", "api"):
            rows, index = catalog.service_instances(name)
            found[f"service {name}"] = catalog.with_checks(rows), index
            rows, index = catalog.connect_instances(name)
            found[f"connect {name}"] = catalog.with_checks(rows), index
            checks, index = catalog.service_checks(name)
            found[f"checks {name}"] = checks, index
        for node in ("n1", "n2"):
            row, listed, index = catalog.node_services(node)
            found[f"node {node}"] = (row, listed), index
            checks, index = catalog.node_checks(node)
            found[f"node checks {node}"] = checks, index
        found["nodes"] = catalog.list_nodes()
        found["names"] = catalog.service_names()
        found["critical"] = catalog.checks_in_state("critical")
        return found

    def watch_all() -> dict[str, object]:
        found: dict[str, object] = {}
        for name in ("web", "api"):
            found[f"service {name}"] = machine.watch(catalog.service_instances, name)
            found[f"connect {name}"] = machine.watch(catalog.connect_instances, name)
            found[f"checks {name}"] = machine.watch(catalog.service_checks, name)
        for node in ("n1", "n2"):
            found[f"node {node}"] = machine.watch(catalog.node_services, node)
            found[f"node checks {node}"] = machine.watch(catalog.node_checks, node)
        found["nodes"] = machine.watch(catalog.list_nodes)
        found["names"] = machine.watch(catalog.service_names)
        found["critical"] = machine.watch(catalog.checks_in_state, "critical")
        return found

    for kind, node, name, value in ops:
        before, watches = reads(), watch_all()
        try:
            if kind == "service":
                machine.register(node, service(name, port=value))
            elif kind == "mesh":
                machine.register(node, proxy(name, f"proxy-{value}"))
            elif kind == "check":
                machine.register(node, checks=[check(f"c{name}", str(value), service_id=name)])
            elif kind == "drop service":
                machine.deregister(node, service_id=name)
            elif kind == "drop check":
                machine.deregister(node, check_id=f"c{name}")
            else:
                machine.deregister(node)
        except RpcError:
            assert reads() == before
        after = reads()
        for what, (answer, index) in after.items():
            old_answer, old_index = before[what]
            if answer != old_answer:
                assert watches[what].count, f"{kind} {node} {name}: {what} changed, nobody woke"  # type: ignore[attr-defined]
                assert index > old_index, f"{kind} {node} {name}: {what} changed, its index did not"
            assert index >= old_index or not old_answer, f"{what} went back"
