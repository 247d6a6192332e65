"""Snapshots of the state machine on disk: made whole or not at all, checked before use, the newest two kept.

`snapshots/<term>-<index>/state.bin` holds the state machine's bytes, `meta.json` what they cover and their SHA-256. A
snapshot is written into a folder ending in `.tmp`, flushed, then renamed.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Protocol

import msgspec

from model.goerrors import go_text
from server.raft.disk import sync_folder
from server.raft.errors import CorruptLog
from server.raft.messages import SnapshotMeta, decode_configuration, encode_configuration

KEEP = 2


class StoredSnapshot(msgspec.Struct, frozen=True):
    """A snapshot that can be read: what it covers, its size in bytes and its SHA-256."""

    meta: SnapshotMeta
    size: int
    sha256: bytes


class Snapshots(Protocol):
    """Where snapshots are kept. Calls block."""

    @property
    def scratch(self) -> Path | None:
        """A folder for files without a name, on the same disk; None for the system's."""

    def latest(self) -> StoredSnapshot | None:
        """The newest snapshot, if there is one."""

    def open(self, snapshot: StoredSnapshot) -> BinaryIO:
        """Its bytes."""

    def create(self, meta: SnapshotMeta, write: Callable[[BinaryIO], None]) -> StoredSnapshot:
        """Keep what `write` writes."""


class _HashingWriter(io.RawIOBase):
    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self.sha256 = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        chunk = bytes(data)  # type: ignore[call-overload]
        self._target.write(chunk)
        self.sha256.update(chunk)
        self.size += len(chunk)
        return len(chunk)


class MemorySnapshots:
    """The newest snapshot in memory, for a server that keeps nothing on disk."""

    def __init__(self) -> None:
        self._latest: tuple[StoredSnapshot, bytes] | None = None

    scratch: Path | None = None

    def latest(self) -> StoredSnapshot | None:
        """The newest snapshot, if there is one."""
        return self._latest[0] if self._latest else None

    def open(self, snapshot: StoredSnapshot) -> BinaryIO:
        """Its bytes; raises CorruptLog when it is not there any more."""
        if self._latest is None or self._latest[0] != snapshot:
            raise CorruptLog("the snapshot was replaced by a newer one")
        return io.BytesIO(self._latest[1])

    def create(self, meta: SnapshotMeta, write: Callable[[BinaryIO], None]) -> StoredSnapshot:
        """Keep what `write` writes."""
        buffer = io.BytesIO()
        write(buffer)
        data = buffer.getvalue()
        stored = StoredSnapshot(meta, len(data), hashlib.sha256(data).digest())
        self._latest = (stored, data)
        return stored


class DiskSnapshots:
    """Snapshots in a folder. Whoever opens it to write owns it: what an earlier owner left unfinished goes."""

    def __init__(self, folder: Path, read_only: bool = False) -> None:
        self.folder = self.scratch = folder
        if read_only:
            return
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob("*.tmp"):
            shutil.rmtree(leftover, ignore_errors=True)

    def _all(self) -> list[Path]:
        found = self.folder.iterdir() if self.folder.is_dir() else ()
        return sorted(path for path in found if path.is_dir() and not path.name.endswith(".tmp"))

    def latest(self) -> StoredSnapshot | None:
        """The newest snapshot. Raises CorruptLog when its description is damaged."""
        folders = self._all()
        if not folders:
            return None
        path = folders[-1] / "meta.json"
        try:
            raw = msgspec.json.decode(path.read_bytes(), type=dict[str, str | int])
            configuration = decode_configuration(base64.b64decode(str(raw["Configuration"])))
            meta = SnapshotMeta(int(raw["Index"]), int(raw["Term"]), configuration, int(raw["ConfigurationIndex"]))
            return StoredSnapshot(meta, int(raw["Size"]), bytes.fromhex(str(raw["SHA256"])))
        except (OSError, KeyError, ValueError, msgspec.DecodeError) as error:
            raise CorruptLog(f"{path}: not the description of a snapshot: {error}") from None

    def _path(self, meta: SnapshotMeta) -> Path:
        return self.folder / f"{meta.term:020d}-{meta.index:020d}"

    def open(self, snapshot: StoredSnapshot) -> BinaryIO:
        """Its bytes, after their checksum has been compared. Raises CorruptLog."""
        path = self._path(snapshot.meta) / "state.bin"
        try:
            file = path.open("rb")
        except OSError as error:
            raise CorruptLog(f"{go_text(error)}") from None
        if hashlib.file_digest(file, "sha256").digest() != snapshot.sha256:
            file.close()
            raise CorruptLog(f"{path}: damaged: its checksum differs from meta.json")
        file.seek(0)
        return file

    def create(self, meta: SnapshotMeta, write: Callable[[BinaryIO], None]) -> StoredSnapshot:
        """Write a snapshot durably, then drop all but the newest two."""
        final = self._path(meta)
        temporary = final.with_name(final.name + ".tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        with (temporary / "state.bin").open("wb") as file:
            hashing = _HashingWriter(file)
            write(hashing)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        stored = StoredSnapshot(meta, hashing.size, hashing.sha256.digest())
        description = {
            "Index": meta.index,
            "Term": meta.term,
            "Configuration": base64.b64encode(encode_configuration(meta.configuration)).decode(),
            "ConfigurationIndex": meta.configuration_index,
            "Size": stored.size,
            "SHA256": stored.sha256.hex(),
        }
        with (temporary / "meta.json").open("wb") as file:
            file.write(msgspec.json.encode(description))
            file.flush()
            os.fsync(file.fileno())
        sync_folder(temporary)
        shutil.rmtree(final, ignore_errors=True)
        temporary.rename(final)
        sync_folder(self.folder)
        for old in self._all()[:-KEEP]:
            shutil.rmtree(old, ignore_errors=True)
        return stored
