"""`monitor`: the agent's log as it goes on."""

import sys

from agent.cli.child import Stopped, told_to_stop
from agent.cli.client import Api, ApiError
from agent.cli.flags import Flags, fail


def monitor(flags: Flags) -> int:
    """Show the log until told to stop; 1 when the agent ends it."""
    if flags.arguments:
        return fail(f"Too many arguments (expected 0, got {len(flags.arguments)})")
    params = {"loglevel": flags["log-level"], "logjson": flags["log-json"]}
    began = False
    try:
        with told_to_stop(), Api(flags).open("GET", "/v1/agent/monitor", params) as response:
            if response.status != 200:
                text = response.read().decode("utf-8", "replace").strip()
                return fail(f"Error starting monitor: Unexpected response code: {response.status} ({text})")
            began = True
            while line := response.readline():
                sys.stdout.buffer.write(line)
                sys.stdout.buffer.flush()
    except Stopped:
        return 0
    except ApiError as error:
        if not began:
            return fail(f"Error starting monitor: {error}")
    return fail("Remote side ended the monitor! It has stopped, or the connection broke off.")
