"""What is off refuses plainly: ACLs, the ACL system of old, peering, coordinates when they are disabled."""

from collections.abc import Iterator

import pytest

from tests.support.process import Agent, dev_agent


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    with dev_agent(tmp_path_factory.mktemp("agent"), disable_coordinates=True) as running:
        yield running


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("PUT", "/v1/acl/bootstrap", 401, b"ACL support disabled"),
        ("GET", "/v1/acl/policy/name/a", 401, b"ACL support disabled"),
        ("DELETE", "/v1/acl/token/a", 401, b"ACL support disabled"),
        ("PUT", "/v1/acl/token/a/clone", 401, b"ACL support disabled"),
        ("POST", "/v1/internal/acl/authorize", 401, b"ACL support disabled"),
        ("PUT", "/v1/agent/token/default", 401, b"ACL support disabled"),
        ("POST", "/v1/acl/tokens", 405, b"method POST not allowed"),
        (
            "GET",
            "/v1/acl/info/x",
            410,
            b"Endpoint /v1/acl/info/x for the legacy ACL system was removed in Consul 1.11.",
        ),
        ("GET", "/v1/peering/x", 500, b"peering must be enabled"),
        ("PUT", "/v1/peering/x", 405, b"method PUT not allowed"),
        ("GET", "/v1/coordinate/nodes", 401, b"Coordinate support disabled"),
        ("PUT", "/v1/coordinate/nodes", 405, b"method PUT not allowed"),
        ("GET", "/v1/acl/nothing", 404, b"not a recognized HTTP API endpoint"),
    ],
)
def test_routes_of_what_is_off(agent: Agent, method: str, path: str, status: int, text: bytes) -> None:
    answer = agent.request(method, path, b"{}" if method in ("PUT", "POST") else None)
    assert answer[0] == status and text in answer[1]
