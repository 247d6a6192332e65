"""Where prepared queries look when there is nothing here, and calls that belong to another datacenter."""

from __future__ import annotations

from typing import Any

import pytest

from model.errors import RpcError
from model.structs.catalog import HealthCheck, NodeService
from model.structs.queries import PreparedQuery, QueryFailoverOptions, QueryFailoverTarget, ServiceQuery
from server.endpoints.failover import targets_of
from tests.endpoints.fake import FakeServer


class Elsewhere(FakeServer):
    """A server of dc1 that reaches servers of others by their address; those without a server are unreachable."""

    def __init__(self, *others: FakeServer, unreachable: str = "") -> None:
        super().__init__()
        self.others = {f"{other.datacenter}:8300": other for other in others}
        self.elsewhere = {other.datacenter: [f"{other.datacenter}:8300"] for other in others}
        if unreachable:
            self.elsewhere[unreachable] = ["gone:1", "gone:2"]

    async def forward(self, method: str, args: Any, address: str) -> Any:
        self.forward_to = self.others.get(address)
        if self.forward_to is None:
            self.forwarded.append((method, args, address))
            raise ConnectionRefusedError(f"{address} does not answer")
        return await super().forward(method, args, address)


async def with_web(datacenter: str) -> FakeServer:
    server = FakeServer()
    server.datacenter = datacenter
    await server.call(
        "Catalog.Register",
        node=f"node-{datacenter}",
        address="10.0.0.1",
        service=NodeService(service="web"),
        check=HealthCheck(name="c", status="passing", service_id="web"),
    )
    return server


def empty(datacenter: str) -> FakeServer:
    server = FakeServer()
    server.datacenter = datacenter
    return server


async def execute(server: FakeServer, failover: QueryFailoverOptions) -> tuple[list[str], str, str, int]:
    query = PreparedQuery(name="q", service=ServiceQuery(service="web", failover=failover))
    await server.call("PreparedQuery.Apply", op="create", query=query)
    reply = await server.call("PreparedQuery.Execute", query_id_or_name="q", limit=3)
    return [row.node.node for row in reply.nodes], reply.datacenter, reply.peer_name, reply.failovers


async def test_the_first_datacenter_with_instances_answers() -> None:
    server = Elsewhere(empty("dc2"), await with_web("dc3"), await with_web("dc4"))
    named = QueryFailoverOptions(datacenters=["dc9", "dc2", "dc3", "dc4"])
    assert await execute(server, named) == (["node-dc3"], "dc3", "", 2)
    assert [address for _, _, address in server.forwarded] == ["dc2:8300", "dc3:8300"]


async def test_the_nearest_come_before_the_named() -> None:
    server = Elsewhere(empty("dc2"), await with_web("dc3"))
    assert await execute(server, QueryFailoverOptions(nearest_n=1, datacenters=["dc2", "dc3"])) == (
        ["node-dc3"],
        "dc3",
        "",
        2,
    )


async def test_one_that_cannot_be_reached_is_passed_over() -> None:
    server = Elsewhere(await with_web("dc3"), unreachable="dc2")
    found = await execute(server, QueryFailoverOptions(datacenters=["dc2", "dc3"]))
    assert found == (["node-dc3"], "dc3", "", 2)
    assert [address for _, _, address in server.forwarded] == ["gone:1", "gone:2", "dc3:8300"]


async def test_targets_may_be_peers_which_have_nothing() -> None:
    server = Elsewhere(await with_web("dc2"))
    targets = [QueryFailoverTarget(peer="friend"), QueryFailoverTarget(datacenter="dc2")]
    assert await execute(server, QueryFailoverOptions(targets=targets)) == (["node-dc2"], "dc2", "", 2)
    assert await execute(Elsewhere(), QueryFailoverOptions(targets=targets)) == ([], "", "friend", 1)


async def test_nobody_is_asked_while_there_is_something_here() -> None:
    server = Elsewhere(await with_web("dc2"))
    await server.call("Catalog.Register", node="here", address="10.0.0.2", service=NodeService(service="web"))
    assert await execute(server, QueryFailoverOptions(nearest_n=3)) == (["here"], "dc1", "", 0)
    assert server.forwarded == []


def test_order_of_targets() -> None:
    options = QueryFailoverOptions(nearest_n=2, datacenters=["dc5", "dc3", "dc1", "dc9"])
    names = [target.datacenter for target in targets_of(options, ["dc1", "dc3", "dc4", "dc5"])]
    assert names == ["dc3", "dc4", "dc5"]


# Calls


async def test_a_call_for_another_datacenter_is_made_there() -> None:
    far = await with_web("dc2")
    server = Elsewhere(far)
    reply = await server.call("Health.ServiceNodes", datacenter="DC2", service_name="web")
    assert [row.node.node for row in reply.nodes] == ["node-dc2"]
    with pytest.raises(RpcError, match=r"^No path to datacenter$"):
        await server.call("Health.ServiceNodes", datacenter="dc9", service_name="web")


async def test_errors_of_the_other_datacenter_come_back() -> None:
    server = Elsewhere(empty("dc2"), unreachable="dc3")
    with pytest.raises(RpcError, match=r"^rpc error making call: Must provide service name"):
        await server.call("Health.ServiceNodes", datacenter="dc2")
    with pytest.raises(RpcError, match=r"^rpc error making call: gone:2 does not answer$"):
        await server.call("Health.ServiceNodes", datacenter="dc3", service_name="web")
