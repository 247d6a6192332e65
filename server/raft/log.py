"""The write-ahead log: what a server must not forget, on disk.

A folder of segments `00000000000000000042.wal`, numbered in the order in which they were begun. A segment is a header
and then frames; one frame is everything that one flush wrote, so that it is there whole or not at all:

    header   8 bytes  b"LICTWAL" and the format's version, 2
    frame    b"LWFR" | length u32 | CRC-32 of the payload u32 | CRC-32 of these 12 bytes u32 | payload, a msgpack array:
             [0, hard state or nil, [entry …]]     append; entries replace those from the first one's index on
             [1, hard state, index, term]          forget all entries; the log goes on after a snapshot at `index`

Each segment begins with a frame that repeats the hard state, so older segments can be deleted once their entries are
covered by a snapshot. Segments are allocated ahead and end in zeros.

A frame is only written after the one before it was flushed, and into a place that held zeros. Hence at start: a bad
frame that ends the log and lacks a sector (some part of it is still zeros or beyond the file's end) was being written
when the power went, and is cut off. Any other bad frame was flushed and has been damaged since: the log refuses to open
and names file and offset, because dropping it could lose acknowledged writes.
"""

from __future__ import annotations

import contextlib
import errno
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec

from server.raft.disk import SECTOR, File, Folder, PosixFolder
from server.raft.entries import EntryLog
from server.raft.errors import CorruptLog, DiskFull
from server.raft.messages import Entry, HardState

HEADER = b"LICTWAL\x02"
_FRAME = struct.Struct(">4sIII")
_UNCHECKED = struct.Struct(">4sII")
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

    def __init__(self, folder: Folder | Path, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._folder = PosixFolder(folder) if isinstance(folder, Path) else folder
        self._segment_bytes = segment_bytes
        self._hard_state = HardState()
        self._file: File | None = None
        self._name = ""
        self._offset = 0
        self._last_index_of: dict[str, int] = {}
        self._rollover_failed = False
        self.flushes = 0
        """How often the disk was asked to make something durable, since the start."""

    # Reading

    def load(self) -> Loaded:
        """Read all segments.

        Raises:
            CorruptLog: something that was flushed is damaged; the text names file, offset and what can be done.
        """
        names = [name for name in self._folder.names() if name.endswith(".wal")]
        entries: list[Entry] = []
        base = (0, 0)
        remarks: list[str] = []
        end = 0
        frames: list[list[Any]] = []
        for name in names:
            shown = self._folder.shown(name)
            frames, end, remark = _read_segment(shown, self._folder.read(name), is_last=name == names[-1])
            if remark:
                remarks.append(remark)
            highest = 0
            for frame in frames:
                try:
                    base, highest = self._replay(frame, entries, base, highest)
                except (msgspec.ValidationError, ValueError, IndexError, TypeError) as error:
                    raise CorruptLog(f"{shown}: a frame that is intact holds no log record: {error}") from None
            self._last_index_of[name] = highest
        if names:
            self._open_last(names[-1], end, begun=bool(frames))
        else:
            self._begin_segment([0, self._hard_state, []])
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
            if entries and new[0].index > entries[-1].index + 1:
                # Compaction was deleting segments when the power went, and of those some came back. The driver refuses
                # to start when no snapshot covers what is missing.
                entries.clear()
                base = (0, 0)
            if entries:
                keep = new[0].index - entries[0].index
                if keep < 0:
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
            known = self._last_index_of.get(self._name, 0)
            self._last_index_of[self._name] = max(known, entries[-1].index)
        if self._offset >= self._segment_bytes:
            self._roll()

    def _roll(self) -> None:
        """Go on in a new segment; on a full disk the old one just grows until there is space."""
        if self._rollover_failed and self._offset % self._segment_bytes > self._segment_bytes // 16:
            return
        try:
            self._begin_segment([0, self._hard_state, []])
            self._rollover_failed = False
        except DiskFull:
            self._rollover_failed = True

    def reset(self, hard_state: HardState, index: int, term: int) -> None:
        """Begin anew after a snapshot at `index`; older segments go. Raises DiskFull: nothing has changed."""
        self._begin_segment([1, hard_state, index, term])
        self._hard_state = hard_state
        self._last_index_of[self._name] = index
        self._delete([name for name in sorted(self._last_index_of) if name != self._name])

    def compact(self, index: int) -> None:
        """Delete the segments whose entries all lie before `index` (never the one that is written to).

        The entry at `index` itself stays: it tells the term at which what follows was appended.
        """
        doomed = []
        for name in sorted(self._last_index_of):
            if name == self._name or self._last_index_of[name] >= index:
                break
            doomed.append(name)
        self._delete(doomed)

    def close(self) -> None:
        """Close the file; everything that was saved is flushed already."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _delete(self, names: list[str]) -> None:
        for name in names:
            self._folder.delete(name)
            self._last_index_of.pop(name, None)
        if names:
            self._folder.sync()

    def _append(self, record: list[Any]) -> None:
        assert self._file is not None, "the log is closed"
        data = _frame(record)
        with self._space_on_disk(self._name):
            try:
                self._file.write(data, self._offset)
                self._file.sync()
            except OSError:
                # What a failed write left must not be mistaken for a frame later.
                self._file.truncate(self._offset)
                raise
        self.flushes += 1
        self._offset += len(data)

    @contextlib.contextmanager
    def _space_on_disk(self, name: str) -> Iterator[None]:
        """Turn the errors of a full disk into DiskFull."""
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFull(self._folder.shown(name)) from error
            raise

    def _open_last(self, name: str, end: int, begun: bool) -> None:
        self._name = name
        self._file = self._folder.open(name)
        self._offset = max(end, len(HEADER))
        self._file.truncate(end)  # Zeros behind the last frame, as every frame's place is before it is written.
        self._file.allocate(self._segment_bytes)
        if begun:
            self._file.sync()
            return
        if end < len(HEADER):
            with self._space_on_disk(name):
                self._file.write(HEADER, 0)
        self._append([0, self._hard_state, []])

    def _begin_segment(self, first: list[Any]) -> None:
        """Make the next segment durable, then write there. Raises DiskFull: nothing has changed."""
        number = max((int(name.partition(".")[0]) for name in self._last_index_of), default=-1) + 1
        name = f"{number:020d}.wal"
        data = HEADER + _frame(first)
        with self._space_on_disk(name):
            file: File | None = None
            try:
                file = self._folder.create(name)
                file.allocate(self._segment_bytes)
                file.write(data, 0)
                file.sync()
                self._folder.sync()
            except OSError:
                if file is not None:
                    file.close()
                    self._folder.delete(name)
                raise
        self.close()
        self._file, self._name, self._offset = file, name, len(data)
        self._last_index_of[name] = 0
        self.flushes += 1


def _frame(record: list[Any]) -> bytes:
    payload = _encode(record)
    start = _UNCHECKED.pack(_MARK, len(payload), zlib.crc32(payload))
    return start + zlib.crc32(start).to_bytes(4, "big") + payload


def _read_segment(shown: str, data: bytes, is_last: bool) -> tuple[list[list[Any]], int, str]:
    """The frames of a segment, where they end, and a remark if a torn frame was cut off."""
    if data[: len(HEADER)] != HEADER:
        if is_last and not data.strip(b"\0"):
            return [], 0, ""
        if data[:7] == HEADER[:7]:
            raise CorruptLog(f"{shown}: format version {data[7]} is not known to this version of lictor")
        raise CorruptLog(f"{shown}: is not a segment of a lictor log (offset 0); {_WAY_OUT}")
    frames: list[list[Any]] = []
    offset = len(HEADER)
    while True:
        payload = _frame_at(data, offset)
        if payload is None:
            break
        frames.append(_decode(payload))
        offset += _FRAME.size + len(payload)
    written = len(data.rstrip(b"\0"))
    if written <= offset:
        return frames, offset, ""
    later = data.find(_MARK, offset + 1)
    while later >= 0:
        if _frame_at(data, later) is not None:
            raise CorruptLog(f"{shown}: damaged at offset {offset}, intact again at {later}; {_WAY_OUT}")
        later = data.find(_MARK, later + 1)
    if not is_last:
        raise CorruptLog(f"{shown}: damaged at offset {offset}, and later segments exist; {_WAY_OUT}")
    if not _is_torn(data, offset):
        raise CorruptLog(f"{shown}: damaged at offset {offset}, in the last write, which was complete; {_WAY_OUT}")
    return frames, offset, f"{shown}: cut off a write that was not finished, at offset {offset}"


def _is_torn(data: bytes, offset: int) -> bool:
    """Whether the bad frame at `offset`, after which nothing follows, lacks a sector: its place held zeros before."""
    length = _length_at(data, offset)
    end = offset + _FRAME.size + (length or 0)  # Of a bad header only its own sectors can be judged.
    if end > len(data):
        return True
    start = offset
    while start < end:
        stop = min(end, (start // SECTOR + 1) * SECTOR)
        if not data[start:stop].strip(b"\0"):
            return True
        start = stop
    return False


_WAY_OUT = (
    "entries that were acknowledged may be lost here. Stop this server, move its data directory away and let it join "
    "the others empty; where no quorum of intact servers is left, see `lictor operator raft recover` or restore a "
    "snapshot"
)


def _length_at(data: bytes, offset: int) -> int | None:
    """The payload's length according to the frame's header at `offset`; None when no intact header is there."""
    if offset + _FRAME.size > len(data):
        return None
    mark, length, _, checksum = _FRAME.unpack_from(data, offset)
    if mark != _MARK or zlib.crc32(data[offset : offset + _UNCHECKED.size]) != checksum:
        return None
    return int(length)


def _frame_at(data: bytes, offset: int) -> bytes | None:
    length = _length_at(data, offset)
    start = offset + _FRAME.size
    if length is None or not 0 < length <= _MAX_FRAME or start + length > len(data):
        return None
    payload = data[start : start + length]
    return payload if zlib.crc32(payload) == _FRAME.unpack_from(data, offset)[2] else None
