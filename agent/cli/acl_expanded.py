"""`acl token read -expanded` for people: all rules that a token brings together, and what holds beside them."""

from agent.cli.acl_shown import Row, datacenters, token_head

_LAYER = "Authorizer Layer"
_DEFAULTS = f"{_LAYER} 2: Agent Configuration Defaults (Inherited)"


def expanded_lines(row: Row, meta: bool = False) -> list[str]:
    """An expanded token: the policies and roles themselves, and the agent's defaults."""
    policies = {one["ID"]: one for one in row.get("ExpandedPolicies") or ()}
    roles = {one["ID"]: one for one in row.get("ExpandedRoles") or ()}
    lines = [*token_head(row, meta), *_grants(row, policies, "")]
    links = [roles[link["ID"]] for link in row.get("Roles") or () if link["ID"] in roles]
    if links:
        lines.append("Roles:")
        for role in links:
            lines += [f"\tRole Name: {role['Name']}", f"\t\tID: {role['ID']}"]
            lines += [f"\t\tDescription: {role['Description']}", *_grants(role, policies, "\t\t")]
    return [
        *lines,
        f"=== End of {_LAYER} 0: Token ===",
        f"=== Start of {_DEFAULTS} ===",
        "Description: What the configuration of the agent that answered says; other agents may say otherwise",
        f'Resolved By Agent: "{row.get("ResolvedByAgent", "")}"',
        "",
        f"Default Policy: {row.get('AgentACLDefaultPolicy', '')}",
        "\tDescription: Holds where no rule above does (default_policy of the agent's configuration)",
        "",
        f"Down Policy: {row.get('AgentACLDownPolicy', '')}",
        "\tDescription: Holds while the primary datacenter cannot be asked about the token (down_policy of the agent's "
        "configuration)",
        "",
        "",
    ]


def _grants(row: Row, policies: dict[str, Row], indent: str) -> list[str]:
    """The policies and identities of a token or role, with their rules."""
    lines = []
    found = [policies[link["ID"]] for link in row.get("Policies") or () if link["ID"] in policies]
    if found:
        lines.append(f"{indent}Policies:")
        for one in found:
            lines += [f"{indent}\tPolicy Name: {one['Name']}", f"{indent}\t\tID: {one['ID']}"]
            lines += _rules(one["Description"], one["Rules"], indent)
    if row.get("ServiceIdentities"):
        lines.append(f"{indent}Service Identities:")
        for one in row["ServiceIdentities"]:
            lines.append(f"{indent}\tName: {one['ServiceName']} (Datacenters: {datacenters(one)})")
            lines += _synthetic(policies, f'service identity "{one["ServiceName"]}"', indent)
    if row.get("NodeIdentities"):
        lines.append(f"{indent}Node Identities:")
        for one in row["NodeIdentities"]:
            lines.append(f"{indent}\tName: {one['NodeName']} (Datacenter: {one['Datacenter']})")
            lines += _synthetic(policies, f'node identity "{one["NodeName"]}"', indent)
    return lines


def _synthetic(policies: dict[str, Row], identity: str, indent: str) -> list[str]:
    """The policy that an identity stands for; the agent sends it with the others, and its description names it."""
    description = f"synthetic policy for {identity}"
    rules = [one["Rules"] for one in policies.values() if one["Description"] == description]
    return _rules(description, rules[0] if rules else "", indent)


def _rules(description: str, rules: str, indent: str) -> list[str]:
    inner = [f"{indent}\t\t\t{line}" for line in rules.strip("\n").split("\n")]
    return [f"{indent}\t\tDescription: {description}", f"{indent}\t\tRules:", *inner, ""]
