"""Commands for those who look after servers: Raft, autopilot, snapshots."""

from agent.cli.command import BOTH, FORMAT, Command, Flag

GROUPS = {
    "operator": (
        "Looks after the servers",
        """
Tools for the servers themselves.

    $ lictor operator raft list-peers
    $ lictor operator autopilot state
""",
    ),
    "operator autopilot": (
        "Looks after autopilot",
        """
Shows and changes how autopilot looks after the servers.

    $ lictor operator autopilot state
    $ lictor operator autopilot set-config -cleanup-dead-servers=false
""",
    ),
    "operator raft": (
        "Looks after Raft",
        """
Shows and changes which servers agree with each other through Raft.

    $ lictor operator raft list-peers
""",
    ),
    "snapshot": (
        "Saves and restores the cluster's state",
        """
Saves the whole state of the servers as one file, restores it, and shows what such a file holds.

    $ lictor snapshot save backup.snap
    $ lictor snapshot inspect backup.snap
    $ lictor snapshot restore backup.snap
""",
    ),
}

COMMANDS: dict[str, Command] = {
    "operator autopilot get-config": Command(
        "operator",
        "get_autopilot",
        "Shows autopilot's settings",
        (),
        "Shows how autopilot looks after the servers.",
        "",
        BOTH,
        "Error querying Autopilot configuration",
    ),
    "operator autopilot set-config": Command(
        "operator",
        "set_autopilot",
        "Changes autopilot's settings",
        (
            Flag("cleanup-dead-servers", "Take out servers that stay failed.", "bool", None),
            Flag(
                "disable-upgrade-migration", "Kept, and without effect: a feature of Consul Enterprise.", "bool", None
            ),
            Flag("last-contact-threshold", "Longest silence of a healthy server, such as 200ms.", "duration", None),
            Flag("max-trailing-logs", "How many entries a healthy server may be behind.", "count", None),
            Flag("min-quorum", "Number of voters below which none is taken out.", "count", None),
            Flag("redundancy-zone-tag", "Kept, and without effect: a feature of Consul Enterprise.", default=None),
            Flag("server-stabilization-time", "How long a new server must be healthy to get a vote.", "duration", None),
            Flag("upgrade-version-tag", "Kept, and without effect: a feature of Consul Enterprise.", default=None),
        ),
        """
Changes the settings that are given; the others stay. Nothing changes when somebody else is quicker.

    $ lictor operator autopilot set-config -last-contact-threshold=500ms
""",
        "",
        BOTH,
        "Error setting Autopilot configuration",
    ),
    "operator autopilot state": Command(
        "operator",
        "autopilot_state",
        "Shows how the servers are",
        (FORMAT,),
        "Shows which servers are healthy, which vote, and how many more may fail.",
        "",
        BOTH,
        "Error querying Autopilot state",
    ),
    "operator raft list-peers": Command(
        "operator",
        "raft_peers",
        "Lists the servers of Raft",
        (),
        "Lists the servers that agree through Raft, who leads and who votes. Use -stale while there is no leader.",
        "",
        BOTH,
        "Error getting peers",
    ),
    "operator raft recover": Command(
        "recover",
        "recover",
        "Prepares a stopped server to go on alone",
        (
            Flag("data-dir", "Data directory of the server; it must be given.", names="file"),
            Flag("inspect", "Only show what the server holds.", "bool", False),
            Flag("yes", "Agree without being asked.", "bool", False),
        ),
        """
After a quorum of the servers was lost for good, prepares one survivor to go on with what it has. It explains everything
before it acts. The server must be stopped.

    $ lictor operator raft recover -data-dir=/var/lib/lictor -inspect
""",
    ),
    "operator raft remove-peer": Command(
        "operator",
        "raft_remove",
        "Takes a server out of Raft",
        (Flag("address", "Address of the server, as IP:port."), Flag("id", "ID of the server.")),
        """
Takes a server that is gone out of Raft. One that is still a member should rather be told to leave, or be declared to
have left with `lictor force-leave`.

    $ lictor operator raft remove-peer -id=9d3f…
""",
        "",
        BOTH,
        "Error removing peer",
    ),
    "operator raft transfer-leader": Command(
        "operator",
        "raft_transfer",
        "Hands leadership to another server",
        (Flag("id", "ID of the server that is to lead; otherwise the one whose log is furthest."),),
        "Makes the leader step back in favour of another server, before it is stopped.",
        "",
        BOTH,
        "Error transferring leadership",
    ),
    "snapshot inspect": Command(
        "snapshot",
        "inspect",
        "Shows what a snapshot file holds",
        (
            FORMAT,
            Flag("kvdepth", "With -kvdetails, how many parts of a key, between slashes, make a group.", "int", 2),
            Flag("kvdetails", "Show how much room groups of keys take.", "bool", False),
            Flag("kvfilter", "With -kvdetails, only keys that begin with this."),
        ),
        """
Shows how many records of each type a snapshot file has, and how much room they take. No agent is asked. A file named
state.bin is taken for a raw snapshot of a server's data directory, with meta.json beside it.

    $ lictor snapshot inspect backup.snap
    $ lictor snapshot inspect -kvdetails -kvdepth=3 -kvfilter=app/ backup.snap
""",
        "FILE",
        names=("file",),
    ),
    "snapshot restore": Command(
        "snapshot",
        "restore",
        "Replaces the cluster's state by a snapshot file",
        (),
        """
Replaces everything that the servers know by what the file holds. What was written since the snapshot was made is lost.

    $ lictor snapshot restore backup.snap
""",
        "FILE",
        BOTH,
        "Error restoring snapshot",
        ("file",),
    ),
    "snapshot save": Command(
        "snapshot",
        "save",
        "Saves the cluster's state to a file",
        (),
        """
Saves everything that the servers know. The file gets its name only once it has been found to be whole. It holds tokens
and keys: keep it as you keep those. With -stale any server may give it, also while there is no leader.

    $ lictor snapshot save backup.snap
""",
        "FILE",
        BOTH,
        "Error saving snapshot",
        ("file",),
    ),
}
