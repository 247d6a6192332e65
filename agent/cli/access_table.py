"""The table of commands about who may do what: `acl …`, `login`, `logout`, `peering …`."""

from agent.cli.flags import Command, Flag

F = Flag
_FORMAT = F("format", "pretty or json.", default="pretty")
_META = F("meta", "Show indexes and hashes, too.", "bool", False)


def _family(kind: str, plural: str) -> dict[str, Command]:
    """`list`, `read` and `delete` of one kind of ACL object."""
    by_id = F("id", f"ID of the {kind}.")
    names = (by_id, F("accessor-id", "The same as -id.")) if kind == "token" else (by_id, F("name", "Its name."))
    own = (F("self", "The token with which this is asked.", "bool", False),) if kind == "token" else ()
    function = kind.replace("-", "_")
    return {
        f"acl {kind} delete": Command("acl", f"delete_{function}", f"Removes a {kind}.", names),
        f"acl {kind} list": Command("acl", f"list_{function}", f"Lists the {plural}.", (_FORMAT, _META)),
        f"acl {kind} read": Command("acl", f"read_{function}", f"Shows a {kind}.", (*names, *own, _FORMAT, _META)),
    }


ACCESS: dict[str, Command] = {
    "acl bootstrap": Command("acl", "bootstrap", "Makes the first token, which may do everything.", (_FORMAT,)),
    **_family("policy", "policies"),
    **_family("role", "roles"),
    "acl set-agent-token": Command("acl", "set_agent_token", "Gives the agent a token for one of its tasks."),
    **_family("token", "tokens"),
    "login": Command(
        "login",
        "login",
        "Trades an identity of another system for a token.",
        (
            F("method", "Name of the auth method."),
            F("type", "Type of the auth method, for those that need help from here."),
            F("bearer-token-file", "File with the credential."),
            F("token-sink-file", "File for the token."),
            F("meta", "key=value to note with the token; may be given several times.", "list"),
        ),
    ),
    "logout": Command("login", "logout", "Destroys a token that login made."),
    "peering delete": Command("peering", "delete", "Ends the connection to a peer.", (F("name", "Name of the peer."),)),
    "peering establish": Command(
        "peering",
        "establish",
        "Connects to the cluster that made a peering token.",
        (
            F("name", "Name for the peer."),
            F("peering-token", "The token that the other cluster made."),
            F("meta", "key=value to note with the peer; may be given several times.", "list"),
        ),
    ),
    "peering generate-token": Command(
        "peering",
        "generate_token",
        "Makes a token with which another cluster can connect.",
        (
            F("name", "Name for the peer."),
            F("meta", "key=value to note with the peer; may be given several times.", "list"),
            F("server-external-addresses", "Comma-separated host:port that the peer can reach.", "list"),
            _FORMAT,
        ),
    ),
    "peering list": Command("peering", "list_all", "Lists the peers.", (_FORMAT,)),
    "peering read": Command("peering", "read", "Shows a peer.", (F("name", "Name of the peer."), _FORMAT)),
}
