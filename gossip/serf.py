"""Serf's view of members: intents tell those who leave from those who fail, and long gone ones are forgotten."""

import math
from typing import Any

from gossip import wire
from gossip.interface import EventKind, MemberEvent, Status
from gossip.members import Node, State
from gossip.pool import Pool, SerfMember
from model.durations import SECOND, DurationError, parse_duration

MAX_EARLY_INTENTS = 4096
KEEP_EARLY_INTENT = 300.0
MIN_QUEUE = 4096
BROADCAST_TIMEOUT = 5.0
RECONNECT_TAG = "rc_tm"
"""The tag by which a client says how long it may be gone before it is forgotten."""


class Serf:
    """Statuses of members, and the Lamport clock of the intents about them."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.clock = 1
        self._early_intents: dict[str, tuple[int, int, float]] = {}
        pool.serf[pool.name] = SerfMember(Status.ALIVE, 0, pool.now)

    def witness(self, ltime: int) -> None:
        """Somebody's clock is at this."""
        self.clock = wire.witnessed(self.clock, ltime)

    # What the table tells

    def joined(self, node: Node) -> None:
        """A node is there, for the first time or again."""
        pool = self._pool
        entry = pool.serf.get(node.name)
        if entry is None:
            entry = pool.serf[node.name] = SerfMember(Status.ALIVE, 0, pool.now)
        entry.status, entry.since, entry.prune_at = Status.ALIVE, pool.now, math.inf
        kind, ltime, _ = self._early_intents.pop(node.name, (0, 0, 0.0))
        if ltime > entry.ltime:
            entry.ltime = ltime
            if kind == wire.LEAVE_INTENT:
                entry.status = Status.LEAVING
        pool.outbox.append(MemberEvent(EventKind.JOIN, pool.member(node)))

    def gone(self, node: Node) -> None:
        """A node is gone: it left if it said so, by an intent before or as its last word; otherwise it failed."""
        pool = self._pool
        entry = pool.serf.get(node.name)
        if entry is None or entry.status not in (Status.ALIVE, Status.LEAVING):
            return
        left = entry.status is Status.LEAVING or node.state is State.LEFT
        entry.status, entry.since = Status.LEFT if left else Status.FAILED, pool.now
        pool.outbox.append(MemberEvent(EventKind.LEAVE if left else EventKind.FAILED, pool.member(node)))

    # Intents

    def intent(self, kind: int, name: str, ltime: int, prune: bool = False) -> bool:
        """Take in an intent; returns whether it is news that should be passed on."""
        pool = self._pool
        self.witness(ltime)
        entry = pool.serf.get(name)
        if entry is None:
            known = self._early_intents.get(name)
            if known is not None and known[1] >= ltime:
                return False
            if len(self._early_intents) < MAX_EARLY_INTENTS:
                self._early_intents[name] = (kind, ltime, pool.now)
            return True
        if ltime <= entry.ltime:
            return False
        if kind == wire.LEAVE_INTENT and name == pool.name and not pool.leaving:
            self.tell(wire.JOIN_INTENT, name)  # Somebody says that this member is leaving; it is not.
            return False
        entry.ltime = ltime
        if kind == wire.JOIN_INTENT:
            if entry.status is Status.LEAVING:
                entry.status = Status.ALIVE
            entry.prune_at = math.inf
        elif entry.status is Status.ALIVE:
            entry.status = Status.LEAVING
        elif entry.status is Status.FAILED:
            entry.status, entry.since = Status.LEFT, pool.now
            pool.outbox.append(MemberEvent(EventKind.LEAVE, pool.member(pool.nodes[name])))
        if prune and entry.status in (Status.LEFT, Status.FAILED):
            self._forget(name)
        elif prune:  # It may be there and object; and everybody has to hear that it leaves before it is unknown.
            entry.prune_at = pool.now + BROADCAST_TIMEOUT + pool.timing.propagate_delay
        return True

    def tell(self, kind: int, name: str, prune: bool = False) -> None:
        """Spread an intent of this member, about itself or another."""
        pool = self._pool
        ltime = self.clock
        self.clock += 1
        body: dict[str, Any] = {"LTime": ltime, "Node": name}
        if kind == wire.LEAVE_INTENT:
            body["Prune"] = prune
        pool.intents.add(wire.message(kind, body))
        entry = pool.serf.get(name)
        if entry is not None and kind == wire.JOIN_INTENT:
            entry.ltime = ltime
        elif kind == wire.LEAVE_INTENT:
            self.intent(kind, name, ltime, prune)

    # Forgetting

    def reap(self) -> None:
        """Forget members that are gone for too long, intents about nobody, and what nobody takes any more."""
        pool = self._pool
        limits = {Status.FAILED: pool.timing.reap_failed, Status.LEFT: pool.timing.reap_left}
        for name, entry in list(pool.serf.items()):
            limit = limits.get(entry.status)
            pruned = pool.now >= entry.prune_at and name != pool.name
            if pruned or (limit is not None and pool.now - entry.since > (self._own_limit(name) or limit)):
                self._forget(name)
        for name, (_, _, since) in list(self._early_intents.items()):
            if pool.now - since > KEEP_EARLY_INTENT:
                del self._early_intents[name]
        for queue in (pool.intents, pool.queries, pool.events):
            queue.prune(max(MIN_QUEUE, 2 * len(pool.serf)))

    def _own_limit(self, name: str) -> float:
        """Seconds after which a member itself wants to be forgotten; 0 when it does not say."""
        node = self._pool.nodes.get(name)
        text = self._pool.member(node).tags.get(RECONNECT_TAG, "") if node is not None else ""
        try:
            return max(0.0, parse_duration(text) / SECOND) if text else 0.0
        except DurationError:
            return 0.0

    def _forget(self, name: str) -> None:
        pool = self._pool
        node = pool.nodes.get(name)
        if node is not None:
            pool.outbox.append(MemberEvent(EventKind.REAP, pool.member(node)))
            del pool.nodes[name]
        pool.serf.pop(name, None)
        pool.forget(name)
