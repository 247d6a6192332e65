"""`exec`: runs a command on many nodes. The job goes through the KV store, the call to it through an event.

See `agent.remote_exec` for what the agents do.
"""

import base64
import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from agent.cli.child import Stopped, told_to_stop
from agent.cli.client import Api, ApiError, Problem, refusal
from agent.cli.flags import Flags, fail
from model.durations import SECOND, format_duration
from model.goregexp import RegexpError, compile_regexp

TTL = 15
SOMETHING_FAILED = 2


class Results:
    """What the nodes have answered so far."""

    def __init__(self, prefix: str, verbose: bool) -> None:
        self._prefix = prefix
        self._verbose = verbose
        self._seen: set[str] = set()
        self.acknowledged: set[str] = set()
        self.codes: dict[str, int] = {}

    def take(self, rows: list[dict[str, Any]]) -> bool:
        """Show what is new among the keys of the job; says whether anything was."""
        fresh = [row for row in rows if row["Key"] not in self._seen and row["Key"].startswith(self._prefix)]
        for row in sorted(fresh, key=_order):
            self._seen.add(row["Key"])
            node, slash, kind = row["Key"][len(self._prefix) :].partition("/")
            if slash:
                self._show(node, kind, base64.b64decode(row["Value"] or ""))
        return bool(fresh)

    def _show(self, node: str, kind: str, value: bytes) -> None:
        if kind == "ack":
            self.acknowledged.add(node)
            if self._verbose:
                print(f"==> {node}: acknowledged", flush=True)
        elif kind == "exit":
            text = value.decode("ascii", "replace")
            self.codes[node] = int(text) if text.lstrip("-").isdigit() else 1
            print(f"==> {node}: finished with exit code {self.codes[node]}", flush=True)
        elif kind.startswith("out/") and value:
            for line in value.decode("utf-8", "replace").split("\n"):
                print(f"    {node}: {line}".rstrip(), flush=True)


def _order(row: dict[str, Any]) -> tuple[bool, str]:
    return row["Key"].endswith("/exit"), row["Key"]


def execute(flags: Flags) -> int:
    """Run the command that the arguments are; 2 when it failed on a node."""
    job = _job(flags)
    if isinstance(job, str):
        return fail(job)
    problem = wrong_filters(flags)
    if problem:
        return fail(problem)
    api = Api(flags)
    started = time.monotonic()
    try:
        with told_to_stop(), _session(api, flags) as session:
            code = _carry_out(api, flags, session, job)
    except Stopped:
        return fail("Interrupted; what the nodes have begun goes on")
    if flags["verbose"]:
        print(f"    Completed in {time.monotonic() - started:.2f} seconds")
    return code


def wrong_filters(flags: Flags) -> str:
    """What is wrong with -node, -service and -tag; "" when nothing is."""
    for name in ("node", "service", "tag"):
        try:
            compile_regexp(flags[name])
        except RegexpError as error:
            return f"Failed to compile the {name} filter regexp: {error}"
    if flags["tag"] and not flags["service"]:
        return "Cannot provide a tag filter without a service filter"
    return ""


def _job(flags: Flags) -> dict[str, Any] | str:
    """The job for the nodes, or what is wrong with the arguments."""
    if not flags.arguments:
        return "Must specify a command to execute"
    job: dict[str, Any] = {"Command": "", "Args": None, "Script": None, "Wait": flags["wait"]}
    if flags.arguments == ["-"]:
        script = sys.stdin.buffer.read()
        if not script.strip():
            return "The script on standard input is empty"
        return {**job, "Script": base64.b64encode(script).decode()}
    if flags["shell"]:
        return {**job, "Command": " ".join(flags.arguments)}
    return {**job, "Args": flags.arguments}


@contextmanager
def _session(api: Api, flags: Flags) -> Iterator[str]:
    """A session that is kept alive for the block, and what belongs to it; both go afterwards."""
    body: dict[str, Any] = {"Name": "Remote Exec", "TTL": f"{TTL}s", "Behavior": "delete"}
    if flags["datacenter"]:
        servers = api.get("/v1/health/service/consul", passing=True)
        if not servers:
            raise Problem(f"datacenter {flags['datacenter']} has no healthy server to hold the session")
        body |= {"Node": servers[0]["Node"]["Node"]}
    session = str(api.put("/v1/session/create", body)["ID"])
    over = threading.Event()

    def keep_alive() -> None:
        while not over.wait(TTL / 2):
            try:
                api.put(f"/v1/session/renew/{session}")
            except ApiError:
                return

    threading.Thread(target=keep_alive, daemon=True).start()
    if flags["verbose"]:
        print(f"Created remote execution session: {session}", flush=True)
    try:
        yield session
    finally:
        over.set()
        try:
            api.put(f"/v1/session/destroy/{session}")
            api.call("DELETE", f"/v1/kv/{flags['prefix']}/{session}/", {"recurse": True})
        except ApiError as error:
            print(f"Failed to tidy up: {error}", file=sys.stderr)


def _carry_out(api: Api, flags: Flags, session: str, job: dict[str, Any]) -> int:
    place = f"{flags['prefix']}/{session}/"
    api.put(f"/v1/kv/{place}job", json.dumps(job).encode())
    if flags["verbose"]:
        print("Uploaded remote execution spec", flush=True)
    time.sleep(flags["wait-repl"] / SECOND)
    filters = {name: flags[name] for name in ("node", "service", "tag")}
    payload = json.dumps({"Prefix": flags["prefix"], "Session": session}).encode()
    event = api.call("PUT", "/v1/event/fire/_rexec", filters, payload)["ID"]
    if flags["verbose"]:
        print(f"Fired remote execution event: {event}", flush=True)
    results = Results(place, flags["verbose"])
    _gather(api, place, results, flags["wait"])
    print(f"{len(results.codes)} / {len(results.acknowledged)} node(s) completed / acknowledged")
    failed = any(results.codes.values()) or results.acknowledged - set(results.codes)
    return SOMETHING_FAILED if failed else 0


def _gather(api: Api, place: str, results: Results, quiet: int) -> None:
    """Take in answers until none has come for `quiet` nanoseconds."""
    index = 0
    deadline = time.monotonic_ns() + quiet
    while (left := deadline - time.monotonic_ns()) > 0:
        params = {"recurse": True, "index": str(index) if index else None, "wait": format_duration(left)}
        status, body, headers = api.request("GET", f"/v1/kv/{place}", params)
        if status not in (200, 404):
            raise refusal(status, body)
        text = headers.get("X-Consul-Index", "")
        answered = int(text) if text.isdigit() else 0
        index = answered if answered >= index else 0
        if results.take(json.loads(body) if status == 200 else []):
            deadline = time.monotonic_ns() + quiet
