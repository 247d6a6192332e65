"""The table of commands that make certificates for agents: `tls …`."""

from agent.cli.command import Command, Flag

F = Flag

GROUPS = {
    "tls": (
        "Makes certificates for agents",
        """
Makes a certificate authority, and certificates for servers, client agents and the command line.

    $ lictor tls ca create
    $ lictor tls cert create -server
""",
    ),
    "tls ca": ("Makes certificate authorities", "Makes a certificate authority."),
    "tls cert": ("Makes certificates", "Makes certificates, signed by an authority made before."),
}

COMMANDS: dict[str, Command] = {
    "tls ca create": Command(
        "tls",
        "create_ca",
        "Makes a certificate authority for TLS between agents, in the working directory",
        (
            F("additional-name-constraint", "Another domain that it may sign for.", "list"),
            F("cluster-id", "ID of the cluster, for the CA's URI."),
            F("common-name", "Common name of the CA; Consul Agent CA and its serial number by default."),
            F("days", "For how many days it is valid.", "int", 1825),
            F("domain", "DNS domain of the cluster.", default="consul"),
            F("name-constraint", "Let it sign only for -domain, localhost and the additional ones.", "bool", False),
        ),
    ),
    "tls cert create": Command(
        "tls",
        "create_certificate",
        "Makes a certificate for a server, a client agent or the command line, in the working directory",
        (
            F("additional-dnsname", "Another DNS name for it, beside localhost.", "list"),
            F("additional-ipaddress", "Another IP address, beside 127.0.0.1.", "list"),
            F("ca", "File with the CA's certificate.", default="#DOMAIN#-agent-ca.pem", names="file"),
            F("cli", "Make one for the command line.", "bool", False),
            F("client", "Make one for a client agent.", "bool", False),
            F("days", "For how many days it is valid.", "int", 365),
            F("dc", "Datacenter of the agent.", default="dc1"),
            F("domain", "DNS domain of the cluster.", default="consul"),
            F("key", "File with the CA's key.", default="#DOMAIN#-agent-ca-key.pem", names="file"),
            F("node", "Name of the server's node, for a name of its own (<node>.server.<dc>.<domain>)."),
            F("server", "Make one for a server.", "bool", False),
        ),
    ),
}
