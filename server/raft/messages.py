"""What servers say to each other, and what goes into the log.

Each message is one frozen struct. On the wire they are msgpack arrays that begin with a small number for the type
(`tag`), so that decoding validates types in one step and an unknown type is an error. Terms and indexes are never
negative.
Every message names its sender and its receiver: a connection that delivers somebody else's message is noticed.

Source: Ongaro, "Consensus: Bridging Theory and Practice" (2014), chapters 3, 4, 6, 9 and 10; names follow it.
"""

from typing import Annotated, Final

import msgspec

Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
ServerId = Annotated[str, msgspec.Meta(max_length=256)]

# Kinds of log entries.
COMMAND: Final = 0  # bytes for the state machine
NOOP: Final = 1  # what a new leader commits first
CONFIGURATION: Final = 2  # an encoded `Configuration`; in force as soon as it is in the log
BARRIER: Final = 3  # nothing; proves that everything before it is applied
PIECE: Final = 4  # a part of a command that is too large for one entry; see `server.raft.pieces`


class Entry(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One entry of the replicated log."""

    index: Number
    term: Number
    kind: Annotated[int, msgspec.Meta(ge=0, le=255)]
    data: bytes


class HardState(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What a server must not forget: its term, whom it voted for in it ("" for nobody), and what is committed.

    Only `term` and `vote` are needed for safety; `commit` travels along so that a restart can apply at once.
    """

    term: Number = 0
    vote: ServerId = ""
    commit: Number = 0


class Configuration(msgspec.Struct, array_like=True, frozen=True):
    """Who takes part. While `outgoing` is not empty the change is joint: both majorities are needed.

    `learners_next` are voters of the outgoing half that become learners once the joint phase is left.
    `addresses` has one `ip:port` for every server named elsewhere.
    """

    voters: frozenset[ServerId] = frozenset()
    outgoing: frozenset[ServerId] = frozenset()
    learners: frozenset[ServerId] = frozenset()
    learners_next: frozenset[ServerId] = frozenset()
    auto_leave: bool = False
    addresses: dict[str, str] = {}

    @property
    def joint(self) -> bool:
        """Whether two majorities rule."""
        return bool(self.outgoing)

    def members(self) -> frozenset[str]:
        """All servers to which the log is replicated."""
        return self.voters | self.outgoing | self.learners

    def is_voter(self, server_id: str) -> bool:
        """Whether the server's vote counts in either half."""
        return server_id in self.voters or server_id in self.outgoing


class SnapshotMeta(msgspec.Struct, array_like=True, frozen=True):
    """What a snapshot covers: everything up to `index`, whose entry has `term`; and who the members were then."""

    index: Number = 0
    term: Number = 0
    configuration: Configuration = Configuration()
    configuration_index: Number = 0


class RequestVote(msgspec.Struct, array_like=True, frozen=True, tag=1):
    """Asks for a vote in `term`. With `pre`, only asks whether it would be given: nobody changes state.

    `transfer` marks an election that the leader itself ordered, which need not wait until the leader is silent.
    """

    to: ServerId
    sender: ServerId
    term: Number
    last_index: Number
    last_term: Number
    pre: bool = False
    transfer: bool = False


class VoteReply(msgspec.Struct, array_like=True, frozen=True, tag=2):
    """Answers `RequestVote`. A granted pre-vote carries the term that was asked for, all else the voter's own."""

    to: ServerId
    sender: ServerId
    term: Number
    granted: bool
    pre: bool = False


class AppendEntries(msgspec.Struct, array_like=True, frozen=True, tag=3):
    """Entries that follow the one at `previous_index`, and how far the log is committed."""

    to: ServerId
    sender: ServerId
    term: Number
    previous_index: Number
    previous_term: Number
    entries: list[Entry]
    commit: Number


class AppendReply(msgspec.Struct, array_like=True, frozen=True, tag=4):
    """The follower's log equals the leader's up to `index` and is durable; or, `rejected`, it does not fit at `index`.

    A rejection carries in `hint_index` and `hint_term` the last entry that may still be equal, so that the leader skips
    whole terms when it goes back.
    """

    to: ServerId
    sender: ServerId
    term: Number
    index: Number
    rejected: bool = False
    hint_index: Number = 0
    hint_term: Number = 0


class Heartbeat(msgspec.Struct, array_like=True, frozen=True, tag=5):
    """The leader lives. `round` numbers the leader's heartbeats: an echo proves leadership at the time of sending."""

    to: ServerId
    sender: ServerId
    term: Number
    commit: Number
    round: Number


class HeartbeatReply(msgspec.Struct, array_like=True, frozen=True, tag=6):
    """Echoes the round."""

    to: ServerId
    sender: ServerId
    term: Number
    round: Number


class InstallSnapshot(msgspec.Struct, array_like=True, frozen=True, tag=7):
    """The follower is behind the log's beginning. From the leader's core: 'send it your snapshot'.

    To the follower's core: 'that snapshot has arrived whole and is on disk'. The bytes travel as `SnapshotChunk`.
    """

    to: ServerId
    sender: ServerId
    term: Number
    snapshot: SnapshotMeta


class TimeoutNow(msgspec.Struct, array_like=True, frozen=True, tag=8):
    """The leader hands over: the receiver is to start an election at once."""

    to: ServerId
    sender: ServerId
    term: Number


class SnapshotChunk(msgspec.Struct, array_like=True, frozen=True, tag=9):
    """A piece of a snapshot's state at `offset`; an empty one asks how much has arrived. Handled outside the core."""

    to: ServerId
    sender: ServerId
    term: Number
    snapshot: SnapshotMeta
    size: Number
    sha256: Annotated[bytes, msgspec.Meta(max_length=32)]
    offset: Number
    data: bytes


class SnapshotAck(msgspec.Struct, array_like=True, frozen=True, tag=10):
    """So much of the snapshot at `index` has arrived, without gaps. `refused` gives the reason if unwanted."""

    to: ServerId
    sender: ServerId
    term: Number
    index: Number
    offset: Number
    refused: Annotated[str, msgspec.Meta(max_length=512)] = ""


CoreMessage = (
    RequestVote
    | VoteReply
    | AppendEntries
    | AppendReply
    | Heartbeat
    | HeartbeatReply
    | InstallSnapshot
    | TimeoutNow
)
Message = CoreMessage | SnapshotChunk | SnapshotAck

_encoder = msgspec.msgpack.Encoder(order="deterministic")
_message_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)
_configuration_decoder = msgspec.msgpack.Decoder(Configuration)


def encode_message(message: Message) -> bytes:
    """The message's bytes, without a frame."""
    return _encoder.encode(message)


def decode_message(data: bytes | memoryview) -> Message:
    """The message that `data` holds.

    Raises:
        msgspec.ValidationError, msgspec.DecodeError: not a message, or a field of the wrong type or range, or entries
            that do not follow one another.
    """
    message = _message_decoder.decode(data)
    if isinstance(message, AppendEntries):
        _check_entries(message)
    return message


def _check_entries(message: AppendEntries) -> None:
    index, term = message.previous_index, message.previous_term
    for entry in message.entries:
        index += 1
        if entry.index != index:
            raise msgspec.ValidationError(f"entry {entry.index} where {index} belongs")
        if entry.term < term:
            raise msgspec.ValidationError(f"entry {index} has term {entry.term}, the one before it {term}")
        term = entry.term
    if term > message.term:
        raise msgspec.ValidationError(f"entry {index} has term {term}, its leader {message.term}")


def encode_configuration(configuration: Configuration) -> bytes:
    """The data of a `CONFIGURATION` entry; equal configurations give equal bytes."""
    return _encoder.encode(configuration)


def decode_configuration(data: bytes) -> Configuration:
    """The configuration in a `CONFIGURATION` entry. Raises msgspec.DecodeError when it is none."""
    return _configuration_decoder.decode(data)
