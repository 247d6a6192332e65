"""Discovery chains: what entries compile to, and when they cannot."""

from typing import Any

import pytest

from mesh.chains import Overrides, compile_chain, protocol_of
from model.codec import Wire
from model.durations import SECOND
from model.errors import RpcError
from model.structs.catalog import MeshGatewayConfig
from model.structs.config_entries import ProxyConfigEntry, ServiceConfigEntry
from model.structs.config_rpc import CONFIG_ENTRY_KINDS, kind_of
from model.structs.discovery_chain import CompiledDiscoveryChain
from model.weak_decode import decode_weakly


class Entries:
    """Entries by kind and name, written as people write them."""

    def __init__(self, *raw: dict[str, Any]) -> None:
        made = [decode_weakly(CONFIG_ENTRY_KINDS[one["Kind"]], one) for one in raw]
        self.rows: dict[tuple[str, str], Wire] = {(kind_of(one), getattr(one, "name", "")): one for one in made}

    def __call__(self, kind: str, name: str) -> Any:
        return self.rows.get((kind, name))

    def chain(self, name: str, overrides: Overrides = Overrides()) -> CompiledDiscoveryChain:
        return compile_chain(name, self, "dc1", "td.consul", overrides)


HTTP = {"Kind": "proxy-defaults", "Name": "global", "Config": {"protocol": "http"}}


def splitter(name: str, *splits: dict[str, Any]) -> dict[str, Any]:
    return {"Kind": "service-splitter", "Name": name, "Splits": list(splits)}


def resolver(name: str, **fields: Any) -> dict[str, Any]:
    return {"Kind": "service-resolver", "Name": name, **fields}


def test_a_service_without_entries() -> None:
    chain = Entries().chain("web")
    assert chain.default and chain.protocol == "tcp" and chain.start_node == "resolver:web.default.default.dc1"
    target = (chain.targets or {})["web.default.default.dc1"]
    assert target.sni == "web.default.dc1.internal.td.consul"
    assert target.connect_timeout == 5_000_000_000


def test_nested_splitters_become_one() -> None:
    entries = Entries(
        HTTP,
        resolver("web", Subsets={"v1": {}, "v2": {}}),
        splitter("web", {"Weight": 60, "ServiceSubset": "v1"}, {"Weight": 40, "ServiceSubset": "v2"}),
        splitter(
            "front",
            {"Weight": 50, "Service": "web", "RequestHeaders": {"Set": {"a": "1"}}},
            {"Weight": 50, "Service": "api"},
        ),
    )
    chain = entries.chain("front")
    splits = (chain.nodes or {})["splitter:front.default.default"].splits or []
    assert [(split.weight, split.next_node) for split in splits] == [
        (30, "resolver:v1.web.default.default.dc1"),
        (20, "resolver:v2.web.default.default.dc1"),
        (50, "resolver:api.default.default.dc1"),
    ]
    first = splits[0].definition
    assert first and first.request_headers and first.request_headers.set == {"a": "1"}
    assert "splitter:web.default.default" not in (chain.nodes or {})


def test_a_router_ends_in_the_service_itself() -> None:
    chain = Entries(
        HTTP,
        {
            "Kind": "service-router",
            "Name": "web",
            "Routes": [{"Match": {"HTTP": {"PathPrefix": "/a"}}, "Destination": {"Service": "a"}}],
        },
    ).chain("web")
    routes = (chain.nodes or {})["router:web.default.default"].routes or []
    assert [route.next_node for route in routes] == [
        "resolver:a.default.default.dc1",
        "resolver:web.default.default.dc1",
    ]


def test_redirects_and_default_subsets() -> None:
    chain = Entries(
        resolver("real", DefaultSubset="v1", Subsets={"v1": {"Filter": "x"}}, ConnectTimeout="4s"),
        resolver("alias", Redirect={"Service": "real"}),
        resolver("far", Redirect={"Datacenter": "dc2"}),
    )
    assert list(chain.chain("alias").targets or {}) == ["v1.real.default.default.dc1"]
    assert not chain.chain("alias").default
    assert list(chain.chain("far").targets or {}) == ["far.default.default.dc2"]


def test_failover_forms() -> None:
    entries = Entries(
        resolver("fd", Failover={"*": {"Datacenters": ["dc2", "dc1"]}}),
        resolver("self", Failover={"*": {"Service": "self"}}),
        resolver("ft", Failover={"*": {"Targets": [{"Datacenter": "dc2"}, {"Service": "b"}, {"Peer": "p1"}]}}),
    )

    def targets(name: str) -> Any:
        chain = entries.chain(name)
        found = (chain.nodes or {})[chain.start_node].resolver
        return found.failover and found.failover.targets if found else None

    assert targets("fd") == ["fd.default.default.dc2"]
    assert targets("self") is None
    assert targets("ft") == ["ft.default.default.dc2", "b.default.default.dc1", "ft.default.default.external.p1"]


def test_overrides() -> None:
    entries = Entries(HTTP, splitter("web", {"Weight": 100, "Service": "a"}))
    plain = entries.chain("web", Overrides(protocol="tcp"))
    assert plain.start_node == "resolver:web.default.default.dc1" and plain.protocol == "tcp"
    assert plain.customization_hash and not entries.chain("web").customization_hash
    gateway = entries.chain("web", Overrides(mesh_gateway="local", connect_timeout=7))
    target = (gateway.targets or {})["a.default.default.dc1"]
    assert target.mesh_gateway == MeshGatewayConfig(mode="local") and target.connect_timeout == 7


def test_the_hash_of_overrides_is_consuls() -> None:
    entries = Entries(resolver("web", ConnectTimeout="33s"))
    for overrides, expected in (
        (Overrides(mesh_gateway="local"), "c225dc1c"),
        (Overrides(protocol="http2", connect_timeout=11 * SECOND), "3c0f8f76"),
        (Overrides("grpc", 22 * SECOND, "local"), "98809527"),
        # What changes nothing is no customisation.
        (Overrides(protocol="tcp", connect_timeout=33 * SECOND), ""),
        (Overrides("tcp", 33 * SECOND, "local"), "c225dc1c"),
    ):
        assert entries.chain("web", overrides).customization_hash == expected, overrides
    assert Entries(HTTP).chain("web", Overrides(protocol="tcp")).customization_hash == "96f2c150"


@pytest.mark.parametrize(
    ("entries", "name", "text"),
    [
        (
            [splitter("web", {"Weight": 100})],
            "web",
            'discovery chain "web" uses a protocol "tcp" that does not permit advanced routing or splitting behavior',
        ),
        (
            [
                {"Kind": "service-defaults", "Name": "web", "Protocol": "http"},
                splitter("web", {"Weight": 50}, {"Weight": 50, "Service": "g"}),
            ],
            "web",
            'discovery chain "web" uses inconsistent protocols; service "g" has "tcp" which is not "http"',
        ),
        (
            [HTTP, splitter("a", {"Weight": 100, "Service": "b"}), splitter("b", {"Weight": 100, "Service": "a"})],
            "a",
            "detected circular reference: [splitter:a.default.default -> splitter:b.default.default -> "
            "splitter:a.default.default]",
        ),
        (
            [resolver("a", Redirect={"Service": "b"}), resolver("b", Redirect={"Service": "a"})],
            "a",
            "detected circular resolver redirect: [a.default.default.dc1 -> b.default.default.dc1 -> "
            "a.default.default.dc1]",
        ),
        (
            [resolver("a", Redirect={"Service": "b", "ServiceSubset": "v9"})],
            "a",
            'service "b" does not have a subset named "v9"',
        ),
        (
            [
                {"Kind": "service-defaults", "Name": "ext", "ExternalSNI": "x"},
                resolver("ext", Failover={"*": {"Service": "a"}}),
            ],
            "ext",
            'service "ext" has an external SNI set; cannot define failover for external services',
        ),
    ],
)
def test_contradictions(entries: list[dict[str, Any]], name: str, text: str) -> None:
    with pytest.raises(RpcError) as caught:
        Entries(*entries).chain(name)
    assert caught.value.text == text


def test_a_long_line_of_splitters_and_redirects_compiles() -> None:
    """Each splitter leads to the next twice over: work must not double with every step."""
    raw = [HTTP]
    for number in range(60):
        following = f"s{number + 1}"
        raw.append(
            {
                "Kind": "service-router",
                "Name": f"s{number}",
                "Routes": [{"Destination": {"Service": following}}, {"Destination": {"Service": following}}],
            }
        )
        raw.append(splitter(f"s{number}", {"Weight": 100, "Service": following}))
    chain = Entries(*raw).chain("s0")
    assert "resolver:s60.default.default.dc1" in (chain.nodes or {})


def test_nested_splitters_do_not_multiply_without_bound() -> None:
    def legs(level: int, count: int) -> list[dict[str, Any]]:
        return [{"Weight": 100 / count, "Service": f"s{level}x{number}"} for number in range(count)]

    def tree(levels: int) -> Entries:
        raw = [splitter(f"s{level}x{number}", *legs(level + 1, 10)) for level in range(levels) for number in range(10)]
        return Entries(HTTP, *raw)

    assert len((tree(3).chain("s0x0").nodes or {})["splitter:s0x0.default.default"].splits or ()) == 1000
    with pytest.raises(RpcError, match='"s0x0" splits traffic into more than 2000 parts'):
        tree(8).chain("s0x0")


def test_a_line_of_splitters_without_end_is_refused() -> None:
    line = [splitter(f"s{number}", {"Weight": 100, "Service": f"s{number + 1}"}) for number in range(3000)]
    with pytest.raises(RpcError, match="nested more than 100 deep"):
        Entries(HTTP, *line).chain("s0")


def test_protocols() -> None:
    proxy = ProxyConfigEntry(config={"protocol": 5.0})
    assert protocol_of(lambda kind, name: proxy if kind == "proxy-defaults" else None, "web") == "5"
    own = ServiceConfigEntry(name="web", protocol="grpc")
    assert protocol_of(lambda kind, name: own if kind == "service-defaults" else proxy, "web") == "grpc"
