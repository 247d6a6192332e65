"""From what a user defines (a service with checks and a sidecar) to what the agent keeps. Pure.

`expand` gives the services and checks of a definition; errors carry Consul's texts.
"""

import ipaddress
import re
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from agent.checks.rules import kind_of, problem_with, shown_interval
from mesh.service_rules import GATEWAY_KINDS, listed, problems_of
from model.durations import SECOND
from model.structs.catalog import (
    CheckType,
    ConnectProxyConfig,
    HealthCheck,
    NodeService,
    ServiceAddress,
    ServiceConnect,
    ServiceDefinition,
    Weights,
)

STATUSES = ("passing", "warning", "critical")
PROXY_KINDS = ("connect-proxy", *GATEWAY_KINDS)
_RESERVED_META = (("mesh-gateway", "consul-wan-federation"),)
"""Keys of meta data that Consul reserves, and for what kind of service."""
_META_KEY = re.compile(r"[a-zA-Z0-9_-]+")


class DefinitionError(ValueError):
    """A definition that cannot be used; `status` is the HTTP answer's."""

    def __init__(self, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.status = status


class Expanded(NamedTuple):
    """A service with its checks."""

    service: NodeService
    checks: list[tuple[HealthCheck, CheckType]]


def check_of(
    check: CheckType, node: str, service: NodeService | None, check_id: str, name: str, inline: bool = False
) -> HealthCheck:
    """The catalog's row for a check; `inline` marks one that stands inside a service's definition."""
    interval, timeout = shown_interval(check, own=not inline)
    return HealthCheck(
        node=node,
        check_id=check_id,
        name=name,
        status=check.status or "critical",
        notes=check.notes,
        service_id=service.id if service else "",
        service_name=service.service if service else "",
        service_tags=list(service.tags or ()) if service else [],
        type=kind_of(check),
        interval=interval,
        timeout=timeout,
    )


def validate_check(check: CheckType, scripts_allowed: bool) -> None:
    """Raise DefinitionError unless a check can be run."""
    if check.status and check.status not in STATUSES:
        raise DefinitionError("Status for checks must 'passing', 'warning', 'critical'")
    problem = problem_with(check)
    if problem:
        raise DefinitionError(f"Invalid check: {problem}")
    if check.script_args and not scripts_allowed:
        raise DefinitionError(
            "Scripts are disabled on this agent from remote calls; to enable, configure "
            "'enable_script_checks' to true",
            500,
        )


def meta_problem(meta: dict[str, str] | None) -> str:
    """What is wrong with the meta data of a node or service; "" when it fits."""
    if len(meta or ()) > 64:
        return "Node metadata cannot contain more than 64 key/value pairs"
    for key, value in (meta or {}).items():
        reason = _pair_problem(key, value)
        if reason:
            return f"Couldn't load metadata pair ('{key}', '{value}'): {reason}"
    return ""


def _pair_problem(key: str, value: str) -> str:
    if not key:
        return "Key cannot be blank"
    if not _META_KEY.fullmatch(key):
        return "Key contains invalid characters"
    if len(key) > 128:
        return "Key is too long (limit: 128 characters)"
    if key.startswith("consul-"):
        return "Key prefix 'consul-' is reserved for internal use"
    return "Value is too long (limit: 512 characters)" if len(value) > 512 else ""


def validate_meta(meta: dict[str, str] | None, kind: str = "") -> None:
    """Raise DefinitionError unless the meta data of a service of a kind fits."""
    problem = meta_problem({key: value for key, value in (meta or {}).items() if (kind, key) not in _RESERVED_META})
    if problem:
        raise DefinitionError(f"Invalid Service Meta: {problem}")


def validate_weights(weights: Weights | None) -> None:
    """Raise DefinitionError unless weights fit into DNS."""
    if weights is None:
        return
    if weights.passing < 1:
        raise DefinitionError("Invalid Weights: Passing must be greater than 0")
    if weights.warning < 0:
        raise DefinitionError("Invalid Weights: Warning must be greater or equal than 0")
    if weights.passing > 65535 or weights.warning > 65535:
        raise DefinitionError("Invalid Weights: DNS Weight must be between 0 and 65535")


def _is_any(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_unspecified
    except ValueError:
        return False


def node_service(definition: ServiceDefinition) -> NodeService:
    """The catalog's row for a service. Raises DefinitionError."""
    if not definition.name:
        raise DefinitionError("Missing service name")
    if _is_any(definition.address):
        raise DefinitionError("Invalid service address")
    validate_weights(definition.weights)
    validate_meta(definition.meta, definition.kind)
    connect = definition.connect
    service = NodeService(
        kind=definition.kind,
        id=definition.id or definition.name,
        service=definition.name,
        tags=list(definition.tags or ()),
        address=definition.address,
        tagged_addresses=_tagged(definition) or None,
        meta=dict(definition.meta) if definition.meta else None,
        port=definition.port,
        socket_path=definition.socket_path,
        weights=definition.weights or Weights(passing=1, warning=1),
        enable_tag_override=definition.enable_tag_override,
        proxy=_with_upstream_types(definition.proxy or ConnectProxyConfig()),
        connect=ServiceConnect(native=connect.native) if connect else ServiceConnect(),
    )
    _refuse(problems_of(service))
    return service


def _with_upstream_types(proxy: ConnectProxyConfig) -> ConnectProxyConfig:
    """The proxy with the type of destination that upstreams have when they name none."""
    if not proxy.upstreams:
        return proxy
    upstreams = [
        msgspec.structs.replace(one, destination_type=one.destination_type or "service") for one in proxy.upstreams
    ]
    return msgspec.structs.replace(proxy, upstreams=upstreams)


def _refuse(problems: list[str]) -> None:
    if problems:
        raise DefinitionError(f"Validation failed: {listed(problems)}")


def _tagged(definition: ServiceDefinition) -> dict[str, ServiceAddress]:
    tagged = dict(definition.tagged_addresses or {})
    try:
        version = ipaddress.ip_address(definition.address).version
    except ValueError:
        return tagged
    for name in (f"lan_ipv{version}", f"wan_ipv{version}"):
        tagged.setdefault(name, ServiceAddress(address=definition.address, port=definition.port))
    return tagged


def own_checks(
    service: NodeService, checks: list[CheckType], node: str, scripts_allowed: bool
) -> list[tuple[HealthCheck, CheckType]]:
    """The checks inside a service's definition."""
    found = []
    for number, check in enumerate(checks, 1):
        validate_check(check, scripts_allowed)
        default = f"service:{service.id}" + (f":{number}" if len(checks) > 1 else "")
        check_id = check.check_id or default
        name = check.name or f"Service '{service.service}' check"
        found.append((check_of(check, node, service, check_id, name, inline=True), check))
    return found


def is_empty(check: CheckType) -> bool:
    """Whether a check stanza says nothing."""
    return check == CheckType()


def expand(
    definition: ServiceDefinition, node: str, scripts_allowed: bool, free_port: Callable[[str], int]
) -> list[Expanded]:
    """A service and, if it asks for one, its sidecar. `free_port(id)` gives a port for a sidecar, or raises.

    Raises DefinitionError.
    """
    sidecar = definition.connect.sidecar_service if definition.connect else None
    if sidecar is not None:
        _refuse(_sidecar_problems(definition.kind, sidecar))
    service = node_service(definition)
    checks = [] if is_empty(definition.check) else [definition.check]
    checks.extend(check for check in definition.checks or () if not is_empty(check))
    expanded = [Expanded(service, own_checks(service, checks, node, scripts_allowed))]
    if sidecar is not None:
        expanded.append(_sidecar(definition, service, sidecar, node, scripts_allowed, free_port))
    return expanded


def _sidecar_problems(kind: str, sidecar: ServiceDefinition) -> list[str]:
    problems = []
    if kind in GATEWAY_KINDS:
        problems.append(f"A {kind} cannot have a sidecar service defined")
    if sidecar.id:
        problems.append("A SidecarService cannot specify an ID as this is managed by the agent")
    if sidecar.connect is not None and sidecar.connect.sidecar_service is not None:
        problems.append("A SidecarService cannot have a nested SidecarService")
    return problems


def _sidecar(
    definition: ServiceDefinition,
    service: NodeService,
    sidecar: ServiceDefinition,
    node: str,
    scripts_allowed: bool,
    free_port: Callable[[str], int],
) -> Expanded:
    sidecar_id = f"{service.id}-sidecar-proxy"
    port = sidecar.port or free_port(sidecar_id)
    given = sidecar.proxy or ConnectProxyConfig()
    proxy = msgspec.structs.replace(
        given,
        destination_service_name=given.destination_service_name or service.service,
        destination_service_id=given.destination_service_id or service.id,
        local_service_address="" if service.socket_path else given.local_service_address or "127.0.0.1",
        local_service_port=0 if service.socket_path else given.local_service_port or service.port,
        local_service_socket_path=service.socket_path,
    )
    full = msgspec.structs.replace(
        sidecar,
        kind=sidecar.kind or "connect-proxy",
        id=sidecar_id,
        name=sidecar.name or f"{service.service}-sidecar-proxy",
        port=port,
        address=sidecar.address or definition.address,
        tags=sidecar.tags if sidecar.tags else definition.tags,
        meta=sidecar.meta if sidecar.meta else definition.meta,
        proxy=proxy,
        connect=None,
    )
    try:
        row = msgspec.structs.replace(node_service(full), locally_registered_as_sidecar=True)
    except DefinitionError as error:
        text = str(error).replace("Invalid Service Meta: ", "Invalid SidecarService: ")
        raise DefinitionError(text.replace("Validation failed: ", "Failed Validation: "), error.status) from None
    checks = [] if is_empty(sidecar.check) else [sidecar.check]
    checks.extend(sidecar.checks or ())
    if not checks:
        host = row.address or "127.0.0.1"
        checks = [
            CheckType(name="Connect Sidecar Listening", tcp=f"{host}:{port}", interval=10 * SECOND),
            CheckType(name=f"Connect Sidecar Aliasing {service.id}", alias_service=service.id),
        ]
    return Expanded(row, own_checks(row, checks, node, scripts_allowed))
