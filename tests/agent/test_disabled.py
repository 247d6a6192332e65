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


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("acl", "bootstrap"), "ACL support disabled"),
        (("acl", "bootstrap", "-format=xml"), "must be pretty or json"),
        (("acl", "token", "list"), "ACL support disabled"),
        (("acl", "policy", "read", "-name=a"), "ACL support disabled"),
        (("acl", "policy", "read"), "either the -id or -name"),
        (("acl", "role", "delete", "-id=ab"), "ACL support disabled"),
        (("acl", "set-agent-token", "default", "x"), "ACL support disabled"),
        (("acl", "set-agent-token", "nonsense", "x"), "unknown token type"),
        (("login",), "-method"),
        (("login", "-method=a", "-token-sink-file=b", "-bearer-token-file=/nowhere"), "reading bearer token file"),
        (("logout",), "ACL support disabled"),
        (("peering", "list"), "peering must be enabled"),
        (("peering", "read"), "-name"),
        (("peering", "generate-token", "-name=x", "-meta=novalue"), "key=value"),
        (("peering", "establish", "-name=x"), "-peering-token"),
        (("peering", "establish", "-name=x", "-peering-token=e30="), "peering must be enabled"),
    ],
)
def test_commands_of_what_is_off(agent: Agent, words: tuple[str, ...], reason: str) -> None:
    refused = agent.cli(*words)
    assert refused.returncode == 1 and reason in refused.stderr and not refused.stdout
