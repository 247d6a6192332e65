"""Content hashes of services, as Consul makes them."""

from typing import Any

import pytest

from agent.content_hash import content_hash

WEB = {
    "ID": "web1",
    "Service": "web",
    "Tags": [],
    "Meta": {},
    "Port": 80,
    "Address": "",
    "Weights": {"Passing": 1, "Warning": 1},
    "EnableTagOverride": False,
    "Datacenter": "dc1",
}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        # From recordings, but for the third: that one is in the tests of Consul's Go client.
        ({}, "ad5d7493864f0298"),
        ({"Port": 81}, "a6ceb052885f82bf"),
        ({"ID": "foo", "Service": "foo", "Tags": ["bar", "baz"], "Port": 8000}, "3e352f348d44f7eb"),
        (
            {
                "Kind": "connect-proxy",
                "ID": "web-1-sidecar-proxy",
                "Service": "web-sidecar-proxy",
                "Tags": ["v1"],
                "Meta": {"team": "a"},
                "Port": 21000,
                "Address": "10.0.0.1",
                "TaggedAddresses": {
                    "lan_ipv4": {"Address": "10.0.0.1", "Port": 21000},
                    "wan_ipv4": {"Address": "10.0.0.1", "Port": 21000},
                },
                "Proxy": {
                    "DestinationServiceName": "web",
                    "DestinationServiceID": "web-1",
                    "LocalServiceAddress": "127.0.0.1",
                    "LocalServicePort": 8080,
                    "Config": {"local_connect_timeout_ms": 1000, "protocol": "http"},
                    "Upstreams": [
                        {
                            "DestinationType": "service",
                            "DestinationName": "db",
                            "LocalBindPort": 9191,
                            "MeshGateway": {"Mode": "remote"},
                        },
                        {
                            "DestinationType": "prepared_query",
                            "DestinationName": "cache",
                            "Datacenter": "dc2",
                            "LocalBindAddress": "127.0.0.2",
                            "LocalBindPort": 9192,
                            "Config": {"connect_timeout_ms": 500},
                            "MeshGateway": {"Mode": "local"},
                        },
                    ],
                    "MeshGateway": {"Mode": "remote"},
                    "Expose": {
                        "Checks": True,
                        "Paths": [
                            {
                                "ListenerPort": 21500,
                                "Path": "/health",
                                "LocalPathPort": 8080,
                                "Protocol": "http",
                                "ParsedFromCheck": False,
                            }
                        ],
                    },
                },
            },
            "dffdd8a9d59fca9d",
        ),
    ],
)
def test_hashes_of_consul(changed: dict[str, Any], expected: str) -> None:
    assert content_hash({**WEB, **changed}) == expected


def test_everything_that_clients_see_counts() -> None:
    base = content_hash(WEB)
    for changed in (
        {"Tags": ["a"]},
        {"Tags": ["b", "a"]},
        {"Tags": ["a", "b"]},
        {"Meta": {"a": "b"}},
        {"TaggedAddresses": {"lan": {"Address": "127.0.0.1", "Port": 1}}},
        {"Proxy": {"Config": {"a": 1}}},
        {"Proxy": {"Config": {"a": [None, True, {"b": "c"}]}}},
        {"Connect": {"Native": True}},
    ):
        found = content_hash({**WEB, **changed})
        assert found != base and found == content_hash({**WEB, **changed}), changed
        base = found


def test_numbers_that_go_does_not_have_are_no_failure() -> None:
    assert content_hash({**WEB, "Proxy": {"Config": {"a": 10**400}}}) != content_hash(
        {**WEB, "Proxy": {"Config": {"a": 10**401}}}
    )
