"""Commands of identities from elsewhere and of other clusters: `login`, `logout`, `peering …`."""

from agent.cli.command import BOTH, CLIENT, FORMAT, NAMESPACE, PARTITION, TENANT, Command, Flag

_PEER = Flag("name", "Name of the peer; it must be given.", names="peer")
_PEER_META = Flag("meta", "Metadata of the peer.", "map")
_PARTITION = (*BOTH, PARTITION)

GROUPS = {
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


COMMANDS: dict[str, Command] = {
    "login": Command(
        "login",
        "login",
        "Trades an identity of another system for a token",
        (
            Flag("aws-access-key-id", "The access key, instead of the one that is found."),
            Flag(
                "aws-auto-bearer-token",
                "Make the credential of requests signed with the AWS credentials that are found.",
                "bool",
                False,
            ),
            Flag("aws-include-entity", "Sign a request about the role or user itself, too.", "bool", False),
            Flag("aws-region", "Region of the requests; AWS_REGION sets it, too."),
            Flag("aws-secret-access-key", "The secret of -aws-access-key-id. Others may see the command line."),
            Flag("aws-server-id-header-value", "What the auth method wants to see signed (ServerIDHeaderValue)."),
            Flag("aws-session-token", "The session of -aws-access-key-id."),
            Flag("aws-sts-endpoint", "Address of AWS STS, instead of the region's."),
            Flag("bearer-token-file", "File with the credential.", names="file"),
            Flag("meta", "Metadata of the login, noted with the token.", "map"),
            Flag("method", "Name of the auth method."),
            Flag("token-sink-file", "File for the token; only its owner can read it.", names="file"),
            Flag("type", "Type of the auth method; it need not be given.", names="|jwt|kubernetes|aws-iam|"),
        ),
        """
Shows a credential of another system to an auth method and writes the token that it gives into a file.

    $ lictor login -method=k8s -bearer-token-file=/run/token -token-sink-file=consul.token
    $ lictor login -method=aws -aws-auto-bearer-token -aws-include-entity -token-sink-file=consul.token

AWS credentials are looked for in AWS_ACCESS_KEY_ID and its like, by AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN, in
the profile's part of ~/.aws/credentials, and at the services of the container or the machine.
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
