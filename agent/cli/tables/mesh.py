"""`config …`, `connect …`, `intention …`."""

from agent.cli.command import BOTH, TENANT, Command, Flag

_KINDS = (
    "|exported-services|ingress-gateway|mesh|proxy-defaults|service-defaults|service-intentions|service-resolver"
    "|service-router|service-splitter|terminating-gateway|"
)
_KIND = Flag("kind", "Kind of the entry, such as service-defaults.", names=_KINDS)
_NAME = Flag("name", "Name of the entry: a service, global for proxy-defaults, mesh for mesh.", names="entry")
_CAS = Flag("cas", "Act only if the entry is still as it was at -modify-index.", "bool", False)
_INDEX = Flag("modify-index", "ModifyIndex that the entry had when it was read; for -cas.", "count", 0)

GROUPS = {
    "config": (
        "Reads and writes configuration entries",
        """
Reads and writes the entries that configure services and the mesh for the whole cluster.

    $ lictor config write web.hcl
    $ lictor config read -kind=service-defaults -name=web
""",
    ),
    "connect": (
        "Works with the service mesh",
        """
Runs proxies and looks after what the service mesh stands on.

    $ lictor connect proxy -sidecar-for=web
    $ lictor connect ca get-config
""",
    ),
    "connect ca": (
        "Works with the certificate authority of the mesh",
        """
Shows and changes how the certificates of services are made.

    $ lictor connect ca get-config
    $ lictor connect ca set-config -config-file=ca.json
""",
    ),
    "intention": (
        "Says which services may call which",
        """
Creates, shows and checks intentions. A source or destination is the name of a service, or * for all of them (in quotes,
because of the shell).

    $ lictor intention create -deny '*' db
    $ lictor intention create web db
    $ lictor intention check web db
""",
    ),
}

COMMANDS: dict[str, Command] = {
    "config delete": Command(
        "config",
        "delete",
        "Removes a configuration entry",
        (
            _CAS,
            Flag("filename", "File with the entry, instead of -kind and -name.", names="file"),
            _INDEX,
            _KIND,
            _NAME,
        ),
        """
Removes an entry. One that does not exist counts as removed.

    $ lictor config delete -kind=service-defaults -name=web
    $ lictor config delete -filename=web.hcl
    $ lictor config delete -kind=service-defaults -name=web -cas -modify-index=26
""",
        "",
        TENANT,
        "Error deleting config entry",
    ),
    "config list": Command(
        "config",
        "list_entries",
        "Lists the configuration entries of a kind",
        (_KIND,),
        """
Lists the names of all entries of a kind.

    $ lictor config list -kind=service-defaults
""",
        "",
        TENANT,
        "Error listing config entries",
    ),
    "config read": Command(
        "config",
        "read",
        "Shows a configuration entry",
        (_KIND, _NAME),
        """
Shows an entry as JSON, with its indexes.

    $ lictor config read -kind=proxy-defaults -name=global
""",
        "",
        TENANT,
        "Error reading config entry",
    ),
    "config write": Command(
        "config",
        "write",
        "Writes a configuration entry",
        (_CAS, _INDEX),
        """
Writes the entry of a file (HCL or JSON), or of standard input when the file is -. It replaces the entry of the same
kind and name. With -cas and an index that does not fit any more nothing is written, and the exit code is 1.

    $ lictor config write web.hcl
    $ lictor config write -cas -modify-index=26 web.hcl
""",
        "FILE",
        TENANT,
        "Error writing config entry",
        ("file",),
    ),
    "connect ca get-config": Command(
        "connect",
        "get_ca_config",
        "Shows the CA's configuration",
        (),
        "Shows the configuration of the certificate authority as JSON.",
        "",
        BOTH,
        "Error querying CA configuration",
    ),
    "connect ca set-config": Command(
        "connect",
        "set_ca_config",
        "Changes the CA's configuration",
        (
            Flag("config-file", "JSON file with the configuration; it must be given.", names="file"),
            Flag(
                "force-without-cross-signing",
                "Go on when the old root cannot sign the new one: connections between"
                " services fail until all have new certificates.",
                "bool",
                False,
            ),
        ),
        """
Replaces the configuration of the certificate authority, which may give it a new root.

    $ lictor connect ca set-config -config-file=ca.json
""",
        "",
        BOTH,
        "Error setting CA configuration",
    ),
    "connect expose": Command(
        "expose",
        "expose",
        "Lets an ingress gateway serve a service",
        (
            Flag("host", "Host name that leads to the service.", "list"),
            Flag("ingress-gateway", "Name of the gateway; it must be given.", names="service"),
            Flag("port", "Port of the gateway to serve it on; it must be given.", "int", 0),
            Flag(
                "protocol",
                "Protocol of the port: tcp, http, http2 or grpc.",
                default="tcp",
                names="|tcp|http|http2|grpc|",
            ),
            Flag("service", "Name of the service; it must be given.", names="service"),
        ),
        """
Adds the service to the gateway's configuration entry, and an intention that allows the gateway to call it. Fails when
somebody else changes the entry at the same time, or when the port has another protocol already.

    $ lictor connect expose -service=web -ingress-gateway=edge -port=8888 -protocol=http -host=www.example.com
""",
        "",
        TENANT,
        "Error exposing the service",
    ),
    "connect proxy": Command(
        "connect",
        "proxy",
        "Runs a proxy of the mesh",
        (
            Flag("drain", "Seconds for connections to finish after SIGTERM.", "count", 10),
            Flag("listen", "Accepted as Consul's; lictor's proxy serves registered proxies only."),
            Flag("log-json", "Log as JSON.", "bool", False),
            Flag("log-level", "Least level to log.", default="INFO", names="|TRACE|DEBUG|INFO|WARN|ERROR|"),
            Flag(
                "proxy-id",
                "ID of a proxy that is registered with the agent. CONNECT_PROXY_ID sets it, too.",
                names="service-id",
            ),
            Flag("pprof-addr", "Accepted as Consul's, and without effect: lictor is no Go program."),
            Flag("register", "Accepted as Consul's; lictor's proxy serves registered proxies only.", "bool", False),
            Flag("register-id", "Accepted as Consul's; lictor's proxy serves registered proxies only."),
            Flag("service", "Accepted as Consul's; lictor's proxy serves registered proxies only.", names="service"),
            Flag("service-addr", "Accepted as Consul's; lictor's proxy serves registered proxies only."),
            Flag(
                "sidecar-for",
                "ID of the service whose sidecar this is. CONNECT_SIDECAR_FOR sets it, too.",
                names="service-id",
            ),
            Flag("upstream", "Accepted as Consul's; lictor's proxy serves registered proxies only.", "list"),
        ),
        """
Runs lictor's own proxy beside a service: it takes connections of the mesh for it with mutual TLS, heeds intentions, and
leads to the service's upstreams. The proxy must be registered with the agent; -sidecar-for finds it.

    $ lictor connect proxy -sidecar-for=web-1
""",
        "",
        BOTH,
        "Error running the proxy",
    ),
    "intention check": Command(
        "intention",
        "check",
        "Says whether a source may call a destination",
        (),
        """
Says whether connections from the source to the destination are allowed as things are. Exits with 0 when they are, 1
when not, 2 when the question failed.

    $ lictor intention check web db
""",
        "SRC DST",
        TENANT,
        "Error checking the connection",
        ("service",),
    ),
    "intention create": Command(
        "intention",
        "create",
        "Creates intentions",
        (
            Flag("allow", "Allow connections; so it is without -deny, too.", "bool", False),
            Flag("deny", "Deny connections.", "bool", False),
            Flag("file", "The arguments are JSON files with one intention each.", "bool", False),
            Flag("meta", "Metadata of the intention.", "map"),
            Flag("replace", "Replace an intention between the same services instead of failing.", "bool", False),
        ),
        """
Creates an intention between two services, or those of files.

    $ lictor intention create web db
    $ lictor intention create -deny -meta=ticket=77 '*' db
    $ lictor intention create -file one.json two.json
""",
        "SRC DST | -file FILE...",
        TENANT,
        "Error creating intention",
        ("service",),
    ),
    "intention delete": Command(
        "intention",
        "delete",
        "Removes an intention",
        (),
        """
Removes the intention between two services, or the one with an ID.

    $ lictor intention delete web db
""",
        "SRC DST | ID",
        TENANT,
        "Error deleting the intention",
        ("service",),
    ),
    "intention get": Command(
        "intention",
        "get",
        "Shows an intention",
        (),
        """
Shows the intention between two services, or the one with an ID.

    $ lictor intention get web db
""",
        "SRC DST | ID",
        TENANT,
        "Error reading the intention",
        ("service",),
    ),
    "intention list": Command(
        "intention",
        "list_all",
        "Lists all intentions",
        (),
        "Lists all intentions, those that take precedence first.",
        "",
        TENANT,
        "Error listing intentions",
    ),
    "intention match": Command(
        "intention",
        "match",
        "Lists the intentions that concern a service",
        (
            Flag("destination", "The argument is the destination; so it is without -source, too.", "bool", False),
            Flag("source", "The argument is the source.", "bool", False),
        ),
        """
Lists the intentions that decide about connections to a service (or with -source, from it), in the order in which they
are tried.

    $ lictor intention match db
""",
        "SRC|DST",
        TENANT,
        "Error matching the connection",
        ("service",),
    ),
}
