"""Central defaults of a proxy: what proxy-defaults and service-defaults say, and how a registration takes it up. Pure.

What a registration says itself wins over its service's defaults, and those win over the defaults of all proxies.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from mesh.chains import Lookup
from model.gojson import to_json
from model.structs.catalog import ConnectProxyConfig, ExposeConfig, MeshGatewayConfig, NodeService, ServiceID, Upstream
from model.structs.config_entries import ProxyConfigEntry, ServiceConfigEntry, UpstreamConfig
from model.structs.config_rpc import OpaqueUpstreamConfig, ServiceConfigResponse

MESH_GATEWAY = "mesh_gateway"
PROXY_KINDS = frozenset(("connect-proxy", "ingress-gateway", "mesh-gateway", "terminating-gateway"))
"""The kinds of services that take up central defaults."""


def resolve(lookup: Lookup, service: str, upstreams: Sequence[str]) -> ServiceConfigResponse:
    """The central defaults for the proxies of a service and for each of their upstreams."""
    common = lookup("proxy-defaults", "global")
    common = common if isinstance(common, ProxyConfigEntry) else ProxyConfigEntry()
    own = lookup("service-defaults", service)
    own = own if isinstance(own, ServiceConfigEntry) else ServiceConfigEntry()
    configs = {name: _upstream_defaults(lookup, common, own, name) for name in dict.fromkeys(upstreams)}
    return ServiceConfigResponse(
        proxy_config={**(common.config or {}), **_proxy_settings(own)} or None,
        mesh_gateway=own.mesh_gateway if own.mesh_gateway.mode else common.mesh_gateway,
        expose=own.expose if own.expose != ExposeConfig() else common.expose,
        mode=own.mode or common.mode,
        transparent_proxy=msgspec.structs.replace(
            common.transparent_proxy,
            outbound_listener_port=own.transparent_proxy.outbound_listener_port
            or common.transparent_proxy.outbound_listener_port,
            dialed_directly=own.transparent_proxy.dialed_directly or common.transparent_proxy.dialed_directly,
        ),
        destination=own.destination or ServiceConfigResponse().destination,
        meta=own.meta,
        upstream_id_configs=[
            OpaqueUpstreamConfig(upstream=ServiceID(id=name), config=config)
            for name, config in configs.items()
            if config
        ]
        or None,
    )


def _proxy_settings(entry: ServiceConfigEntry) -> dict[str, Any]:
    """The service's defaults as settings of its proxies."""
    settings = {
        "protocol": entry.protocol,
        "max_inbound_connections": entry.max_inbound_connections,
        "local_connect_timeout_ms": entry.local_connect_timeout_ms,
        "local_request_timeout_ms": entry.local_request_timeout_ms,
        "balance_inbound_connections": entry.balance_inbound_connections,
    }
    return {key: value for key, value in settings.items() if value}


def _upstream_defaults(lookup: Lookup, common: ProxyConfigEntry, own: ServiceConfigEntry, name: str) -> dict[str, Any]:
    """What is said of calls to `name`: its protocol, the caller's defaults for all upstreams, those for this one."""
    found: dict[str, Any] = {}
    protocol = (common.config or {}).get("protocol")
    called = lookup("service-defaults", name)
    if isinstance(called, ServiceConfigEntry) and called.protocol:
        protocol = called.protocol
    if protocol:
        found["protocol"] = protocol
    settings = own.upstream_config
    if settings is not None:
        overrides = [one for one in settings.overrides or () if one.name == name]
        for one in (settings.defaults, *overrides):
            if one is not None:
                found.update(_upstream_settings(one))
    return found


def _upstream_settings(config: UpstreamConfig) -> dict[str, Any]:
    settings = {
        "envoy_listener_json": config.envoy_listener_json,
        "envoy_cluster_json": config.envoy_cluster_json,
        "protocol": config.protocol,
        "connect_timeout_ms": config.connect_timeout_ms,
        "limits": to_json(config.limits) if config.limits is not None else None,
        "passive_health_check": to_json(config.passive_health_check) if config.passive_health_check else None,
        "balance_outbound_connections": config.balance_outbound_connections,
        MESH_GATEWAY: {"Mode": config.mesh_gateway.mode} if config.mesh_gateway.mode else None,
    }
    return {key: value for key, value in settings.items() if value}


def upstreams_of(service: NodeService) -> list[str]:
    """The services whose central settings a proxy needs."""
    return [
        upstream.destination_name
        for upstream in service.proxy.upstreams or ()
        if upstream.destination_type in ("", "service") and not upstream.destination_peer
    ]


def defaults_name(service: NodeService) -> str:
    """The service whose defaults a proxy or gateway takes up."""
    return service.proxy.destination_service_name if service.kind == "connect-proxy" else service.service


def with_defaults(service: NodeService, defaults: ServiceConfigResponse) -> NodeService:
    """A registration with the central defaults filled in where it says nothing itself."""
    proxy = service.proxy
    configs = {one.upstream.id: one.config or {} for one in defaults.upstream_id_configs or ()}
    upstreams = [_upstream_with(one, configs.get(one.destination_name, {}), proxy) for one in proxy.upstreams or ()]
    transparent = msgspec.structs.replace(
        proxy.transparent_proxy,
        outbound_listener_port=proxy.transparent_proxy.outbound_listener_port
        or defaults.transparent_proxy.outbound_listener_port,
        dialed_directly=proxy.transparent_proxy.dialed_directly or defaults.transparent_proxy.dialed_directly,
    )
    merged: ConnectProxyConfig = msgspec.structs.replace(
        proxy,
        config={**(defaults.proxy_config or {}), **(proxy.config or {})} or None,
        mesh_gateway=proxy.mesh_gateway if proxy.mesh_gateway.mode else defaults.mesh_gateway,
        expose=proxy.expose if proxy.expose != ExposeConfig() else defaults.expose,
        mode=proxy.mode or defaults.mode,
        transparent_proxy=transparent,
        upstreams=upstreams or proxy.upstreams,
    )
    return msgspec.structs.replace(service, proxy=merged)


def _upstream_with(upstream: Upstream, defaults: dict[str, Any], proxy: ConnectProxyConfig) -> Upstream:
    """The upstream's own gateway mode wins over its proxy's, and that over the central one for the upstream."""
    if upstream.destination_type not in ("", "service") or upstream.destination_peer:
        return upstream
    settings = {key: value for key, value in defaults.items() if key != MESH_GATEWAY}
    central = (defaults.get(MESH_GATEWAY) or {}).get("Mode", "")
    mode = upstream.mesh_gateway.mode or proxy.mesh_gateway.mode or central
    return msgspec.structs.replace(
        upstream,
        config={**settings, **(upstream.config or {})} or None,
        mesh_gateway=MeshGatewayConfig(mode=mode),
    )
