"""Commands that are larger than one log entry should be: cut into pieces, put together again as the log is applied.

Every server sees the same pieces in the same order, so all of them finish a command at the same index, or none does.
Pieces of one command follow one another (other entries may lie between). A new leader's first entry, or the first piece
of another command, throws away what is unfinished: whoever sent it can no longer end it. No clock, no I/O.

On the log a piece is: number of the command u64, number of the piece u32, pieces in all u32 (big-endian), then bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from server.raft.errors import ProposalRejected

_HEADER: Final = struct.Struct(">QII")
PIECE_BYTES: Final = 1 << 20
MAX_PIECES: Final = 1 << 12


def split(command: bytes, number: int, size: int = PIECE_BYTES) -> Iterator[bytes]:
    """The pieces of a command; `number` tells this command from the one before it.

    Raises ProposalRejected when there would be too many of them.
    """
    total = max(1, -(-len(command) // size))
    if total > MAX_PIECES:
        raise ProposalRejected(f"a command of {len(command)} bytes is larger than {MAX_PIECES * size}")
    for piece in range(total):
        yield _HEADER.pack(number, piece, total) + command[piece * size : (piece + 1) * size]


class Assembler:
    """Puts pieces together. `unfinished` says whether part of a command is held, which no snapshot may leave out."""

    def __init__(self) -> None:
        self._number = -1
        self._total = 0
        self._parts: list[bytes] = []

    @property
    def unfinished(self) -> bool:
        """Whether pieces are held."""
        return bool(self._parts)

    def clear(self) -> None:
        """Throw away what is unfinished."""
        self._parts = []

    def add(self, piece: bytes) -> bytes | None:
        """Take the next piece; returns the command when it is whole. It is held until `clear`, once it is applied.

        Raises ProposalRejected for a piece whose beginning was thrown away; the same on every server.
        """
        if len(piece) < _HEADER.size:
            raise ProposalRejected("a piece of a command is cut short")
        number, position, total = _HEADER.unpack_from(piece)
        if position == 0:
            self._number, self._total, self._parts = number, total, []
        if number != self._number or position != len(self._parts) or total != self._total or total > MAX_PIECES:
            raise ProposalRejected("a piece of a command does not follow the one before it")
        self._parts.append(piece[_HEADER.size :])
        if len(self._parts) < total:
            return None
        return b"".join(self._parts)
