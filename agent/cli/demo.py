"""`demo`."""

import asyncio

from agent.cli.flags import Flags


def demo(flags: Flags) -> int:
    """Show a whole cluster on this machine."""
    from agent.demo import run_demo

    return asyncio.run(run_demo(flags["once"], flags["http-port"]))
