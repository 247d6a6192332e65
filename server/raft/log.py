"""The write-ahead log: what a server must not forget, on disk.

A folder of segments `00000000000000000042.wal`, named by the first frame's number. A segment is a header and then
frames; one frame is everything that one flush wrote, so that it is there whole or not at all:

    header   8 bytes  b"LICTWAL" and the format's version, 1
    frame    b"LWFR" | length u32 | CRC-32 of the payload u32 | payload, a msgpack array:
             [0, hard state or nil, [entry …]]     append; entries replace those from the first one's index on
             [1, hard state, index, term]          forget all entries; the log goes on after a snapshot at `index`

Each segment begins with a frame that repeats the hard state, so older segments can be deleted once their entries are
covered by a snapshot. Segments are allocated ahead and end in zeros.

A frame is only written after the one before it was flushed. Hence at start: a bad frame with nothing valid after it was
being written when the power went, and is cut off; one with a valid frame after it was flushed and has been damaged
since: the log refuses to open and names file and offset, because dropping it could lose acknowledged writes.
"""

from __future__ import annotations

import errno
import os
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec

from server.raft.entries import EntryLog
from server.raft.errors import CorruptLog, DiskFull
from server.raft.messages import Entry, HardState

HEADER = b"LICTWAL\x01"
_FRAME = struct.Struct(">4sII")
_MARK = b"LWFR"
_MAX_FRAME = 512 << 20
SEGMENT_BYTES = 16 << 20

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Any]).decode


class Loaded(NamedTuple):
    """What the disk had: the entries, the hard state, and remarks for the log about what was repaired."""

    log: EntryLog
    hard_state: HardState
    remarks: list[str]


class Storage(Protocol):
    """What the driver needs of a disk. Calls block and never overlap."""

    blocking: bool

    def load(self) -> Loaded:
        """Read everything back; called once, first."""

    def save(self, hard_state: HardState | None, entries: Sequence[Entry]) -> None:
        """Make both durable before returning. Raises DiskFull (nothing was written), OSError."""

    def reset(self, hard_state: HardState, index: int, term: int) -> None:
        """Forget all entries: a snapshot at `index` takes their place."""

    def compact(self, index: int) -> None:
        """Entries up to `index` may be forgotten."""

    def close(self) -> None:
        """Let go of the files."""


class MemoryStorage:
    """Storage of a server that keeps nothing (`-dev`)."""

    blocking = False

    def load(self) -> Loaded:
        """Nothing."""
        return Loaded(EntryLog(), HardState(), [])

    def save(self, hard_state: HardState | None, entries: Sequence[Entry]) -> None:
        """Nothing to do: the core keeps the entries in memory."""

    def reset(self, hard_state: HardState, index: int, term: int) -> None:
        """Nothing to do."""

    def compact(self, index: int) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""


class WriteAheadLog:
    """The log in a folder. Not safe for use by two threads at once; the folder's owner holds a lock on it."""

    blocking = True

    def __init__(
        self, folder: Path, segment_bytes: int = SEGMENT_BYTES, sync: Callable[[int], None] = os.fdatasync
    ) -> None:
        self.folder = folder
        self._segment_bytes = segment_bytes
        self._sync = sync
        self._hard_state = HardState()
        self._fd = -1
        self._path = folder
        self._offset = 0
        self._allocated = 0
        self._frames = 0
        self._last_index_of: dict[Path, int] = {}

    # Reading

    def load(self) -> Loaded:
        """Read all segments.

        Raises:
            CorruptLog: something that was flushed is damaged; the text names file, offset and what can be done.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        paths = sorted(self.folder.glob("*.wal"))
        entries: list[Entry] = []
        base = (0, 0)
        remarks: list[str] = []
        end = 0
        for number, path in enumerate(paths):
            is_last = number == len(paths) - 1
            data = path.read_bytes()
            frames, end, damage = _read_segment(path, data, is_last)
            if damage:
                remarks.append(damage)
            highest = 0
            for frame in frames:
                try:
                    base, highest = self._replay(frame, entries, base, highest)
                except (msgspec.ValidationError, ValueError, IndexError, TypeError) as error:
                    raise CorruptLog(f"{path}: a frame has a right checksum but holds no log record: {error}") from None
            self._last_index_of[path] = highest
            self._frames += len(frames)
        if paths:
            self._open_last(paths[-1], end)
        else:
            self._new_segment()
        if entries and base[0] == 0 and entries[0].index != 1:
            base = (entries[0].index, entries[0].term)  # Segments before it are gone: a snapshot covers them.
            entries = entries[1:]
        return Loaded(EntryLog(base[0], base[1], entries), self._hard_state, remarks)

    def _replay(
        self, frame: list[Any], entries: list[Entry], base: tuple[int, int], highest: int
    ) -> tuple[tuple[int, int], int]:
        if frame[1] is not None:
            self._hard_state = msgspec.convert(frame[1], HardState)
        if frame[0] == 1:
            entries.clear()
            return (int(frame[2]), int(frame[3])), int(frame[2])
        if frame[0] != 0:
            raise ValueError(f"unknown kind of frame {frame[0]!r}")
        new = msgspec.convert(frame[2], list[Entry])
        if new:
            if entries:
                keep = new[0].index - entries[0].index
                if keep < 0 or keep > len(entries):
                    raise ValueError(f"entry {new[0].index} does not follow entry {entries[-1].index}")
                del entries[keep:]
            elif base[0] and new[0].index != base[0] + 1:
                raise ValueError(f"entry {new[0].index} does not follow the snapshot at {base[0]}")
            entries.extend(new)
            highest = max(highest, new[-1].index)
        return base, highest

    # Writing

    def save(self, hard_state: HardState | None, entries: Sequence[Entry]) -> None:
        """Append one frame and flush it."""
        if hard_state is not None:
            self._hard_state = hard_state
        self._append([0, hard_state, entries])
        if entries:
            known = self._last_index_of.get(self._path, 0)
            self._last_index_of[self._path] = max(known, entries[-1].index)
        if self._offset >= self._segment_bytes:
            self._new_segment()

    def reset(self, hard_state: HardState, index: int, term: int) -> None:
        """Begin anew after a snapshot at `index`; older segments go."""
        self._hard_state = hard_state
        self._new_segment(first=[1, hard_state, index, term])
        self._last_index_of[self._path] = index
        self._delete([path for path in self._last_index_of if path != self._path])

    def compact(self, index: int) -> None:
        """Delete the segments whose entries are all at or before `index` (never the one that is written to)."""
        doomed = []
        for path in sorted(self._last_index_of):
            if path == self._path or self._last_index_of[path] > index:
                break
            doomed.append(path)
        self._delete(doomed)

    def close(self) -> None:
        """Close the file; everything that was saved is flushed already."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _delete(self, paths: list[Path]) -> None:
        for path in paths:
            path.unlink(missing_ok=True)
            self._last_index_of.pop(path, None)
        if paths:
            sync_folder(self.folder)

    def _append(self, record: list[Any]) -> None:
        payload = _encode(record)
        frame = _FRAME.pack(_MARK, len(payload), zlib.crc32(payload)) + payload
        try:
            _write_all(self._fd, frame, self._offset)
            self._sync(self._fd)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                self._erase_tail()
                raise DiskFull(str(self.folder)) from error
            raise
        self._offset += len(frame)
        self._frames += 1

    def _erase_tail(self) -> None:
        """Cut off what a failed write may have left, so that it cannot be mistaken for a frame later."""
        os.ftruncate(self._fd, self._offset)
        self._allocated = self._offset

    def _open_last(self, path: Path, end: int) -> None:
        self._path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._offset = end
        if end < len(HEADER):
            _write_all(self._fd, HEADER, 0)
            self._offset = end = len(HEADER)
        os.ftruncate(self._fd, end)
        self._allocate()
        os.fsync(self._fd)

    def _new_segment(self, first: list[Any] | None = None) -> None:
        path = self.folder / f"{self._frames:020d}.wal"
        while path.exists():
            self._frames += 1
            path = self.folder / f"{self._frames:020d}.wal"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self.close()
        self._fd, self._path, self._offset = fd, path, len(HEADER)
        self._last_index_of[path] = 0
        try:
            _write_all(fd, HEADER, 0)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFull(str(self.folder)) from error
            raise
        self._allocate()
        self._append(first or [0, self._hard_state, []])
        os.fsync(fd)
        sync_folder(self.folder)

    def _allocate(self) -> None:
        """Reserve the segment's space, so that flushing a frame need not change the file's metadata."""
        try:
            os.posix_fallocate(self._fd, 0, self._segment_bytes)
        except OSError:
            return  # Not every file system can, and a full disk shows itself when it matters.


def _write_all(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view = view[written:]
        offset += written


def sync_folder(folder: Path) -> None:
    """Make the creation, renaming and deletion of files in a folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _read_segment(path: Path, data: bytes, is_last: bool) -> tuple[list[list[Any]], int, str]:
    """The frames of a segment, where they end, and a remark if a torn frame was cut off."""
    if data[: len(HEADER)] != HEADER:
        if is_last and not data.strip(b"\0"):
            return [], 0, ""
        if data[:7] == HEADER[:7]:
            raise CorruptLog(f"{path}: format version {data[7]} is not known to this version of lictor")
        raise CorruptLog(f"{path}: is not a segment of a lictor log (offset 0); {_WAY_OUT}")
    frames: list[list[Any]] = []
    offset = len(HEADER)
    while True:
        payload = _frame_at(data, offset)
        if payload is None:
            break
        frames.append(_decode(payload))
        offset += _FRAME.size + len(payload)
    rest = data[offset:]
    if not rest.strip(b"\0"):
        return frames, offset, ""
    later = data.find(_MARK, offset + 1)
    while later >= 0:
        if _frame_at(data, later) is not None:
            raise CorruptLog(f"{path}: damaged at offset {offset}, intact again at {later}; {_WAY_OUT}")
        later = data.find(_MARK, later + 1)
    if not is_last:
        raise CorruptLog(f"{path}: damaged at offset {offset}, and later segments exist; {_WAY_OUT}")
    return frames, offset, f"{path.name}: cut off a write that was not finished, at offset {offset}"


_WAY_OUT = (
    "entries that were acknowledged may be lost here. Stop this server, move its data directory away and let it join "
    "the others empty, or restore a snapshot"
)


def _frame_at(data: bytes, offset: int) -> bytes | None:
    if offset + _FRAME.size > len(data):
        return None
    mark, length, checksum = _FRAME.unpack_from(data, offset)
    start = offset + _FRAME.size
    if mark != _MARK or not 0 < length <= _MAX_FRAME or start + length > len(data):
        return None
    payload = data[start : start + length]
    return payload if zlib.crc32(payload) == checksum else None
