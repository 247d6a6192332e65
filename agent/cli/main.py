"""`lictor`: finds the command, parses its flags, runs it, turns errors into exit codes."""

import importlib
import os
import sys
from collections.abc import Callable

from agent.cli.access_table import ACCESS
from agent.cli.client import ApiError
from agent.cli.flags import HTTP_FLAGS, RAW, Command, Flag, Flags, Usage, help_of, parse
from agent.cli.operating import OPERATING
from agent.cli.tls_table import TLS

F = Flag
COMMANDS: dict[str, Command] = {
    "agent": Command("server", "agent", "Runs an agent.", raw=True, http=False),
    "catalog datacenters": Command("catalog", "datacenters", "Lists all known datacenters."),
    "catalog nodes": Command(
        "catalog",
        "nodes",
        "Lists the nodes of a datacenter.",
        (
            F("detailed", "Show more about each node.", "bool", False),
            F("filter", "Filter expression."),
            F("near", "Node to sort by distance from."),
            F("node-meta", "key=value that nodes must have; may be given several times.", "list"),
            F("service", "Only nodes with this service."),
        ),
    ),
    "catalog services": Command(
        "catalog",
        "services",
        "Lists the services of a datacenter.",
        (
            F("node", "Only services of this node."),
            F("node-meta", "key=value that nodes must have; may be given several times.", "list"),
            F("tags", "Show tags, too.", "bool", False),
        ),
    ),
    "config delete": Command(
        "config",
        "delete",
        "Removes a configuration entry.",
        (
            F("kind", "Kind of the entry."),
            F("name", "Name of the entry."),
            F("filename", "File with the entry."),
            F("cas", "Only if -modify-index still fits.", "bool", False),
            F("modify-index", "Index.", "int", 0),
        ),
    ),
    "config list": Command("config", "list_entries", "Lists configuration entries.", (F("kind", "Kind to list."),)),
    "config read": Command(
        "config", "read", "Shows a configuration entry.", (F("kind", "Kind of the entry."), F("name", "Its name."))
    ),
    "config write": Command(
        "config",
        "write",
        "Writes a configuration entry from a file (or - for standard input).",
        (F("cas", "Only if -modify-index still fits.", "bool", False), F("modify-index", "Index.", "int", 0)),
    ),
    "connect ca get-config": Command("connect", "get_ca_config", "Shows the CA's configuration."),
    "connect ca set-config": Command(
        "connect",
        "set_ca_config",
        "Changes the CA's configuration.",
        (
            F("config-file", "JSON file with the configuration."),
            F("force-without-cross-signing", "Do not cross-sign the new root.", "bool", False),
        ),
    ),
    "connect proxy": Command(
        "connect",
        "proxy",
        "Runs a Connect proxy.",
        (
            F("sidecar-for", "ID of the local service that the proxy is a sidecar of."),
            F("proxy-id", "ID of a registered proxy."),
            F("log-level", "Least level to log.", default="INFO"),
            F("log-json", "Log as JSON.", "bool", False),
            F("drain", "Seconds for connections to finish after SIGTERM.", "int", 10),
            F("service", "Name of a service to serve without registration."),
            F("upstream", "name:port of an upstream; may be given several times.", "list"),
            F("listen", "Address to listen on for the mesh."),
            F("service-addr", "Address of the service itself."),
            F("register", "Register the proxy.", "bool", False),
        ),
    ),
    "demo": Command(
        "demo",
        "demo",
        "Shows a whole cluster on this machine: servers, services, proxies, intentions.",
        (
            F("once", "End after the tour, with an exit code.", "bool", False),
            F("http-port", "Port of the client agent's HTTP API and UI.", "int", 8500),
        ),
        http=False,
    ),
    "event": Command(
        "misc",
        "event",
        "Sends a user event.",
        (
            F("name", "Name of the event."),
            F("node", "Expression for nodes."),
            F("service", "Expression for services."),
            F("tag", "Expression for tags."),
        ),
    ),
    "force-leave": Command(
        "members",
        "force_leave",
        "Declares that a failed member has left.",
        (F("prune", "Forget it at once.", "bool", False), F("wan", "Ask the WAN pool.", "bool", False)),
    ),
    "info": Command("members", "info", "Shows figures about the agent."),
    "intention check": Command("intention", "check", "Says whether a source may call a destination."),
    "intention create": Command(
        "intention",
        "create",
        "Creates intentions.",
        (
            F("allow", "Allow (the default).", "bool", False),
            F("deny", "Deny.", "bool", False),
            F("file", "Read JSON from the named files.", "bool", False),
            F("meta", "key=value; may be given several times.", "list"),
            F("replace", "Replace an intention that is there.", "bool", False),
        ),
    ),
    "intention delete": Command("intention", "delete", "Removes an intention."),
    "intention get": Command("intention", "get", "Shows an intention."),
    "intention list": Command("intention", "list_all", "Lists all intentions."),
    "intention match": Command(
        "intention",
        "match",
        "Lists the intentions that concern a service.",
        (F("source", "Match sources.", "bool", False), F("destination", "Match destinations.", "bool", False)),
    ),
    "join": Command(
        "members", "join", "Tells the agent to join a cluster.", (F("wan", "Join the WAN.", "bool", False),)
    ),
    "keygen": Command("misc", "keygen", "Makes a gossip key.", http=False),
    "kv delete": Command(
        "kv",
        "delete",
        "Removes a key.",
        (
            F("cas", "Only if -modify-index still fits.", "bool", False),
            F("modify-index", "Index for -cas.", "int", 0),
            F("recurse", "Remove everything below the key.", "bool", False),
        ),
    ),
    "kv export": Command("kv", "export", "Writes keys as JSON.", (F("format", "json", default="json"),)),
    "kv get": Command(
        "kv",
        "get",
        "Shows a key.",
        (
            F("base64", "Show the value as base64.", "bool", False),
            F("detailed", "Show all fields.", "bool", False),
            F("keys", "List keys below the given one.", "bool", False),
            F("recurse", "Show everything below the key.", "bool", False),
            F("separator", "Separator for -keys.", default="/"),
        ),
    ),
    "kv import": Command("kv", "import_", "Writes keys from JSON.", (F("prefix", "Put before every key."),)),
    "kv put": Command(
        "kv",
        "put",
        "Writes a key.",
        (
            F("acquire", "Lock the key.", "bool", False),
            F("base64", "The value is base64.", "bool", False),
            F("cas", "Only if -modify-index still fits.", "bool", False),
            F("flags", "Number kept beside the value.", "int", 0),
            F("modify-index", "Index for -cas.", "int", 0),
            F("release", "Release the lock.", "bool", False),
            F("session", "Session of the lock."),
        ),
    ),
    "leave": Command("members", "leave", "Makes the agent leave the cluster and stop."),
    "maint": Command(
        "misc",
        "maint",
        "Takes a node or service out of discovery for a while.",
        (
            F("enable", "Begin.", "bool", False),
            F("disable", "End.", "bool", False),
            F("reason", "Why."),
            F("service", "ID of a service; the node without."),
        ),
    ),
    "members": Command(
        "members",
        "members",
        "Lists the members of the cluster.",
        (
            F("detailed", "Show tags.", "bool", False),
            F("segment", "Accepted for compatibility.", default="_all"),
            F("status", "Expression that the status must match.", default=".*"),
            F("wan", "Members of the WAN pool.", "bool", False),
        ),
    ),
    "openapi": Command(
        "misc",
        "openapi",
        "Shows the description of the HTTP API (OpenAPI 3.1).",
        (F("out", "File to write; standard output without it."),),
        http=False,
    ),
    "reload": Command("members", "reload", "Makes the agent read its configuration again."),
    "services deregister": Command("services", "deregister", "Removes services.", (F("id", "ID of a service."),)),
    "services register": Command(
        "services",
        "register",
        "Registers services from files or flags.",
        (
            F("address", "Address of the instance."),
            F("id", "ID of the instance."),
            F("kind", "Kind of the service."),
            F("meta", "key=value; may be given several times.", "list"),
            F("name", "Name of the service."),
            F("port", "Port of the instance.", "int", 0),
            F("socket", "Path of a unix socket."),
            F("tag", "Tag; may be given several times.", "list"),
            F("tagged-address", "name=address[:port]; may be given several times.", "list"),
        ),
    ),
    "snapshot inspect": Command(
        "snapshot",
        "inspect",
        "Shows what a snapshot file holds.",
        (F("format", "pretty or json.", default="pretty"),),
        http=False,
    ),
    "snapshot restore": Command("snapshot", "restore", "Replaces the cluster's state by a snapshot file."),
    "snapshot save": Command("snapshot", "save", "Saves the cluster's state to a file."),
    "validate": Command(
        "misc",
        "validate",
        "Checks configuration files.",
        (F("quiet", "Say nothing when all is well.", "bool", False), F("config-format", "json or hcl.")),
        http=False,
    ),
    "version": Command(
        "misc", "version", "Shows the version.", (F("format", "pretty or json.", default="pretty"),), http=False
    ),
    **ACCESS,
    **OPERATING,
    **TLS,
}
"""All commands by name."""


def main() -> int:
    """The entry point; returns the exit code."""
    try:
        code = run(sys.argv[1:])
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130


def run(words: list[str]) -> int:
    """Find and run a command."""
    if words and words[0] in ("-v", "-version", "--version"):
        words = ["version"]
    if not words or words[0] in ("-h", "-help", "--help", "help"):
        print(overview(), file=sys.stderr if not words or words[0] == "help" else sys.stdout)
        return 0 if words and words[0] != "help" else 127
    for length in (3, 2, 1):
        name = " ".join(words[:length])
        command = COMMANDS.get(name)
        if command is not None and len(words) >= length:
            return _run(name, command, words[length:])
    for length in (2, 1):
        top = " ".join(words[:length])
        group = [name for name in COMMANDS if name.startswith(top + " ")]
        if group:
            asked = any(word in ("-h", "-help", "--help") for word in words[length:])
            print(_group_help(top, group), file=sys.stdout if asked else sys.stderr)
            return 0 if asked else 1
    print(overview(), file=sys.stderr)
    return 127


def _run(name: str, command: Command, words: list[str]) -> int:
    flags = command.flags + (HTTP_FLAGS if command.http else ())
    if command.raw:
        parsed = Flags({}, [], words)
    else:
        try:
            parsed = parse(words, flags, command.child)
        except Usage as usage:
            if not str(usage):
                print(help_of(name, command.summary, flags))
                return 0
            print(str(usage), file=sys.stderr)
            print(help_of(name, command.summary, flags), file=sys.stderr)
            return 1
    module = importlib.import_module(f"agent.cli.{command.module}")
    function: Callable[[Flags], int] = getattr(module, command.function)
    try:
        return function(parsed)
    except ApiError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1


def overview() -> str:
    """All commands in one list."""
    tops: dict[str, str] = {}
    for name, command in COMMANDS.items():
        top, _, rest = name.partition(" ")
        tops[top] = tops.get(top) or (f"Commands: {top} {rest} …" if rest else command.summary)
    lines = ["Usage: lictor [--version] [--help] <command> [<args>]", "", "Available commands are:"]
    lines += [f"    {top:<14} {summary}" for top, summary in sorted(tops.items())]
    return "\n".join(lines) + "\n"


def _group_help(top: str, names: list[str]) -> str:
    lines = [f"Usage: lictor {top} <subcommand> [options] [args]", "", "Subcommands:"]
    lines += [f"    {name[len(top) + 1 :]:<24} {COMMANDS[name].summary}" for name in names]
    return "\n".join(lines) + "\n"


__all__ = ["COMMANDS", "RAW", "main", "run"]

if __name__ == "__main__":
    sys.exit(main())
