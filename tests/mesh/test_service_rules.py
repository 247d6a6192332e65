"""What proxies, gateways and services of the mesh must say when they are registered."""

import msgspec
import pytest

from mesh.service_rules import listed, problems_of
from model.structs.catalog import (
    ConnectProxyConfig,
    ExposeConfig,
    ExposePath,
    NodeService,
    ServiceConnect,
    Upstream,
)

PROXY = ConnectProxyConfig(destination_service_name="web")


def proxy(*upstreams: Upstream, **more: object) -> NodeService:
    config = msgspec.structs.replace(PROXY, upstreams=list(upstreams), **more)
    return NodeService(kind="connect-proxy", id="p", service="p", port=1, proxy=config)


DB = Upstream(destination_name="db", local_bind_port=1)


@pytest.mark.parametrize(
    ("service", "problems"),
    [
        (proxy(DB), []),
        (NodeService(service="web", port=1, connect=ServiceConnect(native=True)), []),
        (NodeService(kind="bogus", service="web"), []),
        (NodeService(kind="ingress-gateway", service="gw"), []),
        (
            NodeService(service="web", connect=ServiceConnect(native=True)),
            ["Port or SocketPath must be set for a Connect native service."],
        ),
        (NodeService(kind="terminating-gateway", service="gw"), ["Port must be non-zero for a terminating-gateway"]),
        (
            NodeService(kind="mesh-gateway", service="gw", port=1, proxy=PROXY),
            ["The Proxy.DestinationServiceName configuration is invalid for a mesh-gateway"],
        ),
        (
            proxy(Upstream(destination_name="db")),
            ["upstream local bind port or local socket path must be defined and nonzero"],
        ),
        (proxy(Upstream(local_bind_port=1)), ["upstream destination name cannot be empty"]),
        (
            proxy(msgspec.structs.replace(DB, destination_type="x")),
            ['unknown upstream destination type: "x"'],
        ),
        (
            proxy(msgspec.structs.replace(DB, datacenter="dc2", destination_peer="p")),
            ["upstream cannot specify both destination peer and datacenter"],
        ),
        (
            proxy(msgspec.structs.replace(DB, local_bind_socket_path="/s")),
            ["only one of upstream local bind port or local socket path can be defined and nonzero"],
        ),
        (
            proxy(DB, msgspec.structs.replace(DB, local_bind_port=2)),
            [
                'upstreams cannot contain duplicates of [type="service", name="db", partition="", namespace="", '
                'peer="", datacenter=""]'
            ],
        ),
        (
            proxy(DB, msgspec.structs.replace(DB, destination_name="dc")),
            [
                "upstreams cannot contain duplicates by local bind address and port or unix path; "
                '"127.0.0.1:1" is specified twice'
            ],
        ),
        (
            proxy(expose=ExposeConfig(paths=[ExposePath(protocol="ftp")])),
            [
                "expose.paths: empty path exposed",
                "expose.paths: invalid listener port: 0",
                "protocol 'ftp' not supported for path: , must be in: [http2 http]",
            ],
        ),
    ],
)
def test_problems(service: NodeService, problems: list[str]) -> None:
    assert problems_of(service) == problems


def test_listed() -> None:
    assert listed(["a"]) == "1 error occurred:\n\t* a\n\n"
    assert listed(["a", "b"]) == "2 errors occurred:\n\t* a\n\t* b\n\n"
