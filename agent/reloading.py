"""Takes over what changed in the configuration while the agent runs: by SIGHUP, by the API, or when a file changes."""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from agent.config.load import load_config
from agent.config.settings import Config, ConfigError
from agent.definitions import DefinitionError
from agent.logs import LEVELS, set_level
from agent.tls import check_tls_for_checks, https_context, rpc_rules
from model.gojson import JsonError

if TYPE_CHECKING:
    from agent.agent import Agent

log = logging.getLogger("lictor.agent")

LOOK = 1.0
"""Seconds between two looks at the files; a change counts once they have been still for so long."""
RELOADED = (
    *("acl", "cache_limit", "check_output_max_size", "check_update_interval", "checks", "config_entries"),
    *("discard_check_output", "discovery_max_stale", "dns", "limits", "log_level", "node_meta", "raft", "recursors"),
    *("rpc_limit", "services", "telemetry", "tls", "watches"),
)
"""The settings that a running agent takes over, by their names in `Config`; all others wait for the next start."""

Signature = frozenset[tuple[str, int, int, int]]


async def reload(agent: "Agent") -> str:
    """Read files and flags again and take over what can be. Returns a problem, or ""; then nothing was taken over."""
    try:
        fresh, warnings = load_config(agent.argv)
    except ConfigError as error:
        return str(error)
    if fresh.log_level not in LEVELS:
        return f"log_level: unknown level {fresh.log_level}"
    before = agent.config
    config = taken_over(before, fresh)
    try:
        rules = rpc_rules(config, agent.encryption.given)
        https = https_context(config, agent.encryption.given)
        check_tls_for_checks(config)
    except ConfigError as error:
        return str(error)
    log.info("Reloading configuration...")
    for warning in warnings:
        log.warning("%s", warning)
    try:
        agent.registrations.reload(config)
    except (DefinitionError, JsonError) as error:
        return str(error)
    agent.config = config
    if agent.dns is not None:
        agent.dns.reload(config)
    set_level(config.log_level)
    agent.take_over(before, rules, https)
    return ""


def taken_over(running: Config, fresh: Config) -> Config:
    """The running configuration with what can change while it runs: of telemetry the filter, of ACLs the tokens."""
    changed = {name: getattr(fresh, name) for name in RELOADED}
    new = fresh.telemetry
    changed["telemetry"] = msgspec.structs.replace(
        running.telemetry, filter_default=new.filter_default, allowed=new.allowed, blocked=new.blocked
    )
    changed["acl"] = msgspec.structs.replace(running.acl, tokens=fresh.acl.tokens)
    return msgspec.structs.replace(running, **changed)


def signature(paths: Iterable[str]) -> Signature:
    """What tells that a file was changed: for each file of these paths and folders its name, inode, time and size."""
    found = set()
    for path in paths:
        for one in (Path(path), *_children(path)):
            try:
                state = os.stat(one)
            except OSError:
                continue
            found.add((str(one), state.st_ino, state.st_mtime_ns, state.st_size))
    return frozenset(found)


def _children(path: str) -> list[Path]:
    try:
        return [one for one in Path(path).iterdir() if one.suffix in (".json", ".hcl", ".pem", ".crt", ".key")]
    except OSError:
        return []


async def reload_on_changes(
    paths: Callable[[], list[str]], known: Signature, act: Callable[[], Awaitable[None]], interval: float = LOOK
) -> None:
    """Look at files for ever; `act` whenever they have changed and then been still for an interval (seconds).

    `known` is what they were when they were read.
    """
    acted = last = known
    while True:
        await asyncio.sleep(interval)
        now = await asyncio.to_thread(signature, paths())
        if now == last and now != acted:
            acted = now
            log.info("a configuration file changed")
            await act()
        last = now
