"""`watch`: shows a view of the cluster once, or runs a command with it whenever it changes.

`agent.watch_types` says what each type asks; the loop here makes blocking queries.
"""

import json
import sys
import time
from typing import Any

from agent.cli.child import Stopped, feed, told_to_stop
from agent.cli.client import Api, ApiError, refusal
from agent.cli.flags import Flags, fail
from agent.watch_types import TYPES, Question, WrongWatch, next_index, question
from model.goerrors import go_text

RETRY = 5.0
MAX_RETRY = 180.0
NO_INDEX = 1.0
"""Seconds between questions to an agent whose answers carry no index to wait by."""


# The loop


def _ask(api: Api, asked: Question, index: int) -> tuple[Any, int]:
    params = {**asked.params, "index": str(index) if index else None}
    status, body, headers = api.request("GET", asked.path, params)
    if status not in (200, 404):
        raise refusal(status, body)
    text = headers.get("X-Consul-Index", "")
    answer = json.loads(body) if status == 200 else None
    return asked.show(answer), int(text) if text.isdigit() else 0


def watch(flags: Flags) -> int:
    """Show what is watched, or run the command that the arguments are on every change."""
    names = {name for _, takes in TYPES.values() for name in takes}
    given = {name: flags[name] for name in names if flags[name]}
    try:
        asked = question(flags["type"], given)
    except WrongWatch as error:
        return fail(str(error))
    api = Api(flags)
    if not flags.arguments:
        try:
            shown, _ = _ask(api, asked, 0)
        except (ApiError, ValueError) as error:
            return fail(f"Error querying Consul agent: {error}")
        print(json.dumps(shown, indent=4, ensure_ascii=False))
        return 0
    try:
        with told_to_stop():
            return _follow(api, asked, flags)
    except Stopped:
        return 0


def _follow(api: Api, asked: Question, flags: Flags) -> int:
    """Run the command with every new answer, until it fails."""
    index, failures = 0, 0
    last: Any = _follow  # Nothing that an answer can be.
    while True:
        try:
            shown, answered = _ask(api, asked, index)
        except (ApiError, ValueError) as error:
            failures += 1
            pause = min(RETRY * failures**2, MAX_RETRY)
            print(f"Watch (type: {flags['type']}) errored: {error}, retry in {pause:g}s", file=sys.stderr, flush=True)
            time.sleep(pause)
            index = 0
            continue
        failures = 0
        index = next_index(index, answered, asked.resets)
        if not answered:
            time.sleep(NO_INDEX)
        if shown == last:
            continue
        last = shown
        data = json.dumps(shown, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
        try:
            code = feed(flags.arguments, flags["shell"], {"CONSUL_INDEX": str(answered)}, data)
        except OSError as error:
            return fail(f"Error executing handler: {go_text(error, 'fork/exec')}")
        if code:
            return fail(f"Error executing handler: exit status {code}")
