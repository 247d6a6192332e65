"""Network coordinates: rows, requests and answers."""

from typing import Annotated

from model.codec import HIDDEN, OMIT, Wire
from model.structs.base import Meta


class CoordinateVector(Wire, frozen=True):
    """A place in the network's coordinate space; distances are round-trip times in seconds."""

    adjustment: float = 0.0
    error: float = 0.0
    height: float = 0.0
    vec: list[float] | None = None


def distance(here: CoordinateVector, there: CoordinateVector) -> float:
    """The estimated round-trip time between two coordinates, in seconds."""
    a, b = here.vec or [], there.vec or []
    if len(a) != len(b):
        return float("inf")
    plane = sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) ** 0.5
    raw: float = plane + here.height + there.height
    adjusted = raw + here.adjustment + there.adjustment
    return adjusted if adjusted > 0 else raw


class Coordinate(Wire, frozen=True):
    """The coordinate of one node in one network segment."""

    coord: CoordinateVector | None = None
    node: str = ""
    partition: Annotated[str, OMIT] = ""
    segment: str = ""


class CoordinateUpdateRequest(Wire, frozen=True):
    """Arguments of `Coordinate.Update`."""

    coord: CoordinateVector | None = None
    datacenter: str = ""
    node: str = ""
    segment: str = ""
    token: Annotated[str, HIDDEN] = ""


class IndexedCoordinates(Meta, frozen=True):
    """Answer of `Coordinate.ListNodes`, `Coordinate.Node`."""

    coordinates: list[Coordinate] | None = None


class DatacenterMap(Wire, frozen=True):
    """The coordinates of the servers of one datacenter."""

    area_id: str = ""
    coordinates: list[Coordinate] | None = None
    datacenter: str = ""
