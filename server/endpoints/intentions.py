"""Intention: reading intentions, and writing them into service-intentions entries."""

import msgspec

from mesh import intentions as logic
from model.commands import CommandType
from model.errors import INTENTION_NOT_FOUND, PERMISSION_DENIED, RpcError
from model.gotime import GoTime
from model.structs.config_entries import ServiceIntentionsConfigEntry
from model.structs.config_rpc import ConfigEntryRequest
from model.structs.intentions import (
    IndexedIntentionMatches,
    IndexedIntentions,
    Intention,
    IntentionListRequest,
    IntentionQueryCheckResponse,
    IntentionQueryExact,
    IntentionQueryRequest,
    IntentionRequest,
    SourceIntention,
)
from model.tables import Watch
from server.endpoints.authorizer import Authorizer, authorizer
from server.endpoints.context import Context, propose, read, write
from server.endpoints.selection import filtered
from server.state.store import Store

KIND = "service-intentions"


def all_intentions(store: Store, watch: Watch | None = None) -> tuple[list[Intention], int]:
    """Every intention in order, and the index to wait from."""
    entries, index = store.config_entries.of_kind(KIND, watch)
    return logic.intentions_of(entries), index


@read("Intention.List")
def list_intentions(context: Context, args: IntentionListRequest, watch: Watch | None) -> IndexedIntentions:
    """All intentions."""
    authz = authorizer(context, args.token)
    found, index = all_intentions(context.fsm.store, watch)
    found = filtered(args.filter, Intention, found)
    seen = found if authz.allows_all else [one for one in found if _may_read(authz, one)]
    return IndexedIntentions(
        intentions=seen, index=index, data_origin="config", results_filtered_by_acls=len(seen) < len(found)
    )


def _may_read(authz: Authorizer, one: Intention | IntentionQueryExact) -> bool:
    """Whether a token may see an intention: it may those of its source or of its destination."""
    return authz.allowed("intention", "read", one.source_name) or authz.allowed(
        "intention", "read", one.destination_name
    )


def _require_write(context: Context, token: str, destination: str) -> None:
    """Raise RpcError unless a token may write the intentions to a service."""
    if not authorizer(context, token).allowed("intention", "write", destination):
        raise RpcError(PERMISSION_DENIED)


@read("Intention.Get")
def get(context: Context, args: IntentionQueryRequest, watch: Watch | None) -> IndexedIntentions:
    """One intention, by ID or by its two names. Raises RpcError when there is none."""
    authz = authorizer(context, args.token)
    found, index = all_intentions(context.fsm.store, watch)
    if args.exact is not None:
        exact = args.exact
        if not _may_read(authz, exact):
            raise RpcError(PERMISSION_DENIED)
        wanted = [
            one
            for one in found
            if (one.source_name, one.destination_name, one.source_peer)
            == (exact.source_name, exact.destination_name, exact.source_peer)
        ]
    else:
        _check_id(args.intention_id)
        wanted = [one for one in found if one.id == args.intention_id]
    if not wanted:
        raise RpcError(INTENTION_NOT_FOUND)
    if not _may_read(authz, wanted[0]):
        raise RpcError(PERMISSION_DENIED)
    return IndexedIntentions(intentions=wanted[:1], index=index)


def _check_id(intention_id: str) -> None:
    if len(intention_id) != 36:
        raise RpcError("failed config entry lookup: index error: UUID must be 36 characters")


@read("Intention.Match")
def match(context: Context, args: IntentionQueryRequest, watch: Watch | None) -> IndexedIntentionMatches:
    """For each name, the intentions that concern it as source or as destination."""
    if args.match is None:
        raise RpcError("Match must be specified")
    authz = authorizer(context, args.token)
    for entry in args.match.entries or ():
        authz.require("intention", "read", entry.name)
    found, index = all_intentions(context.fsm.store, watch)
    pick = logic.for_source if args.match.type == "source" else logic.for_destination
    return IndexedIntentionMatches(matches=[pick(found, name.name) for name in args.match.entries or ()], index=index)


@read("Intention.Check")
def check(context: Context, args: IntentionQueryRequest, watch: Watch | None) -> IntentionQueryCheckResponse:
    """Whether a source may call a destination."""
    wanted = args.check
    if wanted is None:
        raise RpcError("Check must be specified on args")
    authz = authorizer(context, args.token)
    authz.require("service", "read", wanted.destination_name)
    found, _ = all_intentions(context.fsm.store, watch)
    allowed, _ = logic.decide(
        found, wanted.source_name, wanted.destination_name, default_allow=authz.intention_default
    )
    return IntentionQueryCheckResponse(allowed=allowed)


def check_entry(entry: ServiceIntentionsConfigEntry) -> None:
    """Raise RpcError unless an entry is well formed."""
    if "*" in entry.name and entry.name != "*":
        raise RpcError("Name: wildcard character '*' cannot be used with partial values")
    if not entry.name:
        raise RpcError("Name is required")
    seen = set()
    for number, source in enumerate(entry.sources or ()):
        where = f"Sources[{number}]"
        if not source.name:
            raise RpcError(f"{where}.Name is required")
        if "*" in source.name and source.name != "*":
            raise RpcError(f"{where}.Name: wildcard character '*' cannot be used with partial values")
        if source.permissions:
            if source.action:
                raise RpcError(f"{where}.Action must be omitted if Permissions are specified")
        elif source.action not in ("allow", "deny"):
            raise RpcError(f"{where}.Action must be set to 'allow' or 'deny'")
        if source.type not in ("", "consul"):
            raise RpcError(f"{where}.Type must be set to 'consul'")
        if len(source.description) > 512:
            raise RpcError(f"{where}.Description exceeds maximum length 512")
        if source.name in seen:
            raise RpcError(f'{where} defines "{source.name}" more than once')
        seen.add(source.name)


@write("Intention.Apply")
async def apply(context: Context, args: IntentionRequest) -> str:
    """Create, update, upsert or delete an intention; the reply to a create is its ID."""
    intention = args.intention
    if intention is None:
        raise RpcError("missing intention")
    if intention.destination_name:
        _require_write(context, args.token, intention.destination_name)
    if args.op in ("update", "delete") and intention.id:  # Whatever name comes with it, the ID says which one it is.
        known, _ = _find(context, intention.id, "modify" if args.op == "update" else "delete")
        _require_write(context, args.token, known.name)
    if args.op == "create":
        return await _create(context, intention)
    if args.op == "update":
        return await _update(context, intention)
    if args.op == "upsert":
        await _upsert(context, intention)
        return ""
    if args.op == "delete":
        await _delete(context, intention)
        return ""
    raise RpcError(f'Invalid Intention operation: "{args.op}"')


def _entry(context: Context, name: str) -> ServiceIntentionsConfigEntry | None:
    entry, _ = context.fsm.store.config_entries.get(KIND, name)
    assert entry is None or isinstance(entry, ServiceIntentionsConfigEntry)
    return entry


async def _write(context: Context, entry: ServiceIntentionsConfigEntry) -> None:
    await propose(context, CommandType.CONFIG_ENTRY, ConfigEntryRequest(op="upsert", entry=entry))


def _source(intention: Intention) -> SourceIntention:
    return SourceIntention(
        name=intention.source_name,
        action=intention.action,
        permissions=intention.permissions,
        description=intention.description,
        type=intention.source_type or "consul",
    )


async def _upsert(context: Context, intention: Intention) -> None:
    """Write by names: the entry is of the new kind from then on, so IDs and their times vanish."""
    old = _entry(context, intention.destination_name)
    if intention.meta and (old is None or intention.meta != old.meta):
        raise RpcError("Meta must not be specified, or should be unchanged during an update.")
    base = old or ServiceIntentionsConfigEntry(kind=KIND, name=intention.destination_name)
    wanted = logic.with_source(_modern(base, intention.source_name), _source(intention))
    if any(source.legacy_meta for source in wanted.sources or ()):
        raise RpcError("Sources[0].LegacyMeta must be omitted")
    check_entry(wanted)
    await _write(context, wanted)


def _modern(entry: ServiceIntentionsConfigEntry, written: str) -> ServiceIntentionsConfigEntry:
    sources = [
        msgspec.structs.replace(
            source,
            legacy_id="",
            legacy_create_time=None,
            legacy_update_time=None,
            legacy_meta=None if source.name == written else source.legacy_meta,
        )
        for source in entry.sources or ()
    ]
    return msgspec.structs.replace(entry, sources=sources)


def _check_legacy(intention: Intention) -> None:
    problems = []
    for name, value in (("SourceName", intention.source_name), ("DestinationName", intention.destination_name)):
        if not value:
            problems.append(f"{name} must be set")
        elif "*" in value and value != "*":
            problems.append(f"{name}: wildcard character '*' cannot be used with partial values")
    if intention.action not in ("allow", "deny"):
        problems.append("Action must be set to 'allow' or 'deny'")
    if intention.permissions:
        problems.append("Permissions must not be set when using the legacy APIs")
    if intention.source_type not in ("", "consul"):
        problems.append("SourceType must be set to 'consul'")
    if problems:
        noun = "error" if len(problems) == 1 else "errors"
        listed = "\n\t".join(f"* {problem}" for problem in problems)
        raise RpcError(f"{len(problems)} {noun} occurred:\n\t{listed}\n\n")


async def _create(context: Context, intention: Intention) -> str:
    if intention.id:
        raise RpcError("ID must be empty when creating a new intention")
    if not intention.destination_name:
        raise RpcError(PERMISSION_DENIED)
    _check_legacy(intention)
    now = GoTime.from_unix_nanoseconds(context.now_nanoseconds())
    identifier = context.uuid()
    source = msgspec.structs.replace(
        _source(intention),
        legacy_id=identifier,
        legacy_meta=intention.meta or {},
        legacy_create_time=now,
        legacy_update_time=now,
    )
    base = _entry(context, intention.destination_name) or ServiceIntentionsConfigEntry(
        kind=KIND, name=intention.destination_name
    )
    wanted = msgspec.structs.replace(base, sources=[*(base.sources or ()), source])
    check_entry(wanted)
    await _write(context, logic.normal(wanted))
    return identifier


def _find(context: Context, identifier: str, verb: str) -> tuple[ServiceIntentionsConfigEntry, SourceIntention]:
    if len(identifier) != 36:
        raise RpcError("Intention lookup failed: failed config entry lookup: index error: UUID must be 36 characters")
    entries, _ = context.fsm.store.config_entries.of_kind(KIND)
    for entry in entries:
        for source in entry.sources or ():
            if source.legacy_id == identifier:
                return entry, source
    raise RpcError(f"Cannot {verb} non-existent intention: '{identifier}'")


async def _update(context: Context, intention: Intention) -> str:
    entry, old = _find(context, intention.id, "modify")
    if intention.destination_name != entry.name:
        raise RpcError("Cannot modify Destination partition/namespace/name for an intention once it exists.")
    _check_legacy(intention)
    source = msgspec.structs.replace(
        _source(intention),
        legacy_id=old.legacy_id,
        legacy_meta=intention.meta or {},
        legacy_create_time=old.legacy_create_time,
        legacy_update_time=GoTime.from_unix_nanoseconds(context.now_nanoseconds()),
    )
    sources = [source if one.legacy_id == old.legacy_id else one for one in entry.sources or ()]
    wanted = msgspec.structs.replace(entry, sources=sources)
    check_entry(wanted)
    await _write(context, logic.normal(wanted))
    return intention.id


async def _delete(context: Context, intention: Intention) -> None:
    if intention.id:
        entry, source = _find(context, intention.id, "delete")
    else:
        found = _entry(context, intention.destination_name)
        if found is None or all(source.name != intention.source_name for source in found.sources or ()):
            return
        entry = _modern(found, intention.source_name)
        source = next(one for one in entry.sources or () if one.name == intention.source_name)
    rest = logic.without_source(entry, source.name)
    if any(one.legacy_meta for one in rest.sources or ()) and not intention.id:
        raise RpcError("Sources[0].LegacyMeta must be omitted")
    if rest.sources:
        await _write(context, rest)
    else:
        await propose(context, CommandType.CONFIG_ENTRY, ConfigEntryRequest(op="delete", entry=entry))
