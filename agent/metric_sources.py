"""The gauges of an agent: what it is asked for whenever an interval of its metrics ends."""

import asyncio
import gc
import logging
import math
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from agent.logs import internal_errors
from agent.version import CONSUL_VERSION
from gossip.core import EventKind, MemberEvent, Status, UserEvent
from gossip.driver import Event
from model.metrics import METRICS, Metrics
from server.server import Server

if TYPE_CHECKING:
    from agent.agent import Agent

log = logging.getLogger("lictor.agent")

_PAGE = os.sysconf("SC_PAGE_SIZE")


def process_gauges(metrics: Metrics) -> None:
    """What the process uses, under the names that Go's runtime gives it where there is something alike."""
    try:
        virtual, resident, *_ = Path("/proc/self/statm").read_text("ascii").split()
        metrics.gauge("runtime.alloc_bytes", float(resident) * _PAGE)
        metrics.gauge("runtime.sys_bytes", float(virtual) * _PAGE)
    except (OSError, ValueError):  # No /proc, or one of another process namespace.
        log.debug("the memory in use is not known: /proc/self/statm cannot be read")
    metrics.gauge("runtime.num_goroutines", float(len(asyncio.all_tasks())))
    metrics.gauge("runtime.total_gc_runs", float(sum(one["collections"] for one in gc.get_stats())))


def agent_gauges(agent: "Agent", metrics: Metrics) -> None:
    """What an agent holds and knows."""
    version, _, pre = CONSUL_VERSION.partition("-")
    metrics.gauge("version", 1.0, version=version, pre_release=pre)
    metrics.gauge("agent.services", float(len(agent.local.services)))
    metrics.gauge("agent.checks", float(len(agent.local.checks)))
    metrics.gauge("agent.internal_errors", float(internal_errors.count))
    metrics.gauge("cache.entries_count", float(len(agent.cache)))
    metrics.gauge("memberlist.health.score", float(agent.delegate.gossip.core.health_score), network="lan")
    if isinstance(agent.delegate, Server):
        _server_gauges(agent.delegate, metrics)


def _server_gauges(server: Server, metrics: Metrics) -> None:
    raft = server.raft
    leads = raft.is_leader
    store = server.fsm.store
    metrics.gauge("server.isLeader", float(leads))
    metrics.gauge("raft.peers", float(len(raft.servers)))
    metrics.gauge("raft.applied_index", float(raft.applied_index))
    metrics.gauge("raft.last_index", float(raft.core.log.last_index))
    metrics.gauge("rpc.queries_blocking", float(store.watches.waiting))
    health = server.autopilot.health(server.config.node_id) if leads else None
    metrics.gauge("autopilot.healthy", float(health.healthy) if health is not None else math.nan)
    metrics.gauge("autopilot.failure_tolerance", float(health.failure_tolerance) if health is not None else math.nan)
    if leads:
        _leader_gauges(server, metrics)


def _leader_gauges(server: Server, metrics: Metrics) -> None:
    """What only the leader says, so that a cluster says it once."""
    datacenter = server.datacenter
    store = server.fsm.store
    alive = [member for member in server.members() if member.status is Status.ALIVE]
    servers = sum(member.tags.get("role") == "consul" for member in alive)
    metrics.gauge("members.servers", float(servers), datacenter=datacenter)
    metrics.gauge("members.clients", float(len(alive) - servers), datacenter=datacenter)
    catalog = store.catalog
    for name, count in (
        ("nodes", len(catalog.nodes)),
        ("services", len(catalog.service_names()[0])),
        ("service_instances", len(catalog.instances)),
        ("kv_entries", len(store.kv.entries)),
    ):
        metrics.gauge(f"state.{name}", float(count), datacenter=datacenter)
    metrics.gauge("session_ttl.active", float(len(server.session_timers)))
    root = store.connect_ca.active_root()
    if root is not None:
        left = float(round(root.not_after.unix - time.time()))
        metrics.gauge("mesh.active-root-ca.expiry", left)
        metrics.gauge("mesh.active-signing-ca.expiry", left)


_MEMBERS = {
    kind: METRICS.counter(f"serf.member.{name}", network="lan")
    for kind, name in (
        (EventKind.JOIN, "join"),
        (EventKind.LEAVE, "left"),
        (EventKind.FAILED, "failed"),
        (EventKind.UPDATE, "update"),
    )
}
_EVENTS = METRICS.counter("serf.events", network="lan")


def count_gossip(event: Event) -> None:
    """Count what the pool tells."""
    if isinstance(event, MemberEvent):
        counter = _MEMBERS.get(event.kind)
        if counter is not None:
            counter.add()
    elif isinstance(event, UserEvent):
        _EVENTS.add()
        METRICS.counter(f"serf.events.{event.name}", network="lan").add()


def count_joined(members: int) -> None:
    """Count the members that were there before anybody listened, oneself among them."""
    if members:
        _MEMBERS[EventKind.JOIN].add(members)
