"""`acl token`."""

from agent.cli.acl_common import (
    check_format,
    full_id,
    links,
    no_arguments,
    node_identities,
    service_identities,
    show,
    with_links,
    with_nodes,
    with_services,
)
from agent.cli.acl_expanded import expanded_lines
from agent.cli.acl_shown import EXPANDED, TOKEN, TOKEN_IN_LIST, Row, token_lines, tokens_lines
from agent.cli.client import Api, Problem
from agent.cli.flags import Flags
from model.durations import format_duration

_GRANTS = ("policy-name", "policy-id", "role-name", "role-id", "service-identity", "node-identity")
_KEPT = (
    "AccessorID",
    "SecretID",
    "Description",
    "Policies",
    "Roles",
    "ServiceIdentities",
    "NodeIdentities",
    "Local",
    "AuthMethod",
    "ExpirationTime",
)
"""What a changed token has from before, as far as it is not changed. (An update replaces all of a token.)"""


def _meant(flags: Flags, api: Api) -> str:
    text = flags["accessor-id"] or flags["id"]
    if not text:
        raise Problem("Must specify the -accessor-id parameter")
    return full_id(api, "tokens", text)


def create(flags: Flags) -> int:
    """Make a token."""
    check_format(flags)  # Before, so that the secret is not lost.
    no_arguments(flags)
    if not any(flags[name] for name in _GRANTS):
        raise Problem(f"Cannot create a token that grants nothing: give one of -{', -'.join(_GRANTS)}")
    services, nodes = service_identities(flags), node_identities(flags)
    api = Api(flags)
    body: Row = {
        "Description": flags["description"],
        "Local": flags["local"],
        "Policies": links(flags, api, "policies"),
        "Roles": links(flags, api, "roles"),
        "ServiceIdentities": services,
        "NodeIdentities": nodes,
    }
    body |= {"AccessorID": flags["accessor"]} if flags["accessor"] else {}
    body |= {"SecretID": flags["secret"]} if flags["secret"] else {}
    # Zero is no end; what is negative is for the servers to refuse.
    body |= {"ExpirationTTL": format_duration(flags["expires-ttl"])} if flags["expires-ttl"] else {}
    return show(flags, api.put("/v1/acl/token", body), TOKEN, token_lines)


def read(flags: Flags) -> int:
    """Show a token; with -expanded, its rules, too."""
    no_arguments(flags)
    api = Api(flags)
    if flags["self"]:
        if flags["accessor-id"] or flags["id"]:
            raise Problem("Cannot use -self with -accessor-id")
        row = api.get("/v1/acl/token/self")
        accessor = row["AccessorID"]
    else:
        row, accessor = None, _meant(flags, api)
    if flags["expanded"]:  # `token/self` does not do it.
        return show(flags, api.get(f"/v1/acl/token/{accessor}", expanded=True), EXPANDED, expanded_lines)
    return show(flags, row or api.get(f"/v1/acl/token/{accessor}"), TOKEN, token_lines)


def update(flags: Flags) -> int:
    """Change a token: its rights are those given, beside the ones that it has where a -merge flag says so."""
    no_arguments(flags)
    services, nodes = service_identities(flags), node_identities(flags)
    api = Api(flags)
    accessor = _meant(flags, api)
    policies, roles = links(flags, api, "policies"), links(flags, api, "roles")
    there: Row = api.get(f"/v1/acl/token/{accessor}")
    kept = {key: there[key] for key in _KEPT if there.get(key) is not None}
    body = kept | {
        "Description": flags["description"] or there.get("Description", ""),
        "Policies": with_links(there.get("Policies") if flags["merge-policies"] else None, policies),
        "Roles": with_links(there.get("Roles") if flags["merge-roles"] else None, roles),
        "ServiceIdentities": with_services(
            there.get("ServiceIdentities") if flags["merge-service-identities"] else None, services
        ),
        "NodeIdentities": with_nodes(there.get("NodeIdentities") if flags["merge-node-identities"] else None, nodes),
    }
    return show(flags, api.put(f"/v1/acl/token/{accessor}", body), TOKEN, token_lines)


def clone(flags: Flags) -> int:
    """Make a token with the rights of another."""
    check_format(flags)  # Before, so that the secret is not lost.
    no_arguments(flags)
    api = Api(flags)
    body = {"Description": flags["description"]} if flags["description"] else {}
    return show(flags, api.put(f"/v1/acl/token/{_meant(flags, api)}/clone", body), TOKEN, token_lines)


def list_all(flags: Flags) -> int:
    """List the tokens."""
    no_arguments(flags)
    return show(flags, Api(flags).get("/v1/acl/tokens") or [], TOKEN_IN_LIST, tokens_lines)


def delete(flags: Flags) -> int:
    """Remove a token."""
    no_arguments(flags)
    api = Api(flags)
    found = _meant(flags, api)
    api.call("DELETE", f"/v1/acl/token/{found}")
    print(f'Token "{found}" deleted successfully')
    return 0
