"""What the log asks of a file system, as an interface: a test can put a disk under it that loses, tears and damages.

`PosixFolder` is the real one. What each call promises after a power cut is said here, and `server.raft.log` relies on
it: bytes are durable after `File.sync`, the existence of a file after `Folder.sync`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

SECTOR = 512
"""Bytes that a disk writes whole or not at all."""


class File(Protocol):
    """An open file."""

    def write(self, data: bytes, offset: int) -> None:
        """Write all of `data` at `offset`. Raises OSError; then any part of it may be there."""

    def sync(self) -> None:
        """Return once everything that was written is durable. Raises OSError; then none of it can be relied on."""

    def truncate(self, size: int) -> None:
        """Cut the file off at `size` bytes."""

    def allocate(self, size: int) -> None:
        """Reserve `size` bytes, read as zeros, where the file system can; otherwise do nothing."""

    def close(self) -> None:
        """Let go of the file."""


class Folder(Protocol):
    """A folder of files."""

    def names(self) -> list[str]:
        """The files' names, sorted."""

    def read(self, name: str) -> bytes:
        """A whole file."""

    def open(self, name: str) -> File:
        """Open an existing file for writing."""

    def create(self, name: str) -> File:
        """Make a file that must not exist."""

    def delete(self, name: str) -> None:
        """Remove a file; one that is gone already is no error."""

    def sync(self) -> None:
        """Return once the creation and removal of files is durable."""

    def shown(self, name: str) -> str:
        """How messages name a file."""


class PosixFile:
    """A file of the operating system. `sync_data` flushes a descriptor's data (tests hand in one that fails)."""

    def __init__(self, fd: int, sync_data: Callable[[int], None]) -> None:
        self._fd = fd
        self._sync_data = sync_data

    def write(self, data: bytes, offset: int) -> None:
        """See `File`."""
        view = memoryview(data)
        while view:
            written = os.pwrite(self._fd, view, offset)
            view = view[written:]
            offset += written

    def sync(self) -> None:
        """See `File`."""
        self._sync_data(self._fd)

    def truncate(self, size: int) -> None:
        """See `File`."""
        os.ftruncate(self._fd, size)

    def allocate(self, size: int) -> None:
        """See `File`."""
        try:
            os.posix_fallocate(self._fd, 0, size)
        except OSError:
            return  # Not every file system can, and a full disk shows itself when it matters.

    def close(self) -> None:
        """See `File`."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class PosixFolder:
    """A folder of the operating system; made with its parents when it is not there."""

    def __init__(self, path: Path, sync_data: Callable[[int], None] = os.fdatasync) -> None:
        self.path = path
        self._sync_data = sync_data
        path.mkdir(parents=True, exist_ok=True, mode=0o700)

    def names(self) -> list[str]:
        """See `Folder`."""
        return sorted(entry.name for entry in self.path.iterdir() if entry.is_file())

    def read(self, name: str) -> bytes:
        """See `Folder`."""
        return (self.path / name).read_bytes()

    def open(self, name: str) -> PosixFile:
        """See `Folder`."""
        return PosixFile(os.open(self.path / name, os.O_RDWR | os.O_CLOEXEC), self._sync_data)

    def create(self, name: str) -> PosixFile:
        """See `Folder`."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        return PosixFile(os.open(self.path / name, flags, 0o600), self._sync_data)

    def delete(self, name: str) -> None:
        """See `Folder`."""
        (self.path / name).unlink(missing_ok=True)

    def sync(self) -> None:
        """See `Folder`."""
        sync_folder(self.path)

    def shown(self, name: str) -> str:
        """See `Folder`."""
        return str(self.path / name)


def sync_folder(folder: Path) -> None:
    """Make the creation, renaming and deletion of files in a folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
