"""What a command is: its flags, its words for `-h`, and where its function lives."""

from typing import Any, NamedTuple


class Flag(NamedTuple):
    """A flag of a command.

    `kind` is one of "text", "int" (may be negative), "count" (may not), "duration" (kept in nanoseconds), "bool",
    "list" (texts, given several times) and "map" (key=value, given several times).
    `names` says what completion may offer as its value: one of `agent.cli.completion.NAMES`, or words between bars.
    """

    name: str
    help: str
    kind: str = "text"
    default: Any = ""
    names: str = ""


class Command(NamedTuple):
    """A command.

    `module` and `function` say where its code is (below `agent.cli`), `summary` and `about` what it does, in one line
    and at length, `arguments` what follows the flags. `http` lists the groups of shared flags that it takes; a command
    without any does not ask an agent. `failed` begins the message when the agent cannot be reached or refuses.
    `names` says what completion may offer for each argument, the last of them for all that follow.
    A `raw` command parses its words itself; the arguments of one with a `child` are another command, flags and all.
    """

    module: str
    function: str
    summary: str
    flags: tuple[Flag, ...] = ()
    about: str = ""
    arguments: str = ""
    http: tuple[tuple[Flag, ...], ...] = ()
    failed: str = "Error"
    names: tuple[str, ...] = ()
    raw: bool = False
    child: bool = False

    @property
    def shared(self) -> tuple[Flag, ...]:
        """The flags that it has in common with others."""
        return tuple(flag for group in self.http for flag in group)


CLIENT = (
    Flag("ca-file", "File with the CA certificates to trust. CONSUL_CACERT sets it, too.", names="file"),
    Flag("ca-path", "Folder of CA certificates to trust. CONSUL_CAPATH sets it, too.", names="file"),
    Flag("client-cert", "Certificate to show to the agent. CONSUL_CLIENT_CERT sets it, too.", names="file"),
    Flag("client-key", "Private key of -client-cert. CONSUL_CLIENT_KEY sets it, too.", names="file"),
    Flag(
        "http-addr",
        "The agent to ask: host:port, http://host:port, https://host:port or unix:///path. CONSUL_HTTP_ADDR sets it,"
        " too; without it, it is http://127.0.0.1:8500. With CONSUL_HTTP_SSL=true the scheme is https.",
    ),
    Flag("tls-server-name", "Name to expect in the agent's certificate. CONSUL_TLS_SERVER_NAME sets it, too."),
    Flag(
        "token", "ACL token to ask with. CONSUL_HTTP_TOKEN sets it, too; without one the agent's default token counts."
    ),
    Flag("token-file", "File with the ACL token to ask with. CONSUL_HTTP_TOKEN_FILE sets it, too.", names="file"),
)
"""How to reach an agent."""
SERVER = (
    Flag("datacenter", "Datacenter to ask; the agent's own without it.", names="datacenter"),
    Flag("stale", "Let any server answer, not only the leader; the answer may be a little old.", "bool", False),
)
"""Whom the agent asks."""
PARTITION = (Flag("partition", "Admin partition. They are a feature of Consul Enterprise, so agents refuse others."),)
NAMESPACE = (Flag("namespace", "Namespace. They are a feature of Consul Enterprise, so agents refuse others."),)
BOTH = (CLIENT, SERVER)
TENANT = (CLIENT, SERVER, NAMESPACE, PARTITION)
HTTP_FLAGS = (*CLIENT, *SERVER, *NAMESPACE, *PARTITION)
"""All flags that several commands share."""
FORMAT = Flag("format", "How to show the answer: pretty or json.", default="pretty", names="|pretty|json|")
