"""`monitor`: the agent's log as it goes on."""

import sys

from agent.cli.child import Stopped, told_to_stop
from agent.cli.client import Api, ApiError, refusal
from agent.cli.flags import Flags, fail, too_many


def monitor(flags: Flags) -> int:
    """Show the log until told to stop; 1 when the agent ends it."""
    problem = too_many(flags)
    if problem:
        return fail(problem)
    params = {"loglevel": flags["log-level"], "logjson": flags["log-json"]}
    began = False
    try:
        with told_to_stop(), Api(flags).open("GET", "/v1/agent/monitor", params) as response:
            if response.status != 200:
                raise refusal(response.status, response.read())
            began = True
            while line := response.readline():
                sys.stdout.buffer.write(line)
                sys.stdout.buffer.flush()
    except Stopped:
        return 0
    except ApiError:
        if not began:
            raise
    return fail("Remote side ended the monitor! It has stopped, or the connection broke off.")
