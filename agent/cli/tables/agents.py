"""Commands about one agent and the cluster's members."""

from agent.cli.command import CLIENT, FORMAT, PARTITION, Command, Flag

GROUPS: dict[str, tuple[str, str]] = {}

COMMANDS: dict[str, Command] = {
    "agent": Command("server", "agent", "Runs an agent", raw=True),
    "completion": Command(
        "completion",
        "completion",
        "Shows what makes a shell complete commands",
        (),
        """
Writes to standard output what makes a shell complete lictor's commands, their flags, and names that the agent knows.

    $ source <(lictor completion bash)
    $ source <(lictor completion zsh)
    $ lictor completion fish | source

`lictor -autocomplete-install` puts a shorter form of it where your shells look when they start.
""",
        "bash|zsh|fish",
        names=("|bash|zsh|fish|",),
    ),
    "debug": Command(
        "debug",
        "debug",
        "Watches the agent for a while and saves what it saw",
        (
            Flag("archive", "Make one .tar.gz of it; otherwise a directory.", "bool", True),
            Flag(
                "capture",
                "What to save: agent, host, members, logs or metrics; all of them without it.",
                "list",
                names="|agent|host|members|logs|metrics|",
            ),
            Flag("duration", "For how long to watch, at least 10s.", "duration", 120_000_000_000),
            Flag("interval", "Time between two looks at the metrics, at least 5s.", "duration", 30_000_000_000),
            Flag("output", "Name of the result, without .tar.gz.", names="file"),
        ),
        """
Watches the agent and writes what it says of itself, of its host, of the members, its metrics and its log into one
archive, for those who are to help. Secrets are not in it; host names and addresses are. Told to stop early, it saves
what it has.

    $ lictor debug -duration=1m -interval=15s
""",
        "",
        (CLIENT,),
        "Error querying the agent",
    ),
    "demo": Command(
        "demo",
        "demo",
        "Shows a whole cluster on this machine",
        (
            Flag("http-port", "Port of the client agent's HTTP API and UI.", "count", 8500),
            Flag("once", "End after the tour, with an exit code.", "bool", False),
        ),
        "Starts a cluster on this machine with services, proxies and intentions, and shows how it lives through the"
        " death of its leader.",
    ),
    "force-leave": Command(
        "members",
        "force_leave",
        "Declares that a failed member has left",
        (
            Flag("prune", "Forget the member at once; otherwise it stays listed for three days.", "bool", False),
            Flag("wan", "Only in the pool of the servers of all datacenters.", "bool", False),
        ),
        """
Tells the cluster that a member that has failed will not come back. One that is still alive comes back by itself.

    $ lictor force-leave worker-3
""",
        "NODE",
        (CLIENT, PARTITION),
        "Error force leaving",
        ("member",),
    ),
    "info": Command(
        "members",
        "info",
        "Shows figures about the agent",
        (),
        "Shows what the agent counts about itself: Raft, gossip, its runtime, its services and checks.",
        "",
        (CLIENT,),
        "Error querying agent",
    ),
    "join": Command(
        "members",
        "join",
        "Tells the agent to join a cluster",
        (Flag("wan", "Join the servers of another datacenter.", "bool", False),),
        """
Tells the agent to join the cluster that the agents at the given addresses belong to. One of them is enough.

    $ lictor join 10.0.0.1 10.0.0.2:8301
""",
        "ADDRESS...",
        (CLIENT,),
        "Error joining",
    ),
    "keygen": Command(
        "misc",
        "keygen",
        "Makes a key that encrypts gossip",
        (),
        """
Makes a new random key of 32 bytes, in base64, for the agents' `encrypt`.

    $ lictor keygen
""",
    ),
    "keyring": Command(
        "keyring",
        "keyring",
        "Manages the keys that encrypt gossip",
        (
            Flag("install", "Key to give to all members."),
            Flag("list", "List the keys that members have.", "bool", False),
            Flag("list-primary", "List the keys that members send with.", "bool", False),
            Flag("local-only", "Do not ask other datacenters; only for lists.", "bool", False),
            Flag("relay-factor", "How many other members pass each answer on, too; 5 at most.", "int", 0),
            Flag("remove", "Key to take away from all members; not the one that they send with."),
            Flag("use", "Key to send with from now on; all members must have it already."),
        ),
        """
Lists the keys that encrypt gossip, or changes them on all members at once. To change the key: -install the new one,
-use it, -remove the old one. Exits with 1 when a member failed.

    $ lictor keyring -list
""",
        "",
        (CLIENT,),
        "error",
    ),
    "leave": Command(
        "members",
        "leave",
        "Makes the agent leave the cluster and stop",
        (),
        "Makes the agent tell the others that it leaves, and stop. A server gives up its vote.",
        "",
        (CLIENT,),
        "Error leaving",
    ),
    "members": Command(
        "members",
        "members",
        "Lists the members of the cluster",
        (
            Flag("detailed", "Show all tags.", "bool", False),
            Flag("segment", "Network segment. They are a feature of Consul Enterprise.", default="_all"),
            Flag(
                "status",
                "Regular expression that a member's status must match.",
                default=".*",
                names="|alive|leaving|left|failed|",
            ),
            Flag("wan", "The servers of all datacenters instead of the members of this one.", "bool", False),
        ),
        """
Lists the members as the agent's gossip sees them. Exits with 2 when none is to be shown.

    $ lictor members -status=failed
""",
        "",
        (CLIENT, PARTITION),
        "Error retrieving members",
    ),
    "monitor": Command(
        "monitor",
        "monitor",
        "Shows the agent's log as it goes on",
        (
            Flag("log-json", "Show lines as JSON.", "bool", False),
            Flag(
                "log-level",
                "Least level to show, whatever the agent itself writes.",
                default="INFO",
                names="|trace|debug|info|warn|error|",
            ),
        ),
        """
Shows what the agent logs from now on, until it is told to stop.

    $ lictor monitor -log-level=debug
""",
        "",
        (CLIENT,),
        "Error starting monitor",
    ),
    "openapi": Command(
        "misc",
        "openapi",
        "Shows the description of the HTTP API",
        (Flag("out", "File to write; standard output without it.", names="file"),),
        "Shows what the HTTP API takes and answers, as an OpenAPI 3.1 document.",
    ),
    "reload": Command(
        "members",
        "reload",
        "Makes the agent read its configuration again",
        (),
        "Makes the agent read its files again. What cannot change while it runs stays as it was.",
        "",
        (CLIENT,),
        "Error reloading",
    ),
    "validate": Command(
        "misc",
        "validate",
        "Checks configuration files",
        (
            Flag("config-format", "Format of the files, whatever their names end in.", names="|hcl|json|"),
            Flag("quiet", "Say nothing when all is well.", "bool", False),
        ),
        """
Checks files and directories of an agent's configuration together, as an agent would before it starts.

    $ lictor validate /etc/consul.d
""",
        "FILE_OR_DIRECTORY...",
        names=("file",),
    ),
    "version": Command(
        "misc", "version", "Shows the version", (FORMAT,), "Shows lictor's version and that of the Consul it is like."
    ),
}
