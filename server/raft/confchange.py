"""Membership changes: from one configuration to the next, never skipping the overlap of majorities.

*simple* changes at most one voter, so any two majorities overlap. *enter_joint* makes any change in two steps: from
then on the old and the new majority are both needed, until *leave_joint*. Learners receive the log and never count.

Source: Ongaro's dissertation, chapter 4; the vectors of etcd-io/raft (confchange) pin the behaviour.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from server.raft.errors import ConfigurationError
from server.raft.messages import Configuration
from server.raft.progress import Progress


class Change(msgspec.Struct, frozen=True):
    """One wish: `op` is "voter", "learner", "remove" or "update" (of the address only)."""

    op: str
    server_id: str
    address: str = ""


class _Draft:
    """A configuration while it is being changed."""

    def __init__(self, configuration: Configuration) -> None:
        self.voters = set(configuration.voters)
        self.outgoing = set(configuration.outgoing)
        self.learners = set(configuration.learners)
        self.learners_next = set(configuration.learners_next)
        self.addresses = dict(configuration.addresses)

    def known(self, server_id: str) -> bool:
        return server_id in self.voters or server_id in self.outgoing or server_id in self.learners

    def apply(self, change: Change) -> None:
        server_id = change.server_id
        if not server_id:
            return
        if change.op == "voter":
            self.learners.discard(server_id)
            self.learners_next.discard(server_id)
            self.voters.add(server_id)
        elif change.op == "learner":
            if server_id in self.learners or server_id in self.learners_next:
                pass
            elif server_id in self.outgoing:
                # It still votes in the outgoing half, so it can become a learner only when that half is left.
                self.voters.discard(server_id)
                self.learners_next.add(server_id)
            else:
                self.voters.discard(server_id)
                self.learners.add(server_id)
        elif change.op == "remove":
            for group in (self.voters, self.learners, self.learners_next):
                group.discard(server_id)
        elif change.op != "update":
            raise ConfigurationError(f"unknown kind of membership change {change.op!r}")
        if change.address and self.known(server_id):
            self.addresses[server_id] = change.address

    def freeze(self, auto_leave: bool = False) -> Configuration:
        return Configuration(
            voters=frozenset(self.voters),
            outgoing=frozenset(self.outgoing),
            learners=frozenset(self.learners),
            learners_next=frozenset(self.learners_next),
            auto_leave=auto_leave,
            addresses={name: address for name, address in sorted(self.addresses.items()) if self.known(name)},
        )


def simple(configuration: Configuration, changes: Iterable[Change]) -> Configuration:
    """The configuration after changes that touch at most one voter.

    Raises:
        ConfigurationError: the configuration is joint, more than one voter changes, or no voter would be left.
    """
    if configuration.joint:
        raise ConfigurationError("can't apply simple config change in joint config")
    draft = _Draft(configuration)
    for change in changes:
        draft.apply(change)
    if not draft.voters:
        raise ConfigurationError("removed all voters")
    if len(draft.voters ^ configuration.voters) > 1:
        raise ConfigurationError("more than one voter changed without entering joint config")
    return draft.freeze()


def enter_joint(configuration: Configuration, changes: Iterable[Change], auto_leave: bool) -> Configuration:
    """The joint configuration that begins any change; with `auto_leave` the leader ends it as soon as it is committed.

    Raises:
        ConfigurationError: it is joint already, or no voter is there before or after the change.
    """
    if configuration.joint:
        raise ConfigurationError("config is already joint")
    if not configuration.voters:
        raise ConfigurationError("can't make a zero-voter config joint")
    draft = _Draft(configuration)
    draft.outgoing = set(configuration.voters)
    for change in changes:
        draft.apply(change)
    if not draft.voters:
        raise ConfigurationError("removed all voters")
    return draft.freeze(auto_leave)


def leave_joint(configuration: Configuration) -> Configuration:
    """The configuration in which only the new majority counts. Raises ConfigurationError when it is not joint."""
    if not configuration.joint:
        raise ConfigurationError("can't leave a non-joint config")
    draft = _Draft(configuration)
    draft.outgoing = set()
    draft.learners |= draft.learners_next
    draft.learners_next = set()
    return draft.freeze()


def plan(configuration: Configuration, changes: Iterable[Change]) -> Configuration:
    """The next configuration for `changes`: simple where that is safe, otherwise joint. Raises ConfigurationError."""
    wanted = list(changes)
    try:
        return simple(configuration, wanted)
    except ConfigurationError:
        if configuration.joint:
            raise
        return enter_joint(configuration, wanted, auto_leave=True)


def follow(progress: Mapping[str, Progress], configuration: Configuration, last_index: int) -> dict[str, Progress]:
    """A leader's progress table for `configuration`: kept for members that stay, fresh for new ones."""
    table: dict[str, Progress] = {}
    for server_id in sorted(configuration.members()):
        peer = progress.get(server_id)
        if peer is None:
            peer = Progress(next_index=max(last_index, 1))
            # A newcomer gets the time of one quorum check to answer, rather than counting as dead at once.
            peer.active = True
        peer.is_learner = server_id in configuration.learners
        table[server_id] = peer
    return table
