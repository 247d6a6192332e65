"""`catalog …`, `services …`, `event`, `exec`, `maint`, `rtt`, `watch`."""

from agent.cli.command import BOTH, CLIENT, NAMESPACE, PARTITION, SERVER, TENANT, Command, Flag

_NODE_META = Flag("node-meta", "Only nodes with this key=value among their metadata.", "map")
_IDENTITY = (CLIENT, NAMESPACE, PARTITION)

GROUPS = {
    "catalog": (
        "Asks what is registered",
        """
Lists what the servers know: datacenters, nodes, services.

    $ lictor catalog datacenters
    $ lictor catalog nodes -service=web
    $ lictor catalog services -tags
""",
    ),
    "services": (
        "Registers services with an agent",
        """
Registers services with the agent, which then checks them and keeps the catalog in step, and removes them again.

    $ lictor services register web.json
    $ lictor services deregister web.json
""",
    ),
}

COMMANDS: dict[str, Command] = {
    "catalog datacenters": Command(
        "catalog",
        "datacenters",
        "Lists the datacenters",
        (),
        "Lists all datacenters that the servers know, the nearest first.",
        "",
        BOTH,
        "Error listing datacenters",
    ),
    "catalog nodes": Command(
        "catalog",
        "nodes",
        "Lists the nodes of a datacenter",
        (
            Flag("detailed", "Show whole IDs, tagged addresses and metadata.", "bool", False),
            Flag("filter", 'Expression that must hold for a node, such as Meta.env == "prod".'),
            Flag("near", "Sort by distance from this node; _agent is the agent's own.", names="node"),
            _NODE_META,
            Flag("service", "Only nodes with this service.", names="service"),
        ),
        """
Lists nodes with their IDs and addresses.

    $ lictor catalog nodes
    $ lictor catalog nodes -near=_agent -node-meta=env=prod
    $ lictor catalog nodes -service=web -detailed
""",
        "",
        (*BOTH, PARTITION),
        "Error listing nodes",
    ),
    "catalog services": Command(
        "catalog",
        "services",
        "Lists the services of a datacenter",
        (
            Flag("node", "Only services of the node with this name or ID.", names="node"),
            _NODE_META,
            Flag("tags", "Show the services' tags, too.", "bool", False),
        ),
        """
Lists the names of services.

    $ lictor catalog services -tags
    $ lictor catalog services -node=worker-1
""",
        "",
        TENANT,
        "Error listing services",
    ),
    "event": Command(
        "misc",
        "event",
        "Sends a user event",
        (
            Flag("name", "Name of the event; it must be given.", names="event"),
            Flag("node", "Regular expression for the nodes that are meant.", names="node"),
            Flag("service", "Regular expression for services that nodes must have.", names="service"),
            Flag("tag", "Regular expression for tags of -service."),
        ),
        """
Sends an event to all agents of a datacenter, or to those that the flags choose. Events travel by gossip: they arrive
soon, mostly, in any order, and have room for about 100 bytes beside their name. `lictor watch -type=event` acts on
them.

    $ lictor event -name=deploy 1.2.3
    $ lictor event -name=restart -service=web -tag=canary
""",
        "[PAYLOAD]",
        BOTH,
        "Error firing event",
    ),
    "exec": Command(
        "remote",
        "execute",
        "Runs a command on many nodes",
        (
            Flag("node", "Regular expression for the nodes that are meant.", names="node"),
            Flag("prefix", "Where in the key-value store jobs and answers go.", default="_rexec"),
            Flag("service", "Regular expression for services that nodes must have.", names="service"),
            Flag("shell", "Run the command as one line of a shell.", "bool", True),
            Flag("tag", "Regular expression for tags of -service."),
            Flag("verbose", "Say what is going on.", "bool", False),
            Flag("wait", "How long it must be quiet before the job counts as finished.", "duration", 2_000_000_000),
            Flag("wait-repl", "How long to wait for the job to reach the servers.", "duration", 200_000_000),
        ),
        """
Runs a command on all nodes whose agents allow it (disable_remote_exec = false), or on those that the flags choose, and
shows what it says. With - the command is a script from standard input. Exits with 2 when it failed on a node.

    $ lictor exec uptime
    $ lictor exec -service=web -- systemctl reload nginx
""",
        "[-|COMMAND...]",
        BOTH,
        "Error running the command",
        ("command",),
        child=True,
    ),
    "maint": Command(
        "misc",
        "maint",
        "Takes a node or service out of discovery for a while",
        (
            Flag("disable", "End maintenance.", "bool", False),
            Flag("enable", "Begin maintenance.", "bool", False),
            Flag("reason", "Why; shown beside the check that marks the maintenance."),
            Flag("service", "ID of a service of the agent; without it all of the node is meant.", names="service-id"),
        ),
        """
Marks the agent's node, or one of its services, as under maintenance: a failing check keeps it out of DNS and of queries
for passing instances. Without -enable or -disable it shows what is under maintenance.

    $ lictor maint -enable -reason="new disk"
    $ lictor maint -enable -service=web-1
    $ lictor maint -disable
""",
        "",
        _IDENTITY,
        "Error with maintenance mode",
    ),
    "rtt": Command(
        "rtt",
        "rtt",
        "Estimates the time between two nodes",
        (Flag("wan", "Use coordinates between datacenters; nodes are named NODE.DATACENTER.", "bool", False),),
        """
Estimates how long a packet takes from one node to the other and back, from the network coordinates that agents keep.
With one name the other end is the agent's own node.

    $ lictor rtt worker-1 worker-2
    $ lictor rtt -wan server-1.dc1 server-2.dc2
""",
        "NODE1 [NODE2]",
        (CLIENT,),
        "Error getting coordinates",
        ("node",),
    ),
    "services deregister": Command(
        "services",
        "deregister",
        "Removes services from the agent",
        (Flag("id", "ID of the service to remove, when no files are given.", names="service-id"),),
        """
Removes the services of definition files, or one by its ID, from the agent.

    $ lictor services deregister -id=web-1
    $ lictor services deregister web.json
""",
        "[FILE...]",
        _IDENTITY,
        "Error deregistering service",
        ("file",),
    ),
    "services register": Command(
        "services",
        "register",
        "Registers services with the agent",
        (
            Flag("address", "Address of the service; the node's without it."),
            Flag("id", "ID of the service; its name without it."),
            Flag(
                "kind", "Kind of the service.", names="|connect-proxy|ingress-gateway|mesh-gateway|terminating-gateway|"
            ),
            Flag("meta", "Metadata of the service.", "map"),
            Flag("name", "Name of the service.", names="service"),
            Flag("port", "Port of the service.", "int", 0),
            Flag("socket", "Path of the unix socket of the service, instead of address and port.", names="file"),
            Flag("tag", "Tag of the service.", "list"),
            Flag("tagged-address", "Further address of the service, written NAME=ADDRESS:PORT.", "map"),
        ),
        """
Registers the services of definition files (JSON or HCL), or one that the flags describe. They stay with the agent, also
over restarts, until they are deregistered.

    $ lictor services register web.hcl db.json
    $ lictor services register -name=web -port=8000 -tag=v1
""",
        "[FILE...]",
        _IDENTITY,
        "Error registering service",
        ("file",),
    ),
    "watch": Command(
        "watch",
        "watch",
        "Shows a view of the cluster, or runs a command when it changes",
        (
            Flag("key", "Key to watch (type key).", names="key"),
            Flag("name", "Name of the events to watch; all without it (type event).", names="event"),
            Flag("passingonly", "true: only instances whose checks all pass (type service).", names="|true|false|"),
            Flag("prefix", "Prefix of the keys to watch (type keyprefix).", names="key"),
            Flag("service", "Service to watch (types service, checks).", names="service"),
            Flag("shell", "Run the command as one line of a shell: $SHELL, or else /bin/sh.", "bool", True),
            Flag("state", "Status of the checks to watch (type checks).", names="|any|passing|warning|critical|"),
            Flag("tag", "Tag that instances must have (type service).", "list"),
            Flag(
                "type",
                "What to watch: key, keyprefix, services, nodes, service, checks or event.",
                names="|key|keyprefix|services|nodes|service|checks|event|",
            ),
        ),
        """
Without a command, shows the view once as JSON. With one, runs it at once and again after every change, with the view as
JSON on its standard input and the index in CONSUL_INDEX, until it fails.

    $ lictor watch -type=service -service=web -passingonly=true
    $ lictor watch -type=key -key=app/config ./reload.sh
""",
        "[COMMAND...]",
        (CLIENT, SERVER, NAMESPACE, PARTITION),
        "Error querying Consul agent",
        ("command",),
        child=True,
    ),
}
