"""Services and checks as configuration files write them: HCL blocks, keys in any spelling, `args` for a script."""

from typing import Any, NamedTuple

from model.gojson import JsonError, from_json
from model.structs.catalog import CheckType, ServiceDefinition


class OwnCheck(NamedTuple):
    """A check that stands by itself in a file; `service_id` is "" for one of the node."""

    check: CheckType
    check_id: str
    name: str
    service_id: str


def service(raw: dict[str, Any]) -> ServiceDefinition:
    """A service's definition. Raises JsonError."""
    return from_json(ServiceDefinition, api_keys(raw), style="agent")


def check(raw: dict[str, Any]) -> OwnCheck:
    """A check's definition. Raises JsonError."""
    fields = api_keys(raw)
    plain = {key: value for key, value in fields.items() if key not in ("ID", "ServiceID", "Token")}
    found = from_json(CheckType, plain, style="agent")
    name = str(fields.get("Name") or "")
    check_id = str(fields.get("ID") or found.check_id or name)
    return OwnCheck(found, check_id, name, str(fields.get("ServiceID") or ""))


_FILE_NAMES = {"id": "ID", "checkid": "CheckID", "name": "Name", "serviceid": "ServiceID", "token": "Token"}


def api_keys(raw: dict[str, Any]) -> dict[str, Any]:
    """A definition of a file with the API's names: an inline check's `id` is its CheckID, headers are lists."""
    renamed: dict[str, Any] = {}
    for key, value in raw.items():
        folded = key.lower().replace("_", "")
        name = _FILE_NAMES.get(folded)
        if folded in ("check", "checks") and isinstance(value, dict | list):
            listed = value if isinstance(value, list) else [value]
            value = [_inline_check(one) for one in listed if isinstance(one, dict)]
            name = "Checks"
        elif folded in ("connect", "proxy", "sidecarservice", "weights", "meta", "taggedaddresses"):
            if isinstance(value, list) and len(value) == 1:
                value = value[0]
            if folded == "connect" and isinstance(value, dict):
                value = {
                    inner: api_keys(_only(item)) if isinstance(item, dict | list) else item
                    for inner, item in value.items()
                }
        elif folded in ("args", "scriptargs"):
            name = "ScriptArgs"
        final = name or "".join(part for part in key.split("_")) if "_" in key else name or key
        if final == "Checks" and "Checks" in renamed:
            renamed["Checks"] = [*renamed["Checks"], *value]
        else:
            renamed[final] = value
    return renamed


def _only(item: Any) -> Any:
    return item[0] if isinstance(item, list) and item else item or {}


def _inline_check(raw: dict[str, Any]) -> dict[str, Any]:
    if "check_id" in raw:
        raise JsonError('invalid config key check.check_id: a check inside a service is named by its "id"')
    fields = api_keys(raw)
    if "ID" in fields:
        fields["CheckID"] = fields.pop("ID")
    fields.pop("Token", None)
    return fields
