"""`catalog`."""

from agent.cli.client import Api
from agent.cli.flags import Flags, columns, fail, too_many


def _pairs(values: dict[str, str] | None) -> str:
    return ", ".join(f"{key}={(values or {})[key]}" for key in sorted(values or {}))


def _meta(flags: Flags) -> list[str]:
    return [f"{key}:{value}" for key, value in flags["node-meta"].items()]


def datacenters(flags: Flags) -> int:
    """List all datacenters."""
    problem = too_many(flags)
    if problem:
        return fail(problem)
    print("\n".join(Api(flags).get("/v1/catalog/datacenters")))
    return 0


def nodes(flags: Flags) -> int:
    """List nodes."""
    problem = too_many(flags)
    if problem:
        return fail(problem)
    api = Api(flags)
    params = {"near": flags["near"], "node-meta": _meta(flags), "filter": flags["filter"]}
    if flags["service"]:
        listed = api.call("GET", f"/v1/catalog/service/{flags['service']}", params)
        found = list({one["Node"]: {**one, "Meta": one["NodeMeta"]} for one in listed}.values())
    else:
        found = api.call("GET", "/v1/catalog/nodes", params)
    if not found:
        fail("No nodes match the given query - try expanding your search.")
        return 0
    if flags["detailed"]:
        rows = [["Node", "ID", "Address", "DC", "TaggedAddresses", "Meta"]]
        rows += [
            [o["Node"], o["ID"], o["Address"], o["Datacenter"], _pairs(o["TaggedAddresses"]), _pairs(o["Meta"])]
            for o in found
        ]
    else:
        rows = [["Node", "ID", "Address", "DC"]]
        rows += [[one["Node"], one["ID"][:8], one["Address"], one["Datacenter"]] for one in found]
    print("\n".join(columns(rows)))
    return 0


def services(flags: Flags) -> int:
    """List services."""
    problem = too_many(flags)
    if problem:
        return fail(problem)
    api = Api(flags)
    if flags["node"]:
        node = api.get(f"/v1/catalog/node/{flags['node']}")
        found: dict[str, list[str]] = {}
        for one in ((node or {}).get("Services") or {}).values():
            found.setdefault(one["Service"], []).extend(one["Tags"] or [])
    else:
        found = api.call("GET", "/v1/catalog/services", {"node-meta": _meta(flags)})
    if not found:
        fail("No services match the given query - try expanding your search.")
        return 0
    for name in sorted(found):
        if flags["tags"]:
            width = max(12, max(len(other) for other in found) + 2)
            print(f"{name:<{width}}{','.join(sorted(found[name]))}")
        else:
            print(name)
    return 0
