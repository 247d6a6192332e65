"""Central defaults of proxies: what wins over what."""

from typing import Any

from mesh.central import resolve, upstreams_of, with_defaults
from model.structs.catalog import ConnectProxyConfig, ExposeConfig, MeshGatewayConfig, NodeService, Upstream
from model.structs.config_entries import (
    ProxyConfigEntry,
    ServiceConfigEntry,
    UpstreamConfig,
    UpstreamConfiguration,
    UpstreamLimits,
)

COMMON = ProxyConfigEntry(
    name="global",
    config={"protocol": "http", "local_connect_timeout_ms": 1000},
    mesh_gateway=MeshGatewayConfig(mode="remote"),
    mode="transparent",
)
WEB = ServiceConfigEntry(
    name="web",
    protocol="http2",
    max_inbound_connections=7,
    upstream_config=UpstreamConfiguration(
        defaults=UpstreamConfig(connect_timeout_ms=2000, limits=UpstreamLimits(max_connections=3)),
        overrides=[UpstreamConfig(name="db", mesh_gateway=MeshGatewayConfig(mode="none"), protocol="tcp")],
    ),
)


def proxy(**fields: Any) -> NodeService:
    fields.setdefault("destination_service_name", "web")
    return NodeService(kind="connect-proxy", id="p", service="p", proxy=ConnectProxyConfig(**fields))


def merged(service: NodeService, *entries: Any) -> ConnectProxyConfig:
    known = {
        ("proxy-defaults" if isinstance(entry, ProxyConfigEntry) else "service-defaults", entry.name): entry
        for entry in entries
    }
    defaults = resolve(lambda kind, name: known.get((kind, name)), "web", upstreams_of(service))
    return with_defaults(service, defaults).proxy


def test_without_entries_a_registration_stays_as_it_is() -> None:
    service = proxy(upstreams=[Upstream(destination_name="db")])
    assert merged(service) == service.proxy


def test_the_services_defaults_win_over_those_of_all_proxies_and_the_registration_over_both() -> None:
    found = merged(proxy(config={"max_inbound_connections": 9}), COMMON, WEB)
    assert found.config == {"protocol": "http2", "local_connect_timeout_ms": 1000, "max_inbound_connections": 9}
    assert found.mesh_gateway.mode == "remote" and found.mode == "transparent"
    own = merged(proxy(mode="direct", mesh_gateway=MeshGatewayConfig(mode="local")), COMMON, WEB)
    assert own.mesh_gateway.mode == "local" and own.mode == "direct"


def test_expose_is_taken_as_a_whole() -> None:
    central = ServiceConfigEntry(name="web", expose=ExposeConfig(checks=True))
    assert merged(proxy(), central).expose.checks


def test_upstreams_take_defaults_then_their_override() -> None:
    upstreams = [Upstream(destination_name="db"), Upstream(destination_name="cache", config={"protocol": "grpc"})]
    found = merged(proxy(upstreams=upstreams), COMMON, WEB)
    db, cache = found.upstreams or ()
    limits = {"MaxConnections": 3}
    assert db.config == {"protocol": "tcp", "connect_timeout_ms": 2000, "limits": limits}
    assert cache.config == {"protocol": "grpc", "connect_timeout_ms": 2000, "limits": limits}
    assert (db.mesh_gateway.mode, cache.mesh_gateway.mode) == ("none", "")


def test_an_upstreams_protocol_is_its_services() -> None:
    found = merged(
        proxy(upstreams=[Upstream(destination_name="db")]), COMMON, ServiceConfigEntry(name="db", protocol="grpc")
    )
    assert (found.upstreams or ())[0].config == {"protocol": "grpc"}


def test_prepared_queries_and_peers_have_no_central_settings() -> None:
    upstreams = [
        Upstream(destination_name="db", destination_type="prepared_query"),
        Upstream(destination_name="db", destination_peer="other"),
    ]
    assert merged(proxy(upstreams=upstreams), COMMON, WEB).upstreams == upstreams
