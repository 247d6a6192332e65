"""Services and checks as the agent's API shows them, and the texts that its endpoints share."""

from typing import Any

from agent.definitions import PROXY_KINDS
from agent.http.routing import HttpError
from model.filter import BAD_FILTER, FilterError, compile_filter, is_expression
from model.gojson import to_json
from model.structs.catalog import HealthCheck, NodeService

FALSE = ("0", "f", "F", "FALSE", "false", "False")


def unknown(what: str, identifier: str) -> str:
    return f'Unknown {what} ID "{identifier}". Ensure that the {what} ID is passed, not the {what} name.'


def shown_service(service: NodeService, datacenter: str) -> dict[str, Any]:
    """A service as the agent's API shows it."""
    body: dict[str, Any] = {"Kind": service.kind} if service.kind else {}
    body |= {
        "ID": service.id,
        "Service": service.service,
        "Tags": service.tags or [],
        "Meta": service.meta or {},
        "Port": service.port,
        "Address": service.address,
    }
    tagged = dict(service.tagged_addresses or {})
    if tagged:
        body["TaggedAddresses"] = to_json(tagged)
    if service.socket_path:
        body["SocketPath"] = service.socket_path
    body["Weights"] = to_json(service.weights)
    body["EnableTagOverride"] = service.enable_tag_override
    if service.kind in PROXY_KINDS:
        body["Proxy"] = _shown_proxy(service)
    connect = to_json(service.connect)
    if connect:
        body["Connect"] = connect
    body["Datacenter"] = datacenter
    return body


def _shown_proxy(service: NodeService) -> dict[str, Any]:
    proxy: dict[str, Any] = to_json(service.proxy)
    if not proxy["Mode"]:
        del proxy["Mode"]
    for upstream in proxy.get("Upstreams", ()):
        if not upstream["Datacenter"]:
            del upstream["Datacenter"]
    for path in proxy["Expose"].get("Paths", ()):
        path.setdefault("ParsedFromCheck", False)
    return proxy


def filtered(expression: str, cls: Any, rows: dict[str, Any], shown: dict[str, Any]) -> dict[str, Any]:
    """The shown rows whose struct passes a filter expression."""
    try:
        passes = compile_filter(expression, cls)
    except FilterError as error:
        # Of checks Consul judges the selectors only as it meets the first one, so without the introduction.
        late = cls is HealthCheck and is_expression(expression)
        raise HttpError(500, str(error) if late else f"{BAD_FILTER}{error}") from None
    return {key: value for key, value in shown.items() if passes(rows[key])}
