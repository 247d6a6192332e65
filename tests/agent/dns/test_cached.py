"""Look-ups of DNS from the agent's cache."""

from typing import Any

from agent.cache import Cache
from agent.config.settings import DnsConfig
from agent.dns.cached import CachingCaller
from model.structs.catalog_rpc import IndexedCheckServiceNodes, NodeSpecificRequest, ServiceSpecificRequest
from model.structs.queries import PreparedQueryExecuteRequest, PreparedQueryExecuteResponse


class _Servers:
    def __init__(self) -> None:
        self.asked: list[str] = []

    async def call(self, method: str, args: Any) -> Any:
        self.asked.append(method)
        if method == "PreparedQuery.Execute":
            return PreparedQueryExecuteResponse()
        return IndexedCheckServiceNodes(index=5)


async def test_what_is_cached_and_for_how_long() -> None:
    servers, now, settings = _Servers(), [0.0], [DnsConfig(use_cache=True, cache_max_age=10.0)]
    cache = Cache(servers.call, lambda: now[0])
    caller = CachingCaller(servers, cache, lambda: settings[0])
    for _ in range(3):
        await caller.call("PreparedQuery.Execute", PreparedQueryExecuteRequest(query_id_or_name="q"))
    assert servers.asked == ["PreparedQuery.Execute"]
    now[0] = 11.0
    await caller.call("PreparedQuery.Execute", PreparedQueryExecuteRequest(query_id_or_name="q"))
    assert len(servers.asked) == 2
    settings[0] = DnsConfig(use_cache=True)
    now[0] = 1000.0
    await caller.call("PreparedQuery.Execute", PreparedQueryExecuteRequest(query_id_or_name="q"))
    assert len(servers.asked) == 2
    for _ in range(3):
        await caller.call("Catalog.NodeServices", NodeSpecificRequest(node="n"))
    assert servers.asked[2:] == ["Catalog.NodeServices"] * 3
    settings[0] = DnsConfig()
    for _ in range(2):
        await caller.call("Health.ServiceNodes", ServiceSpecificRequest(service_name="web"))
    assert servers.asked[5:] == ["Health.ServiceNodes"] * 2
    cache.close()


async def test_services_are_kept_up() -> None:
    servers = _Servers()
    cache = Cache(servers.call, lambda: 0.0)
    caller = CachingCaller(servers, cache, lambda: DnsConfig(use_cache=True))
    first = await caller.call("Health.ServiceNodes", ServiceSpecificRequest(service_name="web"))
    asked = len(servers.asked)
    again = await caller.call("Health.ServiceNodes", ServiceSpecificRequest(service_name="web"))
    assert first is again and len(servers.asked) <= asked + 1
    assert len(cache) == 1
    cache.close()
