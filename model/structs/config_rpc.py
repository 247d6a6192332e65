"""Requests and answers about configuration entries and federation states."""

from typing import Annotated, Any

from model.codec import (
    HIDDEN,
    Wire,
    WireError,
    compile_fields_to_wire,
    from_wire,
    pack_builtins,
    raw_bytes,
    raw_string_form,
    to_wire,
    unpack_sequence,
)
from model.gotime import ZERO_TIME, GoTime
from model.structs.base import Meta, Query
from model.structs.catalog import CheckServiceNode, ExposeConfig, MeshGatewayConfig, ServiceID, TransparentProxyConfig
from model.structs.config_entries import (
    DestinationConfig,
    ExportedServicesConfigEntry,
    IngressGatewayConfigEntry,
    MeshConfigEntry,
    ProxyConfigEntry,
    ServiceConfigEntry,
    ServiceIntentionsConfigEntry,
    TerminatingGatewayConfigEntry,
)
from model.structs.routing import ServiceResolverConfigEntry, ServiceRouterConfigEntry, ServiceSplitterConfigEntry


class ConfigEntryQuery(Query, frozen=True):
    """Arguments of `ConfigEntry.Get`, `ConfigEntry.List`."""

    datacenter: str = ""
    kind: str = ""
    name: str = ""


class ConfigEntryListAllRequest(Query, frozen=True):
    """Arguments of `ConfigEntry.ListAll`."""

    datacenter: str = ""
    kinds: list[str] | None = None


class ConfigEntryDeleteResponse(Wire, frozen=True):
    """Answer of `ConfigEntry.Delete`."""

    deleted: bool = False


class ServiceConfigRequest(Query, frozen=True):
    """Arguments of `ConfigEntry.ResolveServiceConfig`."""

    datacenter: str = ""
    mesh_gateway: MeshGatewayConfig = MeshGatewayConfig()
    mode: str = ""
    name: str = ""
    upstream_ids: list[ServiceID] | None = None
    upstreams: list[str] | None = None


class OpaqueUpstreamConfig(Wire, frozen=True):
    """Resolved settings for one upstream."""

    config: dict[str, Any] | None = None
    upstream: ServiceID = ServiceID()


class ServiceConfigResponse(Meta, frozen=True):
    """Answer of `ConfigEntry.ResolveServiceConfig`."""

    destination: DestinationConfig = DestinationConfig()
    expose: ExposeConfig = ExposeConfig()
    mesh_gateway: MeshGatewayConfig = MeshGatewayConfig()
    meta: dict[str, str] | None = None
    mode: str = ""
    proxy_config: dict[str, Any] | None = None
    transparent_proxy: TransparentProxyConfig = TransparentProxyConfig()
    upstream_configs: dict[str, dict[str, Any] | None] | None = None
    upstream_id_configs: list[OpaqueUpstreamConfig] | None = None


ServiceConfigResponse.WIRE_FORM = raw_string_form(ServiceConfigResponse)


class FederationState(Wire, frozen=True):
    """The mesh gateways of one datacenter, as others see them."""

    datacenter: str = ""
    mesh_gateways: list[CheckServiceNode] | None = None
    primary_modify_index: int = 0
    updated_at: GoTime = ZERO_TIME
    create_index: int = 0
    modify_index: int = 0


class FederationStateRequest(Wire, frozen=True):
    """Arguments of `FederationState.Apply`."""

    datacenter: str = ""
    op: str = ""
    state: FederationState | None = None
    token: Annotated[str, HIDDEN] = ""


class FederationStateQuery(Query, frozen=True):
    """Arguments of `FederationState.Get`."""

    datacenter: str = ""
    target_datacenter: str = ""


class FederationStateResponse(Meta, frozen=True):
    """Answer of `FederationState.Get`."""

    state: FederationState | None = None


class IndexedFederationStates(Meta, frozen=True):
    """Answer of `FederationState.List`."""

    states: list[FederationState] | None = None


ConfigEntry = (
    ServiceConfigEntry
    | ProxyConfigEntry
    | ServiceRouterConfigEntry
    | ServiceSplitterConfigEntry
    | ServiceResolverConfigEntry
    | IngressGatewayConfigEntry
    | TerminatingGatewayConfigEntry
    | ServiceIntentionsConfigEntry
    | MeshConfigEntry
    | ExportedServicesConfigEntry
)
"""Any configuration entry; `mesh` and `exported-services` have no kind of their own on the wire."""

CONFIG_ENTRY_KINDS: dict[str, type[ConfigEntry]] = {
    "service-defaults": ServiceConfigEntry,
    "proxy-defaults": ProxyConfigEntry,
    "service-router": ServiceRouterConfigEntry,
    "service-splitter": ServiceSplitterConfigEntry,
    "service-resolver": ServiceResolverConfigEntry,
    "ingress-gateway": IngressGatewayConfigEntry,
    "terminating-gateway": TerminatingGatewayConfigEntry,
    "service-intentions": ServiceIntentionsConfigEntry,
    "mesh": MeshConfigEntry,
    "exported-services": ExportedServicesConfigEntry,
}


def kind_of(entry: ConfigEntry) -> str:
    """The kind of an entry, also of those whose struct does not carry it."""
    if isinstance(entry, MeshConfigEntry):
        return "mesh"
    if isinstance(entry, ExportedServicesConfigEntry):
        return "exported-services"
    return entry.kind


def _entry_class(kind: object) -> type[ConfigEntry]:
    cls = CONFIG_ENTRY_KINDS.get(kind) if isinstance(kind, str) else None
    if cls is None:
        raise WireError(f"invalid config entry kind: {str(kind)[:64]!r}")
    return cls


class ConfigEntryRequest(Wire, frozen=True):
    """Command and call that writes or deletes an entry; `op` is upsert, upsert-cas, delete or delete-cas."""

    op: str = ""
    datacenter: str = ""
    entry: Any = None
    token: Annotated[str, HIDDEN] = ""


class ConfigEntryResponse(Meta, frozen=True):
    """Answer of `ConfigEntry.Get`: the entry, or None."""

    entry: Any = None


class IndexedConfigEntries(Meta, frozen=True):
    """Answer of `ConfigEntry.List`: the entries of one kind."""

    kind: str = ""
    entries: list[Any] | None = None


class IndexedGenericConfigEntries(Meta, frozen=True):
    """Answer of `ConfigEntry.ListAll`: entries of several kinds."""

    entries: list[Any] | None = None


# These four travel as one raw string of several msgpack values, because the class of an entry depends on its kind.


def _meta_map(value: Meta) -> dict[str, Any]:
    map_: dict[str, Any] = _META_TO_WIRE(value)
    return map_


_META_TO_WIRE = compile_fields_to_wire(Meta)


def _meta_fields(value: object) -> dict[str, Any]:
    meta = from_wire(Meta, value)
    return {name: getattr(meta, name) for name in Meta.__struct_fields__}


def _has_single_floats(entry: object) -> bool:
    """Whether the floats of an entry (the weights of a splitter, which has no others) are of single precision."""
    return isinstance(entry, ServiceSplitterConfigEntry)


def _request_to_wire(value: ConfigEntryRequest) -> bytes:
    body = {
        "Datacenter": value.datacenter,
        "Entry": to_wire(value.entry),
        "Op": value.op,
        "Token": value.token,
    }
    return pack_builtins(kind_of(value.entry)) + pack_builtins(body, _has_single_floats(value.entry))


def _request_from_wire(value: object) -> ConfigEntryRequest:
    parts = unpack_sequence(raw_bytes(value, "ConfigEntryRequest"), 2, 2)
    cls = _entry_class(parts[0])
    body = parts[1]
    if not isinstance(body, dict):
        raise WireError("ConfigEntryRequest: expected a map")
    texts = {key: body.get(key) or "" for key in ("Datacenter", "Op", "Token")}
    if not all(isinstance(text, str) for text in texts.values()):
        raise WireError("ConfigEntryRequest: Datacenter, Op and Token must be text")
    entry = from_wire(cls, body.get("Entry"))
    return ConfigEntryRequest(op=texts["Op"], datacenter=texts["Datacenter"], entry=entry, token=texts["Token"])


def _response_to_wire(value: ConfigEntryResponse) -> bytes:
    if value.entry is None:
        return pack_builtins("") + pack_builtins(_meta_map(value))
    entry = pack_builtins(to_wire(value.entry), _has_single_floats(value.entry))
    return pack_builtins(kind_of(value.entry)) + entry + pack_builtins(_meta_map(value))


def _response_from_wire(value: object) -> ConfigEntryResponse:
    parts = unpack_sequence(raw_bytes(value, "ConfigEntryResponse"), 3, 2)
    if parts[0] and len(parts) < 3:
        raise WireError("ConfigEntryResponse: the entry is missing")
    entry = from_wire(_entry_class(parts[0]), parts[1]) if parts[0] else None
    return ConfigEntryResponse(entry=entry, **_meta_fields(parts[-1]))


def _list_to_wire(value: IndexedConfigEntries) -> bytes:
    entries = [to_wire(entry) for entry in value.entries or ()]
    body = {"Entries": entries, "Kind": value.kind, **_meta_map(value)}
    single = any(map(_has_single_floats, value.entries or ()))
    return pack_builtins(len(entries)) + pack_builtins(value.kind) + pack_builtins(dict(sorted(body.items())), single)


def _list_from_wire(value: object) -> IndexedConfigEntries:
    parts = unpack_sequence(raw_bytes(value, "IndexedConfigEntries"), 3, 3)
    body = parts[2]
    if not isinstance(body, dict) or not isinstance(body.get("Entries") or [], list):
        raise WireError("IndexedConfigEntries: expected a map with a list of entries")
    cls = _entry_class(parts[1]) if body.get("Entries") else None
    entries = [from_wire(cls, entry) for entry in body["Entries"]] if cls else []
    return IndexedConfigEntries(kind=str(parts[1]), entries=entries, **_meta_fields(body))


def _kind_and_entry(entry: Any) -> bytes:
    return pack_builtins(kind_of(entry)) + pack_builtins(to_wire(entry), _has_single_floats(entry))


def _all_to_wire(value: IndexedGenericConfigEntries) -> bytes:
    entries = value.entries or []
    body = b"".join(_kind_and_entry(entry) for entry in entries)
    return pack_builtins(len(entries)) + body + pack_builtins(_meta_map(value))


def _all_from_wire(value: object) -> IndexedGenericConfigEntries:
    parts = unpack_sequence(raw_bytes(value, "IndexedGenericConfigEntries"), None)
    if not parts or parts[0].__class__ is not int or len(parts) != 2 + 2 * parts[0]:
        raise WireError("IndexedGenericConfigEntries: the count does not match")
    entries = [from_wire(_entry_class(parts[i]), parts[i + 1]) for i in range(1, len(parts) - 1, 2)]
    return IndexedGenericConfigEntries(entries=entries, **_meta_fields(parts[-1]))


ConfigEntryRequest.WIRE_FORM = (_request_to_wire, _request_from_wire)
ConfigEntryResponse.WIRE_FORM = (_response_to_wire, _response_from_wire)
IndexedConfigEntries.WIRE_FORM = (_list_to_wire, _list_from_wire)
IndexedGenericConfigEntries.WIRE_FORM = (_all_to_wire, _all_from_wire)
