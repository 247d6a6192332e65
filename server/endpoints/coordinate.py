"""Coordinate: where nodes are in the network."""

import math

import msgspec

from model.errors import RpcError
from model.structs.base import Empty
from model.structs.catalog_rpc import DCSpecificRequest, NodeSpecificRequest
from model.structs.coordinate import Coordinate, CoordinateUpdateRequest, DatacenterMap, IndexedCoordinates
from model.tables import Watch
from server.endpoints.context import Context, local, read, write

DIMENSIONS = 8


@write("Coordinate.Update")
async def update(context: Context, args: CoordinateUpdateRequest) -> Empty:
    """Note a node's coordinate; it is written with the next batch."""
    vector = args.coord
    if vector is None or len(vector.vec or ()) != DIMENSIONS:
        raise RpcError("incompatible coordinate")
    if not all(map(math.isfinite, [*(vector.vec or ()), vector.error, vector.adjustment, vector.height])):
        raise RpcError("invalid coordinate")
    context.coordinate_updates[(args.node.lower(), args.segment)] = Coordinate(
        node=args.node, segment=args.segment, coord=vector
    )
    return Empty()


@local("Coordinate.ListDatacenters")
async def list_datacenters(context: Context, args: Empty) -> list[DatacenterMap]:
    """The coordinates of the servers of each datacenter."""
    known = context.fsm.store.coordinates
    servers = {member.name.lower(): member.name for member in context.server_members()}
    found = [
        msgspec.structs.replace(row, node=f"{row.node}.{context.datacenter}")
        for row in known
        if row.node.lower() in servers
    ]
    return [DatacenterMap(datacenter=context.datacenter, area_id="wan", coordinates=found)]


@read("Coordinate.ListNodes")
def list_nodes(context: Context, args: DCSpecificRequest, watch: Watch | None) -> IndexedCoordinates:
    """The coordinates of all nodes."""
    if watch is not None:
        watch.note(("coordinates",))
    store = context.fsm.store
    return IndexedCoordinates(coordinates=store.coordinates.rows(), index=store.indexes.get("coordinates"))


@read("Coordinate.Node")
def node(context: Context, args: NodeSpecificRequest, watch: Watch | None) -> IndexedCoordinates:
    """The coordinates of one node."""
    if watch is not None:
        watch.note(("coordinate", args.node.lower()))
    store = context.fsm.store
    rows = list(store.coordinates.between((args.node.lower(), ""), (args.node.lower(), "\U0010ffff")))
    return IndexedCoordinates(coordinates=rows, index=store.indexes.get("coordinates"))
