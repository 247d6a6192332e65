"""`acl role`."""

from agent.cli.acl_common import (
    by_name,
    full_id,
    got,
    links,
    meant,
    no_arguments,
    node_identities,
    required,
    service_identities,
    show,
    with_links,
    with_nodes,
    with_services,
)
from agent.cli.acl_shown import ROLE, Row, role_lines, roles_lines
from agent.cli.client import Api, Problem
from agent.cli.flags import Flags

_GRANTS = ("policy-name", "policy-id", "service-identity", "node-identity")


def create(flags: Flags) -> int:
    """Make a role."""
    no_arguments(flags)
    required(flags, "name")
    if not any(flags[name] for name in _GRANTS):
        raise Problem(f"Cannot create a role that grants nothing: give one of -{', -'.join(_GRANTS)}")
    services, nodes = service_identities(flags), node_identities(flags)
    api = Api(flags)
    body = {
        "Name": flags["name"],
        "Description": flags["description"],
        "Policies": links(flags, api, "policies"),
        "ServiceIdentities": services,
        "NodeIdentities": nodes,
    }
    return show(flags, api.put("/v1/acl/role", body), ROLE, role_lines)


def read(flags: Flags) -> int:
    """Show a role."""
    no_arguments(flags)
    api = Api(flags)
    if flags["name"] and not flags["id"]:
        return show(flags, by_name(api, "role", flags["name"]), ROLE, role_lines)
    return show(flags, _role(api, meant(flags, api, "roles")), ROLE, role_lines)


def _role(api: Api, role_id: str) -> Row:
    return got(api, f"/v1/acl/role/{role_id}", "role", f"ID {role_id}")


def update(flags: Flags) -> int:
    """Change a role: add what is given, or with -no-merge replace all of it."""
    no_arguments(flags)
    if not flags["id"]:
        raise Problem("Cannot update a role without specifying the -id parameter")
    services, nodes = service_identities(flags), node_identities(flags)
    api = Api(flags)
    role_id = full_id(api, "roles", flags["id"])
    policies = links(flags, api, "policies")
    there: Row = {} if flags["no-merge"] else _role(api, role_id)
    body = {
        "ID": role_id,
        "Name": flags["name"] or there.get("Name", ""),
        "Description": flags["description"] or there.get("Description", ""),
        "Policies": with_links(there.get("Policies"), policies),
        "ServiceIdentities": with_services(there.get("ServiceIdentities"), services),
        "NodeIdentities": with_nodes(there.get("NodeIdentities"), nodes),
    }
    return show(flags, api.put(f"/v1/acl/role/{role_id}", body), ROLE, role_lines)


def list_all(flags: Flags) -> int:
    """List the roles."""
    no_arguments(flags)
    return show(flags, Api(flags).get("/v1/acl/roles") or [], ROLE, roles_lines)


def delete(flags: Flags) -> int:
    """Remove a role."""
    no_arguments(flags)
    api = Api(flags)
    found = meant(flags, api, "roles")
    api.call("DELETE", f"/v1/acl/role/{found}")
    print(f'Role "{found}" deleted successfully')
    return 0
