"""ConfigEntry: reading and writing configuration entries."""

from typing import Any

import msgspec

from mesh import intentions as intention_logic
from model.commands import CommandType
from model.errors import RpcError
from model.structs.config_entries import ProxyConfigEntry, ServiceConfigEntry, ServiceIntentionsConfigEntry
from model.structs.config_rpc import (
    CONFIG_ENTRY_KINDS,
    ConfigEntryDeleteResponse,
    ConfigEntryListAllRequest,
    ConfigEntryQuery,
    ConfigEntryRequest,
    ConfigEntryResponse,
    IndexedConfigEntries,
    IndexedGenericConfigEntries,
    kind_of,
)
from model.tables import Watch
from server.endpoints.context import Context, propose, read, write
from server.endpoints.intentions import check_entry


def normal(entry: Any) -> Any:
    """An entry as it is stored. Raises RpcError when it is not well formed."""
    if isinstance(entry, ServiceIntentionsConfigEntry):
        check_entry(entry)
        return intention_logic.normal(entry)
    if isinstance(entry, ProxyConfigEntry):
        if entry.name not in ("", "global"):
            raise RpcError(f'invalid name ("{entry.name}"), only "global" is supported')
        return msgspec.structs.replace(entry, kind="proxy-defaults", name="global")
    if not getattr(entry, "name", "mesh"):
        raise RpcError("Name is required")
    if isinstance(entry, ServiceConfigEntry):
        return msgspec.structs.replace(entry, kind="service-defaults", protocol=entry.protocol.lower())
    if hasattr(entry, "kind"):
        return msgspec.structs.replace(entry, kind=kind_of(entry))
    return entry


@write("ConfigEntry.Apply")
async def apply(context: Context, args: ConfigEntryRequest) -> bool:
    """Write an entry; false when a cas did not match."""
    if args.entry is None:
        raise RpcError("missing config entry")
    request = ConfigEntryRequest(
        op=args.op or "upsert", datacenter=args.datacenter or context.datacenter, entry=normal(args.entry)
    )
    return bool(await propose(context, CommandType.CONFIG_ENTRY, request))


@write("ConfigEntry.Delete")
async def delete(context: Context, args: ConfigEntryRequest) -> ConfigEntryDeleteResponse:
    """Remove an entry."""
    if args.entry is None:
        raise RpcError("missing config entry")
    op = args.op if args.op in ("delete", "delete-cas") else "delete"
    done = await propose(context, CommandType.CONFIG_ENTRY, ConfigEntryRequest(op=op, entry=args.entry))
    return ConfigEntryDeleteResponse(deleted=bool(done))


def _check_kind(kind: str) -> None:
    if kind and kind not in CONFIG_ENTRY_KINDS:
        raise RpcError(f'invalid config entry kind: "{kind}"')


@read("ConfigEntry.Get")
def get(context: Context, args: ConfigEntryQuery, watch: Watch | None) -> ConfigEntryResponse:
    """One entry."""
    _check_kind(args.kind)
    entry, index = context.fsm.store.config_entries.get(args.kind, args.name, watch)
    return ConfigEntryResponse(entry=entry, index=index)


@read("ConfigEntry.List")
def list_entries(context: Context, args: ConfigEntryQuery, watch: Watch | None) -> IndexedConfigEntries:
    """The entries of a kind."""
    _check_kind(args.kind)
    entries, index = context.fsm.store.config_entries.of_kind(args.kind, watch)
    return IndexedConfigEntries(kind=args.kind, entries=entries, index=index)


@read("ConfigEntry.ListAll")
def list_all(context: Context, args: ConfigEntryListAllRequest, watch: Watch | None) -> IndexedGenericConfigEntries:
    """The entries of several kinds, or of all."""
    entries, index = context.fsm.store.config_entries.of_kind("", watch)
    wanted = set(args.kinds or ())
    return IndexedGenericConfigEntries(
        entries=[entry for entry in entries if not wanted or kind_of(entry) in wanted], index=index
    )
