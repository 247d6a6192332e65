"""`acl policy`."""

from agent.cli.acl_common import by_name, full_id, meant, no_arguments, required, show, text_of
from agent.cli.acl_shown import POLICY, POLICY_IN_LIST, Row, policies_lines, policy_lines
from agent.cli.client import Api, Problem
from agent.cli.flags import Flags


def create(flags: Flags) -> int:
    """Make a policy."""
    no_arguments(flags)
    required(flags, "name")
    body: Row = {"Name": flags["name"], "Description": flags["description"]}
    body |= {"Datacenters": flags["valid-datacenter"] or None, "Rules": text_of(flags["rules"], "rules")}
    return show(flags, Api(flags).put("/v1/acl/policy", body), POLICY, policy_lines)


def read(flags: Flags) -> int:
    """Show a policy."""
    no_arguments(flags)
    api = Api(flags)
    if flags["name"] and not flags["id"]:
        return show(flags, by_name(api, "policy", flags["name"]), POLICY, policy_lines)
    return show(flags, api.get(f"/v1/acl/policy/{meant(flags, api, 'policies')}"), POLICY, policy_lines)


def update(flags: Flags) -> int:
    """Change a policy: what is given, or with -no-merge all of it."""
    no_arguments(flags)
    if not flags["id"] and not flags["name"]:
        raise Problem("Cannot update a policy without specifying -id or -name")
    api = Api(flags)
    rules = None if flags["rules"] is None else text_of(flags["rules"], "rules")
    if flags["id"]:
        there: Row = {"ID": full_id(api, "policies", flags["id"])}
    else:
        there = by_name(api, "policy", flags["name"])
    given = {
        "Name": flags["name"] or None,
        "Description": flags["description"],
        "Rules": rules,
        "Datacenters": flags["valid-datacenter"] or None,
    }
    if flags["no-merge"]:
        there = {"ID": there["ID"], "Name": flags["name"], "Description": "", "Rules": "", "Datacenters": None}
    elif flags["id"]:
        there = api.get(f"/v1/acl/policy/{there['ID']}")
    body = {key: there.get(key) for key in ("ID", "Name", "Description", "Rules", "Datacenters")}
    body |= {key: value for key, value in given.items() if value is not None}
    return show(flags, api.put(f"/v1/acl/policy/{body['ID']}", body), POLICY, policy_lines)


def list_all(flags: Flags) -> int:
    """List the policies."""
    no_arguments(flags)
    return show(flags, Api(flags).get("/v1/acl/policies") or [], POLICY_IN_LIST, policies_lines)


def delete(flags: Flags) -> int:
    """Remove a policy."""
    no_arguments(flags)
    api = Api(flags)
    found = meant(flags, api, "policies")
    api.call("DELETE", f"/v1/acl/policy/{found}")
    print(f'Policy "{found}" deleted successfully')
    return 0
