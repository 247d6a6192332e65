"""Which endpoint a connection goes to: weighted round robin, and those that failed lately come last. Pure."""

from mesh.proxy_state import Endpoint

PENALTY = 5.0


class RoundRobin:
    """Smooth weighted round robin over endpoints. Times are seconds of the caller's clock."""

    def __init__(self) -> None:
        self._credit: dict[tuple[str, int], int] = {}
        self._failed: dict[tuple[str, int], float] = {}

    def order(self, endpoints: list[Endpoint], now: float) -> list[Endpoint]:
        """All endpoints in the order in which to try them."""
        if not endpoints:
            return []
        known = {(one.address, one.port) for one in endpoints}
        self._credit = {key: value for key, value in self._credit.items() if key in known}
        self._failed = {key: at for key, at in self._failed.items() if key in known and now - at < PENALTY}
        total = 0
        for one in endpoints:
            key = (one.address, one.port)
            weight = max(1, one.weight)
            total += weight
            self._credit[key] = self._credit.get(key, 0) + weight
        ranked = sorted(
            endpoints,
            key=lambda one: ((one.address, one.port) in self._failed, -self._credit[(one.address, one.port)]),
        )
        self._credit[(ranked[0].address, ranked[0].port)] -= total
        return ranked

    def failed(self, endpoint: Endpoint, now: float) -> None:
        """A connection to an endpoint could not be made."""
        self._failed[(endpoint.address, endpoint.port)] = now
