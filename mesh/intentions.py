"""Who may call whom: precedence of intentions, and the decision for a source and a destination.

An exact name beats `*`, and the destination's side weighs more than the source's. The first intention that matches
decides; without one the default does.
"""

import hashlib
from collections.abc import Iterable

import msgspec

from model.codec import pack
from model.structs.config_entries import ServiceIntentionsConfigEntry
from model.structs.intentions import Intention, SourceIntention

WILDCARD = "*"
DEFAULT_NAMESPACE = "default"


def precedence(source: str, destination: str) -> int:
    """How early an intention is looked at: 9 for two exact names down to 5 for two wildcards."""
    if destination != WILDCARD:
        return 9 if source != WILDCARD else 8
    return 6 if source != WILDCARD else 5


def as_intention(entry: ServiceIntentionsConfigEntry, source: SourceIntention) -> Intention:
    """One source of an entry as an intention of its own."""
    found = Intention(
        id=source.legacy_id,
        description=source.description,
        source_ns=DEFAULT_NAMESPACE,
        source_name=source.name,
        source_peer=source.peer,
        destination_ns=DEFAULT_NAMESPACE,
        destination_name=entry.name,
        source_type=source.type or "consul",
        action=source.action,
        permissions=source.permissions,
        meta=(source.legacy_meta if source.legacy_id else entry.meta) or None,
        precedence=precedence(source.name, entry.name),
        created_at=source.legacy_create_time or Intention().created_at,
        updated_at=source.legacy_update_time or Intention().updated_at,
        create_index=entry.create_index,
        modify_index=entry.modify_index,
    )
    return msgspec.structs.replace(found, hash=_fingerprint(found)) if source.legacy_id else found


def _fingerprint(intention: Intention) -> bytes:
    """The same for intentions that say the same, as those with an ID carry it."""
    said = msgspec.structs.replace(intention, create_index=0, modify_index=0, hash=None)
    return hashlib.sha256(pack(said)).digest()


def intentions_of(entries: Iterable[ServiceIntentionsConfigEntry]) -> list[Intention]:
    """All intentions, in the order in which they are looked at."""
    found = [as_intention(entry, source) for entry in entries for source in entry.sources or ()]
    return sorted(found, key=order)


def order(intention: Intention) -> tuple[int, str, str]:
    """Sorts intentions: higher precedence first, then by names."""
    return -intention.precedence, intention.source_name, intention.destination_name


def for_destination(intentions: Iterable[Intention], name: str) -> list[Intention]:
    """The intentions that concern calls to `name`, in order."""
    return [intention for intention in intentions if intention.destination_name in (name, WILDCARD)]


def for_source(intentions: Iterable[Intention], name: str) -> list[Intention]:
    """The intentions that concern calls from `name`, in order."""
    return [intention for intention in intentions if intention.source_name in (name, WILDCARD)]


def matching(intentions: Iterable[Intention], source: str, destination: str) -> Intention | None:
    """The intention that decides about calls from `source` to `destination`; `intentions` are in order."""
    for intention in intentions:
        if intention.source_peer:
            continue
        if intention.destination_name in (destination, WILDCARD) and intention.source_name in (source, WILDCARD):
            return intention
    return None


def decide(
    intentions: Iterable[Intention], source: str, destination: str, default_allow: bool
) -> tuple[bool, Intention | None]:
    """Whether `source` may open a connection to `destination`, and the intention that says so.

    `intentions` are in order. One with L7 permissions does not allow a connection as such.
    """
    intention = matching(intentions, source, destination)
    if intention is None:
        return default_allow, None
    return intention.action == "allow" and not intention.permissions, intention


def with_source(entry: ServiceIntentionsConfigEntry, source: SourceIntention) -> ServiceIntentionsConfigEntry:
    """The entry with a source added, or replaced under its name."""
    sources = list(entry.sources or ())
    for position, other in enumerate(sources):
        if (other.name, other.peer) == (source.name, source.peer):
            sources[position] = source
            break
    else:
        sources.append(source)
    return normal(msgspec.structs.replace(entry, sources=sources))


def normal(entry: ServiceIntentionsConfigEntry) -> ServiceIntentionsConfigEntry:
    """The entry with types and precedences filled in and its sources in the order in which they are looked at."""
    sources = [
        msgspec.structs.replace(source, type=source.type or "consul", precedence=precedence(source.name, entry.name))
        for source in entry.sources or ()
    ]
    sources.sort(key=lambda source: -source.precedence)
    return msgspec.structs.replace(entry, kind="service-intentions", sources=sources)


def without_source(entry: ServiceIntentionsConfigEntry, name: str) -> ServiceIntentionsConfigEntry:
    """The entry without the sources of a name."""
    return msgspec.structs.replace(entry, sources=[source for source in entry.sources or () if source.name != name])
