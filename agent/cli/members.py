"""`members`, `join`, `leave`, `force-leave`, `info`, `reload`."""

from agent.cli.client import Api, ApiError
from agent.cli.flags import Flags, columns, fail
from agent.cli.help import of_command
from agent.cli.tables import COMMANDS
from model.goregexp import RegexpError, compile_regexp

_STATUS = {0: "none", 1: "alive", 2: "leaving", 3: "left", 4: "failed"}


def members(flags: Flags) -> int:
    """List the members; exit code 2 when none matches."""
    try:
        wanted = compile_regexp(flags["status"])
    except RegexpError as error:
        return fail(f"Failed to compile status regexp: {error}")
    found = Api(flags).get(
        "/v1/agent/members", wan="1" if flags["wan"] else None, segment=flags["segment"] or None
    )
    found = [one for one in found if wanted.found_in(_STATUS.get(one["Status"], ""))]
    if not found:
        return 2
    found.sort(key=lambda one: (one["Tags"].get("role") != "consul", one["Name"]))
    rows = []
    for one in found:
        tags = dict(one["Tags"])
        host = f"[{one['Addr']}]" if ":" in one["Addr"] else one["Addr"]
        where, status = f"{host}:{one['Port']}", _STATUS.get(one["Status"], "none")
        if flags["detailed"]:
            tags.setdefault("ap", "default")
            tags["segment"] = tags.get("segment") or "<all>"
            rows.append([one["Name"], where, status, ",".join(f"{key}={tags[key]}" for key in sorted(tags))])
            continue
        role = {"node": "client", "consul": "server"}.get(tags.get("role", ""), "unknown")
        build = tags.get("build", "< 0.3").partition(":")[0]
        segment = "<all>" if role == "server" else tags.get("segment") or "<default>"
        pool = [build, tags.get("vsn", ""), tags.get("dc", ""), "default", segment]
        rows.append([one["Name"], where, status, role, *pool])
    head = ["Node", "Address", "Status"]
    head += ["Tags"] if flags["detailed"] else ["Type", "Build", "Protocol", "DC", "Partition", "Segment"]
    print("\n".join(columns([head, *rows])))
    return 0


def join(flags: Flags) -> int:
    """Join at each address; 1 when none could be reached."""
    if not flags.arguments:
        return fail("At least one address to join must be specified.")
    api = Api(flags)
    joined = 0
    for address in flags.arguments:
        try:
            api.put(f"/v1/agent/join/{address}", wan="1" if flags["wan"] else None)
            joined += 1
        except ApiError as error:
            fail(f"Error joining address '{address}': {error}")
    if not joined:
        return fail("Failed to join any nodes.")
    print(f"Successfully joined cluster by contacting {joined} nodes.")
    return 0


def leave(flags: Flags) -> int:
    """Make the agent leave and stop."""
    if flags.arguments:
        print(of_command("leave", COMMANDS["leave"]))
        return fail("Error: leave takes no arguments")
    Api(flags).put("/v1/agent/leave")
    print("Graceful leave complete")
    return 0


def force_leave(flags: Flags) -> int:
    """Declare that a member has left."""
    if len(flags.arguments) != 1:
        return fail("A single node name must be specified to force leave.")
    params = {"prune": flags["prune"], "wan": "1" if flags["wan"] else None}
    Api(flags).put(f"/v1/agent/force-leave/{flags.arguments[0]}", **params)
    return 0


def info(flags: Flags) -> int:
    """Show the agent's figures in sections."""
    stats = Api(flags).get("/v1/agent/self")["Stats"]
    for section in sorted(stats):
        print(f"{section}:")
        for key in sorted(stats[section]):
            print(f"\t{key} = {stats[section][key]}")
    return 0


def reload(flags: Flags) -> int:
    """Make the agent read its configuration again."""
    Api(flags).put("/v1/agent/reload")
    print("Configuration reload triggered")
    return 0
