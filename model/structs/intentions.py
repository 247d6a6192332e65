"""Intentions in their two forms: rows of their own, and sources inside service-intentions entries."""

from typing import Annotated

from model.codec import HIDDEN, OMIT, WIRE_OMIT, Wire
from model.gotime import ZERO_TIME, GoTime
from model.structs.base import Meta, Query
from model.structs.catalog import ServiceName


class IntentionHTTPHeaderPermission(Wire, frozen=True):
    """A condition on one request header."""

    exact: Annotated[str, OMIT] = ""
    invert: Annotated[bool, OMIT] = False
    name: str = ""
    prefix: Annotated[str, OMIT] = ""
    present: Annotated[bool, OMIT] = False
    regex: Annotated[str, OMIT] = ""
    suffix: Annotated[str, OMIT] = ""


class IntentionHTTPPermission(Wire, frozen=True):
    """Conditions on an HTTP request, all of which must hold."""

    header: Annotated[list[IntentionHTTPHeaderPermission] | None, OMIT] = None
    methods: Annotated[list[str] | None, OMIT] = None
    path_exact: Annotated[str, OMIT] = ""
    path_prefix: Annotated[str, OMIT] = ""
    path_regex: Annotated[str, OMIT] = ""


class IntentionPermission(Wire, frozen=True):
    """What happens to requests that meet a condition."""

    action: str = ""
    http: Annotated[IntentionHTTPPermission | None, OMIT] = None


class Intention(Wire, frozen=True):
    """Whether a source may call a destination."""

    action: Annotated[str, OMIT] = ""
    created_at: Annotated[GoTime, OMIT] = ZERO_TIME
    default_addr: Annotated[str, OMIT, WIRE_OMIT] = ""
    default_port: Annotated[int, OMIT, WIRE_OMIT] = 0
    description: Annotated[str, OMIT] = ""
    destination_ns: str = ""
    destination_name: str = ""
    destination_partition: Annotated[str, OMIT] = ""
    hash: Annotated[bytes | None, OMIT] = None
    id: Annotated[str, OMIT] = ""
    meta: Annotated[dict[str, str] | None, OMIT] = None
    permissions: Annotated[list[IntentionPermission] | None, OMIT] = None
    precedence: int = 0
    source_ns: str = ""
    source_name: str = ""
    source_partition: Annotated[str, OMIT] = ""
    source_peer: Annotated[str, OMIT] = ""
    source_type: str = ""
    updated_at: Annotated[GoTime, OMIT] = ZERO_TIME
    create_index: int = 0
    modify_index: int = 0


class SourceIntention(Wire, frozen=True):
    """One source inside a service-intentions entry."""

    action: Annotated[str, OMIT] = ""
    description: Annotated[str, OMIT] = ""
    legacy_create_time: Annotated[GoTime | None, OMIT] = None
    legacy_id: Annotated[str, OMIT] = ""
    legacy_meta: Annotated[dict[str, str] | None, OMIT] = None
    legacy_update_time: Annotated[GoTime | None, OMIT] = None
    name: str = ""
    peer: Annotated[str, OMIT] = ""
    permissions: Annotated[list[IntentionPermission] | None, OMIT] = None
    precedence: int = 0
    type: str = ""


class IntentionMutation(Wire, frozen=True):
    """A change to one source of a service-intentions entry."""

    destination: ServiceName = ServiceName()
    id: str = ""
    source: ServiceName = ServiceName()
    value: SourceIntention | None = None


class IntentionRequest(Wire, frozen=True):
    """Arguments of `Intention.Apply`."""

    datacenter: str = ""
    intention: Intention | None = None
    mutation: IntentionMutation | None = None
    op: str = ""
    token: Annotated[str, HIDDEN] = ""


class IntentionMatchEntry(Wire, frozen=True):
    """A name to match intentions against."""

    name: str = ""
    namespace: Annotated[str, OMIT] = ""
    partition: Annotated[str, OMIT] = ""


class IntentionQueryMatch(Wire, frozen=True):
    """Asks for the intentions that concern names, by source or by destination."""

    entries: list[IntentionMatchEntry] | None = None
    type: str = ""


class IntentionQueryCheck(Wire, frozen=True):
    """Asks whether a source may call a destination."""

    destination_ns: str = ""
    destination_name: str = ""
    destination_partition: str = ""
    source_ns: str = ""
    source_name: str = ""
    source_partition: str = ""
    source_type: str = ""


class IntentionQueryExact(Wire, frozen=True):
    """Asks for the one intention between two names."""

    destination_ns: str = ""
    destination_name: str = ""
    destination_partition: str = ""
    source_ns: str = ""
    source_name: str = ""
    source_partition: str = ""
    source_peer: str = ""


class IntentionQueryRequest(Query, frozen=True):
    """Arguments of `Intention.Check`, `Intention.Get`, `Intention.Match`, `Internal.GatewayIntentions`."""

    check: IntentionQueryCheck | None = None
    datacenter: str = ""
    exact: IntentionQueryExact | None = None
    intention_id: str = ""
    match: IntentionQueryMatch | None = None


class IntentionListRequest(Query, frozen=True):
    """Arguments of `Intention.List`."""

    datacenter: str = ""
    legacy: bool = False


class IntentionQueryCheckResponse(Wire, frozen=True):
    """Answer of `Intention.Check`."""

    allowed: bool = False


class IndexedIntentions(Meta, frozen=True):
    """Answer of `Intention.Get`, `Intention.List`, `Internal.GatewayIntentions`."""

    data_origin: str = ""
    intentions: list[Intention] | None = None


class IndexedIntentionMatches(Meta, frozen=True):
    """Answer of `Intention.Match`."""

    matches: list[list[Intention]] | None = None
