"""`kv …` and `lock`."""

from agent.cli.command import BOTH, TENANT, Command, Flag

_CAS = Flag("cas", "Act only if the key is still as it was at -modify-index.", "bool", False)
_INDEX = Flag("modify-index", "ModifyIndex that the key had when it was read; for -cas.", "count", 0)

GROUPS = {
    "kv": (
        "Reads and writes the key-value store",
        """
Reads and writes keys, which every agent of the cluster sees.

    $ lictor kv put app/greeting ave
    $ lictor kv get app/greeting
    $ lictor kv get -keys app/
    $ lictor kv delete -recurse app/
""",
    )
}

COMMANDS: dict[str, Command] = {
    "kv delete": Command(
        "kv",
        "delete",
        "Removes a key, or all below it",
        (_CAS, _INDEX, Flag("recurse", "Remove every key that begins with KEY_OR_PREFIX.", "bool", False)),
        """
Removes the key. A key that does not exist counts as removed. With -recurse all keys with the prefix go in one step;
without a prefix that is every key there is.

    $ lictor kv delete app/greeting
    $ lictor kv delete -recurse app/
    $ lictor kv delete -cas -modify-index=456 app/greeting
""",
        "KEY_OR_PREFIX",
        TENANT,
        "Error! Failed deleting",
        ("key",),
    ),
    "kv export": Command(
        "kv",
        "export",
        "Writes keys as JSON",
        (Flag("format", "How to show the keys: json.", default="json", names="|json|"),),
        """
Writes all keys that begin with the prefix to standard output as JSON, which `lictor kv import` takes. Values are in
base64, so that nothing is lost.

    $ lictor kv export app/ > app.json
""",
        "[PREFIX]",
        TENANT,
        "Error querying Consul agent",
        ("key",),
    ),
    "kv get": Command(
        "kv",
        "get",
        "Shows a key, or what is below it",
        (
            Flag("base64", "Show values in base64.", "bool", False),
            Flag("detailed", "Show the indexes, flags and the session, too.", "bool", False),
            Flag("keys", "List the names of keys that begin with the prefix, without their values.", "bool", False),
            Flag("recurse", "Show every key that begins with the prefix.", "bool", False),
            Flag(
                "separator", "With -keys, show names only up to this text, so that they look like folders.", default="/"
            ),
        ),
        """
Writes the value of the key to standard output, byte for byte, and a line feed. A key that does not exist is an error.
With -keys or -recurse the argument is a prefix, and may be left out for all keys.

    $ lictor kv get app/greeting
    $ lictor kv get -detailed app/greeting
    $ lictor kv get -recurse app/
    $ lictor kv get -keys -separator="" app/
""",
        "[KEY_OR_PREFIX]",
        TENANT,
        "Error querying Consul agent",
        ("key",),
    ),
    "kv import": Command(
        "kv",
        "import_",
        "Writes keys from JSON",
        (Flag("prefix", "Put this before every key."),),
        """
Writes the keys of a JSON document such as `lictor kv export` makes. DATA is the document itself, @ and the name of a
file, or - for standard input. All of it is checked before the first key is written.

    $ lictor kv import @app.json
    $ lictor kv export app/ | lictor kv import -prefix=copy/ -
""",
        "[DATA]",
        TENANT,
        "Error! Failed writing data",
        ("data",),
    ),
    "kv put": Command(
        "kv",
        "put",
        "Writes a key",
        (
            Flag("acquire", "Lock the key for -session; fails when another session has it.", "bool", False),
            Flag("base64", "DATA is base64; its content is written.", "bool", False),
            _CAS,
            Flag("flags", "Number to keep beside the value; its meaning is yours.", "count", 0),
            _INDEX,
            Flag("release", "Release the lock that -session has on the key.", "bool", False),
            Flag("session", "ID of the session for -acquire and -release."),
        ),
        """
Writes DATA into the key, which is made when it does not exist. DATA is the value itself, @ and the name of a file, or -
for standard input; without it the value is empty.

    $ lictor kv put app/greeting ave
    $ lictor kv put app/cert @cert.pem
    $ date | lictor kv put app/now -
    $ lictor kv put -cas -modify-index=456 app/greeting salve
    $ lictor kv put -acquire -session=8b3b… app/leader me
""",
        "KEY [DATA]",
        TENANT,
        "Error! Failed writing data",
        ("key", "data"),
    ),
    "lock": Command(
        "lock",
        "lock",
        "Runs a command while it holds a lock",
        (
            Flag(
                "child-exit-code",
                "Exit with 2 when the command fails; otherwise its failure is only reported.",
                "bool",
                False,
            ),
            Flag(
                "monitor-retry",
                "How often to ask again, a second apart, when the servers fail while the lock is held."
                " More rides out longer disturbances and notices a lost lock later.",
                "count",
                3,
            ),
            Flag(
                "n", "How many may hold the lock at the same time; all users of a prefix must say the same.", "int", 1
            ),
            Flag("name", "Name of the session; made from the command without it."),
            Flag("pass-stdin", "Give the command our standard input.", "bool", False),
            Flag("shell", "Run the command as one line of a shell: $SHELL, or else /bin/sh.", "bool", True),
            Flag("timeout", "How long to try to get the lock; 0 is for ever.", "duration", 0),
            Flag("try", "Older name of -timeout.", "duration", None),
            Flag("verbose", "Say what is going on.", "bool", False),
        ),
        """
Takes a lock below the prefix, runs the command while it is held, and gives it back. With -n above one it is a
semaphore. When the lock is lost, or lictor is told to stop, the command gets SIGTERM and 5 seconds later SIGKILL. In
its environment CONSUL_LOCK_HELD is true.

    $ lictor lock jobs/backup ./backup.sh
    $ lictor lock -n=3 -timeout=10s jobs/workers ./work
""",
        "PREFIX COMMAND...",
        BOTH,
        "Lock error",
        ("key", "command"),
        child=True,
    ),
}
