"""`rtt`: the estimated time to a node and back, from network coordinates."""

from typing import Any

from agent.cli.client import Api, ApiError, Problem
from agent.cli.flags import Flags, fail
from model.gojson import JsonError, from_json
from model.structs.coordinate import CoordinateVector, distance


def rtt(flags: Flags) -> int:
    """Estimate the time between two nodes, or between this agent's node and another."""
    names = list(flags.arguments)
    if not 1 <= len(names) <= 2:
        return fail(f"One or two node names must be specified (got {len(names)})")
    api = Api(flags)
    find = _wide if flags["wan"] else _local
    if len(names) == 1:
        config = api.get("/v1/agent/self")["Config"]
        own = str(config["NodeName"])
        names.append(f"{own}.{config['Datacenter']}" if flags["wan"] else own)
    a, b = find(api, names[0]), find(api, names[1])
    common = sorted(set(a) & set(b))
    if not common:
        return fail(f"Could not find a common network segment of {names[0]!r} and {names[1]!r}")
    pool = "WAN" if flags["wan"] else "LAN"
    milliseconds = distance(a[common[0]], b[common[0]]) * 1000
    print(f"Estimated {names[0]} <-> {names[1]} rtt: {milliseconds:.3f} ms (using {pool} coordinates)")
    return 0


def _vectors(rows: list[dict[str, Any]], key: str) -> dict[str, CoordinateVector]:
    """The coordinates of one node by segment (or WAN area). Raises Problem."""
    try:
        return {row[key]: from_json(CoordinateVector, row["Coord"]) for row in rows}
    except (KeyError, JsonError) as error:
        raise Problem(f"Error decoding coordinates: {error}") from None


def _local(api: Api, name: str) -> dict[str, CoordinateVector]:
    try:
        rows = api.get(f"/v1/coordinate/node/{name}")
    except ApiError as error:
        if error.status == 404:
            raise Problem(f"Could not find a coordinate for node {name!r}") from None
        raise Problem(f"Error getting coordinates: {error}") from None
    return _vectors(rows, "Segment")


def _wide(api: Api, name: str) -> dict[str, CoordinateVector]:
    node, dot, datacenter = name.rpartition(".")
    if not dot:
        raise Problem(f"{name!r} must be in the form <node>.<datacenter> with -wan")
    rows = []
    for place in api.get("/v1/coordinate/datacenters") or ():
        if place["Datacenter"] == datacenter:
            found = [row for row in place["Coordinates"] or () if row["Node"] in (node, name)]
            rows += [{**row, "Area": place["AreaID"]} for row in found]
    if not rows:
        raise Problem(f"Could not find a coordinate for node {node!r} in datacenter {datacenter!r}")
    return _vectors(rows, "Area")
