"""Writing configuration entries: refused when they contradict what is there."""

from typing import Any

import pytest

from model.errors import RpcError
from model.structs.config_rpc import CONFIG_ENTRY_KINDS
from model.weak_decode import decode_weakly
from tests.endpoints.fake import FakeServer


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


def entry(**raw: Any) -> Any:
    cls = CONFIG_ENTRY_KINDS[raw["Kind"]]
    return decode_weakly(cls, raw, ignored=frozenset() if "kind" in cls.__struct_fields__ else frozenset(("kind",)))


async def put(server: FakeServer, **raw: Any) -> Any:
    return await server.call("ConfigEntry.Apply", op="upsert", entry=entry(**raw))


async def delete(server: FakeServer, kind: str, name: str) -> Any:
    return await server.call("ConfigEntry.Delete", op="delete", entry=entry(Kind=kind, Name=name))


async def refused(answer: Any) -> str:
    with pytest.raises(RpcError) as caught:
        await answer
    return caught.value.text


async def test_a_chain_that_others_need_cannot_be_broken(server: FakeServer) -> None:
    for name in ("web", "a"):
        await put(server, Kind="service-defaults", Name=name, Protocol="HTTP")
    await put(server, Kind="service-splitter", Name="web", Splits=[{"Weight": 50}, {"Weight": 50, "Service": "a"}])
    assert "inconsistent protocols" in await refused(put(server, Kind="service-defaults", Name="a", Protocol="grpc"))
    assert "inconsistent protocols" in await refused(delete(server, "service-defaults", "a"))
    found = await server.call("ConfigEntry.Get", kind="service-defaults", name="a")
    assert found.entry.protocol == "http", "a refused change leaves nothing behind"
    await delete(server, "service-splitter", "web")
    assert (await delete(server, "service-defaults", "a")).deleted


async def test_circles_are_refused(server: FakeServer) -> None:
    await put(server, Kind="service-resolver", Name="a", Redirect={"Service": "b"})
    text = await refused(put(server, Kind="service-resolver", Name="b", Redirect={"Service": "a"}))
    assert text.startswith("detected circular resolver redirect: [b.default.default.dc1 -> a.default")


async def test_ingress_listeners_speak_the_protocol_of_their_services(server: FakeServer) -> None:
    await put(server, Kind="service-defaults", Name="web", Protocol="http")
    listeners = [{"Port": 80, "Protocol": "http", "Services": [{"Name": "web"}]}]
    await put(server, Kind="ingress-gateway", Name="g", Listeners=listeners)
    text = 'service "web" has protocol "tcp", which does not match defined listener protocol "http"'
    assert await refused(delete(server, "service-defaults", "web")) == text
    assert "already exists" in await refused(put(server, Kind="terminating-gateway", Name="g"))


async def test_names(server: FakeServer) -> None:
    assert await refused(put(server, Kind="service-defaults")) == "Name is required"
    wrong = 'invalid name ("other"), only "global" is supported'
    assert await refused(put(server, Kind="proxy-defaults", Name="other")) == wrong
    assert await refused(delete(server, "proxy-defaults", "other")) == wrong
    await put(server, Kind="proxy-defaults")
    assert (await server.call("ConfigEntry.Get", kind="proxy-defaults", name="global")).entry is not None


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ({"Kind": "service-resolver", "Subsets": {"UP": {}}}, 'Subset "UP" is invalid: must be 63 characters'),
        ({"Kind": "service-resolver", "Redirect": {}}, "Redirect is empty"),
        ({"Kind": "service-resolver", "LoadBalancer": {"Policy": "coin"}}, 'Bad LoadBalancer policy: "coin"'),
        ({"Kind": "service-resolver", "ConnectTimeout": "-1s"}, "Bad ConnectTimeout '-1s', must be >= 0"),
        ({"Kind": "service-splitter", "Splits": []}, "no splits configured"),
        ({"Kind": "service-splitter", "Splits": [{"Weight": 90}]}, "the sum of all split weights must be 100, not 90."),
        ({"Kind": "service-splitter", "Splits": [{"Weight": 150}, {"Weight": -50}]}, "all weights must be"),
        (
            {"Kind": "service-router", "Routes": [{"Match": {"HTTP": {"PathExact": "a"}}}]},
            "Route[0] PathExact doesn't start with '/': \"a\"",
        ),
        (
            {"Kind": "service-router", "Routes": [{"Match": {"HTTP": {"Methods": ["GET", "get"]}}}]},
            'Route[0] Methods contains "GET" more than once',
        ),
        ({"Kind": "ingress-gateway", "Listeners": [{"Port": 80, "Protocol": "udp"}]}, "protocol must be 'tcp'"),
        ({"Kind": "terminating-gateway", "Services": [{"Name": "a", "CertFile": "c"}]}, 'Service "a" must have'),
        ({"Kind": "service-defaults", "Destination": {"Addresses": ["a"], "Port": 70000}}, "Invalid Port number"),
        ({"Kind": "exported-services", "Services": [{"Name": "a"}]}, "Services[0]: must have at least one consumer"),
    ],
)
async def test_an_entry_by_itself(server: FakeServer, raw: dict[str, Any], text: str) -> None:
    name = "default" if raw["Kind"] == "exported-services" else "x"
    assert (await refused(put(server, Name=name, **raw))).startswith(text)


async def test_stored_forms(server: FakeServer) -> None:
    await put(server, Kind="service-defaults", Name="web", Protocol="http")
    await put(server, Kind="service-router", Name="web", Routes=[{"Match": {"HTTP": {"Methods": ["get"]}}}])
    router = (await server.call("ConfigEntry.Get", kind="service-router", name="web")).entry
    assert router.routes[0].match.http.methods == ["GET"]


async def test_writing_the_same_again_changes_no_index(server: FakeServer) -> None:
    for _ in range(2):
        await put(server, Kind="service-defaults", Name="web", Protocol="http")
    found = (await server.call("ConfigEntry.Get", kind="service-defaults", name="web")).entry
    assert found.modify_index == found.create_index
    await put(server, Kind="service-defaults", Name="web", Protocol="tcp")
    found = (await server.call("ConfigEntry.Get", kind="service-defaults", name="web")).entry
    assert found.modify_index > found.create_index
