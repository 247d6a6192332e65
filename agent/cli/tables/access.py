"""Commands about who may do what: `acl …`, `login`, `logout`, `peering …`."""

from agent.cli.command import BOTH, CLIENT, FORMAT, NAMESPACE, PARTITION, TENANT, Command, Flag

_META = Flag("meta", "Show indexes and hashes, too.", "bool", False)
_PEER = Flag("name", "Name of the peer; it must be given.", names="peer")
_PEER_META = Flag("meta", "Metadata of the peer.", "map")
_PARTITION = (*BOTH, PARTITION)
_SELF = Flag("self", "The token with which this is asked.", "bool", False)

GROUPS = {
    "acl": (
        "Works with access rights",
        """
Works with tokens, policies and roles.

    $ lictor acl bootstrap
    $ lictor acl token list
""",
    ),
    "acl policy": ("Works with policies", "Lists, shows and removes policies."),
    "acl role": ("Works with roles", "Lists, shows and removes roles."),
    "acl token": ("Works with tokens", "Lists, shows and removes tokens."),
    "peering": (
        "Works with connections to other clusters",
        """
Connects this cluster with others.

    $ lictor peering generate-token -name=east
    $ lictor peering establish -name=west -peering-token=…
    $ lictor peering list
""",
    ),
}


def _family(kind: str, plural: str) -> dict[str, Command]:
    """`list`, `read` and `delete` of one kind of ACL object."""
    by_id = Flag("id", f"ID of the {kind}, or its beginning.")
    names: tuple[Flag, ...] = (by_id, Flag("name", f"Name of the {kind}."))
    if kind == "token":
        names = (by_id, Flag("accessor-id", "The same as -id."))
    own = (_SELF,) if kind == "token" else ()
    return {
        f"acl {kind} delete": Command(
            "acl", f"delete_{kind}", f"Removes a {kind}", names, http=TENANT, failed=f"Error deleting {kind}"
        ),
        f"acl {kind} list": Command(
            "acl",
            f"list_{kind}",
            f"Lists the {plural}",
            (FORMAT, _META),
            http=TENANT,
            failed=f"Failed to retrieve the {kind} list",
        ),
        f"acl {kind} read": Command(
            "acl",
            f"read_{kind}",
            f"Shows a {kind}",
            (*names, *own, FORMAT, _META),
            http=TENANT,
            failed=f"Error reading {kind}",
        ),
    }


COMMANDS: dict[str, Command] = {
    "acl bootstrap": Command(
        "acl",
        "bootstrap",
        "Makes the first token",
        (FORMAT,),
        "Makes the first token, which may do everything. It can be made once.",
        "",
        BOTH,
        "Failed ACL bootstrapping",
    ),
    **_family("policy", "policies"),
    **_family("role", "roles"),
    "acl set-agent-token": Command(
        "acl",
        "set_agent_token",
        "Gives the agent a token for one of its tasks",
        (),
        """
Gives the running agent the token that it uses for one of its tasks.

    $ lictor acl set-agent-token default 3d2f…
""",
        "TYPE TOKEN",
        BOTH,
        "Failed to set token",
        ("|default|agent|recovery|replication|",),
    ),
    **_family("token", "tokens"),
    "login": Command(
        "login",
        "login",
        "Trades an identity of another system for a token",
        (
            Flag("bearer-token-file", "File with the credential.", names="file"),
            Flag("meta", "Metadata of the login, noted with the token.", "map"),
            Flag("method", "Name of the auth method."),
            Flag("token-sink-file", "File for the token; only its owner can read it.", names="file"),
            Flag("type", "Type of the auth method, where the credential must be made here."),
        ),
        """
Shows a credential of another system to an auth method and writes the token that it gives into a file.

    $ lictor login -method=k8s -bearer-token-file=/run/token -token-sink-file=consul.token
""",
        "",
        TENANT,
        "Error logging in",
    ),
    "logout": Command(
        "login",
        "logout",
        "Destroys a token that login made",
        (),
        """
Destroys the token with which this is asked, if `lictor login` made it.

    $ lictor logout -token-file=consul.token
""",
        "",
        (CLIENT, NAMESPACE, PARTITION),
        "Error destroying token",
    ),
    "peering delete": Command(
        "peering",
        "delete",
        "Ends the connection to a peer",
        (_PEER,),
        "Ends the connection to a peer, and forgets what came from it.",
        "",
        _PARTITION,
        "Error deleting peering",
    ),
    "peering establish": Command(
        "peering",
        "establish",
        "Connects to the cluster that made a peering token",
        (_PEER_META, _PEER, Flag("peering-token", "The token that the other cluster made; it must be given.")),
        "Connects to the cluster that made the token.",
        "",
        _PARTITION,
        "Error establishing peering",
    ),
    "peering generate-token": Command(
        "peering",
        "generate_token",
        "Makes a token with which another cluster can connect",
        (
            FORMAT,
            _PEER_META,
            _PEER,
            Flag(
                "server-external-addresses",
                "host:port at which the peer reaches the servers; several with commas.",
                "list",
            ),
        ),
        "Makes a token with which another cluster can connect to this one. Whoever has it can: pass it on with care.",
        "",
        _PARTITION,
        "Error generating peering token",
    ),
    "peering list": Command(
        "peering",
        "list_all",
        "Lists the peers",
        (FORMAT,),
        "Lists the clusters that this one is connected with.",
        "",
        _PARTITION,
        "Error listing peerings",
    ),
    "peering read": Command(
        "peering",
        "read",
        "Shows a peer",
        (FORMAT, _PEER),
        "Shows a cluster that this one is connected with.",
        "",
        _PARTITION,
        "Error reading peering",
    ),
}
