"""The table of commands for those who look after a cluster: Raft, autopilot."""

from agent.cli.flags import Command, Flag

F = Flag
_FORMAT = F("format", "pretty or json.", default="pretty")

OPERATING: dict[str, Command] = {
    "debug": Command(
        "debug",
        "debug",
        "Watches the agent for a while and saves what it saw.",
        (
            F("archive", "Make one .tar.gz of it; otherwise a directory.", "bool", True),
            F("capture", "agent, host, members, logs, metrics; may be given several times, all by default.", "list"),
            F("duration", "For how long to watch, at least 10s.", "duration", 120_000_000_000),
            F("interval", "Time between two looks at the metrics, at least 5s.", "duration", 30_000_000_000),
            F("output", "Name of the result, without .tar.gz."),
        ),
    ),
    "exec": Command(
        "remote",
        "execute",
        "Runs a command on many nodes whose agents allow it (disable_remote_exec = false).",
        (
            F("node", "Regular expression for nodes."),
            F("prefix", "Prefix of the KV store for jobs and answers.", default="_rexec"),
            F("service", "Regular expression for services that nodes must have."),
            F("shell", "Run the command in a shell.", "bool", True),
            F("tag", "Regular expression for tags of -service."),
            F("verbose", "Say more.", "bool", False),
            F("wait", "How long to wait after the last answer.", "duration", 2_000_000_000),
            F("wait-repl", "How long to wait for the job to reach the servers.", "duration", 200_000_000),
        ),
        child=True,
    ),
    "keyring": Command(
        "keyring",
        "keyring",
        "Manages the keys that encrypt gossip.",
        (
            F("install", "Key to give to all members."),
            F("list", "List the keys that members have.", "bool", False),
            F("list-primary", "List the keys that members send with.", "bool", False),
            F("local-only", "Do not ask other datacenters.", "bool", False),
            F("relay-factor", "Number of other members that also pass on each answer, up to 5.", "int", 0),
            F("remove", "Key to take away from all members."),
            F("use", "Key to send with from now on."),
        ),
    ),
    "lock": Command(
        "lock",
        "lock",
        "Runs a command while it holds a lock.",
        (
            F("child-exit-code", "Exit with 2 when the command fails.", "bool", False),
            F("monitor-retry", "How often to retry when the agent fails while the lock is held.", "int", 3),
            F("n", "How many may hold the lock at the same time.", "int", 1),
            F("name", "Name of the session."),
            F("pass-stdin", "Give the command our standard input.", "bool", False),
            F("shell", "Run the command in a shell.", "bool", True),
            F("timeout", "Accepted for compatibility.", "duration", None),
            F("try", "For how long to try, such as 10s; for ever without.", "duration", None),
            F("verbose", "Say more.", "bool", False),
        ),
        child=True,
    ),
    "monitor": Command(
        "monitor",
        "monitor",
        "Shows the agent's log as it goes on.",
        (
            F("log-level", "Least level to show: trace, debug, info, warn, error.", default="INFO"),
            F("log-json", "Show lines as JSON.", "bool", False),
        ),
    ),
    "operator autopilot get-config": Command("operator", "get_autopilot", "Shows autopilot's settings."),
    "operator autopilot set-config": Command(
        "operator",
        "set_autopilot",
        "Changes autopilot's settings; those that are not given stay.",
        (
            F("cleanup-dead-servers", "Take out servers that stay failed.", "bool", None),
            F("last-contact-threshold", "Longest silence of a healthy server, such as 200ms.", "duration", None),
            F("max-trailing-logs", "How far behind a healthy server may be.", "count", None),
            F("min-quorum", "Number of voters below which none is taken out.", "count", None),
            F("server-stabilization-time", "How long a new server must be healthy to vote.", "duration", None),
            F("disable-upgrade-migration", "Accepted for compatibility.", "bool", None),
            F("redundancy-zone-tag", "Accepted for compatibility.", default=None),
            F("upgrade-version-tag", "Accepted for compatibility.", default=None),
        ),
    ),
    "operator autopilot state": Command("operator", "autopilot_state", "Shows how the servers are.", (_FORMAT,)),
    "operator raft list-peers": Command("operator", "raft_peers", "Lists the servers of Raft."),
    "operator raft recover": Command(
        "recover",
        "recover",
        "Prepares a stopped server to go on alone after a quorum was lost for good; explains before it acts.",
        (
            F("data-dir", "Data directory of the server."),
            F("inspect", "Only show what the server holds.", "bool", False),
            F("yes", "Agree without being asked.", "bool", False),
        ),
        http=False,
    ),
    "operator raft remove-peer": Command(
        "operator", "raft_remove", "Takes a server out of Raft.", (F("address", "Its ip:port."), F("id", "Its ID."))
    ),
    "operator raft transfer-leader": Command(
        "operator",
        "raft_transfer",
        "Hands leadership to another server.",
        (F("id", "ID of the server that is to lead; otherwise the one whose log is furthest."),),
    ),
    "rtt": Command(
        "rtt",
        "rtt",
        "Estimates the network's round-trip time between two nodes.",
        (F("wan", "Use WAN coordinates; nodes are named <node>.<datacenter>.", "bool", False),),
    ),
    "watch": Command(
        "watch",
        "watch",
        "Shows a view of the cluster, or runs a command whenever it changes.",
        (
            F("type", "key, keyprefix, services, nodes, service, checks or event."),
            F("key", "Key to watch (type key)."),
            F("prefix", "Beginning of the keys to watch (type keyprefix)."),
            F("service", "Service to watch (types service, checks)."),
            F("tag", "Tag that instances must have; may be given several times (type service).", "list"),
            F("passingonly", "true: only instances whose checks pass (type service)."),
            F("state", "Status of the checks to watch (type checks)."),
            F("name", "Name of the events to watch; all by default (type event)."),
            F("shell", "Run the command in a shell.", "bool", True),
        ),
        child=True,
    ),
}
