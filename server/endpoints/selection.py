"""Which rows of an answer a caller asked for: by filter expression, by node meta, by tags; and in which order."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from mesh.central import PROXY_KINDS, defaults_name, resolve, upstreams_of, with_defaults
from model.codec import Wire
from model.errors import RpcError
from model.filter import BAD_FILTER, FilterError, compile_filter
from model.structs.catalog import NodeService
from model.structs.catalog_rpc import QuerySource, ServiceSpecificRequest
from model.structs.coordinate import distance
from model.tables import Watch
from server.state.catalog_tables import Instance
from server.state.store import Store

W = TypeVar("W", bound=Wire)


def filtered(expression: str, cls: type[W], rows: list[W]) -> list[W]:
    """The rows that a filter expression matches. Raises RpcError when the expression is not one for such rows."""
    if not expression:
        return rows
    try:
        matches = compile_filter(expression, cls)
        return [row for row in rows if matches(row)]
    except FilterError as error:
        raise RpcError(f"{BAD_FILTER}{str(error).removeprefix(BAD_FILTER)}") from None


def has_meta(meta: Mapping[str, str] | None, wanted: Mapping[str, str] | None) -> bool:
    """Whether a node's meta has everything that is wanted."""
    return not wanted or all((meta or {}).get(key) == value for key, value in wanted.items())


def has_tags(tags: Iterable[str] | None, wanted: Sequence[str]) -> bool:
    """Whether all wanted tags are there, without regard to case."""
    if not wanted:
        return True
    have = {tag.lower() for tag in tags or ()}
    return all(tag.lower() in have for tag in wanted)


def wanted_tags(args: ServiceSpecificRequest) -> list[str]:
    """The tags that a question asks for, in the form of new or of old clients."""
    if not args.tag_filter:
        return []
    if args.service_tags:
        return list(args.service_tags)
    return [args.service_tag]


def on_nodes_with(store: Store, rows: list[Instance], meta: Mapping[str, str] | None) -> list[Instance]:
    """The instances whose nodes have the wanted meta."""
    if not meta:
        return rows
    nodes = store.catalog.nodes
    return [row for row in rows if (node := nodes.get(row.node.lower())) and has_meta(node.meta, meta)]


def with_central_defaults(store: Store, service: NodeService, watch: Watch | None) -> NodeService:
    """A proxy or gateway with the central defaults filled in; any other service as it is."""
    if service.kind not in PROXY_KINDS:
        return service
    lookup = store.config_entries.lookup(watch)
    return with_defaults(service, resolve(lookup, defaults_name(service), upstreams_of(service)))


def rows_with_central_defaults(store: Store, rows: list[Instance], watch: Watch | None) -> tuple[list[Instance], int]:
    """Instances with the central defaults filled in, and the index at which those changed last."""
    merged = [Instance(row.node, with_central_defaults(store, row.service, watch)) for row in rows]
    return merged, store.config_entries.index


T = TypeVar("T")


def sorted_by_distance(store: Store, source: QuerySource, rows: list[T], nodes_of: Sequence[str]) -> list[T]:
    """Rows nearest to `source` first; rows of nodes without a coordinate come last. `nodes_of` names each row's node.

    Coordinates of different network segments cannot be compared; the first common one counts.
    """
    if not source.node:
        return rows
    mine = {row.segment: row.coord for row in store.coordinates.of_node(source.node)[0]}
    if not mine:
        return rows

    def far(node: str) -> float:
        found = float("inf")
        for row in store.coordinates.of_node(node)[0]:
            own = mine.get(row.segment)
            if own is not None and row.coord is not None:
                found = min(found, distance(own, row.coord))
        return found

    known: dict[str, float] = {}
    for name in nodes_of:
        if name not in known:
            known[name] = far(name)
    order = sorted(range(len(rows)), key=lambda position: known[nodes_of[position]])
    return [rows[position] for position in order]
