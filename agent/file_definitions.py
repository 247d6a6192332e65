"""Services and checks as configuration files write them: HCL blocks, keys in any spelling, `args` for a script."""

from typing import Any, NamedTuple

from model.codec import fields_of
from model.gojson import JsonError, from_json
from model.structs.catalog import (
    CheckType,
    ConnectProxyConfig,
    ExposeConfig,
    ExposePath,
    MeshGatewayConfig,
    ServiceConnect,
    ServiceDefinition,
    TransparentProxyConfig,
    Upstream,
    Weights,
)


class OwnCheck(NamedTuple):
    """A check that stands by itself in a file; `service_id` is "" for one of the node."""

    check: CheckType
    check_id: str
    name: str
    service_id: str
    token: str = ""


def service(raw: dict[str, Any]) -> ServiceDefinition:
    """A service's definition. Raises JsonError."""
    return from_json(ServiceDefinition, api_form(raw), style="agent")


def check(raw: dict[str, Any]) -> OwnCheck:
    """A check's definition. Raises JsonError."""
    fields = api_form(raw)
    plain = {key: value for key, value in fields.items() if key not in ("ID", "ServiceID", "Token")}
    found = from_json(CheckType, plain, style="agent")
    name = str(fields.get("Name") or "")
    check_id = str(fields.get("ID") or found.check_id or name)
    return OwnCheck(found, check_id, name, str(fields.get("ServiceID") or ""), str(fields.get("Token") or ""))


def api_form(raw: dict[str, Any]) -> dict[str, Any]:
    """A definition of a file as the agent's API takes it: the API's names, lists and objects where it has them."""
    return _api_keys(_blocks_in_shape(raw))


_LISTS = {"upstreams", "paths"}
_OBJECTS = {"connect", "sidecarservice", "proxy", "meshgateway", "transparentproxy", "expose"}
_OBJECTS |= {"weights", "meta", "taggedaddresses", "config", "header"}
_FREE_FORM = {"config", "header", "meta"}


def _blocks_in_shape(raw: dict[str, Any]) -> dict[str, Any]:
    """A definition in which a single block stands in a list where the API wants one, and repeated blocks of an object
    are one object."""
    shaped: dict[str, Any] = {}
    for key, value in raw.items():
        folded = key.lower().replace("_", "")
        if folded in _LISTS and isinstance(value, dict):
            value = [value]
        elif folded in _OBJECTS and isinstance(value, list) and all(isinstance(item, dict) for item in value):
            value = {inner: item for one in value for inner, item in one.items()}
        if folded in _FREE_FORM:
            shaped[key] = value
        elif isinstance(value, list):
            shaped[key] = [_blocks_in_shape(item) if isinstance(item, dict) else item for item in value]
        else:
            shaped[key] = _blocks_in_shape(value) if isinstance(value, dict) else value
    return shaped


_FILE_NAMES = {"id": "ID", "checkid": "CheckID", "name": "Name", "serviceid": "ServiceID", "token": "Token"}
_FILE_NAMES |= {"args": "ScriptArgs", "scriptargs": "ScriptArgs"}
_FIELDS = frozenset(
    field.name.lower()
    for cls in (
        *(ServiceDefinition, CheckType, ConnectProxyConfig, Upstream, ServiceConnect, ExposeConfig, ExposePath),
        *(TransparentProxyConfig, MeshGatewayConfig, Weights),
    )
    for field in fields_of(cls)
)
_KEPT = _FREE_FORM | {"taggedaddresses"}
"""Objects whose keys are the user's own."""


def _api_keys(raw: dict[str, Any]) -> dict[str, Any]:
    """A definition of a file with the API's names, at every depth: an inline check's `id` is its CheckID."""
    renamed: dict[str, Any] = {}
    for key, value in raw.items():
        folded = key.lower().replace("_", "")
        if folded in ("check", "checks") and isinstance(value, dict | list):
            listed = value if isinstance(value, list) else [value]
            checks = [_inline_check(one) for one in listed if isinstance(one, dict)]
            renamed["Checks"] = [*renamed.get("Checks", ()), *checks]
            continue
        if folded not in _KEPT:
            if isinstance(value, dict):
                value = _api_keys(value)
            elif isinstance(value, list):
                value = [_api_keys(item) if isinstance(item, dict) else item for item in value]
        # A key that nobody knows keeps its spelling, for the error that it will be.
        renamed[_FILE_NAMES.get(folded) or (key.replace("_", "") if folded in _FIELDS else key)] = value
    return renamed


def _inline_check(raw: dict[str, Any]) -> dict[str, Any]:
    if "check_id" in raw:
        raise JsonError('invalid config key check.check_id: a check inside a service is named by its "id"')
    fields = _api_keys(raw)
    if "ID" in fields:
        fields["CheckID"] = fields.pop("ID")
    fields.pop("Token", None)
    return fields
