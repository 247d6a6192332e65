"""An agent merges central defaults into its proxies, holds new ones back until they are known, and follows changes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from agent.central import CentralDefaults
from agent.local import LocalState
from model.errors import RpcError
from model.structs.catalog import ConnectProxyConfig, MeshGatewayConfig, Node, NodeService
from model.structs.config_rpc import ServiceConfigRequest, ServiceConfigResponse


class Cluster:
    """Answers questions about defaults, blocking ones when `mode` changes; all else is an error."""

    def __init__(self) -> None:
        self.mode, self.index, self.failing = "local", 5, 0
        self.changed = asyncio.Event()
        self.asked: list[ServiceConfigRequest] = []

    async def call(self, method: str, args: Any) -> Any:
        assert method == "ConfigEntry.ResolveServiceConfig"
        self.asked.append(args)
        if self.failing:
            self.failing -= 1
            raise RpcError("No cluster leader")
        while args.min_query_index == self.index:
            self.changed.clear()
            await self.changed.wait()
        return ServiceConfigResponse(mesh_gateway=MeshGatewayConfig(mode=self.mode), index=self.index)

    def change(self, mode: str) -> None:
        self.mode, self.index = mode, self.index + 1
        self.changed.set()


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
async def local(cluster: Cluster) -> AsyncIterator[LocalState]:
    state = LocalState(cluster, Node(node="n1"), False, None)
    central = CentralDefaults(cluster, state, "dc1")
    yield state
    await central.stop()


def proxy(name: str = "web") -> NodeService:
    config = ConnectProxyConfig(destination_service_name=name)
    return NodeService(kind="connect-proxy", id="p", service="p", proxy=config)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_proxy_is_shown_with_its_defaults_and_follows_them(cluster: Cluster, local: LocalState) -> None:
    local.put_service(proxy())
    assert local.services["p"].proxy.mesh_gateway.mode == ""
    await until(lambda: local.services["p"].proxy.mesh_gateway.mode == "local")
    cluster.change("remote")
    await until(lambda: local.services["p"].proxy.mesh_gateway.mode == "remote")
    assert local.registered["p"] == proxy()


async def test_a_registration_anew_asks_anew(cluster: Cluster, local: LocalState) -> None:
    local.put_service(proxy())
    await until(lambda: len(cluster.asked) > 1)
    local.put_service(proxy("db"))
    await until(lambda: local.services["p"].proxy.mesh_gateway.mode == "local")
    assert cluster.asked[-1].name == "db"
    local.remove_service("p")
    asked = len(cluster.asked)
    cluster.change("remote")
    await asyncio.sleep(0.05)
    assert len(cluster.asked) == asked and not local.services


async def test_without_an_answer_a_proxy_is_let_go_as_it_is(cluster: Cluster, local: LocalState) -> None:
    cluster.failing = 1
    local.put_service(proxy())
    assert local.held("p")
    await until(lambda: not local.held("p"))
    await until(lambda: local.services["p"].proxy.mesh_gateway.mode == "local")


async def test_other_services_are_none_of_its_business(cluster: Cluster, local: LocalState) -> None:
    local.put_service(NodeService(id="web", service="web"))
    await asyncio.sleep(0.05)
    assert not cluster.asked and not local.held("web")
