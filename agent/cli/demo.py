"""`demo`."""

import asyncio

from agent.cli.flags import Flags, fail, too_many


def demo(flags: Flags) -> int:
    """Show a whole cluster on this machine."""
    from agent.demo import run_demo

    problem = too_many(flags)
    if problem:
        return fail(problem)
    return asyncio.run(run_demo(flags["once"], flags["http-port"]))
