"""How long the routes of the HTTP API take, and how often some of them are asked; bound once for each route."""

from model.metrics import METRICS, Counter, Metrics

CATALOG_CALLS = {
    "/v1/catalog/register": "catalog_register",
    "/v1/catalog/deregister": "catalog_deregister",
    "/v1/catalog/datacenters": "catalog_datacenters",
    "/v1/catalog/nodes": "catalog_nodes",
    "/v1/catalog/services": "catalog_services",
    "/v1/catalog/service/": "catalog_service_nodes",
    "/v1/catalog/connect/": "catalog_connect_service_nodes",
    "/v1/catalog/node/": "catalog_node_services",
    "/v1/catalog/node-services/": "catalog_node_service_list",
    "/v1/catalog/gateway-services/": "catalog_gateway_services",
}
"""Routes whose requests, successes and refusals are counted by name."""


def shown_path(path: str) -> str:
    """A route as the label of `api.http` shows it: `/v1/kv/` with a key behind it is `v1_kv__`."""
    parts = path.strip("/").split("/")
    return "_".join([*parts, "_"] if path.endswith("/") else parts)


class MeasuredRoute:
    """The series of a route and method."""

    __slots__ = ("_asked", "_refused", "_succeeded", "_times")

    def __init__(self, path: str, method: str, node_name: str, registry: Metrics) -> None:
        self._times = registry.sample("api.http", method=method, path=shown_path(path))
        self._asked: Counter | None = None
        if (name := CATALOG_CALLS.get(path)) is not None:
            self._asked = registry.counter(f"client.api.{name}", node=node_name)
            self._succeeded = registry.counter(f"client.api.success.{name}", node=node_name)
            self._refused = registry.counter(f"client.rpc.error.{name}", node=node_name)

    def took(self, seconds: float) -> None:
        """A request is over."""
        self._times.add(seconds * 1000.0)
        if self._asked is not None:
            self._asked.add()

    def succeeded(self) -> None:
        """It was answered."""
        if self._asked is not None:
            self._succeeded.add()

    def refused(self) -> None:
        """The cluster refused it."""
        if self._asked is not None:
            self._refused.add()


class MeasuredRoutes:
    """The series of all routes of an agent."""

    def __init__(self, node_name: str, registry: Metrics = METRICS) -> None:
        self._node_name = node_name
        self._registry = registry
        self._routes: dict[tuple[str, str], MeasuredRoute] = {}

    def of(self, path: str, method: str) -> MeasuredRoute:
        """The series of a route and method."""
        found = self._routes.get((path, method))
        if found is None:
            found = self._routes[path, method] = MeasuredRoute(path, method, self._node_name, self._registry)
        return found
