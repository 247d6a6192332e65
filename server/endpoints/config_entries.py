"""ConfigEntry: reading and writing configuration entries."""

from collections.abc import Callable
from typing import Any

import msgspec

from mesh import central, default_rules, gateway_rules, traffic_rules
from mesh import intentions as intention_logic
from model.commands import CommandType
from model.errors import RpcError
from model.structs.config_entries import (
    ExportedServicesConfigEntry,
    IngressGatewayConfigEntry,
    MeshConfigEntry,
    ProxyConfigEntry,
    ServiceConfigEntry,
    ServiceIntentionsConfigEntry,
    TerminatingGatewayConfigEntry,
)
from model.structs.config_rpc import (
    CONFIG_ENTRY_KINDS,
    ConfigEntryDeleteResponse,
    ConfigEntryListAllRequest,
    ConfigEntryQuery,
    ConfigEntryRequest,
    ConfigEntryResponse,
    IndexedConfigEntries,
    IndexedGenericConfigEntries,
    ServiceConfigRequest,
    ServiceConfigResponse,
    kind_of,
)
from model.structs.routing import ServiceResolverConfigEntry, ServiceRouterConfigEntry, ServiceSplitterConfigEntry
from model.tables import Watch
from server.endpoints.authorizer import Authorizer, authorizer
from server.endpoints.context import Context, propose, read, write
from server.endpoints.entry_rights import may_read, require_read, require_write
from server.endpoints.intentions import check_entry


def _normal_intentions(entry: ServiceIntentionsConfigEntry) -> ServiceIntentionsConfigEntry:
    check_entry(entry)
    return intention_logic.normal(entry)


_NORMAL: dict[type, Callable[[Any], Any]] = {
    ServiceConfigEntry: default_rules.normal_service_defaults,
    ProxyConfigEntry: default_rules.normal_proxy_defaults,
    ExportedServicesConfigEntry: default_rules.normal_exported_services,
    MeshConfigEntry: lambda entry: entry,
    ServiceIntentionsConfigEntry: _normal_intentions,
    ServiceRouterConfigEntry: traffic_rules.normal_router,
    ServiceSplitterConfigEntry: traffic_rules.normal_splitter,
    ServiceResolverConfigEntry: traffic_rules.normal_resolver,
    IngressGatewayConfigEntry: gateway_rules.normal_ingress,
    TerminatingGatewayConfigEntry: gateway_rules.normal_terminating,
}


def normal(entry: Any) -> Any:
    """An entry as it is stored. Raises RpcError when it is not well formed by itself."""
    return _NORMAL[type(entry)](entry)


@write("ConfigEntry.Apply")
async def apply(context: Context, args: ConfigEntryRequest) -> bool:
    """Write an entry; false when a cas did not match."""
    if args.entry is None:
        raise RpcError("missing config entry")
    entry = normal(args.entry)
    require_write(authorizer(context, args.token), entry)
    request = ConfigEntryRequest(
        op=args.op or "upsert", datacenter=args.datacenter or context.datacenter, entry=entry
    )
    return bool(await propose(context, CommandType.CONFIG_ENTRY, request))


@write("ConfigEntry.Delete")
async def delete(context: Context, args: ConfigEntryRequest) -> ConfigEntryDeleteResponse:
    """Remove an entry."""
    if args.entry is None:
        raise RpcError("missing config entry")
    if isinstance(args.entry, ProxyConfigEntry):
        default_rules.check_proxy_defaults_name(args.entry.name)
    require_write(authorizer(context, args.token), args.entry)
    op = args.op if args.op in ("delete", "delete-cas") else "delete"
    request = ConfigEntryRequest(op=op, datacenter=args.datacenter or context.datacenter, entry=args.entry)
    done = await propose(context, CommandType.CONFIG_ENTRY, request)
    return ConfigEntryDeleteResponse(deleted=bool(done))


def _check_kind(kind: str) -> None:
    if kind and kind not in CONFIG_ENTRY_KINDS:
        raise RpcError(f'invalid config entry kind: "{kind}"')


@read("ConfigEntry.Get")
def get(context: Context, args: ConfigEntryQuery, watch: Watch | None) -> ConfigEntryResponse:
    """One entry."""
    _check_kind(args.kind)
    require_read(authorizer(context, args.token), args.kind, args.name)
    entry, index = context.fsm.store.config_entries.get(args.kind, args.name, watch)
    return ConfigEntryResponse(entry=entry, index=index)


@read("ConfigEntry.ResolveServiceConfig")
def resolve_service_config(
    context: Context, args: ServiceConfigRequest, watch: Watch | None
) -> ServiceConfigResponse:
    """The central defaults for the proxies of a service."""
    entries = context.fsm.store.config_entries
    authorizer(context, args.token).require("service", "read", args.name)
    upstreams = [one.id for one in args.upstream_ids or ()] or list(args.upstreams or ())
    found = central.resolve(entries.lookup(watch), args.name, upstreams)
    if args.upstreams and not args.upstream_ids:  # The form of older agents.
        by_name = {one.upstream.id: one.config for one in found.upstream_id_configs or ()}
        found = msgspec.structs.replace(found, upstream_configs=by_name, upstream_id_configs=None)
    return msgspec.structs.replace(found, index=entries.index)


@read("ConfigEntry.List")
def list_entries(context: Context, args: ConfigEntryQuery, watch: Watch | None) -> IndexedConfigEntries:
    """The entries of a kind."""
    _check_kind(args.kind)
    entries, index = context.fsm.store.config_entries.of_kind(args.kind, watch)
    authz = authorizer(context, args.token)
    seen = [entry for entry in entries if _may_see(authz, entry)]
    hidden = len(seen) < len(entries)
    return IndexedConfigEntries(kind=args.kind, entries=seen, index=index, results_filtered_by_acls=hidden)


def _may_see(authz: Authorizer, entry: Any) -> bool:
    return authz.allows_all or may_read(authz, kind_of(entry), getattr(entry, "name", ""))


@read("ConfigEntry.ListAll")
def list_all(context: Context, args: ConfigEntryListAllRequest, watch: Watch | None) -> IndexedGenericConfigEntries:
    """The entries of several kinds, or of all."""
    entries, index = context.fsm.store.config_entries.of_kind("", watch)
    wanted = set(args.kinds or ())
    authz = authorizer(context, args.token)
    found = [entry for entry in entries if not wanted or kind_of(entry) in wanted]
    seen = [entry for entry in found if _may_see(authz, entry)]
    return IndexedGenericConfigEntries(entries=seen, index=index, results_filtered_by_acls=len(seen) < len(found))
