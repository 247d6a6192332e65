"""Errors that the consensus layer raises to its callers."""

from __future__ import annotations


class RaftError(Exception):
    """Base of everything that a caller of the consensus layer may have to handle."""


class NotLeader(RaftError):
    """This server does not lead; nothing was proposed, so the caller may safely send the command elsewhere."""

    def __init__(self, leader_id: str = "", leader_address: str = "") -> None:
        super().__init__("node is not the leader")
        self.leader_id = leader_id
        self.leader_address = leader_address


class LeadershipLost(RaftError):
    """Leadership ended while the command was under way: it may or may not take effect later."""

    def __init__(self) -> None:
        super().__init__("leadership lost while committing log")


class LeadershipTransferInProgress(RaftError):
    """The leader is handing over; nothing was proposed."""

    def __init__(self) -> None:
        super().__init__("leadership transfer in progress")


class ProposalTimeout(RaftError):
    """The command was proposed but not committed in time: it may or may not take effect later."""

    def __init__(self, waiting_for: str = "the command to be committed") -> None:
        super().__init__(f"timed out waiting for {waiting_for}")


class ProposalRejected(RaftError):
    """The command was refused before it entered the log (too large, too much is uncommitted, ...)."""


class DiskFull(RaftError):
    """The log cannot be written for want of space: reads go on, writes fail until space returns."""

    def __init__(self, path: str = "", outcome_unknown: bool = False) -> None:
        where = f" ({path})" if path else ""
        tail = "; the command may or may not take effect later" if outcome_unknown else ""
        super().__init__(f"no space left on the disk of the raft log{where}{tail}")
        self.path = path
        self.outcome_unknown = outcome_unknown


class ConfigurationError(RaftError):
    """A membership change that cannot be made now or at all; the text says which rule it would break."""


class ChangeUnderWay(ConfigurationError):
    """Another membership change, or the leader's first entry, is not committed yet; later this change can be made."""


class CannotBootstrap(RaftError):
    """The server already has state, so writing a first configuration would fork the cluster."""


class Stopped(RaftError):
    """The node is stopped or stopping."""

    def __init__(self) -> None:
        super().__init__("raft is already shutdown")


class StorageFailed(RaftError):
    """The disk reported an error after which nothing that was written can be trusted; the node has stopped."""


class CorruptLog(RaftError):
    """The log or a snapshot on disk is damaged in a way that cannot be repaired without losing data."""


class WrongServer(RaftError):
    """A data directory that belongs to another server."""


class InvariantBroken(AssertionError):
    """The protocol reached a state that Raft rules out. Continuing could lose data, so the node stops."""
