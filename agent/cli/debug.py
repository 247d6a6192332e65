"""`debug`: watches an agent for a while and puts what it saw into one archive, for those who are to help."""

import json
import os
import shutil
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.cli.child import Stopped, told_to_stop
from agent.cli.client import Api, ApiError
from agent.cli.flags import Flags, fail, too_many
from model.durations import SECOND, format_duration
from model.goerrors import go_text

MIN_DURATION = 10 * SECOND
MIN_INTERVAL = 5 * SECOND
STATIC = {
    "agent": "/v1/agent/self",
    "host": "/v1/agent/host",
    "members": "/v1/agent/members",
}
"""What is asked once, and where."""
TARGETS = (*STATIC, "logs", "metrics")
ALIASES = {"cluster": "members"}
"""Other names of targets."""
PROFILES = "pprof"
"""What Consul can capture and lictor cannot: profiles of Go programs."""


def debug(flags: Flags) -> int:
    """Gather and save; what cannot be had is left out with a word about it."""
    problem = _problem(flags)
    if problem:
        return fail(problem)
    asked = _asked(flags)
    targets = sorted(target for target in TARGETS if target in asked)
    output = Path(flags["output"] or f"lictor-debug-{time.strftime('%Y-%m-%dT%H-%M-%SZ', time.gmtime())}")
    result = output.with_name(f"{output.name}.tar.gz") if flags["archive"] else output
    if not flags["archive"] and result.exists():
        return fail(f"Output directory already exists: {result}")
    api = Api(flags)
    version = api.get("/v1/agent/self")["Config"]["Version"]
    print("==> Starting debugger and capturing static information...")
    rows = [
        ("Agent Version", version),
        ("Interval", format_duration(flags["interval"])),
        ("Duration", format_duration(flags["duration"])),
        ("Output", result),
        ("Capture", ", ".join(targets)),
    ]
    print("\n".join(f"{name:>18}: '{value}'" for name, value in rows), flush=True)
    if PROFILES in asked:
        print("Profiles of Go programs (pprof) cannot be captured: lictor is none", flush=True)
    try:
        with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}-") as folder:
            bundle = Path(folder) / output.name
            bundle.mkdir()
            index = {"AgentVersion": version, "Interval": rows[1][1], "Duration": rows[2][1], "Targets": targets}
            _write_json(bundle / "index.json", index)
            _gather(api, flags, targets, bundle)
            _save(bundle, result, flags["archive"])
    except OSError as error:
        return fail(f"Error writing {result}: {go_text(error)}")
    print(f"Saved debug {'archive' if flags['archive'] else 'directory'}: {result}")
    return 0


def _asked(flags: Flags) -> list[str]:
    return [ALIASES.get(target, target) for target in flags["capture"]] or list(TARGETS)


def _problem(flags: Flags) -> str:
    """What is wrong with the command line; "" when nothing is."""
    if flags.arguments:
        return too_many(flags)
    if flags["duration"] < MIN_DURATION:
        return f"duration must be at least {format_duration(MIN_DURATION)}"
    if flags["interval"] < MIN_INTERVAL:
        return f"interval must be at least {format_duration(MIN_INTERVAL)}"
    if flags["interval"] > flags["duration"]:
        shown = format_duration(flags["interval"]), format_duration(flags["duration"])
        return f"the interval ({shown[0]}) must not be longer than the duration ({shown[1]})"
    unknown = sorted(set(_asked(flags)) - {*TARGETS, PROFILES})
    if unknown:
        return f"invalid target for -capture: {', '.join(unknown)}; known are {', '.join((*TARGETS, PROFILES))}"
    return ""


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent="\t", ensure_ascii=False) + "\n")


def _gather(api: Api, flags: Flags, targets: list[str], bundle: Path) -> None:
    """Ask once for what stays, then again and again for what changes; ends early when told to stop."""
    for target in targets:
        if target in STATIC:
            _try(target, lambda target=target: _write_json(bundle / f"{target}.json", api.get(STATIC[target])))  # type: ignore[misc]
    changing = [target for target in targets if target not in STATIC]
    deadline = time.monotonic() + flags["duration"] / SECOND
    over = threading.Event()
    if "logs" in changing:
        threading.Thread(target=_follow_log, args=(api, bundle / "consul.log", over), daemon=True).start()
    try:
        with told_to_stop():
            while (left := deadline - time.monotonic()) > 0:
                if "metrics" in changing:
                    _try("metrics", lambda: _append_metrics(api, bundle / "metrics.json"))
                time.sleep(min(left, flags["interval"] / SECOND))
    except Stopped:
        print("Told to stop: saving what there is", flush=True)
    finally:
        over.set()


def _try(target: str, work: Callable[[], None]) -> None:
    try:
        work()
    except ApiError as error:
        print(f"Could not capture {target}: {error}", flush=True)


def _append_metrics(api: Api, path: Path) -> None:
    """One JSON document a line."""
    line = json.dumps(api.get("/v1/agent/metrics"), ensure_ascii=False)
    with path.open("a") as file:
        file.write(line + "\n")


def _follow_log(api: Api, path: Path, over: threading.Event) -> None:
    """Copy the agent's log into a file until it is over (run in a thread of its own)."""
    try:
        with path.open("wb", buffering=0) as file:
            with api.open("GET", "/v1/agent/monitor", {"loglevel": "DEBUG"}) as response:
                while not over.is_set() and response.status == 200 and (line := response.readline()):
                    file.write(line)
            if response.status != 200:
                file.write(f"the agent answered {response.status}\n".encode())
    except (ApiError, OSError) as error:
        if not over.is_set():
            print(f"Could not capture logs any more: {error}", flush=True)


def _save(bundle: Path, result: Path, archive: bool) -> None:
    """Put the bundle where it belongs, whole or not at all. Raises OSError."""
    if not archive:
        shutil.copytree(bundle, result)
        return
    draft = bundle.with_name("draft.tar.gz")
    with tarfile.open(draft, "w:gz") as file:
        file.add(bundle, arcname=bundle.name)
    os.replace(draft, result)
