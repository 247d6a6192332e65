"""The membership table: what follows from claims that members are alive, suspected, dead or gone."""

from dataclasses import replace
from typing import Any

from gossip import wire
from gossip.interface import EventKind, Member, MemberEvent, Notice, Status, decode_tags, encode_tags
from gossip.members import Alive, Node, State, Suspicion, suspicion
from gossip.pool import Pool, address_text
from gossip.serf import Serf
from gossip.versions import Spoken, problem_among

MOST_HEALTH = 7
"""The worst health score that a member gives itself."""


class Table:
    """Judges claims about members, this one included."""

    def __init__(self, pool: Pool, serf: Serf) -> None:
        self._pool = pool
        self._serf = serf
        self._suspicions: dict[str, Suspicion] = {}
        self.probe_ring: list[str] = []
        """Names in the order in which they are probed, the last one next; newcomers enter anywhere."""
        me = pool.me
        pool.nodes[pool.name] = Node(me.name, me.address, me.port, me.meta, me.versions, 1, State.ALIVE, pool.now)

    def tick(self) -> None:
        """Declare dead whom nobody vouched for in time."""
        pool = self._pool
        for name, running in list(self._suspicions.items()):
            node = pool.nodes.get(name)
            if node is None:
                del self._suspicions[name]  # Forgotten meanwhile.
            elif pool.now >= running.deadline():
                self.dead({"Node": name, "From": pool.name, "Incarnation": node.incarnation})

    def reason_against(self, claim: Alive) -> str:
        """Why a member is kept out of the pool; "" when it may come in."""
        settings = self._pool.settings
        address = address_text(claim.address)
        if not settings.allowed(address):
            return f"Member '{claim.name}' has address {address}, which is not in the allowed CIDRs"
        # One that does not speak with us would make every later exchange of state fail.
        us = Spoken(self._pool.name, wire.VERSIONS, True)
        problem = problem_among([us, Spoken(claim.name, claim.versions, True)])
        if problem:
            return problem
        return settings.admit(Member(claim.name, address, claim.port, decode_tags(claim.meta), Status.ALIVE))

    def accusation(self, node: Node) -> bytes:
        """The message that this member suspects another."""
        body = {"From": self._pool.name, "Incarnation": node.incarnation, "Node": node.name}
        return wire.message(wire.SUSPECT, body)

    # Alive

    def alive(self, claim: Alive) -> None:
        """A member is said to be there."""
        pool = self._pool
        if claim.name == pool.name:
            self._alive_about_me(claim)
            return
        reason = self.reason_against(claim)
        if reason:
            pool.counters.refused += 1
            pool.outbox.append(Notice(f"ignoring alive message for '{claim.name}': {reason}", claim.name))
            return
        node = pool.nodes.get(claim.name)
        if node is None and len(pool.nodes) >= wire.MAX_NODES:
            pool.counters.refused += 1
            return
        if node is None:
            node = Node(claim.name, claim.address, claim.port, claim.meta, claim.versions, 0, State.DEAD, pool.now)
            pool.nodes[claim.name] = node
            self.probe_ring.insert(pool.random.randrange(len(self.probe_ring) + 1), claim.name)
        elif (node.address, node.port) != (claim.address, claim.port):
            long_dead = node.state is State.DEAD and pool.now - node.changed > pool.timing.reclaim
            if node.state is not State.LEFT and not long_dead:
                self._conflict(node, claim)
                return
        elif claim.incarnation <= node.incarnation:
            if node.gone:
                # It may be back and not know at which incarnation it was declared dead: told so, it outbids that.
                pool.send(pool.address(node), self.accusation(node))
            return
        self._believe(node, claim)

    def _believe(self, node: Node, claim: Alive) -> None:
        pool = self._pool
        was, old = node.state, pool.member(node)
        node.address, node.port, node.meta, node.versions = claim.address, claim.port, claim.meta, claim.versions
        node.incarnation = claim.incarnation
        self._suspicions.pop(claim.name, None)
        if was is not State.ALIVE:
            node.state, node.changed = State.ALIVE, pool.now
        pool.claims.add(claim.encode(), claim.name)
        if was in (State.DEAD, State.LEFT):
            self._serf.joined(node)
        elif pool.member(node).key != old.key:
            pool.outbox.append(MemberEvent(EventKind.UPDATE, pool.member(node)))

    def _conflict(self, node: Node, claim: Alive) -> None:
        mine, theirs = f"{address_text(node.address)}:{node.port}", f"{address_text(claim.address)}:{claim.port}"
        text = f"Conflicting address for {claim.name}. Mine: {mine} Theirs: {theirs}"
        self._pool.outbox.append(Notice(text, claim.name))

    def _alive_about_me(self, claim: Alive) -> None:
        pool = self._pool
        if pool.leaving:
            return
        me = pool.me
        same = (claim.meta, claim.versions) == (me.meta, me.versions)
        if (claim.address, claim.port) != (me.address, me.port):
            self._conflict(pool.nodes[pool.name], claim)
            return
        if claim.incarnation > pool.incarnation or (claim.incarnation == pool.incarnation and not same):
            self._refute(claim.incarnation)

    def _refute(self, accused: int) -> None:
        pool = self._pool
        pool.incarnation = max(pool.incarnation + 1, accused + 1)
        pool.health = min(MOST_HEALTH, pool.health + 1)
        self._announce()

    def _repeat_myself(self, accused: str) -> None:
        """Somebody accuses at an incarnation that is over: if it is this member, its refutation never got there."""
        if accused == self._pool.name and not self._pool.leaving:
            self._announce()

    def _announce(self) -> None:
        pool = self._pool
        me, node = pool.me, pool.nodes[pool.name]
        node.incarnation, node.meta = me.incarnation, me.meta
        pool.claims.add(me.encode(), pool.name)

    def set_tags(self, tags: dict[str, str]) -> None:
        """Change this member's tags and tell the others. Raises GossipError when they are too large."""
        pool = self._pool
        encode_tags(tags)
        pool.settings = replace(pool.settings, tags=dict(tags))
        pool.incarnation += 1
        self._announce()
        pool.outbox.append(MemberEvent(EventKind.UPDATE, pool.member(pool.nodes[pool.name])))

    # Suspected and dead

    def suspect(self, fields: dict[str, Any]) -> None:
        """A member is said not to answer. Raises GossipError for malformed fields."""
        pool = self._pool
        name, accuser = wire.text(fields, "Node"), wire.text(fields, "From")
        incarnation = wire.number(fields, "Incarnation", 1 << 32)
        node = pool.nodes.get(name)
        if node is None or incarnation < node.incarnation:
            self._repeat_myself(name)
            return
        message = wire.message(wire.SUSPECT, {"From": accuser, "Incarnation": incarnation, "Node": name})
        running = self._suspicions.get(name)
        if running is not None:
            if running.confirm(accuser):
                pool.claims.add(message, name)
            return
        if node.state is not State.ALIVE:
            return
        if name == pool.name:
            self._refute(incarnation)
            return
        pool.claims.add(message, name)
        node.incarnation, node.state, node.changed = incarnation, State.SUSPECT, pool.now
        timing = pool.timing
        self._suspicions[name] = suspicion(
            pool.now, accuser, len(pool.nodes), timing.suspicion, timing.suspicion_most, timing.probe_interval
        )

    def dead(self, fields: dict[str, Any]) -> None:
        """A member is said to be dead, or says itself that it leaves. Raises GossipError for malformed fields."""
        pool = self._pool
        name, accuser = wire.text(fields, "Node"), wire.text(fields, "From")
        incarnation = wire.number(fields, "Incarnation", 1 << 32)
        node = pool.nodes.get(name)
        if node is None or incarnation < node.incarnation:
            self._repeat_myself(name)
            return
        self._suspicions.pop(name, None)
        if node.gone:
            return
        if name == pool.name and not pool.leaving:
            self._refute(incarnation)
            return
        pool.claims.add(wire.message(wire.DEAD, {"From": accuser, "Incarnation": incarnation, "Node": name}), name)
        node.incarnation, node.changed = incarnation, pool.now
        node.state = State.LEFT if accuser == name else State.DEAD
        self._serf.gone(node)

    def drop_long_dead(self) -> None:
        """Forget nodes that are gone for long and that serf has no use for either."""
        pool = self._pool
        for name, node in list(pool.nodes.items()):
            if node.gone and pool.now - node.changed > pool.timing.gossip_to_dead and name not in pool.serf:
                del pool.nodes[name]
