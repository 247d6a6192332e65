"""Coordinate: where nodes are in the network."""

from model.errors import RpcError
from model.structs.base import Empty
from model.structs.catalog_rpc import DCSpecificRequest, NodeSpecificRequest
from model.structs.coordinate import (
    Coordinate,
    CoordinateUpdateRequest,
    DatacenterMap,
    IndexedCoordinates,
)
from model.tables import Watch
from server.endpoints.authorizer import Authorizer, authorizer
from server.endpoints.context import Context, local, read, write
from server.state.small_tables import is_valid

DIMENSIONS = 8
MAX_WAITING = 5 * 128
"""Updates that wait for the next batch; more of them are dropped, as the next report comes soon."""


@write("Coordinate.Update")
async def update(context: Context, args: CoordinateUpdateRequest) -> Empty:
    """Note a node's coordinate; it is written with the next batch."""
    authz = authorizer(context, args.token)
    authz.require("node", "write", args.node)
    row = Coordinate(node=args.node, segment=args.segment, coord=args.coord)
    if args.coord is None or len(args.coord.vec or ()) != DIMENSIONS:
        raise RpcError("incompatible coordinate")
    if not is_valid(row):
        raise RpcError("invalid coordinate")
    waiting = context.coordinate_updates
    key = (args.node.lower(), args.segment)
    if key in waiting or len(waiting) < MAX_WAITING:
        waiting[key] = row
    return Empty()


@local("Coordinate.ListDatacenters")
async def list_datacenters(context: Context, args: Empty) -> list[DatacenterMap]:
    """The coordinates of the servers of each datacenter."""
    rows: dict[str, list[Coordinate]] = {}
    for datacenter, name, place in sorted(context.wide_places(), key=lambda one: one[:2]):
        rows.setdefault(datacenter, []).append(Coordinate(node=name, coord=place))
    return [
        DatacenterMap(datacenter=datacenter, area_id="wan", coordinates=found) for datacenter, found in rows.items()
    ]


def _visible(rows: list[Coordinate], index: int, authz: Authorizer) -> IndexedCoordinates:
    seen = rows if authz.allows_all else [row for row in rows if authz.node_read(row.node)]
    return IndexedCoordinates(coordinates=seen, index=index, results_filtered_by_acls=len(seen) < len(rows))


@read("Coordinate.ListNodes")
def list_nodes(context: Context, args: DCSpecificRequest, watch: Watch | None) -> IndexedCoordinates:
    """The coordinates of all nodes."""
    store, authz = context.fsm.store, authorizer(context, args.token)
    rows, index = store.coordinates.all(watch)
    return _visible(rows, index, authz)


@read("Coordinate.Node")
def node(context: Context, args: NodeSpecificRequest, watch: Watch | None) -> IndexedCoordinates:
    """The coordinates of one node."""
    store, authz = context.fsm.store, authorizer(context, args.token)
    authz.require("node", "read", args.node)
    rows, index = store.coordinates.of_node(args.node, watch)
    return _visible(rows, index, authz)
