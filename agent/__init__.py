"""What runs on every host, and the only place where everything is put together.

    cli/        the command line, thin over the HTTP API
    config/     files, flags and environment -> one immutable Config
    http/       the HTTP API
    dns/        the DNS interface
    checks/     health checks
    local       the agent's own services and checks, and their way into the catalog
    client      an agent that is no server
    agent       the composition

Nobody imports it.
"""
