"""`dns_config.use_cache`: look-ups of services and prepared queries come from the agent's cache."""

from collections.abc import Callable
from typing import Any

from agent.cache import Cache, Wanted
from agent.config.settings import DnsConfig
from model.codec import Wire
from model.structs.catalog_rpc import ServiceSpecificRequest
from model.structs.queries import PreparedQueryExecuteRequest
from rpc.caller import Caller


class CachingCaller:
    """Asks the cache where `settings()` say so, the servers otherwise."""

    def __init__(self, caller: Caller, cache: Cache, settings: Callable[[], DnsConfig]) -> None:
        self._caller = caller
        self._cache = cache
        self._settings = settings

    async def call(self, method: str, args: Wire) -> Any:
        """Ask. Raises RpcError.

        A service's answer is kept up in the background. A query's is as it was heard; it is asked anew when it is
        older than `cache_max_age`, of which zero means any age.
        """
        settings = self._settings()
        if settings.use_cache and isinstance(args, ServiceSpecificRequest) and method == "Health.ServiceNodes":
            return (await self._cache.fresh(method, args, 0.0, 0.0)).reply
        if settings.use_cache and isinstance(args, PreparedQueryExecuteRequest):
            age = settings.cache_max_age if settings.cache_max_age > 0 else None
            return (await self._cache.plain(method, args, Wanted(age))).reply
        return await self._caller.call(method, args)
