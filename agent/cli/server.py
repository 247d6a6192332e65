"""`lictor agent`."""

import sys

from agent.cli.flags import Flags
from agent.config.keys import FLAGS


def agent(flags: Flags) -> int:
    """Run an agent in the foreground."""
    from agent.process import hurry

    hurry()
    from agent.config.load import load_config
    from agent.config.settings import ConfigError
    from agent.early_ports import open_early
    from agent.logs import set_up
    from agent.version import CONSUL_VERSION, VERSION

    if any(word in ("-h", "-help", "--help") for word in flags.words):
        print(agent_help(), end="")
        return 0
    try:
        config, warnings = load_config(flags.words)
        set_up(config.log_level, config.log_json, config.log_to)
    except ConfigError as error:
        print(f"==> {error}", file=sys.stderr)
        return error.exit_code
    except (ValueError, OSError) as error:
        print(f"==> {error}", file=sys.stderr)
        return 1
    ports = config.ports
    print("==> Starting Consul agent...", flush=True)
    print(f"              Version: 'lictor {VERSION} (as Consul {CONSUL_VERSION})'")
    print(f"            Node name: '{config.node_name}'")
    print(f"           Datacenter: '{config.datacenter}' (Segment: '')")
    print(f"               Server: {str(config.server).lower()} (Bootstrap: {str(config.bootstrap).lower()})")
    clients = " ".join(config.client_addrs)
    print(f"          Client Addr: [{clients}] (HTTP: {ports.http}, HTTPS: {ports.https}, DNS: {ports.dns})")
    print(f"         Cluster Addr: {config.advertise_addr} (LAN: {ports.serf_lan}, WAN: {ports.serf_wan})")
    print(f"    Gossip Encryption: {str(config.gossip.encrypted).lower()}")
    print("\n==> Log data will now stream in as it occurs:\n", flush=True)
    early = {} if config.auto_encrypt.tls else open_early(config.http_addrs, config.ports.http)
    # What is loaded from here on takes longer than all before.
    import asyncio

    from agent.agent import run_agent

    work = run_agent(config, warnings, flags.words, early)
    try:
        import uvloop
    except ImportError:
        return asyncio.run(work)
    return uvloop.run(work)


def agent_help() -> str:
    """The text of `lictor agent -h`."""
    from agent.cli.command import Command, Flag
    from agent.cli.help import of_command

    named = {"dev": ("", "bool", "Run one server that keeps nothing on disk, ready at once."), **_SOURCES, **FLAGS}
    kinds = {"bool": "bool", "int": "int"}
    flags = tuple(Flag(name, row[2], kinds.get(row[1], "text"), None) for name, row in named.items())
    return of_command("agent", Command("", "", "", flags, _ABOUT))


_ABOUT = """
Runs an agent, as a server or as a client, until it is stopped. Its settings come from files and folders in the order in
which they are named, and from the other flags, which win.

    $ lictor agent -dev
    $ lictor agent -server -bootstrap-expect=3 -data-dir=/var/lib/lictor -retry-join=10.0.0.1

Every key of the files is described with Consul's agent configuration; those that have no effect yet are named at start.
"""
_SOURCES = {
    "config-dir": ("", "text", "Folder of configuration files, read in lexical order; may be given several times."),
    "config-file": ("", "text", "Configuration file (.json or .hcl); may be given several times."),
    "config-format": ("", "text", "Format of all configuration files: json or hcl."),
}
